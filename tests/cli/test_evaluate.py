"""`genner evaluate` from end to end."""

import gzip
import json
import sys
import zipfile
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

    def call(*args: str, command: str = "evaluate") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genner", command, *args])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


SPAN = {"start": 0, "end": 3, "label": "PER"}
SENTENCE: dict[str, object] = {"text": "Ada met", "entities": [SPAN]}
RESULT = {"type": "labels", "from_name": "label", "to_name": "text", "value": {"start": 0, "end": 3, "labels": ["PER"]}}
OTHER_SYNTAXES = {
    "prodigy": ("g.jsonl", json.dumps({"text": "Ada met", "spans": [SPAN], "answer": "accept"})),
    "label_studio": ("g.json", json.dumps([{"data": {"text": "Ada met"}, "annotations": [{"result": [RESULT]}]}])),
    "spacy_json": ("g.json", json.dumps([["Ada met", {"entities": [[0, 3, "PER"]]}]])),
    "jsonl": ("g.json", json.dumps([SENTENCE])),
    "token_csv": ("g.csv", "Sentence #,Word,Tag\nSentence: 1,Ada,B-PER\n,met,O\n"),
    "conll": ("g.conll", "Ada B-PER\nmet O\n"),
    "brat": ("a b/d.ann", "T1\tPER 0 3\tAda\n"),
}


@pytest.mark.parametrize("kind", OTHER_SYNTAXES)
@pytest.mark.parametrize("packed", ["", "gzip", "zip"])
def test_gold_in_any_syntax_is_scored_as_json_lines_are(run: Run, kind: str, packed: str) -> None:
    name, content = OTHER_SYNTAXES[kind]
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    if kind == "brat":
        Path("a b/d.txt").write_text("Ada met")
        path = path.parent
    elif packed == "gzip":
        path = Path(f"{name}.gz")
        path.write_bytes(gzip.compress(content.encode()))
    elif packed == "zip":
        with zipfile.ZipFile("all.zip", "w") as archive:
            archive.writestr(name, content)
            archive.writestr("other.txt", "")
        path = Path("all.zip", name)
    write("gold.jsonl", [SENTENCE])
    write("pred.jsonl", [SENTENCE | {"problems": [{"kind": "dropped"}]}])

    def scores(out: str) -> dict[str, object]:
        found = json.loads(out)
        return {key: found[key] for key in ("micro", "per_label", "errors")}  # brat's files are groups as well

    wanted = scores(run("gold.jsonl", "pred.jsonl", "--json")[1])
    assert json.dumps(wanted).count('"f1": 1.0') >= 2
    for given in ((), ("--from", f"gold={kind}", "--from", "pred=jsonl")):
        code, out, err = run(str(path), "pred.jsonl", "--json", *given)
        assert (code, scores(out)) == (0, wanted), err
    code, out, _ = run("gold.jsonl", str(path), "--train", str(path), "--json")  # and as predictions, and training data
    assert (code, json.loads(out)["micro"]["f1"]) == (0, 1.0)


def test_scores_of_predictions_in_another_syntax_are_used(run: Run) -> None:
    write("gold.jsonl", [SENTENCE])
    write("p.jsonl", [{"text": "Ada met", "spans": [SPAN | {"score": 0.25}], "answer": "accept"}])
    assert run("gold.jsonl", "p.jsonl", "--pr-curve", "curve.csv")[0] == 0
    assert "0.25" in Path("curve.csv").read_text()


def test_a_file_that_says_nothing_of_entities_is_refused_with_its_keys_and_the_option(run: Run) -> None:
    write("plain.jsonl", [{"text": "Ada met Bob.", "source": "x"}])
    code, _, err = run("plain.jsonl", "p.jsonl")
    assert code == 2
    assert "its first record has: text, source" in err
    assert "--from NAME" in err
    code, _, err = run("g.jsonl", "plain.jsonl")
    assert code == 2
    assert "--from pred=NAME" in err
    write("wp.jsonl", [{"text": "Ada met", "spans": [SPAN], "answer": "accept"}])
    code, _, err = run("g.jsonl", "wp.jsonl", "--from", "pred=doccano")
    assert code in (1, 2)
    assert "--from pred=prodigy" in err
    Path("torn.jsonl").write_text('{"text": "Ada\n')
    assert "torn.jsonl:1: is not JSON" in run("torn.jsonl", "p.jsonl")[2]


def test_lenient_reading_counts_and_says_what_it_passes_over(run: Run) -> None:
    Path("g.jsonl").write_text(json.dumps(GOLD) + "\n" + "{broken\n")
    assert run("g.jsonl", "p.jsonl")[0] == 1
    code, _, err = run("g.jsonl", "p.jsonl", "--lenient")
    assert code == 0
    assert "error bad JSON: 1" in err


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


@pytest.mark.parametrize("gold", [(), ("g.jsonl",)])
@pytest.mark.parametrize("more", [(), ("--json",), ("--rule", "paper", "--labels", "PER")])
def test_score_generations_is_what_evaluate_does_with_generations(
    run: Run, gold: tuple[str, ...], more: tuple[str, ...]
) -> None:
    arguments = ("--format", "inline_bracketed", *more)
    code, out, err = run("out.jsonl", *gold, *arguments, command="score-generations")
    assert (code, out != "") == (0, True)
    assert (code, out, err) == run(*gold, "--generations", "out.jsonl", *arguments)


