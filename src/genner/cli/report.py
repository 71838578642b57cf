"""`genner report`."""

from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import ForceOption, app, may_write, must_exist, tell
from genner.errors import UsageError


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `genner assess` wrote; several are read as one.")],
    out: Annotated[Path | None, typer.Option(help="Write one HTML page here; it needs nothing else.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="A folder for report.md, cells.md, a file a table, and pictures.")
    ] = None,
    latex: Annotated[
        Path | None, typer.Option(help="A folder for a file a table, and report.tex with all of them.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="A folder for the figures as SVG and PNG.")] = None,
    csv: Annotated[Path | None, typer.Option(help="A folder for all tables and the figures' data as CSV.")] = None,
    title: Annotated[str, typer.Option(help="The page's title; else it names the folders.")] = "",
    examples: Annotated[int, typer.Option(min=0, help="Errors shown of each kind, format and decoding.")] = 2,
    force: ForceOption = False,
) -> None:
    """Put an assessment's results together: the paper's tables with ours beside, formats, probes, abilities, errors.

    Cells that are still to run, were skipped or went wrong are named with their reasons, and all others are reported.
    """
    must_exist(*runs)
    if not any((out, markdown, latex, figures, csv)):
        raise UsageError(
            "nothing to write; give --out report.html, or a folder as --markdown, --latex, --figures, --csv"
        )
    outputs = {"--out": out, "--markdown": markdown, "--latex": latex, "--figures": figures, "--csv": csv}
    may_write(outputs, runs, force)

    from genner.report import build, write

    made = build(runs, title=title, each=examples)
    for path in write(made, out=out, markdown=markdown, latex=latex, figures=figures, csv=csv):
        tell(f"written: {path}")
