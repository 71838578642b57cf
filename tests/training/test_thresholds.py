"""The least score of what is kept: how it is chosen, who uses it, and that what is left out is counted."""

import json
import random
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Run
from tests.unsure import Unsure

from genner.calibration import CALIBRATION_FILE, IDENTITY, Calibration
from genner.calibration_scales import Scale, Thresholds
from genner.document import Document, Entity, LabelSet, Prediction
from genner.errors import ModelError, UsageError
from genner.evaluation.counts import Counts
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.labels import label_set
from genner.model_source import ModelSource, shipped
from genner.training.calibration_fitting import Judged, assess
from genner.training.thresholds import ScoredEntities, choose, choose_all, f1

XML, CORE = FORMATS["inline_xml"], label_set("core")
TEXT = "Ann met Bob"

THRESHOLDS = Thresholds(0.45, {CORE.tags: 0.6, ("LOC", "ORG", "PER"): 0.6, ("PER",): 0.9})
CALIBRATION = Calibration({"inline": Scale.identity(XML.decision_kinds)}, "", {}, {"inline": THRESHOLDS})


def extractor(**options: Any) -> Extractor:
    return Extractor(Unsure(), XML, CORE, **{"calibration": CALIBRATION, **options})


def names(prediction: Prediction) -> tuple[list[str], int]:
    return [e.text for e in prediction.entities], prediction.below_min_score


# -- in use


def test_the_threshold_of_the_labels_is_the_default() -> None:
    ner = extractor()
    assert names(ner.extract(TEXT)) == (["Ann"], 1)
    assert names(ner.extract(TEXT, ["PER"])) == ([], 2)
    assert names(ner.extract(TEXT, ["PER", "ship"])) == (["Ann", "Bob"], 0)  # a label set that it does not know
    assert [ner.least(labels) for labels in (None, "core", "PER", "PER,ship")] == [0.6, 0.6, 0.9, 0.45]
    assert ner.signature["min_score"] == "0.6 from calibration"


def test_a_part_of_a_label_set_does_not_have_the_threshold_of_the_whole() -> None:
    """Though the model is asked for the whole."""
    ner = extractor(prompt_full_label_set=True)
    assert [ner.least(labels) for labels in ("core", "PER", "LOC", "ORG,PER,LOC")] == [0.6, 0.9, 0.45, 0.6]


def test_a_call_may_ask_for_another_threshold() -> None:
    ner = extractor()
    assert names(ner.extract(TEXT, min_score=0)) == (["Ann", "Bob"], 0)
    assert [names(p) for p in ner.pipe([TEXT] * 2, min_score=0.85)] == [([], 2)] * 2
    assert [e["text"] for e in ner.predict_entities(TEXT, threshold=0.0)] == ["Ann", "Bob"]
    assert [e["text"] for e in ner.predict_entities(TEXT)] == ["Ann"]
    ner = extractor(min_score=0.3)
    assert names(ner.extract(TEXT)) == (["Ann", "Bob"], 0)
    assert names(ner.extract(TEXT, min_score=0.7)) == (["Ann"], 1)
    assert ner.signature["min_score"] == "0.3 calibrated"
    assert "min_score" not in extractor(min_score=0).signature


@pytest.mark.parametrize(
    "calibration",
    [IDENTITY, replace(CALIBRATION, thresholds={}), replace(CALIBRATION, thresholds={"json": THRESHOLDS})],
)
def test_without_a_threshold_everything_is_kept(calibration: Calibration) -> None:
    ner = extractor(calibration=calibration)
    assert names(ner.extract(TEXT)) == (["Ann", "Bob"], 0)
    assert (ner.threshold(), ner.least()) == (None, 0.0)
    assert "min_score" not in ner.signature


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan"), "0.5", True])
def test_a_threshold_is_a_probability(least: Any) -> None:
    for call in (lambda: extractor(min_score=least), lambda: extractor().pipe([TEXT], min_score=least)):
        with pytest.raises(UsageError, match="legal: a number from 0"):
            call()


def test_what_was_left_out_is_written_and_read_but_never_handed_on() -> None:
    prediction = extractor().extract(TEXT)
    record = prediction.to_dict()
    assert record["below_min_score"] == 1
    assert "below_min_score" not in extractor().extract(TEXT, min_score=0).to_dict()
    again = Document.from_dict(record)
    assert again.extra["below_min_score"] == 1
    assert again.to_dict()["below_min_score"] == 1
    assert names(next(extractor().pipe([again], min_score=0))) == (["Ann", "Bob"], 0)
    assert "below_min_score" not in next(extractor().pipe([again], min_score=0)).to_dict()


def test_the_command_line_says_what_was_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, min_score: float | None, **__: Any) -> Extractor:
        return extractor(min_score=min_score, calibration=now[0])

    monkeypatch.setattr("genner.loading.load", load)
    other = replace(CALIBRATION, thresholds={})  # fitted, and without a threshold
    now = [IDENTITY]
    for calibration, options, entities, said in (
        (CALIBRATION, (), 1, "1 entity left out, with a score below 0.60, the calibration's threshold for these"),
        (CALIBRATION, ("--min-score", "0.9"), 0, "2 entities left out, with a score below --min-score 0.9"),
        (CALIBRATION, ("--min-score", "0"), 2, ""),
        (IDENTITY, (), 2, "no threshold: this model has no calibration"),
        (other, (), 2, "no threshold: the model's calibration has none for this format"),
    ):
        now[0] = calibration
        code, out, told = run("extract", "--text", TEXT, *options)
        assert (code, len(json.loads(out)["entities"])) == (0, entities)
        assert said in told
        assert ("below" in told or "threshold" in told) is bool(said)


