"""The command line on good and bad input. The engine is scripted: every capitalized word is a PER."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.places import ROOT

import genner.loading
from genner import cli
from genner.document import LabelSet
from genner.engines.base import Request
from genner.engines.scripted import ScriptedEngine
from genner.extract import Extractor
from genner.formats import FORMATS

Run = Callable[..., tuple[int, str, str]]


def capitalized(request: Request) -> str:
    return re.sub(r"\b([A-Z][a-z]+)\b", r"<PER>\1</PER>", request.text)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Call the command line in a fresh folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def load(model: str, labels: LabelSet | None = None, **_: object) -> Extractor:
        return Extractor(ScriptedEngine(capitalized), FORMATS["inline_xml"], labels or LabelSet.of("PER", "LOC"))

    def call(*args: str, scripted: bool = True) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            if scripted:
                patch.setattr(genner.loading, "load", load)
            patch.setattr(sys, "argv", ["genner", *args])
            with pytest.raises(SystemExit) as stop:
                cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_a_text(run: Run) -> None:
    code, out, _ = run("extract", "--text", "Ada met Bob.")
    assert code == 0
    record = json.loads(out)
    assert record["text"] == "Ada met Bob."
    assert [(e["start"], e["end"], e["label"], e["text"], e["score"]) for e in record["entities"]] == [
        (0, 3, "PER", "Ada", 1.0),
        (8, 11, "PER", "Bob", 1.0),
    ]
    assert record["problems"] == []


def test_what_is_said_of_nesting_and_symbols_is_passed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def load(model: str, labels: LabelSet | None = None, **options: object) -> Extractor:
        asked.append(options)
        return Extractor(ScriptedEngine(capitalized), FORMATS["inline_xml"], LabelSet.of("PER", "LOC"))

    monkeypatch.setattr(genner.loading, "load", load)
    for options in ([], ["--flat"], ["--nested"], ["--symbols"]):
        assert run("extract", "--text", "Ada met Bob.", *options, scripted=False)[0] == 0
    assert [(some["nested"], some["symbols"]) for some in asked] == [
        (None, False),
        (False, False),
        (True, False),
        (None, True),
    ]


def test_files_of_one_name_stay_apart_and_the_page_is_written(run: Run, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text(f"Ada is in {folder}.")
    (tmp_path / "c.jsonl").write_text('{"id": "1", "text": "Bob"}\n\n{"text": ""}\n')
    files = ("a/x.txt", "b/x.txt", "c.jsonl")
    code, _, err = run("extract", *files, "--out", "o.jsonl", "--html", "p.html", "--labels", "PER")
    assert (code, "5" not in err.split("documents")[0]) == (0, True)
    assert [r["id"] for r in records(tmp_path / "o.jsonl")] == ["x", "x#2", "1", "c-2"]
    assert "Ada" in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "--text or files"),
        (("--text", "a", "f.txt"), "--text or files"),
        (("nowhere.txt",), "there is no 'nowhere.txt'"),
        (("--text", "a", "--labels", "P<R"), "legal: letters"),
        (("--text", "a", "--labels", "PER,PER"), "given twice"),
        (("--text", "a", "--format", "yaml"), "known: compact, gpt_ner, grouped_json, inline_bracketed"),
        (("--text", "a", "--resume"), "--out"),
        (("--text", "a", "--labels-file", "none.json"), "there is no 'none.json'"),
        (("--text", "a", "--model", "no-such-model"), "unknown model 'no-such-model'; known: "),
        (("--bogus",), "No such option"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_is_legal(run: Run, args: tuple[str, ...], says: str) -> None:
    code, out, err = run("extract", *args, scripted="--model" not in args)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("convert",), "genner: Missing argument 'source'; see genner convert --help"),
        (("models", "fetch", "--bogus"), "; see genner models fetch --help"),
        (("evalute",), "genner: No such command 'evalute'. Did you mean 'evaluate'? See genner --help"),
    ],
)
def test_wrong_use_leads_to_the_help_of_its_command(run: Run, args: tuple[str, ...], says: str) -> None:
    code, _, err = run(*args)
    assert code == 2
    assert err.rstrip("\n").endswith(says)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"Ada \xff met", "UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\xff\xfe", ""),
        (b"\xff\xfeA\x00d\x00a\x00", "UTF-16"),
    ],
)
def test_what_is_not_text_is_refused(run: Run, tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "x.txt").write_bytes(data)
    code, out, err = run("extract", "x.txt", "--out", "o.jsonl")
    assert (code, out) == (1, "")
    assert "x.txt" in err
    assert says in err
    assert not (tmp_path / "o.jsonl").exists()


def test_an_empty_file_and_nul_bytes_are_text(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "nul.txt").write_bytes(b"Ada\x00 met \x00Bob.")
    code, out, _ = run("extract", "empty.txt", "nul.txt")
    empty, nul = (json.loads(line) for line in out.splitlines())
    assert code == 0
    assert (empty["text"], empty["entities"]) == ("", [])
    assert [(e["start"], e["text"]) for e in nul["entities"]] == [(0, "Ada"), (10, "Bob")]


def test_two_megabytes_on_one_line(run: Run, tmp_path: Path) -> None:
    sentence = "x" * 1000 + " met Ada on the way home. "  # few sentences, since each costs the script its time
    text = sentence * (2_000_000 // len(sentence))
    (tmp_path / "big.txt").write_text(text)
    code, _, _ = run("extract", "big.txt", "--out", "o.jsonl")
    (record,) = records(tmp_path / "o.jsonl")
    assert code == 0
    assert record["text"] == text
    found = [e for e in record["entities"] if e["text"] == "Ada"]  # type: ignore[attr-defined, index]
    assert len(found) == text.count("Ada")
    assert all(text[e["start"] : e["end"]] == "Ada" for e in found[:: len(found) // 50])


def test_a_line_without_blanks_is_cut_not_lost(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x" * 3000)
    code, out, _ = run("extract", "x.txt")
    record = json.loads(out)
    assert (code, record["text"]) == (0, "x" * 3000)
    assert {p["kind"] for p in record["problems"]} == {"split"}


def test_a_bad_record_names_its_line_and_what_was_done_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "text": "Ada"}\n{"id": "2", "txt": "Bob"}\n')
    code, _, err = run("extract", "x.jsonl", "--out", "o.jsonl")
    assert code == 1
    assert "x.jsonl:2" in err
    assert not (tmp_path / "o.jsonl").exists()  # half a file does not pass for a whole one


def test_a_full_disk_keeps_what_was_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jsonl").write_text("".join(f'{{"id": "{i}", "text": "Ada {i}"}}\n' for i in range(5)))
    from genner.data import JsonlWriter

    write, written = JsonlWriter.write, []

    def full(self: JsonlWriter, document: object) -> None:
        if len(written) == 3:
            raise self._broken(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        written.append(document)
        write(self, document)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(JsonlWriter, "write", full)
        code, _, err = run("extract", "x.jsonl", "--out", "o.jsonl")
    assert code == 1
    assert "No space left" in err or "full" in err
    assert not (tmp_path / "o.jsonl").exists()
    code, _, _ = run("extract", "x.jsonl", "--out", "o.jsonl", "--resume")
    assert code == 0
    assert [r["id"] for r in records(tmp_path / "o.jsonl")] == list("01234")


def test_a_full_disk_leaves_no_half_of_a_probe(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"id": "1", "text": "Ada met Bob.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}
    (tmp_path / "x.jsonl").write_text(json.dumps(record))

    def full(file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("genner.writing.sync", full)
        code, _, err = run("probe", "lower", "x.jsonl", "o.jsonl")
    assert code == 1
    assert "No space left" in err
    assert "--resume" not in err  # which a probe does not have
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]
    assert run("probe", "lower", "x.jsonl", "o.jsonl")[0] == 0


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have it ignored
sys.path[:0] = {path!r}
import genner.loading
from genner import cli
from genner.labels import parse_labels
from genner.engines.scripted import ScriptedEngine
from genner.extract import Extractor
from genner.formats import FORMATS
def script(request):
    time.sleep(0.02)
genner.loading.load = lambda *_, **__: Extractor(ScriptedEngine(script), FORMATS["inline_xml"], parse_labels("PER"))
sys.argv = ["genner", "extract", "x.jsonl", "--out", "o.jsonl", "--resume"]
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on_where_it_was(run: Run, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "x.jsonl").write_text("".join(f'{{"id": "{i}", "text": "Ada {i}"}}\n' for i in range(400)))
    program = SLOW.format(path=[str(ROOT / "src")])
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    part = tmp_path / "o.jsonl.part"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 500):
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert not (tmp_path / "o.jsonl").exists()
    assert part.stat().st_size > 500
    assert "go on with:\n  genner extract x.jsonl --out o.jsonl --resume\n" in err or number == signal.SIGKILL
    code, _, _ = run("extract", "x.jsonl", "--out", "o.jsonl", "--resume", "--labels", "PER")
    assert code == 0
    assert [r["id"] for r in records(tmp_path / "o.jsonl")] == [str(i) for i in range(400)]


def test_evaluate(run: Run, tmp_path: Path) -> None:
    gold = {"id": "1", "text": "Ada met Bob.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}
    (tmp_path / "g.jsonl").write_text(json.dumps(gold))
    (tmp_path / "p.jsonl").write_text(json.dumps({**gold, "problems": []}))
    code, out, _ = run("evaluate", "g.jsonl", "p.jsonl", "--json")
    micro = json.loads(out)["micro"]
    assert code == 0
    assert (micro["precision"], micro["recall"], micro["f1"], micro["tp"], micro["fp"], micro["fn"]) == (
        1,
        1,
        1,
        1,
        0,
        0,
    )
    code, out, _ = run("evaluate", "g.jsonl", "p.jsonl")
    assert (code, "PER" in out, "no interval: there is 1 document" in out) == (0, True, True)
    code, _, err = run("evaluate", "g.jsonl", "nowhere.jsonl")
    assert (code, "nowhere.jsonl" in err) == (2, True)


def test_models(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    code, out, _ = run("models", "list")
    assert code == 0
    assert "smollm2-135m-instruct" in out
    assert "not fetched" in out
    assert run("models", "where", "smollm2-135m-instruct")[0] == 1
    code, _, err = run("models", "where", "nonsense")
    assert code == 2
    assert "smollm2-135m-instruct" in err


def test_train_refuses_a_bad_recipe_before_it_loads_anything(run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("base = 'x'\nbogus = 1\n")
    code, _, err = run("train", "r.toml", "--out", "o", "--data", ".")
    assert code == 1
    assert "bogus" in err


@pytest.mark.parametrize("args", [("--help",), ("extract", "--help"), ("train", "--help"), ("models", "--help")])
def test_help(run: Run, args: tuple[str, ...]) -> None:
    code, out, _ = run(*args)
    assert (code, "Usage" in out) == (0, True)


def test_formats_and_grammars_for_other_engines(run: Run) -> None:
    code, out, _ = run("formats")
    assert (code, [line.split("\t")[0] for line in out.splitlines()]) == (0, list(FORMATS))
    for to, begins in (("gbnf", "root ::= "), ("ebnf", "root ::= "), ("lark", "start: ")):
        code, out, _ = run("grammar", "--text", "Ada left Rome.", "--labels", "PER,LOC", "--to", to)
        assert (code, out.startswith(begins)) == (0, True)
    code, out, _ = run("grammar", "--text", "Ada left Rome.", "--format", "offset_json", "--to", "json-schema")
    assert (code, json.loads(out)["type"]) == (0, "array")
    for args, says in ((("--to", "bnf"), "known: gbnf"), (("--to", "json-schema"), "not JSON")):
        code, out, err = run("grammar", "--text", "Ada", *args)
        assert (code, out) == (2, "")
        assert says in err


@pytest.mark.parametrize(
    ("args", "advice"),
    [
        (("--labels", "genia", "--depth", "60"), "--to lark"),
        (("--labels", "PER,LOC", "--depth", "10000000", "--to", "ebnf"), "--to lark"),
        (("--format", "offset_json", "--to", "json-schema"), "--to gbnf"),
        (("--format", "grouped_json", "--to", "json-schema"), "--to gbnf"),
    ],
)
def test_a_grammar_that_is_too_large_is_refused_before_it_is_built(
    run: Run, args: tuple[str, ...], advice: str
) -> None:
    """Built, these would take from minutes to for ever, and all of the memory."""
    code, out, err = run("grammar", "--text", "Ada left Rome. " * 2000, *args)
    assert (code, out) == (2, "")
    assert "is more than --max-size 262144" in err
    assert advice in err


@pytest.mark.parametrize("text", ["Ada", "a b", "Ada met Bob."])
@pytest.mark.parametrize(("form", "to", "depth"), [("inline_xml", "gbnf", 2), ("inline_xml", "gbnf", 3),
                                                   ("offset_json", "json-schema", 1)])  # fmt: skip
def test_what_fits_is_never_refused_before_it_is_built(run: Run, text: str, form: str, to: str, depth: int) -> None:
    args = ("grammar", "--text", text, "--format", form, "--to", to, "--depth", str(depth), "--labels", "A,B")
    _, out, _ = run(*args)
    assert run(*args, "--max-size", str(len(out)))[:2] == (0, out)
    assert run(*args, "--max-size", str(len(out) - 1))[0] == 2


def test_half_a_character_has_no_grammar(run: Run) -> None:
    code, out, err = run("grammar", "--text", "Ada\ud800")
    assert (code, out) == (1, "")
    assert "lone surrogate" in err


def test_a_package_that_cannot_be_imported_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch without its libraries: no traceback."""

    def load(*_: object, **__: object) -> None:
        raise ImportError("libcudnn.so.9: cannot open shared object file")

    monkeypatch.setattr("genner.loading.load", load)
    code, _, err = run("extract", "--text", "Ada", scripted=False)
    assert (code, err) == (
        1,
        "genner: a package is installed and cannot be imported: libcudnn.so.9: cannot open shared object file; install "
        "it again\n",
    )


def test_a_drafter_is_not_trained_into_a_shipped_adapter(run: Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    code, _, err = run("drafter", "recipe.toml", "default")
    assert code == 2
    assert "'default' is a shipped one; give the folder" in err
