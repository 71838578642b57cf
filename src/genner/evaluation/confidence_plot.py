"""A picture of what scores are worth: the precision-recall curve, the choice of a least score, the reliability diagram
(DeGroot and Fienberg, 1983) with Wilson's intervals (1927)."""

from io import BytesIO
from math import sqrt

from genner.evaluation.confidence import Confidence
from genner.extras import naming_parts


@naming_parts()
def picture(some: Confidence, kind: str, title: str = "") -> bytes:
    """It drawn, as a file of this kind: `png`, `svg` or `pdf`. Raises `MissingPartError` without matplotlib."""
    # Figures without pyplot: no window system is asked for, and nothing is kept globally.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    for axes in (left, middle, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(0, 1.04))
        axes.grid(alpha=0.3)
    counts = [point.counts for point in some.curve]
    least = [point.least for point in some.curve]
    best = some.best

    left.plot([c.recall for c in counts], [c.precision for c in counts], color="C0")
    left.plot(best.counts.recall, best.counts.precision, "o", color="black")
    left.set(xlabel="recall", ylabel="precision", title=f"average precision {some.average_precision:.3f}")

    for name, values in (
        ("precision", [c.precision for c in counts]),
        ("recall", [c.recall for c in counts]),
        ("F1", [c.f1 for c in counts]),
    ):
        # Between two scores nothing changes: what is kept are the entities from the next score on.
        middle.step(least, values, where="pre", label=name)
    middle.axvline(best.least, color="black", linewidth=0.8, linestyle="--")
    middle.set(xlabel="--min-score", title=f"best F1 {best.counts.f1:.3f} at {best.least:.4f}")
    middle.legend(loc="lower left", fontsize="small")

    filled = [b for b in some.reliability if b.count]
    right.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    lows, shares = [b.low for b in filled], [b.right for b in filled]
    right.bar(lows, shares, 1 / some.bins, align="edge", alpha=0.5, edgecolor="C0")
    right.plot([b.score for b in filled], shares, "o", color="C1", markersize=4)
    for b in filled:
        middle_of = (b.low + b.high) / 2
        right.plot([middle_of, middle_of], wilson(b.right, b.count), color="C0", linewidth=1)
    for b in filled:
        right.text((b.low + b.high) / 2, 0.02, str(b.count), ha="center", fontsize=7)
    right.set(xlabel="score", ylabel="share that is right", title=f"expected calibration error {some.error:.3f}")
    if title:
        figure.suptitle(title, fontsize="medium")
    file = BytesIO()
    figure.savefig(file, format=kind, dpi=120)
    return file.getvalue()


def wilson(share: float, n: int) -> tuple[float, float]:
    """The interval at 95 % of a share of n things, by Wilson's method."""
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)
