"""Cost: tokens, forward passes and seconds per document, against F1."""

from typing import Any

from genner.report.common import DECODING_TITLES, GROUP_HEADS, group_heads, here, ordered, section, test_heading
from genner.report.measures import Source, part, score
from genner.report.plots import FAINT, format_colour, legend, logarithmic, marker, panels, size
from genner.report.results import CellGroup, TestSet, absence
from genner.report.table import Block, Column, Entry, Figure, Missing, Section, Table, TableRow, Value, anchor

COSTS = {"tokens": "tokens computed a document", "passes": "forward passes a document", "seconds": "seconds a document"}


def cost_section(source: Source) -> Section:
    """Tokens, passes, seconds and memory against F1."""
    blocks: list[Block | None] = [cost_figure(source, test, n) for n, test in enumerate(source.collection.tests(), 1)]
    return section("cost", "Cost", [*blocks, cost_table(source)])


def cost_table(source: Source) -> Table | None:
    """Cost per document: tokens computed, forward passes, seconds; and peak memory."""
    groups = ordered(source)
    if not groups:
        return None
    rows = []
    for g in groups:
        entries = (score(source, g), *(cost(g, what) for what in ("tokens", "passes", "seconds")), _memory(g))
        rows.append(TableRow(group_heads(g), entries, test_heading(source, g.key.test)))
    return Table(
        "cost",
        "Cost against quality",
        GROUP_HEADS,
        (
            Column("strict F1"),
            Column("tokens", "A document"),
            Column("passes", "A document"),
            Column("seconds", "A document"),
            Column("peak memory, MB"),
        ),
        tuple(rows),
        "Tokens computed and forward passes, summed over a cell and divided by its documents; they do not depend on "
        "the machine. Seconds are of the whole cell, loading included, and of its machine (see the cell). Means "
        "over seeds.",
        supporting=True,
    )


def cost(group: CellGroup, what: str) -> Entry:
    """`tokens`, `passes` or `seconds` per document, the mean over seeds."""
    found = []
    for item in group.done:
        documents = item.metric("documents")
        if item.result and documents:
            found.append(float(getattr(item.result, what)) / documents)
    if not found:
        return _none(group)
    return Value(
        sum(found) / len(found), "seconds" if what == "seconds" else "number", cells=group.cells, part=part(group)
    )


def _memory(group: CellGroup) -> Entry:
    found = [item.result.peak_memory_mb for item in group.done if item.result]
    return Value(max(found), "count", cells=group.cells) if found else _none(group)


def _none(group: CellGroup) -> Entry:
    return Missing("undefined", group.cells, "no documents") if group.done else absence(group.items)


def cost_figure(source: Source, test: TestSet, n: int) -> Figure | None:
    """F1 against tokens, passes and seconds per document: one mark per group, coloured by format, shaped by
    decoding."""
    _, formats, decodings = here(source, test)
    spots: dict[str, list[tuple[CellGroup, float, Value]]] = {what: [] for what in COSTS}
    rows: list[tuple[str | float | None, ...]] = []
    for group in [g for g in ordered(source) if g.key.test == test]:
        f1 = score(source, group)
        paid = {what: cost(group, what) for what in COSTS}
        if not isinstance(f1, Value):
            continue
        numbers = {what: entry.number for what, entry in paid.items() if isinstance(entry, Value)}
        for what, number in numbers.items():
            if number > 0:
                spots[what].append((group, number, f1))
        k = group.key
        rows.append(
            (
                k.system.title,
                k.format,
                k.decoding,
                f1.number,
                f1.low,
                f1.high,
                *(numbers.get(what) for what in COSTS),
                " ".join(f1.cells),
            )
        )
    used = [what for what, found in spots.items() if found]
    if not used:
        return None

    def draw(drawing: Any) -> None:
        axes = panels(drawing, [""] * len(used), share_x=False)
        for a, what in zip(axes, used, strict=True):
            a.grid()
            a.set_xlabel(COSTS[what])
            logarithmic(a, [x for _, x, _ in spots[what]])
            for group, x, f1 in spots[what]:
                dots = a.scatter(
                    [x],
                    [100 * f1.number],
                    color=format_colour(group.key.format, formats),
                    marker=marker(
                        list(DECODING_TITLES).index(group.key.decoding) if group.key.decoding in DECODING_TITLES else 3
                    ),
                    s=30,
                    linewidths=0,
                )
                dots.set_urls(["#" + anchor(f1.cells[0])])
                if f1.low is not None and f1.high is not None:
                    hue = format_colour(group.key.format, formats)
                    a.plot([x, x], [100 * f1.low, 100 * f1.high], color=hue, linewidth=0.8)
        axes[0].set_ylabel("strict F1, %")
        handles = [axes[0].scatter([], [], color=format_colour(f, formats), marker="o", s=30) for f in formats]
        handles += [
            axes[0].scatter([], [], color=FAINT, marker=marker(list(DECODING_TITLES).index(d)), s=30) for d in decodings
        ]
        legend(drawing, handles, [*formats, *(DECODING_TITLES[d] for d in decodings)])

    return Figure(
        f"cost-{n}",
        f"Cost against F1: {source.collection.title(test)}",
        ("system", "format", "decoding", "f1", "low", "high", *COSTS, "cells"),
        tuple(rows),
        draw,
        size(len(used), height=2.6, extra=0.8),
        f"{source.collection.about(test)}. A mark a system, format and decoding, with the 95 % interval of its "
        "F1; costs on a logarithmic scale. A mark leads to its cell.",
        "F1 against what a document costs",
    )
