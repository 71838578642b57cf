"""The benchmark's table and figure, made from its JSON only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAD = (
    "| | ms a sentence, batch 1 | to the limit | best batch | ms a sentence | to the limit | passes | tokens computed "
    "| F1 | peak MB |"
)
LIMIT = "limit"


@dataclass(frozen=True)
class Line:
    """A row of the table: a system at batch 1 and at its best batch size, each with its ratio to the lower bound's."""

    about: str
    single: dict[str, Any] | None
    single_ratio: float | None
    best: dict[str, Any]
    best_ratio: float | None


def groups(rows: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, str, list[Line]]]:
    """(set, format, its lines) for each table. Systems that write no answers are in every table of their set."""
    names = dict.fromkeys((row["set"], row["format"]) for row in rows.values() if row["format"])
    for name, form in names or dict.fromkeys((row["set"], "-") for row in rows.values()):
        systems: dict[str, list[dict[str, Any]]] = {}
        for row in rows.values():
            if row["set"] == name and row["format"] in (form, None):
                systems.setdefault(row["row"], []).append(row)
        lines = [_line(sizes, systems.get(LIMIT, [])) for sizes in systems.values()]
        yield name, form, lines


def _line(sizes: list[dict[str, Any]], limit: list[dict[str, Any]]) -> Line:
    def ms(row: dict[str, Any]) -> float:
        return float(row["ms_per_sentence"])

    best, single = min(sizes, key=ms), next((row for row in sizes if row["batch"] == 1), None)
    limit_single = next((ms(row) for row in limit if row["batch"] == 1), None)
    limit_best = min(map(ms, limit), default=None)
    return Line(
        best["about"],
        single,
        ms(single) / limit_single if single and limit_single else None,
        best,
        ms(best) / limit_best if limit_best else None,
    )


def table(rows: Mapping[str, dict[str, Any]]) -> str:
    """Markdown: a table for each set and format. Passes and tokens are per sentence, at the best batch size."""
    parts = []
    for name, form, lines in groups(rows):
        runs = {run for line in lines for row in (line.single, line.best) if row for run in row["runs"]}
        settings = lines[0].best["settings"]
        parts.append(
            f"{name}, {form}: {settings['sentences']} sentences, {settings['threads']} threads, {settings['dtype']}"
            + (f"; rows of {len(runs)} runs, ratios between them are less sure" if len(runs) > 1 else "")
            + f"\n\n{HEAD}\n|{'---|' * (HEAD.count('|') - 1)}\n"
            + "".join(f"| {' | '.join(_cells(line))} |\n" for line in lines)
        )
    return "\n".join(parts)


def _cells(line: Line) -> list[str]:
    def number(value: float | None, digits: int = 1) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    best = line.best
    return [
        line.about,
        number(line.single["ms_per_sentence"] if line.single else None),
        number(line.single_ratio),
        str(best["batch"]),
        number(best["ms_per_sentence"]),
        number(line.best_ratio),
        number(best["passes"]),
        number(best["computed"], 0),
        number(best.get("f1")),
        number(best["peak_mb"], 0),
    ]


def draw(rows: Mapping[str, dict[str, Any]], out: Path) -> None:
    """A PNG: for each set and format, the ratios to the lower bound as bars on a logarithmic axis.

    Without the row `limit` there are no ratios and no bars.
    """
    # Figures without pyplot: this needs no window system and keeps no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(groups(rows))
    most = max((len(lines) for _, _, lines in panels), default=1)
    figure = Figure(figsize=(1 + 6 * max(1, len(panels)), 1.2 + 0.42 * most), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, form, lines) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        axes.set(title=f"{name}, {form}", xlabel="time, in forward passes over prompt and output", xscale="log")
        axes.grid(axis="x", which="both", alpha=0.2)
        axes.set_axisbelow(True)
        axes.axvline(1, color="black", linewidth=1)
        bars = [
            (y + shift, ratio, color, label)
            for y, line in enumerate(lines)
            for shift, ratio, color, label in (
                (-0.2, line.single_ratio, "#9fb7d4", "batch 1"),
                (0.2, line.best_ratio, "#2f5d92", "best batch"),
            )
            if ratio is not None
        ]
        for label in ("batch 1", "best batch"):
            mine = [bar for bar in bars if bar[3] == label]
            found = axes.barh(
                [bar[0] for bar in mine],
                [bar[1] for bar in mine],
                height=0.38,
                color=[bar[2] for bar in mine],
                label=label,
            )
            axes.bar_label(found, fmt="%.1f", padding=2, fontsize=7)
        axes.set_yticks(range(len(lines)), [line.about.replace("`", "") for line in lines], fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        if place == 0:
            figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    part = out.with_name(out.name + ".part")
    figure.savefig(part, format="png", dpi=130)
    part.replace(out)
