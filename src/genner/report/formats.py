"""Formats and decoding: scores by format, deficits when free and under the grammar, validity of the answers."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from genner.assess.scoring import GRAMMAR
from genner.document import ProblemKind
from genner.evaluation.jackknife import Difference
from genner.generations.readings import ReadingName
from genner.report.deficits import FormatDeficit, decoded_both_ways, format_deficits
from genner.report.entries import limits, mean_count, points, score, values_of, without_interval
from genner.report.estimates import STARS
from genner.report.findings import decoding_findings
from genner.report.paper import mean_of_models
from genner.report.plots import (
    INK,
    DifferenceMark,
    decoding_colour,
    draw_differences,
    legend,
    panels,
    size,
    whiskers,
)
from genner.report.results import CellGroup, System
from genner.report.source import ScoredTest, Source, group_table, section
from genner.report.table import Block, Column, Entry, Figure, Missing, Section, Table, TableRow, Value, anchor
from genner.report.terms import DECODED, DECODING_TITLES, ENCODER, FAULTS, FREE, MEANINGS, READING_TITLES, RULES, TOOL

PAPER_MEAN = "the paper's mean over 8 models"


def formats_section(source: Source) -> Section:
    """The deficits of formats, and how much of them is due to decoding."""
    tests = source.tests()
    blocks: list[Block | None] = [decoding_findings(source), *map(decoding_table, tests)]
    for test in tests:
        blocks += [format_figure(test), deficit_figure(test)]
    blocks.append(validity_table(source))
    return section(
        "formats",
        "Formats and decoding",
        blocks,
        "What does the format of the answer change, and how much of what a format lacks is only that its answers were "
        "not held to it? The same adapters are decoded freely and under the grammar.",
    )


def decoding_table(test: ScoredTest) -> Table | None:
    """How much of each format's deficit is decoding; None for a test set that was not decoded in both ways."""
    free, systems = decoded_both_ways(test)
    if not free:
        return None
    rows, notes = [], []
    answers: set[float] = set()  # the numbers of free answers of a format
    for system in systems:
        for rule, name in RULES.items():
            best, deficits = format_deficits(test, system, free, rule)
            for deficit in (d for d in deficits if d.pair.both or rule == "strict"):
                pair = deficit.pair
                answers.add(_free_answers(test, pair.free))
                entries = (*_deficit_entries(deficit, pair.format == best), *_fault_counts(test, pair.free))
                rows.append(TableRow((pair.format,), entries, f"{system.title}, {name}"))
                if pair.dropped and rule == "strict":
                    notes.append(
                        f"{system.title}, {pair.format}: {pair.dropped} trainings that were decoded in one way only "
                        "are left out."
                    )
    several = answers - {0.0}
    of = f"Of {several.pop():,.0f} free answers" if len(several) == 1 else "Free answers"
    groups = {
        "F1": ("free", "grammar"),
        "By the grammar": ("gain",),
        "Deficit to the best format": ("free", "grammar"),
        "Closed by the grammar": ("points", "share, %"),
        of: (*FAULTS, "misplaced"),
    }
    return Table(
        f"decoding-{test.number}",
        f"How much of each format's deficit is decoding: {test.title}",
        ("Format",),
        tuple(Column(title, group) for group, titles in groups.items() for title in titles),
        tuple(rows),
        f"{test.about}. The same adapters, decoded {DECODED[free]} and under the grammar. "
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


def _deficit_entries(deficit: FormatDeficit, best: bool) -> tuple[Entry, ...]:
    """F1 free and under the grammar, the gain, the deficits free and under the grammar, and what the grammar closes."""
    cells = deficit.pair.cells
    # Their intervals are in the main tables; this table is about the differences.
    free, grammar = (without_interval(e) for e in (deficit.pair.free, deficit.pair.grammar))
    free = replace(free, best=best) if isinstance(free, Value) else free
    gap = Missing("undefined", cells, "one of the two was not run, or kept no answers")

    def lacking(d: Difference | None) -> Entry:
        return Value(d.value, "gap", *limits(d), cells=cells) if d else gap

    gain = points(deficit.gain, cells) if deficit.gain else gap
    if best:
        return free, grammar, gain, *(Missing("undefined", cells, "this is the best format"),) * 4
    share: Entry = gap
    if deficit.share is not None:
        share = Value(deficit.share, "percent", cells=cells)  # its interval is that of the points, but less stable
    elif deficit.free:
        share = Missing("undefined", cells, "an interval holds 0")
    return free, grammar, gain, *map(lacking, (deficit.free, deficit.grammar, deficit.closed)), share


def _free_answers(test: ScoredTest, free: Entry) -> float:
    items = [test.source.collection.items[id] for v in values_of([free]) for id in v.cells]
    return sum(item.metric("documents") or 0 for item in items)


def _fault_counts(test: ScoredTest, free: Entry) -> list[Entry]:
    """The number of free answers with each fault, and the number of misplaced mentions."""
    if not isinstance(free, Value):
        return [free] * (len(FAULTS) + 1)
    items = [test.source.collection.items[id] for id in free.cells]
    faulty = [sum((i.metric(key) or 0) * (i.metric("documents") or 0) for i in items) for key in FAULTS]
    misplaced = sum(item.metric("problems", "realigned") or 0 for item in items)
    return [Value(number, "count", cells=free.cells) for number in (*faulty, misplaced)]


def format_figure(test: ScoredTest) -> Figure:
    """Bars of F1 by format, one per decoding, one panel per system; a dash marks the paper's mean."""
    formats, decodings = [f for f in test.formats if f not in (ENCODER, TOOL)], test.decodings
    rows: list[tuple[str | float | None, ...]] = []
    bars: dict[tuple[System, str], list[tuple[int, Value]]] = {}
    for system in test.systems:
        for decoding in decodings:
            for at, format in enumerate(formats):
                entry = score(test.source, test.get(system, format, decoding))
                if isinstance(entry, Value):
                    bars.setdefault((system, decoding), []).append((at, entry))
                    numbers = (entry.number, entry.low, entry.high, entry.spread, len(entry.cells))
                    rows.append((system.title, format, decoding, *numbers, " ".join(entry.cells)))
    means = {format: mean_of_models(format, test.test.corpus) for format in formats}
    if bars:
        rows += [(PAPER_MEAN, f, "sampled", mean, *(None,) * 4, "") for f, mean in means.items() if mean]
    shown = [s for s in test.systems if any((s, d) in bars for d in decodings)]

    def draw(drawing: Any) -> None:
        axes = panels(drawing, [s.title for s in shown])
        width = 0.8 / len(decodings)
        handles: dict[str, Any] = {}
        for a, system in zip(axes, shown, strict=True):
            a.grid(axis="y")
            for d, decoding in enumerate(decodings):
                found = bars.get((system, decoding))
                if not found:
                    continue
                xs = [at + (d - (len(decodings) - 1) / 2) * width for at, _ in found]
                ys = [100 * v.number for _, v in found]
                drawn = a.bar(xs, ys, 0.92 * width, color=decoding_colour(decoding))
                handles.setdefault(DECODING_TITLES[decoding], drawn)
                for patch, (_, v) in zip(drawn.patches, found, strict=True):
                    patch.set_url("#" + anchor(v.cells[0]))
                whiskers(a, xs, [v for _, v in found])
            for at, mean in enumerate(means.values()):
                if mean is not None:
                    (line,) = a.plot([at - 0.45, at + 0.45], [100 * mean] * 2, color=INK, linewidth=1.4, linestyle="--")
                    handles.setdefault(PAPER_MEAN, line)
            names = [f.replace("_", "\n") for f in formats]
            a.set_xticks(range(len(formats)), names, fontsize=7.5 if len(shown) == 1 else 6.5)
            a.set_xlim(-0.5, len(formats) - 0.5)  # formats that a system lacks have their room too
        axes[0].set_ylim(bottom=0)  # after all drawing: it ends autoscaling of every panel
        axes[0].set_ylabel("strict F1, %")
        legend(drawing, handles)

    return Figure(
        f"formats-{test.number}",
        f"F1 by format and decoding: {test.title}",
        ("system", "format", "decoding", "f1", "low", "high", "standard deviation", "seeds", "cells"),
        tuple(rows),
        draw,
        size(len(shown)),
        f"{test.about}. Strict F1 with 95 % intervals (thin lines)."
        + _seeds([v for found in bars.values() for _, v in found])
        + (" The dashes are the paper's figures, by its own rule." if any(means.values()) else ""),
        "Bars of F1 for each format and decoding",
    )


def _seeds(values: list[Value]) -> str:
    """A sentence on how many seeds the numbers are averaged over, if several."""
    counts = sorted({len(v.cells) for v in values if v.spread is not None})
    if not counts:
        return ""
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" Means of {n} seeds; thick lines: one standard deviation over the seeds either way."


def deficit_figure(test: ScoredTest) -> Figure:
    """For each format, its deficit to the best format, free and under the grammar."""
    found: dict[str, list[tuple[str, Difference, Difference, Difference]]] = {}
    for free in FREE:
        for system in test.systems:
            _, deficits = format_deficits(test, system, free)
            known = [
                (c.pair.format, c.free, c.grammar, c.closed) for c in deficits if c.free and c.grammar and c.closed
            ]
            if known:
                found[system.title] = known
        if found:
            break
    rows = [
        (title, format, what, d.value, d.low, d.high)
        for title, deficits in found.items()
        for format, *differences in deficits
        for what, d in zip(("free", "grammar", "closed"), differences, strict=True)
    ]
    formats = [f for f in test.formats if any(row[1] == f for row in rows)]
    marks = [
        (
            title,
            [DifferenceMark.of(formats.index(f), k, d) for f, *both, _ in deficits for k, d in enumerate(both)],
        )
        for title, deficits in found.items()
    ]
    series = [("free", "o", decoding_colour("greedy")), ("under the grammar", "D", decoding_colour(GRAMMAR))]

    def draw(drawing: Any) -> None:
        draw_differences(drawing, marks, formats, series, "F1 below the best format, points", step=0.28)

    return Figure(
        f"deficits-{test.number}",
        f"What a format lacks, free and under the grammar: {test.title}",
        ("system", "format", "what", "points", "low", "high"),
        tuple(rows),
        draw,
        size(len(found), height=0.32 * len(formats) + 0.9),
        f"{test.about}. Strict, an answer being what it says: the deficit to the format that is best when free, with "
        "paired intervals at 95 % for all formats together. What lies between the two marks is decoding.",
        "For each format two marks: its deficit when decoded freely, and under the grammar",
    )


def validity_table(source: Source) -> Table:
    """How many answers broke their format, were cut off, or named what is not in the text."""

    def f1(rule: ReadingName) -> Callable[[CellGroup], Entry]:
        return lambda group: without_interval(score(source, group, rule))

    return group_table(
        source,
        "validity",
        "The answers by their form",
        {Column(name, "F1"): f1(rule) for rule, name in READING_TITLES.items()}
        | {Column(fault, "Answers, %"): partial(_rate, fault=fault) for fault in FAULTS}
        | {
            Column("misplaced", "Mentions"): partial(_problems, kind="realigned"),
            Column("unplaced", "Mentions"): partial(_problems, kind="unplaced"),
            Column("overlapping", "Mentions"): partial(_problems, kind="overlap"),
            Column("named", "Mentions"): partial(mean_count, path=("strict", "predicted")),
        },
        "Invalid: answers that break their format; hallucinated: answers that mark or list something that nothing "
        "in the text, or no label asked for, answers to; truncated: answers that end before the text does; misplaced: "
        "mentions that an answer puts in a wrong place (offsets, occurrence, a copy that differs) and that the "
        "repaired reading has put where they stand in the text; unplaced: mentions that fit several places, of which "
        "the answer names none, and that are left out; overlapping: mentions of the text that are left out "
        "since they overlap surer ones of other labels; named: all mentions in the answers, without those left out. "
        "Means over seeds. F1 in three readings: " + "; ".join(MEANINGS.values()) + ".",
        [g for g in source.collection.ordered() if not g.key.system.rival],
    )


def _rate(group: CellGroup, fault: str) -> Entry:
    """The share of answers with a fault, the mean over seeds."""
    number, incomplete = group.mean(fault), len(group.done) < len(group.items)
    if number is None:
        return group.missing()
    return Value(number, "percent", cells=group.cells, part=group.seeds if incomplete else "")


def _problems(group: CellGroup, kind: ProblemKind) -> Entry:
    """The number of problems of a kind, the mean over seeds."""
    return mean_count(group, ("problems", kind), default=0.0)
