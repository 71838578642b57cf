"""General ability before and after training: a base model against the models trained from it, on the same questions.

Values come from the records; changes and their intervals are computed from the stored answers
(`genner.ability.paired_differences`), paired by question. Where answers were not kept, the standard error of two
independent measurements is given, and the entry says so.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot
from typing import TYPE_CHECKING, Any

from genner.errors import GennerError
from genner.report.common import section
from genner.report.estimates import STARS, stars, together
from genner.report.measures import Source, limits
from genner.report.plots import (
    DifferenceMark,
    colour,
    draw_differences,
    label,
    marker,
    size,
)
from genner.report.results import CellItem, Collection, System, absence
from genner.report.table import Column, Entry, Figure, Listing, Missing, Section, Table, TableRow, Value, ValueKind

if TYPE_CHECKING:
    from genner.ability.items import AbilityItem
    from genner.ability.paired_differences import DifferencePart, PairedDifference

# Name of a mean over answers in the records -> its name in `deltas`.
FORMS = {
    "em": "em",
    "f1": "f1",
    "empty_rate": "empty",
    "truncated_rate": "",
    "mean_tokens": "tokens",
    "loglikelihood": "per_token",
    "choice": "choice",
}
TASK_TITLES = {
    "em": "exact match",
    "f1": "F1",
    "empty_rate": "empty answers",
    "truncated_rate": "cut off answers",
    "mean_tokens": "tokens an answer",
    "loglikelihood": "log-likelihood of the gold answer, nats a token",
    "choice": "gold answer likelier than wrong ones",
}
WHOLE = {"mean_tokens", "loglikelihood"}  # no shares


@dataclass(frozen=True, slots=True, order=True)
class ReportedTask:
    """A measured task. `limit` is -1 for all questions."""

    name: str
    shots: int
    limit: int
    seed: int

    @property
    def title(self) -> str:
        number = "" if self.limit < 0 else f", {self.limit} questions"
        return f"{self.name}, {'zero-shot' if not self.shots else f'{self.shots}-shot'}{number}"


@dataclass(frozen=True, slots=True)
class ReportedSide:
    """A system on a task."""

    system: System
    item: CellItem


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """A base model and the systems trained from it: for each task the base's side, if measured, and the others'
    sides."""

    base: str
    tasks: Mapping[ReportedTask, tuple[ReportedSide | None, tuple[ReportedSide, ...]]]
    changes: Mapping[tuple[ReportedTask, System], "_Changes"]

    @property
    def systems(self) -> list[System]:
        """All systems but the base."""
        return sorted({side.system for _, others in self.tasks.values() for side in others})


def ability_section(source: Source) -> Section:
    """General ability before and after training."""
    found = families(source.collection)
    return section(
        "ability",
        "General ability",
        [ability_findings(found), *ability_figures(found), *ability_tables(found)],
        "Do general abilities survive the training, and where a score rises: is it knowledge, or the form of the "
        "answers? The paper finds little change, but that F1 on DROP rises by 25.50 to 45.32 points.",
    )


def families(collection: Collection) -> list[ModelFamily]:
    """The ability cells by base model."""
    found: defaultdict[str, defaultdict[ReportedTask, list[ReportedSide]]] = defaultdict(lambda: defaultdict(list))
    for item in collection.of("ability"):
        d = item.description
        limit = d.get("limit")
        task = ReportedTask(
            str(d.get("task")), int(d.get("shots") or 0), -1 if limit is None else int(limit), int(d.get("seed") or 0)
        )
        found[_base(item)][task].append(ReportedSide(collection.system(item), item))
    result = []
    for base, tasks in sorted(found.items()):
        split: dict[ReportedTask, tuple[ReportedSide | None, tuple[ReportedSide, ...]]] = {}
        for task, sides in sorted(tasks.items()):
            bare = next((s for s in sides if _is_base(s.item, base)), None)
            split[task] = bare, tuple(sorted((s for s in sides if s is not bare), key=lambda s: s.system))
        changes = {
            (task, side.system): _Changes(bare, side) for task, (bare, others) in split.items() for side in others
        }
        result.append(ModelFamily(collection.name(base), split, changes))
    return result


def _base(item: CellItem) -> str:
    """The base of a model: the base of its adapter, if it is an adapter and that base is in the collection; else
    itself."""
    from genner.model_source import ModelSource

    model = str(item.description.get("model"))
    try:
        source = ModelSource.find(model)
    except GennerError:
        source = None
    return source.base if source and source.adapter else model


def _is_base(item: CellItem, base: str) -> bool:
    d = item.description
    if d.get("trained") is not None:
        return False
    return d.get("adapted") is False or d.get("model") == base


class _Changes:
    """The changes of a side against the base, from the stored answers of both; empty if these cannot be compared."""

    def __init__(self, base: ReportedSide | None, other: ReportedSide) -> None:
        from genner.ability.paired_differences import decompose, deltas
        from genner.ability.qa_metrics import SCORERS

        self.found: Mapping[str, PairedDifference] = {}
        self.parts: Sequence[Any] = ()
        self.problem = ""
        self.asked = 0  # questions that both sides answered
        if base is None or not base.item.result or not other.item.result:
            return
        try:
            one, two = questions(base.item), questions(other.item)
            if one and two:
                self.found = deltas(one, two)
                self.asked = len(one)
                task = str(other.item.description.get("task")).partition("+")[0]
                if task in SCORERS:
                    self.parts = decompose(task, one, two)
        except GennerError as error:
            self.problem = str(error)


def questions(item: CellItem) -> list["AbilityItem"]:
    """The stored answers of a cell; empty if it kept none. Raises `DataError` for a record that is not an answer."""
    from dataclasses import fields

    from genner.ability.items import AbilityItem
    from genner.errors import DataError

    known = {f.name for f in fields(AbilityItem)}
    found = []
    for raw in item.run.items():
        try:
            kept = {key: value for key, value in raw.items() if key in known}
            kept["others"] = [(float(value), int(tokens)) for value, tokens in kept.get("others", [])]
            found.append(AbilityItem(**kept))
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(item.id, f"holds what is no answer to a question: {error}") from None
    return found


def ability_findings(found: Sequence[ModelFamily]) -> Listing | None:
    """For each change of an F1, a sentence that says whether form or content changed; None if there are no changes."""
    from genner.ability.run import AbilityComparison
    from genner.ability.table import verdict

    lines = []
    for family in found:
        for (task, system), change in family.changes.items():
            if change.parts:
                names = task.name, task.shots, family.base, system.title
                said = verdict(AbilityComparison(*names, dict(change.found), list(change.parts)))
                lines.append(f"{task.title}, {system.title}, against {family.base}: {said}")
    return Listing(tuple(lines)) if lines else None


def ability_tables(found: Sequence[ModelFamily]) -> list[Table]:
    """For each base model: all scores and the form of the answers, before and after; then the parts of the change of
    F1."""
    tables = []
    for n, family in enumerate(found, 1):
        parts = _parts_table(family, n)
        tables += [_scores_table(family, n), *([parts] if parts else [])]
    return tables


def _scores_table(family: ModelFamily, n: int) -> Table:
    systems = family.systems
    rows, blocks, notes = [], [], []
    tasks = list(family.tasks)
    for task, (base, others) in family.tasks.items():
        title = task.title + (f", seed {task.seed}" if len({t.seed for t in tasks}) > 1 else "")
        by_system = {side.system: side for side in others}
        for name in _measures([s for s in (base, *others) if s]):
            entries: list[Entry] = [_value(base, name)]
            for system in systems:
                side = by_system.get(system)
                entries += [_value(side, name), _change(base, side, name, family.changes.get((task, system)))]
            rows.append(TableRow((_named(name),), tuple(entries)))
            blocks.append(title)
    for (task, system), change in family.changes.items():
        if change.problem:
            notes.append(f"{task.title}, {system.title}: {change.problem}.")
    return Table(
        f"ability-{n}",
        f"General ability before and after: {family.base}",
        ("Measure",),
        (
            Column("base"),
            *(c for s in systems for c in (Column("score", s.title), Column("change", s.title))),
        ),
        tuple(TableRow(r.heads, r.entries, block) for r, block in zip(_marked(rows), blocks, strict=True)),
        "Scores with the harness's standard errors; below them means over the answers. Changes are against the "
        "base, in points where the score is a share, with the interval of all changes of the table together and the "
        "number of questions.",
        (
            f"Changes: paired, with t intervals over the questions; {STARS.format(family='changes of the table')}; "
            "where answers were not kept or are of other questions, the standard error of two independent "
            "measurements is given, where both have one.",
            *notes,
        ),
    )


def _measures(sides: Sequence[ReportedSide]) -> list[tuple[str, str]]:
    """The scores, then the forms of answers, that any side has."""
    found: dict[tuple[str, str], None] = {}
    for kind in ("scores", "answers"):
        for side in sides:
            metrics = side.item.result.metrics.get(kind) if side.item.result else None
            names = list(metrics) if isinstance(metrics, Mapping) else []
            order = list(FORMS)
            if kind == "answers":
                names.sort(key=lambda x: order.index(x) if x in order else len(order))
            found |= {(kind, name): None for name in names}
    return list(found) or [("scores", "score")]


def _named(name: tuple[str, str]) -> str:
    return TASK_TITLES.get(name[1], name[1]) if name[0] == "answers" else name[1]


def _value(side: ReportedSide | None, name: tuple[str, str]) -> Entry:
    if side is None:
        return Missing("absent")
    path = (*name, "value") if name[0] == "scores" else name
    number = side.item.metric(*path)
    if number is None:
        return Missing("undefined", (side.item.id,)) if side.item.result else absence([side.item])
    error = side.item.metric(*name, "stderr") if name[0] == "scores" else None
    return Value(number, _kind(name, number), spread=error, cells=(side.item.id,))


def _kind(name: tuple[str, str], number: float) -> ValueKind:
    return "number" if name[1] in WHOLE or not 0 <= number <= 1 else "percent"


def _change(
    base: ReportedSide | None, side: ReportedSide | None, name: tuple[str, str], changes: _Changes | None
) -> Entry:
    before, after = _value(base, name), _value(side, name)
    if side is None:
        return Missing("absent")
    if not isinstance(before, Value) or not isinstance(after, Value):
        return Missing("undefined", (side.item.id,), "the base or this side has no such score")
    kind: ValueKind = "points" if before.kind == after.kind == "percent" else "number"
    cells = (*before.cells, *after.cells)
    key = f"harness/{name[1]}" if name[0] == "scores" else FORMS.get(name[1], "")
    number = after.number - before.number
    delta = changes.found.get(key) if changes else None
    # A change over other questions than those of the scores does not belong beside them.
    if delta and abs(delta.value - number) < 1e-3 * max(1.0, abs(number)):
        d = delta.difference
        return Value(number, kind, *limits(d), p=d.p, mark=stars(d), cells=cells, part=f"n = {delta.n:,}", against=d)
    if before.spread is not None and after.spread is not None:
        return Value(number, kind, spread=hypot(before.spread, after.spread), mark=stars(None), cells=cells)
    return Value(number, kind, mark=stars(None), cells=cells)


def _marked(rows: Sequence[TableRow]) -> list[TableRow]:
    """The table with its changes corrected for multiple comparisons (one family per table)."""
    changes = [e.against for row in rows for e in row.entries if isinstance(e, Value) and e.against]
    judged = iter(together(changes))

    def entry(e: Entry) -> Entry:
        if not isinstance(e, Value) or e.against is None:
            return e
        d = next(judged)
        assert d
        low, high = limits(d)
        return replace(e, low=low, high=high, p=d.p, mark=stars(d), against=None)

    return [TableRow(row.heads, tuple(entry(e) for e in row.entries), row.block) for row in rows]


def _parts_table(family: ModelFamily, n: int) -> Table | None:
    """The change of F1 decomposed into empty answers, form and content."""
    rows = []
    for (task, system), change in family.changes.items():
        base, others = family.tasks[task]
        cells = tuple(s.item.id for s in (base, *others) if s and (s is base or s.system == system))
        for part in change.parts:
            entries = tuple(_part(p, cells) for p in (part.total, part.empty, part.form, part.content))
            rows.append(TableRow((system.title, part.cut), entries, task.title))
    if not rows:
        return None
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


def _part(part: "DifferencePart", cells: tuple[str, ...]) -> Entry:
    return Value(part.value, "points", part.low, part.high, cells=cells)


def ability_figures(found: Sequence[ModelFamily]) -> list[Figure]:
    """For each base model, the changes of the harness's scores."""
    return [f for n, family in enumerate(found, 1) if (f := _figure(family, n))]


def _figure(family: ModelFamily, n: int) -> Figure | None:
    spots: list[tuple[str, System, Value]] = []
    for task, (base, others) in family.tasks.items():
        for side in others:
            changes = family.changes.get((task, side.system))
            for name in _measures([side]):
                entry = _change(base, side, name, changes)
                if name[0] == "scores" and isinstance(entry, Value) and entry.kind == "points":
                    asked = f", n = {changes.asked:,}" if changes and changes.asked else ""
                    spots.append((f"{task.title}{asked}: {name[1]}", side.system, entry))
    if not spots:
        return None
    names = list(dict.fromkeys(name for name, _, _ in spots))
    systems = list(dict.fromkeys(system for _, system, _ in spots))

    marks = [
        DifferenceMark(names.index(name), systems.index(system), value.number, *_reach(value))
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


def _reach(value: Value) -> tuple[float, float]:
    """How far the error bar reaches below and above its mark: the interval, or 1.96 standard errors."""
    if value.low is not None and value.high is not None:
        return value.number - value.low, value.high - value.number
    return (1.96 * (value.spread or 0.0),) * 2
