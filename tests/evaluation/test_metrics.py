"""What counts as right: laws of every metric, and the cases that tell one from another; errors and their kinds."""

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import LABELS, documents

from genner.document import Document, Entity
from genner.errors import UsageError
from genner.evaluation import METRICS, Counts, analyse, compare, evaluate, verdicts
from genner.evaluation.breakdowns import BREAKDOWNS, NO_TRAINING, TrainingCounts
from genner.evaluation.metrics import maximum_matching
from genner.evaluation.taxonomy import ERROR_KINDS, NO_LABEL
from genner.evaluation.words import words

TEXT = "Dr. Ada King of London met Bob."


def doc(*entities: tuple[int, int, str], text: str = TEXT) -> Document:
    return Document(text, tuple(Entity(*e) for e in entities))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Document, Document]:
    """Two documents over one text, with entities in common more often than by chance."""
    gold = draw(documents(crossing=True))
    kept = [e for e in gold.entities if draw(st.booleans())]
    other = draw(documents(crossing=True))
    moved = {
        Entity(e.start, e.end, draw(st.sampled_from(LABELS.tags))) for e in other.entities if e.end <= len(gold.text)
    }
    return gold, Document(gold.text, tuple({*kept, *moved}))


# Metrics


@pytest.mark.parametrize("name", METRICS)
@given(pairs())
def test_every_metric(name: str, pair: tuple[Document, Document]) -> None:
    gold, pred = pair
    counts = METRICS[name](gold, pred)
    assert counts.tp + counts.fp == len(pred.entities)
    assert counts.tp + counts.fn == counts.support == len(gold.entities)
    assert min(counts.tp, counts.fp, counts.fn) >= 0
    assert counts.tp >= METRICS["strict"](gold, pred).tp
    assert METRICS[name](gold, gold) == Counts(tp=len(gold.entities))


GREEDY = {"partial", "type"}
"""Metrics that pair entities in the reading order of the prediction, as SemEval-2013 does: the sides are not alike."""


@pytest.mark.parametrize("name", [name for name in METRICS if name not in GREEDY])
@given(pairs())
def test_precision_of_one_is_recall_of_the_other(name: str, pair: tuple[Document, Document]) -> None:
    gold, pred = pair
    assert METRICS[name](gold, pred).tp == METRICS[name](pred, gold).tp


TOLD_APART = ("strict", "span", "text", "partial", "type", "tolerant")
# Each line: gold, prediction, and the credit by these metrics, in this order.
CASES = {
    "the same": ([(4, 12, "PER")], [(4, 12, "PER")], (1, 1, 1, 1, 1, 1)),
    "another label": ([(4, 12, "PER")], [(4, 12, "ORG")], (0, 1, 0, 1, 0, 0)),
    "a word less": ([(4, 12, "PER")], [(4, 7, "PER")], (0, 0, 0, 0.5, 1, 1)),
    "a word and a point more": ([(4, 12, "PER")], [(0, 12, "PER")], (0, 0, 0, 0.5, 1, 0)),
    "a word more at either edge": ([(8, 12, "PER")], [(4, 15, "PER")], (0, 0, 0, 0.5, 1, 1)),
    "another label and boundary": ([(4, 12, "PER")], [(4, 7, "ORG")], (0, 0, 0, 0.5, 0, 0)),
    "next to it": ([(4, 7, "PER")], [(8, 12, "PER")], (0, 0, 0, 0, 0, 0)),
    "one for two": ([(4, 7, "PER"), (8, 12, "PER")], [(4, 12, "PER")], (0, 0, 0, 0.5, 1, 1)),
    "two labels, one found": ([(4, 7, "PER"), (4, 7, "ORG")], [(4, 7, "LOC")], (0, 1, 0, 1, 0, 0)),
    "two labels, both found": (
        [(4, 7, "PER"), (4, 7, "ORG")],
        [(4, 7, "LOC"), (4, 7, "ORG")],
        (1, 2, 1, 2, 1, 1),
    ),
    "the exact one comes second": ([(4, 12, "PER")], [(0, 7, "PER"), (4, 12, "PER")], (1, 1, 1, 1, 1, 1)),
}


