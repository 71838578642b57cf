"""Two systems on the same gold: is the difference more than luck?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from genner.document import Document
from genner.evaluation.bootstrap import Difference, paired
from genner.evaluation.metrics import METRICS
from genner.evaluation.report import Report, Scoring


@dataclass(frozen=True, slots=True)
class Comparison:
    """The reports of two systems and, for every metric, the difference of their micro-F1, second minus first."""

    first: Report
    second: Report
    differences: dict[str, Difference]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON types, unrounded."""
        return {
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            "differences": {name: d.to_dict() for name, d in self.differences.items()},
        }

    def table(self) -> str:
        """A line a metric; the two reports print themselves."""
        width = max(map(len, self.differences))
        lines = [f"{'':>{width}}      first    second    difference, 95% interval            p"]
        for name, d in self.differences.items():
            a, b = self.first.counts_of(name).f1, self.second.counts_of(name).f1
            lines.append(
                f"{name:>{width}}  {a:>9.4f} {b:>9.4f}   {d.value:+.4f}  {d.low:+.4f} to {d.high:+.4f}   {d.p:.4f}"
            )
        n = self.first.documents
        lines.append(
            f"micro-F1, second minus first; paired bootstrap over {n} documents, two-sided p: at most 0.05 where the "
            "interval does not hold 0, each score by itself"
        )
        return "\n".join(lines)


def compare(
    gold: Sequence[Document],
    first: Sequence[Document],
    second: Sequence[Document],
    *,
    train: Iterable[Document] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Score two systems and their difference on the same resamples of the same documents.

    Raises `UsageError` as `evaluate` does.
    """
    seen = list(train) if train is not None else None
    a, b = (Scoring(gold, pred, train=seen, resamples=resamples, seed=seed) for pred in (first, second))
    differences = {}
    for name in METRICS:
        key = "metric", name
        observed = b.report.counts_of(name).f1 - a.report.counts_of(name).f1
        differences[name] = paired(a.f1[key], b.f1[key], observed)
    return Comparison(a.report, b.report, differences)
