"""Figures of the plain scores: formats, what the grammar closes, cost against F1, kinds of errors."""

from collections.abc import Mapping, Sequence
from typing import Any

from genner.assess.scoring import GRAMMAR
from genner.evaluation.taxonomy import ERROR_KINDS
from genner.report.answers import cost, ordered
from genner.report.collect import DECODED, DECODING_TITLES, CellGroup, GroupKey, System, TestSet
from genner.report.decoding import Closing, closings, pairs
from genner.report.measures import Source, score
from genner.report.outcomes import REPAIRED, CellOutcome
from genner.report.paper import PAPER_FORMATS, figure, systems
from genner.report.plots import FAINT, INK, colour, decoding_colour, format_colour, label, legend, marker, panels, size
from genner.report.table import Figure, Value, anchor

COSTS = {"tokens": "tokens computed a document", "passes": "forward passes a document", "seconds": "seconds a document"}


def here(source: Source, test: TestSet) -> tuple[list[System], list[str], list[str]]:
    """The systems, formats and decodings of a test set, in the order shown."""
    keys = [g.key for g in ordered(source) if g.key.test == test]
    return (
        sorted({k.system for k in keys}),
        list(dict.fromkeys(k.format for k in _by_format(keys))),
        [d for d in DECODING_TITLES if any(k.decoding == d for k in keys)],
    )


def _by_format(keys: Sequence[GroupKey]) -> list[GroupKey]:
    order = list(PAPER_FORMATS)
    return sorted(keys, key=lambda k: (order.index(k.format) if k.format in order else len(order), k.format))


def headline(source: Source, test: TestSet) -> str:
    """The decoding that figures of one decoding show: under the grammar, where that was run."""
    found = here(source, test)[2]
    return next((d for d in (GRAMMAR, "greedy", "sampled") if d in found), "")


def paper_mean(format: str, corpus: str) -> float | None:
    """The paper's mean over its eight models."""
    found = [f for s in systems("llm") if (f := figure(s, format, corpus)) is not None]
    return sum(found) / len(found) if found else None


def format_figure(source: Source, test: TestSet, n: int) -> Figure | None:
    """Bars of F1 by format, one a decoding, a panel a system; the paper's mean as a dash."""
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
    means = {format: paper_mean(format, test.corpus) for format in formats}
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
        axes[0].set_ylim(bottom=0)  # once all is drawn: it ends the scaling of every panel
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
    """How many seeds the numbers of a figure are means of, where they are."""
    counts = sorted({len(v.cells) for v in values if v.spread is not None})
    if not counts:
        return ""
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" Means of {n} seeds; thick lines: one standard deviation over the seeds either way."


def closing_figure(source: Source, test: TestSet, n: int) -> Figure | None:
    """For each format its deficit to the best, free and under the grammar."""
    found: dict[str, list[Closing]] = {}
    for free in ("greedy", "sampled"):
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
            assert c.free
            assert c.grammar
            assert c.closed
            rows += [
                (title, c.pair.format, what, d.value, d.low, d.high)
                for what, d in (("free", c.free), ("grammar", c.grammar), ("closed", c.closed))
            ]
    formats = [f for f in here(source, test)[1] if any(row[1] == f for row in rows)]

    def draw(drawing: Any) -> None:
        axes = panels(drawing, list(found))
        handles: dict[str, Any] = {}
        for a, results in zip(axes, found.values(), strict=True):
            a.grid(axis="x")
            a.axvline(0, color=FAINT, linewidth=1)
            for c in results:
                y = formats.index(c.pair.format)
                assert c.free
                assert c.grammar
                for d, name, shift in ((c.free, "free", -0.14), (c.grammar, "under the grammar", 0.14)):
                    low, high = d.value - d.low, d.high - d.value
                    drawn = a.errorbar(
                        100 * d.value,
                        y + shift,
                        xerr=[[100 * max(0, low)], [100 * max(0, high)]],
                        fmt="o" if name == "free" else "D",
                        color=decoding_colour("greedy" if name == "free" else GRAMMAR),
                        markersize=5,
                        elinewidth=1.2,
                    )
                    handles.setdefault(name, drawn)
            a.set_yticks(range(len(formats)), formats)
            a.set_ylim(len(formats) - 0.5, -0.5)
            a.set_xlabel("F1 below the best format, points")
        legend(drawing, list(handles.values()), list(handles))

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


