"""From gold documents and predictions to one report, which carries the settings it was made with."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genner.document import Document, Prediction
from genner.evaluation.breakdowns import BREAKDOWNS, NO_TRAINING, TrainingCounts
from genner.evaluation.count_table import count_all
from genner.evaluation.counts import Counts
from genner.evaluation.intervals import average
from genner.evaluation.jackknife import Interval
from genner.evaluation.metrics import METRICS
from genner.evaluation.pairing import digest, genner_version, pair, sign
from genner.evaluation.units import Units, units_of


@dataclass(frozen=True, slots=True)
class Score:
    """The sum of the counts, and the 95 % interval of its F1; None where there are too few units to say."""

    counts: Counts
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The scores of a system. Ratios are in [0, 1]; intervals are at 95 %, over `units`, None where these are too few.

    `micro` and `interval` are strict span micro-F1, the number. `per_label` has, in order of the alphabet, the labels
    of gold and predictions: a label that only the system uses counts in the macro average too, as in seqeval. `metrics`
    are the other scores by their name in `METRICS`, `breakdowns` the strict counts by breakdown and bucket (those
    that occur). `invalid` is the number of predictions whose output broke its format. `effective` is the number of
    units that say as much if all had the same number of entities.
    """

    micro: Counts
    interval: Interval | None
    per_label: dict[str, Counts]
    documents: int
    invalid: int
    signature: str
    units: Units
    effective: float = 0.0
    label_intervals: dict[str, Interval | None] = field(default_factory=dict)
    macro_interval: Interval | None = None
    metrics: dict[str, Score] = field(default_factory=dict)
    breakdowns: dict[str, dict[str, Score]] = field(default_factory=dict)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels, each with the same weight."""
        return averages(self.per_label)["macro avg"][2]

    @property
    def weighted_f1(self) -> float:
        """Mean F1 of the labels, each weighted by its number of gold entities."""
        return averages(self.per_label)["weighted avg"][2]

    def counts_of(self, metric: str) -> Counts:
        """The counts by one of `METRICS`, `strict` among them."""
        return self.micro if metric == "strict" else self.metrics[metric].counts

    def signature_of(self, metric: str) -> str:
        """The signature of one of `metrics`."""
        return self.signature.replace("match:strict|", f"match:{metric}|", 1)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, unrounded."""
        return {
            "micro": as_dict(self.micro),
            "interval": _listed(self.interval),
            "macro_f1": self.macro_f1,
            "macro_interval": _listed(self.macro_interval),
            "weighted_f1": self.weighted_f1,
            "per_label": {
                label: as_dict(counts) | {"interval": _listed(self.label_intervals[label])}
                for label, counts in self.per_label.items()
            },
            "metrics": {
                name: as_dict(s.counts) | {"interval": _listed(s.interval), "signature": self.signature_of(name)}
                for name, s in self.metrics.items()
            },
            "breakdowns": {
                name: {bucket: as_dict(s.counts) | {"interval": _listed(s.interval)} for bucket, s in scores.items()}
                for name, scores in self.breakdowns.items()
            },
            "documents": self.documents,
            "units": self.units.to_dict(self.effective),
            "invalid": self.invalid,
            "signature": self.signature,
        }

    def table(self) -> str:
        """The report as text, laid out as seqeval's `classification_report`, with the other scores under it."""
        lines = [
            *classification_table(self.per_label, self.micro),
            "",
            *micro_lines(self.micro, self.interval, self.units, self.effective),
            f"invalid outputs: {self.invalid} of {self.documents} documents",
            f"signature: {self.signature}",
        ]
        groups = {"other rules, micro avg": self.metrics}
        groups |= {f"strict, by {name}: {BREAKDOWNS[name].definition}": b for name, b in self.breakdowns.items()}
        for title, scores in groups.items():
            if scores:
                lines += ["", title, *_score_rows(scores)]
        return "\n".join(lines)


def micro_lines(micro: Counts, interval: Interval | None, units: Units, effective: float) -> list[str]:
    """The score with its interval, and what is to be said of it, in words."""
    over = f"95% interval {shown_interval(interval)} (jackknife over {units.about})" if interval else "no interval"
    lines = [f"micro F1 {micro.f1:.4f}, {over}"]
    if not micro.tp + micro.fn:
        lines.append("no gold entity: recall is not defined, and every entity found is wrong")
    elif not micro.tp + micro.fp:
        lines.append("no entity was predicted")
    warning = units.warning(effective) if micro.tp + micro.fn + micro.fp else ""
    return [*lines, *([warning] if warning else [])]


def shown_interval(interval: Interval | None) -> str:
    """`0.5012 to 0.6034`, or a dash."""
    return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "-"


def evaluate(
    gold: Sequence[Document],
    pred: Sequence[Document],
    *,
    settings: Mapping[str, str] | None = None,
    train: Iterable[Document] | None = None,
    group_by: str | None = None,
) -> EvaluationReport:
    """Score predictions: strict matching first, the other scores beside it.

    `train` are the documents that the system was trained on; with them the breakdowns by what it has seen are made.
    Intervals are over groups where the gold documents tell them, else over documents, or as `group_by` says:
    `document`, `group`, a field of the records, or `id:PATTERN` (`genner.evaluation.units`).
    Documents are paired by id where each side gives every document an id of its own and the two sides share any; else
    by order. Raises `UsageError` when a document is missing or one too many, when the texts of a pair differ, or when
    a setting cannot be written into the signature, `key:value|key:value|...`, or no document has what `group_by` names.
    """
    return Scoring(gold, pred, settings=settings, train=train, group_by=group_by).report


