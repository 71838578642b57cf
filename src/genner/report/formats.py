"""Formats and decoding: scores by format, deficits when free and under the grammar, validity of the answers."""

from collections.abc import Sequence
from typing import Any

from genner.assess.scoring import GRAMMAR
from genner.evaluation.intervals import Difference
from genner.report.common import (
    DECODING_TITLES,
    FAULTS,
    FREE,
    GROUP_HEADS,
    group_heads,
    here,
    ordered,
    section,
    test_heading,
    without_interval,
)
from genner.report.decoding import Closing, closings, decoding_findings, decoding_tables, pairs
from genner.report.measures import Source, rates, score
from genner.report.outcomes import MEANINGS, RULES
from genner.report.paper import figure, systems
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
from genner.report.results import CellGroup, GroupKey, System, TestSet, absence
from genner.report.table import Block, Column, Entry, Figure, Missing, Section, Table, TableRow, Value, anchor


def formats_section(source: Source) -> Section:
    """The deficits of formats, and how much of them is due to decoding."""
    blocks: list[Block | None] = [decoding_findings(source), *decoding_tables(source)]
    for n, test in enumerate(source.collection.tests(), 1):
        blocks += [format_figure(source, test, n), closing_figure(source, test, n)]
    blocks.append(validity_table(source))
    return section(
        "formats",
        "Formats and decoding",
        blocks,
        "What does the format of the answer change, and how much of what a format lacks is only that its answers were "
        "not held to it? The same adapters are decoded freely and under the grammar.",
    )


def _paper_mean(format: str, corpus: str) -> float | None:
    """The mean over the paper's eight models."""
    found = [f for s in systems("llm") if (f := figure(s, format, corpus)) is not None]
    return sum(found) / len(found) if found else None


def format_figure(source: Source, test: TestSet, n: int) -> Figure | None:
    """Bars of F1 by format, one per decoding, one panel per system; a dash marks the paper's mean."""
    systems_here, formats, decodings = here(source, test)
    rows: list[tuple[str | float | None, ...]] = []
    bars: dict[tuple[System, str], list[tuple[int, Value]]] = {}
    for system in systems_here:
        for decoding in decodings:
            for at, format in enumerate(formats):
                entry = score(source, source.collection.get(GroupKey(system, format, test, decoding)))
                if isinstance(entry, Value):
                    bars.setdefault((system, decoding), []).append((at, entry))
                    numbers = (entry.number, entry.low, entry.high, entry.spread, len(entry.cells))
                    rows.append((system.title, format, decoding, *numbers, " ".join(entry.cells)))
    means = {format: _paper_mean(format, test.corpus) for format in formats}
    rows += [
        ("the paper's mean over 8 models", f, "sampled", mean, None, None, None, None, "")
        for f, mean in means.items()
        if mean
    ]
    shown = [s for s in systems_here if any((s, d) in bars for d in decodings)]
    if not shown:
        return None

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
            for at, format in enumerate(formats):
                mean = means[format]
                if mean is not None:
                    (line,) = a.plot([at - 0.45, at + 0.45], [100 * mean] * 2, color=INK, linewidth=1.4, linestyle="--")
                    handles.setdefault("the paper's mean over 8 models", line)
            a.set_xticks(
                range(len(formats)), [f.replace("_", "\n") for f in formats], fontsize=7.5 if len(shown) == 1 else 6.5
            )
        axes[0].set_ylim(bottom=0)  # after all drawing: it ends autoscaling of every panel
        axes[0].set_ylabel("strict F1, %")
        legend(drawing, list(handles.values()), list(handles))

    return Figure(
        f"formats-{n}",
        f"F1 by format and decoding: {source.collection.title(test)}",
        ("system", "format", "decoding", "f1", "low", "high", "standard deviation", "seeds", "cells"),
        tuple(rows),
        draw,
        size(len(shown)),
        f"{source.collection.about(test)}. Strict F1 with 95 % intervals (thin lines)."
        + _seeds([v for found in bars.values() for _, v in found])
        + (" The dashes are the paper's figures, by its own rule." if any(means.values()) else ""),
        "Bars of F1 for each format and decoding",
    )


