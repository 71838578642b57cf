"""Intervals and p values for small samples: of an AUC, of a mean difference, of a rank.

All intervals are at 95 %. Observations are documents; `base.evenly` draws one per article as far as possible, since
sentences of one article are correlated.
"""

from collections.abc import Sequence
from itertools import product
from math import erfc, sqrt

import numpy as np

from genner.contamination.base import Measure
from genner.evaluation.student import quantile

Z = 1.959964
EXACT = 14
"""Maximum number of differences for which all sign assignments are enumerated."""
DRAWS = 10_000


def auc(these: Sequence[float], others: Sequence[float]) -> Measure:
    """The probability that one of `these` is greater than one of `others`, ties counting half; 0.5: no difference.

    The interval is that of Newcombe (2006), "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", method 5: a score interval with the variance of Hanley and McNeil (1982), which does not shrink
    to a point when all of `these` are greater. `p` is two-sided, of the Mann-Whitney test with ties, normal
    approximation. Needs one value of each.
    """
    m, n = len(these), len(others)
    values = np.concatenate([np.asarray(these, float), np.asarray(others, float)])
    order = np.unique(values, return_inverse=True, return_counts=True)
    counts = order[2]
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[order[1]]
    value = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    low, high = _bound(value, m, n, 0.0), _bound(value, m, n, 1.0)
    total = m + n
    ties = float((counts**3 - counts).sum()) / (total * (total - 1)) if total > 1 else 0.0
    variance = (total + 1 - ties) / (12 * m * n)
    p = _two_sided((value - 0.5) / sqrt(variance)) if variance > 0 else 1.0
    return Measure(value, total, low, high, p)


def _bound(value: float, m: int, n: int, end: float) -> float:
    """The area between `value` and `end` that is just compatible with `value`, by bisection."""

    def apart(area: float) -> bool:
        star = (m + n) / 2 - 1
        variance = area * (1 - area) * (1 + star * ((1 - area) / (2 - area) + area / (1 + area))) / (m * n)
        return (value - area) ** 2 > Z * Z * variance

    inside, outside = value, end
    # At 0 and 1 the variance is 0, so that only the value itself is compatible with them.
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if apart(middle) else (middle, outside)
    return inside


def mean_difference(differences: Sequence[float], seed: int = 0, *, greater: bool = True) -> Measure:
    """The mean of paired differences, with Student's interval and the p value of the sign-flip test.

    The test is one-sided (`greater`: the mean is above 0) or two-sided. Under the null hypothesis, both signs of a
    difference are equally likely; all sign assignments are enumerated if there are few differences (`EXACT`), else
    10,000 are drawn.
    """
    values = np.asarray(differences, float)
    n, value = len(values), float(values.mean())
    if n < 2:
        return Measure(value, n)
    half = quantile(0.05, n - 1) * float(values.std(ddof=1)) / sqrt(n)
    if n <= EXACT:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(DRAWS, n))
        signs[0] = 1.0  # the observed signs
    means = signs @ values / n
    reached = means >= value - 1e-12 if greater else np.abs(means) >= abs(value) - 1e-12
    return Measure(value, n, value - half, value + half, float(reached.mean()))


def rank_p(value: float, others: Sequence[float]) -> float:
    """The p value of a rank among controls: 1 / (controls + 1) at best."""
    return (1 + sum(other >= value for other in others)) / (1 + len(others))


def _two_sided(z: float) -> float:
    return erfc(abs(z) / sqrt(2))
