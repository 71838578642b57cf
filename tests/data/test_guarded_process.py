"""Native readers in another process: its crashes are errors here; Hugging Face's files, whole, damaged and unclear."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genner.data import guarded_process
from genner.data.base import ReadLog
from genner.data.guarded_process import GuardError, StallError, guarded
from genner.data.hf import HuggingFace
from genner.document import Document
from genner.errors import DataError, UsageError


def count(upto: int) -> Iterator[int]:
    yield from range(upto)


def crash() -> Iterator[int]:
    yield 1
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> Iterator[int]:
    os._exit(3)
    yield 1


def hang() -> Iterator[int]:
    yield 1
    time.sleep(60)


def begin_late() -> Iterator[int]:
    time.sleep(0.2)
    yield 1


def refuse(own: bool) -> Iterator[int]:
    os.write(1, b"what native code prints is no answer")
    if own:
        raise UsageError("say more")
    raise ValueError("bad\nvery")
    yield 1


def test_items_come_through_and_the_process_is_kept() -> None:
    assert list(guarded("tests.data.test_guarded_process:count", 3)) == [0, 1, 2]
    kept = guarded_process._idle[-1]
    assert list(guarded("tests.data.test_guarded_process:count", 2)) == [0, 1]
    assert guarded_process._idle[-1] is kept
    with pytest.raises(GuardError, match=r"^ValueError: bad$"):
        list(guarded("tests.data.test_guarded_process:refuse", False))
    with pytest.raises(UsageError, match="say more"):
        list(guarded("tests.data.test_guarded_process:refuse", True))
    assert guarded_process._idle[-1] is kept
    two = [
        guarded("tests.data.test_guarded_process:count", 3),
        guarded("tests.data.test_guarded_process:count", 10_000),
    ]
    assert [next(two[0]), next(two[1]), next(two[0])] == [0, 0, 1]
    assert not guarded_process._idle
    for half in two:
        half.close()  # type: ignore[attr-defined]
    assert guarded_process._idle == [kept]  # little was left of its file; the other has ended


def test_a_crash_a_hang_and_an_exit_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    with pytest.raises(GuardError, match=r"its reader crashed \(SIGSEGV\)"):
        found += list(guarded("tests.data.test_guarded_process:crash"))
    with pytest.raises(GuardError, match=r"its reader crashed \(code 3\)"):
        list(guarded("tests.data.test_guarded_process:leave"))
    monkeypatch.setattr(guarded_process, "STALL_TIMEOUT", 0.05)
    with pytest.raises(StallError, match=r"its reader gave nothing for 0\.05 seconds"):
        list(guarded("tests.data.test_guarded_process:hang"))
    assert list(guarded("tests.data.test_guarded_process:begin_late")) == [1]  # imports count as the start
    assert list(guarded("tests.data.test_guarded_process:count", 1)) == [0]


# Hugging Face


def write(path: Path, columns: dict[str, Any]) -> Path:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table(columns), path)
    return path


def read(path: Path, syntax: HuggingFace = HuggingFace(), read_log: ReadLog | None = None) -> list[Document]:  # noqa: B008
    return list(syntax.read(path, read_log or ReadLog()))


def found(documents: list[Document]) -> list[list[tuple[str, str]]]:
    return [[(d.mention(e), e.label) for e in d.entities] for d in documents]


@pytest.mark.parametrize(
    "tags",
    [
        ["B-PER", "I-PER", "O"],
        ["B_PER", "I_PER", "O"],
        ["PER-B", "PER-I", "O"],
        ["PER", "PER", "O"],
        ["B-PER", "L-PER", "O"],
    ],
)
def test_tags_in_any_spelling_as_strings_or_numbers(tmp_path: Path, tags: list[str]) -> None:
    tokens = [["Mina", "Berg", "met"], ["met"]]
    path = write(tmp_path / "x.parquet", {"tokens": tokens, "ner_tags": [tags, ["O"]]})
    assert found(read(path)) == [[("Mina Berg", "PER")], []]
    names = ["O", *dict.fromkeys(tags[:2])]
    path = write(tmp_path / "n.parquet", {"tokens": tokens, "ner_tags": [[names.index(t) for t in tags], [0]]})
    assert found(read(path, HuggingFace(names=",".join(names)))) == [[("Mina Berg", "PER")], []]


def test_tags_without_a_type_and_tags_that_are_unclear(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"tokens": [["Mina", "Berg", "met"]], "ner_tags": [["B", "I", "O"]]})
    read_log = ReadLog()
    assert found(read(path, read_log=read_log)) == [[("Mina Berg", "ENTITY")]]
    assert [note.split(": ", 1)[1] for note in read_log.notes] == [
        "the tags have no type ('B', 'I', 'O'): labelled ENTITY; --from hf:label=NAME names it"
    ]
    assert found(read(path, HuggingFace(label="PER"))) == [[("Mina Berg", "PER")]]
    path = write(tmp_path / "x.parquet", {"tokens": [["a", "b"]], "ner_tags": [["PER", "none"]]})
    with pytest.raises(DataError, match=r"the tags are 'PER', 'none': .*--from hf:outside=TAG, .* scheme=bare"):
        read(path)
    assert found(read(path, HuggingFace(outside="none"))) == [[("a", "PER")]]
    path = write(tmp_path / "x.parquet", {"tokens": [["a", "b"]], "ner_tags": [["B-PER", "LOC"]]})
    with pytest.raises(DataError, match=r"x\.parquet:1: tag 2, 'LOC', is not spelt as the others"):
        read(path)


ROWS = [
    ({"tokens": ["a", None], "ner_tags": ["O", "O"]}, "token 2 is null, not a string"),
    ({"tokens": ["a"], "ner_tags": [None]}, "tag 1 is null: unknown, not 'O'"),
    ({"tokens": ["a"], "ner_tags": None}, "'ner_tags' is null: unknown, not empty; leave the row out"),
    ({"tokens": None, "ner_tags": ["O"]}, "'tokens' is null"),
    ({"tokens": ["a"], "ner_tags": ["O", "O"]}, "1 tokens have 2 tags"),
    ({"text": "a", "entities": None}, "'entities' is null: unknown, not empty"),
    ({"text": None, "entities": [{"start": 0, "end": 1, "label": "X"}]}, "'text' is null"),
    ({"text": "a", "entities": {"start": [0], "end": [1, 2], "label": ["X"]}}, "no object of lists of one length"),
]


@pytest.mark.parametrize(("row", "message"), ROWS)
def test_what_a_row_does_not_say_is_not_nothing(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    good = {"tokens": ["a"], "ner_tags": ["B-X"], "text": "a", "entities": [{"start": 0, "end": 1, "label": "X"}]}
    if isinstance(row.get("entities"), dict):
        good["entities"] = {"start": [0], "end": [1], "label": ["X"]}
    columns = {key: [row[key], good[key]] for key in row}
    path = write(tmp_path / "x.parquet", columns)
    with pytest.raises(DataError, match=rf"x\.parquet:1: .*{message}"):
        read(path)
    read_log = ReadLog(lenient=True)
    assert found(read(path, read_log=read_log)) == [[("a", "X")]]
    assert read_log.errors == {"bad row": 1}


def test_splits_are_not_read_as_one(tmp_path: Path) -> None:
    columns = {"tokens": [["a"]], "ner_tags": [["B-X"]]}
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        write(tmp_path / f"{name}.parquet", columns)
    with pytest.raises(DataError, match="holds the splits test, train; say which: --from hf:split=train, or split=all"):
        read(tmp_path)
    assert [len(read(tmp_path, HuggingFace(split=split))) for split in ("train", "all")] == [1, 2]


def test_damaged_arrow_files_are_errors_here(tmp_path: Path) -> None:
    """Bytes of the middle of an Arrow stream changed one after the other: some of them crash Arrow by themselves."""
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"tokens": [["Mina", "Berg"]] * 3, "ner_tags": [["B-PER", "I-PER"]] * 3})
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    whole = (tmp_path / "x.arrow").read_bytes()
    assert found(read(tmp_path / "x.arrow")) == [[("Mina Berg", "PER")]] * 3
    refused = 0
    for at in range(0, len(whole), 17):
        (tmp_path / "x.arrow").write_bytes(whole[:at] + bytes([whole[at] ^ 0x81]) + whole[at + 1 :])
        try:
            read(tmp_path / "x.arrow")
        except DataError as error:
            assert "x.arrow" in str(error)  # noqa: PT017
            refused += 1
    assert refused > 10
