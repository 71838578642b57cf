"""From answers to a cell's metrics: as published, as said and strict, side by side, from the same raw answers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genner.assess.records import Answered, Json
from genner.document import Document, LabelSet
from genner.evaluation import Counts, evaluate, interval
from genner.formats import Format
from genner.generations.readings import published_counts, strict_counts

LENGTHS = {"1": ("1",), "2": ("2",), "3-4": ("3", "4"), "5+": ("5-9", "10+")}
"""Words of a mention, by the buckets of the evaluation that they consist of."""


def published(
    form: Format, labels: LabelSet, gold: Document, chunks: Sequence[tuple[int, int]], raw: Sequence[str]
) -> tuple[float, float, float] | None:
    """True positives, false positives and false negatives by the paper's rule; None for a format without one."""
    counts = published_counts(form, labels, gold, raw, chunks)
    return None if counts is None else (counts.tp, counts.fp, counts.fn)


def as_said(
    form: Format, labels: LabelSet, gold: Document, chunks: Sequence[tuple[int, int]], raw: Sequence[str]
) -> tuple[float, float, float]:
    """True positives, false positives and false negatives, strictly, an answer being what it says, not looked up."""
    counts = strict_counts(form, labels, gold, raw, chunks, look_up=False)
    return counts.tp, counts.fp, counts.fn


def metrics(lines: Sequence[Answered], settings: Mapping[str, str], seed: int = 0) -> tuple[Json, str]:
    """The metrics of a score or probe cell, and the signature of the strict score. Ratios are in [0, 1], unrounded.

    Intervals are at 95 %, by bootstrap over documents.
    """
    from genner.training.dev import RATES  # with the engines, which take a while to import

    gold, found = [line.document() for line in lines], [line.prediction() for line in lines]
    report = evaluate(gold, found, settings=settings, seed=seed)
    length = report.breakdowns["length"]
    counted: Json = {
        "strict": _scores(report.micro, report.interval),
        "as_said": _read([line.as_said for line in lines], seed),
        "published": _read([line.published for line in lines], seed),
        "labels": {label: _label(counts) for label, counts in report.per_label.items()},
        "lengths": {
            name: _label(_sum(length[bucket].counts for bucket in buckets if bucket in length))
            for name, buckets in LENGTHS.items()
        },
        "problems": dict(Counter(p.kind for prediction in found for p in prediction.problems)),
        "documents": len(lines),
    }
    for name, holds in RATES.items():
        counted[name] = sum(map(holds, found)) / len(found) if found else 0.0
    return counted, report.signature


def _read(found: Sequence[tuple[float, float, float] | None], seed: int) -> Json | None:
    """The scores of a reading; None unless every answer has it."""
    counts = [Counts(*one) for one in found if one is not None]
    if len(counts) < len(found):
        return None
    bounds = interval([c.tp for c in counts], [c.fp for c in counts], [c.fn for c in counts], seed=seed)
    return _scores(_sum(counts), bounds)


def _scores(counts: Counts, bounds: tuple[float, float]) -> Json:
    return {**_ratios(counts), "low": bounds[0], "high": bounds[1], **_numbers(counts)}


def _label(counts: Counts) -> Json:
    numbers = _numbers(counts)
    return {**_ratios(counts), "gold": numbers["gold"], "predicted": numbers["predicted"]}


def _ratios(counts: Counts) -> dict[str, float]:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def _numbers(counts: Counts) -> dict[str, Any]:
    return {"correct": counts.tp, "predicted": counts.tp + counts.fp, "gold": counts.tp + counts.fn}


def _sum(counts: Iterable[Counts]) -> Counts:
    return sum(counts, Counts())
