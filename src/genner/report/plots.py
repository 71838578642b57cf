"""Drawing: colours, markers, panels, legends and error bars that all figures share."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from genner.evaluation.jackknife import Difference, Interval
from genner.render.layout import PALETTE, visible_line
from genner.report.paper import PAPER_FORMATS
from genner.report.table import Value
from genner.report.terms import decoding_place

INK, FAINT, RULE = "#1c2126", "#5d6670", "#dfe3e7"  # the page's colours in light mode
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def format_colour(format: str, known: Sequence[str] = ()) -> str:
    """The colour of a format: fixed for the paper's five, then assigned in order of `known`."""
    order = [*PAPER_FORMATS, *sorted(set(known) - set(PAPER_FORMATS))]
    return colour(order.index(format) if format in order else len(order))


def decoding_colour(decoding: str) -> str:
    return colour(decoding_place(decoding))


def colour(i: int) -> str:
    return PALETTE[i % len(PALETTE)].dark


def marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]


def xml_line(text: str) -> str:
    """Text as one printable line without the characters that XML does not have."""
    return re.sub("[\ufffe\uffff]", "\ufffd", visible_line(text))


def label(text: str, longest: int = 44) -> str:
    """Text for a drawing: one line, printable, truncated to fit."""
    line = xml_line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def panels(
    figure: Any, titles: Sequence[str], columns: int = 3, share_x: bool = True, share_y: bool = True
) -> list[Any]:
    """One set of axes per title, in rows of at most `columns`, with a faint grid."""
    across = min(columns, len(titles)) or 1
    grid = figure.subplots(ceil(len(titles) / across) or 1, across, sharex=share_x, sharey=share_y, squeeze=False)
    axes = [a for row in grid for a in row]
    for a in axes[len(titles) :]:
        a.set_visible(False)
    for a, title in zip(axes, titles, strict=False):
        if title:
            a.set_title(label(title))
        a.tick_params(length=0)
    for at, a in enumerate(axes):
        if share_y and at % across:
            a.spines["left"].set_visible(False)
    if share_x:  # a panel above an empty place is the last in its column
        for at in range(max(0, len(titles) - across), len(titles)):
            axes[at].tick_params(labelbottom=True)
    return axes[: len(titles)]


def legend(figure: Any, handles: Mapping[str, Any], longest: int = 44) -> None:
    """One legend above all panels, with as many columns as the lengths of the names allow."""
    if handles:
        said = [label(x, longest) for x in handles]
        room = 12.5 * figure.bbox.width / figure.dpi  # characters; a legend handle takes six
        columns = max(1, min(len(said), int(room / (max(map(len, said)) + 6))))
        figure.legend(list(handles.values()), said, loc="outside upper left", ncols=columns)


def size(
    panels: int, columns: int = 3, width: float = 9.0, height: float = 2.2, extra: float = 0.6
) -> tuple[float, float]:
    """Width and height in inches of a grid of panels, each `height` inches high."""
    across = min(columns, panels) or 1
    return (width if across > 1 else min(width, 6.5)), height * (ceil(panels / across) or 1) + extra


def logarithmic(axes: Any, xs: Sequence[float]) -> None:
    """A logarithmic axis with at least two tick labels, however close the values (above 0) are."""
    from matplotlib.ticker import LogLocator

    low, high = min(xs) / 1.2, max(xs) * 1.2
    middle, reach = (low * high) ** 0.5, max((high / low) ** 0.5, 2.55)  # any factor of 6.3 holds two ticks
    axes.set_xscale("log")
    axes.set_xlim(middle / reach, middle * reach)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if reach < 30 else (1.0,)))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_formatter("")


def interval_line(axes: Any, place: float, interval: Interval | None, along: str = "y", **style: Any) -> None:
    """A line over an interval in percent, parallel to the axis `along`; nothing if the interval is unknown."""
    if interval:
        ends, places = [100 * x for x in interval], [place, place]
        axes.plot(*((ends, places) if along == "x" else (places, ends)), **style)


def whiskers(axes: Any, xs: Sequence[float], values: Sequence[Value]) -> None:
    """Error bars of vertical bars or points: intervals where known, and standard deviations over seeds as thick
    lines."""
    for x, v in zip(xs, values, strict=True):
        interval_line(axes, x, v.interval, color=INK, linewidth=1)
        if v.spread is not None:
            ends = [100 * (v.number - v.spread), 100 * (v.number + v.spread)]
            axes.plot([x, x], ends, color=INK, linewidth=3.5, alpha=0.5, solid_capstyle="butt")


def beside_others(k: int, n: int, step: float) -> float:
    """The offset of the k-th of n marks in a row, so that none hides another."""
    return (k - (n - 1) / 2) * step


def name_rows(axes: Any, names: Sequence[str]) -> None:
    """Rows listed from top to bottom, with names on the left."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


@dataclass(frozen=True, slots=True)
class DifferenceMark:
    """A difference in a figure: the indices of its row and series, and how far its error bar reaches below and above
    it."""

    row: int
    series: int
    value: float
    below: float
    above: float

    @classmethod
    def of(cls, row: int, series: int, d: Difference) -> "DifferenceMark":
        """The mark of a difference with its interval."""
        return cls(row, series, d.value, d.value - d.low, d.high - d.value)


def draw_differences(
    drawing: Any,
    marks: Sequence[tuple[str, Sequence[DifferenceMark]]],
    rows: Sequence[str],
    series: Sequence[tuple[str, str, str]],
    xlabel: str,
    *,
    step: float,
    markersize: float = 5,
    line: float = 1.2,
    longest: int = 44,
) -> None:
    """Differences in points as marks with error bars, one line per row, one panel per title in `marks`.

    `series` has name, marker and colour of each; their marks stand `step` rows apart.
    """
    axes = panels(drawing, [title for title, _ in marks])
    handles: dict[str, Any] = {}
    for a, (_, found) in zip(axes, marks, strict=True):
        a.grid(axis="x")
        a.axvline(0, color=FAINT, linewidth=1)
        for m in found:
            name, shape, hue = series[m.series]
            y, xerr = m.row + beside_others(m.series, len(series), step), [[m.below], [m.above]]
            xerr = [[100 * max(0.0, x) for x in side] for side in xerr]
            style: dict[str, Any] = {"fmt": shape, "color": hue, "markersize": markersize, "elinewidth": line}
            handles.setdefault(name, a.errorbar([100 * m.value], [y], xerr=xerr, **style))
        name_rows(a, rows)
        a.set_xlabel(xlabel)
    legend(drawing, handles, longest)
