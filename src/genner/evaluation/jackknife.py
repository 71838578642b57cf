"""Estimates that carry what leaving out each unit does to them, and their intervals, differences and p values.

- Variance: the delete-one jackknife, `(n - 1) / n * sum (without_i - whole)^2` over n units (Miller 1974; for clusters
  CV3 of MacKinnon, Nielsen and Webb 2023, which they recommend for few and unequal ones).
- Degrees of freedom, of two the fewer, at least 1. The effective number of units less 1, `(sum m)^2 / sum m^2 - 1` with
  m the entities of a unit (Kish 1965; Carter, Schnepel and Steigerwald 2017). And those of a chi-square distribution
  that varies as much as the variance itself does, by the kurtosis of what leaving out each unit does (Cramer 1946,
  27.4; Satterthwaite 1946): where a few units make up most of the errors, the variance is known badly. Independent
  samples (several corpora, seeds) add their variances, and their degrees of freedom by Welch and Satterthwaite.
- A share is judged on the logit scale (Agresti 2013, sec. 1.4 and 3.1). Units of which everything is right, or
  everything wrong, leave open that a unit is right or wrong as a whole, whose variance would be F (1 - F) / k with k
  effective units: an n-th of this is added for their share of the units, as if one more such unit had been seen; to
  the variance of a difference for each of the two systems.
- Where the units do not differ at all (all right, none right) the interval is Wilson's with k observations (1927;
  with effective numbers: Korn and Graubard 1998, Dean and Pagano 2015).
- A difference has a symmetric t interval, and p is the level at which that begins to hold 0, so that the two
  never contradict each other. Where the units do not differ, a share q = 1 - (level / 2)^(1 / k) of unseen units may be
  anything (the "rule of three", Hanley and Lippman-Hand 1983).
- Of m comparisons each is judged at 1 - level / m (Bonferroni; Dunn 1961), interval and p value both.

How well all of this covers is simulated by `benchmarks/coverage.py`.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, hypot, inf, isfinite, log, nextafter, sqrt

import numpy as np
from numpy.typing import NDArray

from genner.errors import UsageError
from genner.evaluation.student import quantile, two_sided

Array = NDArray[np.float64]
Interval = tuple[float, float]

LEVEL = 0.05
"""The chance of a false finding that is accepted, which is that of missing an interval at 95 %."""

NEGLIGIBLE = 1e-12  # Scores that were summed in another order differ by a hair.


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What the n units of one sample do to an estimate.

    left_out  [n]: the estimate without each unit, less the estimate
    mass      [n]: how much of the figures lies in each unit (entities; 1 for items and seeds)
    slack     the standard deviation that one more unit, right or wrong as a whole, may add
    """

    left_out: Array
    mass: Array
    slack: float = 0.0

    @property
    def variance(self) -> float:
        n = max(len(self.left_out), 1)
        return float((n - 1) / n * (self.left_out**2).sum())

    @property
    def effective(self) -> float:
        """The number of units of equal mass that say as much; 0.0 without any mass."""
        square = float((self.mass**2).sum())
        return float(self.mass.sum()) ** 2 / square if square else 0.0

    @property
    def freedom(self) -> float:
        """The degrees of freedom of `variance`, at least 1."""
        n, squares = len(self.left_out), float((self.left_out**2).sum())
        by_mass = max(self.effective - 1, 1.0)
        if n < 2 or not squares:
            return by_mass
        kurtosis = n * float(((self.left_out / sqrt(squares)) ** 4).sum())
        return max(min(by_mass, 2 / (kurtosis / n - (n - 3) / (n * (n - 1)))), 1.0)

    @property
    def known(self) -> bool:
        """Whether more than one unit has anything in it, so that they can differ."""
        return int((self.mass > 0).sum()) > 1

    def times(self, factor: float) -> "Sample":
        return Sample(factor * self.left_out, abs(factor) * self.mass, abs(factor) * self.slack)

    def plus(self, other: "Sample") -> "Sample":
        """The sum of two estimates from the same units; one more unit is right or wrong for each by itself."""
        slack = hypot(self.slack, other.slack)
        return Sample(self.left_out + other.left_out, self.mass + other.mass, slack)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A figure, the samples that it comes from, by a name each, and the range in which it must lie.

    Estimates add, subtract, and are multiplied by numbers; samples of the same name are the same units.
    """

    value: float
    samples: Mapping[Hashable, Sample]
    least: float = 0.0
    greatest: float = 1.0

    def __add__(self, other: "Estimate") -> "Estimate":
        samples = dict(self.samples)
        for name, sample in other.samples.items():
            samples[name] = samples[name].plus(sample) if name in samples else sample
        return Estimate(self.value + other.value, samples, self.least + other.least, self.greatest + other.greatest)

    def __mul__(self, factor: float) -> "Estimate":
        ends = sorted((factor * self.least, factor * self.greatest))
        return Estimate(factor * self.value, {k: s.times(factor) for k, s in self.samples.items()}, *ends)

    def __sub__(self, other: "Estimate") -> "Estimate":
        return self + other * -1.0

    @property
    def known(self) -> bool:
        """Whether there are units enough for an interval."""
        return bool(self.samples) and all(sample.known for sample in self.samples.values())

    @property
    def effective(self) -> float:
        """The effective number of units of the smallest sample; 0.0 without any."""
        return min((sample.effective for sample in self.samples.values()), default=0.0)

    @property
    def se(self) -> float:
        """The standard error: the root of the jackknife's variance."""
        return sqrt(sum(sample.variance for sample in self.samples.values()))

    def _freedom(self, variances: Sequence[float]) -> float:
        parts = [v * v / s.freedom for v, s in zip(variances, self.samples.values(), strict=True)]
        return sum(variances) ** 2 / sum(parts)

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """The interval of a share or of a rate (at least 0, without an upper end), or of any number.

        None with fewer than two units that have anything in them, as nothing is known of how units differ. Raises
        `UsageError` when `confidence` is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise UsageError(f"confidence {confidence}; legal: between 0 and 1")
        if not self.known:
            return None
        value, share = self.value, self.least == 0 and self.greatest == 1
        if not self.se:
            return _wilson(value, self.effective, 1 - confidence) if share else None
        variances = [s.variance + s.slack**2 for s in self.samples.values()]
        reach = quantile(1 - confidence, self._freedom(variances)) * sqrt(sum(variances))
        if share and 0 < value < 1:
            middle, reach = log(value / (1 - value)), reach / (value * (1 - value))
            return _logistic(middle - reach), _logistic(middle + reach)
        if self.least == 0 and value > 0:  # a rate: on the scale of its logarithm
            return value * exp(-reach / value), _times_exp(value, reach / value)
        return max(value - reach, self.least), min(value + reach, self.greatest)

    def difference(self, comparisons: int = 1) -> "Difference":
        """This, a difference, held against 0, as one of so many comparisons."""
        value = 0.0 if abs(self.value) < NEGLIGIBLE else self.value
        level = LEVEL / max(1, comparisons)
        low, high, p = -inf, inf, 1.0
        if self.known and self.se:
            variances = [s.variance + s.slack**2 for s in self.samples.values()]
            freedom, se = self._freedom(variances), sqrt(sum(variances))
            reach = quantile(level, freedom) * se
            low, high, p = value - reach, value + reach, two_sided(abs(value) / se, freedom)
        elif self.known and isfinite(self.least) and isfinite(self.greatest):
            other = 1 - (level / 2) ** (1 / self.effective)
            low, high = value - other * (value - self.least), value + other * (self.greatest - value)
            end = self.least if value > 0 else self.greatest
            p = min(1.0, 2 * (end / (end - value)) ** self.effective) if value else 1.0
        p = min(1.0, max(1, comparisons) * p)
        if (low > 0 or high < 0) != (p <= LEVEL):  # no rounding parts the two
            p = LEVEL if p > LEVEL else nextafter(LEVEL, 1)
        return Difference(value, max(low, self.least), min(high, self.greatest), p, max(1, comparisons), self)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two scores, second minus first, with its interval and p value.

    `low` and `high` are at 95 % for all of `comparisons` together; where there are too few units to say, they are the
    ends of what is possible, and `known` is False. `p` is two-sided and adjusted for as many. `p <= 0.05` if and only
    if the interval does not hold 0 (`sure`).
    """

    value: float
    low: float
    high: float
    p: float
    comparisons: int = 1
    estimate: Estimate = field(default_factory=lambda: Estimate(0.0, {}), compare=False, repr=False)

    @property
    def sure(self) -> bool:
        """Whether the interval lies on one side of 0: the two scores differ, beyond what other units change."""
        return self.low > 0 or self.high < 0

    @property
    def known(self) -> bool:
        """Whether there are units enough for an interval."""
        return self.estimate.known and isfinite(self.low) and isfinite(self.high)

    @property
    def se(self) -> float:
        """The standard error."""
        return self.estimate.se

    def among(self, comparisons: int) -> "Difference":
        """The same as one of so many comparisons: a wider interval, a greater p value."""
        return self.estimate.difference(comparisons)

    def to_dict(self) -> dict[str, float | None]:
        """Value, interval and p value as JSON types; what is not known is None."""
        low, high, p = (self.low, self.high, self.p) if self.known else (None, None, None)
        return {"value": self.value, "low": low, "high": high, "p": p}


def _times_exp(value: float, x: float) -> float:
    """`value * exp(x)`, infinity where that is too large for a float."""
    return value * exp(x) if x < 700 else inf


def _logistic(x: float) -> float:
    return 1 / (1 + exp(-x)) if x > -700 else 0.0


def _wilson(share: float, n: float, level: float) -> Interval:
    """Wilson's interval of a share of n observations, with t in place of z."""
    square = quantile(level, max(n - 1, 1)) ** 2
    middle = (share + square / (2 * n)) / (1 + square / n)
    reach = sqrt(square * (share * (1 - share) / n + square / (4 * n * n))) / (1 + square / n)
    return max(0.0, middle - reach) if share else 0.0, min(1.0, middle + reach) if share < 1 else 1.0