@pytest.mark.parametrize(("gold", "pred", "credit"), CASES.values(), ids=CASES)
def test_what_tells_the_metrics_apart(
    gold: list[tuple[int, int, str]], pred: list[tuple[int, int, str]], credit: tuple[float, ...]
) -> None:
    found = {name: METRICS[name](doc(*gold), doc(*pred)).tp for name in TOLD_APART}
    assert found == dict(zip(TOLD_APART, credit, strict=True))


def test_a_new_metric_is_one_function_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(gold: Document, pred: Document) -> Counts:
        """Right: the same start and label, wherever the entity ends."""
        right = {(e.start, e.label) for e in gold.entities} & {(e.start, e.label) for e in pred.entities}
        return Counts.of(len(right), found=len(pred.entities), expected=len(gold.entities))

    monkeypatch.setitem(METRICS, "start", start)
    gold, pred = doc((4, 12, "PER"), (16, 22, "LOC")), doc((4, 7, "PER"), (16, 22, "ORG"))
    report, comparison = evaluate([gold], [pred]), compare([gold], [pred], [gold])
    assert report.metrics["start"].counts == report.counts_of("start") == Counts(tp=1, fp=1, fn=1)
    assert "match:start|" in report.signature_of("start")
    assert report.to_dict()["metrics"]["start"]["f1"] == 0.5
    assert [line.split()[:4] for line in report.table().split("\n") if line.split()[:1] == ["start"]] == [
        ["start", "0.5000", "0.5000", "0.5000"]
    ]
    assert comparison.differences["start"].value == 0.5
    assert [line.split()[:3] for line in comparison.table().split("\n") if line.split()[:1] == ["start"]] == [
        ["start", "0.5000", "1.0000"]
    ]


def test_text_matches_mentions_wherever_they_stand_but_each_once() -> None:
    text = "Bob met Bob and Bob."
    gold = doc((0, 3, "PER"), (8, 11, "PER"), text=text)
    assert METRICS["text"](gold, doc((16, 19, "PER"), text=text)) == Counts(tp=1, fn=1)
    assert METRICS["text"](gold, doc((0, 3, "PER"), (8, 11, "PER"), (16, 19, "PER"), text=text)) == Counts(tp=2, fp=1)


@given(st.lists(st.lists(st.integers(0, 4), max_size=4, unique=True), max_size=5))
def test_the_matching_is_the_largest(allowed: list[list[int]]) -> None:
    columns = [*range(5)] + [None] * len(allowed)
    best = max(
        sum(c is not None and c in row for row, c in zip(allowed, chosen, strict=True))
        for chosen in set(permutations(columns, len(allowed)))
    )
    assert maximum_matching(allowed) == best


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ada's cat.", ["Ada", "'", "s", "cat", "."]),
        ("東京 a1", ["東", "京", "a1"]),
        (" \n", []),
        ("ae\u0301 ", ["ae\u0301"]),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    of = words(text)
    assert [text[s:e] for s, e in zip(of.starts, of.ends, strict=True)] == found
    assert of.between(0, len(text)) == len(found)


@given(documents())
def test_words_between_two_places(document: Document) -> None:
    of = words(document.text)
    spans = list(zip(of.starts, of.ends, strict=True))
    for e in document.entities:
        assert of.between(e.start, e.end) == sum(s < e.end and e.start < t for s, t in spans)


# Breakdowns


def bucket(name: str, entity: tuple[int, int, str], gold: Document, training: TrainingCounts = NO_TRAINING) -> str:
    return BREAKDOWNS[name].bucket(Entity(*entity), gold, training)


def test_length_and_depth() -> None:
    gold = doc((0, 22, "PER"), (4, 12, "PER"), (4, 7, "ORG"), (4, 7, "PER"))
    assert [bucket("length", e, gold) for e in [(4, 7, "X"), (4, 12, "X"), (0, 12, "X"), (0, 22, "X")]] == [
        "1",
        "2",
        "4",
        "5-9",
    ]
    spans = [(0, 22), (4, 12), (4, 7), (8, 9), (27, 30)]
    assert [bucket("depth", (*span, "X"), gold) for span in spans] == [
        "0", "1", "2", "2", "0",
    ]  # fmt: skip
    long = " ".join("abcdefghijkl")
    assert bucket("length", (0, len(long), "X"), doc(text=long)) == "10+"


