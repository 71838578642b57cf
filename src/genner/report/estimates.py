"""Scores of groups of cells as estimates: intervals over units and seeds, and paired differences.

Cells on the same documents are jackknifed over the same units (groups of documents if recorded, else documents), so
their comparison is paired. The score of a group is the mean F1 of its cells (one cell per seed). With several seeds,
its interval covers units and seeds; with one seed, units alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genner.evaluation.intervals import average, f1_columns, over_seeds, rate, shares, summed
from genner.evaluation.jackknife import Array, Difference, Estimate, Interval
from genner.generations.readings import ReadingName
from genner.report.outcomes import CellOutcome

DocumentIds = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The difference of two groups, second minus first, over the `documents` that both answered.

    `paired` is False if they share no document, so that the two are independent.
    """

    first: float
    second: float
    difference: Difference
    documents: int
    paired: bool = True


class Estimates:
    """F1 of cells as estimates, computed on demand.

    `trained` maps a cell to its training, if it uses one: the same training in two groups is the same seed.
    """

    def __init__(self, outcomes: Mapping[str, CellOutcome], trained: Mapping[str, str] | None = None) -> None:
        self._outcomes = outcomes
        self._trained = trained or {}
        self._done: dict[tuple[str, ReadingName], Estimate] = {}
        # Some cells of a study may have recorded the groups of the documents, and others not.
        self._units: dict[DocumentIds, tuple[int, ...]] = {}
        for o in outcomes.values():
            known = self._units.get(o.ids)
            if known is None or len(set(o.units)) < len(set(known)):
                self._units[o.ids] = o.units

    def outcome(self, cell: str) -> CellOutcome | None:
        """The counted answers of a cell; None if it kept none."""
        return self._outcomes.get(cell)

    def outcomes(self, cells: Iterable[str]) -> list[CellOutcome]:
        """The counted answers of those cells that kept theirs."""
        return [self._outcomes[id] for id in cells if id in self._outcomes]

    def units(self, cell: str) -> int:
        """The number of units that a cell's intervals are over; 0 where it kept no answers."""
        known = self._outcomes.get(cell)
        return len(set(self._units[known.ids])) if known else 0

    def f1(self, cells: Sequence[str], rule: ReadingName = "strict") -> Estimate | None:
        """The mean F1 of cells by a rule.

        None without cells, if a cell kept no answers, or if the cells answered different documents.
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
        """The 95 % interval of `f1`; None if `f1` is None or there are too few units."""
        estimate = self.f1(cells, rule)
        return estimate.interval() if estimate else None

    def aligned(self, cells: Sequence[str]) -> bool:
        """Whether all these cells kept answers to the same documents."""
        known = {o.ids if (o := self._outcomes.get(id)) else None for id in cells}
        return len(known) == 1 and None not in known

    def change(self, first: Sequence[str], second: Sequence[str]) -> Change | None:
        """The difference in strict F1 of two groups; None if any of their cells kept no answers.

        Computed on the documents (by id) that all cells share; if there are none, on the documents of each group.
        """
        known = [o for id in (*first, *second) if (o := self._outcomes.get(id)) and o.strict is not None]
        if not first or not second or len(known) < len(first) + len(second):
            return None
        shared = set(known[0].ids).intersection(*(o.ids for o in known[1:]))
        if shared and any(len(o.ids) > len(shared) for o in known):
            # Each outcome counts its units in its own order, so both sides take those of one: the one that groups most.
            units = min((self._units_of(o, shared) for o in known), key=lambda found: len(set(found.values())))
            a, b = (self._shared(cells, units) for cells in (first, second))
        else:
            one, two = self.f1(first), self.f1(second)
            if one is None or two is None:
                return None
            a, b = one, two
        return Change(a.value, b.value, (b - a).difference(), len(shared), bool(shared))

    def bucketed(
        self, groups: Sequence[Sequence[str]], kind: str, names: Sequence[str]
    ) -> list[dict[str, Interval | None]]:
        """For each group of cells, the interval of the F1 of each bucket; `kind` is `labels` or `lengths`.

        Empty for a group in which a cell kept no answers, or whose cells answered different documents.
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
        """The interval of the number of errors per gold entity, over all cells together."""
        known = [o for id in cells if (o := self._outcomes.get(id))]
        wrong = [o.errors for o in known if o.errors is not None]
        if not cells or len(wrong) < len(cells) or not self.aligned(cells):
            return None
        gold = np.sum([o.repaired[:, 0] + o.repaired[:, 2] for o in known], axis=0)
        values = summed(np.stack([np.sum(wrong, axis=0), gold], axis=1), self._units[known[0].ids])
        return rate(values[:, 0], values[:, 1]).interval()

    def _over_seeds(self, cells: Sequence[str], scored: Sequence[Estimate]) -> Estimate:
        """The mean over cells. Seeds are trainings if there are several, else repeated runs."""
        trained = [self._trained.get(id) or id for id in cells]
        seeds = sorted(set(trained)) if len(set(trained)) > 1 else sorted(cells)
        if len(set(trained)) < 2:
            trained = list(cells)
        by_seed = [average([e for e, t in zip(scored, trained, strict=True) if t == seed]) for seed in seeds]
        return over_seeds(by_seed, ("seeds", *seeds))

    def _units_of(self, outcome: CellOutcome, shared: set[str]) -> dict[str, int]:
        """The units of some documents by id, as an outcome counts them."""
        units = zip(outcome.ids, self._units[outcome.ids], strict=True)
        return {name: unit for name, unit in units if name in shared}

    def _shared(self, cells: Sequence[str], units: Mapping[str, int]) -> Estimate:
        """The mean F1 of cells on the documents in `units`."""
        scored = []
        for id in cells:
            o = self._outcomes[id]
            rows = [i for i, name in enumerate(o.ids) if name in units]
            names = tuple(o.ids[i] for i in rows)
            assert o.strict is not None
            scored += self._scored([o.strict[rows]], names, [units[name] for name in names])
        return self._over_seeds(cells, scored)

    def _scored(self, counts: Sequence[Array], ids: DocumentIds, units: Sequence[int] | None = None) -> list[Estimate]:
        """F1 of k arrays of counts `[n, 3]` of the same documents."""
        values = np.concatenate([f1_columns(*c.T) for c in counts], axis=1)  # [n, 2k]
        # Renumber the units so that none is without a document.
        packed = np.unique(np.asarray(self._units[ids] if units is None else units), return_inverse=True)[1]
        sums = summed(values, packed.tolist())
        return shares(sums[:, 0::2], sums[:, 1::2], ("documents", ids))


def corrected(found: Sequence[Difference | None]) -> list[Difference | None]:
    """The differences corrected for their number: their intervals hold jointly at 95 %."""
    several = sum(d is not None for d in found)
    return [d and d.among(several) for d in found]


def stars(d: Difference | None) -> str:
    """`*` if the 95 % interval excludes 0, `**` if the 99 % interval does; `?` if nothing can be said."""
    if d is None or not d.known:
        return "?"
    return "**" if d.p <= 0.01 + 1e-12 else "*" if d.sure else ""


STARS = (
    "* the interval of the difference does not hold 0, at 95 % for all {family} together (Bonferroni); ** nor at 99 %; "
    "? nothing could be told: no answers were kept, or there are too few documents"
)
"""The meaning of the marks; `family` names the comparisons that are corrected together."""
