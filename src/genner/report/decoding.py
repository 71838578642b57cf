"""How much of a format's deficit is decoding: the same adapter free, and under the grammar.

For a system on a test set, `b` is the format that is best when decoded freely. With F the free score and G that under
the grammar, the deficit of a format f is F(b) - F(f) when free and G(b) - G(f) under the grammar; what the grammar
closes is the difference of the two, in points and as a share of the free deficit. All of it is resampled together, so
that each figure has its paired interval. The share is given only where the interval of the free deficit lies above 0:
the share of a deficit that may be none means nothing.

Only trainings that were decoded in both ways count, so that the adapters are the very same.

All of it is worked out by both rules. Strictly, a mention whose offsets are wrong counts where it stands in the text,
for reading a free answer puts it there; by the paper's rule it counts where the answer said. So the paper's rule tells
what a format lacks as it is written, the strict score what it lacks when answers are read with care.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genner.evaluation.bootstrap import Array, Difference
from genner.report.collect import DECODED, Group, Item, Key, System, TestSet, absence
from genner.report.draws import holm, interval, stars, statistic
from genner.report.measures import Source
from genner.report.paper import FORMATS
from genner.report.table import Column, Entry, Listing, Missing, Row, Table, Value, detail, shown

GRAMMAR = "grammar"
FREE = ("greedy", "sampled")
RULES = {False: "strict", True: "by the paper's rule"}
FAULTS = {"invalid": "invalid", "hallucinated": "hallucinated", "truncated": "truncated"}
"""What may be wrong with an answer, by its name in the metrics."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One format, free and under the grammar, by the same trainings: the cells of both, and their scores; `published`
    says by which rule. `dropped` trainings were decoded in one way only."""

    format: str
    free: Entry
    grammar: Entry
    published: bool = False
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
    return [_table(source, test, systems, free, n) for n, test, systems, free in _both(source)]


def decoding_findings(source: Source) -> Listing | None:
    """The answer in a sentence for each system, test set and rule; None where nothing was decoded in both ways."""
    lines = []
    for _, test, systems, free in _both(source):
        for system in systems:
            for published, rule in RULES.items():
                best, found = closings(source, pairs(source, system, test, free, published))
                others = [c for c in found if c.free and c.closed]
                sure = [_said(c) for c in sorted(others, key=lambda c: -c.free.value if c.free else 0.0) if c.share]
                unsure = [c.pair.format for c in others if not c.share]
                if not others:
                    continue
                head, way = f"{source.collection.title(test)}, {system.title}, {rule}", f"when decoded {DECODED[free]}"
                if not sure:
                    lines.append(f"{head}: no format is certain to lack anything against {best} {way}.")
                    continue
                rest = f" Not certain to lack anything: {', '.join(unsure)}." if unsure else ""
                lines.append(
                    f"{head}: of what a format lacks against {best} {way}, the grammar closes {'; '.join(sure)}.{rest}"
                )
    return Listing(tuple(lines)) if lines else None


def _said(closing: Closing) -> str:
    assert closing.free
    assert closing.closed
    d = closing.closed
    points = Value(d.value, "gap", d.low, d.high)
    return (
        f"{shown(points)} of {100 * closing.free.value:.2f} points of {closing.pair.format} ({detail(points)}), "
        f"{shown(Value(closing.share[0] if closing.share else 0.0, 'percent'))} %"
    )


def _both(source: Source) -> list[tuple[int, TestSet, list[System], str]]:
    """The test sets with their numbers, the systems that were decoded in both ways there, and the free way."""
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


def pairs(source: Source, system: System, test: TestSet, free: str, published: bool = False) -> list[Pair]:
    """Each format of a system, decoded in both ways; the trainings common to `free` and the grammar."""
    collection = source.collection
    known = {g.key.format for g in collection.scores() if g.key.test == test and g.key.system == system}
    found = []
    for format in [f for f in FORMATS if f in known] + sorted(known - set(FORMATS)):
        groups = [collection.get(Key(system, format, test, d)) for d in (free, GRAMMAR)]
        one, two = (group.trained().keys() for group in groups)
        common = one & two
        dropped = len(one ^ two) if common else 0
        picked = [_picked(source, group, common, published) for group in groups]
        found.append(Pair(format, picked[0], picked[1], published, dropped))
    return found


def _picked(source: Source, group: Group, common: Collection[str | None], published: bool) -> Entry:
    """The score by the `common` trainings, each with the same weight; by all where nothing is common."""
    trained = group.trained()
    items: list[Item] = [item for id, found in trained.items() if not common or id in common for item in found]
    rule = "published" if published else "strict"
    values = [v for item in items if (v := item.metric(rule, "f1")) is not None]
    if not values or len(values) < len(items):
        return absence(group.items) if not items else Missing("undefined", tuple(i.id for i in items), "no such figure")
    cells = tuple(item.id for item in items)
    low, high = source.draws.interval(cells, published) or (None, None)
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
    free, grammar = (source.draws.f1(e.cells, pair.published) for e in (pair.free, pair.grammar))
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
    asked: set[float] = set()  # answers that a format gave
    for system in systems:
        for published, rule in RULES.items():
            found = pairs(source, system, test, free, published)
            found = [p for p in found if p.both or not published]
            best, results = closings(source, found)
            adjusted = _adjusted(results)
            for closing, p in zip(results, adjusted, strict=True):
                asked.add(_answers(source, closing.pair.free))
                entries = (*_entries(closing, closing.pair.format == best, p), *_faults(source, closing.pair))
                rows.append(Row((closing.pair.format,), entries, f"{system.title}, {rule}"))
            notes += [
                f"{system.title}, {pair.format}: {pair.dropped} trainings that were decoded in one way only are left "
                "out."
                for pair in found
                if pair.dropped and not published
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
            *(Column(name, of) for name in (*FAULTS.values(), "misplaced")),
        ),
        tuple(rows),
        f"{test.about}. The same adapters, decoded {DECODED[free]} and under the grammar. F1 and shares in percent, "
        "differences in points. Deficits: to the format that is best when free, in bold.",
        (
            "Strict: a mention that a free answer puts in a wrong place counts where it stands in the text. By the "
            "paper's rule it counts where the answer puts it, so that wrong offsets cost their score.",
            "Intervals at 95 %, paired bootstrap over documents. Gain: * p < 0.05, ** p < 0.01, adjusted by Holm's "
            "method for the formats of a system and rule; ? no test was possible.",
            "Closed: the free deficit less that under the grammar, and its share of the free deficit, which is "
            "given only where the interval of the free deficit lies above 0.",
            "Free answers: how many break their format, hold what is neither in the text nor a label, end before the "
            "text does (one may be counted under several); and the mentions that reading had to put in another place "
            "(offsets, occurrence, a copy that differs).",
            *notes,
        ),
    )


def _answers(source: Source, free: Entry) -> float:
    items = [source.collection.items[id] for id in free.cells] if isinstance(free, Value) else []
    return sum(item.metric("documents") or 0 for item in items)


def _faults(source: Source, pair: Pair) -> list[Entry]:
    """How many free answers have each fault, and how many mentions were in a wrong place."""
    if not isinstance(pair.free, Value):
        return [pair.free] * (len(FAULTS) + 1)
    items = [source.collection.items[id] for id in pair.free.cells]
    faulty = [sum((i.metric(key) or 0) * (i.metric("documents") or 0) for i in items) for key in FAULTS]
    misplaced = sum(item.metric("problems", "realigned") or 0 for item in items)
    return [Value(number, "count", cells=pair.free.cells) for number in (*faulty, misplaced)]


def _adjusted(results: Sequence[Closing]) -> list[float | None]:
    ps = [c.gain.p for c in results if c.gain]
    adjusted = iter(holm(ps))
    return [next(adjusted) if c.gain else None for c in results]


def _entries(closing: Closing, best: bool, p: float | None) -> tuple[Entry, ...]:
    pair = closing.pair
    cells = tuple(dict.fromkeys(id for e in (pair.free, pair.grammar) if isinstance(e, Value) for id in e.cells))
    # Their intervals stand in the main tables; here it is the differences that are to be read.
    free, grammar = (replace(e, low=None, high=None) if isinstance(e, Value) else e for e in (pair.free, pair.grammar))
    free = replace(free, best=best) if isinstance(free, Value) else free
    gap = Missing("undefined", cells, "one of the two was not run, or kept no answers")

    def points(d: Difference | None) -> Entry:
        return Value(d.value, "gap", d.low, d.high, cells=cells) if d else gap

    gain: Entry = gap
    if closing.gain:
        d = closing.gain
        gain = Value(d.value, "points", d.low, d.high, p=p, mark=stars(p), cells=cells)
    if best:
        none = Missing("undefined", cells, "this is the best format")
        return free, grammar, gain, none, none, none, none
    share: Entry = gap
    if closing.share:
        share = Value(closing.share[0], "percent", cells=cells)  # its interval is that of the points, and wilder
    elif closing.free:
        share = Missing("undefined", cells, "the interval of the free deficit holds 0")
    return free, grammar, gain, points(closing.free), points(closing.grammar), points(closing.closed), share
