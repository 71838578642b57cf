"""What is written is what is read; and what cannot be read or written is said, with file, line and fix."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import documents

from genner.ability.items import AbilityItem, read_items, write_items
from genner.data import JsonlWriter, read_jsonl
from genner.data.json_stream import json_lines
from genner.data.records import json_bytes
from genner.document import Document, Entity, LabelSet, Prediction, Problem, ProblemKind
from genner.errors import DataError
from genner.toml_config import read_toml
from genner.writing import atomic, replacing

ADA = Document("Ada met Bob.", (Entity(0, 3, "PER"), Entity(8, 11, "PER")), "a")
BOB = Document("Bob left.", (), "b")


def lines(*given: Document) -> bytes:
    return b"".join(json.dumps(d.to_dict()).encode() + b"\n" for d in given)


def file(folder: Path, data: bytes, name: str = "x.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def write(path: Path, *given: Document) -> None:
    with JsonlWriter(path) as writer:
        for document in given:
            writer.write(document)


problems = st.lists(st.builds(Problem, st.sampled_from(get_args(ProblemKind)), st.text()))


@given(st.lists(st.tuples(documents(crossing=True), st.none() | problems), max_size=4))
def test_written_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Document, list[Problem] | None]]
) -> None:
    wanted = [
        Document(d.text, d.entities, str(i))
        if problems is None
        else Prediction(d.text, d.entities, str(i), tuple(problems))
        for i, (d, problems) in enumerate(drawn)
    ]
    path = tmp_path_factory.mktemp("law") / "out.jsonl"
    write(path, *wanted)
    assert list(read_jsonl(path)) == wanted


# Reading JSON Lines


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\n \r\n\n"], ids=["empty", "mark only", "blank lines"])
def test_nothing_in_nothing_out(tmp_path: Path, data: bytes) -> None:
    assert list(read_jsonl(file(tmp_path, data))) == []


def test_byte_order_mark_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + lines(ADA).replace(b"\n", b"\r\n") + b"\r\n" + lines(BOB).rstrip()
    assert list(read_jsonl(file(tmp_path, data))) == [ADA, BOB]


def test_only_the_line_feed_ends_a_line(tmp_path: Path) -> None:
    odd = Document("a\u2028b\u0085c\x0bd\re\nf", (), "odd")
    data = json.dumps(odd.to_dict(), ensure_ascii=False).encode() + b"\n"
    assert list(read_jsonl(file(tmp_path, data))) == [odd]


def test_a_missing_id_is_stem_and_number(tmp_path: Path) -> None:
    ids = [None, None, 7, "x-5", None, ""]
    data = b"\n\n".join(json.dumps({"text": "a", "id": id, "entities": []}).encode() for id in ids)
    assert [d.id for d in read_jsonl(file(tmp_path, data))] == ["x-1", "x-2", "7", "x-5", "x-5+", "x-6"]


BAD = {
    b'{"text": "\xff"}': "invalid UTF-8 at byte 10 of the line; .*iconv",
    b'{"text": "a"': "is not JSON: Expecting",
    b'{"text": ' + b"[" * 100_000: "is not JSON: maximum recursion",
    b'{"text": "a", "id": ' + b"1" * 5000 + b"}": "is not JSON: Exceeds the limit",
    b'["text"]': "is a JSON list, not an object",
    b"{}": "has no 'text'; it has: nothing",
    b'{"text": "\\ud800", "entities": []}': "lone surrogate",
    b'{"text": "a", "id": ["x"]}': r"'id' is \['x'\]; legal: a string",
    b'{"text": "a", "entities": [{"start": 0, "end": 2, "label": "X"}]}': "outside the text",
    b'{"text": "a"}': "has no 'entities'; it has: text; .*\\[\\]",
    b'{"text": "a", "entities": null, "tokens": []}': "has no 'entities'; it has: text, tokens",
    b'{"text": "a", "label": [[0, 1, "X"]]}': "has no 'entities'; it has: text, label; .*--from doccano",
    b'{"text": "a", "entities": [], "problems": [{"kind": "odd"}]}': "'problems' is not a list .* one of: invalid",
    b'{"text": "z", "id": "a", "entities": []}': "id 'a' was given before",
}


@pytest.mark.parametrize(("line", "message"), BAD.items(), ids=[m.split(";")[0][:30] for m in BAD.values()])
def test_a_bad_line(tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes, message: str) -> None:
    path = file(tmp_path, lines(ADA) + line + b"\n" + lines(BOB))
    with pytest.raises(DataError, match=rf"x\.jsonl:2: .*{message}"):
        list(read_jsonl(path))
    assert list(read_jsonl(path, lenient=True)) == [ADA, BOB]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "x.jsonl:2: " in caplog.text
    assert "passed over" in caplog.text


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF\x02\x00\x00", "is binary: NUL at byte 5"),
        (b"\x1f\x8b\x08\x00", "is a broken gzip file"),
        ('{"text": "a"}'.encode("utf-16"), "is UTF-16; .*iconv -f UTF-16"),
    ],
)
def test_a_binary_file(tmp_path: Path, data: bytes, message: str, lenient: bool) -> None:
    with pytest.raises(DataError, match=message):
        list(read_jsonl(file(tmp_path, data), lenient=lenient))


def test_reading_is_lazy(tmp_path: Path) -> None:
    reader = read_jsonl(file(tmp_path, lines(ADA) + b"broken"))
    assert next(reader) == ADA
    with pytest.raises(DataError):
        next(reader)


# Other records in lines


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=4))
def test_json_lines_are_split_at_line_feeds_alone(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    path.write_bytes(b"\n".join(json_bytes(record) for record in records) + b"\n")
    assert [value for _, value in json_lines(path)] == records


def test_a_line_that_a_killed_process_left_is_left_out_on_request(tmp_path: Path) -> None:
    path = file(tmp_path, b'\xef\xbb\xbf{"a": 1}\n\n{"a": 2}\n{"a"')
    assert list(json_lines(path, torn=True)) == [(1, {"a": 1}), (3, {"a": 2})]
    with pytest.raises(DataError, match=r"x\.jsonl:4: is not JSON: .*; delete the file$"):
        list(json_lines(path, fix="delete the file"))


def test_items_with_other_line_separators_are_read_again(tmp_path: Path) -> None:
    item = AbilityItem("t/1", "hash", "a\u2028b\x85c", ["d"])
    write_items(tmp_path / "items.jsonl", [item])
    assert read_items(tmp_path / "items.jsonl") == [item]


def test_small_files_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert LabelSet.from_file(file(tmp_path, b'\xef\xbb\xbf["PER"]', "l.json")).tags == ("PER",)
    assert read_toml(file(tmp_path, b"\xef\xbb\xbfa = 1\n", "r.toml")) == {"a": 1}


# Writing beside, then renaming


@pytest.mark.parametrize("write_to", [replacing, atomic])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, write_to: Callable[[Path], Any]) -> None:
    path = file(tmp_path, b"old", "x")
    (tmp_path / "link").symlink_to(path)

    def stopped() -> None:
        with write_to(path) as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_bytes() == b"old"
    with write_to(tmp_path / "link") as out:
        out.write(b"new")
    assert (path.read_bytes(), (tmp_path / "link").is_symlink()) == (b"new", True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "x"]
    with pytest.raises((OSError, DataError)), write_to(tmp_path / "none" / "x"):
        pass
