"""What is written is what is read; and what cannot be read or written is said, with file, line and fix."""

import errno
import io
import json
import logging
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genner.data import JsonlWriter, read_jsonl, read_texts, write_atomic
from genner.data.convert import load
from genner.document import Document, Entity, Prediction, Problem
from genner.errors import DataError, UsageError
from strategies import documents

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


problems = st.lists(
    st.builds(Problem, st.sampled_from(["invalid", "realigned", "dropped", "duplicate", "truncated"]), st.text())
)


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
    b'{"text": "z", "id": "a", "entities": []}': "id 'a' was given on an earlier line",
}


@pytest.mark.parametrize(("line", "message"), BAD.items(), ids=[m.split(";")[0][:30] for m in BAD.values()])
def test_a_bad_line(tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes, message: str) -> None:
    path = file(tmp_path, lines(ADA) + line + b"\n" + lines(BOB))
    with pytest.raises(DataError, match=rf"x\.jsonl:2: .*{message}"):
        list(read_jsonl(path))
    assert list(read_jsonl(path, lenient=True)) == [ADA, BOB]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "x.jsonl:2: " in caplog.text
    assert "line skipped" in caplog.text


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


# Texts to extract from


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("Zoë\r\nwas\n".encode(), "Zoë\r\nwas\n"),
        (b"\xef\xbb\xbfa", "a"),
        (b"a\0b", "a\0b"),
    ],
    ids=["empty", "line ends stay", "byte order mark", "NUL stays"],
)
def test_a_text_file_is_one_document(tmp_path: Path, data: bytes, text: str) -> None:
    assert list(read_texts(str(file(tmp_path, data, "note.TXT")))) == [Document(text, (), "note")]


def test_standard_input_is_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é\r\n".encode())))
    assert list(read_texts("-")) == [Document("é\r\n", (), "stdin")]


def test_records_need_a_text_only(tmp_path: Path) -> None:
    path = file(tmp_path, b'{"text": "a"}\n{"text": "b", "id": "q", "entities": [[0, 1, "spaCy"]]}\n')
    assert list(read_texts(str(path))) == [Document("a", (), "x-1"), Document("b", (), "q")]


def test_other_fields_and_the_type_of_an_id_are_kept(tmp_path: Path) -> None:
    record = {"id": 7, "text": "a", "entities": [], "source": {"name": "wire"}, "date": None}
    path = file(tmp_path, json.dumps(record).encode())
    for (document,) in (list(read_texts(str(path))), list(read_jsonl(path)), list(load(str(path)))):
        assert document.id == "7"
        assert list(document.to_dict().items()) == list(record.items())


@pytest.mark.parametrize(("name", "suffix"), [("x.csv", ".csv"), ("x", ""), (".txt", "")])
def test_another_suffix(name: str, suffix: str) -> None:
    with pytest.raises(UsageError, match=rf"ends in '{suffix}'; legal: \.txt .*\.jsonl .* - \(standard input\)"):
        read_texts(name)


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_what_cannot_be_opened_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    with pytest.raises(DataError, match="no such file"):
        read_texts(str(path))
    path.mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_texts(str(path))

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may open anything
    with pytest.raises(DataError, match="may not be read"):
        read_texts(str(path))


@pytest.mark.parametrize(
    ("data", "message"), [(b"caf\xe9", "byte 3; .*iconv -f ISO-8859-1"), (b"\xff\xfea\0", "byte 0; .*iconv -f UTF-16")]
)
def test_a_text_in_another_encoding(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_texts(str(file(tmp_path, data, "x.txt")))


# Writing


def test_the_file_appears_when_all_is_written(tmp_path: Path) -> None:
    path = file(tmp_path, b"old\n")
    with JsonlWriter(path) as writer:
        writer.write(ADA)
        assert path.read_bytes() == b"old\n"
        assert list(read_jsonl(writer.part)) == [ADA]
    assert list(read_jsonl(path)) == [ADA]
    assert not writer.part.exists()


def interrupted(path: Path) -> JsonlWriter:
    writer = JsonlWriter(path)
    with suppress(KeyboardInterrupt), writer:
        writer.write(ADA)
        raise KeyboardInterrupt
    return writer


@pytest.mark.parametrize("torn", [b"", b'{"id": "b", "te', b"\0\0\0", lines(BOB).rstrip()])
def test_an_interrupted_run_is_resumed(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "out.jsonl"
    part = interrupted(path).part
    assert not path.exists()
    with part.open("ab") as f:
        f.write(torn)
    with JsonlWriter(path, resume=True) as writer:
        assert writer.done == {"a"}
        writer.write(BOB)
        assert writer.done == {"a", "b"}
        assert writer.count == 2
    assert list(read_jsonl(path)) == [ADA, BOB]


def test_resuming_what_is_not_there_starts_and_what_is_finished_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonlWriter(path, resume=True) as writer:
        assert writer.done == set()
        writer.write(ADA)
    with JsonlWriter(path, resume=True) as writer:
        assert writer.done == {"a"}
    assert list(read_jsonl(path)) == [ADA]


def test_without_resume_the_part_is_overwritten_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "out.jsonl"
    interrupted(path)
    write(path, BOB)
    assert list(read_jsonl(path)) == [BOB]
    assert "out.jsonl.part of an interrupted run is overwritten" in caplog.text


def test_a_part_that_holds_something_else(tmp_path: Path) -> None:
    file(tmp_path, lines(ADA) + b"notes\n", "out.jsonl.part")
    with (
        pytest.raises(DataError, match=r"out\.jsonl\.part:2: is not JSON.*delete the file"),
        JsonlWriter(tmp_path / "out.jsonl", resume=True),
    ):
        pass


class FullDisk(io.FileIO):
    """Has room for one record and a bit, the last taken by a short write, as a disk does."""

    room = len(lines(ADA)) + 10

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(self.room, len(data))
        self.room -= taken
        return super().write(data[:taken])


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr("genner.data.output.FileIO", FullDisk)
        with pytest.raises(DataError, match=r"No space left on device; documents safe in .*\.part: 1; .*--resume"):
            write(path, ADA, BOB)
    part = path.with_name("out.jsonl.part")
    assert part.stat().st_size == FullDisk.room
    assert not path.exists()
    with JsonlWriter(path, resume=True) as writer:
        assert writer.done == {"a"}
        writer.write(BOB)
    assert list(read_jsonl(path)) == [ADA, BOB]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_that_is_full(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"documents safe in .*: 0; make room"):
        write(tmp_path / "out.jsonl", ADA)


@pytest.mark.parametrize(
    ("name", "message"), [("no/out.jsonl", "No such file"), (".", "is a folder"), ("/dev/null", "device or a pipe")]
)
def test_paths_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message), JsonlWriter(tmp_path / name):
        pass
    with pytest.raises(DataError, match=message):
        write_atomic(tmp_path / name, "x")


def test_lone_surrogates_in_ids_survive(tmp_path: Path) -> None:
    odd = Document("a", (), "\ud800")
    write(tmp_path / "out.jsonl", odd)
    assert list(read_jsonl(tmp_path / "out.jsonl")) == [odd]


def test_a_whole_file_is_written_or_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_atomic(path, "é\r\n")
    assert path.read_bytes() == "é\r\n".encode()
    write_atomic(path, b"\xff")
    assert path.read_bytes() == b"\xff"

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(DataError, match="No space left on device; the file is as it was"):
        write_atomic(path, "new")
    assert path.read_bytes() == b"\xff"
    assert list(tmp_path.iterdir()) == [path]
