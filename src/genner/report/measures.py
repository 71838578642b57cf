"""From a group of cells to an entry of a table: its mean, its interval, and marks for what differs from the best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genner.evaluation.bootstrap import Array, paired
from genner.report.collect import Collection, Group, absence
from genner.report.draws import Change, Draws, holm, interval, stars
from genner.report.table import Entry, Missing, Value, best_of

STARS = (
    "* below the best of its column at p < 0.05, ** at p < 0.01 (two-sided paired bootstrap over documents, "
    "adjusted by Holm's method for the number of comparisons in the column); ? no test was possible; bold: the best."
)


@dataclass(frozen=True, slots=True)
class Source:
    """What tables are made from."""

    collection: Collection
    draws: Draws


def score(source: Source, group: Group, published: bool = False) -> Entry:
    """The F1 of a group, strict or by the paper's rule, with its interval; its mean over seeds where it has several."""
    number = group.mean("published" if published else "strict", "f1")
    if number is None:
        if group.done:
            return Missing("undefined", group.cells, "the record has no such figure")
        return absence(group.items)
    low, high = source.draws.interval(group.cells, published) or _recorded(
        group, "published" if published else "strict"
    )
    return Value(number, low=low, high=high, cells=group.cells, part=part(group))


def part(group: Group) -> str:
    """`2 of 3 seeds` where some cells have no result yet; `3 seeds` where all of several do; else empty."""
    done, all_ = len(group.done), len(group.items)
    return f"{done} of {all_} seeds" if done < all_ else f"{done} seeds" if done > 1 else ""


def _recorded(group: Group, rule: str) -> tuple[float | None, float | None]:
    """The interval that a single cell recorded itself."""
    if len(group.done) != 1:
        return None, None
    low, high = (group.done[0].metric(rule, key) for key in ("low", "high"))
    return (low, high) if low is not None and high is not None else (None, None)


def rates(group: Group, key: str) -> Entry:
    """The mean of a rate of the metrics, as a percentage."""
    number = group.mean(key)
    if number is None:
        return Missing("undefined", group.cells) if group.done else absence(group.items)
    return Value(number, "percent", cells=group.cells, part=part(group) if len(group.done) < len(group.items) else "")


def mean_of(source: Source, entries: Sequence[Entry], published: bool = False) -> Entry:
    """The plain mean of scores, with its interval; missing when one of them is."""
    values = [e for e in entries if isinstance(e, Value)]
    if len(values) < len(entries) or not values:
        gap = next((e for e in entries if isinstance(e, Missing)), None)
        return replace(gap, note=gap.note or "an average needs all its parts") if gap else Missing("absent")
    scores = [source.draws.f1(v.cells, published) for v in values]
    known = [s for s in scores if s is not None]
    low, high = interval(np.mean(known, axis=0)) if len(known) == len(values) else (None, None)
    cells = tuple(dict.fromkeys(id for v in values for id in v.cells))
    return Value(sum(v.number for v in values) / len(values), low=low, high=high, cells=cells)


def against_best(
    entries: Sequence[Entry], test: Callable[[Value, Value], float | None], candidates: Sequence[int] | None = None
) -> list[Entry]:
    """The column with its best in bold, and marks on all that are below it.

    `test(best, value)` gives the p value of a difference. Only `candidates` (places; else all) take part.
    """
    places = [i for i in (range(len(entries)) if candidates is None else candidates) if isinstance(entries[i], Value)]
    values = {i: e for i in places if isinstance(e := entries[i], Value)}
    top = {places[k] for k in best_of([values[i].number for i in places])}
    result = list(entries)
    if not top:
        return result
    best = values[min(top)]
    rest = [i for i in places if i not in top]
    ps = {i: test(best, values[i]) for i in rest}
    adjusted = dict(
        zip([i for i in rest if ps[i] is not None], holm([p for p in ps.values() if p is not None]), strict=True)
    )
    for i in rest:
        p = adjusted.get(i)
        result[i] = replace(values[i], p=p, mark=stars(p))
    for i in top:
        result[i] = replace(values[i], best=True)
    return result


def tested(source: Source) -> Callable[[Value, Value], float | None]:
    """The p value of the difference of two scores from the cells behind them."""

    def test(best: Value, value: Value) -> float | None:
        change = source.draws.change(best.cells, value.cells)
        return change.difference.p if change and change.together else None

    return test


def tested_means(
    source: Source, parts: Mapping[tuple[str, ...], Sequence[Value]]
) -> Callable[[Value, Value], float | None]:
    """As `tested` for means: `parts` has the scores that a mean is of, by the mean's cells."""

    def draws_of(value: Value) -> Array | None:
        scores = [source.draws.f1(v.cells) for v in parts.get(value.cells, ())]
        known = [s for s in scores if s is not None]
        return np.asarray(np.mean(known, axis=0)) if known and len(known) == len(scores) else None

    def test(best: Value, value: Value) -> float | None:
        one, two = draws_of(best), draws_of(value)
        if one is None or two is None:
            return None
        return paired(one, two, value.number - best.number).p

    return test


def points(change: Change | None, cells: tuple[str, ...], p: float | None = None) -> Entry:
    """A difference in percentage points with its interval and mark (by `p`, else its own p value)."""
    if change is None:
        return Missing("undefined", cells, "a cell kept no answers, or they are of other documents")
    d = change.difference
    value = d.p if p is None else p
    return Value(d.value, "points", low=d.low, high=d.high, p=value, mark=stars(value), cells=cells)
