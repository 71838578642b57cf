"""Scores for labels that nobody fitted on: the formula, the fit, what they are worth, and where that is said."""

import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genner
from genner.calibration import CALIBRATION_FILE, IDENTITY, Calibration
from genner.calibration_scales import Fit, Scale, Thresholds
from genner.data.base import ReadLog
from genner.document import Document, Entity, Label, LabelSet, Prediction
from genner.engines.base import Answered, Generation, Request
from genner.engines.scripted import ScriptedEngine
from genner.errors import DataError, ModelError, TrainingError, UsageError
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.labels import label_set
from genner.model_source import shipped
from genner.token_groups import decision_families
from genner.trained import Trained
from genner.training import calibration_fitting, transfer_fitting
from genner.training.calibration_fitting import Judged
from genner.training.recipe import read_sets
from genner.training.transfer_fitting import Question, by_other_names, fit_transfer, held_out, own_offset
from genner.transfer import FEATURES, LEAST, MOST, PROMISED, Transfer, features, odds
from tests.conftest import Run
from tests.export.test_folder import a_base, an_adapter
from tests.places import ROOT
from tests.processors import pretend
from tests.test_calibration import half_right

FAMILIES = decision_families()
XML, CORE = FORMATS["inline_xml"], label_set("core")
TRAINED = Trained.of([("a", CORE)])
EFFECTS = {"new": -1.0, "known": 0.5, "labels": -0.25, "defined": 0.1, "familiar": 0.75}


def a_transfer(error: float = 0.1, kind: str = "inline", form: str = "inline_xml") -> Transfer:
    one = {"sentences": 5, "entities": 40, "right": 10, "error_before": 0.3, "error_after": error}
    return Transfer(dict.fromkeys(FAMILIES[kind].kinds, 0.5), EFFECTS, -0.5, form, error, {"b": one})


def a_calibration(transfer: Transfer | None = None) -> Calibration:
    fit = Fit("inline_xml", {}, 0.2, 0.1, 10)
    scale = Scale({"open": 1.0, "label": 1.0, "close": 1.0}, 1.0, 0.0, {("LOC", "ORG", "PER"): 0.0})
    thresholds = Thresholds(0.125, {("LOC", "ORG", "PER"): 0.25})
    made: dict[str, Transfer] = {"inline": transfer} if transfer else {}
    return Calibration({"inline": scale}, "", {"inline": fit}, {"inline": thresholds}, made, TRAINED)


# -- the formula


def test_features_of_a_label() -> None:
    asked = LabelSet((Label("person"), Label("PlaceNames", "", "names of places"), Label("x1 facilities"), Label("%")))
    told = features(asked, TRAINED)
    shared = {"known": 0.25, "labels": log(4)}
    assert told == {
        "person": {"new": 0.0, **shared, "defined": 0.0, "familiar": 1.0},
        "PlaceNames": {"new": 1.0, **shared, "defined": 1.0, "familiar": 0.5},  # "names" is in a definition of core
        "x1 facilities": {"new": 1.0, **shared, "defined": 0.0, "familiar": 0.5},
        "%": {"new": 1.0, **shared, "defined": 0.0, "familiar": 0.0},
    }
    assert all(set(one) == set(FEATURES) for one in told.values())


def test_the_formula_by_hand() -> None:
    decided = dict.fromkeys(FAMILIES["inline"].kinds, log(0.5)) | {"open": log(0.8)}
    told = {"new": 1.0, "known": 0.5, "labels": log(2), "defined": 0.0, "familiar": 1.0}
    total = 0.5 * log(4) - 1.0 + 0.25 - 0.25 * log(2) + 0.75 - 0.5
    assert a_transfer().score(decided, told) == pytest.approx(1 / (1 + exp(-total)))
    own = replace(a_transfer(), offsets={("a", "b"): -1.5})
    assert own.score(decided, told, ("a", "b")) == pytest.approx(1 / (1 + exp(1.5 - total)))
    assert own.score(decided, told, ("a",)) == own.score(decided, told) == a_transfer().score(decided, told)


