"""How much of a format's deficit is decoding: the same adapter free, and under the grammar.

For a system on a test set, `b` is the format that is best when decoded freely. With F the free score and G that under
the grammar, the deficit of a format f is F(b) - F(f) when free and G(b) - G(f) under the grammar; the grammar closes
the difference of the two, in points and as a share of the free deficit. All are over the same units, so each figure has
a paired interval. The share is given only where the interval of the free deficit lies above 0: a share of a deficit
that may be 0 has no meaning.

Only trainings that were decoded in both ways count, so both scores come from the same adapters.

All figures are given for the three readings of a free answer (`genner.generations.readings`): the paper's rule; strict,
which takes an answer literally; repaired, which looks up in the text a mention that the answer misplaces. A reader
makes up the difference between the last two without any grammar, so only the repaired reading isolates the effect of
the grammar. That effect may be a loss of F1, which is reported like a gain.

A statement needs an interval that excludes 0; the intervals of the formats of a system and rule hold jointly at 95 %.
Otherwise the report says that the effect cannot be told, and from how many documents.
"""

from collections.abc import Collection
from dataclasses import dataclass

from genner.assess.scoring import GRAMMAR
from genner.evaluation.jackknife import Difference, Estimate
from genner.generations.readings import ReadingName
from genner.report.cell_items import absence
from genner.report.entries import cells_of, values_of
from genner.report.estimates import corrected
from genner.report.results import CellGroup, System
from genner.report.source import ScoredTest
from genner.report.table import Entry, Missing, Value
from genner.report.terms import FREE, in_order


@dataclass(frozen=True, slots=True)
class DecodingPair:
    """One format, free and under the grammar, from the same trainings: the cells and scores by a rule. `dropped` counts
    trainings that were decoded in one way only."""

    format: str
    free: Entry
    grammar: Entry
    rule: ReadingName = "strict"
    dropped: int = 0

    @property
    def both(self) -> bool:
        return isinstance(self.free, Value) and isinstance(self.grammar, Value)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the scores that are known."""
        return cells_of(values_of((self.free, self.grammar)))


@dataclass(frozen=True, slots=True)
class FormatDeficit:
    """The deficit of a format to the best one, `free` and under the `grammar`, the part of it that the grammar closes,
    and what the format gains by the grammar; a figure that cannot be computed is None."""

    pair: DecodingPair
    gain: Difference | None = None
    free: Difference | None = None
    grammar: Difference | None = None
    closed: Difference | None = None

    @property
    def share(self) -> float | None:
        """The part that the grammar closes as a share of the free deficit; None where the interval of either contains
        0."""
        if not self.free or not self.closed or self.free.low <= 0 or not self.closed.sure:
            return None
        return self.closed.value / self.free.value


def decoded_both_ways(test: ScoredTest) -> tuple[str, list[System]]:
    """The free decoding of a test set that has systems decoded in both ways, and these systems; empty without any."""
    for free in FREE:
        one, two = ({g.key.system for g in test.groups if g.key.decoding == d} for d in (free, GRAMMAR))
        if one & two:
            return free, sorted(one & two)
    return "", []


def decoding_pairs(test: ScoredTest, system: System, free: str, rule: ReadingName = "strict") -> list[DecodingPair]:
    """The formats of a system that were decoded in both ways, restricted to trainings common to `free` and the
    grammar."""
    found = []
    for format in in_order(g.key.format for g in test.groups if g.key.system == system):
        groups = [test.get(system, format, decoding) for decoding in (free, GRAMMAR)]
        one, two = (group.trained().keys() for group in groups)
        common = one & two
        entries = [_score_of_trainings(test, group, common, rule) for group in groups]
        found.append(DecodingPair(format, entries[0], entries[1], rule, len(one ^ two) if common else 0))
    return found


def _score_of_trainings(test: ScoredTest, group: CellGroup, common: Collection[str | None], rule: ReadingName) -> Entry:
    """The score over the `common` trainings, equally weighted; over all trainings if none is common."""
    items = [item for id, found in group.trained().items() if not common or id in common for item in found]
    values = [v for item in items if (v := item.metric(rule, "f1")) is not None]
    if not values or len(values) < len(items):
        return absence(group.items) if not items else Missing("undefined", tuple(i.id for i in items), "no such figure")
    cells = tuple(item.id for item in items)
    return Value.of(sum(values) / len(values), "f1", test.source.estimates.interval(cells, rule), cells=cells)


def format_deficits(
    test: ScoredTest, system: System, free: str, rule: ReadingName = "strict"
) -> tuple[str, list[FormatDeficit]]:
    """The format with the best free score (empty if unknown), and how much of each format's deficit to it the grammar
    closes. The intervals of each figure hold at 95 % for all formats jointly."""
    pairs = decoding_pairs(test, system, free, rule)
    whole = [p for p in pairs if p.both]
    if not whole:
        return "", [FormatDeficit(p) for p in pairs]
    best = max(whole, key=lambda p: p.free.number if isinstance(p.free, Value) else 0.0)
    of_best = _estimates(test, best)
    found = []
    for pair in pairs:
        # Scores are compared unit by unit, so all cells must have answered the same documents.
        aligned = pair.both and test.source.estimates.aligned([*pair.cells, *best.cells])
        scores = _estimates(test, pair) if aligned else None
        if scores is None:
            found.append(FormatDeficit(pair))
            continue
        gain = (scores[1] - scores[0]).difference()
        if pair is best or of_best is None:
            found.append(FormatDeficit(pair, gain))
            continue
        lacks, under = of_best[0] - scores[0], of_best[1] - scores[1]
        figures = lacks.difference(), under.difference(), (lacks - under).difference()
        found.append(FormatDeficit(pair, gain, *figures))
    columns = [corrected([getattr(c, name) for c in found]) for name in ("gain", "free", "grammar", "closed")]
    return best.format, [FormatDeficit(c.pair, *figures) for c, *figures in zip(found, *columns, strict=True)]


def _estimates(test: ScoredTest, pair: DecodingPair) -> tuple[Estimate, Estimate] | None:
    """The scores of a pair as estimates; None if one is unknown."""
    free, grammar = (test.source.estimates.f1(e.cells, pair.rule) for e in (pair.free, pair.grammar))
    return None if free is None or grammar is None else (free, grammar)
