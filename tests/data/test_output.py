"""What is written comes to be when it is whole, is gone on with by the system that began it, and overwrites nothing."""

import errno
import io
import json
import multiprocessing
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genner.data import JsonlWriter, read_jsonl, write_atomic
from genner.data.resuming import ResumeFile, differences
from genner.document import Document, Entity
from genner.engines.base import Generation
from genner.errors import DataError, UsageError
from genner.writing import may_write

ADA = Document("Ada met Bob.", (Entity(0, 3, "PER"), Entity(8, 11, "PER")), "a")
BOB = Document("Bob left.", (), "b")
SYSTEM = {"model": "m", "min_score": 0.5, "labels": {"PER": {"definition": "people"}}}
ANSWER = Generation("é".encode()[:1], (1, 2), (-0.1, -1e-9), complete=False, passes=3, computed=4)


def lines(*given: Document) -> bytes:
    return b"".join(json.dumps(d.to_dict()).encode() + b"\n" for d in given)


def write(path: Path, *given: Document, **options: Any) -> None:
    with JsonlWriter(path, **options) as writer:
        for document in given:
            writer.write(document)


def test_the_file_appears_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"old\n")
    with JsonlWriter(path, force=True) as writer:
        writer.write(ADA)
        assert path.read_bytes() == b"old\n"
        assert list(read_jsonl(writer.part)) == [ADA]
    assert list(read_jsonl(path)) == [ADA]
    assert list(tmp_path.iterdir()) == [path]


def interrupted(path: Path, about: dict[str, Any] | None = None, *answers: str) -> Path:
    writer = JsonlWriter(path, about=about)
    with suppress(KeyboardInterrupt), writer:
        writer.write(ADA)
        for key in answers:
            writer.state.keep(key, ANSWER)
        raise KeyboardInterrupt
    return writer.part


@pytest.mark.parametrize("torn", [b"", b'{"id": "b", "te', b"\0\0\0", lines(BOB).rstrip()])
def test_an_interrupted_run_is_resumed(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "out.jsonl"
    part = interrupted(path, SYSTEM)
    assert not path.exists()
    with part.open("ab") as f:
        f.write(torn)
    with JsonlWriter(path, resume=True, about=SYSTEM) as writer:
        assert (writer.has(ADA), writer.has(BOB)) == (True, False)
        writer.write(BOB)
        assert writer.has(BOB)
        assert writer.count == 2
    assert list(read_jsonl(path)) == [ADA, BOB]
    assert {p.name for p in tmp_path.iterdir()} == {"out.jsonl", "out.jsonl.meta"}


def test_resuming_what_is_not_there_starts_and_what_is_finished_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for wanted in ([ADA], [ADA], [ADA, BOB]):
        with JsonlWriter(path, resume=True, about=SYSTEM) as writer:
            for document in wanted:
                if not writer.has(document):
                    writer.write(document)
        assert list(read_jsonl(path)) == wanted


@pytest.mark.parametrize("finished", [True, False])
def test_nothing_is_overwritten_unasked(tmp_path: Path, finished: bool) -> None:
    path = tmp_path / "out.jsonl"
    if finished:
        write(path, ADA, about=SYSTEM)
    else:
        interrupted(path, SYSTEM)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r"--resume.*--force"):
        write(path, BOB, about=SYSTEM)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    write(path, BOB, about=SYSTEM, force=True)
    assert list(read_jsonl(path)) == [BOB]


