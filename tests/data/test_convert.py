"""`genner convert`: any syntax to any other, in little memory, with all that was wrong or lost told at the end."""

import json
import os
import signal
import tracemalloc
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.conftest import Run

from genner.data.base import ReadLog
from genner.data.convert import convert
from genner.data.corpus import read_corpus
from genner.data.jsonl import read_jsonl
from genner.data.registry import SYNTAXES, guess_target
from genner.document import Document, Entity
from genner.errors import DataError, UnknownNameError, UsageError

ADA = Document("Ada met Bob .", (Entity(0, 3, "PER"), Entity(8, 11, "PER")), "a")
ZOE = Document("ZOË MET BOB !", (Entity(0, 3, "PER"), Entity(8, 11, "PER")), "z")


def lines(path: Path, *given: Document) -> Path:
    path.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in given), encoding="utf-8")
    return path


# What needs no extra and keeps everything.
THROUGH = ["prodigy", "label_studio", "gliner", "alpaca", "jsonl"]


@pytest.mark.parametrize("first", THROUGH)
@pytest.mark.parametrize("second", THROUGH)
def test_from_each_to_each_and_home(tmp_path: Path, first: str, second: str) -> None:
    start = lines(tmp_path / "start.jsonl", ADA, ZOE)
    assert convert(start, tmp_path / "first", writer=first) == 2
    assert convert(tmp_path / "first", tmp_path / "second", writer=second) == 2
    assert convert(tmp_path / "second", tmp_path / "home.jsonl") == 2
    assert list(read_jsonl(tmp_path / "home.jsonl")) == [ADA, ZOE]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    text = "Ada met Bob. " * 100
    with (tmp_path / "big.jsonl").open("w") as out:
        for i in range(1500):
            out.write(json.dumps({"id": i, "text": text, "entities": [{"start": 0, "end": 3, "label": "PER"}]}) + "\n")
    size = (tmp_path / "big.jsonl").stat().st_size
    for source, target, writer in (
        ("big.jsonl", "big.json", "label_studio"),
        ("big.json", "big.prodigy", "prodigy"),
        ("big.prodigy", "home.jsonl", "jsonl"),
    ):
        tracemalloc.start()
        assert convert(tmp_path / source, tmp_path / target, writer=writer) == 1500
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < size / 3, f"{source} to {writer}"


def test_rewrites_come_in_their_order(tmp_path: Path) -> None:
    start = lines(tmp_path / "start.jsonl", ADA, ZOE, Document("As Bob met Zoë .", (), "c"))
    convert(start, tmp_path / "out.jsonl", rewrites=["truecase", "paper"])
    ada, zoe, _ = read_jsonl(tmp_path / "out.jsonl")
    assert ada == Document("Ada met Bob.", ADA.entities, "a")
    assert zoe == Document("Zoë met Bob!", ZOE.entities, "z")
    with pytest.raises(UnknownNameError, match=r"unknown rewrite 'case'.*; known: paper, paper_conll, .*truecase"):
        convert(start, tmp_path / "other.jsonl", rewrites=["case"])


def test_a_syntax_that_only_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class ReadOnly(SYNTAXES["jsonl"]):  # type: ignore[misc]
        name = "read_only"
        writes = False

    monkeypatch.setitem(SYNTAXES, "read_only", ReadOnly)
    with pytest.raises(UsageError, match="read_only can be read but not written"):
        convert(lines(tmp_path / "x.jsonl", ADA), tmp_path / "y", writer="read_only")


def test_every_suffix_that_one_writer_has_names_it() -> None:
    writers = [kind for kind in SYNTAXES.values() if kind.writes]
    for kind in writers:
        for suffix in kind.suffixes:
            if [suffix in other.suffixes for other in writers].count(True) == 1:
                assert type(guess_target(Path(f"x{suffix}"))) is kind


