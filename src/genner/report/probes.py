"""Probes against the originals: how a score changes when labels, mentions, context or case are altered."""

import inspect
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from genner.report.entries import cells_of, points, score
from genner.report.estimates import STARS, Change, corrected, stars
from genner.report.plots import DifferenceMark, draw_differences, format_colour, label, marker, size
from genner.report.results import CellGroup, GroupKey, System, TestSet
from genner.report.source import ScoredTest, Source, section
from genner.report.table import (
    NO_INTERVAL,
    Block,
    Column,
    Entry,
    Figure,
    Listing,
    Missing,
    Section,
    Table,
    TableRow,
    Value,
)
from genner.report.terms import DECODING_TITLES, decoded, in_order

NO_PAIR_REASON = "original or probe has no result, or kept no answers"


def probes_section(source: Source) -> Section:
    """How scores change under each probe."""
    names = probe_names(source)
    blocks: list[Block | None] = [meanings(names)]
    for n, test in enumerate(probe_tests(source), 1):
        probed = ProbedTest(source, test, n, tuple(names))
        blocks += [probed.differences_figure(), probed.differences_table(), probed.measures_table()]
    return section(
        "probes",
        "Recognition or memorization",
        blocks,
        "What is left of a score when the labels, the mentions, their context or their case are changed?",
    )


def probe_tests(source: Source) -> list[TestSet]:
    """The test sets that were probed."""
    found = {g.key.test for g in source.collection.probes()}
    plain = source.collection.tests()
    return [t for t in plain if t in found] + sorted(found - set(plain))


def probe_names(source: Source) -> list[str]:
    """The probes in the results, in registry order."""
    from genner.probes import PROBES

    found = {g.key.probe for g in source.collection.probes()}
    return [name for name in PROBES if name in found] + sorted(found - set(PROBES))


def meanings(names: list[str]) -> Listing:
    """Each probe with the first sentence of its description."""
    from genner.probes import PROBES

    lines = []
    for name in names:
        about = inspect.getdoc(PROBES[name]) if name in PROBES else None
        lines.append(f"{name}: {' '.join((about or 'no description').partition(chr(10) * 2)[0].split())}")
    return Listing(tuple(lines))


def probe_title(key: GroupKey) -> str:
    """The probe and its options, if any."""
    options = ", ".join(part for part in re.findall(r'"([^"]+": [^,}\]]+)', key.options))
    return f"{key.probe} ({options.replace(chr(34), '')})" if options else key.probe


@dataclass(frozen=True, slots=True)
class ProbeChange:
    """The scores of a probe and its original, and their difference if it is known."""

    original: CellGroup
    probe: CellGroup
    change: Change | None

    @property
    def key(self) -> GroupKey:
        return self.probe.key

    @property
    def title(self) -> str:
        return probe_title(self.key)

    def entries(self, source: Source) -> tuple[Entry, ...]:
        """The number of documents, the original, the probe, their difference."""
        cells = cells_of((self.original, self.probe))
        before, after, change = self._original_score(source), score(source, self.probe), self.change
        unknown = Missing("undefined", cells, NO_PAIR_REASON)
        documents = Value(change.documents, "count", cells=self.probe.cells) if change else unknown
        both = self.original.done and self.probe.done
        difference = points(change.difference if change else None, cells) if both else unknown
        if isinstance(difference, Missing) and isinstance(before, Value) and isinstance(after, Value):
            difference = Value(after.number - before.number, "points", mark=stars(None), cells=cells)
        return documents, before, after, difference

    def _original_score(self, source: Source) -> Entry:
        """The original's score, on the documents of the comparison if there is one."""
        entry = score(source, self.original)
        if self.change is None or not isinstance(entry, Value) or abs(self.change.first - entry.number) < 1e-9:
            return entry
        return replace(entry, number=self.change.first, low=None, high=None)


