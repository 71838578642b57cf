"""From the probabilities of the decisions that wrote an entity to its score: how sure one may be of it.

A fine-tuned model is overconfident, above all on kinds of text and labels that it saw little of.
`genner.training.calibration_fitting` fits the correction on dev data: a temperature for each kind of decision and one
for all together, an offset, and one more offset for each label set in the fit.

    temper(p, T, b) = sigmoid(logit(p) / T + b)
    score           = temper(product of temper(p of the kind, T of the kind, 0) over the kinds, T of all, offsets)

This is temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2), where each
decision is treated as one between this and all else, and Platt scaling (Platt 1999) of the whole: the decisions on one
entity tend to be right or wrong together, which a product ignores. Temperatures of 1 and offsets of 0 change nothing.
With any values, a more probable decision never gives a lower score.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, expm1, log, log1p
from typing import Self

from genner.grammar import DecisionKinds
from genner.token_groups import Decisions

CERTAIN = -1e-6  # the log-probability of certainty: float32, in which it is computed, does not resolve smaller ones
COOLEST, HOTTEST = 0.01, 100.0  # legal temperatures
FARTHEST = 20.0  # legal offsets, on either side of 0


def temper(logprob: float, temperature: float, offset: float = 0.0) -> float:
    """The log of `sigmoid(logit(p) / temperature + offset)`, for the log of p, at most 0."""
    if temperature == 1.0 and not offset:
        return min(logprob, 0.0)
    logprob = min(logprob, CERTAIN)
    odds = (logprob - log(-expm1(logprob))) / temperature + offset
    return -log1p(exp(-odds)) if odds > 0 else odds - log1p(exp(odds))


def tags(labels: Iterable[str]) -> tuple[str, ...]:
    """What identifies a label set here: its tags, sorted."""
    return tuple(sorted(labels))


@dataclass(frozen=True)
class Scale:
    """How the decisions of a family of formats make a score.

    Attributes:
        temperatures: by kind of decision; a kind without one does not count.
        overall: the temperature of all together.
        offset: added to the log-odds.
        offsets: added as well, by the `tags` of the label set that was asked for; other label sets have none.
    """

    temperatures: Mapping[str, float]
    overall: float = 1.0
    offset: float = 0.0
    offsets: Mapping[tuple[str, ...], float] = field(default_factory=dict)

    @classmethod
    def identity(cls, of: DecisionKinds) -> Self:
        """The scale that leaves a model's own score as it is."""
        return cls({kind: 1.0 for kind in of.kinds if kind not in of.uncounted})

    def score(self, decided: Decisions, labels: Iterable[str] = ()) -> float:
        """The calibrated probability, in [0, 1], that an entity is right; `labels`: all that were asked for."""
        product = sum(temper(decided[kind], t) for kind, t in self.temperatures.items())
        return exp(temper(product, self.overall, self.offset + self.offsets.get(tags(labels), 0.0)))


@dataclass(frozen=True)
class Thresholds:
    """The least scores of the entities that are kept by default.

    Attributes:
        other: for a label set that is not in `by_labels`.
        by_labels: by the `tags` of a whole label set.
    """

    other: float
    by_labels: Mapping[tuple[str, ...], float] = field(default_factory=dict)

    def of(self, labels: Iterable[str]) -> float:
        return self.by_labels.get(tags(labels), self.other)


@dataclass(frozen=True)
class Fit:
    """What a scale and its thresholds were fitted on, and what they improve there.

    Attributes:
        format: the answers' format.
        sets: by data set, its sentences, the entities found in them, how many of those are right, and the expected
            calibration error before and after; where thresholds were chosen also the gold entities, and the micro-F1 of
            all entities (`f1_all`) and of those kept (`f1_kept`), on the halves that they were not chosen on.
        before, after: the expected calibration error of all entities; `after` by cross-validation, of scores that were
            fitted on other sentences.
        bins: of that error, of equal width.
    """

    format: str
    sets: Mapping[str, Mapping[str, float]]
    before: float
    after: float
    bins: int

    @property
    def entities(self) -> int:
        return round(sum(one["entities"] for one in self.sets.values()))