def cost_figure(source: Source, test: TestSet, n: int) -> Figure | None:
    """F1 against tokens, passes and seconds a document: a mark a group, its colour the format, its shape the
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


def kinds_figure(source: Source, outcomes: Mapping[str, CellOutcome], test: TestSet, n: int) -> Figure | None:
    """The errors of each format by kind, as shares of the gold entities; a panel a system."""
    shown, formats, _ = here(source, test)
    decoding = headline(source, test)
    bars: dict[System, dict[str, dict[str, float]]] = {}
    totals: dict[tuple[System, str], tuple[float, float]] = {}
    entities: set[int] = set()
    rows: list[tuple[str | float | None, ...]] = []
    for system in shown:
        for format in formats:
            group = source.collection.get(GroupKey(system, format, test, decoding))
            known = [outcomes[id] for id in group.cells if id in outcomes]
            gold = sum(float(o.repaired[:, 0].sum() + o.repaired[:, 2].sum()) for o in known)
            if gold:
                counts = {kind: sum(o.kinds[kind] for o in known) for kind in ERROR_KINDS if kind != "right"}
                bars.setdefault(system, {})[format] = {kind: count / gold for kind, count in counts.items()}
                entities.add(round(gold / len(known)))
                if bounds := source.estimates.error_rate([id for id in group.cells if id in outcomes]):
                    totals[system, format] = bounds
                rows += [
                    (system.title, format, decoding, kind, count, count / gold, None, None, " ".join(group.cells))
                    for kind, count in counts.items()
                ]
                total = sum(counts.values())
                low, high = totals.get((system, format), (None, None))
                rows.append(
                    (system.title, format, decoding, "all", total, total / gold, low, high, " ".join(group.cells))
                )
    if not bars:
        return None

    def draw(drawing: Any) -> None:
        axes = panels(drawing, [s.title for s in bars])
        handles: dict[str, Any] = {}
        for a, (system, found) in zip(axes, bars.items(), strict=True):
            a.grid(axis="x")
            for format, shares in found.items():
                if bounds := totals.get((system, format)):
                    y = formats.index(format)
                    a.plot([100 * x for x in bounds], [y, y], color=INK, linewidth=1, zorder=3)
                left = 0.0
                for k, (kind, share) in enumerate(shares.items()):
                    drawn = a.barh(formats.index(format), 100 * share, 0.7, left=left, color=colour(k))
                    handles.setdefault(kind, drawn)
                    left += 100 * share
            a.set_yticks(range(len(formats)), [label(f) for f in formats])
            a.set_ylim(len(formats) - 0.5, -0.5)
            a.set_xlabel("errors for 100 gold entities")
        legend(drawing, list(handles.values()), list(handles))

    return Figure(
        f"kinds-{n}",
        f"Kinds of errors: {source.collection.title(test)}",
        ("system", "format", "decoding", "kind", "errors", "share of gold", "low", "high", "cells"),
        tuple(rows),
        draw,
        size(len(bars), height=0.32 * len(formats) + 0.9),
        f"{source.collection.about(test)}, {', '.join(f'{n:,}' for n in sorted(entities))} gold entities; decoded "
        f"{DECODED.get(decoding, decoding)}.{'' if decoding == GRAMMAR else f' {REPAIRED}'} "
        "Lines: 95 % interval of all errors together.",
        "Errors of each format by kind",
    )


def logarithmic(axes: Any, xs: Sequence[float]) -> None:
    """A logarithmic axis that has two or more numbers on it, however near the values (above 0) lie to each other."""
    from matplotlib.ticker import LogLocator

    low, high = min(xs) / 1.2, max(xs) * 1.2
    middle, reach = (low * high) ** 0.5, max((high / low) ** 0.5, 2.55)  # 1, 2, 5, 10: any factor of 6.3 has two
    axes.set_xscale("log")
    axes.set_xlim(middle / reach, middle * reach)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if reach < 30 else (1.0,)))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_formatter("")


def whiskers(axes: Any, xs: Sequence[float], values: Sequence[Value]) -> None:
    """Intervals of upright bars or points, where they are known, and standard deviations over seeds, thick."""
    for x, v in zip(xs, values, strict=True):
        if v.low is not None and v.high is not None:
            axes.plot([x, x], [100 * v.low, 100 * v.high], color=INK, linewidth=1)
        if v.spread is not None:
            ends = [100 * (v.number - v.spread), 100 * (v.number + v.spread)]
            axes.plot([x, x], ends, color=INK, linewidth=3.5, alpha=0.5, solid_capstyle="butt")