@given(p=st.floats(-800, 0) | st.sampled_from([0.0, -1e-12]), less=st.floats(0, 50))
@settings(deadline=None)
def test_a_surer_decision_never_scores_less(p: float, less: float) -> None:
    assert LEAST <= odds(p - less) <= odds(p) <= MOST
    told = dict.fromkeys(FEATURES, 0.5)
    for kind in FAMILIES["inline"].kinds:
        decided = dict.fromkeys(FAMILIES["inline"].kinds, -0.5)
        low, high = (a_transfer().score(decided | {kind: value}, told) for value in (p - less, p))
        assert 0.0 < low <= high < 1.0


# -- what scores are worth


def test_what_scores_are_worth() -> None:
    """Fitted on these labels; on others, where sets that had no part bear it out; or no probabilities."""
    good, poor = a_calibration(a_transfer(PROMISED)), a_calibration(a_transfer(PROMISED + 0.01))
    band = LabelSet.of("band", "PER")
    assert [one.standing(XML, CORE) for one in (good, poor, a_calibration())] == ["calibrated"] * 3
    assert good.standing(XML, band) == "calibrated for other labels"
    for other in (poor, a_calibration(), replace(good, trained=None), replace(good, fits={}), Calibration({})):
        assert other.standing(XML, band) == "uncalibrated"
    # Labels that were fitted on have an error of their own, which decides.
    for error, standing in ((PROMISED, "calibrated"), (PROMISED + 0.01, "uncalibrated")):
        own = replace(a_transfer(), offsets={("PER", "band"): 1.0}, errors={("PER", "band"): error})
        assert a_calibration(own).standing(XML, band) == standing
        assert a_calibration(own).standing(XML, LabelSet.of("band")) == "calibrated for other labels"
    for name in ("compact", "gpt_ner", "grouped_json"):  # of a kind, or of another kind, than what was fitted on
        assert good.standing(FORMATS[name], CORE) == "uncalibrated"


def test_a_format_of_one_label_at_a_time_is_calibrated_by_these() -> None:
    scale = Scale.identity(FAMILIES["inline"])
    fit = Fit("gpt_ner", {}, 0.2, 0.1, 10)
    some = Calibration({"inline": replace(scale, offsets={("PER",): 0.0})}, "", {"inline": fit})
    assert some.standing(FORMATS["gpt_ner"], LabelSet.of("PER")) == "calibrated"
    assert some.standing(FORMATS["gpt_ner"], CORE) == "uncalibrated"


class FirstLabel(ScriptedEngine):
    """Tags Ann with 0.5, as whatever label comes first."""

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        for request in requests:
            tag = request.instruction.partition("Labels:\n- ")[2].split("\n")[0].split(":")[0].encode()
            answer = b"<%b>Ann</%b> met Bob" % (tag, tag)
            yield request, Generation(answer, (1, len(answer)), (log(0.5), 0.0))


def test_other_labels_have_scores_of_their_own_and_are_marked() -> None:
    asked, text = LabelSet.of("band", "PER"), "Ann met Bob"
    decided = dict.fromkeys(FAMILIES["inline"].kinds, 0.0) | {"open": log(0.5)}
    for transfer, marked in ((a_transfer(0.1), False), (a_transfer(0.2), True), (None, True)):
        calibration = a_calibration(transfer)
        ner = Extractor(FirstLabel(), XML, asked, calibration=calibration, trained=TRAINED)
        found = ner.extract(text, min_score=0)
        wanted = transfer.score(decided, features(asked, TRAINED)["band"]) if transfer else 0.5
        assert [(e.label, e.score) for e in found.entities] == [("band", pytest.approx(wanted))]
        assert found.uncalibrated_scores is marked
        assert ner.signature["scores"] == ("uncalibrated" if marked else "calibrated for other labels")
        assert ner.least() == 0.125
        assert ("scores here are uncalibrated" in Extractor(
            FirstLabel(), XML, asked, calibration=calibration, trained=TRAINED
        ).caution()) is marked  # fmt: skip
        known = ner.extract(text, CORE, min_score=0)  # of the very labels that were fitted on
        assert [e.score for e in known.entities] == [pytest.approx(0.5)]
        assert not known.uncalibrated_scores


@pytest.mark.parametrize("options", [{"constrained": False}, {"calibration": IDENTITY}])
def test_what_was_not_fitted_is_marked(options: dict[str, Any]) -> None:
    ner = Extractor(FirstLabel(), XML, CORE, **{"calibration": a_calibration(), **options})
    assert ner.signature["scores"] == "uncalibrated"
    assert ner.extract("Ann met Bob", min_score=0).uncalibrated_scores is True