class Scoring:
    """A report together with `f1`, its scores as estimates, which a comparison needs. Arguments as `evaluate`."""

    def __init__(
        self,
        gold: Sequence[Document],
        pred: Sequence[Document],
        *,
        settings: Mapping[str, str] | None = None,
        train: Iterable[Document] | None = None,
        group_by: str | None = None,
    ) -> None:
        pairs = pair(gold, pred)
        units = units_of(gold, group_by)
        seen = list(train) if train is not None else None
        ours = {
            "match": "strict",
            "docs": str(len(gold)),
            "gold": digest(gold),
            "genner": genner_version(),
            **units.signature(),
        }
        read = _answer_reading(pred) | dict(settings or {})
        signature = sign(ours | ({"train": digest(seen)} if seen is not None else {}), read)
        shown = {name: b for name, b in BREAKDOWNS.items() if seen is not None or not b.needs_training}
        table = count_all(pairs, units, shown, TrainingCounts.of(seen) if seen is not None else NO_TRAINING)
        self.f1 = table.f1()
        intervals = {key: estimate.interval() for key, estimate in self.f1.items()}
        labels = table.keys("label")
        macro = [self.f1["label", label] for label in labels]

        def score(kind: str, name: str) -> Score:
            return Score(table.sum((kind, name)), intervals[kind, name])

        strict = score("metric", "strict")
        self.report = EvaluationReport(
            micro=strict.counts,
            interval=strict.interval,
            per_label={label: table.sum(("label", label)) for label in labels},
            documents=len(pairs),
            invalid=sum(isinstance(found, Prediction) and found.invalid for _, found in pairs),
            signature=signature,
            units=units,
            effective=self.f1["metric", "strict"].effective,
            label_intervals={label: intervals["label", label] for label in labels},
            macro_interval=average(macro).interval() if macro else None,
            metrics={name: score("metric", name) for name in METRICS if name != "strict"},
            breakdowns={
                name: {bucket: score(name, bucket) for bucket in b.buckets if bucket in table.keys(name)}
                for name, b in shown.items()
            },
        )


def averages(per_label: Mapping[str, Counts]) -> dict[str, tuple[float, float, float]]:
    """Precision, recall and F1 averaged over the labels, with the same weight and weighted by gold entities."""
    return {
        "macro avg": _mean(per_label, [1] * len(per_label)),
        "weighted avg": _mean(per_label, [counts.support for counts in per_label.values()]),
    }


def classification_table(per_label: Mapping[str, Counts], micro: Counts) -> list[str]:
    """The lines of seqeval's `classification_report`, to four digits."""
    width = max(map(len, [*per_label, "weighted avg"]))

    def row(name: str, ratios: tuple[float, float, float], support: int) -> str:
        return f"{name:>{width}} " + "".join(f" {x:>9.4f}" for x in ratios) + f" {support:>9}"

    return [
        f"{'':>{width}} " + "".join(f" {x:>9}" for x in ("precision", "recall", "f1-score", "support")),
        "",
        *(row(label, _ratios(counts), counts.support) for label, counts in per_label.items()),
        *([""] if per_label else []),
        row("micro avg", _ratios(micro), micro.support),
        *(row(name, ratios, micro.support) for name, ratios in averages(per_label).items()),
    ]


def as_dict(counts: Counts) -> dict[str, Any]:
    """Counts and their ratios as JSON types."""
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "support": counts.support,
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
    }


def _answer_reading(pred: Sequence[Document]) -> dict[str, str]:
    """How the answers were read that the entities come from, where the documents say so."""
    found = sorted({d.answer_reading for d in pred if isinstance(d, Prediction) and d.answer_reading})
    return {"reading": re.sub(r"[|\s]", "_", ",".join(found))} if found else {}


def _listed(interval: Interval | None) -> list[float] | None:
    return list(interval) if interval else None


def _mean(per_label: Mapping[str, Counts], weights: Sequence[int]) -> tuple[float, float, float]:
    """0.0 where there is no weight."""
    total = max(sum(weights), 1)
    columns = zip(*map(_ratios, per_label.values()), strict=True)
    means = [sum(w * x for w, x in zip(weights, column, strict=True)) / total for column in columns]
    precision, recall, f1 = means or (0.0, 0.0, 0.0)
    return precision, recall, f1


def _score_rows(scores: Mapping[str, Score]) -> list[str]:
    width = max(map(len, [*scores, "weighted avg"]))
    return [
        f"{name:>{width}} "
        + "".join(f" {x:>9.4f}" for x in _ratios(s.counts))
        + f" {s.counts.support:>9}   {shown_interval(s.interval)}"
        for name, s in scores.items()
    ]


def _ratios(counts: Counts) -> tuple[float, float, float]:
    return counts.precision, counts.recall, counts.f1
