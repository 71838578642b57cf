"""The bootstrap over documents, for groups of cells: intervals, and paired differences.

Cells on the same documents are scored on the same resamples, which is what makes their comparison paired. The score of
a group is the mean of its cells' F1 (one cell a seed) on each resample: its interval says what other documents would
change, not what other seeds would."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genner.evaluation.bootstrap import Array, Difference, bounds, f1_columns, paired, ratio, resample
from genner.generations.readings import ReadingName
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
        self._done: dict[tuple[str, ReadingName], Array] = {}

    def f1(self, cells: Sequence[str], rule: ReadingName = "strict") -> Array | None:
        """The mean F1 of cells by a rule, an array `[resamples]`.

        None without cells, or when one kept no answers, or they are on different documents.
        """
        known = [self._outcomes[id] for id in cells if id in self._outcomes]
        if not cells or len(known) < len(cells) or len({o.ids for o in known}) > 1:
            return None
        if any(o.by(rule) is None for o in known):
            return None
        if any((id, rule) not in self._done for id in cells):
            self._work_out(known[0].ids, rule)
        return np.asarray(np.mean([self._done[id, rule] for id in cells], axis=0))

    def interval(self, cells: Sequence[str], rule: ReadingName = "strict") -> Interval | None:
        """The 95 % interval of `f1`; None where that is."""
        scores = self.f1(cells, rule)
        return None if scores is None else interval(scores)

    def aligned(self, cells: Sequence[str]) -> bool:
        """Whether all these cells kept answers, and to the same documents."""
        known = {o.ids if (o := self._outcomes.get(id)) else None for id in cells}
        return len(known) == 1 and None not in known

    def change(self, first: Sequence[str], second: Sequence[str]) -> Change | None:
        """The difference of two groups, strict; None when a cell of them kept no answers.

        On the documents that all of them have, by id; where there are none, each on its own.
        """
        a, b = ([self._outcomes.get(id) for id in cells] for cells in (first, second))
        known = [o for o in (*a, *b) if o and o.strict is not None]
        if not a or not b or len(known) < len(a) + len(b):
            return None
        shared = set(known[0].ids).intersection(*(o.ids for o in known[1:]))
        whole = all(len(o.ids) == len(shared) for o in known)
        if whole:
            one, two = self.f1(first), self.f1(second)
            scores = [_observed(group) for group in (a, b)]
        elif shared:
            at = [[[i for i, id in enumerate(o.ids) if id in shared] for o in group if o] for group in (a, b)]
            parts = [
                [o.strict[rows] for o, rows in zip(group, places, strict=True) if o and o.strict is not None]
                for group, places in zip((a, b), at, strict=True)
            ]
            drawn = self._drawn([*parts[0], *parts[1]], tuple(sorted(shared)))
            one, two = drawn[: len(a)].mean(axis=0), drawn[len(a) :].mean(axis=0)
            scores = [float(np.mean([micro(part) for part in group])) for group in parts]
        else:
            one, two = self.f1(first), self.f1(second)
            scores = [_observed(group) for group in (a, b)]
        if one is None or two is None:
            return None
        return Change(scores[0], scores[1], paired(one, two, scores[1] - scores[0]), len(shared), bool(shared))

    def bucketed(self, groups: Sequence[Sequence[str]], kind: str, names: Sequence[str]) -> list[dict[str, Interval]]:
        """For each group of cells the interval of the F1 of each bucket: of `kind` `labels` or `lengths`.

        Empty for a group of which a cell kept no answers, or whose cells are on different documents.
        """
        found: list[dict[str, Interval]] = [{} for _ in groups]
        by_ids: dict[tuple[str, ...], list[int]] = {}
        for i, cells in enumerate(groups):
            if names and cells and self.aligned(cells):
                by_ids.setdefault(self._outcomes[cells[0]].ids, []).append(i)
        for ids, places in by_ids.items():
            nothing = np.zeros((len(ids), 3))
            outcomes = [self._outcomes[id] for i in places for id in groups[i]]
            counts = [np.asarray(o.buckets.get((kind, name), nothing), float) for o in outcomes for name in names]
            drawn = self._drawn(counts, ids)
            scores = iter(drawn.reshape(len(outcomes), len(names), -1))
            for i in places:
                mean = np.mean([next(scores) for _ in groups[i]], axis=0)  # [names, resamples]
                found[i] = {name: interval(mean[k]) for k, name in enumerate(names)}
        return found

    def error_rate(self, cells: Sequence[str]) -> Interval | None:
        """The interval of the number of errors, of all cells together, for each of their gold entities."""
        known = [o for id in cells if (o := self._outcomes.get(id))]
        wrong = [o.errors for o in known if o.errors is not None]
        if not cells or len(wrong) < len(cells) or not self.aligned(cells):
            return None
        errors = np.sum(wrong, axis=0)
        gold = np.sum([o.repaired[:, 0] + o.repaired[:, 2] for o in known], axis=0)
        sums = resample(np.stack([errors, gold], axis=1), self._resamples, self._seed_of(known[0].ids))
        return interval(ratio(sums[:, 0], sums[:, 1]))

    def _work_out(self, ids: tuple[str, ...], rule: ReadingName) -> None:
        """The scores of every cell on these documents, from one set of resamples."""
        known = {id: c for id, o in self._outcomes.items() if o.ids == ids and (c := o.by(rule)) is not None}
        drawn = self._drawn([*known.values()], ids)
        self._done.update(((id, rule), scores) for id, scores in zip(known, drawn, strict=True))

    def _seed_of(self, ids: tuple[str, ...]) -> int:
        """Other documents are drawn by other numbers, so that sets are independent of each other in an average."""
        return self._seed + zlib.crc32("\n".join(ids).encode("utf-8", "replace"))

    def _drawn(self, counts: Sequence[Array], ids: tuple[str, ...]) -> Array:
        """F1 `[k, resamples]` of k arrays of counts `[n, 3]` on the same resamples."""
        values = np.concatenate([f1_columns(*c.T) for c in counts], axis=1)  # [n, 2k]
        sums = resample(values, self._resamples, self._seed_of(ids))
        return np.stack([ratio(sums[:, 2 * k], sums[:, 2 * k + 1]) for k in range(len(counts))])


def _observed(group: Sequence[Outcome | None]) -> float:
    """The mean of the strict F1 of cells."""
    return float(np.mean([micro(o.strict) for o in group if o and o.strict is not None]))


def interval(scores: Array) -> Interval:
    low, high = bounds(scores)
    return float(low), float(high)


def statistic(function: Callable[..., Array], observed: float, *scores: Array) -> Difference:
    """The bootstrap of any function of scores: its observed value, interval, and p value against 0."""
    return paired(np.zeros(len(scores[0])), np.asarray(function(*scores)), observed)


def together(found: Sequence[Difference | None]) -> list[Difference | None]:
    """Each difference as one of as many comparisons as there are: intervals at 95 % for all of them together."""
    several = sum(d is not None for d in found)
    return [d and d.among(several) for d in found]


def stars(d: Difference | None) -> str:
    """`*` where the interval does not hold 0, `**` where the one at 99 % does not; `?` where nothing can be said."""
    if d is None or not d.known:
        return "?"
    return "**" if d.p <= 0.01 + 1e-12 else "*" if d.sure else ""


STARS = (
    "* the interval of the difference does not hold 0, at 95 % for all {family} together (Bonferroni); ** nor at 99 %; "
    "? nothing could be told: no answers were kept, or there are too few resamples"
)
"""What the marks mean; `family` says which comparisons are judged together."""