OTHERS: dict[str, dict[str, Any]] = {
    "labels PER, now LOC": {**SYSTEM, "labels": {"LOC": {"definition": "people"}}},
    "labels PER, now PER,LOC": {**SYSTEM, "labels": {"PER": {"definition": "people"}, "LOC": {}}},
    "other definitions of labels PER": {**SYSTEM, "labels": {"PER": {"definition": "humans"}}},
    "min_score 0.5, now not said": {k: v for k, v in SYSTEM.items() if k != "min_score"},
    "adapter not said, now 12": {**SYSTEM, "adapter": "12"},
    "model m, now n; min_score 0.5, now 0.0": {**SYSTEM, "model": "n", "min_score": 0.0},
}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("says", OTHERS)
def test_a_file_of_another_system_is_not_gone_on_with(tmp_path: Path, says: str, finished: bool) -> None:
    path = tmp_path / "out.jsonl"
    if finished:
        write(path, ADA, about=SYSTEM)
    else:
        interrupted(path, SYSTEM)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=f"was begun with {says}; choose another --out"):
        write(path, resume=True, about=OTHERS[says])
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("damage", [None, b"", b"{", b"[]"])
def test_what_began_a_file_is_not_guessed(tmp_path: Path, damage: bytes | None, finished: bool) -> None:
    path = tmp_path / "out.jsonl"
    if finished:
        write(path, ADA, about=SYSTEM)
    else:
        interrupted(path, SYSTEM)
    beside = tmp_path / ("out.jsonl.meta" if finished else "out.jsonl.part.state")
    if damage is None:
        beside.unlink()
    else:
        beside.write_bytes(damage)
    with pytest.raises(UsageError, match=r"is not known: .* is missing or damaged"):
        write(path, resume=True, about=SYSTEM)
    if finished:
        path.write_bytes(lines(ADA, BOB))  # the .meta of another file
        with pytest.raises(UsageError, match="is not known"):
            write(path, resume=True, about=SYSTEM)


def test_another_text_under_an_id_that_is_in_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    part = interrupted(path, SYSTEM)
    with (
        pytest.raises(UsageError, match="document 'a' has another text now than in"),
        JsonlWriter(path, resume=True, about=SYSTEM) as writer,
    ):
        writer.has(Document("Other.", id="a"))
    assert list(read_jsonl(part)) == [ADA]


def test_answers_are_kept_until_their_document_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    interrupted(path, SYSTEM, "k", "k", "l")
    state = path.with_name("out.jsonl.part.state")
    with state.open("ab") as file:
        file.write(b'{"key": "torn')
    for _ in range(2):  # what is taken is not lost to the next run
        with suppress(KeyboardInterrupt), JsonlWriter(path, resume=True, about=SYSTEM) as writer:
            assert writer.state.answers == 3
            assert [writer.state.take(key) for key in "kklkm"] == [ANSWER, ANSWER, ANSWER, None, None]
            raise KeyboardInterrupt
    with suppress(KeyboardInterrupt), JsonlWriter(path, resume=True, about=SYSTEM) as writer:
        writer.write(BOB)
        assert writer.state.answers == 0
        writer.state.keep("m", ANSWER)
        raise KeyboardInterrupt
    read = ResumeFile(state)
    read.read()
    assert (read.about, read.answers, read.take("m"), read.take("k")) == (SYSTEM, 1, ANSWER, None)


generations = st.builds(
    Generation,
    st.binary(max_size=9),
    st.lists(st.integers(0), max_size=3).map(tuple),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple),
    st.booleans(),
    st.integers(0),
    st.integers(0),
)


@given(st.lists(generations, max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_answer_is_read_as_it_was_kept(tmp_path_factory: pytest.TempPathFactory, kept: list[Generation]) -> None:
    path = tmp_path_factory.mktemp("law") / "state"
    state = ResumeFile(path)
    state.begin(SYSTEM)
    for generation in kept:
        state.keep("k", generation)
    state.close()
    state = ResumeFile(path)
    state.read()
    assert [state.take("k") for _ in kept] == kept


@given(st.dictionaries(st.text(), st.text() | st.none() | st.dictionaries(st.text(), st.text())))
def test_a_system_differs_from_another_and_not_from_itself(about: dict[str, Any]) -> None:
    assert differences(about, about) == []
    assert len(differences(about, {**about, "new": "x"})) == (about.get("new") != "x")


def hold(path: str, ready: Any) -> None:
    with JsonlWriter(Path(path), about=SYSTEM, resume=True) as writer:
        writer.write(ADA)
        ready.set()
        multiprocessing.Event().wait()  # until it is killed


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"force": True}])
def test_two_processes_do_not_write_one_file(tmp_path: Path, options: dict[str, bool]) -> None:
    path = tmp_path / "out.jsonl"
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(str(path), ready))
    process.start()
    try:
        assert ready.wait(30)
        with pytest.raises(DataError, match=rf"out\.jsonl: is being written by process {process.pid}; wait"):
            write(path, BOB, about=SYSTEM, **options)
    finally:
        process.kill()
        process.join()
    with JsonlWriter(path, resume=True, about=SYSTEM) as writer:  # the lock went with its holder
        assert writer.has(ADA)
        writer.write(BOB)
    assert list(read_jsonl(path)) == [ADA, BOB]


