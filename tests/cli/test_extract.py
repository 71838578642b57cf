"""`genner extract`: what comes in, what goes out, and what it refuses. The engine is scripted: names are PERs."""

import gzip
import io
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import pytest

import genner.loading
from genner import cli
from genner.document import LabelSet
from genner.engines.base import Request
from genner.engines.scripted import ScriptedEngine
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.model_source import ModelSource

Run = Callable[..., tuple[int, str, str]]


def named(request: Request) -> str:
    return re.sub(r"\b(Ada|Bob)\b", r"<PER>\1</PER>", request.text)


def load(model: str | None, labels: LabelSet | None = None, **options: object) -> Extractor:
    signature = {"model": model or "default", "min_score": str(options.get("min_score"))}
    form = FORMATS[str(options.get("format") or "inline_xml")]
    constrained = None if (given := options.get("constrained")) is None else bool(given)
    return Extractor(
        ScriptedEngine(named), form, labels or LabelSet.of("PER"), constrained=constrained, signature=signature
    )


@pytest.fixture
def extract(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(genner.loading, "load", load)
    return lambda *args: run("extract", *args)


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def names(record: dict[str, object]) -> list[str]:
    return [e["text"] for e in record["entities"]]  # type: ignore[attr-defined]


def test_texts_that_people_have(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.md").write_text("# Ada\n\n- Bob")
    (tmp_path / "in" / "b.html").write_text("<title>Bob</title><p>Ada &amp;\n<b>Bob</b>")
    (tmp_path / "in" / "c.csv").write_text("ID;body;when\n7;Ada;now\n")
    (tmp_path / "in" / "d.jsonl.gz").write_bytes(gzip.compress(b'{"id": 8, "body": "Bob", "tags": [1]}'))
    (tmp_path / "in" / "e.pdf").write_text("")
    code, _, err = extract("in", "--text-field", "body", "--out", "o.jsonl")
    found = records(tmp_path / "o.jsonl")
    assert (code, [(r["id"], r["text"], names(r)) for r in found]) == (
        0,
        [
            ("b", "Ada & Bob", ["Ada", "Bob"]),
            ("c-1", "Ada", ["Ada"]),
            (8, "Bob", ["Bob"]),
            ("deep/a", "# Ada\n\n- Bob", ["Ada", "Bob"]),
        ],
    )
    assert [(r.get("when"), r.get("ID"), r.get("tags")) for r in found[1:3]] == [("now", "7", None), (None, None, [1])]
    assert "4 documents in o.jsonl" in err
    assert "file of another kind, or of genner's own: 1 (first: in/e.pdf)" in err


def test_json_lines_on_standard_input_are_records(extract: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 3, "text": "Ada", "k": "Bob"}\n')))
    code, out, _ = extract("-")
    assert (code, json.loads(out)["id"], json.loads(out)["text"], json.loads(out)["k"]) == (0, 3, "Ada", "Bob")


def test_a_record_without_the_field_says_which_it_has(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "content": "Ada"}')
    code, _, err = extract("x.jsonl")
    assert (code, "x.jsonl:1: has no 'text'; it has: id, content" in err, "--text-field content" in err) == (1,) + (
        True,
    ) * 2
    assert extract("x.jsonl", "--text-field", "content")[0] == 0
    (tmp_path / "x.jsonl").write_text('{"content": "Ada"}')
    assert "has no 'text'; it has: content; name" in extract("x.jsonl")[2]  # not the id it gets


def test_ids_given_to_several_texts_stay_apart(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "a"}\n{"id": "1#2", "text": "b"}\n')
    (tmp_path / "y.jsonl").write_text('{"id": "1", "text": "c"}\n')
    code, out, _ = extract("x.jsonl", "y.jsonl")
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, ["1", "1#2", "1#3"])


def test_no_output_overwrites_an_input_or_what_is_there(extract: Run, tmp_path: Path) -> None:
    source = tmp_path / "x.jsonl"
    source.write_text('{"id": "1", "text": "Ada"}\n')
    (tmp_path / "soft.jsonl").symlink_to(source)
    (tmp_path / "hard.html").hardlink_to(source)
    (tmp_path / "l.json").write_text('["PER"]')
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    for output in (
        ("--out", "x.jsonl"),
        ("--out", "./x.jsonl", "--resume"),
        ("--out", "soft.jsonl"),
        ("--html", "x.jsonl"),
        ("--html", "hard.html"),
        ("--html", "l.json"),
        ("--out", "n.html", "--html", "n.html"),
    ):
        for force in ((), ("--force",)):
            if "--resume" in output and force:
                continue
            code, _, err = extract("x.jsonl", "--labels-file", "l.json", *output, *force)
            assert (output, code, "is an input too" in err or "one file" in err) == (output, 2, True)
    code, _, err = extract(".", "--html", "hard.html", "--force")  # an input through its folder
    assert (code, "is an input too" in err) == (2, True)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert extract("x.jsonl", "--out", "o.jsonl", "--html", "o.html")[0] == 0
    for output in (("--out", "o.jsonl"), ("--html", "o.html")):
        code, _, err = extract("x.jsonl", *output)
        assert (code, "is there already" in err, "--force" in err) == (2, True, True)
        assert extract("x.jsonl", *output, "--force")[0] == 0


def test_no_command_overwrites_an_input_or_what_is_there(run: Run, tmp_path: Path) -> None:
    gold = tmp_path / "g.jsonl"
    gold.write_text('{"id": "1", "text": "Ada", "entities": [{"start": 0, "end": 3, "label": "PER", "score": 0.5}]}\n')
    (tmp_path / "l.csv").symlink_to(gold)
    (tmp_path / "o.csv").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "folder" / "notes").write_text("")
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    evaluate, probe = ("evaluate", "g.jsonl", "g.jsonl"), ("probe", "casing", "g.jsonl")
    for command, forced in (
        ((*evaluate, "--html", "g.jsonl"), False),
        ((*evaluate, "--pr-curve", "l.csv"), False),
        ((*evaluate, "--pr-curve", "n.csv", "--html", "n.csv"), False),
        ((*evaluate, "--pr-curve", "o.csv"), True),
        ((*evaluate, "--html", "o.csv"), True),
        ((*probe, "g.jsonl"), False),
        (("report", "runs", "--out", "o.csv"), True),
        (("report", "runs", "--csv", "folder"), True),
        (("report", "runs", "--markdown", "folder/notes"), True),
        (("report", "runs", "--csv", "n", "--latex", "n"), False),
    ):
        code, _, err = run(*command)
        assert (command, code, "--force" in err or "is an input too" in err or "one file" in err) == (command, 2, True)
        assert {p: p.read_bytes() for p in before} == before
        code, _, err = run(*command, "--force")
        assert (command, code == 2) == (command, not forced), err
        for path, data in before.items():
            if path.name == "o.csv":
                path.write_bytes(data)
            assert path.read_bytes() == data