def _seeds(values: Sequence[Value]) -> str:
    """A sentence on how many seeds the numbers are averaged over, if several."""
    counts = sorted({len(v.cells) for v in values if v.spread is not None})
    if not counts:
        return ""
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" Means of {n} seeds; thick lines: one standard deviation over the seeds either way."


def closing_figure(source: Source, test: TestSet, n: int) -> Figure | None:
    """For each format, its deficit to the best format, free and under the grammar."""
    found: dict[str, list[Closing]] = {}
    for free in FREE:
        for system in here(source, test)[0]:
            best, results = closings(source, pairs(source, system, test, free))
            known = [c for c in results if c.free and c.grammar and c.pair.format != best]
            if known:
                found[system.title] = known
        if found:
            break
    if not found:
        return None
    rows: list[tuple[str | float | None, ...]] = []
    for title, results in found.items():
        for c in results:
            assert c.closed
            rows += [
                (title, c.pair.format, what, d.value, d.low, d.high)
                for what, d in zip(("free", "grammar", "closed"), (*_both(c), c.closed), strict=True)
            ]
    formats = [f for f in here(source, test)[1] if any(row[1] == f for row in rows)]

    marks = [
        (
            title,
            [DifferenceMark.of(formats.index(c.pair.format), k, d) for c in results for k, d in enumerate(_both(c))],
        )
        for title, results in found.items()
    ]
    series = [("free", "o", decoding_colour("greedy")), ("under the grammar", "D", decoding_colour(GRAMMAR))]

    def draw(drawing: Any) -> None:
        draw_differences(drawing, marks, formats, series, "F1 below the best format, points", step=0.28)

    return Figure(
        f"deficits-{n}",
        f"What a format lacks, free and under the grammar: {source.collection.title(test)}",
        ("system", "format", "what", "points", "low", "high"),
        tuple(rows),
        draw,
        size(len(found), height=0.32 * len(formats) + 0.9),
        f"{source.collection.about(test)}. Strict, an answer being what it says: the deficit to the format that "
        "is best when free, with paired intervals at 95 % for all formats together. What lies between the two marks is "
        "decoding.",
        "For each format two marks: its deficit when decoded freely, and under the grammar",
    )


def _both(closing: Closing) -> tuple[Difference, Difference]:
    """The deficit when decoded freely, and under the grammar."""
    assert closing.free
    assert closing.grammar
    return closing.free, closing.grammar


def validity_table(source: Source) -> Table | None:
    """How many answers broke their format, were cut off, or named what is not in the text."""
    groups = ordered(source)
    if not groups:
        return None
    rows = [
        TableRow(
            group_heads(g),
            (
                *(without_interval(score(source, g, rule)) for rule in RULES),
                *(rates(g, key) for key in FAULTS),
                _mean(g, "problems", "realigned", unless=0.0),
                _mean(g, "strict", "predicted"),
            ),
            test_heading(source, g.key.test),
        )
        for g in groups
    ]
    return Table(
        "validity",
        "The answers by their form",
        GROUP_HEADS,
        (
            *(Column(name.removeprefix("by the "), "F1") for name in RULES.values()),
            *(Column(f"{title}, %", "Answers") for title in FAULTS),
            Column("misplaced", "Mentions"),
            Column("named", "Mentions"),
        ),
        tuple(rows),
        "Invalid: answers that break their format; hallucinated: answers that mark or list something that nothing "
        "in the text, or no label asked for, answers to; truncated: answers that end before the text does; misplaced: "
        "mentions that an answer puts in a wrong place (offsets, occurrence, a copy that differs) and that the "
        "repaired reading has put where they stand in the text; named: all mentions in the answers. "
        "Means over seeds. F1 in three readings: " + "; ".join(MEANINGS.values()) + ".",
        supporting=True,
    )


def _mean(group: CellGroup, *path: str, unless: float | None = None) -> Entry:
    """The mean of a count over seeds; `unless` replaces a count that is not recorded."""
    found = [item.metric(*path) for item in group.done]
    values = [value if value is not None else unless for value in found]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return Missing("undefined", group.cells, "the record has no such figure") if found else absence(group.items)
    return Value(sum(known) / len(known), "number", cells=group.cells)
