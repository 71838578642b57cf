"""Figures and tables by label and by length of the mention, from the records of the cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genner.assess.scoring import GRAMMAR
from genner.evaluation.intervals import Interval
from genner.report.common import decoded, headline, here, section
from genner.report.measures import Source, part
from genner.report.outcomes import REPAIRED
from genner.report.plots import FAINT, beside_others, format_colour, label, legend, marker, name_rows, panels, size
from genner.report.results import CellGroup, GroupKey, TestSet, absence
from genner.report.table import Block, Column, Entry, Figure, Missing, Section, Table, TableRow, Value, anchor

LENGTH_NAMES = ("1", "2", "3-4", "5+")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A breakdown: `labels` or `lengths` of the metrics."""

    key: str
    name: str
    title: str
    head: str
    one: str


BY_LABEL = _Kind("labels", "labels", "F1 by label", "label", "label")
BY_LENGTH = _Kind("lengths", "lengths", "F1 by length of the mention", "words", "length")


def breakdowns_section(source: Source) -> Section:
    """F1 by label and by length of the mention."""
    blocks: list[Block | None] = []
    for n, test in enumerate(source.collection.tests(), 1):
        for kind in (BY_LABEL, BY_LENGTH):
            blocks += [bucket_figure(source, test, kind, n), bucket_table(source, test, kind, n)]
    return section("breakdowns", "By label and by length", blocks)


def buckets(groups: Sequence[CellGroup], kind: _Kind) -> list[str]:
    """The labels, most frequent in the gold data first, or the lengths in ascending order."""
    gold: dict[str, float] = {}
    for group in groups:
        for item in group.done:
            found = item.result.metrics.get(kind.key) if item.result else None
            for name, about in found.items() if isinstance(found, Mapping) else ():
                count = about.get("gold") if isinstance(about, Mapping) else None
                gold[name] = max(gold.get(name, 0), count if isinstance(count, int | float) else 0)
    if kind is BY_LENGTH:
        return [x for x in LENGTH_NAMES if x in gold] + sorted(gold.keys() - set(LENGTH_NAMES))
    return sorted(gold, key=lambda name: (-gold[name], name))


def bucket_table(source: Source, test: TestSet, kind: _Kind, n: int) -> Table | None:
    """One row per system and format, one column per bucket, for the decoding that figures show."""
    groups = _groups(source, test)
    names = buckets(groups, kind)
    if not names:
        return None
    rows = []
    for group, bounds in zip(groups, _bounds(source, groups, kind, names), strict=True):
        entries = tuple(_entry(group, kind, name, bounds) for name in names)
        rows.append(TableRow((group.key.format,), entries, group.key.system.title))
    gold = [_gold(groups, kind, name) for name in names]
    return Table(
        f"{kind.name}-{n}",
        f"{kind.title}: {source.collection.title(test)}",
        ("Format",),
        tuple(Column(f"{name} ({count:,})" if count else name) for name, count in zip(names, gold, strict=True)),
        tuple(rows),
        f"{source.collection.about(test)}; decoded {_decoded(headline(source, test))} F1 in percent, "
        f"with intervals at 95 % over documents or their groups; behind each {kind.one} the number of gold entities.",
        supporting=True,
    )