@pytest.mark.parametrize("content", [lines(ADA) + b"notes\n", lines(ADA) + b'{"id": "b"}\n'])
def test_a_part_that_holds_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out.jsonl.part").write_bytes(content)
    with (
        pytest.raises(DataError, match=r"out\.jsonl\.part:2: .*start anew with --force"),
        JsonlWriter(tmp_path / "out.jsonl", resume=True),
    ):
        pass
    assert (tmp_path / "out.jsonl.part").read_bytes() == content


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
        assert writer.has(ADA)
        writer.write(BOB)
    assert list(read_jsonl(path)) == [ADA, BOB]


def limited(path: str, results: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
    try:
        with JsonlWriter(Path(path), about=SYSTEM) as writer:
            for number in range(100):
                writer.write(Document("Ada met Bob.", id=str(number)))
    except DataError as error:
        results.put((writer.count, str(error)))


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    path, context = tmp_path / "out.jsonl", multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=limited, args=(str(path), results))
    process.start()
    count, said = results.get(timeout=30)
    process.join()
    assert 0 < count < 100
    assert f"File too large; documents safe in {path}.part: {count}" in said
    with JsonlWriter(path, resume=True, about=SYSTEM) as writer:
        assert writer.count == count


@pytest.mark.parametrize(
    ("name", "message"), [("no/out.jsonl", "No such file"), (".", "is a folder"), ("/dev/null", "device or a pipe")]
)
def test_paths_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message), JsonlWriter(tmp_path / name):
        pass
    with pytest.raises(DataError, match=message):
        write_atomic(tmp_path / name, "x")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("genner.data.output.FileIO", refuse)  # root may write anywhere
    with pytest.raises(DataError, match=f"{os.strerror(number)}; choose another folder"):
        write(tmp_path / "out.jsonl", ADA)


def test_a_part_that_is_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.part").symlink_to("/dev/null")
    with pytest.raises(DataError, match="device or a pipe"):
        write(tmp_path / "out.jsonl", ADA)


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


def test_an_output_is_no_input_through_whatever_links(tmp_path: Path) -> None:
    source = tmp_path / "x.jsonl"
    source.write_text("{}")
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "soft").symlink_to(source)
    (tmp_path / "folder").mkdir()
    for name in ("x.jsonl", "hard", "soft", "folder/../x.jsonl"):
        for force in (False, True):
            with pytest.raises(UsageError, match=r"is an input too .* would be overwritten; choose another --out"):
                may_write(tmp_path / name, "--out", [source], force=force)
    (tmp_path / "old.html").write_text("")
    with pytest.raises(UsageError, match=r"--html .*old\.html' is there already; .*--force"):
        may_write(tmp_path / "old.html", "--html", [source])
    may_write(tmp_path / "old.html", "--html", [source], force=True)
    may_write(tmp_path / "new.html", "--html", [source])
    may_write(tmp_path / "folder", "--csv", [source])
    (tmp_path / "folder" / "notes").write_text("")
    with pytest.raises(UsageError, match=r"--csv .*folder' holds files; .*--force"):
        may_write(tmp_path / "folder", "--csv", [source])
    may_write(tmp_path / "folder", "--csv", [source], force=True)
