"""Table entries from groups of cells: mean, interval, and marks for differences from the best."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import stdev

from genner.evaluation.intervals import average
from genner.evaluation.jackknife import Difference, Estimate, Interval
from genner.generations.paper import PAPER_RULES
from genner.generations.readings import ReadingName
from genner.report.estimates import STARS, corrected, stars
from genner.report.results import CellGroup
from genner.report.source import Source
from genner.report.table import NO_INTERVAL, Entry, Missing, Value

BEST = "Bold: the best. Below the best: " + STARS + ". The differences stand in the CSV, and on hover on the page."
"""The meaning of the marks beside scores, a template with the field `family`."""

DifferenceTest = Callable[[Value, Value], Difference | None]
"""The difference of two scores, the second less the first; None if it is unknown."""


def score(source: Source, group: CellGroup, rule: ReadingName = "strict") -> Entry:
    """The F1 of a group by a rule, with its interval; for several seeds, the mean and the standard deviation."""
    number = group.mean(rule, "f1")
    if number is None:
        return group.missing(_why(group.key.format, rule))
    bounds = source.estimates.interval(group.cells, rule) or _recorded(group, rule)
    found = group.recorded(rule, "f1")
    spread = stdev(found) if len(found) > 1 else None
    return Value.of(number, "f1", bounds, spread=spread, cells=group.cells, part=group.seeds)


def _why(format: str, rule: ReadingName) -> str:
    """Why answers of this format have no score by a rule."""
    if rule != "paper" or format in PAPER_RULES:
        return "the record has no such figure"
    return f"the paper has no script for {f'the format {format}' if format else 'systems without a format'}"


def _recorded(group: CellGroup, rule: ReadingName) -> Interval | None:
    """The interval in the record of a single cell."""
    low, high = (group.mean(rule, key) for key in ("low", "high"))
    return None if len(group.done) != 1 or low is None or high is None else (low, high)


def mean_of(source: Source, entries: Sequence[Entry], rule: ReadingName = "strict") -> Entry:
    """The unweighted mean of scores, with its interval; missing if any of them is missing."""
    values = values_of(entries)
    if len(values) < len(entries) or not values:
        gap = next((e for e in entries if isinstance(e, Missing)), None)
        return replace(gap, note=gap.note or "an average needs all its parts") if gap else Missing("absent")
    mean = _mean_estimate(source, values, rule)
    number = sum(v.number for v in values) / len(values)
    return Value.of(number, "f1", mean.interval() if mean else None, cells=cells_of(values))


def _mean_estimate(source: Source, values: Sequence[Value], rule: ReadingName) -> Estimate | None:
    """The mean of several scores as an estimate; None without scores, or if one of them is unknown."""
    scores = [source.estimates.f1(v.cells, rule) for v in values]
    known = [s for s in scores if s is not None]
    return average(known) if known and len(known) == len(scores) else None


def best_in_bold(column: Iterable[Entry], candidates: Iterable[int] | None = None) -> list[Entry]:
    """The column with its best entry in bold; only the indices in `candidates` take part (default: all)."""
    found = list(column)
    best, _ = _best_and_rest(found, candidates)
    return [replace(best[i], best=True) if i in best else e for i, e in enumerate(found)]


def against_best(column: Sequence[Entry], test: DifferenceTest, candidates: Iterable[int] | None = None) -> list[Entry]:
    """As `best_in_bold`, with marks on all lower entries by the difference to the best, corrected for their number."""
    result = best_in_bold(column, candidates)
    best, rest = _best_and_rest(column, candidates)
    if best:
        top = best[min(best)]
        for (i, value), d in zip(rest.items(), corrected([test(top, v) for v in rest.values()]), strict=True):
            result[i] = replace(value, p=d.p if d else None, mark=stars(d), against=d)
    return result


def _best_and_rest(
    column: Sequence[Entry], candidates: Iterable[int] | None
) -> tuple[dict[int, Value], dict[int, Value]]:
    """The best of the candidates and the other ones, by their indices."""
    places = range(len(column)) if candidates is None else candidates
    values = {i: e for i in places if isinstance(e := column[i], Value)}
    # Numbers are equal if they are equal as printed, so that equal printed numbers are treated alike.
    printed = {i: round(100 * v.number, 2) for i, v in values.items()}
    top = max(printed.values(), default=None)
    return {i: v for i, v in values.items() if printed[i] == top}, {
        i: v for i, v in values.items() if printed[i] != top
    }


def tested(source: Source) -> DifferenceTest:
    """The difference of two scores, computed from the cells behind them."""

    def test(best: Value, value: Value) -> Difference | None:
        change = source.estimates.change(best.cells, value.cells)
        return change.difference if change and change.paired else None

    return test


def tested_means(source: Source, parts: Mapping[tuple[str, ...], Sequence[Value]]) -> DifferenceTest:
    """As `tested`, for means: `parts` maps the cells of a mean to its component scores."""

    def test(best: Value, value: Value) -> Difference | None:
        one, two = (_mean_estimate(source, parts.get(v.cells, ()), "strict") for v in (best, value))
        return None if one is None or two is None else (two - one).difference()

    return test


def points(d: Difference | None, cells: tuple[str, ...], why: str = "") -> Entry:
    """A difference in percentage points with its interval and mark."""
    if d is None:
        return Missing("undefined", cells, why or "a cell kept no answers, or they are of other documents")
    return Value(d.value, "points", *limits(d), p=d.p, mark=stars(d), cells=cells)


def limits(d: Difference) -> tuple[float | None, float | None]:
    """The bounds of an interval; None if there are too few units."""
    return (d.low, d.high) if d.known else NO_INTERVAL


def magnitude(d: Difference) -> Value:
    """A difference without its sign, with the bounds of its size."""
    low, high = sorted((abs(d.low), abs(d.high)))
    return Value(abs(d.value), "gap", low, high)


def without_interval(entry: Entry) -> Entry:
    """A score without its interval, for tables whose interval is shown in another table."""
    return replace(entry, low=None, high=None) if isinstance(entry, Value) else entry


def values_of(entries: Iterable[Entry]) -> list[Value]:
    """The entries that are numbers."""
    return [e for e in entries if isinstance(e, Value)]


def cells_of(entries: Iterable[Entry | CellGroup]) -> tuple[str, ...]:
    """The cells behind several entries or groups, without duplicates."""
    return tuple(dict.fromkeys(id for entry in entries for id in entry.cells))


def mean_count(group: CellGroup, path: Sequence[str], default: float | None = None) -> Entry:
    """The mean of a count over seeds; `default` replaces a count that is not recorded."""
    found = [item.metric(*path) for item in group.done]
    known = [v for value in found if (v := default if value is None else value) is not None]
    if not known or len(known) < len(found):
        return group.missing("the record has no such figure")
    return Value(sum(known) / len(known), "number", cells=group.cells)
