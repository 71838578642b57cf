"""The quality of scores: precision and recall above each threshold, and calibration (is a score the share correct?).

An entity is correct as in strict scoring: its start, end and label equal those of a gold entity. A threshold removes
the entities that score less, as `genner extract --min-score` does; an entity without a score stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genner.document import Document
from genner.errors import UsageError
from genner.evaluation.counts import Counts, check_same_text
from genner.evaluation.jackknife import Array
from genner.evaluation.pairing import pair

BINS = 10
"""Bins of the calibration error unless told: of equal width, [0, 0.1), [0.1, 0.2) ... [0.9, 1]."""

PRECISIONS = (0.8, 0.9, 0.95)
"""For which the report says what least score reaches them."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The entities with a score in [low, high), or [low, high] in the last bin: how many, their mean score, the share
    of them that is right; both 0.0 where there are none."""

    low: float
    high: float
    count: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class Point:
    """The strict counts of the entities that score `least` or more."""

    least: float
    counts: Counts

    def to_dict(self) -> dict[str, float]:
        c = self.counts
        ratios = {"precision": c.precision, "recall": c.recall, "f1": c.f1}
        return {"min_score": self.least, **ratios, "tp": c.tp, "fp": c.fp, "fn": c.fn}


def reliability(scores: Sequence[float], right: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """Scores in bins of equal width, and how many of each bin are right. Raises `UsageError` for less than one bin."""
    if bins < 1:
        raise UsageError(f"{bins} bins; legal: 1 or more")
    s, r = np.asarray(scores, float), np.asarray(right, float)
    edges, place = np.arange(bins + 1) / bins, _places(s, bins)
    counts = np.bincount(place, minlength=bins)
    means = (np.bincount(place, x, minlength=bins) / np.maximum(counts, 1) for x in (s, r))
    rows = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), *(m.tolist() for m in means), strict=True)
    return [Bin(*row) for row in rows]


def _places(scores: Array, bins: int) -> NDArray[np.int64]:
    """The bin of each score."""
    edges = np.arange(bins + 1) / bins
    return np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)


def calibration_error(scores: Sequence[float], right: Sequence[bool], bins: int = BINS) -> float:
    """The expected calibration error: averaged over all entities, the distance of the bin's mean score from the share
    of the bin that is right (Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3). 0.0 for no entities.

    It is never quite 0, even for perfect scores: see `by_chance`.
    """
    if not len(scores):
        return 0.0
    return sum(b.count * abs(b.score - b.right) for b in reliability(scores, right, bins)) / len(scores)


def by_chance(scores: Sequence[float], bins: int = BINS, draws: int = 200, seed: int = 0) -> float:
    """The calibration error to be expected if the scores were perfect, since entities are few: the mean over random
    draws in which each entity is right with the probability that its score says. 0.0 for no entities.
    """
    if not len(scores):
        return 0.0
    s, rng = np.asarray(scores, float), np.random.default_rng(seed)
    place = _places(s, bins)
    total = 0.0
    for _ in range(draws):
        apart = s - (rng.random(len(s)) < s)
        total += float(np.abs(np.bincount(place, apart, minlength=bins)).sum())
    return total / draws / len(s)


def brier(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The mean squared distance of score and truth (Brier, 1950). 0.0 for no entities."""
    return float(np.mean((np.asarray(scores, float) - np.asarray(right, float)) ** 2)) if len(scores) else 0.0


def curve(scores: Sequence[float], right: Sequence[bool], gold: int, always: Counts | None = None) -> list[Point]:
    """The counts above each score that occurs, ascending, 0 included.

    Args:
        scores, right: of each entity found.
        gold: entities that there are to be found.
        always: the counts of entities without a score, which no least score leaves out (`fn` is not used).
    """
    s, r = np.asarray(scores, float), np.asarray(right, float)
    order = np.argsort(-s, kind="stable")
    s, r = s[order], r[order]
    tp, found = np.cumsum(r), np.arange(1, len(s) + 1)
    last = np.append(s[1:] != s[:-1], True) if len(s) else np.zeros(0, bool)  # of entities with the same score
    kept = always or Counts()
    points = [
        Point(least, Counts(int(t) + kept.tp, int(n - t) + kept.fp, gold - int(t) - kept.tp))
        for least, t, n in zip(s[last].tolist(), tp[last].tolist(), found[last].tolist(), strict=True)
    ]
    if not points or points[-1].least > 0:
        counts = points[-1].counts if points else Counts(kept.tp, kept.fp, gold - kept.tp)
        points.append(Point(0.0, counts))
    return points[::-1]


