"""A comparison as text and tables (Markdown), for the terminal or a file."""

from genner.ability.paired_differences import Decomposition, DifferencePart, PairedDifference
from genner.ability.run import AbilityComparison, AbilityComparisons
from genner.render.markdown import escaped

# Measure -> its name in the table, and the factor applied to its unit.
_NAMES = {
    "em": ("exact match", 100.0),
    "f1": ("F1", 100.0),
    "em_answered": ("exact match, both answer", 100.0),
    "f1_answered": ("F1, both answer", 100.0),
    "empty": ("empty answers", 100.0),
    "tokens": ("tokens of an answer", 1.0),
    "per_token": ("log-likelihood of gold, by token", 1.0),
    "choice": ("gold likelier than wrong ones", 100.0),
}


def markdown(found: AbilityComparisons) -> str:
    """All comparisons: a table of changes, and for tasks with an F1 its decomposition and a sentence about it."""
    lines = ["# General ability", ""]
    if found.results:
        first = found.results[0]
        settings = ", ".join(f"{key} {value}" for key, value in first.settings.items())
        limits = sorted({f"{r.task}: {r.examples}" for r in found.results})
        lines += [
            f"lm-evaluation-harness {first.harness}; {settings}; seed {first.seed}. Items: {', '.join(limits)}.",
            "Differences: other minus base, on the same items, with paired t intervals at 95 % over them; "
            "each by itself. p <= 0.05 where the interval does not hold 0.",
            "",
        ]
    lines += [*_scores(found), ""]
    for comparison in found.comparisons:
        lines += [f"## {comparison.task}, {comparison.shots} shots: {escaped(comparison.other)} against base", ""]
        lines += ["| | n | base | other | difference | 95 % interval | p |", "|---|---|---|---|---|---|---|"]
        lines += [_row(name, change) for name, change in comparison.deltas.items() if not _twice(name, comparison)]
        if comparison.parts:
            lines += ["", "| F1 after cutting | difference | empty | form | content |", "|---|---|---|---|---|"]
            lines += [_parts(part) for part in comparison.parts]
            lines += ["", verdict(comparison)]
        lines.append("")
    if found.problems:
        lines += [
            "## Not measured",
            "",
            *(f"- {escaped(where)}: {escaped(why)}" for where, why in found.problems.items()),
            "",
        ]
    return "\n".join(lines)


def _scores(found: AbilityComparisons) -> list[str]:
    """The harness's own scores, one column per side."""
    sides = list(dict.fromkeys(result.side for result in found.results))
    cells: dict[tuple[str, int, str], dict[str, str]] = {}
    for result in found.results:
        for metric, score in result.scores.items():
            error = f" (se {score['stderr']:.3f})" if score["stderr"] is not None else ""
            cells.setdefault((result.task, result.shots, metric), {})[result.side] = f"{score['value']:.3f}{error}"
    lines = [f"| task | shots | score | {' | '.join(map(escaped, sides))} |", "|---|---|---|" + "---|" * len(sides)]
    for (task, shots, metric), row in cells.items():
        lines.append(f"| {task} | {shots} | {metric} | {' | '.join(row.get(side, '') for side in sides)} |")
    return lines if cells else []


def _twice(name: str, comparison: AbilityComparison) -> bool:
    """Whether a measure is also listed under another name."""
    if name == "em":
        return "harness/acc" in comparison.deltas
    return name in ("harness/em", "harness/f1")


def _row(name: str, change: PairedDifference) -> str:
    label, unit = _NAMES.get(name, (f"`{name}`", 1.0))
    digits = 1 if unit > 1 else 3
    base, other = (f"{unit * x:.{digits}f}" for x in (change.base, change.other))
    value, low, high = (f"{unit * x:+.{digits}f}" for x in (change.value, change.low, change.high))
    interval = f"{low} to {high}" if change.difference.known else "-"
    p = f"{change.p:.4f}" if change.difference.known else "-"
    return f"| {label} | {change.n} | {base} | {other} | {value} | {interval} | {p} |"


def _parts(parts: Decomposition) -> str:
    cells = " | ".join(_points(part) for part in (parts.total, parts.empty, parts.form, parts.content))
    return f"| {parts.cut} | {cells} |"


def _points(part: DifferencePart) -> str:
    return f"{100 * part.value:+.1f} ({100 * part.low:+.1f} to {100 * part.high:+.1f})"


def verdict(comparison: AbilityComparison) -> str:
    """A sentence that says whether a change of F1 is due to form or content, with the figures behind it.

    A change is significant if its 95 % interval excludes 0. It is due to content if the truncated answers change in the
    same direction under every truncation and the rank of the gold answer among wrong ones changes likewise; due to form
    if neither changes under any truncation; otherwise the figures are inconclusive. Raises `ValueError` for a task
    without an F1.
    """
    if not comparison.parts:
        raise ValueError(f"{comparison.task} has no F1")
    total, empty = comparison.parts[0].total, comparison.parts[0].empty
    if not total.sure:
        return f"F1 changes by {_points(total)}: no more than chance."
    sign = 1 if total.value > 0 else -1
    contents = [part.content for part in comparison.parts]
    forms = [100 * part.form.value for part in comparison.parts]
    moved = [sign * part.value > 0 and part.sure for part in contents]
    choice = comparison.deltas.get("choice")
    chosen = choice is not None and sign * choice.value > 0 and choice.sure
    if all(moved) and (choice is None or chosen):
        what = "This is more than form"
    elif not any(moved) and not chosen:
        what = "This is form: nothing sure is left of it when both answer in one form"
    else:
        what = "How much of it is content, these figures do not decide"
    values = [100 * part.value for part in contents]
    said = [
        f"F1 {'rises' if sign > 0 else 'falls'} by {100 * abs(total.value):.1f} points "
        f"({100 * min(abs(total.low), abs(total.high)):.1f} to {100 * max(abs(total.low), abs(total.high)):.1f}).",
        f"Of the difference, {_points(empty)} comes from items that only one side answers, {min(forms):+.1f} to "
        f"{max(forms):+.1f} from the form of answers, {min(values):+.1f} to {max(values):+.1f} from their content.",
    ]
    likelihood = comparison.deltas.get("per_token")
    if likelihood and likelihood.difference.known:
        said.append(
            f"The gold answer's log-likelihood by token changes by {likelihood.value:+.2f} "
            f"({likelihood.low:+.2f} to {likelihood.high:+.2f})."
        )
    if choice is not None:
        said.append(
            f"It is likelier than wrong ones of its kind in {100 * choice.value:+.1f} points more items "
            f"({100 * choice.low:+.1f} to {100 * choice.high:+.1f})."
        )
    return " ".join([*said, what + "."])