def test_seen_and_frequency() -> None:
    training = TrainingCounts.of([doc((4, 7, "PER")), doc((4, 7, "PER")), doc((16, 22, "ORG"))])
    for entity, seen, frequency in [
        ((4, 7, "PER"), "seen", "2-4"),
        ((4, 7, "ORG"), "other label", "0"),
        ((16, 22, "ORG"), "seen", "1"),
        ((27, 30, "PER"), "unseen", "0"),
    ]:
        assert bucket("seen", entity, doc(), training) == seen
        assert bucket("frequency", entity, doc(), training) == frequency


# Kinds of errors


@given(pairs())
def test_every_entity_is_in_one_verdict(pair: tuple[Document, Document]) -> None:
    gold, pred = pair
    found = verdicts(gold, pred)
    assert Counter(v.gold for v in found if v.gold) == Counter(gold.entities)
    assert Counter(v.pred for v in found if v.pred) == Counter(pred.entities)
    for v in found:
        assert (v.gold is None, v.pred is None) == (v.kind == "spurious", v.kind == "missed")
        if v.gold and v.pred:
            same = v.gold.span == v.pred.span, v.gold.label == v.pred.label
            assert v.kind == {
                (True, True): "right",
                (True, False): "wrong label",
                (False, True): "wrong boundary",
                (False, False): "both",
            }.get(same)
            assert v.gold.start < v.pred.end
            assert v.pred.start < v.gold.end
    assert sum(v.kind == "right" for v in found) == METRICS["strict"](gold, pred).tp
    assert verdicts(gold, pred) == found
    for a, b in [(v.gold, w.pred) for v in found for w in found if v.kind == "missed" and w.kind == "spurious"]:
        assert a is not None
        assert b is not None
        assert a.end <= b.start or b.end <= a.start


def test_the_pair_that_shares_most_comes_first() -> None:
    gold = doc((0, 12, "PER"), (16, 22, "LOC"))
    pred = doc((0, 3, "PER"), (4, 12, "PER"), (16, 22, "ORG"), (27, 30, "PER"))
    assert [(v.kind, v.labels) for v in verdicts(gold, pred)] == [
        ("wrong boundary", ("PER", "PER")),
        ("spurious", (NO_LABEL, "PER")),
        ("wrong label", ("LOC", "ORG")),
        ("spurious", (NO_LABEL, "PER")),
    ]
    assert verdicts(gold, pred)[0].pred == Entity(4, 12, "PER")


def test_the_analysis() -> None:
    gold = [doc((4, 12, "PER"), (16, 22, "LOC"), (27, 30, "PER"))]
    pred = [doc((4, 12, "PER"), (13, 22, "ORG"), (0, 3, "none"))]
    analysis = analyse(gold, pred)
    assert analysis.kinds == {
        "right": 1, "wrong label": 0, "wrong boundary": 0, "both": 1, "missed": 1, "spurious": 1,
    }  # fmt: skip
    assert list(analysis.kinds) == list(ERROR_KINDS)
    assert analysis.to_dict()["confusion"] == [
        {"gold": None, "pred": "none", "count": 1},
        {"gold": "LOC", "pred": "ORG", "count": 1},
        {"gold": "PER", "pred": None, "count": 1},
        {"gold": "PER", "pred": "PER", "count": 1},
    ]
    assert analysis.table().split("\n")[-6:] == [
        "      LOC  ORG  PER none none",
        " LOC    .    1    .    .    .",
        " ORG    .    .    .    .    .",
        " PER    .    .    1    .    1",
        "none    .    .    .    .    .",
        "none    .    .    .    1    .",
    ]


def test_verdicts_need_one_text() -> None:
    with pytest.raises(UsageError, match="the texts of gold and prediction differ"):
        verdicts(doc(), doc(text="Ada"))
