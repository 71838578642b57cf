"""The bootstrap over documents, for groups of cells: intervals, and paired differences.

Cells on the same documents are scored on the same resamples, which is what makes their comparison paired. The score of
a group is the mean of its cells' F1 (one cell a seed) on each resample: its interval says what other documents would
change, not what other seeds would."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genner.evaluation.bootstrap import Array, Difference, bounds, f1_columns, paired, ratio, resample
from genner.report.outcomes import Outcome, micro

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Change:
    """The scores of two groups, second minus first, over `documents` that both answered.

    `together` is False where they share no document, so that they were resampled apart.
    """

    first: float
    second: float
    difference: Difference
    documents: int
    together: bool = True


class Draws:
    """F1 of cells on resamples, worked out when asked for, once for all cells on the same documents."""

    def __init__(self, outcomes: Mapping[str, Outcome], resamples: int = 10_000, seed: int = 0) -> None:
        self._outcomes = outcomes
        self._resamples = resamples
        self._seed = seed
        self._done: dict[str, Array] = {}
        self._published: dict[str, Array] = {}

    def f1(self, cells: Sequence[str], published: bool = False) -> Array | None:
        """The mean strict F1 (or by the paper's rule) of cells, an array `[resamples]`.

        None without cells, or when one kept no answers, or they are on different documents.
        """
        known = [self._outcomes[id] for id in cells if id in self._outcomes]
        if not cells or len(known) < len(cells) or len({o.ids for o in known}) > 1:
            return None
        if published and any(o.published is None for o in known):
            return None
        done = self._published if published else self._done
        if cells[0] not in done or any(id not in done for id in cells):
            self._work_out(known[0].ids, published)
        return np.asarray(np.mean([done[id] for id in cells], axis=0))

    def interval(self, cells: Sequence[str], published: bool = False) -> Interval | None:
        """The 95 % interval of `f1`; None where that is."""
        scores = self.f1(cells, published)
        return None if scores is None else interval(scores)

    def aligned(self, cells: Sequence[str]) -> bool:
        """Whether all these cells kept answers, and to the same documents."""
        known = {o.ids if (o := self._outcomes.get(id)) else None for id in cells}
        return len(known) == 1 and None not in known

    def change(self, first: Sequence[str], second: Sequence[str]) -> Change | None:
        """The difference of two groups; None when a cell of them kept no answers.

        On the documents that all of them have, by id; where there are none, each on its own.
        """
        a, b = ([self._outcomes.get(id) for id in cells] for cells in (first, second))
        known = [o for o in (*a, *b) if o]
        if not a or not b or len(known) < len(a) + len(b):
            return None
        shared = set(known[0].ids).intersection(*(o.ids for o in known[1:]))
        whole = all(len(o.ids) == len(shared) for o in known)
        if whole:
            one, two = self.f1(first), self.f1(second)
            scores = [float(np.mean([o.f1 for o in group if o])) for group in (a, b)]
        elif shared:
            at = [[[i for i, id in enumerate(o.ids) if id in shared] for o in group if o] for group in (a, b)]
            parts = [
                [o.counts[rows] for o, rows in zip(group, places, strict=True) if o]
                for group, places in zip((a, b), at, strict=True)
            ]
            drawn = self._drawn([*parts[0], *parts[1]], tuple(sorted(shared)))
            one, two = drawn[: len(a)].mean(axis=0), drawn[len(a) :].mean(axis=0)
            scores = [float(np.mean([micro(part) for part in group])) for group in parts]
        else:
            one, two = self.f1(first), self.f1(second)
            scores = [float(np.mean([o.f1 for o in group if o])) for group in (a, b)]
        if one is None or two is None:
            return None
        return Change(scores[0], scores[1], paired(one, two, scores[1] - scores[0]), len(shared), bool(shared))

    def _work_out(self, ids: tuple[str, ...], published: bool) -> None:
        """The scores of every cell on these documents, from one set of resamples."""
        cells = [id for id, o in self._outcomes.items() if o.ids == ids and not (published and o.published is None)]
        counts = [(o.published if published else o.counts) for id in cells if (o := self._outcomes[id])]
        drawn = self._drawn([c for c in counts if c is not None], ids)
        (self._published if published else self._done).update(zip(cells, drawn, strict=True))

    def _drawn(self, counts: Sequence[Array], ids: tuple[str, ...]) -> Array:
        """F1 `[k, resamples]` of k arrays of counts `[n, 3]` on the same resamples."""
        values = np.concatenate([f1_columns(*c.T) for c in counts], axis=1)  # [n, 2k]
        # Other documents are drawn by other numbers, so that sets are independent of each other in an average.
        sums = resample(values, self._resamples, self._seed + zlib.crc32("\n".join(ids).encode("utf-8", "replace")))
        return np.stack([ratio(sums[:, 2 * k], sums[:, 2 * k + 1]) for k in range(len(counts))])


def interval(scores: Array) -> Interval:
    low, high = bounds(scores)
    return float(low), float(high)


def statistic(function: Callable[..., Array], observed: float, *scores: Array) -> Difference:
    """The bootstrap of any function of scores: its observed value, interval, and p value against 0."""
    return paired(np.zeros(len(scores[0])), np.asarray(function(*scores)), observed)


def holm(ps: Sequence[float]) -> list[float]:
    """P values adjusted for as many tests as there are, by Holm's step-down method (Holm, 1979, Scandinavian Journal
    of Statistics 6): the chance of any false finding among them stays below the level."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def stars(p: float | None) -> str:
    """`**` below 0.01, `*` below 0.05, `?` where nothing could be tested."""
    return "?" if p is None else "**" if p < 0.01 else "*" if p < 0.05 else ""
