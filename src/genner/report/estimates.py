"""Scores of groups of cells as estimates: intervals over units and seeds, and paired differences.

Cells on the same documents are jackknifed over the same units (groups of documents where these tell them, else
documents), which is what makes their comparison paired. The score of a group is the mean of its cells' F1 (one cell a
seed): where there are several, its interval is over units and seeds together, of one seed over units alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genner.evaluation.intervals import (
    Array,
    Difference,
    Estimate,
    Interval,
    average,
    f1_columns,
    over_seeds,
    rate,
    shares,
    summed,
)
from genner.generations.readings import ReadingName
from genner.report.outcomes import CellOutcome

DocumentIds = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The scores of two groups, second minus first, over `documents` that both answered.

    `together` is False where they share no document, so that they are independent of each other.
    """

    first: float
    second: float
    difference: Difference
    documents: int
    together: bool = True


class Estimates:
    """F1 of cells as estimates, worked out when asked for.

    `trained` has the training that a cell uses, where it uses one: the same training in two groups is the same seed.
    """

    def __init__(self, outcomes: Mapping[str, CellOutcome], trained: Mapping[str, str] | None = None) -> None:
        self._outcomes = outcomes
        self._trained = trained or {}
        self._done: dict[tuple[str, ReadingName], Estimate] = {}
        # Cells of one study may differ in whether they recorded the groups of the same documents.
        self._units: dict[DocumentIds, tuple[int, ...]] = {}
        for o in outcomes.values():
            known = self._units.get(o.ids)
            if known is None or len(set(o.units)) < len(set(known)):
                self._units[o.ids] = o.units

    def outcome(self, cell: str) -> CellOutcome | None:
        """A cell's answers, counted; None where it kept none."""
        return self._outcomes.get(cell)

    def outcomes(self, cells: Iterable[str]) -> list[CellOutcome]:
        """The answers of those of the cells that kept them."""
        return [self._outcomes[id] for id in cells if id in self._outcomes]

    def units(self, cell: str) -> int:
        """The number of units that a cell's intervals are over; 0 where it kept no answers."""
        known = self._outcomes.get(cell)
        return len(set(self._units[known.ids])) if known else 0

    def f1(self, cells: Sequence[str], rule: ReadingName = "strict") -> Estimate | None:
        """The mean F1 of cells by a rule.

        None without cells, or when one kept no answers, or they are on different documents.
        """
        if not cells or not self.aligned(cells):
            return None
        found = []
        for id in cells:
            counts = self._outcomes[id].by(rule)
            if counts is None:
                return None
            if (id, rule) not in self._done:
                self._done[id, rule] = self._scored([counts], self._outcomes[id].ids)[0]
            found.append(self._done[id, rule])
        return self._over_seeds(cells, found)

    def interval(self, cells: Sequence[str], rule: ReadingName = "strict") -> Interval | None:
        """The 95 % interval of `f1`; None where that is, or where there are too few units."""
        estimate = self.f1(cells, rule)
        return estimate.interval() if estimate else None

    def aligned(self, cells: Sequence[str]) -> bool:
        """Whether all these cells kept answers, and to the same documents."""
        known = {o.ids if (o := self._outcomes.get(id)) else None for id in cells}
        return len(known) == 1 and None not in known

    def change(self, first: Sequence[str], second: Sequence[str]) -> Change | None:
        """The difference of two groups, strict; None when a cell of them kept no answers.

        On the documents that all of them have, by id; where there are none, each on its own.
        """
        known = [o for id in (*first, *second) if (o := self._outcomes.get(id)) and o.strict is not None]
        if not first or not second or len(known) < len(first) + len(second):
            return None
        shared = set(known[0].ids).intersection(*(o.ids for o in known[1:]))
        if shared and any(len(o.ids) > len(shared) for o in known):
            a, b = (self._shared(cells, shared) for cells in (first, second))
        else:
            one, two = self.f1(first), self.f1(second)
            if one is None or two is None:
                return None
            a, b = one, two
        return Change(a.value, b.value, (b - a).difference(), len(shared), bool(shared))

    def bucketed(
        self, groups: Sequence[Sequence[str]], kind: str, names: Sequence[str]
    ) -> list[dict[str, Interval | None]]:
        """For each group of cells the interval of the F1 of each bucket: of `kind` `labels` or `lengths`.

        Empty for a group of which a cell kept no answers, or whose cells are on different documents.
        """
        found: list[dict[str, Interval | None]] = []
        for cells in groups:
            found.append({})
            if not names or not cells or not self.aligned(cells):
                continue
            outcomes = [self._outcomes[id] for id in cells]
            nothing = np.zeros((len(outcomes[0].ids), 3))
            counts = [np.asarray(o.buckets.get((kind, name), nothing), float) for o in outcomes for name in names]
            scored = self._scored(counts, outcomes[0].ids)
            for k, name in enumerate(names):
                found[-1][name] = self._over_seeds(cells, scored[k :: len(names)]).interval()
        return found

    def error_rate(self, cells: Sequence[str]) -> Interval | None:
        """The interval of the number of errors, of all cells together, for each of their gold entities."""
        known = [o for id in cells if (o := self._outcomes.get(id))]
        wrong = [o.errors for o in known if o.errors is not None]
        if not cells or len(wrong) < len(cells) or not self.aligned(cells):
            return None
        gold = np.sum([o.repaired[:, 0] + o.repaired[:, 2] for o in known], axis=0)
        values = summed(np.stack([np.sum(wrong, axis=0), gold], axis=1), self._units[known[0].ids])
        return rate(values[:, 0], values[:, 1]).interval()

    def _over_seeds(self, cells: Sequence[str], scored: Sequence[Estimate]) -> Estimate:
        """The mean over cells; what was trained several times, or else asked several times, differs by its seed."""
        trained = [self._trained.get(id) or id for id in cells]
        seeds = sorted(set(trained)) if len(set(trained)) > 1 else sorted(cells)
        if len(set(trained)) < 2:
            trained = list(cells)
        by_seed = [average([e for e, t in zip(scored, trained, strict=True) if t == seed]) for seed in seeds]
        return over_seeds(by_seed, ("seeds", *seeds))

    def _shared(self, cells: Sequence[str], shared: set[str]) -> Estimate:
        """The mean F1 of cells on some of their documents."""
        scored = []
        for id in cells:
            o = self._outcomes[id]
            rows = [i for i, name in enumerate(o.ids) if name in shared]
            units = [self._units[o.ids][i] for i in rows]
            assert o.strict is not None
            scored += self._scored([o.strict[rows]], tuple(o.ids[i] for i in rows), units)
        return self._over_seeds(cells, scored)

    def _scored(self, counts: Sequence[Array], ids: DocumentIds, units: Sequence[int] | None = None) -> list[Estimate]:
        """F1 of k arrays of counts `[n, 3]` of the same documents."""
        values = np.concatenate([f1_columns(*c.T) for c in counts], axis=1)  # [n, 2k]
        # The numbers of units are packed: no unit without a document.
        packed = np.unique(np.asarray(self._units[ids] if units is None else units), return_inverse=True)[1]
        sums = summed(values, packed.tolist())
        return shares(sums[:, 0::2], sums[:, 1::2], ("documents", ids))


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
    "? nothing could be told: no answers were kept, or there are too few documents"
)
"""What the marks mean; `family` says which comparisons are judged together."""
