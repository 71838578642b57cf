"""General ability before and after training: a base model against the models trained from it, on the same questions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from genner.report.ability_changes import (
    ANSWER_MEANS,
    AbilityMeasure,
    ModelFamily,
    ReportedSide,
    families,
)
from genner.report.entries import limits
from genner.report.estimates import STARS, corrected, stars
from genner.report.plots import DifferenceMark, colour, draw_differences, label, marker, size
from genner.report.results import System
from genner.report.source import Source, section
from genner.report.table import Column, Entry, Figure, Listing, Missing, Section, Table, TableRow, Value


def ability_section(source: Source) -> Section:
    """General ability before and after training."""
    found = families(source.collection)
    figures = [changes_figure(family, n) for n, family in enumerate(found, 1)]
    tables = [t for n, family in enumerate(found, 1) for t in (scores_table(family, n), parts_table(family, n))]
    return section(
        "ability",
        "General ability",
        [ability_findings(found), *figures, *tables],
        "Do general abilities survive the training, and where a score rises: is it knowledge, or the form of the "
        "answers? The paper finds little change, but that F1 on DROP rises by 25.50 to 45.32 points.",
    )


def ability_findings(found: Sequence[ModelFamily]) -> Listing:
    """For each change of an F1, a sentence that says whether form or content changed."""
    from genner.ability.run import AbilityComparison
    from genner.ability.table import verdict

    lines = []
    for family in found:
        for task, system, change in family.changes:
            if change.parts:
                names = task.name, task.shots, family.base, system.title
                said = verdict(AbilityComparison(*names, dict(change.differences), list(change.parts)))
                lines.append(f"{task.title}, {system.title}, against {family.base}: {said}")
    return Listing(tuple(lines))


def scores_table(family: ModelFamily, n: int) -> Table:
    """All scores and the form of the answers, before and after."""
    rows = []
    seeds = len({task.seed for task in family.tasks})
    for task, (base, changes) in family.tasks.items():
        title = task.title + (f", seed {task.seed}" if seeds > 1 else "")
        for measure in _measures([base, *(c.other for c in changes.values())]):
            entries = [measure.value(base)]
            for system in family.systems:
                change = changes.get(system)
                entries += [measure.value(change.other), change.entry(measure)] if change else [Missing("absent")] * 2
            rows.append(TableRow((measure.title,), tuple(entries), title))
    problems = [f"{task.title}, {s.title}: {change.problem}." for task, s, change in family.changes if change.problem]
    return Table(
        f"ability-{n}",
        f"General ability before and after: {family.base}",
        ("Measure",),
        (Column("base"), *(Column(title, s.title) for s in family.systems for title in ("score", "change"))),
        tuple(_corrected_rows(rows)),
        "Scores with the harness's standard errors; below them means over the answers. Changes are against the "
        "base, in points where the score is a share, with the interval of all changes of the table together and the "
        "number of questions.",
        (
            f"Changes: paired, with t intervals over the questions; {STARS.format(family='changes of the table')}; "
            "where answers were not kept or are of other questions, the standard error of two independent "
            "measurements is given, where both have one.",
            *problems,
        ),
    )


def _measures(sides: Sequence[ReportedSide | None]) -> list[AbilityMeasure]:
    """The scores, then the forms of answers, that any side has."""
    order = [*ANSWER_MEANS]
    known = [side.item for side in sides if side]
    scores = [AbilityMeasure("scores", name) for item in known for name in item.metrics("scores")]
    answers = [
        AbilityMeasure("answers", name)
        for item in known
        for name in sorted(item.metrics("answers"), key=lambda x: order.index(x) if x in order else len(order))
    ]
    return list(dict.fromkeys([*scores, *answers])) or [AbilityMeasure("scores", "score")]


def _corrected_rows(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows with their changes corrected for multiple comparisons (one family per table)."""
    changes = [e.against for row in rows for e in row.entries if isinstance(e, Value) and e.against]
    differences = iter(corrected(changes))

    def entry(e: Entry) -> Entry:
        if not isinstance(e, Value) or e.against is None:
            return e
        d = next(differences)
        assert d
        low, high = limits(d)
        return replace(e, low=low, high=high, p=d.p, mark=stars(d), against=None)

    return [replace(row, entries=tuple(map(entry, row.entries))) for row in rows]


def parts_table(family: ModelFamily, n: int) -> Table:
    """The change of F1 decomposed into empty answers, form and content."""
    rows = []
    for task, system, change in family.changes:
        cells = tuple(side.item.id for side in (change.base, change.other) if side)
        for part in change.parts:
            numbers = (part.total, part.empty, part.form, part.content)
            entries = tuple(Value(p.value, "points", p.low, p.high, cells=cells) for p in numbers)
            rows.append(TableRow((system.title, part.cut), entries, task.title))
    return Table(
        f"ability-parts-{n}",
        f"What a change of F1 is made of: {family.base}",
        ("System", "Answers cut"),
        (Column("change of F1"), Column("empty answers"), Column("form"), Column("content")),
        tuple(rows),
        "Points of F1, with intervals at 95 %, each by itself: what comes from questions that only one side answers "
        "with nothing; from the length and form of answers; and from what they say once both have one form. The three "
        "add up to the change.",
        (
            "short: without lead-in and further sentences; same_length: both cut to the words of the briefer one, "
            "which favours the brief side; window: the best stretch, found with the gold answer, which favours the "
            "wordy side.",
        ),
    )


def changes_figure(family: ModelFamily, n: int) -> Figure:
    """The changes of the harness's scores."""
    spots: list[tuple[str, System, Value]] = []
    for task, system, change in family.changes:
        for measure in _measures([change.other]):
            entry = change.entry(measure)
            if measure.kind == "scores" and isinstance(entry, Value) and entry.kind == "points":
                asked = f", n = {change.asked:,}" if change.asked else ""
                spots.append((f"{task.title}{asked}: {measure.name}", system, entry))
    names = list(dict.fromkeys(name for name, _, _ in spots))
    systems = list(dict.fromkeys(system for _, system, _ in spots))
    marks = [
        DifferenceMark(names.index(name), systems.index(system), value.number, *_error_bar(value))
        for name, system, value in spots
    ]
    series = [(system.title, marker(k), colour(k)) for k, system in enumerate(systems)]

    def draw(drawing: Any) -> None:
        rows, xlabel = [label(x, 60) for x in names], "change against the base, points"
        draw_differences(drawing, [("", marks)], rows, series, xlabel, step=0.18, longest=90)

    return Figure(
        f"ability-{n}",
        f"Changes of ability: {family.base}",
        ("measure", "system", "change", "low", "high", "standard error", "cells"),
        tuple((name, s.title, v.number, v.low, v.high, v.spread, " ".join(v.cells)) for name, s, v in spots),
        draw,
        size(1, height=0.34 * len(names) + 0.5),
        "Marks: change; lines: its paired interval at 95 % over the n questions, each change by itself; "
        "1.96 standard errors either way where answers were not kept.",
        "Changes of each score against the base",
    )


def _error_bar(value: Value) -> tuple[float, float]:
    """How far the error bar reaches below and above its mark: the interval, or 1.96 standard errors."""
    if value.interval:
        return value.number - value.interval[0], value.interval[1] - value.number
    return (1.96 * (value.spread or 0.0),) * 2