@pytest.mark.parametrize("name", shipped())
def test_shipped_adapters_come_with_thresholds_for_their_first_format(name: str) -> None:
    calibration, adapter = Calibration.read(shipped()[name]), ModelSource.find(name)
    assert calibration is not None
    assert adapter is not None
    kind = FORMATS[adapter.formats[0]].decision_kinds.family
    thresholds = calibration.thresholds[kind]
    assert set(thresholds.by_labels) == set(calibration.scales[kind].offsets)
    assert all(0 <= least < 0.5 for least in (thresholds.other, *thresholds.by_labels.values()))
    assert all(one["gold"] >= one["right"] for one in calibration.fits[kind].sets.values())


# -- in the file


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"sets": []}, "inline.thresholds.other: None; legal: a number, 0 to 1"),
        ({"other": 1.5, "sets": []}, "inline.thresholds.other: 1.5; legal"),
        ({"other": 0.5}, "inline.thresholds.sets: is NoneType, not a list"),
        ({"other": 0.5, "sets": [{"labels": ["a"]}]}, "inline.thresholds.sets.threshold: None"),
        ({"other": 0.5, "sets": [{"labels": [], "threshold": 0.5}]}, "is not a list of tags"),
        ({"other": 0.5, "sets": [{"labels": ["a"], "threshold": 0.5}] * 2}, "given twice"),
        ([], "inline.thresholds: is list, not an object"),
    ],
)
def test_damaged_thresholds_are_refused_by_name(tmp_path: Path, value: Any, message: str) -> None:
    CALIBRATION.write(tmp_path)
    raw = json.loads((tmp_path / CALIBRATION_FILE).read_text())
    raw["families"]["inline"]["thresholds"] = value
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=message):
        Calibration.read(tmp_path)


def test_a_file_without_thresholds_is_read(tmp_path: Path) -> None:
    CALIBRATION.write(tmp_path)
    raw = json.loads((tmp_path / CALIBRATION_FILE).read_text())
    del raw["families"]["inline"]["thresholds"]
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(raw))
    assert Calibration.read(tmp_path) == replace(CALIBRATION, thresholds={})


# -- choosing

scored = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30)


@st.composite
def founds(draw: st.DrawFn) -> ScoredEntities:
    some = draw(scored)
    return ScoredEntities(("A",), tuple(some), sum(right for _, right in some) + draw(st.integers(0, 5)))


@given(one=founds())
@settings(max_examples=60, deadline=None)
def test_a_threshold_costs_no_f1_where_it_was_chosen_and_is_half_the_best_at_most(one: ScoredEntities) -> None:
    least = choose_all({"a": one}).of(["A"])
    values = [one.counts(step / 100).f1 for step in range(101)]
    assert one.counts(least).f1 >= one.counts(0.0).f1
    assert least <= max(values) / 2 + 0.005
    assert f1([one.counts(least)]) == one.counts(least).f1


def test_a_threshold_is_half_of_the_best_f1() -> None:
    # Of 8 entities 4 are right, all of them above 0.5: the best F1 is 1, and half of it costs nothing.
    one = ScoredEntities(("A",), tuple((0.9, True) for _ in range(4)) + tuple((0.4, False) for _ in range(4)), 4)
    assert choose_all({"a": one}).by_labels == {("A",): 0.5}
    # Where right ones lie below half of the best, it is the best threshold below.
    one = ScoredEntities(("A",), ((0.9, True), (0.3, True), (0.3, True), (0.3, True), (0.1, False)), 4)
    assert one.counts(0.5).f1 < one.counts(0.0).f1
    assert choose_all({"a": one}).by_labels == {("A",): 0.11}
    assert choose(lambda least: 0.0) == 0.0


def test_sets_of_one_label_set_share_a_threshold_and_count_the_same() -> None:
    small = ScoredEntities(("A",), ((0.9, True), (0.2, False)), 1)
    large = ScoredEntities(("A",), ((0.9, True), (0.2, True)) * 50, 100)
    shared = choose_all({"a": small, "b": large})
    assert shared.by_labels.keys() == {("A",)}
    assert (
        shared.by_labels[("A",)]
        == shared.other
        == choose(lambda least: (small.counts(least).f1 + large.counts(least).f1) / 2)
    )


def test_counts_at_a_threshold() -> None:
    one = ScoredEntities(("A",), ((0.49996, True), (0.4, False), (0.9, True)), 5)
    assert one.counts(0.5) == Counts(2, 0, 3)  # as written, to four digits
    assert one.counts(0.0) == Counts(2, 1, 3)


def test_what_a_threshold_brings_is_measured_where_it_was_not_chosen() -> None:
    """With scores that are probabilities, wrong entities of low score are left out, and F1 gets better."""
    rng = random.Random(0)
    found, documents = list[Judged](), list[Document]()
    for number in range(60):
        right = []
        for place in range(3):
            p = rng.choice([0.05, 0.9])
            truth = rng.random() < p
            decided = {"open": log(p), "label": -1e-7, "inside": -1e-7, "close": -1e-7}
            found.append(Judged("a", number, ("A",), XML.decision_kinds, decided, truth))
            right += [Entity(place, place + 1, "A")] if truth else []
        documents.append(Document("abc", tuple(right)))
    told = assess(found, XML, {"a": (LabelSet.of("A"), documents)}).sets["a"]
    every = sum(len(d.entities) for d in documents)
    assert told["gold"] == every
    assert told["f1_all"] == pytest.approx(2 * every / (180 + every), abs=1e-4)
    assert told["f1_kept"] > told["f1_all"] + 0.1
