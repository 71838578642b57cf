"""Confidence intervals, and the comparison of two systems: the bootstrap over documents.

A resample draws n documents with replacement, so it is a vector of n multiplicities; all scores of all resamples are
one matrix product, multiplicities [resamples, n] times counts [n, columns]. Each resample is drawn once for all scores
(and for both systems), which is also what makes a comparison paired.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13 (percentile intervals) and 16 (tests);
Berg-Kirkpatrick, Burkett and Klein (2012) for the paired test in NLP.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genner.errors import UsageError

Array = NDArray[np.float64]

# Multiplicities in memory at a time: what fits the cache is fastest.
_CHUNK = 250_000
# float32 holds whole numbers up to here exactly.
_EXACT = 1 << 24


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two scores, second minus first, in [-1, 1], its interval at 95 %, and its p value.

    `p` is two-sided: the share of resamples whose difference lies at least as far from the observed difference as that
    lies from 0, the observed data counted as one resample more, `(1 + hits) / (1 + resamples)`.
    """

    value: float
    low: float
    high: float
    p: float


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
    """The percentile interval of scores `[resamples, ...]`: an array `[2, ...]`, low and high.

    Raises `UsageError` when `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence}; legal: between 0 and 1")
    return np.asarray(np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0))


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
    differences = other - scores
    low, high = bounds(differences)
    # A hair of tolerance, so that a difference that is exactly as far away is not lost to rounding.
    hits = int((np.abs(differences - observed) >= abs(observed) - 1e-12).sum())
    return Difference(observed, float(low), float(high), (1 + hits) / (1 + len(differences)))


def f1_columns(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Array:
    """`[n, 2]`: F1 is 2 tp / (2 tp + fp + fn), so these two sums are all it takes.

    Raises `UsageError` when the three are not lists of counts of one length.
    """
    arrays = [np.asarray(a, dtype=np.float64) for a in (tp, fp, fn)]
    if len({a.shape for a in arrays}) > 1 or arrays[0].ndim != 1 or any((a < 0).any() for a in arrays):
        raise UsageError("tp, fp and fn must be three lists of counts, 0 or more, of the same length, one per document")
    right = 2 * arrays[0]
    return np.stack([right, right + arrays[1] + arrays[2]], axis=1)
