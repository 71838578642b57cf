"""One process of the training benchmark (one row, one round), and the table of the results."""

import hashlib
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from genner.engines.transformers_engine import default_device, fast_dtype
from genner.training.mixture import Mixture
from genner.training.recipe import Recipe
from peers import sft, trained
from peers.factory import Factory
from peers.lessons import Lesson, Outcome, Row, chat_of, draw, from_json, single, to_json

LESSON = "lesson"
"""Not a row: the data that all rows train on."""

PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl")
HEAD = (
    "| | time to genner's | examples/s | answer tokens/s | text and answer tokens/s | tokens/s, instructions included "
    "| tokens computed an example | first loss | peak MB |"
)


@dataclass(frozen=True)
class Plan:
    """What to measure, and the output file."""

    recipe: Path
    data: Path
    warm: int
    steps: int
    group_tokens: int | None
    rounds: int
    factory_python: Path | None
    started: str
    out: Path

    def lesson_settings(self) -> dict[str, Any]:
        """The settings that must be equal for lessons to be equal."""
        return {
            "recipe": hashlib.sha256(self.recipe.read_bytes()).hexdigest()[:12],
            "data": str(self.data),
            "group_tokens": self.group_tokens,
            "warm": self.warm,
            "steps": self.steps,
        }

    def settings(self, groups: list[dict[str, Any]]) -> dict[str, Any]:
        """The settings that must be equal for measurements of a row to be combined."""
        recipe, device = single(Recipe.from_file(self.recipe), self.group_tokens), default_device()
        found = {
            "base": recipe.base,
            "lora": vars(recipe.lora),
            "groups": hashlib.sha256(json.dumps(groups).encode()).hexdigest()[:12],
            "warm": self.warm,
            "steps": self.steps,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if device.type == "cuda" else str(device),
            "dtype": str(fast_dtype(device)).removeprefix("torch."),
            "versions": {package: number for package in PACKAGES if (number := _version(package))},
        }
        as_read: dict[str, Any] = json.loads(json.dumps(found))  # JSON turns a tuple into a list
        return as_read


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def known(plan: Plan) -> dict[str, Row]:
    """All rows by name; those of TRL only if it is installed, those of LLaMA-Factory only if its Python is given."""
    factory = Factory(plan.factory_python).rows() if plan.factory_python else []
    return {row.name: row for row in [*trained.rows(), *sft.rows(), *factory]}


def read(out: Path) -> dict[str, Any]:
    """The current JSON: {"lesson": {"settings", "groups"} or {}, "rows": {name: row}}."""
    results: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {LESSON: {}, "rows": {}}
    return results


def save(out: Path, results: dict[str, Any]) -> None:
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(results, indent=1))
    part.replace(out)


def measure(plan: Plan, name: str) -> None:
    """Run the missing rounds of a row, or record the lesson if it is missing."""
    results = read(plan.out)
    if name == LESSON:
        settings = plan.lesson_settings()
        if results[LESSON].get("settings") != settings:
            recipe = single(Recipe.from_file(plan.recipe), plan.group_tokens)
            groups = to_json(draw(Mixture(recipe, plan.data, chat_of(recipe)), plan.warm, plan.steps).groups)
            save(plan.out, {**results, LESSON: {"settings": settings, "groups": groups}})
        return
    lesson, row = lesson_of(plan, results), known(plan)[name]
    common = plan.settings(results[LESSON]["groups"])
    entry = results["rows"].get(name)
    if entry and entry["settings"] != common:
        entry = None
    if len(entry["seconds"] if entry else []) < plan.rounds:
        with tempfile.TemporaryDirectory() as folder:
            outcome = row.train(lesson, Path(folder) / "out")
        entry = merged(entry, row, lesson, outcome, common, plan.started)
        results["rows"][name] = entry
        print(f"{name}: {outcome.seconds:.1f} s, {entry['examples_per_s']:.2f} examples/s", file=sys.stderr, flush=True)
        save(plan.out, results)


def lesson_of(plan: Plan, results: Mapping[str, Any]) -> Lesson:
    """The lesson in the JSON; the recipe's data sets are no longer needed."""
    recipe = replace(single(Recipe.from_file(plan.recipe), plan.group_tokens), sets=())
    groups = from_json(results[LESSON]["groups"])
    return Lesson(recipe, groups[: plan.warm], groups[plan.warm :])


def merged(
    entry: dict[str, Any] | None,
    row: Row,
    lesson: Lesson,
    outcome: Outcome,
    common: dict[str, Any],
    started: str,
) -> dict[str, Any]:
    """The JSON entry of a row with one more round added; rates are of the median."""
    seconds = [*(entry["seconds"] if entry else []), outcome.seconds]
    median, counts = statistics.median(seconds), lesson.counts()
    return {
        "row": row.name,
        "about": row.about,
        "ours": row.ours,
        "median_s": median,
        "examples_per_s": counts["examples"] / median,
        "answers_per_s": counts["answers"] / median,
        "useful_per_s": counts["useful"] / median,
        "tokens_per_s": outcome.tokens / median,
        "computed": outcome.computed / counts["examples"],
        "padding": 1 - outcome.tokens / outcome.computed,
        "steps": outcome.steps,
        "first_loss": outcome.losses[0] if outcome.losses else None,
        "losses": outcome.losses,
        **outcome.notes,
        "peak_mb": outcome.peak_mb,
        "seconds": seconds,
        "counts": counts,
        "runs": sorted({*(entry["runs"] if entry else []), started}),
        "settings": common,
    }


# -- the table


def table(rows: Mapping[str, dict[str, Any]]) -> str:
    """Markdown: a line for each row, and genner's ratio to the fastest peer. Rows whose settings differ from the first
    row's are left out, and named."""
    if not rows:
        return "nothing was measured\n"
    settings = next(iter(rows.values()))["settings"]
    alike = {name: row for name, row in rows.items() if row["settings"] == settings}
    ours, runs = alike.get("genner"), {run for row in alike.values() for run in row["runs"]}
    counts = next(iter(alike.values()))["counts"]
    lines = [
        f"{settings['base']}, {settings['steps']} steps, {counts['examples']} examples, {counts['answers']} answer "
        f"tokens; {settings['threads']} threads, {settings['device']}, {settings['dtype']}"
        + (f"; rows of {len(runs)} runs, ratios between them are less sure" if len(runs) > 1 else ""),
        "",
        HEAD,
        f"|{'---|' * (HEAD.count('|') - 1)}",
        *(f"| {' | '.join(_cells(row, ours))} |" for row in alike.values()),
    ]
    if ours and (peers := [row for row in alike.values() if not row["ours"]]):
        best = min(peers, key=lambda row: float(row["median_s"]))
        lines += ["", f"genner is {best['median_s'] / ours['median_s']:.2f} times as fast as {best['about']}."]
    if left := rows.keys() - alike.keys():
        lines += ["", f"Of other settings, left out: {', '.join(sorted(left))}."]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any], ours: Mapping[str, Any] | None) -> list[str]:
    def number(value: float | None, digits: int = 0) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    return [
        row["about"],
        number(row["median_s"] / ours["median_s"] if ours else None, 2),
        number(row["examples_per_s"], 2),
        number(row["answers_per_s"]),
        number(row["useful_per_s"]),
        number(row["tokens_per_s"]),
        number(row["computed"]),
        number(row["first_loss"], 3),
        number(row["peak_mb"]),
    ]
