"""Helpers for all figures: style, panel grid, and output as a file or as a part of the page.

A figure is drawn once for the page, with the page's font and colours (so it follows light and dark mode), and once for
files, in fixed colours on white. Both come from matplotlib's SVG writer; on the page, CSS variables replace our
colours."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from textwrap import wrap
from typing import Any

from genner.evaluation.intervals import Difference
from genner.render.layout import PALETTE, visible_line
from genner.report.common import DECODING_TITLES
from genner.report.paper import PAPER_FORMATS
from genner.report.table import Figure, Value

INK, FAINT, RULE = "#1c2126", "#5d6670", "#dfe3e7"  # the page's colours in light mode
_VARIABLES = {INK: "--ink", FAINT: "--faint", RULE: "--rule"} | {c.dark: f"--s{i}" for i, c in enumerate(PALETTE)}
_HASHED_ID = re.compile(r'((?:id="|#)(?:p|m|h|C|image))([0-9a-f]{10})\b')
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

FIGURE_CSS = (
    ":root { " + " ".join(f"--s{i}: {c.dark};" for i, c in enumerate(PALETTE)) + " }\n"
    "@media screen and (prefers-color-scheme: dark) { :root { "
    + " ".join(f"--s{i}: {c.light};" for i, c in enumerate(PALETTE))
    + " } }\nfigure svg * { stroke-linejoin: round; stroke-linecap: butt; }\n"
)
"""CSS for the colours of the series."""

_LOOK: dict[str, Any] = {
    "text.parse_math": False,  # a dollar sign in a label is literal
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.facecolor": "none",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "genner",  # reproducible: the same figure gives the same file
}


def format_colour(format: str, known: Sequence[str] = ()) -> str:
    """The colour of a format: fixed for the paper's five, then assigned in order of `known`."""
    order = [*PAPER_FORMATS, *sorted(set(known) - set(PAPER_FORMATS))]
    return colour(order.index(format) if format in order else len(order))


def decoding_colour(decoding: str) -> str:
    order = list(DECODING_TITLES)
    return colour(order.index(decoding) if decoding in order else len(order))


def colour(i: int) -> str:
    return PALETTE[i % len(PALETTE)].dark


def marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]


def label(text: str, longest: int = 44) -> str:
    """Text for a drawing: one line, printable, truncated to fit."""
    line = re.sub("[\ufffe\uffff]", "\ufffd", visible_line(text))  # no characters to XML
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


def legend(figure: Any, handles: Sequence[Any], labels: Sequence[str], longest: int = 44) -> None:
    """One legend above all panels, with as many columns as the label lengths allow."""
    if handles:
        said = [label(x, longest) for x in labels]
        room = 12.5 * figure.bbox.width / figure.dpi  # characters; a legend handle takes six
        columns = max(1, min(len(said), int(room / (max(map(len, said)) + 6))))
        figure.legend(handles, said, loc="outside upper left", ncols=columns)


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


def whiskers(axes: Any, xs: Sequence[float], values: Sequence[Value]) -> None:
    """Error bars of vertical bars or points: intervals where known, and standard deviations over seeds as thick
    lines."""
    for x, v in zip(xs, values, strict=True):
        if v.low is not None and v.high is not None:
            axes.plot([x, x], [100 * v.low, 100 * v.high], color=INK, linewidth=1)
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
    legend(drawing, list(handles.values()), list(handles), longest=longest)


def inline(figure: Figure) -> str:
    """The figure as an SVG element for the page; its ids begin with its name, so that those of figures do not
    collide."""
    svg = _svg(figure, as_text=True)
    svg = re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)  # XML declaration, document type
    # Their style would apply to the whole page.
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", svg, flags=re.DOTALL)
    # Only within tags: text may hold anything but angle brackets, which are escaped.
    return re.sub(r"<[^>]*>", lambda tag: _themed(tag[0], figure.name), svg).strip()


def _themed(tag: str, name: str) -> str:
    """A tag with its ids and references prefixed for the figure, and with the page's colours and font."""
    tag = tag.replace(' target="_blank"', "")
    tag = re.sub(r'(?<=\sid=")', f"{name}-", tag).replace("url(#", f"url(#{name}-")
    tag = re.sub(r'(?<=xlink:href="#)(?!cell-)', f"{name}-", tag)  # links to cells point outside the figure
    for value, variable in _VARIABLES.items():
        tag = tag.replace(value, f"var({variable})")
    return re.sub(r"font-family: [^;\"]*;? ?", "", tag)


def svg_file(figure: Figure) -> str:
    """The figure as an SVG file that includes its title and caption."""
    return _svg(figure, as_text=False)


def png_file(figure: Figure) -> bytes:
    """The figure as PNG at 200 dpi, including its title and caption."""
    return _drawn(figure, "png", alone=True, dpi=200, facecolor="white", metadata={"Software": None})


def _svg(figure: Figure, as_text: bool) -> str:
    face = "none" if as_text else "white"
    fonts = {"svg.fonttype": "none" if as_text else "path"}
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    svg = _drawn(figure, "svg", alone=not as_text, facecolor=face, metadata=nothing, rc=fonts).decode("utf-8")
    return _counted_ids(svg)


def _counted_ids(svg: str) -> str:
    """Replace ids by counters, so that the same figure gives the same file. Matplotlib hashes full floats into its ids,
    and their last digits vary between layouts (its solver depends on memory addresses); the written coordinates have
    fewer digits.
    """
    numbers: dict[str, int] = {}
    return _HASHED_ID.sub(lambda found: f"{found[1]}{numbers.setdefault(found[2], len(numbers))}", svg)


def _drawn(figure: Figure, kind: str, alone: bool, rc: dict[str, Any] | None = None, **how: Any) -> bytes:
    """Draw the figure; with `alone`, it includes its title, caption and number of documents."""
    # Without pyplot: this needs no window system and keeps no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    with _look(rc or {}):
        width, height = figure.size
        if alone:
            title, caption = _wrapped(figure.title, 0.7 * width), _wrapped(figure.caption, width)
            above, below = (0.06 + 0.18 * (title.count("\n") + 1), 0.1 + 0.14 * (caption.count("\n") + 1))
            drawing = Drawing(figsize=(width, above + height + below), layout="constrained")
            parts: Any = drawing.subfigures(3, 1, height_ratios=(above, height, below))
            head, body, foot = parts
            head.text(0.01, 0.1, title, va="bottom", fontsize=10, fontweight="bold", color=INK)
            foot.text(0.01, 0.9, caption, va="top", fontsize=7, color=FAINT)
        else:
            body = drawing = Drawing(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawing)
        figure.draw(body)
        out = io.BytesIO()
        drawing.savefig(out, format=kind, **how)
    return out.getvalue()


def _wrapped(text: str, width: float) -> str:
    """Text wrapped to a drawing of this width in inches."""
    line = re.sub("[\ufffe\uffff]", "\ufffd", visible_line(text))  # no characters to XML
    return "\n".join(wrap(line, max(20, int(19 * width))))


@contextmanager
def _look(more: dict[str, Any]) -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_LOOK | more), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the page's fonts have this glyph
        yield
