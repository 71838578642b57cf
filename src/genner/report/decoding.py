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

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from genner.assess.scoring import GRAMMAR
from genner.evaluation.intervals import Difference, Estimate
from genner.generations.readings import ReadingName
from genner.report.common import DECODED, FAULTS, FREE, cells_of, in_order, without_interval
from genner.report.estimates import STARS, together
from genner.report.measures import Source, limits, points
from genner.report.outcomes import MEANINGS, RULES
from genner.report.results import CellGroup, CellItem, GroupKey, System, TestSet, absence
from genner.report.table import Column, Entry, Listing, Missing, Table, TableRow, Value, detail, shown


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


@dataclass(frozen=True, slots=True)
class Closing:
    """The part of a format's deficit that the grammar closes; a figure that cannot be computed is None."""

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


def decoding_tables(source: Source) -> list[Table]:
    """A table for each test set that was decoded both freely and under the grammar."""
    return [_table(source, test, systems, free, n) for n, test, systems, free in _both(source)]


def decoding_findings(source: Source) -> Listing | None:
    """The findings in sentences for each system, test set and rule; None where nothing was decoded in both ways."""
    lines = []
    for _, test, systems, free in _both(source):
        for system in systems:
            for rule in RULES:
                lines += rule_findings(source, test, system, free, rule)
    return Listing(tuple(lines)) if lines else None


def rule_findings(source: Source, test: TestSet, system: System, free: str, rule: ReadingName) -> list[str]:
    """Sentences that say what the grammar closes, gains and costs by a rule; empty if unknown."""
    best, found = closings(source, pairs(source, system, test, free, rule))
    head = f"{source.collection.title(test)}, {system.title}, {RULES[rule]} ({source.collection.count(test)})"
    said = []
    others = sorted([c for c in found if c.free and c.closed], key=lambda c: -c.free.value if c.free else 0.0)
    if others:
        sure = [_closed(c) for c in others if c.share is not None]
        unsure = [c.pair.format for c in others if c.free and c.free.low > 0 and c.share is None]
        even = [c.pair.format for c in others if c.free and c.free.low <= 0]
        way = f"against {best} when decoded {DECODED[free]}"
        parts = [f"of what a format lacks {way}, the grammar {'; '.join(sure)}"] if sure else []
        parts += [f"whether it closes any of what {', '.join(unsure)} lacks cannot be told"] if unsure else []
        if even:
            more = "" if sure or unsure else f" {way}"
            parts.append(f"it cannot be told that {', '.join(even)} lacks anything{more}")
        said.append(f"{head}: {'. '.join(p[0].upper() + p[1:] if i else p for i, p in enumerate(parts))}.")
    gains = [(c.pair.format, c.gain) for c in found if c.gain]
    for verb, sign in (("costs", -1), ("gains", 1)):
        some = [_points(format, d) for format, d in gains if d.sure and sign * d.value > 0]
        if some:
            said.append(f"{head}: against free answers the grammar {verb} F1 in {'; '.join(some)}.")
    if untold := [format for format, d in gains if not d.sure]:
        said.append(f"{head}: whether the grammar gains or costs F1 cannot be told in {', '.join(untold)}.")
    return said


def _points(format: str, d: Difference) -> str:
    low, high = sorted((abs(d.low), abs(d.high)))
    return f"{format} by {shown(Value(abs(d.value), 'gap'))} points ({detail(Value(0, 'gap', low, high))})"


def _closed(closing: Closing) -> str:
    assert closing.free
    assert closing.closed
    assert closing.share is not None
    d = closing.closed
    low, high = sorted((abs(d.low), abs(d.high)))
    points = Value(abs(d.value), "gap", low, high)
    share = shown(Value(abs(closing.share), "percent"))
    lacks = f"{100 * closing.free.value:.2f} points of {closing.pair.format}"
    if d.value < 0:
        return f"widens the {lacks} by {shown(points)} ({detail(points)}), {share} %"
    return f"closes {shown(points)} of {lacks} ({detail(points)}), {share} %"


