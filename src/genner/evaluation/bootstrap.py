"""Confidence intervals, and the comparison of two systems: the bootstrap over documents.

A resample draws n documents with replacement, so it is a vector of n multiplicities; all scores of all resamples are
one matrix product, multiplicities [resamples, n] times counts [n, columns]. Each resample is drawn once for all scores
(and for both systems), which is also what makes a comparison paired.

Interval and p value of a difference come from the same sorted resamples, so that they never contradict each other: with
R resamples the interval at a level 1 - a runs from the k-th least to the k-th greatest difference, k = a / 2 (R + 1)
rounded down, and p <= a if and only if 0 lies outside of it. Of m comparisons each is judged at 1 - a / m (Bonferroni),
interval and p value both: the chance that any of the m intervals misses its difference is at most a.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13 (percentile intervals) and 15.4 (the
significance level at which an interval begins to hold 0); Berg-Kirkpatrick, Burkett and Klein (2012) for the paired
test in NLP; Dunn (1961) for simultaneous intervals.
"""

from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genner.errors import UsageError

Array = NDArray[np.float64]

# Multiplicities in memory at a time: what fits the cache is fastest.
_CHUNK = 250_000
# float32 holds whole numbers up to here exactly.
_EXACT = 1 << 24


LEVEL = 0.05
"""The chance of a false finding that is accepted, which is that of missing an interval at 95 %."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two scores, second minus first, in [-1, 1], with its interval and p value.

    `low` and `high` are at 95 % for all of `comparisons` together, infinite where there are too few resamples to say;
    `p` is two-sided and adjusted for as many. `p <= 0.05` if and only if the interval does not hold 0 (`sure`).
    """

    value: float
    low: float
    high: float
    p: float
    comparisons: int = 1
    _resampled: Array = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)

    @property
    def sure(self) -> bool:
        """Whether the interval lies on one side of 0: the two scores differ, beyond what other documents change."""
        return self.low > 0 or self.high < 0

    @property
    def known(self) -> bool:
        """Whether there are resamples enough for an interval."""
        return self.high < inf

    def among(self, comparisons: int) -> "Difference":
        """The same as one of so many comparisons: a wider interval, a greater p value."""
        return _judged(self.value, self._resampled, max(1, comparisons))

    def to_dict(self) -> dict[str, float | None]:
        """Value, interval and p value as JSON types; bounds that are not known are None."""
        low, high = (self.low, self.high) if self.known else (None, None)
        return {"value": self.value, "low": low, "high": high, "p": self.p}


def resample(values: ArrayLike, resamples: int = 10_000, seed: int = 0) -> Array:
    """Sums `[resamples, columns]` of `values [n, columns]`, whole numbers, over n documents drawn with replacement.

    The same seed draws the same documents. Raises `UsageError` when `resamples` is below 1.
    """
    if resamples < 1:
        raise UsageError(f"resamples {resamples}; legal: 1 or more")
    counts = np.asarray(values)
    n = len(counts)
    if not n or not counts.shape[1]:
        return np.zeros((resamples, counts.shape[1]))
    counts = counts.astype(np.float32 if n * np.abs(counts).max() < _EXACT else np.float64)
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    sums = []
    for done in range(0, resamples, rows):
        size = min(rows, resamples - done)
        drawn = rng.integers(n, size=(size, n), dtype=np.uint32) + n * np.arange(size)[:, None]  # [size, n]
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        sums.append(times.astype(counts.dtype) @ counts)  # [size, columns]
    return np.concatenate(sums).astype(np.float64)


def ratio(right: Array, total: Array) -> Array:
    """`right / total`, 0 where there is nothing."""
    return right / np.where(total, total, 1)


def bounds(scores: Array, confidence: float = 0.95) -> Array:
    """The percentile interval of scores `[resamples, ...]`: an array `[2, ...]`, low and high, both among the scores.

    With too few resamples for the level it is from the least to the greatest. Raises `UsageError` when `confidence` is
    not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence}; legal: between 0 and 1")
    least = max(_rank(len(scores), 1 - confidence), 1) - 1
    ends = np.partition(scores, [least, len(scores) - 1 - least], axis=0)
    return np.stack([ends[least], ends[len(scores) - 1 - least]])


def _rank(resamples: int, level: float) -> int:
    """The rank, from either end, of the resample that ends an interval at 1 - `level`; 0 where there are too few."""
    return int(level / 2 * (resamples + 1) + 1e-9)


def interval(
    tp: ArrayLike,
    fp: ArrayLike,
    fn: ArrayLike,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The bounds `(low, high)` of micro-F1, in [0, 1], from the counts of each document, three arrays of shape `[n]`.

    The same seed gives the same bounds. Without any document or entity both are 0.0. Counts may be halves. Raises
    `UsageError` on arguments out of range.
    """
    values = f1_columns(tp, fp, fn)
    sums = resample(values, resamples, seed)
    low, high = bounds(ratio(sums[:, 0], sums[:, 1]), confidence)
    return float(low), float(high)


def paired(scores: Array, other: Array, observed: float) -> Difference:
    """The `observed` difference of two systems, and its bootstrap from the scores `[resamples]` of both."""
    differences = np.sort(other - scores)
    # Equal scores that were summed in another order differ by a hair.
    return _judged(observed, np.where(np.abs(differences) < 1e-12, 0.0, differences), 1)


def _judged(value: float, resampled: Array, comparisons: int) -> Difference:
    """The interval and p value from sorted differences `[resamples]`, as one of so many `comparisons`."""
    n, rank = len(resampled), _rank(len(resampled), LEVEL / comparisons)
    low, high = (float(resampled[rank - 1]), float(resampled[n - rank])) if rank else (-inf, inf)
    beyond = min(int(np.searchsorted(resampled, 0.0, "right")), n - int(np.searchsorted(resampled, 0.0, "left")))
    p = min(1.0, comparisons * 2 * (1 + beyond) / (1 + n))
    return Difference(value, low, high, p, comparisons, resampled)


def f1_columns(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Array:
    """`[n, 2]`: F1 is 2 tp / (2 tp + fp + fn), so these two sums are all it takes.

    Raises `UsageError` when the three are not lists of counts of one length.
    """
    arrays = [np.asarray(a, dtype=np.float64) for a in (tp, fp, fn)]
    if len({a.shape for a in arrays}) > 1 or arrays[0].ndim != 1 or any((a < 0).any() for a in arrays):
        raise UsageError("tp, fp and fn must be three lists of counts, 0 or more, of the same length, one per document")
    right = 2 * arrays[0]
    return np.stack([right, right + arrays[1] + arrays[2]], axis=1)
