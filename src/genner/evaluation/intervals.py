"""Intervals of scores and paired comparisons of systems, by the jackknife over the units that were sampled.

A unit is what was drawn: an article, an abstract, a book; a document where nothing says more. An estimate (an F1, a
mean of several, a difference, a difference of differences) is a sum of scores with weights; it carries what leaving out
each unit does to it, and sums of estimates add that up unit by unit, which is what makes a comparison paired.

The rules by which variances become intervals and p values are in `genner.evaluation.jackknife`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import ArrayLike

from genner.errors import UsageError
from genner.evaluation.jackknife import NEGLIGIBLE, Array, Estimate, Interval, Sample

FEW = 30
"""With fewer units than this in effect, an interval is said to be rough."""


def shares(right: Array, total: Array, name: Hashable = "units") -> list[Estimate]:
    """`sum right / sum total` of each column of two arrays `[n, columns]`, a row a unit; 0 where there is nothing."""
    n = len(right)
    sums, bases = right.sum(axis=0), total.sum(axis=0)
    values = _ratio(sums, bases)
    left_out = _ratio(sums - right, bases - total) - values
    left_out[np.abs(left_out) < NEGLIGIBLE] = 0.0
    whole = ((total > 0) & ((right == total) | (right == 0))).sum(axis=0) / np.maximum((total > 0).sum(axis=0), 1)
    worst = whole * values * (1 - values) * _ratio((total**2).sum(axis=0), bases**2) / max(n, 1)
    slack = np.sqrt(np.maximum(worst, 0.0))
    return [
        Estimate(float(values[i]), {name: Sample(left_out[:, i], total[:, i], float(slack[i]))})
        for i in range(right.shape[1])
    ]


def rate(count: Array, base: Array, name: Hashable = "units") -> Estimate:
    """`sum count / sum base` of arrays `[n]`: a number of at least 0 without an upper end, as errors for an entity."""
    (found,) = shares(count[:, None], base[:, None], name)
    return Estimate(found.value, found.samples, 0.0, inf)


def mean(values: ArrayLike, name: Hashable = "units", least: float = -inf, greatest: float = inf) -> Estimate:
    """The mean of `values [n]`, one a unit, each between `least` and `greatest`."""
    array = np.asarray(values, dtype=np.float64)
    middle = float(array.mean()) if len(array) else 0.0
    left_out = (middle - array) / max(len(array) - 1, 1)
    left_out[np.abs(left_out) < NEGLIGIBLE] = 0.0
    return Estimate(middle, {name: Sample(left_out, np.ones(len(array)))}, least, greatest)


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of one or more estimates, each with the same weight."""
    total = estimates[0]
    for other in estimates[1:]:
        total = total + other
    share = total * (1 / len(estimates))
    # What one more unit may add is shared: it is as hard for all of them.
    samples = {
        name: replace(sample, slack=sum(e.samples[name].slack for e in estimates if name in e.samples) / len(estimates))
        for name, sample in share.samples.items()
    }
    # The range is not summed, so that that of shares stays exactly [0, 1].
    ends = min(e.least for e in estimates), max(e.greatest for e in estimates)
    return Estimate(share.value, samples, *ends)


def over_seeds(estimates: Sequence[Estimate], name: Hashable) -> Estimate:
    """The mean of one score over seeds, with the variance over units and over seeds together.

    Both are jackknifed: units of the mean of all seeds, and seeds. The sum counts the part that only one unit and one
    seed have in common twice, so the interval is rather too wide (Owen 2007, "The pigeonhole bootstrap"; Cameron,
    Gelbach and Miller 2011). Of a single seed it is over units alone. Seeds of the same `name` are the same seeds.
    """
    whole = average(estimates)
    if len(estimates) < 2:
        return whole
    seeds = mean([e.value for e in estimates], name)
    if not seeds.se:
        return whole
    return Estimate(whole.value, {**whole.samples, **seeds.samples}, whole.least, whole.greatest)


def interval(
    tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, units: Sequence[int] | None = None, confidence: float = 0.95
) -> Interval | None:
    """The interval of micro-F1, in [0, 1], from the counts of each document, three arrays of shape `[n]`.

    `units` has the number of each document's unit, from 0; without it each document is one. None where fewer than two
    units have an entity. Counts may be halves. Raises `UsageError` on arguments out of range.
    """
    return f1(tp, fp, fn, units).interval(confidence)


def f1(
    tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, units: Sequence[int] | None = None, name: Hashable = "units"
) -> Estimate:
    """Micro-F1 as an estimate; arguments as `interval`."""
    values = summed(f1_columns(tp, fp, fn), units)
    return shares(values[:, :1], values[:, 1:], name)[0]


def f1_columns(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Array:
    """`[n, 2]`: F1 is 2 tp / (2 tp + fp + fn), so these two sums are all it takes.

    Raises `UsageError` when the three are not lists of counts of one length.
    """
    arrays = [np.asarray(a, dtype=np.float64) for a in (tp, fp, fn)]
    if len({a.shape for a in arrays}) > 1 or arrays[0].ndim != 1 or any(not (a >= 0).all() for a in arrays):
        raise UsageError("tp, fp and fn must be three lists of counts, 0 or more, of the same length, one per document")
    right = 2 * arrays[0]
    return np.stack([right, right + arrays[1] + arrays[2]], axis=1)


def summed(values: Array, units: Sequence[int] | None) -> Array:
    """The rows of `values [n, columns]` of each unit added up, `[units, columns]`; as they are without `units`.

    Raises `UsageError` unless there is a unit for each row.
    """
    if units is None:
        return values
    if len(units) != len(values):
        raise UsageError(f"{len(units)} units for {len(values)} documents; give one for each")
    sums = np.zeros((max(units, default=-1) + 1, values.shape[1]))
    np.add.at(sums, np.asarray(units, dtype=np.intp), values)
    return sums


def _ratio(right: Array, total: Array) -> Array:
    """`right / total`, 0 where there is nothing."""
    return np.asarray(right / np.where(total, total, 1))
