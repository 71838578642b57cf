"""Scores: what decided an entity, how temperatures make a score of it, how they are fitted, kept and loaded."""

import json
import math
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import genner
from genner.calibration import CALIBRATION_FILE, IDENTITY, Calibration
from genner.calibration_scales import COOLEST, HOTTEST, Fit, Scale, Thresholds, temper
from genner.document import Document, Entity, LabelSet
from genner.engines.base import Answered, Generation, Request
from genner.engines.chat import Chat
from genner.engines.scripted import ScriptedEngine
from genner.errors import ModelError, TrainingError
from genner.evaluation.confidence import calibration_error
from genner.export.folder import merge
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.grammar import DecisionKinds, GrammarEntity
from genner.labels import label_set
from genner.token_groups import decision_families, token_groups
from genner.training import calibration_fitting
from genner.training.calibration_fitting import Judged, assess, fit, judge
from genner.training.checkpoint import save_model
from genner.training.mixture import Mixture
from genner.training.recipe import Recipe
from tests import tiny
from tests.conftest import Run
from tests.export.test_folder import a_base, an_adapter
from tests.processors import pretend
from tests.strategies import LABELS, documents
from tests.training.test_trainer import adapted, mixture
from tests.unsure import Unsure

FAMILIES = decision_families()

logprobs = st.floats(-30, 0) | st.sampled_from([0.0, -1e-12, -1e-6, -700.0])
temperatures = st.floats(0.05, 20) | st.just(1.0)


@st.composite
def decided(draw: st.DrawFn) -> tuple[str, dict[str, float]]:
    kind = draw(st.sampled_from(sorted(FAMILIES)))
    return kind, {name: draw(logprobs) for name in FAMILIES[kind].kinds}


@st.composite
def scales(draw: st.DrawFn, kind: str = "inline") -> Scale:
    kinds = [name for name in FAMILIES[kind].kinds if name not in FAMILIES[kind].uncounted or draw(st.booleans())]
    offsets = {("LOC", "PER"): draw(st.floats(-5, 5))}
    return Scale({name: draw(temperatures) for name in kinds}, draw(temperatures), draw(st.floats(-5, 5)), offsets)


@st.composite
def generations(draw: st.DrawFn, form: str) -> tuple[Document, Generation]:
    """An answer for any document, cut into tokens at any bytes, each with some probability."""
    document, _ = FORMATS[form].encodable_part(draw(documents()))
    answer = FORMATS[form].encode(document, LABELS).encode()
    cuts = draw(st.sets(st.integers(1, max(1, len(answer) - 1)), max_size=40)) if len(answer) > 1 else set()
    ends = [*sorted(cuts), *([len(answer)] if answer else [])]
    return document, Generation(answer, tuple(ends), tuple(draw(logprobs) for _ in ends))


# -- decisions


def score(written: GrammarEntity, generation: Generation, kinds: DecisionKinds) -> float:
    """The probability of the tokens that write an entity's markup or item: the obvious loop."""
    marks = written.marks(kinds)
    total, begin = 0.0, 0
    for end, logprob in zip(generation.ends, generation.logprobs, strict=True):
        if any(begin < mark_end and mark_begin < end for mark_begin, mark_end in marks):
            total += logprob
        begin = end
    return min(1.0, exp(total))


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_decides_is_what_the_score_counts(form: str, data: st.DataObject) -> None:
    """Each token that writes an entity's markup is one decision of one kind; a score is their product."""
    document, made = data.draw(generations(form))
    written, kinds = FORMATS[form].grammar(document.text, LABELS).read(made.answer), FORMATS[form].decision_kinds
    assert written is not None
    for one in written:
        found = token_groups(one, made, kinds)
        if not made.logprobs:
            assert found is None
            continue
        assert found is not None
        assert tuple(found) == kinds.kinds
        counted = sum(value for name, value in found.items() if name not in kinds.uncounted)
        own = score(one, made, kinds)
        assert exp(min(0.0, counted)) == pytest.approx(own, rel=1e-9)
        # A scale of ones changes nothing.
        assert Scale.identity(kinds).score(found) == pytest.approx(own, rel=1e-9)
        assert IDENTITY.score(one, made, LABELS, kinds) == pytest.approx(own, rel=1e-9)


