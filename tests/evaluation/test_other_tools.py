"""Agreement with independent tools, and the smallest examples on which they differ; told in docs/scores.md."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Corpora

from genner.document import Document, Entity
from genner.evaluation import METRICS, Counts, evaluate

seqeval = pytest.importorskip("seqeval.metrics")
scheme = pytest.importorskip("seqeval.scheme")
nervaluate = pytest.importorskip("nervaluate")

TAGS = ["O", *(f"{p}-{label}" for label in ("PER", "ORG", "LOC") for p in "BI")]
Tags = list[str]


def spans(tags: Tags) -> list[tuple[int, int, str]]:
    """The chunks of a tag sequence as conlleval reads them: an I- that continues nothing begins a chunk."""
    found, start = [], None
    for i, (before, tag) in enumerate(zip(["O", *tags], [*tags, "O"], strict=True)):
        goes_on = tag != "O" and tag[0] == "I" and before != "O" and before[2:] == tag[2:]
        if start is not None and not goes_on:
            found.append((start, i, before[2:]))
            start = None
        if start is None and tag != "O":
            start = i
    return found


def document(tags: Tags, id: str = "") -> Document:
    """A document of one-letter words."""
    return Document("x" * len(tags), tuple(Entity(*span) for span in spans(tags)), id)


def legal(tags: Tags) -> Tags:
    """The same chunks in IOB2."""
    result = ["O"] * len(tags)
    for start, end, label in spans(tags):
        result[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return result


sentences = st.integers(1, 7).flatmap(
    lambda n: st.tuples(*[st.lists(st.sampled_from(TAGS), min_size=n, max_size=n)] * 2)
)
corpora = st.lists(sentences, min_size=1, max_size=4)


# seqeval


@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
@settings(max_examples=60, deadline=None)
@given(corpora)
def test_seqeval(strict: bool, corpus: list[tuple[Tags, Tags]]) -> None:
    gold, pred = [legal(g) for g, _ in corpus], [legal(p) for _, p in corpus]
    report = evaluate([document(t) for t in gold], [document(t) for t in pred])
    if not report.per_label:
        return  # seqeval has no report without labels
    kind = {"mode": "strict", "scheme": scheme.IOB2} if strict else {}
    theirs = seqeval.classification_report(gold, pred, output_dict=True, zero_division=0, **kind)
    assert theirs["micro avg"]["f1-score"] == pytest.approx(report.micro.f1)
    assert theirs["micro avg"]["precision"] == pytest.approx(report.micro.precision)
    assert theirs["micro avg"]["recall"] == pytest.approx(report.micro.recall)
    assert theirs["macro avg"]["f1-score"] == pytest.approx(report.macro_f1)
    assert theirs["weighted avg"]["f1-score"] == pytest.approx(report.weighted_f1)
    for label, counts in report.per_label.items():
        assert theirs[label]["f1-score"] == pytest.approx(counts.f1)
        assert theirs[label]["support"] == counts.support


@settings(max_examples=60, deadline=None)
@given(corpora)
def test_seqeval_reads_any_tags_as_conlleval_does(corpus: list[tuple[Tags, Tags]]) -> None:
    gold, pred = [g for g, _ in corpus], [p for _, p in corpus]
    report = evaluate([document(t) for t in gold], [document(t) for t in pred])
    assert seqeval.f1_score(gold, pred, zero_division=0) == pytest.approx(report.micro.f1)


def test_where_seqeval_differs_strict_mode_drops_what_does_not_begin() -> None:
    tags = [["I-PER"]]
    assert seqeval.f1_score(tags, tags) == 1.0
    assert seqeval.f1_score(tags, tags, mode="strict", scheme=scheme.IOB2, zero_division=0) == 0.0
    assert evaluate([document(tags[0])], [document(tags[0])]).micro == Counts(tp=1)


# nervaluate; its ends are inclusive


def nervaluated(gold: list[Document], pred: list[Document]) -> dict[str, tuple[float, float, float]]:
    sides = [
        [[{"label": e.label, "start": e.start, "end": e.end - 1} for e in d.entities] for d in side]
        for side in (gold, pred)
    ]
    labels = sorted({e.label for d in gold + pred for e in d.entities})
    overall = nervaluate.Evaluator(*sides, tags=labels, loader="dict").evaluate()["overall"]
    return {name: (r.precision, r.recall, r.f1) for name, r in overall.items()}


OURS = {"strict": "strict", "span": "exact", "partial": "partial", "type": "ent_type"}


@settings(max_examples=150, deadline=None)
@given(corpora)
def test_nervaluate(corpus: list[tuple[Tags, Tags]]) -> None:
    gold, pred = [document(g) for g, _ in corpus], [document(p) for _, p in corpus]
    theirs = nervaluated(gold, pred)
    for ours, name in OURS.items():
        counts = sum((METRICS[ours](g, p) for g, p in zip(gold, pred, strict=True)), Counts())
        assert (counts.precision, counts.recall, counts.f1) == pytest.approx(theirs[name]), name


def test_where_nervaluate_differs_an_overlap_takes_what_is_right() -> None:
    gold = Document("abcde", (Entity(2, 5, "PER"),))
    pred = Document("abcde", (Entity(0, 3, "PER"), Entity(2, 5, "PER")))
    theirs = nervaluated([gold], [pred])
    assert theirs["strict"] == (0, 0, 0)
    assert METRICS["strict"](gold, pred) == Counts(tp=1, fp=1)


def test_where_nervaluate_differs_less_than_a_hundredth_is_no_overlap() -> None:
    text = "x" * 102
    gold, pred = Document(text, (Entity(0, 101, "PER"),)), Document(text, (Entity(100, 102, "PER"),))
    assert nervaluated([gold], [pred])["partial"] == (0, 0, 0)
    assert METRICS["partial"](gold, pred).tp == 0.5


# conlleval, on the sample of the CoNLL-2000 shared task: label, phrases found, precision, recall, FB1, phrases in gold

PUBLISHED = [
    ("ADJP", 1, 0.00, 0.00, 0.00, 6),
    ("ADVP", 11, 45.45, 62.50, 52.63, 8),
    ("NP", 317, 64.98, 78.63, 71.16, 262),
    ("PP", 107, 83.18, 98.89, 90.36, 90),
    ("SBAR", 3, 66.67, 33.33, 44.44, 6),
    ("VP", 100, 69.00, 79.31, 73.80, 87),
]


def percent(counts: Counts) -> tuple[float, float, float]:
    return round(100 * counts.precision, 2), round(100 * counts.recall, 2), round(100 * counts.f1, 2)


def test_conllevals_published_output_follows_from_its_counts() -> None:
    total = Counts()
    for _, found, precision, recall, f1, expected in PUBLISHED:
        counts = Counts.of(round(found * precision / 100), found=found, expected=expected)
        assert percent(counts) == (precision, recall, f1)
        total += counts
    assert total == Counts.of(371, found=539, expected=459)
    assert percent(total) == (68.83, 80.83, 74.35)


def test_conlleval_on_its_sample(corpora: Corpora) -> None:
    sample = corpora("conlleval/output.txt")
    rows = [[line.split() for line in block.split("\n") if line] for block in sample.read_text().split("\n\n")]
    sides = [[[row[column] for row in block] for block in rows if block] for column in (-2, -1)]
    pairs = [(g, p) for gold, pred in zip(*sides, strict=True) for g, p in zip(gold, pred, strict=True)]
    assert len(pairs) == 961
    assert round(100 * sum(g == p for g, p in pairs) / 961, 2) == 84.08
    report = evaluate(*([document(tags) for tags in side] for side in sides))
    assert percent(report.micro) == (68.83, 80.83, 74.35)
    for label, found, precision, recall, f1, expected in PUBLISHED:
        counts = report.per_label[label]
        assert (*percent(counts), counts.tp + counts.fp, counts.support) == (precision, recall, f1, found, expected)
