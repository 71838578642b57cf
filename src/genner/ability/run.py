"""Measures models and compares the measurements."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genner.ability.items import AbilityItem, read_items, write_items
from genner.ability.models import AbilitySide, Models, sides
from genner.ability.paired_differences import Decomposition, PairedDifference, decompose, deltas
from genner.ability.qa_metrics import SCORERS
from genner.ability.result import ADAPTER, BASE, AbilityResult
from genner.ability.tasks import load_task, split_name
from genner.errors import DataError, GennerError, UsageError
from genner.extras import naming_parts, require
from genner.writing import write_atomic

RESULT, ITEMS, TASKS = "ability.json", "items.jsonl", "tasks"
ABILITY_SCHEMA = 1


@dataclass(frozen=True)
class Ask:
    """A task by name (see `run`), the number of shots, and a limit of items (None: all)."""

    task: str
    shots: int = 0
    limit: int | None = None


@naming_parts()
def run(
    model: str,
    task: str,
    out: Path,
    *,
    adapted: bool = True,
    shots: int = 0,
    limit: int | None = None,
    seed: int = 0,
    data: Path | None = None,
    dtype: str = "auto",
    batch_size: int = 8,
    device: str | None = None,
) -> AbilityResult:
    """Measure one model on one task; leaves `items.jsonl` and `ability.json` in the folder `out`.

    Args:
        model: as for `genner.load`: `default`, a preset, the folder of an adapter, of a training run or of a model.
        task: the name of a task of the harness, or of `genner.ability.tasks.OFFLINE`; with `+chat` at its end the
            model's chat template is applied, and shots become turns.
        adapted: with False, the adapter of `model` is left off and its base is measured, with equal arithmetic.
        shots: examples in the prompt.
        limit: so many items, drawn by `seed` (equal for all models); None: all.
        data: the folder with the offline tasks' files; None: the hub.
        dtype: float32, bfloat16, float16, or auto: bfloat16 on a GPU, float32 elsewhere.
        batch_size: prompts that are run together. Keep it, and dtype, for models that are to be compared.
        device: cpu, cuda, ...; None: the GPU if there is one.

    If the folder already holds this measurement, it is read and not measured again.

    Raises `UsageError` for arguments out of range, a folder that holds another measurement, or a missing harness;
    `UnknownNameError` for a task or model that is not known; `DataError` when a task's data cannot be had;
    `ModelError`.
    """
    ask = Ask(task, shots, limit)
    _check([ask], batch_size)
    require("torch", extra="ability")
    some = sides(model)
    side = some[-1] if adapted else some[0]
    models = Models(dtype, device)
    return _measured(models, side, _Task(ask, seed, data, batch_size), out, out / TASKS)


@dataclass(frozen=True)
class AbilityComparison:
    """Two sides on one task with so many shots: the changes, and for tasks with an F1 its decomposition."""

    task: str
    shots: int
    base: str
    other: str
    deltas: dict[str, PairedDifference]
    parts: list[Decomposition]

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "shots": self.shots,
            "base": self.base,
            "other": self.other,
            "deltas": {name: change.to_dict() for name, change in self.deltas.items()},
            "parts": [asdict(part) for part in self.parts],
        }


@dataclass(frozen=True)
class AbilityComparisons:
    """The output of `compare`: `results` by side, task and shots, and the comparison of each side with the base."""

    results: list[AbilityResult]
    comparisons: list[AbilityComparison]
    problems: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": ABILITY_SCHEMA,
            "results": [result.to_dict() for result in self.results],
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
            "problems": self.problems,
        }


@naming_parts()
def compare(
    model: str,
    asks: Sequence[Ask],
    out: Path,
    *,
    also: Mapping[str, str] | None = None,
    seed: int = 0,
    data: Path | None = None,
    dtype: str = "auto",
    batch_size: int = 8,
    device: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> AbilityComparisons:
    """Measure a base, `model` on it, and others on it (`also`: name -> model), and compare each with the base.

    Measurements are stored in `out/SIDE/TASK-SHOTSshot`, so that an interrupted run resumes after the last finished
    task; the whole result is in `out/ability.json`. A task that fails (for example because its data are unavailable) is
    listed in `problems` and does not affect others. If the model is itself a base, there is only one side. `tell` is
    called with progress.

    For the other arguments see `run`. Raises as `run` does.
    """
    _check(asks, batch_size)
    require("torch", extra="ability")
    some = sides(model, also)
    models = Models(dtype, device)
    wanted = [(side, _Task(ask, seed, data, batch_size)) for ask in asks for side in some]
    if len({side.load for side in some}) > 1:  # otherwise task by task, so that the first comparisons come early
        wanted.sort(key=lambda pair: some.index(pair[0]))
    for side, what in wanted:  # fail before hours are spent
        _read(out / side.name / what.name, what.describe(models, side))
    results: list[AbilityResult] = []
    problems: dict[str, str] = {}
    for side, what in wanted:
        tell(f"{side.name} on {what.ask.task}, {what.ask.shots} shots")
        try:
            results.append(_measured(models, side, what, out / side.name / what.name, out / TASKS))
        except GennerError as error:
            problems[f"{side.name}/{what.name}"] = str(error)
            tell(f"{side.name}/{what.name}: {error}")
    found = AbilityComparisons(results, list(_compared(results, some)), problems)
    _write(out / RESULT, found.to_dict())
    return found


def _compared(results: Sequence[AbilityResult], some: Sequence[AbilitySide]) -> Iterator[AbilityComparison]:
    by_key = {(result.side, result.task, result.shots): result for result in results}
    for (side, task, shots), result in by_key.items():
        if side == BASE or (BASE, task, shots) not in by_key:
            continue
        base, other = read_items(by_key[BASE, task, shots].items), read_items(result.items)
        name = split_name(task)[0]
        parts = decompose(name, base, other) if name in SCORERS else []
        yield AbilityComparison(task, shots, BASE, side, deltas(base, other), parts)


@dataclass(frozen=True)
class _Task:
    """A task for a side, and its settings."""

    ask: Ask
    seed: int
    data: Path | None
    batch_size: int

    @property
    def name(self) -> str:
        return f"{self.ask.task}-{self.ask.shots}shot"

    def describe(self, models: Models, side: AbilitySide) -> dict[str, Any]:
        """The settings that identify a measurement: these keys of an `AbilityResult`."""
        settings = {
            "dtype": models.dtype,
            "batch_size": self.batch_size,
            "device": models.device.type,
            "data": "hub" if self.data is None else "offline",
        }
        return {**asdict(self.ask), "seed": self.seed, "side": side.name, "model": side.model, "settings": settings}


def _measured(models: Models, side: AbilitySide, what: _Task, folder: Path, tasks: Path) -> AbilityResult:
    """Measure, or read an existing measurement."""
    from genner.ability import harness

    release = harness.require()
    described = what.describe(models, side)
    if done := _read(folder, described):
        return done
    name, chat = split_name(what.ask.task)
    loaded = load_task(name, what.data, tasks, what.ask.shots)
    began = time.monotonic()
    with models.on(side) as (model, tokenizer):
        if chat and not tokenizer.chat_template:
            raise UsageError(f"{side.model!r} has no chat template; take {name!r} without +chat")
        measured = harness.measure(
            model,
            tokenizer,
            loaded,
            name,
            shots=what.ask.shots,
            chat=chat,
            limit=what.ask.limit,
            seed=what.seed,
            batch_size=what.batch_size,
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_items(folder / ITEMS, measured.items)
    result = AbilityResult(
        **described,
        scores=measured.scores,
        answers=summary(measured.items),
        examples=len(measured.items),
        left_out=measured.left_out,
        harness=release,
        versions={package: version(package) for package in ("genner", "lm_eval", "torch", "transformers", "peft")},
        items=folder / ITEMS,
        seconds=round(time.monotonic() - began, 3),
        tokens=measured.tokens,
        passes=measured.passes,
    )
    _write(folder / RESULT, result.to_dict())
    return result


def summary(items: Sequence[AbilityItem]) -> dict[str, float]:
    """Means over the items that have a value; keys for which no item has one are missing."""
    generated = [item for item in items if item.tokens is not None]
    columns: dict[str, list[float | None]] = {
        "em": [item.em for item in items],
        "f1": [item.f1 for item in items],
        "empty_rate": [float(item.empty) for item in generated],
        "truncated_rate": [float(bool(item.truncated)) for item in generated],
        "mean_tokens": [item.tokens for item in generated],
        "loglikelihood": [item.per_token for item in items],
        "choice": [item.choice for item in items],
    }
    known = {name: [value for value in column if value is not None] for name, column in columns.items()}
    return {name: sum(column) / len(column) for name, column in known.items() if column}


def _read(folder: Path, wanted: dict[str, Any]) -> AbilityResult | None:
    """The measurement in a folder. Raises `UsageError` when it is another one, `DataError` when it is damaged."""
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        found = AbilityResult(**{**raw, "items": folder / raw["items"]})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(str(path), f"is no measurement: {error!r}; delete its folder to measure again") from None
    for key, value in wanted.items():
        if raw[key] != value:
            raise UsageError(
                f"{folder} holds another measurement, with {key} = {raw[key]!r} where {value!r} is wanted; give "
                "another --out, or delete it"
            )
    return replace(found, items=folder / ITEMS)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _check(asks: Sequence[Ask], batch_size: int) -> None:
    """Raise `UsageError` for arguments that cannot be used."""
    keys = [(ask.task, ask.shots) for ask in asks]
    if not keys or len(set(keys)) < len(keys) or not all(split_name(task)[0] for task, _ in keys):
        said = ", ".join(f"{task} with {shots} shots" for task, shots in keys)
        raise UsageError(f"tasks {said or 'none'}; give one or more, each once")
    for ask in asks:
        if ask.shots < 0:
            raise UsageError(f"task {ask.task!r} with {ask.shots} shots; legal: whole numbers from 0 on")
        if ask.limit is not None and ask.limit < 1:
            raise UsageError(f"task {ask.task!r} with limit {ask.limit}; legal: 1 or more")
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size}; legal: 1 or more")


__all__ = ["ADAPTER", "BASE", "AbilityComparison", "AbilityComparisons", "Ask", "compare", "run", "summary"]
