"""How much of a format's deficit is decoding: the same adapter free, and under the grammar.

For a system on a test set, `b` is the format that is best when decoded freely. With F the free score and G that under
the grammar, the deficit of a format f is F(b) - F(f) when free and G(b) - G(f) under the grammar; what the grammar
closes is the difference of the two, in points and as a share of the free deficit. All of it is resampled together, so
that each figure has its paired interval. The share is given only where the interval of the free deficit lies above 0:
the share of a deficit that may be none means nothing.

Only trainings that were decoded in both ways count, so that the adapters are the very same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from genner.evaluation.bootstrap import Array, Difference
from genner.report.collect import DECODED, DECODINGS, Group, Item, Key, System, TestSet, absence
from genner.report.draws import holm, interval, stars, statistic
from genner.report.measures import Source
from genner.report.paper import FORMATS
from genner.report.table import Column, Entry, Missing, Row, Table, Value

GRAMMAR = "grammar"


@dataclass(frozen=True, slots=True)
class Pair:
    """One format, free and under the grammar, by the same trainings: the cells of both, and their scores."""

    format: str
    free: Entry
    sampled: Entry
    grammar: Entry
    dropped: int = 0

    @property
    def both(self) -> bool:
        return isinstance(self.free, Value) and isinstance(self.grammar, Value)


@dataclass(frozen=True, slots=True)
class Closing:
    """What the grammar closes of one format's deficit; a figure is None where it cannot be had."""

    pair: Pair
    gain: Difference | None = None
    free: Difference | None = None
    grammar: Difference | None = None
    closed: Difference | None = None
    share: tuple[float, float, float] | None = None


def decoding_tables(source: Source) -> list[Table]:
    """A table for each test set on which something was decoded both freely and under the grammar."""
    tables = []
    for n, test in enumerate(source.collection.tests()):
        for free in ("greedy", "sampled"):
            systems = _systems(source, test, free)
            if systems:
                tables.append(_table(source, test, systems, free, n))
                break
    return tables


def _systems(source: Source, test: TestSet, free: str) -> list[System]:
    groups = [g.key for g in source.collection.scores() if g.key.test == test]
    both = [{k.system for k in groups if k.decoding == decoding} for decoding in (free, GRAMMAR)]
    return sorted(both[0] & both[1])


def pairs(source: Source, system: System, test: TestSet, free: str) -> list[Pair]:
    """Each format of a system, decoded in the ways there are; the trainings common to `free` and the grammar."""
    collection = source.collection
    known = {g.key.format for g in collection.scores() if g.key.test == test and g.key.system == system}
    found = []
    for format in [f for f in FORMATS if f in known] + sorted(known - set(FORMATS)):
        groups = {d: collection.get(Key(system, format, test, d)) for d in DECODINGS}
        one, two = groups[free].trained(), groups[GRAMMAR].trained()
        common = one.keys() & two.keys()
        dropped = len(one.keys() ^ two.keys()) if common else 0
        picked = {d: _picked(source, group, common) for d, group in groups.items()}
        found.append(Pair(format, picked[free], picked["sampled"], picked[GRAMMAR], dropped))
    return found


def _picked(source: Source, group: Group, common: set[str | None]) -> Entry:
    """The score by the `common` trainings, each with the same weight; by all where nothing is common."""
    trained = group.trained()
    items: list[Item] = [item for id, found in trained.items() if not common or id in common for item in found]
    values = [v for item in items if (v := item.metric("strict", "f1")) is not None]
    if not values or len(values) < len(items):
        return absence(group.items) if not items else Missing("undefined", tuple(i.id for i in items), "no such figure")
    cells = tuple(item.id for item in items)
    low, high = source.draws.interval(cells) or (None, None)
    return Value(sum(values) / len(values), low=low, high=high, cells=cells)


def closings(source: Source, found: Sequence[Pair]) -> tuple[str, list[Closing]]:
    """The format that is best when free (empty when none is known), and what the grammar closes of each format's
    deficit to it."""
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
        nf, ng = _number(pair.free), _number(pair.grammar)
        gain = statistic(lambda f, g: g - f, ng - nf, f, g)
        if pair is best or base is None:
            result.append(Closing(pair, gain))
            continue
        bf, bg = base
        nbf, nbg = _number(best.free), _number(best.grammar)
        free = statistic(lambda b, f: b - f, nbf - nf, bf, f)
        under = statistic(lambda b, g: b - g, nbg - ng, bg, g)
        closed = statistic(lambda bf, f, bg, g: (bf - f) - (bg - g), (nbf - nf) - (nbg - ng), bf, f, bg, g)
        share = None
        if free.low > 0:
            deficits = bf - f
            shares = 1 - (bg - g) / np.where(deficits > 0, deficits, np.nan)
            low, high = interval(shares[np.isfinite(shares)])
            share = (closed.value / free.value, low, high)
        result.append(Closing(pair, gain, free, under, closed, share))
    return best.format, result


