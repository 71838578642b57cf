"""Figures as files, and as parts of the page.

A figure is drawn once for the page, with the page's font and colours (so it follows light and dark mode), and once for
files, in fixed colours on white. Both come from matplotlib's SVG writer; on the page, CSS variables replace our
colours."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import wrap
from typing import Any

from genner.render.layout import PALETTE
from genner.report.plots import FAINT, INK, RULE, xml_line
from genner.report.table import Figure

_VARIABLES = {INK: "--ink", FAINT: "--faint", RULE: "--rule"} | {c.dark: f"--s{i}" for i, c in enumerate(PALETTE)}
_HASHED_ID = re.compile(r'((?:id="|#)(?:p|m|h|C|image))([0-9a-f]{10})\b')

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
    return "\n".join(wrap(xml_line(text), max(20, int(19 * width))))


@contextmanager
def _look(more: dict[str, Any]) -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_LOOK | more), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the page's fonts have this glyph
        yield
