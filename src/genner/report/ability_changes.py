"""General ability by base model: the sides of each task, what was measured of them, and the changes between them.

Values come from the records; changes and their intervals are computed from the stored answers
(`genner.ability.paired_differences`), paired by question. Where answers were not kept, the standard error of two
independent measurements is given.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import hypot
from typing import TYPE_CHECKING, Literal

from genner.errors import DataError, GennerError
from genner.report.cell_items import CellItem, absence
from genner.report.entries import limits
from genner.report.estimates import stars
from genner.report.results import Collection, System
from genner.report.table import Entry, Missing, Value, ValueKind

if TYPE_CHECKING:
    from genner.ability.items import AbilityItem
    from genner.ability.paired_differences import Decomposition, PairedDifference

# A mean over answers in the records: its title, its name in `deltas`, and whether it is a share.
ANSWER_MEANS: dict[str, tuple[str, str, bool]] = {
    "em": ("exact match", "em", True),
    "f1": ("F1", "f1", True),
    "empty_rate": ("empty answers", "empty", True),
    "truncated_rate": ("cut off answers", "", True),
    "mean_tokens": ("tokens an answer", "tokens", False),
    "loglikelihood": ("log-likelihood of the gold answer, nats a token", "per_token", False),
    "choice": ("gold answer likelier than wrong ones", "choice", True),
}


@dataclass(frozen=True, slots=True, order=True)
class ReportedTask:
    """A measured task. `limit` is -1 for all questions."""

    name: str
    shots: int
    limit: int
    seed: int

    @classmethod
    def of(cls, item: CellItem) -> "ReportedTask":
        """The task that a cell measures."""
        d = item.description
        limit = d.get("limit")
        return cls(
            str(d.get("task")), int(d.get("shots") or 0), -1 if limit is None else int(limit), int(d.get("seed") or 0)
        )

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
class AbilityMeasure:
    """A number in the records: one of the harness's `scores`, or a mean over `answers`."""

    kind: Literal["scores", "answers"]
    name: str

    @property
    def title(self) -> str:
        return ANSWER_MEANS[self.name][0] if self.kind == "answers" and self.name in ANSWER_MEANS else self.name

    @property
    def in_deltas(self) -> str:
        """Its name among the differences of the stored answers; empty if it is not there."""
        return f"harness/{self.name}" if self.kind == "scores" else ANSWER_MEANS.get(self.name, ("", "", True))[1]

    def value(self, side: ReportedSide | None) -> Entry:
        """The number of a side; a score has its standard error."""
        if side is None:
            return Missing("absent")
        item, score = side.item, self.kind == "scores"
        number = item.metric(self.kind, self.name, *(("value",) if score else ()))
        if number is None:
            return Missing("undefined", (item.id,)) if item.result else absence([item])
        share = ANSWER_MEANS.get(self.name, ("", "", True))[2] and 0 <= number <= 1
        error = item.metric(self.kind, self.name, "stderr") if score else None
        return Value(number, "percent" if share else "number", spread=error, cells=(item.id,))


class SideChange:
    """The change from the base to another side of a task. `differences` are those of the stored answers of both, empty
    if these cannot be compared for the reason in `problem`; `parts` decompose that of an F1; `asked` is the number of
    questions that both answered."""

    def __init__(self, base: ReportedSide | None, other: ReportedSide) -> None:
        from genner.ability.paired_differences import decompose, deltas
        from genner.ability.qa_metrics import SCORERS

        self.base, self.other = base, other
        self.differences: Mapping[str, PairedDifference] = {}
        self.parts: Sequence[Decomposition] = ()
        self.problem, self.asked = "", 0
        if base is None or not base.item.result or not other.item.result:
            return
        try:
            one, two = stored_answers(base.item), stored_answers(other.item)
            if one and two:
                self.differences, self.asked = deltas(one, two), len(one)
                task = str(other.item.description.get("task")).partition("+")[0]
                if task in SCORERS:
                    self.parts = decompose(task, one, two)
        except GennerError as error:
            self.problem = str(error)

    def entry(self, measure: AbilityMeasure) -> Entry:
        """The change of a measure, with its interval where the answers allow it."""
        before, after = measure.value(self.base), measure.value(self.other)
        if not isinstance(before, Value) or not isinstance(after, Value):
            return Missing("undefined", (self.other.item.id,), "the base or this side has no such score")
        kind: ValueKind = "points" if before.kind == after.kind == "percent" else "number"
        cells, number = (*before.cells, *after.cells), after.number - before.number
        delta = self.differences.get(measure.in_deltas)
        # A change over other questions than those of the scores does not belong beside them.
        if delta and abs(delta.value - number) < 1e-3 * max(1.0, abs(number)):
            d, asked = delta.difference, f"n = {delta.n:,}"
            return Value(number, kind, *limits(d), p=d.p, mark=stars(d), cells=cells, part=asked, against=d)
        known = before.spread is not None and after.spread is not None
        spread = hypot(before.spread or 0.0, after.spread or 0.0) if known else None
        return Value(number, kind, spread=spread, mark=stars(None), cells=cells)


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """A base model and the systems trained from it: for each task the base's side, if measured, and the changes to the
    other sides, by system."""

    base: str
    tasks: Mapping[ReportedTask, tuple[ReportedSide | None, Mapping[System, SideChange]]]

    @property
    def systems(self) -> list[System]:
        """All systems but the base."""
        return sorted({system for _, changes in self.tasks.values() for system in changes})

    @property
    def changes(self) -> list[tuple[ReportedTask, System, SideChange]]:
        """All changes, by task and system."""
        return [(t, s, change) for t, (_, changes) in self.tasks.items() for s, change in changes.items()]


def families(collection: Collection) -> list[ModelFamily]:
    """The ability cells by base model."""
    found: defaultdict[str, defaultdict[ReportedTask, list[ReportedSide]]] = defaultdict(lambda: defaultdict(list))
    for item in collection.of("ability"):
        found[_base(item)][ReportedTask.of(item)].append(ReportedSide(collection.system(item), item))
    result = []
    for base, tasks in sorted(found.items()):
        _name_seeds(collection, tasks)
        split = {}
        for task, sides in sorted(tasks.items()):
            bare = next((s for s in sides if _is_base(s.item, base)), None)
            others = sorted((s for s in sides if s is not bare), key=lambda s: s.system)
            split[task] = bare, {side.system: SideChange(bare, side) for side in others}
        result.append(ModelFamily(collection.name(base), split))
    return result


def _name_seeds(collection: Collection, tasks: Mapping[ReportedTask, list[ReportedSide]]) -> None:
    """Put the training's seed into the name of each system that a task has several times, since sides are not averaged;
    in place."""
    several = {
        system
        for sides in tasks.values()
        for system, n in Counter(side.system for side in sides).items()
        if n > 1 and system.trained
    }
    for sides in tasks.values():
        for i, side in enumerate(sides):
            if side.system in several:
                training = collection.training(side.item)
                seed = f"seed {training.description.get('seed')}" if training else side.item.id
                name = ", ".join(filter(None, (side.system.variant, seed)))
                sides[i] = replace(side, system=replace(side.system, variant=name))


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
    return d.get("trained") is None and (d.get("adapted") is False or d.get("model") == base)


def stored_answers(item: CellItem) -> list["AbilityItem"]:
    """The stored answers of a cell; empty if it kept none. Raises `DataError` for a record that is not an answer."""
    from genner.ability.items import AbilityItem

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