def test_the_mark_is_written_and_read_and_never_handed_on() -> None:
    made = Prediction("Ann", (Entity(0, 3, "PER", 0.5),), uncalibrated_scores=True)
    record = made.to_dict()
    assert record["uncalibrated_scores"] is True
    again = Document.from_dict(record)
    assert again.to_dict()["uncalibrated_scores"] is True
    ner = Extractor(FirstLabel(), XML, CORE, calibration=a_calibration())
    assert "uncalibrated_scores" not in ner.extract(again, min_score=0).to_dict()
    # Without a score there is nothing to mark.
    silent = Extractor(ScriptedEngine(), XML, CORE)
    assert "uncalibrated_scores" not in silent.extract("Ann").to_dict()


def test_evaluate_says_that_scores_are_no_probabilities(run: Run, tmp_path: Path) -> None:
    gold = Document("Ann", (Entity(0, 3, "PER"),), "a")
    found = Prediction("Ann", (Entity(0, 3, "PER", 0.5),), "a", uncalibrated_scores=True)
    for name, one in (("gold", gold), ("found", found)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(one.to_dict()) + "\n")
    files = [str(tmp_path / name) for name in ("gold.jsonl", "found.jsonl")]
    code, _, told = run("evaluate", *files, "--pr-curve", str(tmp_path / "curve.csv"))
    assert (code, "1 documents" in told, "uncalibrated scores" in told) == (0, True, True)


# -- the file


def test_what_is_written_is_read_with_whole_numbers(tmp_path: Path) -> None:
    made = a_calibration(replace(a_transfer(), offsets={("a", "b"): -0.5}, errors={("a", "b"): 0.0625}))
    made.write(tmp_path)
    assert Calibration.read(tmp_path) == made
    first = (tmp_path / CALIBRATION_FILE).read_text()
    again = Calibration.read(tmp_path)
    assert again is not None
    again.write(tmp_path)
    assert (tmp_path / CALIBRATION_FILE).read_text() == first
    assert '"sentences": 5,' in first  # of a fit, read and written again, no 5.0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weights", {"open": 1.0}, r"weights: is of open; legal: open, label, inside, close"),
        (
            "weights",
            {**dict.fromkeys(FAMILIES["inline"].kinds, 1.0), "open": -0.1},
            r"weights\.open: -0\.1; legal: .*0 to 20",
        ),
        ("effects", {}, r"effects: is of nothing; legal: new, known"),
        ("effects", {**EFFECTS, "new": math.inf}, r"effects\.new: inf; legal"),
        ("offset", None, r"offset: None; legal"),
        ("error", 2, r"error: 2; legal: a number, 0 to 1"),
        ("format", 1, r"format: 1 is not a string"),
        ("sets", {"a": {}}, r"sets\.a\.sentences: None"),
        ("fitted", [{"labels": ["a"], "offset": 0.5}], r"fitted\.error: None"),
        ("fitted", [{"labels": ["a"], "offset": 21, "error": 0.5}], r"fitted\.offset: 21"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, key: str, value: Any, message: str) -> None:
    raw = a_calibration(a_transfer()).to_dict()
    raw["families"]["inline"]["other_labels"][key] = value
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=rf"inline\.other_labels\.{message}"):
        Calibration.read(tmp_path)


def test_the_default_adapter_has_scores_for_other_labels() -> None:
    calibration = Calibration.read(shipped()["default"])
    assert calibration is not None
    made = calibration.transfers["inline"]
    big = [one["error_after"] for one in made.sets.values() if one["entities"] >= transfer_fitting.REPORTED]
    assert made.error == pytest.approx(sum(big) / len(big), abs=1e-3)
    file = ROOT / "recipes" / "sets" / "unseen.toml"
    assert set(made.sets) <= {spec.name for spec in read_sets(file)}
    assert len(made.sets) >= 15


# -- the fit


def judged(name: str, labels: LabelSet, truth: Transfer, number: int, seed: int = 0) -> list[Judged]:
    """Entities with drawn decisions, right as often as `truth` says."""
    rng, some = random.Random(f"{name}{seed}"), []
    for i in range(number):
        decided = {kind: -log(1 + exp(-rng.gauss(1, 2))) for kind in FAMILIES["inline"].kinds}
        label = rng.choice(labels.tags)
        right = rng.random() < truth.score(decided, features(labels, TRAINED)[label])
        some.append(Judged(name, i, labels.tags, FAMILIES["inline"], decided, right, label))
    return some