def _scores(source: Source, pair: Pair) -> tuple[Array, Array] | None:
    assert isinstance(pair.free, Value)
    assert isinstance(pair.grammar, Value)
    free, grammar = source.draws.f1(pair.free.cells), source.draws.f1(pair.grammar.cells)
    return None if free is None or grammar is None else (free, grammar)


def _aligned(source: Source, *found: Pair) -> bool:
    """Whether all these answers are to the same documents, so that they are resampled together."""
    return source.draws.aligned(
        [id for p in found for e in (p.free, p.grammar) if isinstance(e, Value) for id in e.cells]
    )


def _number(entry: Entry) -> float:
    assert isinstance(entry, Value)
    return entry.number


def _table(source: Source, test: TestSet, systems: Sequence[System], free: str, n: int) -> Table:
    rows, notes = [], []
    for system in systems:
        found = pairs(source, system, test, free)
        best, results = closings(source, found)
        adjusted = _adjusted(results)
        for closing, p in zip(results, adjusted, strict=True):
            rows.append(Row((closing.pair.format,), _entries(closing, closing.pair.format == best, p), system.title))
            if closing.pair.dropped:
                notes.append(
                    f"{system.title}, {closing.pair.format}: {closing.pair.dropped} trainings that were decoded in one "
                    "way only are left out."
                )
    return Table(
        f"decoding-{n + 1}",
        f"Free and under the grammar, by the same adapters: {source.collection.title(test)}",
        ("Format",),
        (
            Column("greedy", "Strict F1"),
            Column("sampled", "Strict F1"),
            Column("grammar", "Strict F1"),
            Column("gain", "By the grammar"),
            Column("free", "Deficit to the best format"),
            Column("grammar", "Deficit to the best format"),
            Column("points", "Closed by the grammar"),
            Column("share, %", "Closed by the grammar"),
        ),
        tuple(rows),
        f"{test.about}. Gain: grammar less free ({free}). Deficits: to the format that is best when decoded "
        f"{DECODED[free]}, in bold.",
        (
            "Intervals at 95 %, paired bootstrap over documents. Gain: * p < 0.05, ** p < 0.01, adjusted by Holm's "
            "method for the formats of a system; ? no test was possible.",
            "Closed: the free deficit less that under the grammar, and its share of the free deficit, which is "
            "given only where the interval of the free deficit lies above 0.",
            *notes,
        ),
    )


def _adjusted(results: Sequence[Closing]) -> list[float | None]:
    ps = [c.gain.p for c in results if c.gain]
    adjusted = iter(holm(ps))
    return [next(adjusted) if c.gain else None for c in results]


def _entries(closing: Closing, best: bool, p: float | None) -> tuple[Entry, ...]:
    pair = closing.pair
    cells = tuple(dict.fromkeys(id for e in (pair.free, pair.grammar) if isinstance(e, Value) for id in e.cells))
    free = pair.free
    sampled = pair.sampled
    greedy: Entry = Missing("absent") if free is sampled else free
    if best and isinstance(free, Value):
        greedy, sampled = (greedy, replace(free, best=True)) if free is sampled else (replace(free, best=True), sampled)
    gap = Missing("undefined", cells, "one of the two was not run, or kept no answers")

    def points(d: Difference | None) -> Entry:
        return Value(d.value, "gap", d.low, d.high, cells=cells) if d else gap

    gain: Entry = gap
    if closing.gain:
        d = closing.gain
        gain = Value(d.value, "points", d.low, d.high, p=p, mark=stars(p), cells=cells)
    if best:
        none = Missing("undefined", cells, "this is the best format")
        return greedy, sampled, pair.grammar, gain, none, none, none, none
    share: Entry = gap
    if closing.share:
        share = Value(closing.share[0], "percent", closing.share[1], closing.share[2], cells=cells)
    elif closing.free:
        share = Missing("undefined", cells, "the interval of the free deficit holds 0")
    deficits = points(closing.free), points(closing.grammar), points(closing.closed)
    return greedy, sampled, pair.grammar, gain, *deficits, share
