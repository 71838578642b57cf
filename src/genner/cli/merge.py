"""`genner merge`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import app, tell


@app.command()
def merge(
    adapter: Annotated[str, typer.Argument(help="default, or the folder of an adapter or of a training run.")],
    out: Annotated[Path, typer.Option(help="A new folder for the model.")],
    dtype: Annotated[str, typer.Option(help="Of the weights: bfloat16, float16 or float32.")] = "bfloat16",
) -> None:
    """Merge an adapter into its base: one model, for genner and for transformers."""
    from genner.export.folder import merge as run

    tell(run(adapter, out, dtype), sys.stdout)
