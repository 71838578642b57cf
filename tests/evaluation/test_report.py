"""Laws of the counts, reports worked out by hand, and two systems compared."""

import json
import random
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genner.document import Document, Entity, Prediction, Problem
from genner.errors import UsageError
from genner.evaluation import METRICS, Counts, compare, count, evaluate, interval
from genner.evaluation.intervals import f1

TEXT = "Ada met Bob."
counts = st.builds(Counts, *[st.integers(0, 50)] * 3)
entities = st.sets(
    st.builds(
        lambda start, length, label: Entity(start, min(start + length, len(TEXT)), label),
        st.integers(0, len(TEXT) - 1),
        st.integers(1, 4),
        st.sampled_from(["PER", "ORG", "LOC"]),
    ),
    max_size=6,
)
documents = st.builds(lambda found: Document(TEXT, tuple(found)), entities)
corpora = st.lists(st.tuples(documents, documents), max_size=5)


def total(of: dict[str, Counts]) -> Counts:
    return sum(of.values(), Counts())


# Counts


@given(counts, counts, counts)
def test_counts_add(a: Counts, b: Counts, c: Counts) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Counts() == a


@given(counts)
def test_f1_is_the_harmonic_mean(c: Counts) -> None:
    assert c.f1 == pytest.approx(statistics.harmonic_mean([c.precision, c.recall]))
    assert all(0 <= x <= 1 for x in (c.precision, c.recall, c.f1))


@given(documents, documents)
def test_counts_of_a_pair(gold: Document, pred: Document) -> None:
    counted = count(gold, pred)
    assert counted.keys() == {e.label for e in gold.entities + pred.entities}
    for label, c in counted.items():
        assert c.tp + c.fn == c.support == sum(e.label == label for e in gold.entities)
        assert c.tp + c.fp == sum(e.label == label for e in pred.entities)
    swapped = total(count(pred, gold))
    assert (swapped.precision, swapped.recall) == (total(counted).recall, total(counted).precision)


@given(documents)
def test_a_perfect_prediction(gold: Document) -> None:
    c = total(count(gold, replace(gold)))
    assert c == Counts(tp=len(gold.entities))
    assert c.f1 == (1.0 if gold.entities else 0.0)


def test_matching_is_strict_and_sees_nested_spans() -> None:
    gold = Document(TEXT, (Entity(0, 11, "EVT"), Entity(0, 3, "PER"), Entity(8, 11, "PER")))
    pred = Document(TEXT, (Entity(0, 11, "EVT", 0.5), Entity(0, 3, "ORG"), Entity(8, 12, "PER")))
    assert count(gold, pred) == {"EVT": Counts(tp=1), "PER": Counts(fp=1, fn=2), "ORG": Counts(fp=1)}


@pytest.mark.parametrize(
    ("text", "message"), [("Ada saw Bob.", "offset 4, 'met Bob.' and 'saw Bob.'"), ("Ada", "' met Bob.' and 'the end'")]
)
def test_texts_must_be_the_same(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"'d': the texts .* differ.*{message}"):
        count(Document(TEXT, (), "d"), Document(text, (), "d"))


# Intervals (more of them in test_intervals.py)


def test_an_interval_is_narrower_with_less_confidence() -> None:
    triples = np.random.default_rng(0).integers(5, size=(3, 40))
    low, high = interval(*triples) or (1, 0)
    inner = interval(*triples, confidence=0.5) or (0, 0)
    assert low < inner[0] < inner[1] < high


