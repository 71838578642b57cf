"""`genner card`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import app, must_exist, tell


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(help="A training run's folder, an adapter's, or an exported one.")],
    scores: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SET/SPLIT=]FILE",
            help="A report: of genner evaluate --json, benchmarks/score.py, or a cell of an assessment.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite a README.md that genner did not write.")] = False,
) -> None:
    """Write the model card (README.md) anew, from what the files beside it say.

    Scores are shown with set, split, number of sentences, interval and signature, or not at all.
    """
    from genner.export.card import write_cards

    must_exist(folder)
    for path in write_cards(folder, force, scores or ()):
        tell(path, sys.stdout)
