"""Choosing the score threshold that gives the best F1.

If scores are probabilities, the optimal threshold is half of the best achievable F1 (Lipton, Elkan and Naryanaswamy
2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure"). So the threshold is half of the best F1 on the
documents at hand. This varies little between samples, whereas the threshold at which that F1 is reached varies by 0.1
(docs/log.md). If it gives a lower F1 on these documents than keeping all, the best threshold below it is taken.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from genner.calibration_scales import Thresholds
from genner.evaluation.counts import Counts

STEP = 0.01  # step between thresholds tried and written


@dataclass(frozen=True, slots=True)
class ScoredEntities:
    """Predictions in the documents of a set: labels asked for, (score, correct) of each entity, number of gold ones."""

    labels: tuple[str, ...]
    scores: Sequence[tuple[float, bool]]
    gold: int

    def counts(self, least: float) -> Counts:
        """Strict counts of the entities whose score, rounded to four digits, is at least `least`."""
        kept = [right for score, right in self.scores if round(score, 4) >= least]
        return Counts(sum(kept), len(kept) - sum(kept), self.gold - sum(kept))


def f1(counts: Iterable[Counts]) -> float:
    """Micro-F1 of all counts together."""
    return sum(counts, Counts()).f1


def choose_all(found: Mapping[str, ScoredEntities]) -> Thresholds:
    """A threshold for each label set, and one for all others. Data sets have equal weight, whatever their size."""
    asked = sorted({one.labels for one in found.values()})
    chosen = {labels: _choose([one for one in found.values() if one.labels == labels]) for labels in asked}
    return Thresholds(_choose(list(found.values())), chosen)


def _choose(sets: Sequence[ScoredEntities]) -> float:
    """The threshold that maximizes the mean F1 of these sets."""

    def mean(least: float) -> float:
        return sum(one.counts(least).f1 for one in sets) / len(sets)

    return choose(mean)


def choose(score: Callable[[float], float]) -> float:
    """The threshold for an F1 given by `score(threshold)`."""
    tried = [round(step * STEP, 2) for step in range(round(1 / STEP) + 1)]
    values = {least: score(least) for least in tried}
    half = round(max(values.values()) / 2 / STEP) * STEP
    ceiling = round(half, 2)
    if values[ceiling] >= values[0.0]:
        return ceiling
    return max((least for least in tried if least <= ceiling), key=lambda least: (values[least], -least))