SPELLED: dict[str, list[dict[str, str]]] = {
    "inline_xml": [
        {"open": "<", "label": "PER>PER>", "inside": "John Smith", "close": "</"},
        {"open": "<", "label": "LOC>LOC>", "inside": "New York", "close": "</"},
    ],
    "inline_bracketed": [
        {"open": "[", "label": " PER]", "inside": "John Smith", "close": " |"},
        {"open": "[", "label": " LOC]", "inside": "New York", "close": " |"},
    ],
    "compact": [
        {"open": "<", "label": "1>", "inside": "John Smith", "close": "</>"},
        {"open": "<", "label": "2>", "inside": "New York", "close": "</>"},
    ],
    "gpt_ner": [
        {"open": "@@", "label": "", "inside": "John Smith", "close": "##"},
        {"open": "@@", "label": "", "inside": "New York", "close": "##"},
    ],
    "offset_json": [
        {
            "open": '[{"text": ',
            "mention": '"John Smith"',
            "label": ', "label": "PER"',
            "position": ', "start": 0, "end": 10}',
        },
        {
            "open": ', {"text": ',
            "mention": '"New York"',
            "label": ', "label": "LOC"',
            "position": ', "start": 25, "end": 33}',
        },
    ],
    "occurrence_json": [
        {"open": '[{"text": ', "mention": '"John Smith"', "label": ', "label": "PER"'},
        {"open": ', {"text": ', "mention": '"New York"', "label": ', "label": "LOC"'},
    ],
    "grouped_json": [{"open": "", "mention": '"John Smith"'}, {"open": "", "mention": '"New York"'}],
}


@pytest.mark.parametrize("form", SPELLED)
def test_the_kinds_of_decisions_by_their_spelling(form: str) -> None:
    """One byte a token; each is asked alone to which kind it belongs."""
    labels = LabelSet.of("PER", "LOC")
    document = Document("John Smith reported from New York.", (Entity(0, 10, "PER"), Entity(25, 33, "LOC")))
    answer = FORMATS[form].encode(document, labels).encode()
    written = FORMATS[form].grammar(document.text, labels).read(answer)
    assert written is not None
    ends = tuple(range(1, len(answer) + 1))
    for one, wanted in zip(sorted(written, key=lambda w: w.start), SPELLED[form], strict=True):
        spelled = dict.fromkeys(FORMATS[form].decision_kinds.kinds, "")
        for place, byte in enumerate(answer):
            alone = Generation(answer, ends, tuple(-1.0 if i == place else 0.0 for i in range(len(answer))))
            for name, value in (token_groups(one, alone, FORMATS[form].decision_kinds) or {}).items():
                spelled[name] += chr(byte) * (value < 0)
        assert {name: spelled[name] for name in wanted} == wanted


def test_a_token_that_holds_more_belongs_to_the_first() -> None:
    tokens = [("<PER", 0.5), (">A", 0.8), ("nn", 0.1), ("</PER", 0.9), ("> is", 0.7), (" here", 0.2)]
    answer = "".join(text for text, _ in tokens).encode()
    ends = [len("".join(text for text, _ in tokens[: i + 1])) for i in range(len(tokens))]
    made = Generation(answer, tuple(ends), tuple(log(p) for _, p in tokens))
    (one,) = FORMATS["inline_xml"].grammar("Ann is here", LABELS).read(answer) or ()
    found = token_groups(one, made, FAMILIES["inline"])
    assert found == pytest.approx({"open": log(0.5), "label": log(0.8 * 0.7), "inside": log(0.1), "close": log(0.9)})


# -- scales


def odds(p: float) -> float:
    return log(p / (1 - p))


@given(p=st.floats(0.001, 0.999), t=temperatures)
@settings(deadline=None)
def test_to_cool_is_to_divide_the_log_odds(p: float, t: float) -> None:
    assert exp(temper(log(p), t)) == pytest.approx(1 / (1 + exp(-odds(p) / t)), rel=1e-9)


