"""Probes against the originals: how a score changes when labels, mentions, context or case are altered."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from genner.report.common import DECODING_TITLES, decoded, decoding_title, headline, in_order, section, shown_order
from genner.report.estimates import STARS, Change, stars, together
from genner.report.measures import Source, part, points, score
from genner.report.plots import (
    DifferenceMark,
    draw_differences,
    format_colour,
    label,
    marker,
    size,
)
from genner.report.results import CellGroup, GroupKey, TestSet
from genner.report.table import Block, Column, Entry, Figure, Listing, Missing, Section, Table, TableRow, Value

NO_PAIR_REASON = "original or probe has no result, or kept no answers"


def probes_section(source: Source) -> Section:
    """How scores change under each probe."""
    blocks: list[Block | None] = [meanings(source)]
    for n, test in enumerate(probe_tests(source), 1):
        blocks += [probe_figure(source, test, n), probe_table(source, test, n), measure_table(source, test, n)]
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


def named(key: GroupKey) -> str:
    """The probe and its options, if any."""
    options = ", ".join(part for part in re.findall(r'"([^"]+": [^,}\]]+)', key.options))
    return f"{key.probe} ({options.replace(chr(34), '')})" if options else key.probe


def meanings(source: Source) -> Listing | None:
    """Each probe with the first sentence of its description."""
    from genner.probes import PROBES

    lines = []
    for name in probe_names(source):
        about = inspect.getdoc(PROBES[name]) if name in PROBES else None
        lines.append(f"{name}: {' '.join((about or 'no description').partition(chr(10) * 2)[0].split())}")
    return Listing(tuple(lines)) if lines else None


def probe_table(source: Source, test: TestSet, n: int) -> Table | None:
    """One row per probe, format and decoding, in blocks by system: the original, the probe, their difference."""
    found = _changes(source, test)
    if not found:
        return None
    rows = []
    for original, group, change in found:
        cells = tuple(dict.fromkeys((*original.cells, *group.cells)))
        known = bool(original.done and group.done)
        before, after = _before(source, original, change), score(source, group)
        difference = (
            points(change.difference if change else None, cells)
            if known
            else Missing("undefined", cells, NO_PAIR_REASON)
        )
        if isinstance(difference, Missing) and isinstance(before, Value) and isinstance(after, Value):
            difference = Value(after.number - before.number, "points", mark=stars(None), cells=cells)
        documents: Entry = (
            Value(change.documents, "count", cells=group.cells)
            if change
            else Missing("undefined", cells, NO_PAIR_REASON)
        )
        heads = (named(group.key), group.key.format, decoding_title(group.key.decoding))
        rows.append(TableRow(heads, (documents, before, after, difference), group.key.system.title))
    apart = [named(g.key) for _, g, c in found if c and not c.together]
    return Table(
        f"probes-{n}",
        f"Probes against the original: {source.collection.title(test)}",
        ("Probe", "Format", "Decoding"),
        (Column("documents"), Column("original"), Column("probe"), Column("difference")),
        tuple(rows),
        f"{source.collection.about(test)}. Strict F1; the difference is the probe less the original, in points.",
        (
            "Original and probe are compared on the documents that both have, by id (documents); where the probe "
            "leaves some out, the original is scored on the same ones. Differences: paired, over documents or their "
            f"groups; {STARS.format(family='rows of this table')}; their intervals are those at 95 % for all together.",
            *(
                [f"No document in common, so taken for independent: {', '.join(dict.fromkeys(apart))}."]
                if apart
                else []
            ),
        ),
    )


def _before(source: Source, original: CellGroup, change: Change | None) -> Entry:
    """The original's score, on the documents of the comparison if there is one."""
    entry = score(source, original)
    if change is None or not isinstance(entry, Value) or abs(change.first - entry.number) < 1e-9:
        return entry
    return replace(entry, number=change.first, low=None, high=None)


def _changes(source: Source, test: TestSet) -> list[tuple[CellGroup, CellGroup, Change | None]]:
    """Each probe's group, the original's, and their difference, corrected together; in display order."""
    names = probe_names(source)
    groups = [g for g in source.collection.probes() if g.key.test == test]
    groups.sort(key=lambda g: (g.key.system, names.index(g.key.probe), g.key.options, *shown_order(g.key)))
    found = []
    for group in groups:
        original = _original(source, group.key)
        one, two = original.trained(), group.trained()
        # Compare the same trainings only; a model trained on probed data has no counterpart.
        common = one.keys() | two.keys() if group.key.system.through else one.keys() & two.keys()
        change = source.estimates.change(
            [item.id for id in one if id in common for item in one[id]],
            [item.id for id in two if id in common for item in two[id]],
        )
        found.append((original, group, change))
    judged = together([change.difference if change else None for _, _, change in found])
    return [
        (original, group, replace(change, difference=d) if change and d else None)
        for (original, group, change), d in zip(found, judged, strict=True)
    ]


