"""Warnings before a run and a verdict after it: whether the model can have learned anything, and what to change.

A fresh adapter has no effect: in its first dozens of steps the model copies the text and marks no entity. A run on a
few sentences makes only that many steps by default; without a verdict it would report success with a model that finds
nothing.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from genner.data import write_atomic
from genner.training.checkpoint import writing
from genner.training.progress import Limits, TrainingProgress
from genner.training.recipe import OptimSpec, Recipe

FEW_STEPS = 50  # with fewer, no fresh adapter was seen to find much (docs/log.md)
FIRST_STEPS = 3  # steps from which the time of the others is estimated
FEW_STARTED = 10  # the same, when training starts from an adapter


@dataclass
class TrainingVerdict:
    """The outcome of a run, for `summary.json` and the last lines of `genner train`.

    `learned` is False when there is no evidence that the model has learned to find entities; `advice` says what to
    change.
    """

    learned: bool
    advice: list[str] = field(default_factory=list)


def few(recipe: Recipe) -> int:
    """The number of steps below which this recipe is not expected to learn."""
    return FEW_STARTED if recipe.start else FEW_STEPS


def beforehand(recipe: Recipe, total: int, sentences: int) -> list[str]:
    """Warnings for a run of `total` steps with `sentences` sentences per epoch, before it starts."""
    if total >= few(recipe):
        return []
    return [
        f"warning: {_steps(total)} too few to learn from: an adapter finds little before {few(recipe)}; "
        + more_steps(recipe.optim, total, sentences, few(recipe))
    ]


def too_slow(limits: Limits, recipe: Recipe, progress: TrainingProgress, total: int) -> list[str]:
    """The step at which the time limit will end the run, judged by the steps so far; a warning if that is too early."""
    if not limits.max_minutes or not progress.seconds:
        return []
    each = progress.seconds / progress.step
    reach = int(60 * limits.max_minutes / each)
    if reach >= total:
        return []
    line = f"{each:.2g} s a step: --max-minutes {limits.max_minutes:g} ends the run near step {reach} of {total}"
    if reach < few(recipe):
        need = math.ceil(few(recipe) * each / 60)
        line = f"warning: {line}, too few to learn from; give --max-minutes {need} or more"
    return [line]


def _steps(number: int) -> str:
    return f"{number} step{' is' if number == 1 else 's are'}"


def more_steps(optim: OptimSpec, total: int, sentences: int, wanted: int) -> str:
    """Advice on how to get more steps, in terms of recipe keys."""
    how = [f"[optim] min_steps = {2 * wanted} (epochs = {optim.epochs:g} made {total} steps of {sentences} sentences)"]
    if optim.groups_per_step > 1:
        how.append(f"groups_per_step = 1 instead of {optim.groups_per_step}")
    if optim.group_tokens > 512:
        how.append(f"a smaller group_tokens than {optim.group_tokens}")
    return "set " + ", or ".join(how)


def judge(
    recipe: Recipe,
    limits: Limits,
    progress: TrainingProgress,
    total: int,
    sentences: int,
    drafter_f1: float | None = None,
) -> TrainingVerdict:
    """The verdict on a finished run of `total` planned steps with `sentences` sentences per epoch."""
    optim, steps = recipe.optim, progress.step
    advice = list[str]()
    short = steps < few(recipe)
    by_time = limits.max_minutes is not None and steps < total
    longer = (
        f"--max-minutes {limits.max_minutes:g} ended it at step {steps} of {total}: give more, or none"
        if by_time
        else more_steps(optim, steps, sentences, few(recipe))
    )
    scored = progress.best >= 0
    if scored and progress.best == 0:
        loss = sum(progress.losses) / len(progress.losses) if progress.losses else None
        last = f" (loss {loss:.3g} over the last steps)" if loss is not None else ""
        advice.append(f"dev F1 is 0 after {steps} steps{last}: the model finds nothing that is right on dev data")
        advice.append(longer if short or by_time else _other_causes(optim, steps, sentences))
    elif short:
        advice.append(f"{_steps(steps)} too few to learn from (an adapter finds little before {few(recipe)})")
        advice.append(longer)
    if not scored:
        advice.append("no dev data, so no score; give the [[set]] a dev file: dev = 'NAME/dev.jsonl'")
    if drafter_f1 == 0.0:
        advice.append(
            "the drafter guesses nothing that is right (micro-F1 0): answers are the same, decoding is slower; it saw "
            f"at most {min(recipe.drafter.sentences, sentences)} sentences {recipe.drafter.epochs} times: raise "
            "[drafter] epochs (genner drafter trains one anew), give more sentences, or set [drafter] sentences = 0"
        )
    return TrainingVerdict(learned=progress.best > 0 or (not scored and not short), advice=advice)


def _other_causes(optim: OptimSpec, steps: int, sentences: int) -> str:
    return (
        f"{steps} steps on {sentences} sentences should do: compare dev and train files (labels, language, how they "
        f"are tokenized), or change [optim] learning_rate ({optim.learning_rate:g}): less if the loss rose or jumped, "
        "more if it hardly fell"
    )


def conclude(
    out: Path,
    recipe: Recipe,
    limits: Limits,
    progress: TrainingProgress,
    total: int,
    sentences: int,
    drafter_f1: float | None,
) -> TrainingVerdict:
    """Judge a finished run, and write `summary.json` into its folder: steps done and planned, the best dev F1 (null if
    not evaluated), the drafter's F1, and the verdict."""
    verdict = judge(recipe, limits, progress, total, sentences, drafter_f1)
    about = {
        "steps": progress.step,
        "planned": total,
        "sentences": sentences,
        "minutes": round(progress.seconds / 60, 2),
        "dev_f1": progress.best if progress.best >= 0 else None,
        "drafter_f1": drafter_f1,
        "learned": verdict.learned,
        "advice": verdict.advice,
    }
    with writing(out / "summary.json") as path:
        write_atomic(path, json.dumps(about, indent=1))
    return verdict