@given(p=st.floats(0.05, 0.95), t=st.floats(0.5, 2), u=st.floats(0.5, 2))
@settings(deadline=None)
def test_temperatures_multiply(p: float, t: float, u: float) -> None:
    assert temper(temper(log(p), t), u) == pytest.approx(temper(log(p), t * u), rel=1e-6)


@given(case=decided(), data=st.data())
@settings(deadline=None)
def test_a_score_is_a_probability_and_monotone_in_each_decision(
    case: tuple[str, dict[str, float]], data: st.DataObject
) -> None:
    """So the order that one kind of decision gives, all else equal, is kept, whatever was fitted."""
    kind, low = case
    scale = data.draw(scales(kind))
    name = data.draw(st.sampled_from(FAMILIES[kind].kinds))
    high = low | {name: data.draw(st.floats(low[name], 0.0))}
    for labels in ((), ("PER", "LOC"), ("PER",)):
        assert 0.0 <= scale.score(low, labels) <= scale.score(high, labels) * (1 + 1e-9) <= 1.0 + 1e-9
    assert scale.score(dict.fromkeys(low, 0.0)) <= 1.0


@given(case=decided(), data=st.data())
@settings(max_examples=50, deadline=None)
def test_the_fit_and_the_score_have_one_formula(case: tuple[str, dict[str, float]], data: st.DataObject) -> None:
    kind, values = case
    made = [data.draw(temperatures) for _ in range(len(values) + 1)]
    degrees = dict(zip(FAMILIES[kind].kinds, made, strict=False))
    # Where a temperature is 1, a score takes what is certain for certain; the fit takes it for 1e-6 less: not compared.
    values = {name: min(max(-25.0, value), -1e-3) for name, value in values.items()}
    offset, more = data.draw(st.floats(-5, 5)), data.draw(st.floats(-5, 5))
    score = Scale(degrees, made[-1], offset, {("a", "b"): more}).score(values, ["b", "a"])
    x, degrees_of = torch.tensor([list(values.values())], dtype=torch.float64), torch.tensor(made, dtype=torch.float64)
    found = calibration_fitting._odds(x, degrees_of, torch.tensor([offset + more])).sigmoid().item()
    assert score == pytest.approx(found, rel=1e-3, abs=1e-4)


def test_an_offset_is_that_of_the_label_set_in_any_order() -> None:
    scale = Scale({"open": 1.0, "label": 1.0, "close": 1.0}, 1.0, 0.5, {("LOC", "PER"): -1.5})
    even = {"open": log(0.5), "label": 0.0, "close": 0.0}
    assert scale.score(even, ["PER", "LOC"]) == scale.score(even, ["LOC", "PER"]) == pytest.approx(1 / (1 + exp(1)))
    for labels in ((), ["PER"], ["PER", "LOC", "ORG"]):
        assert scale.score(even, labels) == pytest.approx(1 / (1 + exp(-0.5)))


# -- fitting