def _original(source: Source, key: GroupKey) -> CellGroup:
    """The plain score to compare a probe with: on the same test set, or if the sentences differ, on the largest one."""
    plain = replace(key, probe="", options="", system=replace(key.system, through=""))
    size = key.test.sentences
    same = [
        g
        for g in source.collection.scores()
        if replace(g.key, test=_unsized(g.key.test)) == replace(plain, test=_unsized(key.test))
    ]
    same.sort(key=lambda g: (g.key.test.sentences == size, g.key.test.sentences < 0, g.key.test.sentences))
    return same[-1] if same else CellGroup(plain, ())


def _unsized(test: TestSet) -> TestSet:
    return replace(test, sentences=-1)


def measure_table(source: Source, test: TestSet, n: int) -> Table | None:
    """The measures of probes beyond the plain score (`metrics["measures"]`), if any."""
    rows = []
    for _, group, _ in _changes(source, test):
        for name in _measures(group):
            number = group.mean("measures", name)
            if number is not None:
                heads = (named(group.key), group.key.format, DECODING_TITLES.get(group.key.decoding, ""), name)
                before = name.removesuffix("f1")
                low, high = (group.mean("measures", before + bound) for bound in ("low", "high"))
                f1 = name.endswith("f1") and group.mean("measures", before + "precision") is not None
                if len(group.done) > 1:  # a mean of bounds is not a bound
                    low = high = None
                value = (
                    Value(number, "f1", low, high, cells=group.cells)
                    if f1
                    else Value(number, "number", cells=group.cells)
                )
                rows.append(TableRow(heads, (replace(value, part=part(group)),), group.key.system.title))
    if not rows:
        return None
    return Table(
        f"measures-{n}",
        f"What else the probes measure: {source.collection.title(test)}",
        ("Probe", "Format", "Decoding", "Measure"),
        (Column("value"),),
        tuple(rows),
        "F1 in percent with its 95 % interval; other shares lie in [0, 1]. `genner probe NAME` says what each "
        "measure is.",
        supporting=True,
    )


def _measures(group: CellGroup) -> list[str]:
    """The measures without the plain score and without companions of an F1."""
    found: dict[str, None] = {}
    for item in group.done:
        measures = item.result.metrics.get("measures") if item.result else None
        found |= dict.fromkeys(measures) if isinstance(measures, Mapping) else {}
    beside = ("precision", "recall", "low", "high", "gold", "predicted")
    return [
        x for x in found if x != "f1" and not any(x.endswith(b) and f"{x.removesuffix(b)}f1" in found for b in beside)
    ]


def probe_figure(source: Source, test: TestSet, n: int) -> Figure | None:
    """Differences with their intervals: one row per probe, one colour per format, one panel per system."""
    decoding = headline(source, test)
    found = [(g, c) for _, g, c in _changes(source, test) if c and g.key.decoding == decoding]
    if not found:
        return None
    names = list(dict.fromkeys(named(g.key) for g, _ in found))
    systems = list(dict.fromkeys(g.key.system for g, _ in found))
    on: dict[str, set[int]] = {}
    for g, c in found:
        on.setdefault(named(g.key), set()).add(c.documents)
    shared = {name: "-".join(f"{n:,}" for n in sorted({min(ns), max(ns)})) for name, ns in on.items()}
    formats = in_order(g.key.format for g, _ in found)
    rows: list[tuple[str | float | None, ...]] = [
        (
            g.key.system.title, named(g.key), g.key.format, decoding, c.first, c.second,
            c.difference.value, c.difference.low, c.difference.high, c.documents, " ".join(g.cells),
        )
        for g, c in found
    ]  # fmt: skip

    marks: list[tuple[str, list[DifferenceMark]]] = []
    for system in systems:
        mine = [(g.key, c.difference) for g, c in found if g.key.system == system]
        places = [(names.index(named(key)), formats.index(key.format), d) for key, d in mine]
        marks.append((system.title, [DifferenceMark.of(*place) for place in places]))
    series = [(f, marker(k), format_colour(f, formats)) for k, f in enumerate(formats)]
    titles = [f"{label(x, 36)} ({shared[x]})" for x in names]

    def draw(drawing: Any) -> None:
        xlabel = "probe less original, points of F1"
        draw_differences(drawing, marks, titles, series, xlabel, step=0.14, markersize=4.5, line=1.1)

    return Figure(
        f"probes-{n}",
        f"What the probes change: {source.collection.title(test)}",
        (
            "system",
            "probe",
            "format",
            "decoding",
            "original",
            "probed",
            "difference",
            "low",
            "high",
            "documents",
            "cells",
        ),
        tuple(rows),
        draw,
        size(len(systems), height=0.3 * len(names) + 0.9),
        f"{source.collection.about(test)}; decoded {decoded(decoding)}. Paired intervals at 95 % for all "
        "rows of the table of probes together; in brackets the documents that original and probe share.",
        "The difference that each probe makes",
    )