def _both(source: Source) -> list[tuple[int, TestSet, list[System], str]]:
    """The test sets with their indices, the systems decoded in both ways on each, and the free decoding."""
    found = []
    for n, test in enumerate(source.collection.tests()):
        free = next((free for free in FREE if _systems(source, test, free)), None)
        if free:
            found.append((n, test, _systems(source, test, free), free))
    return found


def _systems(source: Source, test: TestSet, free: str) -> list[System]:
    groups = [g.key for g in source.collection.scores() if g.key.test == test]
    both = [{k.system for k in groups if k.decoding == decoding} for decoding in (free, GRAMMAR)]
    return sorted(both[0] & both[1])


def pairs(source: Source, system: System, test: TestSet, free: str, rule: ReadingName = "strict") -> list[DecodingPair]:
    """The formats of a system that were decoded in both ways, restricted to trainings common to `free` and the
    grammar."""
    collection = source.collection
    known = {g.key.format for g in collection.scores() if g.key.test == test and g.key.system == system}
    found = []
    for format in in_order(known):
        groups = [collection.get(GroupKey(system, format, test, d)) for d in (free, GRAMMAR)]
        one, two = (group.trained().keys() for group in groups)
        common = one & two
        dropped = len(one ^ two) if common else 0
        picked = [_picked(source, group, common, rule) for group in groups]
        found.append(DecodingPair(format, picked[0], picked[1], rule, dropped))
    return found


def _picked(source: Source, group: CellGroup, common: Collection[str | None], rule: ReadingName) -> Entry:
    """The score over the `common` trainings, equally weighted; over all trainings if none is common."""
    trained = group.trained()
    items: list[CellItem] = [item for id, found in trained.items() if not common or id in common for item in found]
    values = [v for item in items if (v := item.metric(rule, "f1")) is not None]
    if not values or len(values) < len(items):
        return absence(group.items) if not items else Missing("undefined", tuple(i.id for i in items), "no such figure")
    cells = tuple(item.id for item in items)
    low, high = source.estimates.interval(cells, rule) or (None, None)
    return Value(sum(values) / len(values), low=low, high=high, cells=cells)


def closings(source: Source, found: Sequence[DecodingPair]) -> tuple[str, list[Closing]]:
    """The format with the best free score (empty if unknown), and how much of each format's deficit to it the grammar
    closes. The intervals of each figure hold at 95 % for all formats jointly."""
    whole = [p for p in found if p.both]
    if not whole:
        return "", [Closing(p) for p in found]
    best = max(whole, key=lambda p: _number(p.free))
    base = _scores(source, best)
    result = []
    for pair in found:
        scores = _scores(source, pair) if pair.both and _aligned(source, pair, best) else None
        if scores is None:
            result.append(Closing(pair))
            continue
        f, g = scores
        gain = (g - f).difference()
        if pair is best or base is None:
            result.append(Closing(pair, gain))
            continue
        bf, bg = base
        free, under = bf - f, bg - g
        result.append(Closing(pair, gain, free.difference(), under.difference(), (free - under).difference()))
    figures = [together([getattr(c, name) for c in result]) for name in ("gain", "free", "grammar", "closed")]
    return best.format, [Closing(c.pair, *judged) for c, *judged in zip(result, *figures, strict=True)]


def _scores(source: Source, pair: DecodingPair) -> tuple[Estimate, Estimate] | None:
    assert isinstance(pair.free, Value)
    assert isinstance(pair.grammar, Value)
    free, grammar = (source.estimates.f1(e.cells, pair.rule) for e in (pair.free, pair.grammar))
    return None if free is None or grammar is None else (free, grammar)


def _aligned(source: Source, *found: DecodingPair) -> bool:
    """Whether all these cells answered the same documents, so that they can be compared unit by unit."""
    return source.estimates.aligned(
        [id for p in found for e in (p.free, p.grammar) if isinstance(e, Value) for id in e.cells]
    )


def _number(entry: Entry) -> float:
    assert isinstance(entry, Value)
    return entry.number


