"""Two systems on the same gold documents: is the difference larger than chance explains?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from genner.document import Document
from genner.evaluation.jackknife import Difference
from genner.evaluation.metrics import METRICS
from genner.evaluation.report import EvaluationReport, Scoring


@dataclass(frozen=True, slots=True)
class Comparison:
    """The reports of two systems and, for every metric, the difference of their micro-F1, second minus first."""

    first: EvaluationReport
    second: EvaluationReport
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
            told = f"{d.low:+.4f} to {d.high:+.4f}   {d.p:.4f}" if d.known else "cannot be told"
            lines.append(f"{name:>{width}}  {a:>9.4f} {b:>9.4f}   {d.value:+.4f}  {told}")
        units, effective = self.first.units, self.differences["strict"].estimate.effective
        lines.append(
            f"micro-F1, second minus first; paired, jackknife over {units.about}, two-sided p: at most 0.05 where the "
            "interval does not hold 0, each score by itself"
        )
        if warning := units.warning(effective):
            lines.append(warning)
        return "\n".join(lines)


def compare(
    gold: Sequence[Document],
    first: Sequence[Document],
    second: Sequence[Document],
    *,
    train: Iterable[Document] | None = None,
    group_by: str | None = None,
) -> Comparison:
    """Score two systems and their difference, unit by unit of the same gold documents.

    Raises `UsageError` as `evaluate` does.
    """
    seen = list(train) if train is not None else None
    a, b = (Scoring(gold, pred, train=seen, group_by=group_by) for pred in (first, second))
    differences = {}
    for name in METRICS:
        key = "metric", name
        differences[name] = (b.f1[key] - a.f1[key]).difference()
    return Comparison(a.report, b.report, differences)
