"""`genner demo`."""

from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import DeviceOption, ModelOption, app, may_write


@app.command()
def demo(
    examples: Annotated[Path, typer.Option(help="The folder with the example texts.")] = Path("examples"),
    page: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("demo.html"),
    model: ModelOption = "default",
    device: DeviceOption = None,
) -> None:
    """Tag the example texts, show them, and score the bundled gold sample."""
    from genner.demo import run

    may_write({"--page": page}, examples.glob("*"), force=True)  # the page of an earlier demo is overwritten
    run(examples, page, model, device)