def test_the_log_is_told_of_all_files(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", ADA, ADA, ZOE)
    read_log = ReadLog(lenient=True)
    assert list(read_corpus(path, read_log=read_log)) == [ADA, ZOE]
    assert read_log.errors == {"duplicate id": 1}
    with pytest.raises(DataError, match=r"x\.jsonl:2: id 'a' was given before"):
        list(read_corpus(path))


# Nothing overwritten


def test_a_target_is_replaced_when_all_is_written_and_it_is_said(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "in.jsonl", ADA)
    (tmp_path / "bad.jsonl").write_text('{"text": "Ada"}\n')
    (tmp_path / "out.json").write_text("mine")
    assert run("convert", "bad.jsonl", "out.json", "--to", "label_studio", "--from", "jsonl")[0] == 1
    assert (tmp_path / "out.json").read_text() == "mine"
    code, _, err = run("convert", "in.jsonl", "out.json", "--to", "label_studio")
    assert (code, "out.json, in place of the file that was there" in err) == (0, True)
    assert list(read_corpus(tmp_path / "out.json")) == [ADA]


def test_what_is_read_is_never_overwritten(tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl", ADA)
    (tmp_path / "link.jsonl").symlink_to(source)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.write(source, "in.jsonl")
    folder = tmp_path / "brat"
    convert(source, folder, writer="brat")
    for read, target, writer in (
        (source, source, None),
        (source, tmp_path / "link.jsonl", None),
        (tmp_path / "*.jsonl", source, None),
        (tmp_path / "in.zip", tmp_path / "in.zip", "jsonl"),
        (tmp_path / "in.zip" / "in.jsonl", tmp_path / "in.zip", "jsonl"),
        (folder, folder / "a.ann", "jsonl"),
    ):
        before = target.read_bytes()
        with pytest.raises(UsageError, match="is read, so it cannot be written; choose another name"):
            convert(read, target, writer=writer)
        assert target.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing to kill a process in")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("name", ["jsonl", "label_studio", "alpaca", "brat"])
def test_a_conversion_that_is_killed_leaves_no_half(tmp_path: Path, name: str, number: str) -> None:
    source, target = lines(tmp_path / "in.jsonl", ADA, ZOE), tmp_path / "out"

    def dies(documents: Iterable[Document]) -> Iterator[Document]:
        for count, document in enumerate(documents):
            if count:
                os.kill(os.getpid(), getattr(signal, number))
            yield document

    if not (child := os.fork()):
        convert(source, target, writer=name, watch=dies)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -getattr(signal, number)
    assert not target.exists()
    assert convert(source, target, writer=name) == 2
    assert sorted(read_corpus(target, name), key=lambda d: d.id) == [ADA, ZOE]


# The command


def test_converting(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "in.jsonl", ADA, ZOE)
    code, out, err = run("convert", "in.jsonl", "out.json", "--to", "label_studio")
    assert (code, out) == (0, "")
    assert err.splitlines()[-1] == "2 documents in out.json"
    assert run("convert", "out.json", "home.jsonl")[0] == 0
    assert list(read_jsonl(tmp_path / "home.jsonl")) == [ADA, ZOE]


def test_options_and_rewrites(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "in.jsonl", ADA)
    code, _, _ = run("convert", "in.jsonl", "x.json", "--to", "alpaca:labels=PER,LOC", "--rewrite", "paper")
    assert code == 0
    [row] = json.loads((tmp_path / "x.json").read_text())
    assert row["output"] == "<PER>Ada</PER> met <PER>Bob</PER>."
    assert "- LOC: location" in row["instruction"]
    assert (tmp_path / "dataset_info.json").exists()


def test_faults_stop_or_are_counted(run: Run, tmp_path: Path) -> None:
    path = lines(tmp_path / "in.jsonl", ADA, ZOE)
    path.write_text(path.read_text() + '{"text": "torn')
    code, _, err = run("convert", "in.jsonl", "out.jsonl")
    assert code == 1
    assert "in.jsonl:3: is not JSON" in err
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]
    code, _, err = run("convert", "in.jsonl", "out.jsonl", "--lenient")
    assert code == 0
    assert "error bad JSON: 1 (first: in.jsonl:3: is not JSON" in err
    assert list(read_jsonl(tmp_path / "out.jsonl")) == [ADA, ZOE]


def test_that_nothing_is_left_is_a_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('[{"data": {"text": "a"}, "annotations": []}]')
    code, _, err = run("convert", "in.json", "out.jsonl")
    assert code == 1
    assert err.splitlines()[-2:] == [
        "not kept task without an annotation: 1 (first: in.json:1, record 1)",
        "0 documents in out.jsonl",
    ]
    (tmp_path / "empty.jsonl").write_text("")
    assert run("convert", "empty.jsonl", "out2.jsonl", "--from", "jsonl")[0] == 0


def test_an_empty_file_is_said_to_be_empty(run: Run, tmp_path: Path) -> None:
    for name in ("empty.jsonl", "empty.conll", "empty.csv"):
        (tmp_path / name).write_text("")
        code, _, err = run("convert", name, f"out-{name}.jsonl")
        assert code == 0
        assert f"{name} holds no document; is it the right file?" in err
    for name, content, said in (("x", "", "it is empty"), ("y.json", "[\n]\n", "an empty list")):
        (tmp_path / name).write_text(content)
        code, _, err = run("convert", name, "out.jsonl")
        assert code == 2
        assert f"cannot tell what {name!r} is: {said}; " in err


def test_a_mistyped_word_of_a_command_is_guessed(run: Run) -> None:
    for args, meant in (
        (("data", "fecth"), "did you mean genner data fetch?"),
        (("contamination", "lst"), "did you mean genner contamination list?"),
        (("probe", "lst"), "did you mean 'list'?"),
    ):
        code, _, err = run(*args)
        assert code == 2
        assert meant in err


def test_a_description_is_whole_where_it_is_no_terminal(run: Run, tmp_path: Path) -> None:
    name = f"a-long-name-of-a-file-{'x' * 60}.jsonl"
    lines(tmp_path / name, ADA, ZOE)
    code, out, _ = run("data", name)
    head, row = out.splitlines()[:2]
    assert code == 0
    assert " ".join(head.split()) == "file documents groups entities inner crossing depth duplicates longest labels"
    assert row.startswith(f"{name}  ")
    assert row.rstrip().endswith("PER 4")


def test_losses_are_told(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "in.jsonl", Document("abc", (Entity(0, 2, "X"), Entity(1, 3, "Y", 0.5)), "c"))
    code, _, err = run("convert", "in.jsonl", "out.json", "--to", "alpaca")
    assert code == 0
    assert "not kept score: 1 (first: c)" in err
    assert "not kept entity that inline_xml cannot say: 1 (first: c)" in err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("none.jsonl", "x.jsonl"), 2, "none.jsonl: there is no such file or folder; check the path"),
        (("in.jsonl", "x.json"), 2, "the name 'x.json' does not say which syntax to write"),
        (("in.jsonl", "x", "--to", "xml"), 2, "unknown syntax 'xml'; known: "),
        (("in.jsonl", "x.jsonl", "--from", "jsonl:a=1"), 2, "jsonl has no option 'a'; it has: none"),
        (("in.jsonl", "no/x.jsonl"), 1, "cannot be written: No such file or directory"),
        (("in.jsonl", "."), 2, "does not say which syntax to write"),
        (("in.jsonl", "folder.jsonl"), 1, "folder.jsonl: is a folder; name a file"),
        (("folder.jsonl", "x.jsonl", "--from", "jsonl"), 2, "folder.jsonl: is a folder; name a file in it"),
    ],
)
def test_wrong_use(run: Run, tmp_path: Path, args: tuple[str, ...], code: int, message: str) -> None:
    lines(tmp_path / "in.jsonl", ADA)
    (tmp_path / "folder.jsonl").mkdir()
    got, _, err = run("convert", *args)
    assert got == code
    assert message in err
