"""What verification denied (`genner.few_shot.verification`), and the scores before and after it."""

from collections.abc import Callable
from functools import partial

from genner.report.entries import mean_count
from genner.report.results import CellGroup
from genner.report.source import Source, group_table
from genner.report.table import Column, Entry, Table, Value, ValueKind

RATIOS: dict[str, ValueKind] = {"precision": "percent", "recall": "percent", "f1": "f1"}
UNKNOWN = "the record does not say which entities were denied"


def verification_table(source: Source) -> Table | None:
    """What was asked about and denied, and precision, recall and F1 before and after; None if nothing was verified."""
    groups = [g for g in source.collection.ordered() if any(_verifies(item.description) for item in g.items)]
    if not groups:
        return None
    counts: dict[Column, Callable[[CellGroup], Entry]] = {
        Column("asked about", "Entities"): partial(mean_count, path=("before_verification", "predicted")),
        Column("denied", "Entities"): partial(mean_count, path=("refuted",)),
        Column("right, yet denied", "Entities"): _right_yet_denied,
        Column("no clear answer", "Entities"): partial(mean_count, path=("unverified",)),
    }
    ratios: dict[Column, Callable[[CellGroup], Entry]] = {
        Column(when, "F1" if ratio == "f1" else ratio.capitalize()): partial(_ratio, reading=reading, ratio=ratio)
        for ratio in RATIOS
        for when, reading in (("before", "before_verification"), ("after", "strict"))
    }
    return group_table(
        source,
        "verification",
        "What verification denied",
        counts | ratios,
        "The model was asked about each entity that it found whether it is one. Denied: answered no, and left out; "
        "right, yet denied: those of them that are in the gold data; no clear answer: neither yes nor no, and kept. "
        "Before: the scores with the denied entities; after: without, which are the system's scores in all other "
        "tables; both strict, in percent. Means over seeds.",
        groups,
    )


def _verifies(description: dict[str, object]) -> bool:
    system = description.get("system")
    return isinstance(system, dict) and bool(system.get("verify"))


def _right_yet_denied(group: CellGroup) -> Entry:
    before, after = (mean_count(group, (reading, "correct")) for reading in ("before_verification", "strict"))
    if not isinstance(before, Value) or not isinstance(after, Value):
        return group.missing(UNKNOWN)
    return Value(before.number - after.number, "number", cells=group.cells)


def _ratio(group: CellGroup, reading: str, ratio: str) -> Entry:
    number = group.mean(reading, ratio)
    return group.missing(UNKNOWN) if number is None else Value(number, RATIOS[ratio], cells=group.cells)