def test_wrong_use_of_score_generations(run: Run) -> None:
    for arguments, message in (
        ((), "needs --format"),
        (("--format", "inline_bracketed", "--group-by", "group"), "--group-by needs GOLD"),
    ):
        code, out, err = run("out.jsonl", *arguments, command="score-generations")
        assert (code, out) == (2, "")
        assert message in err


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
    assert "of 0 predicted entities 0 can be right" in err
    code, out, _ = run("g.jsonl", "none.jsonl")
    assert code == 0
    assert "no entity was predicted" in out
    code, out, err = run("none.jsonl", "p.jsonl")
    assert (code, out) == (2, "")
    assert "none.jsonl has no entity in 1 documents" in err
    code, _, err = run("--generations", "empty.jsonl", "--format", "inline_bracketed")
    assert code == 2


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-0.1", "2"])
def test_a_score_that_is_none_is_refused_with_its_line(run: Run, score: str) -> None:
    Path("p.jsonl").write_text(json.dumps(PRED).replace('"label"', f'"score": {score}, "label"'))
    code, _, err = run("g.jsonl", "p.jsonl")
    assert code in (1, 2)
    assert "p.jsonl:1" in err
    assert "score" in err


def test_generations_that_say_nothing_are_no_score_of_zero(run: Run) -> None:
    """The answers of another format look like answers without entities."""
    code, out, err = run("--generations", "out.jsonl", "--format", "inline_xml")
    assert (code, out) == (2, "")
    assert "nothing can be scored" in err
    assert "--format says how the answers are written (the answers may be in inline_bracketed)" in err
    write("none.jsonl", [{"predict": "[]", "label": "[]"}])
    code, _, err = run("--generations", "none.jsonl", "--format", "offset_json", "--labels", "PER")
    assert code == 2
    assert "0 of 0 are right" in err


def test_records_without_an_answer_are_counted(run: Run) -> None:
    answer = "[Ada | PER] met Bob."
    write("mixed.jsonl", [{"predict": answer, "label": answer}, {"predict": answer}, {"text": "other", "entities": []}])
    _, out, _ = run("--generations", "mixed.jsonl", "--format", "inline_bracketed")
    assert "records without 'label', which count as an empty one: 2" in out
    _, out, _ = run("--generations", "mixed.jsonl", "--format", "inline_bracketed", "--json")
    assert json.loads(out)["records_without"] == {"label": 2, "predict": 1}


@pytest.mark.parametrize("prompt", [{}, {"prompt": "Text:\nAda met Bob."}])
def test_gold_that_was_cut_off_is_counted(run: Run, prompt: dict[str, str]) -> None:
    """LLaMA-Factory cuts labels at `cutoff_len`; the entities behind are lost."""
    item = '{"text": "Ada", "label": "PER", "start": 0, "end": 3}'
    write("cut.jsonl", [{"predict": f"[{item}]", "label": f'[{item}, {{"text": "Bob", "la', **prompt}])
    _, out, _ = run("--generations", "cut.jsonl", "--format", "offset_json")
    assert "gold answers: 1 truncated" in out


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("inline_bracketed", "[A\ud800 | PER] x"),
        ("inline_xml", "<PER>A\ud800</PER> x"),
        ("grouped_json", '{"PER": ["A\ud800"]}'),
        ("occurrence_json", '[{"text": "A\ud800", "label": "PER", "occurrence_index": 1}]'),
        ("offset_json", '[{"text": "A\ud800", "label": "PER", "start": 0, "end": 2}]'),
    ],
)
@pytest.mark.parametrize("prompt", [{}, {"prompt": "Text:\nA\ud800 x"}])
def test_half_a_character_in_an_answer(run: Run, form: str, answer: str, prompt: dict[str, str]) -> None:
    Path("half.jsonl").write_text(json.dumps({"predict": answer, "label": answer, **prompt}))
    code, out, _ = run("--generations", "half.jsonl", "--format", form, "--json")
    assert code == 0
    assert [json.loads(out)["readings"][name]["tp"] for name in ("paper", "strict", "repaired")] == [1, 1, 1]


def test_a_list_of_generations_is_told_from_lines(run: Run) -> None:
    Path("list.json").write_text(json.dumps([{"predict": "a", "label": "b"}]))
    code, _, err = run("--generations", "list.json", "--format", "inline_xml")
    assert code == 1
    assert "writes one object a line" in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--from", "train=jsonl"], "--from train=jsonl: train is not given"),
        (["--from", "pred2=jsonl"], "pred2 is not given"),
        (["--from", "other=jsonl"], "unknown file in --from 'other'; known: gold, pred, pred2, train"),
        (["--from", "PRED=conll:column=1"], "unknown file in --from 'PRED'; known: gold, pred, pred2"),
        (["--from", "gold=jsonl", "--from", "jsonl"], "--from gives the syntax of gold twice"),
        (["--train", "empty.jsonl"], "empty.jsonl has no document"),
    ],
)
def test_a_syntax_of_no_file_and_a_train_file_of_nothing_are_refused(run: Run, given: list[str], said: str) -> None:
    Path("empty.jsonl").write_text("")
    code, out, err = run("g.jsonl", "p.jsonl", *given)
    assert (code, out) == (2, "")
    assert said in err


def test_what_was_left_out_is_said_where_nothing_is_left_to_score(run: Run) -> None:
    Path("foreign.jsonl").write_text(json.dumps({"sentence": "Ada", "ents": []}))
    code, _, err = run("foreign.jsonl", "p.jsonl", "--from", "jsonl", "--lenient")
    assert code == 2
    assert "it has: sentence, ents" in err
    assert "foreign.jsonl has no document" in err


def test_standard_input_is_no_corpus(run: Run) -> None:
    code, _, err = run("-", "p.jsonl")
    assert code == 2
    assert "standard input ('-') cannot be read here; save it in a file" in err