@dataclass(frozen=True)
class ProbedTest(ScoredTest):
    """A test set with its probes; `number` counts the probed test sets, `names` are the probes in display order."""

    names: tuple[str, ...]

    @cached_property
    def changes(self) -> list[ProbeChange]:
        """The probes of the test set with their originals, in display order; the differences are corrected together."""
        groups = [g for g in self.source.collection.probes() if g.key.test == self.test]
        groups.sort(key=lambda g: (g.key.system, self.names.index(g.key.probe), g.key.options, *g.key.place))
        found = []
        for group in groups:
            original = _original(self.source, group.key)
            one, two = original.trained(), group.trained()
            # Compare the same trainings only; a model trained on probed data has no counterpart.
            common = one.keys() | two.keys() if group.key.system.through else one.keys() & two.keys()
            cells = ([item.id for id in side if id in common for item in side[id]] for side in (one, two))
            found.append(ProbeChange(original, group, self.source.estimates.change(*cells)))
        differences = corrected([c.change.difference if c.change else None for c in found])
        return [
            replace(c, change=replace(c.change, difference=d) if c.change and d else None)
            for c, d in zip(found, differences, strict=True)
        ]

    def differences_table(self) -> Table:
        """One row per probe, format and decoding, in blocks by system: the original, the probe, their difference."""
        apart = dict.fromkeys(c.title for c in self.changes if c.change and not c.change.paired)
        return Table(
            f"probes-{self.number}",
            f"Probes against the original: {self.title}",
            ("Probe", "Format", "Decoding"),
            tuple(map(Column, ("documents", "original", "probe", "difference"))),
            tuple(
                TableRow((c.title, *c.key.heads[1:]), c.entries(self.source), c.key.system.title) for c in self.changes
            ),
            f"{self.about}. Strict F1; the difference is the probe less the original, in points.",
            (
                "Original and probe are compared on the documents that both have, by id (documents); where the probe "
                "leaves some out, the original is scored on the same ones. Differences: paired, over documents or "
                f"their groups; {STARS.format(family='rows of this table')}; their intervals are those at 95 % for all "
                "together.",
                *([f"No document in common, so taken for independent: {', '.join(apart)}."] if apart else []),
            ),
        )

    def measures_table(self) -> Table:
        """The measures of probes beyond the plain score (`metrics["measures"]`), if any."""
        rows = tuple(
            TableRow(
                (c.title, c.key.format, DECODING_TITLES.get(c.key.decoding, ""), name),
                (_measure(c.probe, name, number),),
                c.key.system.title,
            )
            for c in self.changes
            for name in _measure_names(c.probe)
            if (number := c.probe.mean("measures", name)) is not None
        )
        return Table(
            f"measures-{self.number}",
            f"What else the probes measure: {self.title}",
            ("Probe", "Format", "Decoding", "Measure"),
            (Column("value"),),
            rows,
            "F1 in percent with its 95 % interval; other shares lie in [0, 1]. `genner probe NAME` says what each "
            "measure is.",
            supporting=True,
        )

    def differences_figure(self) -> Figure:
        """Differences with their intervals: one row per probe, one colour per format, one panel per system."""
        decoding = self.main_decoding
        found = [(c, c.change) for c in self.changes if c.change and c.key.decoding == decoding]
        systems = list(dict.fromkeys(c.key.system for c, _ in found))
        formats = in_order(c.key.format for c, _ in found)
        documents: dict[str, set[int]] = {}
        for c, change in found:
            documents.setdefault(c.title, set()).add(change.documents)
        names = list(documents)
        shared = ["-".join(f"{n:,}" for n in sorted({min(ns), max(ns)})) for ns in documents.values()]
        titles = [f"{label(name, 36)} ({numbers})" for name, numbers in zip(names, shared, strict=True)]
        rows = []
        marks: dict[System, list[DifferenceMark]] = {system: [] for system in systems}
        for c, change in found:
            d, system = change.difference, c.key.system
            marks[system].append(DifferenceMark.of(names.index(c.title), formats.index(c.key.format), d))
            about = (system.title, c.title, c.key.format, decoding)
            numbers = (change.first, change.second, d.value, d.low, d.high, change.documents)
            rows.append((*about, *numbers, " ".join(c.probe.cells)))
        series = [(f, marker(k), format_colour(f, formats)) for k, f in enumerate(formats)]

        def draw(drawing: Any) -> None:
            xlabel, by_title = "probe less original, points of F1", [(s.title, found) for s, found in marks.items()]
            draw_differences(drawing, by_title, titles, series, xlabel, step=0.14, markersize=4.5, line=1.1)

        return Figure(
            f"probes-{self.number}",
            f"What the probes change: {self.title}",
            (
                *("system", "probe", "format", "decoding"),
                *("original", "probed", "difference", "low", "high", "documents", "cells"),
            ),
            tuple(rows),
            draw,
            size(len(systems), height=0.3 * len(names) + 0.9),
            f"{self.about}; decoded {decoded(decoding)}. Paired intervals at 95 % for all rows of the table of probes "
            "together; in brackets the documents that original and probe share.",
            "The difference that each probe makes",
        )


def _original(source: Source, key: GroupKey) -> CellGroup:
    """The plain score to compare a probe with: on the same test set, or if the sentences differ, on the largest one."""
    plain = replace(key, probe="", options="", system=replace(key.system, through=""))
    size = key.test.sentences
    same = [g for g in source.collection.scores() if _unsized(g.key) == _unsized(plain)]
    same.sort(key=lambda g: (g.key.test.sentences == size, g.key.test.sentences < 0, g.key.test.sentences))
    return same[-1] if same else CellGroup(plain, ())


def _unsized(key: GroupKey) -> GroupKey:
    return replace(key, test=replace(key.test, sentences=-1))


def _measure_names(group: CellGroup) -> list[str]:
    """The measures without the plain score and without companions of an F1."""
    found = dict.fromkeys(name for item in group.done for name in item.metrics("measures"))
    beside = ("precision", "recall", "low", "high", "gold", "predicted")
    return [
        x for x in found if x != "f1" and not any(x.endswith(b) and f"{x.removesuffix(b)}f1" in found for b in beside)
    ]


def _measure(group: CellGroup, name: str, number: float) -> Value:
    """A measure; an F1 with the interval of its record."""
    before = name.removesuffix("f1")
    if not name.endswith("f1") or group.mean("measures", before + "precision") is None:
        return Value(number, "number", cells=group.cells, part=group.seeds)
    bounds = [group.mean("measures", before + bound) for bound in ("low", "high")]
    # A mean of bounds is not a bound.
    low, high = NO_INTERVAL if len(group.done) > 1 else bounds
    return Value(number, "f1", low, high, cells=group.cells, part=group.seeds)
