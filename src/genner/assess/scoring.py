"""A cell's metrics from its answers: the three readings of the same raw answers, side by side.

The score of a cell is `strict`: under the grammar the decoded entities, for free answers their literal content. All
other metrics (labels, lengths, problems, probes' measures) use the predicted entities: for free answers, `repaired`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from genner.assess.folders import CellFolder
from genner.assess.records import Json, Numbers, PredictionRecord
from genner.data.catalog import catalog
from genner.document import Document, LabelSet, Prediction
from genner.evaluation import Counts, count, evaluate, interval
from genner.evaluation.jackknife import Interval
from genner.formats import Format, get_format
from genner.generations.readings import paper_counts, strict_counts
from genner.labels import label_sets

GRAMMAR = "grammar"  # the decoding under which answers contain only what the reader reads

SUMMED = ("prompt_tokens", "answer_tokens", "refuted", "unverified")
"""Numbers of records that are summed."""

LENGTH_BUCKETS = {"1": ("1",), "2": ("2",), "3-4": ("3", "4"), "5+": ("5-9", "10+")}
"""Buckets of mention length in words, each a set of the evaluation's buckets."""


def paper(
    form: Format, labels: LabelSet, gold: Document, chunks: Sequence[tuple[int, int]], raw: Sequence[str]
) -> Numbers | None:
    """The counts by the paper's rule; None for a format without such a rule."""
    counts = paper_counts(form, labels, gold, raw, chunks)
    return None if counts is None else (counts.tp, counts.fp, counts.fn)


def held(found: Prediction) -> bool:
    """Whether all answers obey the grammar, as every engine that decodes under it should ensure."""
    return not any(p.kind == "invalid" for p in found.problems)


def strict(gold: Document, found: Document) -> Numbers:
    """The counts of the entities predicted under the grammar, which equal the literal answers."""
    counts = _sum(count(gold, found).values())
    return counts.tp, counts.fp, counts.fn


def said(
    form: Format, labels: LabelSet, gold: Document, chunks: Sequence[tuple[int, int]], raw: Sequence[str]
) -> Numbers:
    """The counts of the literal content of free answers: the strict reading."""
    counts = strict_counts(form, labels, gold, raw, chunks)
    return counts.tp, counts.fp, counts.fn


def before_verification(lines: Sequence[PredictionRecord]) -> list[Numbers] | None:
    """The counts of the entities of each document before any was denied; None if nothing was verified, or if records
    of an earlier version do not say what was denied."""
    known = [replace(line.prediction(), entities=(*line.entities, *(line.denied or ()))) for line in lines]
    if not lines or any(line.denied is None for line in lines):
        return None
    return [strict(line.document(), found) for line, found in zip(lines, known, strict=True)]


def strict_anew(run: CellFolder) -> list[Numbers] | None:
    """The strict counts of each answer of a cell, recomputed for records of earlier versions that lack them.

    None if that needs a label set that is not available. Raises `DataError` for damaged answers.
    """
    about, lines = run.cell.description, list(run.predictions())
    form, labels = get_format(about["format"]), _labels_asked(run, lines)
    found = [line.strict or strict_of(line, form, labels, about["decoding"]) for line in lines]
    return None if None in found else [numbers for numbers in found if numbers]


def strict_of(line: PredictionRecord, form: Format, labels: LabelSet | None, decoding: str) -> Numbers | None:
    """The strict counts of an answer of a cell; None if that needs the label set and there is none."""
    if decoding == GRAMMAR and held(line.prediction()):
        return strict(line.document(), line.prediction())
    return said(form, labels, line.document(), line.chunks, line.raw) if labels else None


def _labels_asked(run: CellFolder, lines: Sequence[PredictionRecord]) -> LabelSet | None:
    """The label set of a cell, or one that reads its answers identically; None if there is none."""
    about = run.cell.description
    known = label_sets() | {name: corpus.labels for name, corpus in catalog().items() if name not in label_sets()}
    if run.cell.kind == "score" and about["labels"] in known:
        return known[about["labels"]]
    form, tags = get_format(about["format"]), sorted({e.label for line in lines for e in line.gold})
    if not tags or form.numbered or form.prompt_per_label:  # a label is written as its position in the set
        return None
    return LabelSet.of(*tags)


def metrics(lines: Sequence[PredictionRecord], settings: Mapping[str, str]) -> tuple[Json, str]:
    """The metrics of a score or probe cell, and the signature of its score, `strict`. Ratios are in [0, 1], unrounded.

    Intervals, `low` and `high`, are at 95 %, over groups if the documents have them, else over documents; None if there
    are too few.
    """
    from genner.training.dev import ANSWER_RATES  # imports the engines, which takes a while

    gold, found = [line.document() for line in lines], [line.prediction() for line in lines]
    report = evaluate(gold, found, settings={**settings, "reading": "strict"})
    units = report.units.of
    length = report.breakdowns["length"]
    counted: Json = {
        "strict": scores([line.strict for line in lines], units),
        "repaired": _scores(report.micro, report.interval),
        "paper": scores([line.paper for line in lines], units),
        "labels": {label: _label(counts) for label, counts in report.per_label.items()},
        "lengths": {
            name: _label(_sum(length[bucket].counts for bucket in buckets if bucket in length))
            for name, buckets in LENGTH_BUCKETS.items()
        },
        "problems": dict(Counter(p.kind for prediction in found for p in prediction.problems)),
        "documents": len(lines),
        **{name: sum(getattr(line, name) for line in lines) for name in SUMMED},
        "units": report.units.to_dict(report.effective),
    }
    if (before := before_verification(lines)) is not None:
        counted["before_verification"] = scores(before, units)
    for name, holds in ANSWER_RATES.items():
        counted[name] = sum(map(holds, found)) / len(found) if found else 0.0
    return counted, report.signature


def scores(found: Sequence[Numbers | None], units: Sequence[int] | None = None) -> Json | None:
    """The scores of a reading from the counts of each answer; None unless every answer has counts.

    `units` is the unit index of each document; without it there is no interval.
    """
    counts = [Counts(*one) for one in found if one is not None]
    if len(counts) < len(found):
        return None
    columns = [c.tp for c in counts], [c.fp for c in counts], [c.fn for c in counts]
    bounds = interval(*columns, units) if units is not None else None
    return _scores(_sum(counts), bounds)


def _scores(counts: Counts, bounds: Interval | None) -> Json:
    low, high = bounds or (None, None)
    return {**_ratios(counts), "low": low, "high": high, **_numbers(counts)}


def _label(counts: Counts) -> Json:
    numbers = _numbers(counts)
    return {**_ratios(counts), "gold": numbers["gold"], "predicted": numbers["predicted"]}


def _ratios(counts: Counts) -> dict[str, float]:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def _numbers(counts: Counts) -> dict[str, Any]:
    return {"correct": counts.tp, "predicted": counts.tp + counts.fp, "gold": counts.tp + counts.fn}


def _sum(counts: Iterable[Counts]) -> Counts:
    return sum(counts, Counts())
