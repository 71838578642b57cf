"""`genner calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import DeviceOption, app, must_exist, tell
from genner.errors import UsageError

SENTENCES = 100


@app.command()
def calibrate(
    adapter: Annotated[
        str, typer.Argument(help="default; or the folder of an adapter, a training run or a fully tuned model.")
    ],
    recipe: Annotated[Path, typer.Argument(help="The recipe (TOML) that it was trained after, for its dev files.")],
    data: Annotated[Path, typer.Option(help="The folder that the recipe's file names are relative to.")] = Path(),
    sentences: Annotated[int, typer.Option(min=1, help="Dev sentences of each set to fit on.")] = SENTENCES,
    format: Annotated[
        str | None,
        typer.Option(
            help="Fit the formats of one kind (inline, JSON) alone, on this one; the others stay as they are."
        ),
    ] = None,
    unseen: Annotated[
        Path | None,
        typer.Option(
            help="A file (TOML) of [[set]] tables that the model was not trained on: scores for other labels are "
            "fitted on them, each tried by a fit on the others."
        ),
    ] = None,
    only_unseen: Annotated[
        bool, typer.Option(help="Fit scores for other labels alone; keep those of the recipe's own sets.")
    ] = False,
    labels_only: Annotated[
        bool, typer.Option(help="Only write down which labels the model was trained on, for a model that lacks it.")
    ] = False,
    device: DeviceOption = None,
) -> None:
    """Fit scores to how often a model is right on dev data: a score of 0.9 then means right in nine of ten cases.

    This also chooses the thresholds below which entities are left out by default.
    """
    from genner.training import run_calibration, run_manifest

    must_exist(recipe, data)
    if labels_only:
        if unseen or only_unseen or format:
            raise UsageError("--labels-only fits nothing; leave out --unseen, --only-unseen and --format")
        tell(f"labels of the recipe written into {run_manifest(adapter, recipe, data)}")
        return
    if only_unseen and not unseen:
        raise UsageError("--only-unseen fits on the sets of a file: give --unseen FILE as well")
    must_exist(*([unseen] if unseen else []))
    run_calibration(
        adapter, recipe, data, sentences, only=format, unseen=unseen, only_unseen=only_unseen, device=device
    )
