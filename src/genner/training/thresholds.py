"""Choosing the least score of what is kept, for the best F1.

Where scores are probabilities, keeping what scores at least half of the F1 that can be reached is best (Lipton, Elkan
and Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure"). So the threshold is half of the
best F1 on the documents at hand, which hardly moves from one sample to the next, where the threshold at which that F1
was reached moves by 0.1 (docs/log.md). If so much would cost F1 on these documents, it is the best one below.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from genner.calibration import Thresholds
from genner.evaluation.counts import Counts

STEP = 0.01  # thresholds are tried, and written, in steps of this


@dataclass(frozen=True, slots=True)
class ScoredEntities:
    """What was found in the documents of a set: the `tags` asked for, (score, right) of each entity, gold entities."""

    labels: tuple[str, ...]
    scores: Sequence[tuple[float, bool]]
    gold: int

    def counts(self, least: float) -> Counts:
        """Strict counts of the entities that score `least` or more, to four digits."""
        kept = [right for score, right in self.scores if round(score, 4) >= least]
        return Counts(sum(kept), len(kept) - sum(kept), self.gold - sum(kept))


def f1(counts: Iterable[Counts]) -> float:
    """Micro-F1 of all counts together."""
    return sum(counts, Counts()).f1


def choose_all(found: Mapping[str, ScoredEntities]) -> Thresholds:
    """The thresholds of the label sets, and that of all others. Every data set counts the same, whatever its size."""
    asked = sorted({one.labels for one in found.values()})
    chosen = {labels: _choose([one for one in found.values() if one.labels == labels]) for labels in asked}
    return Thresholds(_choose(list(found.values())), chosen)


def _choose(sets: Sequence[ScoredEntities]) -> float:
    """The threshold for the mean F1 of these sets."""

    def mean(least: float) -> float:
        return sum(one.counts(least).f1 for one in sets) / len(sets)

    return choose(mean)


def choose(score: Callable[[float], float]) -> float:
    """The threshold for an F1 that depends on it as `score` says."""
    tried = [round(step * STEP, 2) for step in range(round(1 / STEP) + 1)]
    values = {least: score(least) for least in tried}
    half = round(max(values.values()) / 2 / STEP) * STEP
    ceiling = round(half, 2)
    if values[ceiling] >= values[0.0]:
        return ceiling
    return max((least for least in tried if least <= ceiling), key=lambda least: (values[least], -least))