def found(number: int, truth: Scale, seed: int = 0, kind: str = "inline", name: str = "a") -> list[Judged]:
    """Entities whose decisions are drawn, and which are right as often as `truth` says; the set's name is its label."""
    rng = random.Random(seed)
    some = []
    for i in range(number):
        made = {k: log(1 / (1 + exp(-rng.gauss(3, 2)))) for k in FAMILIES[kind].kinds}
        some.append(Judged(name, i // 2, (name,), FAMILIES[kind], made, rng.random() < truth.score(made, [name])))
    return some


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    """With all other decisions certain, that of the kind and that of all are one, their product."""
    rng, some = random.Random(1), []
    for i in range(6000):
        certain = dict.fromkeys(FAMILIES["inline"].kinds, 0.0)
        p = 1 / (1 + exp(-rng.gauss(1, 2)))
        right = rng.random() < 1 / (1 + exp(-odds(p) / temperature))
        some.append(Judged("a", i, ("a",), FAMILIES["inline"], certain | {"open": log(p)}, right))
    scale = fit(some)
    assert scale.temperatures["open"] * scale.overall == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_known_miscalibration_is_undone(kind: str) -> None:
    truth = Scale(dict(zip(FAMILIES[kind].kinds, (1.5, 3.0, 1.0, 2.0), strict=True)), 1.4, -0.7)
    some = found(5000, truth, kind=kind)
    scale = fit(some)
    fresh = found(5000, truth, seed=1, kind=kind)
    right = [one.right for one in fresh]
    before = [Scale.identity(FAMILIES[kind]).score(one.decided) for one in fresh]
    after = [scale.score(one.decided, one.labels) for one in fresh]
    assert calibration_error(after, right) < 0.03 < calibration_error(before, right)
    assert sum(abs(a - truth.score(one.decided)) for a, one in zip(after, fresh, strict=True)) / len(fresh) < 0.02


def test_what_is_calibrated_stays_as_it_is() -> None:
    truth = Scale(dict.fromkeys(FAMILIES["inline"].kinds, 1.0), 1.0)
    some = found(5000, truth)
    scale = fit(some)
    assert max(abs(scale.score(one.decided, one.labels) - truth.score(one.decided)) for one in some) < 0.05


def test_a_label_set_that_is_found_worse_has_its_own_offset() -> None:
    ones = dict.fromkeys(FAMILIES["inline"].kinds, 1.0)
    some = [*found(2000, Scale(ones, 1.0, 1.0), name="a"), *found(2000, Scale(ones, 1.0, -1.0), seed=1, name="b")]
    scale = fit(some)
    assert scale.offsets[("a",)] - scale.offsets[("b",)] == pytest.approx(2.0, abs=0.3)
    for name, truth in (("a", 1.0), ("b", -1.0)):
        mine = [one for one in some if one.name == name]
        gaps = [abs(scale.score(o.decided, o.labels) - Scale(ones, 1.0, truth).score(o.decided)) for o in mine]
        assert sum(gaps) / len(gaps) < 0.03
    # What was never fitted on lies between them.
    middle = [scale.score(one.decided) for one in some]
    assert all(
        min(scale.score(o.decided, ["a"]), scale.score(o.decided, ["b"])) <= m <= scale.score(o.decided, ["a"])
        for o, m in zip(some, middle, strict=True)
    )


def test_sets_weigh_the_same_however_many_entities_they_have() -> None:
    """Two sets of one label set, of which one would have the other's scores if it were not there."""
    ones = dict.fromkeys(FAMILIES["inline"].kinds, 1.0)
    one = [replace(o, labels=("x",)) for o in found(500, Scale(ones, 1.0, 2.0), name="a")]
    two = [replace(o, labels=("x",)) for o in found(500, Scale(ones, 1.0, -2.0), seed=1, name="b")]
    even, odd, alone = fit([*one, *two]), fit([*one, *two * 9]), fit(two)

    def apart(other: Scale) -> float:
        return max(abs(even.score(o.decided, ["x"]) - other.score(o.decided, ["x"])) for o in (*one, *two))

    assert apart(odd) < 0.1 < 0.2 < apart(alone)


@pytest.mark.parametrize("right", [None, True, False])
def test_too_little_to_fit_on_is_refused(right: bool | None) -> None:
    some = found(99 if right is None else 200, Scale.identity(FAMILIES["inline"]))
    some = [s if right is None else replace(s, right=right) for s in some]
    with pytest.raises(TrainingError, match=r"too few to calibrate by; legal: 100 or more.*take more sentences"):
        fit(some)


def test_what_it_brought_is_measured_on_other_documents() -> None:
    truth = Scale(dict.fromkeys(FAMILIES["inline"].kinds, 3.0), 1.0)
    some = [*found(400, truth, name="a"), *found(300, truth, seed=1, name="b")]
    samples: Any = {name: (LABELS, [Document("x")] * n) for name, n in (("a", 200), ("b", 150), ("c", 7))}
    told = assess(some, FORMATS["inline_xml"], samples)
    assert {name: (one["sentences"], one["entities"]) for name, one in told.sets.items()} == {
        "a": (200, 400), "b": (150, 300), "c": (7, 0),
    }  # fmt: skip
    assert told.sets["a"]["right"] == sum(one.right for one in some[:400])
    assert (told.entities, told.format, told.bins) == (700, "inline_xml", 10)
    plain = [Scale.identity(FAMILIES["inline"]).score(one.decided) for one in some]
    assert told.before == pytest.approx(calibration_error(plain, [one.right for one in some]), abs=1e-4)
    folds = {fold: calibration_fitting._most_likely([o for o in some if o.document % 5 != fold]) for fold in range(5)}
    after = [folds[one.document % 5].score(one.decided, one.labels) for one in some]
    assert told.after == pytest.approx(calibration_error(after, [one.right for one in some]), abs=1e-4)
    assert told.after < told.before


# -- the file


def a_calibration(adapter: str = "") -> Calibration:
    degrees = {"open": 1.5, "label": 2.0, "inside": 1.0, "close": 0.5}
    scale = Scale(degrees, 1.25, -0.5, {("LOC", "PER"): 0.25, ("x",): -1.0})
    one = {"sentences": 5, "entities": 9, "right": 4, "error_before": 0.2, "error_after": 0.1}
    more = {"gold": 7, "f1_all": 0.5, "f1_kept": 0.55}
    told = Fit("inline_xml", {"a": one, "b": {**one, **more}}, 0.2, 0.1, 10)
    thresholds = Thresholds(0.25, {("LOC", "PER"): 0.4, ("x",): 0.0})
    scales: dict[str, Scale] = {"inline": scale, "json": Scale.identity(FAMILIES["json"])}
    return Calibration(scales, adapter, {"inline": told}, {"inline": thresholds})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert Calibration.read(tmp_path) == IDENTITY
    assert IDENTITY.is_identity
    assert Calibration.from_dict(IDENTITY.to_dict()) == IDENTITY
    made = a_calibration("abc")
    assert not made.is_identity
    made.write(tmp_path)
    assert Calibration.read(tmp_path) == Calibration.read(tmp_path, "abc") == made
    a_calibration("").write(tmp_path)
    assert Calibration.read(tmp_path, "abc") == a_calibration("")


def test_the_calibration_of_another_adapter_is_refused(tmp_path: Path) -> None:
    a_calibration("abc").write(tmp_path)
    with pytest.raises(
        ModelError, match=r"fitted for adapter abc, and this is abd; run `genner calibrate` again, or del"
    ):
        Calibration.read(tmp_path, "abd")


BROKEN: list[tuple[tuple[str, ...], Any, str]] = [
    (("version",), 2, r"version: 2; legal: 1"),
    (("version",), None, r"version: None; legal: 1"),
    (("adapter",), 3, r"adapter: 3 is not a string"),
    (("families",), [], r"families: is list, not an object"),
    (("families", "inlined"), {}, r"'inlined' is none; legal: inline, json"),
    (("families", "inline"), 1, r"inline: is int, not an object"),
    (("families", "inline", "temperatures"), None, r"inline\.temperatures: is NoneType"),
    (
        ("families", "inline", "temperatures", "opens"),
        1.0,
        r"'opens' is no kind of decision; legal: open, label, inside",
    ),
    (("families", "inline", "temperatures", "open"), ..., r"inline\.temperatures: 'open' is missing"),
    (("families", "inline", "temperatures", "open"), "1", r"temperatures\.open: '1'; legal: a number, 0\.01 to 100"),
    (("families", "inline", "temperatures", "open"), True, r"temperatures\.open: True; legal"),
    (("families", "inline", "temperatures", "open"), 0, r"temperatures\.open: 0; legal"),
    (("families", "inline", "temperatures", "open"), -1.0, r"temperatures\.open: -1\.0; legal"),
    (("families", "inline", "temperatures", "open"), math.nan, r"temperatures\.open: nan; legal"),
    (("families", "inline", "overall"), 101, r"inline\.overall: 101; legal: a number, 0\.01 to 100"),
    (("families", "json", "overall"), ..., r"json\.overall: None; legal"),
    (("families", "inline", "offset"), 21, r"inline\.offset: 21; legal: a number, -20 to 20"),
    (("families", "inline", "offsets"), {}, r"inline\.offsets: is dict, not a list"),
    (("families", "inline", "offsets"), [{"labels": "PER", "offset": 0}], r"labels 'PER' is not a list of tags"),
    (("families", "inline", "offsets"), [{"labels": [1], "offset": 0}], r"labels \[1\] is not a list of tags"),
    (("families", "inline", "offsets"), [{"labels": ["a"]}], r"inline\.offsets\.offset: None; legal"),
    (("families", "inline", "offsets"), [{"labels": ["a"], "offset": 0}] * 2, r"labels \['a'\] are given twice"),
    (("families", "inline", "fit"), 1, r"inline\.fit: is int"),
    (("families", "inline", "fit", "error_after"), 1.5, r"inline\.fit\.error_after: 1\.5; legal: a number, 0 to 1"),
    (("families", "inline", "fit", "sets", "a", "right"), -1, r"sets\.a\.right: -1; legal: a number, 0 or more"),
]


@pytest.mark.parametrize(("place", "value", "message"), BROKEN, ids=[f"{'.'.join(p)}={v}" for p, v, _ in BROKEN])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, place: tuple[str, ...], value: Any, message: str) -> None:
    raw = a_calibration().to_dict()
    table = raw
    for key in place[:-1]:
        table = table[key]
    if value is ...:
        del table[place[-1]]
    else:
        table[place[-1]] = value
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(raw))
    with pytest.raises(
        ModelError, match=rf"{CALIBRATION_FILE} is damaged: .*{message}.*; run `genner calibrate` again, or delete"
    ):
        Calibration.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\udcff", "[" * 100_000])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / CALIBRATION_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=r"run `genner calibrate` again, or delete the file"):
        Calibration.read(tmp_path)


@given(t=st.floats(COOLEST, HOTTEST), u=st.floats(COOLEST, HOTTEST))
@settings(max_examples=20, deadline=None)
def test_every_legal_calibration_survives_json(t: float, u: float) -> None:
    offsets = {("PER",): t / HOTTEST}
    made = Calibration({"inline": Scale({"open": t, "label": u, "close": t}, u, -u / HOTTEST, offsets)}, "x")
    assert Calibration.from_dict(json.loads(json.dumps(made.to_dict()))) == made


# -- in use


def test_an_extractor_gives_calibrated_scores_and_filters_by_them() -> None:
    scale = Scale({"open": 2.0, "label": 1.0, "close": 3.0}, 1.5, 0.1, {("LOC", "ORG", "PER"): -0.2, ("PER",): 5.0})
    calibration, core = Calibration({"inline": scale}), label_set("core")
    wanted = [
        scale.score({"open": log(0.9), "label": 0.0, "close": log(0.9)}, core.tags),
        scale.score({"open": log(0.5), "label": 0.0, "close": 0.0}, core.tags),
    ]
    assert 0.3 < wanted[1] < wanted[0] < 0.81  # neither is what it was
    for least, names in ((0.0, ["Ann", "Bob"]), (wanted[0] - 0.001, ["Ann"]), (wanted[0] + 0.001, [])):
        ner = Extractor(Unsure(), FORMATS["inline_xml"], core, min_score=least, calibration=calibration)
        prediction = ner.extract("Ann met Bob")
        assert [prediction.mention(e) for e in prediction.entities] == names
        assert [e.score for e in prediction.entities] == pytest.approx(wanted[: len(names)])
        assert ner.signature.get("min_score", "").endswith(" calibrated") is bool(least)
    # A family that has no scale keeps its own scores.
    ner = Extractor(Unsure(), FORMATS["inline_xml"], core, calibration=Calibration({"json": scale}))
    assert [e.score for e in ner.extract("Ann met Bob").entities] == pytest.approx([0.81, 0.5])


def test_min_score_goes_by_the_digits_that_are_written() -> None:
    class Near(ScriptedEngine):
        def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
            for request in requests:
                yield request, Generation(b"<PER>Ann</PER>", (5, 8, 14), (log(0.89996), 0.0, 0.0))

    for least, number in ((0.9, 1), (0.9001, 0)):
        ner = Extractor(Near(), FORMATS["inline_xml"], label_set("core"), min_score=least)
        found = ner.extract("Ann").to_dict()["entities"]
        assert [e["score"] for e in found] == [0.9] * number


def test_a_model_is_judged_by_the_gold_entities_of_its_documents() -> None:
    gold = Document("Ann met Bob", (Entity(8, 11, "PER"), Entity(0, 3, "LOC")))
    found = judge(Unsure(), FORMATS["inline_xml"], {"a": (label_set("core"), [gold, Document("Ann met Bob")])})
    assert [(one.name, one.document, one.right) for one in found] == [
        ("a", 0, False), ("a", 0, True), ("a", 1, False), ("a", 1, False),
    ]  # fmt: skip
    assert found[1].decided == pytest.approx({"open": log(0.5), "label": 0.0, "inside": 0.0, "close": 0.0})


def half_right(folder: Path, model: Path) -> Path:
    """A recipe on the tiny base: its dev entities are what a model finds and each word, labelled now this, now that."""
    ner = genner.load(str(model), ["PER", "LOC"], format="inline_bracketed", device="cpu")
    texts = [f"Ada {i} is in New York." for i in range(10)]
    gold = []
    for i, prediction in enumerate(Extractor(ner.engine, ner.form, ner.labels, split=False).pipe(texts)):
        spans = {e.span for e in prediction.entities} | {m.span() for m in re.finditer(r"\w+", prediction.text)}
        kept = tuple(Entity(a, b, ("PER", "LOC")[n % 2]) for n, (a, b) in enumerate(sorted(spans)))
        gold.append(json.dumps(Document(prediction.text, kept, str(i)).to_dict()) + "\n")
    for name in ("train.jsonl", "dev.jsonl"):
        (folder / name).write_text("".join(gold))
    (folder / "labels.json").write_text('["PER", "LOC"]')
    recipe = folder / "recipe.toml"
    recipe.write_text(
        f"base = '{folder / 'base'}'\n[lora]\nrank = 4\n[optim]\nepochs = 0.1\nlearning_rate = 1e-9\n"
        "[drafter]\nsentences = 0\n[formats]\ninline_bracketed = 1.0\n"
        "[[set]]\nname = 'a'\ntrain = ['train.jsonl']\ndev = 'dev.jsonl'\nlabels = 'labels.json'\n"
    )
    return recipe


@pytest.mark.usefixtures("processor")
def test_calibrate_from_the_command_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = an_adapter(tmp_path / "adapter", a_base(tmp_path / "base"))
    recipe = half_right(tmp_path, adapter)
    monkeypatch.setattr(calibration_fitting, "FEWEST", 10)
    before = genner.load(str(adapter), ["PER", "LOC"]).extract("Ada 3 is in New York.", min_score=0).entities
    code, out, _ = run("calibrate", str(adapter), str(recipe), "--data", str(tmp_path), "--sentences", "10")
    assert code == 0
    assert "calibration of inline_bracketed: expected calibration error" in out
    assert "thresholds of inline_bracketed: " in out
    ner = genner.load(str(adapter), ["PER", "LOC"])
    calibration = Calibration.read(adapter)
    assert calibration is not None
    assert calibration == ner.calibration
    assert calibration.adapter == ner.signature["adapter"]
    told = calibration.fits["inline"]
    assert told.entities >= 10
    assert told.sets["a"]["sentences"] == 10
    assert set(calibration.thresholds["inline"].by_labels) == {("LOC", "PER")}
    assert ner.least() == ner.threshold() == calibration.thresholds["inline"].of(["PER", "LOC"])
    # One kind of formats alone: what is there for the other stays.
    more = {
        "families": {
            **json.loads((adapter / CALIBRATION_FILE).read_text())["families"],
            "json": a_calibration().to_dict()["families"]["json"],
        }
    }
    (adapter / CALIBRATION_FILE).write_text(json.dumps(json.loads((adapter / CALIBRATION_FILE).read_text()) | more))
    arguments = ("calibrate", str(adapter), str(recipe), "--data", str(tmp_path), "--sentences", "10")
    assert run(*arguments, "--format", "inline_bracketed")[0] == 0
    assert json.loads((adapter / CALIBRATION_FILE).read_text())["families"] == more["families"]
    assert run(*arguments, "--format", "xml")[0] == 2
    ner = genner.load(str(adapter), ["PER", "LOC"])
    calibration = Calibration.read(adapter)
    assert calibration is not None
    # The same entities, other scores; merged, the same scores.
    after = ner.extract("Ada 3 is in New York.", min_score=0).entities
    assert after == before
    assert [e.score for e in after] != [e.score for e in before]
    pretend(monkeypatch, "bf16")  # what is merged is written in bf16
    merged = merge(str(adapter), tmp_path / "out")
    assert genner.load(str(merged)).calibration == calibration
    # Another adapter in its place is noticed.
    raw = json.loads((adapter / CALIBRATION_FILE).read_text())
    (adapter / CALIBRATION_FILE).write_text(json.dumps(raw | {"adapter": "0" * 12}))
    with pytest.raises(ModelError, match="fitted for adapter 000000000000, and this is"):
        genner.load(str(adapter))
    assert run("calibrate", str(tmp_path / "base"), str(recipe))[0] == 1


@pytest.mark.usefixtures("processor")
def test_a_training_run_ends_with_a_calibration(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = half_right(tmp_path, a_base(tmp_path / "base"))
    monkeypatch.setattr("genner.training.trainer.draw", lambda metrics, out: None)
    out = tmp_path / "out"
    arguments = ("train", str(recipe), "--data", str(tmp_path), "--out", str(out), "--eval-sentences", "1")
    monkeypatch.setattr(calibration_fitting, "FEWEST", 1_000_000)
    code, told, _ = run(*arguments, "--calibration-sentences", "10")
    assert (code, (out / "best" / CALIBRATION_FILE).exists()) == (
        3,
        False,
    )  # it has not learned, at such a learning rate
    assert "no calibration: inline_bracketed: " in told
    monkeypatch.setattr(calibration_fitting, "FEWEST", 10)
    code, told, _ = run(*arguments, "--resume", "--calibration-sentences", "10")
    made = Calibration.read(out / "best")
    assert (code, made is not None) == (3, True), told
    assert genner.load(str(out)).calibration == made


def test_new_weights_drop_the_calibration_of_the_old(tmp_path: Path) -> None:
    made = mixture(tmp_path)
    target = tmp_path / "best"
    save_model(adapted(), target, made, {})
    a_calibration().write(target)
    save_model(adapted(), target, made, {})
    assert (target / "adapter_model.safetensors").is_file()
    assert not (target / CALIBRATION_FILE).exists()


def test_without_dev_data_there_is_nothing_to_fit_on(tmp_path: Path) -> None:
    a_base(tmp_path / "base")
    (tmp_path / "t.jsonl").write_text('{"text": "Ada", "entities": []}\n')
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"base = '{tmp_path}'\n[formats]\ninline_xml = 1.0\n[[set]]\nname = 'a'\ntrain = ['t.jsonl']\nlabels = 'core'\n"
    )
    some = Mixture(Recipe.from_file(recipe), tmp_path, Chat(tiny.tokenizer("bytes")))
    with pytest.raises(TrainingError, match=r"no \[\[set\]\] of the recipe has dev documents to calibrate on"):
        calibration_fitting.calibrate(Unsure(), some, 5)


def test_each_family_is_fitted_on_its_format_with_the_most_weight(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "Ada", "entities": []}\n')
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "base = 'b'\n[formats]\ninline_xml = 0.2\noffset_json = 0.1\ngpt_ner = 0.1\ngrouped_json = 0.3\n"
        "inline_bracketed = 0.3\n[[set]]\nname = 'a'\ntrain = ['t.jsonl']\nlabels = 'core'\n"
    )
    some = Mixture(Recipe.from_file(recipe), tmp_path, Chat(tiny.tokenizer("bytes")))
    assert {kind: form.name for kind, form in calibration_fitting._forms(some)} == {
        "inline": "inline_bracketed", "json": "grouped_json",
    }  # fmt: skip
