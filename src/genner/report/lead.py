"""The summary at the top of the report: what was run, the best scores, and what the grammar changes."""

from collections.abc import Sequence

from genner.report.entries import score, tested
from genner.report.estimates import corrected
from genner.report.findings import worst_format_findings
from genner.report.number_text import interval_text, shown
from genner.report.results import CellGroup
from genner.report.source import ScoredTest, Source
from genner.report.table import Value
from genner.report.terms import decoded


def lead(source: Source) -> tuple[str, ...]:
    """What was run, and the findings, one sentence each."""
    items = source.collection.items.values()
    done = sum(item.result is not None for item in items)
    lines = [f"{done:,} of {len(items):,} cells have a result."]
    for test in source.tests():
        groups = [g for g in source.collection.scores() if g.key.test == test.test]
        scored = [(entry, g) for g in groups if isinstance(entry := score(source, g), Value)]
        if scored:
            lines.append(_best(test, scored))
            lines += worst_format_findings(test, max(scored, key=lambda pair: pair[0].number)[1].key.system)
    return tuple(lines)


def _best(test: ScoredTest, scored: Sequence[tuple[Value, CellGroup]]) -> str:
    """The best strict score of a test set, and how many others do not differ significantly from it."""
    best, group = max(scored, key=lambda pair: pair[0].number)
    others = [(entry, g) for entry, g in scored if g is not group]
    difference = tested(test.source)
    differences = corrected([difference(best, entry) for entry, _ in others])
    even = [g for (_, g), d in zip(others, differences, strict=True) if d is None or not d.sure]
    interval = f" ({interval_text(best)})" if interval_text(best) else ""
    said = f"{test.title} ({test.count}): the best strict F1 is {shown(best)}{interval}, by {_named(group)}"
    if not others:
        return f"{said}; nothing else was scored."
    if not even:
        return f"{said}; the intervals of its differences to all {len(others)} others lie above 0."
    some = ", ".join(_named(g) for g in even[:2]) + (", ..." if len(even) > 2 else "")
    return f"{said}; that it is better than {len(even)} of the {len(others)} others cannot be told ({some})."


def _named(group: CellGroup) -> str:
    k = group.key
    return f"“{k.system.title}”, {k.format}, decoded {decoded(k.decoding)}"
