"""Table entries from groups of cells: mean, interval, and marks for differences from the best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import stdev

from genner.evaluation.intervals import Difference, Estimate, average
from genner.generations.readings import ReadingName
from genner.report.estimates import STARS, Estimates, stars, together
from genner.report.results import CellGroup, Collection, absence
from genner.report.table import Entry, Missing, Value, best_of

BEST = "Bold: the best. Below the best: " + STARS + ". The differences stand in the CSV, and on hover on the page."
"""The meaning of the marks beside scores, a template with the field `family`."""


@dataclass(frozen=True, slots=True)
class Source:
    """The input of tables. `problems` lists faults of the records; `examples` is the number of errors shown per kind,
    format and decoding."""

    collection: Collection
    estimates: Estimates
    problems: tuple[str, ...] = ()
    examples: int = 2


def score(source: Source, group: CellGroup, rule: ReadingName = "strict") -> Entry:
    """The F1 of a group by a rule, with its interval; for several seeds, the mean and the standard deviation."""
    number = group.mean(rule, "f1")
    if number is None:
        if group.done:
            return Missing("undefined", group.cells, "the record has no such figure")
        return absence(group.items)
    low, high = source.estimates.interval(group.cells, rule) or _recorded(group, rule)
    spread = deviation(group, rule, "f1")
    return Value(number, low=low, high=high, spread=spread, cells=group.cells, part=part(group))


def deviation(group: CellGroup, *path: str) -> float | None:
    """The standard deviation of a metric over seeds (divisor n - 1); None if fewer than two seeds have it."""
    found = [value for item in group.done if (value := item.metric(*path)) is not None]
    return stdev(found) if len(found) > 1 else None


def part(group: CellGroup) -> str:
    """`2 of 3 seeds` if some cells have no result yet; `3 seeds` if there are several and all have one; else empty."""
    done, all_ = len(group.done), len(group.items)
    return f"{done} of {all_} seeds" if done < all_ else f"{done} seeds" if done > 1 else ""


def _recorded(group: CellGroup, rule: ReadingName) -> tuple[float | None, float | None]:
    """The interval in the record of a single cell."""
    if len(group.done) != 1:
        return None, None
    low, high = (group.done[0].metric(rule, key) for key in ("low", "high"))
    return (low, high) if low is not None and high is not None else (None, None)


def rates(group: CellGroup, key: str) -> Entry:
    """The mean over seeds of a rate in the metrics, as a percentage."""
    number = group.mean(key)
    if number is None:
        return Missing("undefined", group.cells) if group.done else absence(group.items)
    return Value(number, "percent", cells=group.cells, part=part(group) if len(group.done) < len(group.items) else "")


def mean_of(source: Source, entries: Sequence[Entry], rule: ReadingName = "strict") -> Entry:
    """The unweighted mean of scores, with its interval; missing if any of them is missing."""
    values = [e for e in entries if isinstance(e, Value)]
    if len(values) < len(entries) or not values:
        gap = next((e for e in entries if isinstance(e, Missing)), None)
        return replace(gap, note=gap.note or "an average needs all its parts") if gap else Missing("absent")
    scores = [source.estimates.f1(v.cells, rule) for v in values]
    known = [s for s in scores if s is not None]
    low, high = (average(known).interval() if len(known) == len(values) else None) or (None, None)
    cells = tuple(dict.fromkeys(id for v in values for id in v.cells))
    return Value(sum(v.number for v in values) / len(values), low=low, high=high, cells=cells)


def against_best(
    entries: Sequence[Entry],
    test: Callable[[Value, Value], Difference | None],
    candidates: Sequence[int] | None = None,
) -> list[Entry]:
    """The column with its best entry in bold and marks on all lower entries.

    `test(best, value)` gives the difference, value less best. Only the indices in `candidates` take part (default:
    all).
    """
    places = [i for i in (range(len(entries)) if candidates is None else candidates) if isinstance(entries[i], Value)]
    values = {i: e for i in places if isinstance(e := entries[i], Value)}
    top = {places[k] for k in best_of([values[i].number for i in places])}
    result = list(entries)
    if not top:
        return result
    best = values[min(top)]
    rest = [i for i in places if i not in top]
    for i, d in zip(rest, together([test(best, values[i]) for i in rest]), strict=True):
        result[i] = replace(values[i], p=d.p if d else None, mark=stars(d), against=d)
    for i in top:
        result[i] = replace(values[i], best=True)
    return result


def tested(source: Source) -> Callable[[Value, Value], Difference | None]:
    """The difference of two scores, computed from the cells behind them."""

    def test(best: Value, value: Value) -> Difference | None:
        change = source.estimates.change(best.cells, value.cells)
        return change.difference if change and change.together else None

    return test


def tested_means(
    source: Source, parts: Mapping[tuple[str, ...], Sequence[Value]]
) -> Callable[[Value, Value], Difference | None]:
    """As `tested`, for means: `parts` maps the cells of a mean to its component scores."""

    def mean(value: Value) -> Estimate | None:
        scores = [source.estimates.f1(v.cells) for v in parts.get(value.cells, ())]
        known = [s for s in scores if s is not None]
        return average(known) if known and len(known) == len(scores) else None

    def test(best: Value, value: Value) -> Difference | None:
        one, two = mean(best), mean(value)
        return None if one is None or two is None else (two - one).difference()

    return test


def points(d: Difference | None, cells: tuple[str, ...], why: str = "") -> Entry:
    """A difference in percentage points with its interval and mark."""
    if d is None:
        return Missing("undefined", cells, why or "a cell kept no answers, or they are of other documents")
    return Value(d.value, "points", *limits(d), p=d.p, mark=stars(d), cells=cells)


def limits(d: Difference) -> tuple[float | None, float | None]:
    """The bounds of an interval; None if there are too few units."""
    return (d.low, d.high) if d.known else (None, None)