@dataclass(frozen=True)
class Confidence:
    """The scores of a system on gold data.

    Attributes:
        scores, right: of each scored entity, whether it is right.
        gold: entities in the gold data.
        unscored: strict counts of the entities without a score (`fn` is 0).
        bins: of the calibration error.
    """

    scores: tuple[float, ...]
    right: tuple[bool, ...]
    gold: int
    unscored: Counts = field(default_factory=Counts)
    bins: int = BINS

    @classmethod
    def of(cls, gold: Sequence[Document], pred: Sequence[Document], bins: int = BINS) -> "Confidence":
        """Raises `UsageError` when the documents do not belong together, or none of the entities found has a score."""
        scores, right, unscored = list[float](), list[bool](), Counts()
        for expected, found in pair(gold, pred):
            check_same_text(expected, found)
            truth = set(expected.entities)
            for entity in found.entities:
                hit = entity in truth
                if entity.score is None:
                    unscored += Counts(tp=int(hit), fp=int(not hit))
                else:
                    scores.append(entity.score)
                    right.append(hit)
        if not scores and unscored != Counts():
            raise UsageError(
                "no predicted entity has a score, so there is nothing to choose by; give what `genner extract` wrote"
            )
        return cls(tuple(scores), tuple(right), sum(len(d.entities) for d in gold), unscored, bins)

    @cached_property
    def curve(self) -> list[Point]:
        """Counts above each score, ascending."""
        return curve(self.scores, self.right, self.gold, self.unscored)

    @cached_property
    def reliability(self) -> list[Bin]:
        return reliability(self.scores, self.right, self.bins)

    @property
    def best(self) -> Point:
        """The least score with the highest F1; of several, the lowest."""
        return max(self.curve, key=lambda point: (point.counts.f1, -point.least))

    def reaching(self, precision: float) -> Point | None:
        """The lowest least score with this precision, so that with the highest recall; None where none has it."""
        return next((point for point in self.curve if point.counts.precision >= precision), None)

    @property
    def error(self) -> float:
        """The expected calibration error."""
        return calibration_error(self.scores, self.right, self.bins)

    @property
    def average_precision(self) -> float:
        """The area below the precision-recall curve, as a sum of steps in recall, best score first; what is never
        found adds nothing. Entities without a score come first, since no least score leaves them out."""
        area, recall = 0.0, 0.0
        for point in reversed(self.curve):
            area += point.counts.precision * (point.counts.recall - recall)
            recall = point.counts.recall
        return area

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; the curve itself is left out."""
        return {
            "entities": len(self.scores),
            "unscored": round(self.unscored.tp + self.unscored.fp),
            "calibration_error": self.error,
            "calibration_error_by_chance": by_chance(self.scores, self.bins),
            "brier": brier(self.scores, self.right),
            "average_precision": self.average_precision,
            "best": self.best.to_dict(),
            "reaching": {str(p): point.to_dict() if (point := self.reaching(p)) else None for p in PRECISIONS},
            "bins": [{"low": b.low, "high": b.high, "count": b.count, "score": b.score, "right": b.right}
                     for b in self.reliability],
        }  # fmt: skip

    def table(self) -> str:
        """The bins, and some least scores to choose from."""
        lines = [
            f"scores: {len(self.scores)} entities, expected calibration error {self.error:.4f} (of perfect scores, by "
            f"chance: {by_chance(self.scores, self.bins):.4f}; {self.bins} bins of equal width)",
            f"Brier {brier(self.scores, self.right):.4f}, average precision {self.average_precision:.4f}",
            *([f"without a score, and never left out: {n}"] if (n := self.to_dict()["unscored"]) else []),
            "",
            "       score  entities  mean score     right",
            *(f"{b.low:>5.2f} to {b.high:.2f}{b.count:>8} {_ratio(b, b.score):>11} {_ratio(b, b.right):>9}"
              for b in self.reliability),
            "",
            "  --min-score  precision    recall  f1-score  entities",
            *(_row(point, why) for point, why in self._choices()),
        ]  # fmt: skip
        return "\n".join(lines)

    def _choices(self) -> Iterable[tuple[Point, str]]:
        yield self.curve[0], "all"
        yield self.best, "best f1"
        for precision in PRECISIONS:
            if point := self.reaching(precision):
                yield point, f"precision {precision:g}"

    def csv(self) -> str:
        """A line for each point of the curve."""
        lines = ["min_score,precision,recall,f1,tp,fp,fn"]
        for point in self.curve:
            lines.append(",".join(f"{value:.10g}" for value in point.to_dict().values()))
        return "\n".join(lines) + "\n"


def _ratio(some: Bin, value: float) -> str:
    return f"{value:.4f}" if some.count else "-"


def _row(point: Point, why: str) -> str:
    c = point.counts
    found = round(c.tp + c.fp)
    return f"{point.least:>13.4f} {c.precision:>10.4f} {c.recall:>9.4f} {c.f1:>9.4f} {found:>9}   {why}"
