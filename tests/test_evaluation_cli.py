"""`genner evaluate` from end to end."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genner import cli

Run = Callable[..., tuple[int, str, str]]
GOLD = {"id": "1", "text": "Ada met Bob.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}
PRED = {"id": "1", "text": "Ada met Bob.", "entities": [{"start": 8, "end": 11, "label": "PER"}]}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`genner evaluate ARGS` in a folder with gold, predictions and generations: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)
    Path("g.jsonl").write_text(json.dumps(GOLD))
    Path("p.jsonl").write_text(json.dumps(PRED))
    record = {"predict": "[Ada | PER] met Bob", "label": "[Ada | PER] met Bob."}
    Path("out.jsonl").write_text(json.dumps(record))

    def call(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genner", "evaluate", *args])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


@pytest.mark.parametrize(
    ("name", "content", "kind", "title"),
    [
        ("g.json", json.dumps([{"id": 1, "data": {"text": "a"}, "annotations": []}], indent=1), "label_studio", ""),
        ("g.json", json.dumps([["a", {"entities": []}]]), "spacy_json", "it looks like spaCy's training data"),
        ("g.json", json.dumps([GOLD]), "jsonl", "it is JSON, but not one record a line"),
        ("g.csv", "Sentence #,Word,Tag\nSentence: 1,Ada,B-PER\n,met,O\n", "token_csv", ""),
        ("g.conll", "Ada B-PER\nmet O\n", "conll", "it looks like the syntax conll"),
        ("a b/d.ann", "T1\tPER 0 3\tAda\n", "brat", "is a folder; it looks like the syntax brat"),
    ],
)
def test_gold_in_another_syntax_is_named_with_the_command(
    run: Run, name: str, content: str, kind: str, title: str
) -> None:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    if kind == "brat":
        Path("a b/d.txt").write_text("Ada met.")
        path, name = path.parent, "'a b'"
    code, _, err = run(str(path), "p.jsonl")
    assert code in (1, 2)
    assert title in err
    assert f"genner convert {name} NEW.jsonl --from {kind}" in err


def test_a_report(run: Run) -> None:
    code, out, _ = run("g.jsonl", "p.jsonl", "--train", "g.jsonl", "--html", "page.html")
    assert code == 0
    for part in (
        "precision    recall  f1-score   support",
        "tolerant",
        "strict, by seen",
        "missed       1",
        "confusion",
    ):
        assert part in out
    assert "|unit:document|units:1|interval:jackknife-t" in out
    assert "no interval: there is 1 document" in out
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_json(run: Run) -> None:
    code, out, _ = run("g.jsonl", "p.jsonl", "--json")
    record = json.loads(out)
    assert (code, record["micro"]["fp"], record["errors"]["kinds"]["missed"]) == (0, 1, 1)


def test_two_systems(run: Run) -> None:
    code, out, _ = run("g.jsonl", "p.jsonl", "g.jsonl")
    assert code == 0
    assert "two-sided p" in out
    record = json.loads(run("g.jsonl", "p.jsonl", "g.jsonl", "--json")[1])
    assert record["differences"]["strict"]["value"] == 1.0
    assert record["second"]["micro"]["f1"] == 1.0


@pytest.mark.parametrize("rule", ["paper", "strict", "repaired"])
def test_generations(run: Run, rule: str) -> None:
    arguments = ("--generations", "out.jsonl", "--format", "inline_bracketed", "--rule", rule)
    code, out, _ = run(*arguments, "--json", "--labels", "PER,LOC")
    micro = json.loads(out)["micro"]
    assert code == 0
    assert {k: micro[k] for k in ("precision", "recall", "f1", "tp", "fp", "fn")} == {
        "precision": 1.0, "recall": 1.0, "f1": 1.0, "tp": 1, "fp": 0, "fn": 0,
    }  # fmt: skip
    assert f"rule: {rule}; format: inline_bracketed" in run(*arguments, "g.jsonl")[1]


@pytest.mark.parametrize("rule", [(), ("--rule", "strict"), ("--rule", "repaired"), ("--rule", "paper")])
@pytest.mark.parametrize("gold", [(), ("gold.jsonl",)], ids=["prompt", "gold"])
def test_all_three_readings_are_shown_whichever_is_the_score(
    run: Run, tmp_path: Path, rule: tuple[str, ...], gold: tuple[str, ...]
) -> None:
    text = "At the meeting on Monday last week, some Bob spoke."
    at = text.index("Bob")
    right, wrong = ([{"text": "Bob", "label": "PER", "start": s, "end": s + 3}] for s in (at, at - 8))
    record = {"predict": json.dumps(wrong), "label": json.dumps(right), "prompt": f"Text:\n{text}"}
    (tmp_path / "o.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    document = {"text": text, "entities": [{"start": at, "end": at + 3, "label": "PER"}]}
    (tmp_path / "gold.jsonl").write_text(json.dumps(document) + "\n", encoding="utf-8")
    arguments = (*gold, "--generations", "o.jsonl", "--format", "offset_json", *rule)
    _, out, _ = run(*arguments, "--json")
    found = json.loads(out)
    expected = {"paper": (0, 1, 1), "strict": (0, 1, 1), "repaired": (1, 0, 0)}
    assert {name: (c["tp"], c["fp"], c["fn"]) for name, c in found["readings"].items()} == expected
    chosen = rule[1] if rule else "strict"
    assert (found["rule"], (found["micro"]["tp"], found["micro"]["fp"], found["micro"]["fn"])) == (
        chosen, expected[chosen],
    )  # fmt: skip
    _, out, _ = run(*arguments)
    rows = [line.split() for line in out.splitlines()]
    shown = {row[0]: tuple(map(int, row[-3:])) for row in rows if row and row[0] in expected and len(row) > 6}
    assert shown == expected
    assert "strict: mentions that the text does not have where the answer puts them: 1" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give GOLD and PRED"),
        (("g.jsonl",), "give GOLD and PRED"),
        (("g.jsonl", "p.jsonl", "--rule", "paper"), "--generations"),
        (("--generations", "out.jsonl"), "needs --format"),
        (("g.jsonl", "p.jsonl", "--generations", "out.jsonl", "--format", "inline_xml"), "leave out PRED"),
        (("--generations", "out.jsonl", "--format", "xml"), "unknown format of generations 'xml'; known: grouped_json"),
        (("--generations", "out.jsonl", "--format", "inline_xml", "--rule", "x"), "unknown rule 'x'; known: paper"),
        (("--generations", "none.jsonl", "--format", "inline_xml"), "none.jsonl"),
    ],
)
def test_wrong_use(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def write(name: str, records: list[dict[str, object]]) -> None:
    Path(name).write_text("".join(json.dumps(r) + "\n" for r in records))


def test_groups_by_default_and_as_asked_for(run: Run) -> None:
    gold = [GOLD | {"id": f"{i}", "group": f"a{i // 2}", "book": i // 4} for i in range(8)]
    write("g.jsonl", gold)
    write("p.jsonl", [(GOLD if i % 3 else PRED) | {"id": f"{i}"} for i in range(8)])

    def units(*args: str) -> tuple[str, int]:
        code, out, _ = run("g.jsonl", "p.jsonl", "--json", *args)
        found = json.loads(out)["units"]
        assert (code, found["documents"]) == (0, 8)
        assert "fewer than 30" in found["warning"]
        return found["unit"], found["number"]

    assert units() == units("--group-by", "group") == ("group", 4)
    assert units("--group-by", "document") == ("document", 8)
    assert units("--group-by", "book") == ("field book", 2)
    assert units("--group-by", "id:[0-3]") == ("id [0-3]", 8)
    code, _, err = run("g.jsonl", "p.jsonl", "--group-by", "chapter")
    assert code == 2
    assert "--group-by chapter" in err
    assert "book" in err
    _, out, _ = run("g.jsonl", "p.jsonl", "p.jsonl")
    assert "paired, jackknife over 4 groups of 8 documents" in out


def test_where_nothing_can_be_scored_it_is_said(run: Run) -> None:
    Path("empty.jsonl").write_text("")
    for files in (("empty.jsonl", "empty.jsonl"), ("empty.jsonl", "p.jsonl")):
        code, _, err = run(*files)
        assert code == 2
        assert "empty.jsonl has no document: nothing can be scored" in err
    code, _, err = run("g.jsonl", "empty.jsonl")
    assert code == 2
    assert "g" in err
    nothing = {"id": "1", "text": GOLD["text"], "entities": []}
    write("none.jsonl", [nothing])
    code, _, err = run("none.jsonl", "none.jsonl")
    assert code == 2
    assert "0 of 0 are right" in err
    code, out, _ = run("g.jsonl", "none.jsonl")
    assert code == 0
    assert "no entity was predicted" in out
    code, out, _ = run("none.jsonl", "p.jsonl")
    assert code == 0
    assert "no gold entity" in out
    code, _, err = run("--generations", "empty.jsonl", "--format", "inline_bracketed")
    assert code == 2


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-0.1", "2"])
def test_a_score_that_is_none_is_refused_with_its_line(run: Run, score: str) -> None:
    Path("p.jsonl").write_text(json.dumps(PRED).replace('"label"', f'"score": {score}, "label"'))
    code, _, err = run("g.jsonl", "p.jsonl")
    assert code in (1, 2)
    assert "p.jsonl:1" in err
    assert "score" in err
