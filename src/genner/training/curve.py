"""The learning curve: reads `metrics.jsonl` and plots it."""

import json
from pathlib import Path
from typing import Any

from genner.extras import naming_parts
from genner.writing import replacing

MEAN, SET = "dev_f1", "dev_f1_"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file, in order; none if there is no file yet.

    A line that is not a complete record is skipped: a killed run may leave its last line cut. Raises `OSError`.
    """
    records = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    return records


@naming_parts()
def draw(metrics: Path, out: Path) -> None:
    """Draw the training loss and the dev F1 of each set and of their mean over minutes of training, as a PNG.

    Works on a run that has no losses or no evaluations yet. Raises `OSError` when `out` cannot be written, and
    `MissingPartError` without matplotlib.
    """
    # Figures without pyplot: no window system is needed, and there is no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read_metrics(metrics)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    left.set(xlabel="minutes of training", ylabel="loss, nats a token")
    left.grid(alpha=0.3)
    minutes, losses = _series(records, "loss")
    if losses:
        left.plot(minutes, losses, color="0.4", linewidth=1, label="loss")
        if min(losses) > 0:
            left.set_yscale("log")
    right = left.twinx()
    right.set(ylabel="F1 on dev", ylim=(0, 1))
    names = dict.fromkeys(key for record in records for key in record if key.startswith(SET))
    for name in names:
        right.plot(*_series(records, name), marker=".", linewidth=0.8, alpha=0.7, label=name.removeprefix(SET))
    if any(MEAN in record for record in records):
        right.plot(*_series(records, MEAN), marker="o", linewidth=2, color="black", label="mean F1")
    lines = [*left.get_lines(), *right.get_lines()]
    if lines:
        figure.legend(lines, [str(line.get_label()) for line in lines], loc="outside right upper", fontsize="small")
    with replacing(out, alone=True) as file:
        figure.savefig(file, format="png", dpi=120)


def _series(records: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Minutes and values of the records that have `key`."""
    found = [(record.get("seconds", 0.0) / 60, record[key]) for record in records if key in record]
    return [x for x, _ in found], [y for _, y in found]