def bucket_figure(source: Source, test: TestSet, kind: _Kind, n: int) -> Figure | None:
    """One panel per system, one colour per format. Labels: points, F1 on the x axis. Lengths: lines, F1 on the y
    axis."""
    groups = _groups(source, test)
    names = buckets(groups, kind)
    points = {
        (g.key.system, g.key.format): [
            (i, e) for i, name in enumerate(names) if isinstance(e := _entry(g, kind, name, bounds), Value)
        ]
        for g, bounds in zip(groups, _bounds(source, groups, kind, names), strict=True)
    }
    gold = {name: _gold(groups, kind, name) for name in names}
    systems = list(dict.fromkeys(s for (s, _), found in points.items() if found))
    if not names or not systems:
        return None
    formats = [f for f in here(source, test)[1] if any(f == known for _, known in points)]
    decoding = headline(source, test)
    rows: list[tuple[str | float | None, ...]] = [
        (system.title, format, decoding, names[i], e.number, e.low, e.high, gold[names[i]], " ".join(e.cells))
        for (system, format), found in points.items()
        for i, e in found
    ]

    def draw(drawing: Any) -> None:
        axes = panels(drawing, [s.title for s in systems])
        handles: dict[str, Any] = {}
        for a, system in zip(axes, systems, strict=True):
            a.grid(axis="x" if kind is BY_LABEL else "y")
            for k, format in enumerate(formats):
                found = points.get((system, format), [])
                at, f1 = [i for i, _ in found], [100 * e.number for _, e in found]
                # Formats with similar scores must not hide each other.
                shift = [i + beside_others(k, len(formats), 0.13) for i in at]
                hue = format_colour(format, formats)
                for x, (_, e) in zip(shift, found, strict=True):
                    if e.low is not None and e.high is not None:
                        ends = [100 * e.low, 100 * e.high]
                        a.plot(*((ends, [x, x]) if kind is BY_LABEL else ([x, x], ends)), color=hue, linewidth=0.8)
                if kind is BY_LABEL:
                    drawn = a.scatter(f1, shift, color=hue, marker=marker(k), s=24, linewidths=0)
                    drawn.set_urls(["#" + anchor(e.cells[0]) for _, e in found])
                else:
                    (drawn,) = a.plot(shift, f1, color=hue, marker=marker(k), markersize=4.5, linewidth=1.4)
                handles.setdefault(format, drawn)
            if kind is BY_LABEL:
                for i in range(1, len(names)):
                    a.axhline(i - 0.5, color=FAINT, linewidth=0.3)
                name_rows(a, [f"{label(x, 24)} ({gold[x]:,})" for x in names])
                a.set_xlabel("F1, %")
            else:
                a.set_xticks(range(len(names)), [f"{x}\n({gold[x]:,})" for x in names])
                a.set_xlim(-0.3, len(names) - 0.7)
                a.set_xlabel("words of the mention")
        if kind is BY_LENGTH:
            axes[0].set_ylabel("F1, %")
        legend(drawing, list(handles.values()), list(handles))

    height = 0.24 * len(names) + 0.9 if kind is BY_LABEL else 2.2
    return Figure(
        f"{kind.name}-{n}",
        f"{kind.title}: {source.collection.title(test)}",
        ("system", "format", "decoding", kind.head, "f1", "low", "high", "gold", "cells"),
        tuple(rows),
        draw,
        size(len(systems), height=height),
        f"{source.collection.about(test)}; decoded {_decoded(decoding)} Intervals at 95 %, over documents "
        f"or their groups; in brackets the gold entities of each {kind.one}.",
        f"{kind.title}, for each format",
    )


def _decoded(decoding: str) -> str:
    """How answers were decoded; for free decoding, also which reading the figures use."""
    return f"{decoded(decoding)}." + (f" {REPAIRED}" if decoding != GRAMMAR else "")


def _groups(source: Source, test: TestSet) -> list[CellGroup]:
    systems, formats, _ = here(source, test)
    decoding = headline(source, test)
    keys = [GroupKey(s, f, test, decoding) for s in systems for f in formats]
    return [g for key in keys if (g := source.collection.get(key)).items]


def _bounds(
    source: Source, groups: Sequence[CellGroup], kind: _Kind, names: Sequence[str]
) -> list[dict[str, Interval | None]]:
    return source.estimates.bucketed([g.cells for g in groups], kind.key, names)


def _entry(group: CellGroup, kind: _Kind, name: str, bounds: Mapping[str, Interval | None]) -> Entry:
    number = group.mean(kind.key, name, "f1")
    counts = [group.mean(kind.key, name, key) for key in ("gold", "predicted")]
    if number is None or counts == [0, 0]:
        return Missing("undefined", group.cells, "none in gold or predictions") if group.done else absence(group.items)
    low, high = bounds.get(name) or (None, None)
    return Value(number, low=low, high=high, cells=group.cells, part=part(group))


def _gold(groups: Sequence[CellGroup], kind: _Kind, name: str) -> int:
    found = [g.mean(kind.key, name, "gold") for g in groups]
    return round(max((x for x in found if x is not None), default=0))