def _table(source: Source, test: TestSet, systems: Sequence[System], free: str, n: int) -> Table:
    rows, notes = [], []
    asked: set[float] = set()  # answers that a format gave
    for system in systems:
        for rule, name in RULES.items():
            found = pairs(source, system, test, free, rule)
            found = [p for p in found if p.both or rule == "strict"]
            best, results = closings(source, found)
            for closing in results:
                asked.add(_answers(source, closing.pair.free))
                entries = (*_entries(closing, closing.pair.format == best), *_faults(source, closing.pair))
                rows.append(TableRow((closing.pair.format,), entries, f"{system.title}, {name}"))
            notes += [
                f"{system.title}, {pair.format}: {pair.dropped} trainings that were decoded in one way only are left "
                "out."
                for pair in found
                if pair.dropped and rule == "strict"
            ]
    several = asked - {0.0}
    of = f"Of {several.pop():,.0f} free answers" if len(several) == 1 else "Free answers"
    return Table(
        f"decoding-{n + 1}",
        f"How much of each format's deficit is decoding: {source.collection.title(test)}",
        ("Format",),
        (
            Column("free", "F1"),
            Column("grammar", "F1"),
            Column("gain", "By the grammar"),
            Column("free", "Deficit to the best format"),
            Column("grammar", "Deficit to the best format"),
            Column("points", "Closed by the grammar"),
            Column("share, %", "Closed by the grammar"),
            *(Column(name, of) for name in (*FAULTS, "misplaced")),
        ),
        tuple(rows),
        f"{source.collection.about(test)}. The same adapters, decoded {DECODED[free]} and under the grammar. "
        "F1 and shares in percent, differences in points. Deficits: to the format that is best when free, in bold.",
        (
            "How a free answer is read: " + "; ".join(MEANINGS.values()) + ".",
            "Intervals of differences: paired, over documents or their groups, at 95 % for the formats of a system and "
            f"rule together. Gain: {STARS.format(family='formats of a system and rule')}.",
            "Closed: the free deficit less that under the grammar, and its share of the free deficit, which is "
            "given only where neither interval holds 0.",
            "Free answers: how many break their format, hold what is neither in the text nor a label, end before the "
            "text does (one may be counted under several); and the mentions that the repaired reading had to put in "
            "another place (offsets, occurrence, a copy that differs).",
            *notes,
        ),
    )


def _answers(source: Source, free: Entry) -> float:
    items = [source.collection.items[id] for id in free.cells] if isinstance(free, Value) else []
    return sum(item.metric("documents") or 0 for item in items)


def _faults(source: Source, pair: DecodingPair) -> list[Entry]:
    """The number of free answers with each fault, and the number of misplaced mentions."""
    if not isinstance(pair.free, Value):
        return [pair.free] * (len(FAULTS) + 1)
    items = [source.collection.items[id] for id in pair.free.cells]
    faulty = [sum((i.metric(key) or 0) * (i.metric("documents") or 0) for i in items) for key in FAULTS]
    misplaced = sum(item.metric("problems", "realigned") or 0 for item in items)
    return [Value(number, "count", cells=pair.free.cells) for number in (*faulty, misplaced)]


def _entries(closing: Closing, best: bool) -> tuple[Entry, ...]:
    pair = closing.pair
    cells = cells_of(e for e in (pair.free, pair.grammar) if isinstance(e, Value))
    # Their intervals are in the main tables; this table is about the differences.
    free, grammar = (without_interval(e) for e in (pair.free, pair.grammar))
    free = replace(free, best=best) if isinstance(free, Value) else free
    gap = Missing("undefined", cells, "one of the two was not run, or kept no answers")

    def lacking(d: Difference | None) -> Entry:
        return Value(d.value, "gap", *limits(d), cells=cells) if d else gap

    gain = points(closing.gain, cells) if closing.gain else gap
    if best:
        none = Missing("undefined", cells, "this is the best format")
        return free, grammar, gain, none, none, none, none
    share: Entry = gap
    if closing.share is not None:
        share = Value(closing.share, "percent", cells=cells)  # its interval is that of the points, but less stable
    elif closing.free:
        share = Missing("undefined", cells, "an interval holds 0")
    return free, grammar, gain, lacking(closing.free), lacking(closing.grammar), lacking(closing.closed), share
