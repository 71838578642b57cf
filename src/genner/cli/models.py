"""`genner models list`, `fetch` and `where`."""

import sys
from typing import Annotated

import typer

from genner.cli.app import Commands, app, tell
from genner.errors import GennerError

models_app = typer.Typer(cls=Commands, help="List, fetch and find models.", no_args_is_help=True)
app.add_typer(models_app, name="models")


@models_app.command("list")
def models_list() -> None:
    """What can be given as --model, and whether it is there."""
    from genner.model_source import ModelSource, shipped
    from genner.model_store import MODELS, fetched_from_hub, locate

    for name in shipped():
        adapter = ModelSource.resolve(name)
        tell(f"{name}\tadapter on {adapter.base}\t{', '.join(adapter.formats)}\tin the package", sys.stdout)
    for name, spec in MODELS.items():
        try:
            place = str(locate(name))
        except GennerError:
            place = f"not fetched; run: genner models fetch {name}"
        tell(f"{name}\t{spec.description}\t{spec.licence}\t{place}", sys.stdout)
    for name in fetched_from_hub():
        source = ModelSource.resolve(name, fetch=False)
        what = f"adapter on {source.base}" if source.adapter else "model"
        tell(f"{name}\t{what} of the Hugging Face hub\t{', '.join(source.formats)}\t{source.folder}", sys.stdout)


@models_app.command("fetch")
def models_fetch(
    name: Annotated[
        str | None,
        typer.Argument(help="A preset, or OWNER/NAME on the Hugging Face hub; the default model if left out."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Fetch again, even if it is there.")] = False,
) -> None:
    """Fetch a model, check it, and keep it for offline use."""
    from genner.model_source import ModelSource
    from genner.model_store import fetch, is_hub_id, preset_of

    name = name or "default"
    if is_hub_id(name) and not preset_of(name):
        tell(fetch(name, force=force), sys.stdout)
        base = ModelSource.resolve(name).base
        if base != name and (preset_of(base) or is_hub_id(base)):
            tell(fetch(base, force=force), sys.stdout)
        return
    source = ModelSource.find(name)
    tell(fetch(source.base if source else name, force=force), sys.stdout)


@models_app.command("where")
def models_where(
    name: Annotated[str, typer.Argument(help="A preset, an adapter, a folder or OWNER/NAME.")] = "default",
) -> None:
    """The folder of a model's weights."""
    from genner.model_source import ModelSource

    source = ModelSource.resolve(name, fetch=False)
    tell(source.folder or source.located, sys.stdout)
