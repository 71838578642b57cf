"""The findings in sentences: the summary at the top of the report, and what decoding under the grammar changes."""

from collections.abc import Sequence

from genner.evaluation.jackknife import Difference
from genner.generations.readings import ReadingName
from genner.report.deficits import FormatDeficit, decoded_both_ways, format_deficits
from genner.report.encoders import encoder_findings
from genner.report.entries import magnitude, score, tested
from genner.report.estimates import corrected
from genner.report.number_text import interval_text, shown
from genner.report.results import CellGroup, System
from genner.report.source import ScoredTest, Source
from genner.report.table import Listing, Value
from genner.report.terms import DECODED, FREE, RULES, TOOL, decoded


def lead(source: Source) -> tuple[str, ...]:
    """What was run, and the findings, one sentence each."""
    items = source.collection.items.values()
    done = sum(item.result is not None for item in items)
    lines = [f"{done:,} of {len(items):,} cells have a result."]
    for test in source.tests():
        groups = [g for g in source.collection.scores() if g.key.test == test.test]
        scored = [(entry, g) for g in groups if isinstance(entry := score(source, g), Value)]
        if scored:
            lines += [_best(test, scored), *encoder_findings(test)]
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
        if len(others) == 1:
            return f"{said}; the interval of its difference to the other lies above 0."
        return f"{said}; the intervals of its differences to all {len(others)} others lie above 0."
    some = "; ".join(_named(g) for g in even[:2]) + ("; ..." if len(even) > 2 else "")
    which = f"{len(even)} of the {len(others)} others"
    if len(even) == len(others):
        which = "the other" if len(others) == 1 else f"any of the {len(others)} others"
    return f"{said}; that it is better than {which} cannot be told ({some})."


def _named(group: CellGroup) -> str:
    k = group.key
    if k.system.rival:
        return f"“{k.system.title}”, {'a tool' if k.format == TOOL else 'an encoder'}"
    return f"“{k.system.title}”, {k.format}, decoded {decoded(k.decoding)}"


def decoding_findings(source: Source) -> Listing:
    """The findings for each system, test set and rule; empty where nothing was decoded in both ways."""
    lines = []
    for test in source.tests():
        free, systems = decoded_both_ways(test)
        lines += [line for s in systems for rule in RULES for line in rule_findings(test, s, free, rule)]
    return Listing(tuple(lines))


def rule_findings(test: ScoredTest, system: System, free: str, rule: ReadingName) -> list[str]:
    """Sentences that say what the grammar closes, gains and costs by a rule; empty if unknown."""
    best, found = format_deficits(test, system, free, rule)
    head = f"{test.title}, {system.title}, {RULES[rule]} ({test.count})"
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
        some = [_by_points(format, d) for format, d in gains if d.sure and sign * d.value > 0]
        if some:
            said.append(f"{head}: against free answers the grammar {verb} F1 in {'; '.join(some)}.")
    if untold := [format for format, d in gains if not d.sure]:
        said.append(f"{head}: whether the grammar gains or costs F1 cannot be told in {', '.join(untold)}.")
    return said


def _by_points(format: str, d: Difference) -> str:
    return f"{format} by {shown(magnitude(d))} points ({interval_text(magnitude(d))})"


def _closed(deficit: FormatDeficit) -> str:
    assert deficit.free
    assert deficit.closed
    assert deficit.share is not None
    points = magnitude(deficit.closed)
    share = shown(Value(abs(deficit.share), "percent"))
    lacks = f"{100 * deficit.free.value:.2f} points of {deficit.pair.format}"
    if deficit.closed.value < 0:
        return f"widens the {lacks} by {shown(points)} ({interval_text(points)}), {share} %"
    return f"closes {shown(points)} of {lacks} ({interval_text(points)}), {share} %"


def worst_format_findings(test: ScoredTest, system: System) -> list[str]:
    """The format of a system with the largest free deficit, in each reading of its answers, and how much of it the
    grammar closes; then what the grammar costs and gains, against the strict and the repaired reading."""
    for free in FREE:
        read = {rule: format_deficits(test, system, free, rule) for rule in RULES}
        known = [[c for c in found if c.free] for _, found in read.values()]
        if not any(known):
            continue
        first = next(found for found in known if found)
        worst = max(first, key=lambda c: c.free.value if c.free else 0.0).pair.format
        lacking = any(c.free and c.free.low > 0 for found in known for c in found)
        parts = [
            f"{RULES[rule]}, {_below(c, c.free, c.closed, best)}"
            for rule, (best, found) in read.items()
            for c in found
            if c.pair.format == worst and c.free and c.closed
        ]
        head = f"{test.title}, {system.title} ({test.count})"
        said = [f"{head}: decoded {DECODED[free]}, {worst} is, {'; '.join(parts)}."] if parts and lacking else []
        told = [line for rule in ("strict", "repaired") for line in rule_findings(test, system, free, rule)]
        return said + [line for line in told if "the grammar costs F1" in line or "the grammar gains F1" in line]
    return []


def _below(deficit: FormatDeficit, free: Difference, closed: Difference, best: str) -> str:
    """A format's free deficit, and how much of it the grammar closes."""
    if free.low <= 0:
        return f"not certain to lack anything against {best}"
    lack = f"{100 * free.value:.1f} points below {best}"
    if deficit.share is None:
        return f"{lack}, and whether the grammar closes any of that cannot be told"
    points, share = f"{100 * abs(closed.value):.1f}", f"{100 * abs(deficit.share):.0f} %"
    what = f"closes {points} of that" if closed.value > 0 else f"widens that by {points}"
    return f"{lack}, and the grammar {what} ({interval_text(magnitude(closed))}), {share}"
