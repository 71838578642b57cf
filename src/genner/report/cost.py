"""Cost: tokens, forward passes and seconds per document, against F1."""

from functools import partial
from typing import Any

from genner.report.entries import score
from genner.report.plots import FAINT, format_colour, interval_line, legend, logarithmic, marker, panels, size
from genner.report.results import CellGroup
from genner.report.source import ScoredTest, Source, group_table, section
from genner.report.table import Column, Entry, Figure, Section, Table, Value, ValueKind, anchor
from genner.report.terms import DECODING_TITLES, decoding_place

PAID = ("prompt", "answer")  # tokens
COSTS = {"tokens": "tokens computed a document", "passes": "forward passes a document", "seconds": "seconds a document"}


def cost_section(source: Source) -> Section:
    """Tokens, passes, seconds and memory against F1."""
    return section("cost", "Cost", [*map(cost_figure, source.tests()), cost_table(source)])


def cost_table(source: Source) -> Table:
    """Cost per document: tokens computed, forward passes, seconds; and peak memory."""
    return group_table(
        source,
        "cost",
        "Cost against quality",
        {Column("strict F1"): partial(score, source)}
        | {Column(what, "A document"): partial(cost, what=what) for what in COSTS}
        | {Column(f"{what} tokens", "A document"): partial(_counted, what=f"{what}_tokens") for what in PAID}
        | {Column("peak memory, MB"): _memory},
        "Tokens computed and forward passes, summed over a cell and divided by its documents; they do not depend on "
        "the machine. Prompt and answer tokens are those that a server would be paid for: of all prompts and all "
        "answers, verification included. Seconds are of the whole cell, loading included, and of its machine (see the "
        "cell). Means over seeds.",
    )


def cost(group: CellGroup, what: str) -> Entry:
    """One of `COSTS`, the mean over seeds."""
    if group.key.system.rival and what != "seconds":
        return group.missing("not counted for encoders and tools")
    found = [
        float(getattr(item.result, what)) / documents
        for item in group.done
        if item.result and (documents := item.metric("documents"))
    ]
    if not found:
        return group.missing("no documents")
    kind: ValueKind = "seconds" if what == "seconds" else "number"
    return Value(sum(found) / len(found), kind, cells=group.cells, part=group.seeds)


def _counted(group: CellGroup, what: str) -> Entry:
    """A sum of a cell per document, the mean over seeds."""
    if group.key.system.rival:
        return group.missing("not counted for encoders and tools")
    found = [
        total / documents
        for item in group.done
        if (total := item.metric(what)) and (documents := item.metric("documents"))
    ]
    if not found:
        return group.missing("not recorded")
    return Value(sum(found) / len(found), "number", cells=group.cells, part=group.seeds)


def _memory(group: CellGroup) -> Entry:
    found = [item.result.peak_memory_mb for item in group.done if item.result]
    return Value(max(found), "count", cells=group.cells) if found else group.missing("no documents")


def cost_figure(test: ScoredTest) -> Figure | None:
    """F1 against tokens, passes and seconds per document: one mark per group, coloured by format, shaped by
    decoding."""
    spots: dict[str, list[tuple[CellGroup, float, Value]]] = {what: [] for what in COSTS}
    rows: list[tuple[str | float | None, ...]] = []
    for group in test.groups:
        f1 = score(test.source, group)
        if not isinstance(f1, Value):
            continue
        paid = {what: entry.number for what in COSTS if isinstance(entry := cost(group, what), Value)}
        for what, number in paid.items():
            if number > 0:
                spots[what].append((group, number, f1))
        k, numbers = group.key, (f1.number, f1.low, f1.high, *map(paid.get, COSTS))
        rows.append((k.system.title, k.format, k.decoding, *numbers, " ".join(f1.cells)))
    used = [what for what, found in spots.items() if found]
    if not used:
        return None
    formats = test.formats

    def draw(drawing: Any) -> None:
        axes = panels(drawing, [""] * len(used), share_x=False)
        for a, what in zip(axes, used, strict=True):
            a.grid()
            a.set_xlabel(COSTS[what])
            logarithmic(a, [x for _, x, _ in spots[what]])
            for group, x, f1 in spots[what]:
                hue, shape = format_colour(group.key.format, formats), marker(decoding_place(group.key.decoding))
                dots = a.scatter([x], [100 * f1.number], color=hue, marker=shape, s=30, linewidths=0)
                dots.set_urls(["#" + anchor(f1.cells[0])])
                interval_line(a, x, f1.interval, color=hue, linewidth=0.8)
        axes[0].set_ylabel("strict F1, %")
        named = {f: (format_colour(f, formats), "o") for f in formats}
        named |= {DECODING_TITLES[d]: (FAINT, marker(decoding_place(d))) for d in test.decodings}
        legend(drawing, {x: axes[0].scatter([], [], color=hue, marker=m, s=30) for x, (hue, m) in named.items()})

    return Figure(
        f"cost-{test.number}",
        f"Cost against F1: {test.title}",
        ("system", "format", "decoding", "f1", "low", "high", *COSTS, "cells"),
        tuple(rows),
        draw,
        size(len(used), height=2.6, extra=0.8),
        f"{test.about}. A mark a system, format and decoding, with the 95 % interval of its F1; costs on a logarithmic "
        "scale. A mark leads to its cell.",
        "F1 against what a document costs",
    )
