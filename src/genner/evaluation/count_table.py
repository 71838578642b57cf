"""Counts of all documents in named columns, by metric, label and bucket, and their F1 as estimates."""

from collections.abc import Mapping, Sequence

import numpy as np

from genner.document import Document
from genner.evaluation.breakdowns import Breakdown, TrainingCounts
from genner.evaluation.counts import Counts, count, count_by
from genner.evaluation.intervals import f1_columns, shares, summed
from genner.evaluation.jackknife import Estimate
from genner.evaluation.metrics import METRICS
from genner.evaluation.units import Units

CountKey = tuple[str, str]
"""What is counted: `("metric", "span")`, `("label", "PER")`, `("length", "5-9")`."""


class CountTable:
    """Counts of n documents in named columns, and the estimates of them all at once, over the documents' units."""

    def __init__(self, units: Sequence[int]) -> None:
        self._units = units
        self._columns: dict[CountKey, dict[int, Counts]] = {}

    def open(self, key: CountKey) -> None:
        """Make sure that a column is there."""
        self._columns.setdefault(key, {})

    def add(self, document: int, key: CountKey, counts: Counts) -> None:
        """Put the counts of one document into a column; a document without any may be left out."""
        self._columns.setdefault(key, {})[document] = counts

    def keys(self, kind: str) -> list[str]:
        """The names of the columns of this kind, in order of the alphabet."""
        return sorted(name for k, name in self._columns if k == kind)

    def sum(self, key: CountKey) -> Counts:
        return sum(self._columns.get(key, {}).values(), Counts())

    def f1(self) -> dict[CountKey, Estimate]:
        """F1 of each column, over the same units for all of them."""
        values = np.zeros((len(self._units), 2 * len(self._columns)))
        for at, column in enumerate(self._columns.values()):
            counts = list(column.values())
            values[list(column), 2 * at : 2 * at + 2] = f1_columns(
                [c.tp for c in counts], [c.fp for c in counts], [c.fn for c in counts]
            )
        sums = summed(values, self._units)
        return dict(zip(self._columns, shares(sums[:, 0::2], sums[:, 1::2]), strict=True))


def count_all(
    pairs: Sequence[tuple[Document, Document]], units: Units, shown: Mapping[str, Breakdown], training: TrainingCounts
) -> CountTable:
    table = CountTable(units.of)
    for name in METRICS:  # there with no documents, too
        table.open(("metric", name))
    for i, (expected, found) in enumerate(pairs):
        for label, counts in count(expected, found).items():
            table.add(i, ("label", label), counts)
        for name, metric in METRICS.items():
            table.add(i, ("metric", name), metric(expected, found))
        for name, b in shown.items():
            by_bucket = count_by(expected, found, lambda e, b=b, gold=expected: b.bucket(e, gold, training))  # type: ignore[misc]
            for bucket, counts in by_bucket.items():
                table.add(i, (name, bucket), counts)
    return table
