"""Records of schema 1, which called the readings otherwise, are read, reported, and gone on with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genner.assess.answer_cells import _answers
from genner.assess.cell_context import CellContext
from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.records import Cell, PredictionRecord
from genner.assess.scoring import strict_anew, strict_of
from genner.document import Document, Entity, LabelSet
from genner.formats import FORMATS
from genner.report.build import build
from genner.report.outcomes import read_outcomes
from genner.report.results import Collection

LABELS = LabelSet.of("PER", "LOC", "ORG")
GOLD = [
    Document("Ada met Bob in Rome.", (Entity(0, 3, "PER"), Entity(8, 11, "PER"), Entity(15, 19, "LOC")), "a"),
    Document("Nobody was there.", (), "b"),
]
# Of three offsets one is wrong, and Rome is in the second text not at all: strictly tp 2, fp 2, fn 1.
ANSWERS = [
    FORMATS["offset_json"].encode(GOLD[0], LABELS).replace('"start": 8, "end": 11', '"start": 7, "end": 10'),
    '[{"text": "Rome", "label": "LOC", "start": 0, "end": 4}]',
]


def line(gold: Document, answer: str) -> dict[str, Any]:
    """A record as version 4e27355 wrote it."""
    found = FORMATS["offset_json"].decode(gold.text, answer, LABELS)
    return {
        "id": gold.id,
        "text": gold.text,
        "gold": [[e.start, e.end, e.label] for e in gold.entities],
        "entities": [[e.start, e.end, e.label, None] for e in found.entities],
        "raw": [answer],
        "problems": [{"kind": p.kind, "detail": p.detail} for p in found.problems],
        "tokens": 9,
        "passes": 3,
        "chunks": [[0, len(gold.text)]],
        "published": [2, 1, 1] if gold.entities else [0, 1, 0],
        "as_said": [2, 0, 1] if gold.entities else [0, 0, 0],
    }


def scores(tp: int, fp: int, fn: int) -> dict[str, float]:
    f1 = 2 * tp / (2 * tp + fp + fn)
    return {"f1": f1, "low": 0.0, "high": 1.0, "correct": tp, "predicted": tp + fp, "gold": tp + fn}


def earlier(root: Path, decoding: str, labels: str = "core", done: bool = True) -> CellFolder:
    about = {"model": "m", "trained": None, "format": "offset_json", "corpus": "c", "file": "x.jsonl", "split": "test",
             "sentences": None, "labels": labels, "decoding": decoding, "seed": 0}  # fmt: skip
    run = StudyFolder(root).add(Cell("score", f"score-{decoding}", "x", (), about, "genner assess"))
    answers = ANSWERS if decoding == "greedy" else [FORMATS["offset_json"].encode(d, LABELS) for d in GOLD]
    lines = [line(gold, answer) for gold, answer in zip(GOLD, answers, strict=True)]
    (run.folder / "predictions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    metrics = {
        "strict": scores(3, 0, 0),
        "as_said": scores(2, 0, 1) if decoding == "greedy" else scores(3, 0, 0),
        "published": scores(2, 2, 1) if decoding == "greedy" else scores(3, 0, 0),
        "labels": {}, "lengths": {}, "problems": {}, "documents": 2, "invalid": 0.0,
    }  # fmt: skip
    result = {"kind": "score", "id": run.cell.id, "description": about, "signature": "s", "versions": {},
              "seconds": 1.0, "peak_memory_mb": 1.0, "tokens": 1, "passes": 1, "finished_at": "x", "metrics": metrics,
              "schema": 1}  # fmt: skip
    if done:
        (run.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return run


def test_the_readings_have_todays_names(tmp_path: Path) -> None:
    free, held = (earlier(tmp_path, decoding).result for decoding in ("greedy", "grammar"))
    assert free
    assert held
    assert [free.metrics[name] and free.metrics[name]["correct"] for name in ("paper", "strict", "repaired")] == [
        2, None, 3,
    ]  # fmt: skip
    assert held.metrics["strict"] == held.metrics["repaired"] == scores(3, 0, 0)
    assert free.metrics.keys().isdisjoint({"published", "as_said"})
    (one, other) = earlier(tmp_path, "greedy").predictions()
    assert (one.paper, one.strict, other.paper) == ((2, 1, 1), None, (0, 1, 0))


@pytest.mark.parametrize("labels", ["core", "no/longer/there.json"])
def test_the_strict_score_is_counted_from_the_answers(tmp_path: Path, labels: str) -> None:
    run = earlier(tmp_path, "greedy", labels)
    assert strict_anew(run) == [(2, 1, 1), (0, 1, 0)]
    assert strict_anew(earlier(tmp_path, "grammar", labels)) == [(3, 0, 0), (0, 0, 0)]
    collection = Collection.open([tmp_path])
    free, held = (collection.items[f"score-{decoding}"] for decoding in ("greedy", "grammar"))
    assert [free.metric(name, "f1") for name in ("paper", "strict", "repaired")] == pytest.approx([4 / 7, 4 / 7, 1])
    assert held.metric("strict", "f1") == held.metric("repaired", "f1") == 1
    outcomes, complaints = read_outcomes(collection, 1)
    assert complaints == []
    assert [outcomes["score-greedy"].f1(name) for name in ("paper", "strict", "repaired")] == pytest.approx(
        [4 / 7, 4 / 7, 1]
    )
    report = build([tmp_path])
    (headline,) = [sentence for sentence in report.lead if "the best strict F1" in sentence]
    assert "under the grammar" in headline


def test_an_engine_that_does_not_hold_to_the_grammar_is_charged_for_what_it_says() -> None:
    form, broken = FORMATS["offset_json"], PredictionRecord.from_dict(line(GOLD[0], ANSWERS[0]))
    assert strict_of(broken, form, LABELS, "grammar") == (2, 1, 1)
    assert strict_of(replace(broken, problems=()), form, None, "grammar") == (3, 0, 0)
    assert strict_of(broken, form, None, "greedy") is None


def test_damaged_answers_are_a_complaint_and_no_more(tmp_path: Path) -> None:
    run = earlier(tmp_path, "greedy")
    with (run.folder / "predictions.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    (item,) = Collection.open([tmp_path]).items.values()
    assert (item.metric("strict", "f1"), item.metric("repaired", "f1")) == (None, 1)


def test_an_interrupted_cell_is_gone_on_with(tmp_path: Path) -> None:
    run = earlier(tmp_path, "greedy", done=False)
    lines = _answers(CellContext(run, StudyFolder(tmp_path), tmp_path, "cpu"), GOLD, LABELS)
    assert [answered.strict for answered in lines] == [(2, 1, 1), (0, 1, 0)]
    assert [PredictionRecord.from_dict(answered.to_dict()) for answered in lines] == lines
