"""The summary at the top of the report: what was run, the best scores, and what the grammar changes."""

from collections.abc import Sequence

from genner.generations.readings import ReadingName
from genner.report.common import DECODED, FREE, decoded
from genner.report.decoding import Closing, closings, pairs, rule_findings
from genner.report.estimates import together
from genner.report.measures import Source, score, tested
from genner.report.outcomes import RULES
from genner.report.results import CellGroup, System, TestSet
from genner.report.table import Value, detail, shown


def lead(source: Source) -> tuple[str, ...]:
    """What was run, and the findings, one sentence each."""
    items = source.collection.items.values()
    done = sum(item.result is not None for item in items)
    lines = [f"{done:,} of {len(items):,} cells have a result."]
    for test in source.collection.tests():
        scored = [
            (entry, g)
            for g in source.collection.scores()
            if g.key.test == test and isinstance(entry := score(source, g), Value)
        ]
        if scored:
            lines.append(_best(source, test, scored))
            lines += _closing(source, test, max(scored, key=lambda pair: pair[0].number)[1].key.system)
    return tuple(lines)


def _best(source: Source, test: TestSet, scored: Sequence[tuple[Value, CellGroup]]) -> str:
    """The best strict score of a test set, and how many others do not differ significantly from it."""
    best, group = max(scored, key=lambda pair: pair[0].number)
    others = [(entry, g) for entry, g in scored if g is not group]
    test_of = tested(source)
    judged = together([test_of(best, entry) for entry, _ in others])
    even = [g for (_, g), d in zip(others, judged, strict=True) if d is None or not d.sure]
    interval = f" ({detail(best)})" if detail(best) else ""
    said = (
        f"{source.collection.title(test)} ({source.collection.count(test)}): the best strict F1 is "
        f"{shown(best)}{interval}, by {_named(group)}"
    )
    if not others:
        return f"{said}; nothing else was scored."
    if not even:
        return f"{said}; the intervals of its differences to all {len(others)} others lie above 0."
    some = ", ".join(_named(g) for g in even[:2]) + (", ..." if len(even) > 2 else "")
    return f"{said}; that it is better than {len(even)} of the {len(others)} others cannot be told ({some})."


def _named(group: CellGroup) -> str:
    k = group.key
    return f"“{k.system.title}”, {k.format}, decoded {decoded(k.decoding)}"


def _closing(source: Source, test: TestSet, system: System) -> list[str]:
    """The format of a system with the largest free deficit, in each reading of its answers, and how much of it the
    grammar closes; then what the grammar costs and gains, against the strict and the repaired reading."""
    for free in FREE:
        read: dict[ReadingName, tuple[str, list[Closing]]] = {
            rule: closings(source, pairs(source, system, test, free, rule)) for rule in RULES
        }
        lacking = any(c.free and c.free.low > 0 for _, found in read.values() for c in found)
        first = next((rule for rule in RULES if any(c.free for c in read[rule][1])), None)
        if first is None:
            continue
        worst = max((c for c in read[first][1] if c.free), key=lambda c: c.free.value if c.free else 0.0).pair.format
        parts = []
        for rule, (best, found) in read.items():
            c = next((c for c in found if c.pair.format == worst and c.free and c.closed), None)
            if c and c.free and c.closed:
                parts.append(f"{RULES[rule]}, {_lack(c, best)}")
        head = f"{source.collection.title(test)}, {system.title} ({source.collection.count(test)})"
        headline = [f"{head}: decoded {DECODED[free]}, {worst} is, {'; '.join(parts)}."] if parts and lacking else []
        told = [line for rule in ("strict", "repaired") for line in rule_findings(source, test, system, free, rule)]
        return headline + [line for line in told if "the grammar costs F1" in line or "the grammar gains F1" in line]
    return []


def _lack(c: Closing, best: str) -> str:
    """A format's free deficit, and how much of it the grammar closes."""
    assert c.free
    assert c.closed
    if c.free.low <= 0:
        return f"not certain to lack anything against {best}"
    lack = f"{100 * c.free.value:.1f} points below {best}"
    if c.share is None:
        return f"{lack}, and whether the grammar closes any of that cannot be told"
    d = c.closed
    low, high = sorted((abs(d.low), abs(d.high)))
    verb = "closes" if d.value > 0 else "widens that by"
    of = " of that" if d.value > 0 else ""
    return (
        f"{lack}, and the grammar {verb} {100 * abs(d.value):.1f}{of} ({100 * low:.1f} to {100 * high:.1f}), "
        f"{100 * abs(c.share):.0f} %"
    )