def test_resume_goes_on_with_the_same_system_and_texts_only(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada"}\n')
    assert extract("x.jsonl", "--labels", "PER", "--out", "o.jsonl")[0] == 0
    before = (tmp_path / "o.jsonl").read_bytes()
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada"}\n{"id": "2", "text": "Bob"}\n')
    common = ("extract", "x.jsonl", "--out", "o.jsonl", "--resume", "--labels")[1:]
    for changed, says in (
        (("LOC",), "labels PER, now LOC"),
        (("PER,LOC",), "labels PER, now PER,LOC"),
        (("PER", "--model", "other"), "model default, now other"),
        (("PER", "--format", "compact"), "format inline_xml, now compact"),
        (("PER", "--min-score", "0.5"), "min_score "),
    ):
        code, _, err = extract(*common, *changed)
        assert (code, f"was begun with {says}" in err) == (2, True), err
    assert (tmp_path / "o.jsonl").read_bytes() == before
    code, _, err = extract(*common, "PER")
    assert (code, "2 documents in o.jsonl, 1 of them from before" in err) == (0, True)
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada left."}\n')
    code, _, err = extract(*common, "PER")
    assert (code, "document '1' has another text now" in err) == (2, True)
    (tmp_path / "x.jsonl").write_text('{"id": "3", "text": "Ada"}\n')
    code, _, err = extract(*common, "PER", "--html", "o.html")
    assert (code, "2 documents in it are not among today's texts" in err) == (0, True)
    assert "Bob" in (tmp_path / "o.html").read_text()  # the page shows what earlier runs found too


def test_resume_with_labels_in_another_order_or_depth(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada"}\n')
    (tmp_path / "deep.json").write_text('{"depth": 2, "labels": ["PER", "LOC"]}')
    resumed = ("x.jsonl", "--out", "o.jsonl", "--resume", "--labels")
    assert extract("x.jsonl", "--out", "o.jsonl", "--labels", "PER,LOC")[0] == 0
    assert extract(*resumed, "PER,LOC")[0] == 0
    code, _, err = extract(*resumed, "LOC,PER")
    assert (code, "was begun with labels PER,LOC, now LOC,PER" in err) == (2, True)
    code, _, err = extract(*resumed[:-1], "--labels-file", "deep.json")
    assert (code, "depth of nesting 1, now 2" in err) == (2, True)  # these two are core's, which are flat


def test_names_that_are_nothing_or_a_folder(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada"}\n')
    code, _, err = extract("")
    assert (code, "the name of a file is empty" in err) == (2, True)
    for folder in ("", ".", "/"):
        code, _, err = extract("x.jsonl", "--out", folder)
        assert (code, "is a folder" in err) == (1, True)


def test_two_outputs_through_a_link_are_one_file(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada"}\n')
    (tmp_path / "d").mkdir()
    (tmp_path / "here").symlink_to(tmp_path)
    for out in ("d/../n.html", "here/n.html"):  # which is not there yet
        code, _, err = extract("x.jsonl", "--out", out, "--html", "n.html")
        assert (code, "is an input too" in err, (tmp_path / "n.html").exists()) == (2, True, False)


def test_an_output_that_is_a_link_stays_one(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada"}\n')
    (tmp_path / "disk").mkdir()
    (tmp_path / "o.jsonl").symlink_to("disk/real.jsonl")
    (tmp_path / "o.html").symlink_to("disk/real.html")
    assert extract("x.jsonl", "--out", "o.jsonl", "--html", "o.html")[0] == 0
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada"}\n{"id": "2", "text": "Bob"}\n')
    assert extract("x.jsonl", "--out", "o.jsonl", "--resume")[0] == 0
    assert [r["id"] for r in records(tmp_path / "disk" / "real.jsonl")] == ["1", "2"]
    assert (tmp_path / "disk" / "real.html").is_file()
    assert (tmp_path / "o.jsonl").is_symlink()
    assert (tmp_path / "o.html").is_symlink()


def test_a_model_that_was_trained_anew_is_another(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(bytes(3 << 20))
    before = ModelSource.resolve(str(tmp_path / "m")).weights_digest
    assert before == ModelSource.resolve(str(tmp_path / "m")).weights_digest
    weights.write_bytes(bytes(3 << 20).replace(b"\0", b"\1", 1))
    assert ModelSource.resolve(str(tmp_path / "m")).weights_digest != before
    assert ModelSource.resolve("default").weights_digest is None


def test_nesting_is_decided_under_the_grammar(extract: Run, tmp_path: Path) -> None:
    code, _, err = extract("--text", "Ada", "--free", "--flat")
    assert code == 2
    assert "--free decodes without it" in err


def test_free_answers_are_said_to_be_repaired(extract: Run, run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Ada met Bob.")
    code, _, err = extract("x.txt", "--out", "held.jsonl")
    assert code == 0
    assert "repaired" not in err
    assert extract("x.txt", "--free", "--html", "free.html")[0] == 0
    code, _, err = extract("held.jsonl", "--free", "--out", "free.jsonl")
    assert code == 0
    assert "the repaired reading of free answers: 0 mentions that are not where an answer says" in err
    held, free = records(tmp_path / "held.jsonl"), records(tmp_path / "free.jsonl")
    assert free == [record | {"answer_reading": "repaired"} for record in held]
    assert "reading of a free answer: repaired" in (tmp_path / "free.html").read_text(encoding="utf-8")
    # A score of it says so, and one of what was held to the grammar, made of the same file, does not.
    extract("free.jsonl", "--out", "again.jsonl")
    for name, said in (("free", True), ("held", False), ("again", False)):
        _, out, _ = run("evaluate", "held.jsonl", f"{name}.jsonl", "--json")
        assert ("|reading:repaired" in json.loads(out)["signature"]) == said


def test_quiet_says_nothing(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Ada")
    assert extract("x.txt", "--out", "o.jsonl", "--html", "o.html", "--quiet") == (0, "", "")


def child(folder: Path) -> None:
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def slowly(request: Request) -> str:
        time.sleep(0.02)
        return named(request)

    genner.loading.load = lambda *_, **__: Extractor(ScriptedEngine(slowly), FORMATS["inline_xml"], LabelSet.of("PER"))
    sys.argv = ["genner", "extract", "x.txt", "book.txt", "--out", "o 1.jsonl", "--force"]
    cli.main()


def test_progress_and_what_ctrl_c_says(extract: Run, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Ada")
    (tmp_path / "book.txt").write_text("Ada met Bob. " * 400)
    process, terminal = pty.fork()
    if not process:
        sys.stdin, sys.stdout, sys.stderr = (open(n, mode, closefd=False) for n, mode in enumerate("rww"))  # noqa: SIM115
        try:
            child(tmp_path)
        except SystemExit as stop:
            sys.stderr.flush()
            os._exit(int(stop.code or 0))
        os._exit(99)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    shown = b""
    while b"% of book" not in shown:
        shown += os.read(terminal, 1000)
    os.kill(process, signal.SIGINT)
    while True:
        try:
            if not (more := os.read(terminal, 1000)):
                break
        except OSError:  # the other end is closed
            break
        shown += more
    _, status = os.waitpid(process, 0)
    said = shown.decode()
    assert os.waitstatus_to_exitcode(status) == 130, said
    assert re.search(r"1 of 2 documents, \d+ % of book: \d+ sentences", said)
    assert "interrupted; finished documents: 1, answers about the next: " in said
    assert "go on with:\r\n  genner extract x.txt book.txt --out 'o 1.jsonl' --resume\r\n" in said
    kept = len((tmp_path / "o 1.jsonl.part.state").read_bytes().splitlines())
    assert kept > 10
