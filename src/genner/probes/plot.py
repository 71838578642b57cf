"""A bar chart of probes: F1 before and after, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genner.errors import UsageError
from genner.extras import naming_parts
from genner.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BarValue = tuple[float, float, float]
"""A score and the bounds of its interval, in [0, 1]."""

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
BEFORE, AFTER = "#56b4e9", "#d55e00"  # from Okabe and Ito's colour-blind-safe palette
THICK = 0.38  # of a row


@dataclass(frozen=True)
class Bar:
    """One probe: its name, its score on the probed data, and its score on the original data (None if there is none)."""

    name: str
    probed: BarValue
    original: BarValue | None = None

    @classmethod
    def of(
        cls,
        name: str,
        probed: Mapping[str, float],
        original: Mapping[str, float] | None = None,
        prefix: str = "",
    ) -> "Bar":
        """From the result of `Probe.measure`: `f1`, `low` and `high`; a prefix such as `name_` picks that reading of
        the probed data.
        """

        def value(scores: Mapping[str, float], prefix: str = "") -> BarValue:
            f1 = scores[f"{prefix}f1"]  # without an interval, no error bar is drawn
            return f1, scores.get(f"{prefix}low", f1), scores.get(f"{prefix}high", f1)

        return cls(name, value(probed, prefix), value(original) if original is not None else None)


@naming_parts()
def figure(bars: Sequence[Bar], *, title: str = "", ink: str = "black") -> "Figure":
    """Two bars per probe, in percent, the first probe at the top; `ink` is the colour of text and lines.

    The background is transparent, so a light `ink` suits a dark page. Raises `UsageError` without a bar.
    """
    if not bars:
        raise UsageError("there is no probe to draw; give at least one bar")
    # A Figure without pyplot needs no window system and keeps no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(7, 1.2 + 0.55 * len(bars)), layout="constrained", facecolor="none")
    FigureCanvasAgg(made)
    axes = made.add_subplot(facecolor="none")
    rows = {
        "original": (-THICK / 2, BEFORE, [(at, bar.original) for at, bar in enumerate(bars) if bar.original]),
        "probe": (THICK / 2, AFTER, [(at, bar.probed) for at, bar in enumerate(bars)]),
    }
    for label, (shift, colour, values) in rows.items():
        if not values:
            continue
        heights = [100 * f1 for _, (f1, _, _) in values]
        errors = [
            [100 * max(0.0, f1 - low) for _, (f1, low, _) in values],
            [100 * max(0.0, high - f1) for _, (f1, _, high) in values],
        ]
        places = [at + shift for at, _ in values]
        axes.barh(places, heights, THICK, xerr=errors, color=colour, ecolor=ink, capsize=2, label=label)
        for place, height, above in zip(places, heights, errors[1], strict=True):
            axes.annotate(
                f"{height:.1f}", (height + above, place), (4, 0), textcoords="offset points", va="center",
                color=ink, fontsize="x-small",
            )  # fmt: skip
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 108)  # room for the number after a bar of 100
    axes.set_xlabel("strict F1, percent; 95 % intervals", color=ink)
    axes.set_title(title, color=ink, loc="left", fontsize="medium")
    axes.tick_params(colors=ink)
    axes.grid(axis="x", alpha=0.25, color=ink)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
    made.legend(loc="outside upper right", ncols=2, frameon=False, labelcolor=ink, fontsize="small")
    return made


@naming_parts()
def draw(bars: Sequence[Bar], out: Path, *, title: str = "", ink: str = "black") -> None:
    """Draw `figure` into a file: PNG, SVG or PDF, by its suffix. The same bars give the same bytes.

    Raises `UsageError` on another suffix or without a bar, `OSError` when `out` cannot be written.
    """
    suffix = out.suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        raise UsageError(f"{str(out)!r} ends in {suffix!r}; legal: {', '.join(FIGURE_SUFFIXES)}")
    from matplotlib import rc_context

    made = figure(bars, title=title, ink=ink)
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "genner", "svg.fonttype": "path"}), replacing(out) as file:
        made.savefig(file, format=suffix[1:], dpi=120, metadata=dated.get(suffix, {}))
