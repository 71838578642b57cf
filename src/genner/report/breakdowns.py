"""Figures and tables by label and by length of the mention, from the records of the cells."""

from dataclasses import dataclass
from typing import Any

from genner.evaluation.jackknife import Interval
from genner.report.plots import (
    FAINT,
    beside_others,
    format_colour,
    interval_line,
    label,
    legend,
    marker,
    name_rows,
    panels,
    size,
)
from genner.report.results import CellGroup
from genner.report.source import ScoredTest, Source, section
from genner.report.table import Block, Column, Entry, Figure, Section, Table, TableRow, Value, anchor
from genner.report.terms import decoded_and_read

LENGTH_NAMES = ("1", "2", "3-4", "5+")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A breakdown: `labels` or `lengths` of the metrics; `head` names a bucket in the data, `one` in sentences."""

    key: str
    title: str
    head: str
    one: str


BY_LABEL = _Kind("labels", "F1 by label", "label", "label")
BY_LENGTH = _Kind("lengths", "F1 by length of the mention", "words", "length")


def breakdowns_section(source: Source) -> Section:
    """F1 by label and by length of the mention."""
    blocks: list[Block | None] = []
    for test in source.tests():
        for breakdown in (_Breakdown(test, BY_LABEL), _Breakdown(test, BY_LENGTH)):
            blocks += [breakdown.figure(), breakdown.table()]
    return section("breakdowns", "By label and by length", blocks)


class _Breakdown:
    """The scores of a test set under the decoding that figures show, by bucket. `gold` has the number of gold entities
    of each bucket: the labels, most frequent first, or the lengths in ascending order."""

    def __init__(self, test: ScoredTest, kind: _Kind) -> None:
        self.test, self.kind, self.decoding = test, kind, test.main_decoding
        self.groups = test.main_groups
        self.gold = {name: self._gold(name) for name in self._buckets()}
        bounds = test.source.estimates.bucketed([g.cells for g in self.groups], kind.key, list(self.gold))
        self.entries = [
            [self._entry(group, name, found.get(name)) for name in self.gold]
            for group, found in zip(self.groups, bounds, strict=True)
        ]

    def _buckets(self) -> list[str]:
        gold: dict[str, float] = {}
        for item in (item for group in self.groups for item in group.done):
            for name in item.metrics(self.kind.key):
                gold[name] = max(gold.get(name, 0), item.metric(self.kind.key, name, "gold") or 0)
        if self.kind is BY_LENGTH:
            return [x for x in LENGTH_NAMES if x in gold] + sorted(gold.keys() - set(LENGTH_NAMES))
        return sorted(gold, key=lambda name: (-gold[name], name))

    def _gold(self, name: str) -> int:
        found = [g.mean(self.kind.key, name, "gold") for g in self.groups]
        return round(max((x for x in found if x is not None), default=0))

    def _entry(self, group: CellGroup, name: str, bounds: Interval | None) -> Entry:
        number = group.mean(self.kind.key, name, "f1")
        counts = [group.mean(self.kind.key, name, key) for key in ("gold", "predicted")]
        if number is None or counts == [0, 0]:
            return group.missing("none in gold or predictions")
        return Value.of(number, "f1", bounds, cells=group.cells, part=group.seeds)

    def table(self) -> Table | None:
        """One row per system and format, one column per bucket."""
        if not self.gold:
            return None
        return Table(
            f"{self.kind.key}-{self.test.number}",
            f"{self.kind.title}: {self.test.title}",
            ("Format",),
            tuple(Column(f"{name} ({count:,})" if count else name) for name, count in self.gold.items()),
            tuple(
                TableRow((g.key.format,), tuple(entries), g.key.system.title)
                for g, entries in zip(self.groups, self.entries, strict=True)
            ),
            f"{self.test.about}; {decoded_and_read(self.decoding)} F1 in percent, with intervals at 95 % over "
            f"documents or their groups, where enough of them have any; behind each {self.kind.one} the number of gold "
            "entities.",
            supporting=True,
        )

    def figure(self) -> Figure:
        """One panel per system, one colour per format. Labels: points, F1 on the x axis. Lengths: lines, F1 on the y
        axis."""
        names, gold, by_label = list(self.gold), self.gold, self.kind is BY_LABEL
        points = {
            (g.key.system, g.key.format): [(i, e) for i, e in enumerate(entries) if isinstance(e, Value)]
            for g, entries in zip(self.groups, self.entries, strict=True)
        }
        systems = list(dict.fromkeys(s for (s, _), found in points.items() if found))
        formats = [f for f in self.test.formats if any(f == known for _, known in points)]
        rows = [
            (s.title, f, self.decoding, names[i], e.number, e.low, e.high, gold[names[i]], " ".join(e.cells))
            for (s, f), found in points.items()
            for i, e in found
        ]

        def draw(drawing: Any) -> None:
            axes = panels(drawing, [s.title for s in systems])
            handles: dict[str, Any] = {}
            for a, system in zip(axes, systems, strict=True):
                a.grid(axis="x" if by_label else "y")
                for k, format in enumerate(formats):
                    found = points.get((system, format), [])
                    # Formats with similar scores must not hide each other.
                    places = [i + beside_others(k, len(formats), 0.13) for i, _ in found]
                    f1, hue = [100 * e.number for _, e in found], format_colour(format, formats)
                    for x, (_, e) in zip(places, found, strict=True):
                        interval_line(a, x, e.interval, "x" if by_label else "y", color=hue, linewidth=0.8)
                    if by_label:
                        drawn = a.scatter(f1, places, color=hue, marker=marker(k), s=24, linewidths=0)
                        drawn.set_urls(["#" + anchor(e.cells[0]) for _, e in found])
                    else:
                        (drawn,) = a.plot(places, f1, color=hue, marker=marker(k), markersize=4.5, linewidth=1.4)
                    handles.setdefault(format, drawn)
                _name_buckets(a, gold, by_label)
            if not by_label:
                axes[0].set_ylabel("F1, %")
            legend(drawing, handles)

        return Figure(
            f"{self.kind.key}-{self.test.number}",
            f"{self.kind.title}: {self.test.title}",
            ("system", "format", "decoding", self.kind.head, "f1", "low", "high", "gold", "cells"),
            tuple(rows),
            draw,
            size(len(systems), height=0.24 * len(names) + 0.9 if by_label else 2.2),
            f"{self.test.about}; {decoded_and_read(self.decoding)} Intervals at 95 %, over documents or their groups; "
            f"in brackets the gold entities of each {self.kind.one}.",
            f"{self.kind.title}, for each format",
        )


def _name_buckets(axes: Any, gold: dict[str, int], by_label: bool) -> None:
    """The names of the buckets and their numbers of gold entities: labels on the y axis, lengths on the x axis."""
    if by_label:
        for i in range(1, len(gold)):
            axes.axhline(i - 0.5, color=FAINT, linewidth=0.3)
        name_rows(axes, [f"{label(name, 24)} ({count:,})" for name, count in gold.items()])
        axes.set_xlabel("F1, %")
    else:
        axes.set_xticks(range(len(gold)), [f"{name}\n({count:,})" for name, count in gold.items()])
        axes.set_xlim(-0.3, len(gold) - 0.7)
        axes.set_xlabel("words of the mention")