def asked(*names: str, held: bool = True) -> list[Question]:
    labels = LabelSet((Label("band"), Label("person"), Label("place", "", "a place")))
    documents = [Document("Ann", (Entity(0, 3, "band"),))] * 3
    return [Question(name, name, labels, documents, held) for name in names]


def test_each_held_out_set_is_scored_by_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set whose entities are all wrong, among such as are right: the fit does not see it, and says so."""
    truth, scale = a_transfer(), Scale.identity(FAMILIES["inline"])
    questions = [*asked("a", "b", "c", "odd"), *asked("own", held=False)]
    found = [one for q in questions for one in judged(q.name, q.labels, truth, 120)]
    found = [replace(one, right=one.name != "odd") for one in found]
    tags = {"odd": ("c", "d")}
    questions = [replace(q, labels=LabelSet.of(*tags[q.name])) if q.name in tags else q for q in questions]
    found = [replace(one, label="c") if one.name in tags else one for one in found]
    made, least = fit_transfer(found, questions, TRAINED, scale, "inline_xml")
    assert set(made.sets) == {"a", "b", "c", "odd"}  # and not what the model was trained on
    assert {name: (one["sentences"], one["entities"], one["right"]) for name, one in made.sets.items()} == {
        "a": (3, 120, 120), "b": (3, 120, 120), "c": (3, 120, 120), "odd": (3, 120, 0),
    }  # fmt: skip
    assert made.sets["odd"]["error_after"] > 0.7  # all others are right
    assert made.sets["a"]["error_after"] < 0.45
    assert made.error == pytest.approx(sum(one["error_after"] for one in made.sets.values()) / 4, abs=1e-4)
    assert 0.0 <= least <= 0.5
    # Some of its entities tell what its labels do not.
    assert made.sets["odd"]["error_fitted"] < 0.15
    assert made.errors.keys() == made.offsets.keys() == {("c", "d"), ("band", "person", "place")}
    assert made.offsets[("c", "d")] < 0 < made.offsets[("band", "person", "place")]
    again, _ = fit_transfer(found, questions, TRAINED, scale, "inline_xml")
    assert again == made


def test_a_known_truth_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_fitting, "WORTH", 2000)
    monkeypatch.setattr(transfer_fitting, "SPREADS", (5.0, 5.0, 5.0))
    truth = replace(a_transfer(), weights={"open": 0.9, "label": 0.0, "inside": 0.3, "close": 0.5})
    questions = asked("a", "b", "c")
    found = [one for q in questions for one in judged(q.name, q.labels, truth, 1500)]
    made, _ = fit_transfer(found, questions, TRAINED, Scale.identity(FAMILIES["inline"]), "inline_xml")
    assert all(weight >= 0 for weight in made.weights.values())
    assert made.error < 0.06
    told = features(questions[0].labels, TRAINED)
    gaps = [abs(made.score(o.decided, told[o.label]) - truth.score(o.decided, told[o.label])) for o in found]
    assert sum(gaps) / len(gaps) < 0.04


@given(some=st.lists(st.tuples(st.floats(-10, 10), st.booleans()), max_size=30))
@settings(deadline=None)
def test_an_offset_of_its_own_is_where_the_prior_and_the_truth_agree(some: list[tuple[float, bool]]) -> None:
    raw, right = [value for value, _ in some], [hit for _, hit in some]
    offset = own_offset(raw, right)
    likely = sum(1 / (1 + exp(-(value + offset))) for value in raw)
    assert sum(right) - likely == pytest.approx(offset / calibration_fitting.OFFSET_SPREAD**2, abs=1e-6)


@pytest.mark.parametrize(("names", "number"), [("ab", 200), ("abc", 33)])
def test_too_little_to_fit_on_is_refused(names: str, number: int) -> None:
    questions = asked(*names)
    found = [one for q in questions for one in judged(q.name, q.labels, a_transfer(), number)]
    with pytest.raises(TrainingError, match=rf"in {len(names)} held-out sets: too few .*legal: 100 or more, in 3 sets"):
        fit_transfer(found, questions, TRAINED, Scale.identity(FAMILIES["inline"]), "inline_xml")


def test_other_names_are_new_to_the_model_and_move_the_gold() -> None:
    documents = [Document("Ann", (Entity(0, 3, "PER"),))]
    made = by_other_names("a", CORE, documents, TRAINED)
    assert made is not None
    assert not made.held_out
    assert len(TRAINED.new(made.labels)) == 3
    assert all(label.name == label.definition == "" for label in made.labels)
    assert made.documents[0].entities == (Entity(0, 3, made.labels.tags[0]),)
    assert by_other_names("a", LabelSet.of("qqq"), documents, TRAINED) is None


def test_a_set_that_it_was_trained_on_is_no_held_out_set(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text('{"text": "Ann", "entities": []}\n' * 3)
    file = tmp_path / "unseen.toml"

    def sets(labels: str) -> Any:
        (tmp_path / "labels.json").write_text(labels)
        file.write_text("[[set]]\nname = 'x'\ndev = 'dev.jsonl'\nlabels = 'labels.json'\n")
        return held_out(read_sets(file), tmp_path, TRAINED, 3, 1, ReadLog())

    with pytest.raises(UsageError, match="'x' is no held-out set: its labels are those of 'a'"):
        sets('["ORG", "LOC", "PER"]')
    defined, bare = sets('{"band": "a group", "PER": "a person"}')
    assert (defined.name, bare.name) == ("x", "x, tags alone")
    assert (len(defined.documents), len(bare.documents)) == (2, 1)
    assert defined.labels.labels[0] == Label("band", "", "a group")
    assert bare.labels.labels == (Label("band"), CORE.labels[0])  # as `--labels band,PER` asks
    file.write_text("[[set]]\nname = 'x'\nlabels = 'labels.json'\n")
    with pytest.raises(UsageError, match="has no dev file"):
        held_out(read_sets(file), tmp_path, TRAINED, 3, 1, ReadLog())
    file.write_text("base = 'x'\n[[set]]\nname = 'x'\nlabels = 'labels.json'\n")
    with pytest.raises(DataError, match=r"has 'base'; legal here: \[\[set\]\] alone"):
        read_sets(file)
    file.write_text("")
    with pytest.raises(DataError, match=r"has no \[\[set\]\]; write one for each data set"):
        read_sets(file)


def test_the_command_fits_on_held_out_sets(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "float32")
    adapter = an_adapter(tmp_path / "adapter", a_base(tmp_path / "base"))
    recipe = half_right(tmp_path, adapter)
    for module in (calibration_fitting, transfer_fitting):
        monkeypatch.setattr(module, "FEWEST", 10)
    monkeypatch.setattr(transfer_fitting, "REPORTED", 1)
    lines = (tmp_path / "dev.jsonl").read_text().replace('"PER"', '"band"').replace('"LOC"', '"town"')
    (tmp_path / "other.jsonl").write_text(lines)
    (tmp_path / "other.json").write_text('["band", "town"]')
    unseen = tmp_path / "unseen.toml"
    table = "[[set]]\nname = '{}'\ndev = 'other.jsonl'\nlabels = 'other.json'\n"
    unseen.write_text("".join(map(table.format, ("x", "y", "z"))))
    command = ("calibrate", str(adapter), str(recipe), "--data", str(tmp_path), "--sentences", "10")
    assert run(*command, "--only-unseen")[0] == 2  # without a file to fit on
    assert run(*command, "--unseen", str(unseen), "--only-unseen")[0] == 1  # there is nothing yet to add to
    assert run(*command)[0] == 0
    before = json.loads((adapter / CALIBRATION_FILE).read_text())["families"]["inline"]
    code, out, _ = run(*command, "--unseen", str(unseen), "--only-unseen")
    assert code == 0
    assert "scores of inline_bracketed for other labels" in out
    after = json.loads((adapter / CALIBRATION_FILE).read_text())["families"]["inline"]
    made = after.pop("other_labels")
    assert set(made["sets"]) == {"x", "y", "z"}
    assert {key: after[key] for key in after if key != "thresholds"} == {
        key: before[key] for key in before if key != "thresholds"
    }
    assert after["thresholds"]["sets"] == before["thresholds"]["sets"]
    # They need to know what the model was trained on, which the command writes where it is not yet there.
    ner = genner.load(str(adapter), ["band", "town"])
    assert ner.new_labels() == ("band", "town")
    assert ner.calibration is not None
    assert ner.calibration.transfers["inline"].error == made["error"]
    assert ner.threshold() == after["thresholds"]["other"]
