"""`genner train`."""

from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import DeviceOption, app, must_exist
from genner.errors import UsageError
from genner.training.options import RunOptions

_DEFAULTS = RunOptions()


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML); recipes/default.toml is the shipped model's.")],
    out: Annotated[Path, typer.Option(help="The folder of the run.")],
    data: Annotated[Path, typer.Option(help="The folder that the recipe's file names are relative to.")] = Path(),
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after so long; the schedule fits it.")
    ] = _DEFAULTS.max_minutes,
    epochs: Annotated[float | None, typer.Option(min=0.0, help="Instead of the recipe's number of epochs.")] = (
        _DEFAULTS.epochs
    ),
    eval_minutes: Annotated[float, typer.Option(min=0.0, help="Minutes between evaluations on dev data.")] = (
        _DEFAULTS.eval_minutes
    ),
    eval_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps between evaluations, instead of minutes: the same at each run.")
    ] = _DEFAULTS.eval_steps,
    eval_sentences: Annotated[int, typer.Option(min=1, help="Dev sentences of each set to evaluate on.")] = (
        _DEFAULTS.eval_sentences
    ),
    calibration_sentences: Annotated[
        int, typer.Option(min=0, help="Dev sentences of each set to calibrate scores on at the end; 0: do not.")
    ] = 50,
    tracker: Annotated[
        list[str] | None,
        typer.Option(help="Who is told of losses and scores: tensorboard, wandb, mlflow. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on where the run in --out left off.")] = False,
    device: DeviceOption = None,
) -> None:
    """Fine-tune a model after a recipe: LoRA and its kin, or all weights.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 done and saved, but the model has not learned to find anything: what to
    change is said at the end, and in summary.json.
    """
    from genner.training import run

    must_exist(recipe, data)
    options = RunOptions(
        max_minutes=max_minutes,
        epochs=epochs,
        eval_minutes=eval_minutes,
        eval_steps=eval_steps,
        eval_sentences=eval_sentences,
        calibration_sentences=calibration_sentences,
        trackers=tuple(tracker or ()),
        resume=resume,
        device=device,
    )
    verdict = run(recipe, data, out, options)
    if verdict and not verdict.learned:
        raise typer.Exit(3)


@app.command()
def drafter(
    recipe: Annotated[Path, typer.Argument(help="The recipe (TOML) that the adapter was trained after.")],
    adapter: Annotated[Path, typer.Argument(help="The adapter's folder, which the drafter is put into.")],
    data: Annotated[Path, typer.Option(help="The folder that the recipe's file names are relative to.")] = Path(),
    device: DeviceOption = None,
) -> None:
    """Train what guesses entities ahead for an adapter: decoding becomes faster, answers stay the same."""
    from genner.model_source import shipped
    from genner.training import run_drafter

    if str(adapter) in shipped() and not adapter.exists():
        raise UsageError(
            f"the drafter is written into the adapter's folder, and {str(adapter)!r} is a shipped one; give the folder "
            "of an adapter of your own"
        )
    must_exist(recipe, data, adapter)
    run_drafter(recipe, data, adapter, device=device)
