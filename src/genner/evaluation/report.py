"""From gold documents and predictions to one report, which carries the settings it was made with."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from genner.document import Document, Prediction
from genner.errors import UsageError
from genner.evaluation.bootstrap import interval
from genner.evaluation.counts import Counts, count


@dataclass(frozen=True, slots=True)
class Report:
    """The scores of a system. Ratios are in [0, 1]; the `interval` is that of micro-F1 at 95%.

    `per_label` has, in order of the alphabet, the labels of gold and predictions: a label that only the system uses
    counts in the macro average too, as in seqeval. `invalid` is the number of predictions whose output broke its
    format.
    """

    micro: Counts
    interval: tuple[float, float]
    per_label: dict[str, Counts]
    documents: int
    invalid: int
    signature: str

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels, each with the same weight."""
        return self._macro()[2]

    @property
    def weighted_f1(self) -> float:
        """Mean F1 of the labels, each weighted by its number of gold entities."""
        return self._weighted()[2]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, unrounded."""
        return {
            "micro": _as_dict(self.micro),
            "interval": list(self.interval),
            "macro_f1": self.macro_f1,
            "weighted_f1": self.weighted_f1,
            "per_label": {label: _as_dict(counts) for label, counts in self.per_label.items()},
            "documents": self.documents,
            "invalid": self.invalid,
            "signature": self.signature,
        }

    def table(self) -> str:
        """The report as text, laid out as seqeval's `classification_report`."""
        width = max(map(len, [*self.per_label, "weighted avg"]))

        def row(name: str, ratios: tuple[float, float, float], support: int) -> str:
            return f"{name:>{width}} " + "".join(f" {x:>9.4f}" for x in ratios) + f" {support:>9}"

        total = self.micro.support
        low, high = self.interval
        lines = [
            f"{'':>{width}} " + "".join(f" {x:>9}" for x in ("precision", "recall", "f1-score", "support")),
            "",
            *(row(label, _ratios(counts), counts.support) for label, counts in self.per_label.items()),
            *([""] if self.per_label else []),
            row("micro avg", _ratios(self.micro), total),
            row("macro avg", self._macro(), total),
            row("weighted avg", self._weighted(), total),
            "",
            f"micro F1 {self.micro.f1:.4f}, 95% interval {low:.4f} to {high:.4f} (bootstrap over documents)",
            f"invalid outputs: {self.invalid} of {self.documents} documents",
            f"signature: {self.signature}",
        ]
        return "\n".join(lines)

    def _macro(self) -> tuple[float, float, float]:
        return self._mean([1] * len(self.per_label))

    def _weighted(self) -> tuple[float, float, float]:
        return self._mean([counts.support for counts in self.per_label.values()])

    def _mean(self, weights: Sequence[int]) -> tuple[float, float, float]:
        """Precision, recall and F1 averaged over the labels; 0.0 where there is no weight."""
        total = max(sum(weights), 1)
        columns = zip(*map(_ratios, self.per_label.values()), strict=True)
        means = [sum(w * x for w, x in zip(weights, column, strict=True)) / total for column in columns]
        precision, recall, f1 = means or (0.0, 0.0, 0.0)
        return precision, recall, f1


def evaluate(
    gold: Sequence[Document],
    pred: Sequence[Document],
    *,
    settings: Mapping[str, str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Report:
    """Score predictions by strict matching.

    Documents are paired by id where each side gives every document an id of its own and the two sides share any; else
    by order. Raises `UsageError` when a document is missing or one too many, when the texts of a pair differ, or when
    a setting cannot be written into the signature, `key:value|key:value|...`.
    """
    pairs = _pair(gold, pred)
    signature = _signature(
        {
            "match": "strict",
            "docs": str(len(gold)),
            "gold": _digest(gold),
            "genner": _version(),
            "bootstrap": str(resamples),
            "seed": str(seed),
        },
        settings or {},
    )
    per_label: defaultdict[str, Counts] = defaultdict(Counts)
    per_document = []
    for expected, found in pairs:
        counts = count(expected, found)
        per_document.append(sum(counts.values(), Counts()))
        for label, counted in counts.items():
            per_label[label] += counted
    bounds = interval(
        [c.tp for c in per_document],
        [c.fp for c in per_document],
        [c.fn for c in per_document],
        resamples=resamples,
        seed=seed,
    )
    return Report(
        micro=sum(per_document, Counts()),
        interval=bounds,
        per_label=dict(sorted(per_label.items())),
        documents=len(pairs),
        invalid=sum(isinstance(found, Prediction) and found.invalid for _, found in pairs),
        signature=signature,
    )


def _pair(gold: Sequence[Document], pred: Sequence[Document]) -> list[tuple[Document, Document]]:
    by_id = {d.id: d for d in pred}
    ids = {d.id for d in gold}
    unique = len(ids) == len(gold) and len(by_id) == len(pred) and "" not in ids | by_id.keys()
    # Files without ids get them from their names when read, so sides that share none are paired by order.
    # `count` sees to it that the texts of a pair agree.
    if unique and ids & by_id.keys():
        for names, what in (
            (sorted(ids - by_id.keys()), "gold documents without a prediction"),
            (sorted(by_id.keys() - ids), "predictions without a gold document"),
        ):
            if names:
                some = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
                raise UsageError(f"{what}: {len(names)} ({some}); give both sides the same documents")
        return [(d, by_id[d.id]) for d in gold]
    if len(gold) != len(pred):
        raise UsageError(
            f"gold documents: {len(gold)}, predictions: {len(pred)}, without common ids to pair them by; "
            "give both sides the same documents"
        )
    return list(zip(gold, pred, strict=True))


def _signature(ours: dict[str, str], settings: Mapping[str, str]) -> str:
    for key, value in settings.items():
        if key in ours or ":" in key or "|" in f"{key}{value}" or "\n" in f"{key}{value}":
            raise UsageError(
                f"setting {key!r}: {value!r} cannot be written into the signature; legal: no '|' or line break, no ':' "
                f"in the key, no key of: {', '.join(ours)}"
            )
    return "|".join(f"{key}:{value}" for key, value in {**ours, **settings}.items())


def _digest(gold: Sequence[Document]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of texts and entities; ids and scores do not change a score."""
    sha = hashlib.sha256()
    for d in gold:
        sha.update(json.dumps([d.text, [[e.start, e.end, e.label] for e in d.entities]]).encode() + b"\n")
    return sha.hexdigest()[:12]


def _version() -> str:
    try:
        return version("genner")
    except PackageNotFoundError:  # run from the source tree
        return "source"


def _ratios(counts: Counts) -> tuple[float, float, float]:
    return counts.precision, counts.recall, counts.f1


def _as_dict(counts: Counts) -> dict[str, Any]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "support": counts.support,
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
    }