@pytest.mark.parametrize(
    "arguments",
    [
        {"confidence": 1.0},
        {"confidence": 0.0},
        {"tp": [1, 2]},
        {"fp": [-1]},
        {"fn": [[1]]},
        {"tp": [float("nan")]},
        {"units": [0, 1]},
    ],
)
def test_arguments_out_of_range(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        interval(**{"tp": [1], "fp": [1], "fn": [1]} | arguments)


# Reports

# PER: 3 right, 1 wrong, 1 missed; ORG: 1 right, 0 wrong, 3 missed; LOC: 0 right, 2 wrong, not in gold.
GOLD = [
    Document(
        "0123456789", (*[Entity(i, i + 1, "PER") for i in range(4)], *[Entity(i, i + 1, "ORG") for i in range(4)]), "a"
    ),
    Document(TEXT, (), "b"),
]
PRED = [
    Prediction(
        "0123456789",
        (*[Entity(i, i + 1, "PER") for i in (0, 1, 2, 5)], Entity(0, 1, "ORG")),
        "a",
        (Problem("invalid", "no end tag"), Problem("truncated", "at 9")),
    ),
    Prediction(TEXT, (Entity(0, 3, "LOC"), Entity(8, 11, "LOC")), "b", (Problem("dropped", "Carl"),)),
]


def test_a_report_worked_out_by_hand() -> None:
    report = evaluate(GOLD, PRED)
    assert report.micro == Counts(tp=4, fp=3, fn=4)
    assert report.micro.precision == pytest.approx(4 / 7)
    assert report.micro.recall == pytest.approx(1 / 2)
    assert report.micro.f1 == pytest.approx(8 / 15)
    assert report.per_label == {"LOC": Counts(fp=2), "ORG": Counts(tp=1, fn=3), "PER": Counts(tp=3, fp=1, fn=1)}
    assert report.macro_f1 == pytest.approx((0 + 0.4 + 0.75) / 3)
    assert report.weighted_f1 == pytest.approx((4 * 0.4 + 4 * 0.75) / 8)
    assert (report.documents, report.invalid) == (2, 1)
    low, high = report.interval or (1, 0)
    assert low <= report.micro.f1 <= high


def test_the_table() -> None:
    report = evaluate(GOLD, PRED, settings={"model": "m"})
    low, high = report.interval or (0, 1)
    lines = report.table().split("\n")
    assert lines[:15] == [
        "              precision    recall  f1-score   support",
        "",
        "         LOC     0.0000    0.0000    0.0000         0",
        "         ORG     1.0000    0.2500    0.4000         4",
        "         PER     0.7500    0.7500    0.7500         4",
        "",
        "   micro avg     0.5714    0.5000    0.5333         8",
        "   macro avg     0.5833    0.3333    0.3833         8",
        "weighted avg     0.8750    0.5000    0.5750         8",
        "",
        f"micro F1 0.5333, 95% interval {low:.4f} to {high:.4f} (jackknife over 2 documents)",
        "only 2 documents, fewer than 30: the interval is rough; only large differences of systems show",
        "invalid outputs: 1 of 2 documents",
        f"signature: {report.signature}",
        "",
    ]
    assert lines[15] == "other rules, micro avg"
    others = [name for name in METRICS if name != "strict"]
    assert [line.split()[0] for line in lines[16 : 16 + len(others)]] == others
    assert [line for line in lines if line.startswith("strict, by ")] == [
        "strict, by length: words of the mention",
        "strict, by depth: gold entities that hold the mention and are longer",
    ]


def test_the_json() -> None:
    record = json.loads(json.dumps(evaluate(GOLD, PRED).to_dict()))
    assert record["micro"] == {
        "precision": 4 / 7,
        "recall": 0.5,
        "f1": 8 / 15,
        "support": 8,
        "tp": 4,
        "fp": 3,
        "fn": 4,
    }
    assert list(record["per_label"]) == ["LOC", "ORG", "PER"]
    assert list(record["metrics"]) == [name for name in METRICS if name != "strict"]
    assert record["metrics"]["span"]["signature"].startswith("match:span|docs:2|gold:")
    for group in (record["metrics"], record["per_label"], *record["breakdowns"].values()):
        known = [score["interval"] for score in group.values() if score["interval"]]
        assert all(0 <= low <= high <= 1 for low, high in known)
    assert record["per_label"]["LOC"]["interval"] is None  # a single document has it
    assert record["invalid"] == 1


@pytest.mark.parametrize("pairs", [0, 3], ids=["no documents", "no entities"])
def test_nothing_to_score(pairs: int) -> None:
    empty = [Document(TEXT)] * pairs
    report = evaluate(empty, empty)
    assert (report.micro, report.macro_f1, report.weighted_f1) == (Counts(), 0.0, 0.0)
    assert report.interval is None
    assert "micro avg     0.0000    0.0000    0.0000         0" in report.table()
    json.dumps(report.to_dict())


@settings(max_examples=40, deadline=None)
@given(corpora, documents)
def test_reports_are_sums_whatever_the_order(corpus: list[tuple[Document, Document]], train: Document) -> None:
    gold = [replace(g, id=str(i)) for i, (g, _) in enumerate(corpus)]
    pred = [replace(p, id=str(i)) for i, (_, p) in enumerate(corpus)]
    report = evaluate(gold, pred, train=[train])
    assert report.micro == total(report.per_label)
    assert list(report.breakdowns) == ["length", "depth", "seen", "frequency"]
    for scores in report.breakdowns.values():
        assert sum((score.counts for score in scores.values()), Counts()) == report.micro
    for name, score in report.metrics.items():
        assert score.counts == sum((METRICS[name](g, p) for g, p in corpus), Counts())
    assert evaluate(gold, pred[::-1], train=[train]) == report


def test_each_score_has_the_interval_of_its_own_counts() -> None:
    report = evaluate(GOLD * 20, PRED * 20)
    for name, metric in METRICS.items():
        triples = [metric(g, p) for g, p in zip(GOLD * 20, PRED * 20, strict=True)]
        alone = interval(*zip(*[(c.tp, c.fp, c.fn) for c in triples], strict=True))
        assert (report.interval if name == "strict" else report.metrics[name].interval) == pytest.approx(alone)
    low, high = report.label_intervals["LOC"] or (1, 0)
    assert (low, 0 < high < 0.2) == (0, True)  # never right in 20 documents
    low, high = report.macro_interval or (1, 0)
    assert low < report.macro_f1 < high


def test_the_signature() -> None:
    signature = evaluate(GOLD, PRED, settings={"model": "a:b", "format": "tags"}).signature
    keys = dict(part.split(":", 1) for part in signature.split("|"))
    assert list(keys) == ["match", "docs", "gold", "genner", "unit", "units", "interval", "model", "format"]
    assert (keys["match"], keys["docs"], keys["unit"], keys["units"]) == ("strict", "2", "document", "2")
    assert len(keys["gold"]) == 12
    assert keys["model"] == "a:b"
    assert "|interval:jackknife-t|train:" in evaluate(GOLD, PRED, train=GOLD).signature
    assert evaluate(GOLD, GOLD).signature.split("|")[2] == f"gold:{keys['gold']}"
    assert evaluate(PRED, PRED).signature.split("|")[2] != f"gold:{keys['gold']}"


@pytest.mark.parametrize("settings", [{"a": "x|y"}, {"a:b": "x"}, {"docs": "3"}, {"a": "x\ny"}])
def test_settings_that_break_the_signature(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="cannot be written into the signature"):
        evaluate([], [], settings=settings)


# Pairing


def named(*names: str) -> list[Document]:
    return [Document(TEXT, (Entity(0, 3, "PER"),), name) for name in names]


@pytest.mark.parametrize(
    ("gold", "pred"),
    [
        (("a", "b"), ("b", "a")),
        (("", ""), ("", "")),
        (("a", "a"), ("a", "a")),
        (("gold-1", "gold-2"), ("pred-1", "pred-2")),
    ],
    ids=["by id", "no ids", "ids not unique", "no common ids"],
)
def test_pairing(gold: tuple[str, ...], pred: tuple[str, ...]) -> None:
    assert evaluate(named(*gold), named(*pred)).micro == Counts(tp=2)


@pytest.mark.parametrize(
    ("gold", "pred", "message"),
    [
        ("abcdef", "af", r"gold documents without a prediction: 4 \('b', 'c', 'd', \.\.\.\);"),
        ("a", "ab", r"predictions without a gold document: 1 \('b'\);"),
        ("aa", "a", "gold documents: 2, predictions: 1, without common ids"),
        ("ab", "", "gold documents: 2, predictions: 0"),
    ],
)
def test_documents_missing_or_too_many(gold: str, pred: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(named(*gold), named(*pred))


# Two systems


def noisy(gold: list[Document], share: float, seed: int) -> list[Document]:
    """The gold documents without a share of their entities."""
    rng = random.Random(seed)
    return [replace(d, entities=tuple(e for e in d.entities if rng.random() > share)) for d in gold]


MANY = [
    Document("0123456789", tuple(Entity(i, i + 1, "PER" if i % 3 else "ORG") for i in range(n % 7)), str(n))
    for n in range(40)
]


def test_a_comparison_is_unit_by_unit() -> None:
    systems = noisy(MANY, 0.2, 0), noisy(MANY, 0.3, 1)
    comparison = compare(MANY, *systems)
    assert (comparison.first, comparison.second) == tuple(evaluate(MANY, s) for s in systems)
    assert list(comparison.differences) == list(METRICS)
    for name, metric in METRICS.items():
        counted = [[metric(g, p) for g, p in zip(MANY, system, strict=True)] for system in systems]

        def difference(left_out: int | None, counted: list[list[Counts]] = counted) -> float:
            first, second = (sum((c for i, c in enumerate(s) if i != left_out), Counts()).f1 for s in counted)
            return second - first

        d, whole = comparison.differences[name], difference(None)
        assert d.value == pytest.approx(whole)
        slow = 39 / 40 * sum((difference(i) - whole) ** 2 for i in range(40))
        assert d.se == pytest.approx(slow**0.5)
        assert (d.low + d.high) / 2 == pytest.approx(whole)


def test_p_values_are_what_they_should_be() -> None:
    assert {d.p for d in compare(MANY, MANY, MANY).differences.values()} == {1.0}
    far = compare(MANY, MANY, noisy(MANY, 0.9, 0)).differences["strict"]
    assert far.p < 1e-6
    assert far.high < 0


def test_equally_good_systems_have_any_p_value_alike_often() -> None:
    rng = np.random.default_rng(0)
    ps = []
    for _ in range(300):
        tp = rng.binomial(5, 0.7, size=(2, 60))  # of five entities a document, none of them spurious
        first, second = (f1(t, 0 * t, 5 - t) for t in tp)
        ps.append((second - first).difference().p)
    assert sum(p < 0.1 for p in ps) / 300 == pytest.approx(0.1, abs=0.05)
    assert sum(ps) / 300 == pytest.approx(0.5, abs=0.06)


def test_the_other_way_round_is_the_opposite() -> None:
    a, b = noisy(MANY, 0.2, 0), noisy(MANY, 0.3, 1)
    there, back = (compare(MANY, *pair).differences["strict"] for pair in ((a, b), (b, a)))
    assert (back.value, back.low, back.high, back.p) == pytest.approx((-there.value, -there.high, -there.low, there.p))


def test_a_comparison_as_text_and_json() -> None:
    comparison = compare(MANY, noisy(MANY, 0.2, 0), noisy(MANY, 0.3, 1))
    lines = comparison.table().split("\n")
    assert [line.split()[0] for line in lines[1:-2]] == list(METRICS)
    d = comparison.differences["strict"]
    assert f"{comparison.first.micro.f1:.4f}" in lines[1]
    assert f"{d.value:+.4f}  {d.low:+.4f} to {d.high:+.4f}   {d.p:.4f}" in lines[1]
    record = json.loads(json.dumps(comparison.to_dict()))
    assert record["differences"]["strict"] == {"value": d.value, "low": d.low, "high": d.high, "p": d.p}
    assert compare([], [], []).differences["strict"].to_dict() == {"value": 0, "low": None, "high": None, "p": None}
