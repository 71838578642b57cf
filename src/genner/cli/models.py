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
    from genner.loading import find_adapter, shipped
    from genner.model_store import MODELS, locate

    for name in shipped():
        adapter = find_adapter(name)
        assert adapter is not None
        tell(f"{name}\tadapter on {adapter.base}\t{', '.join(adapter.formats)}\tin the package", sys.stdout)
    for name, spec in MODELS.items():
        try:
            place = str(locate(name))
        except GennerError:
            place = f"not fetched; run: genner models fetch {name}"
        tell(f"{name}\t{spec.description}\t{spec.licence}\t{place}", sys.stdout)


@models_app.command("fetch")
def models_fetch(
    name: Annotated[str | None, typer.Argument(help="A preset; the default model if left out.")] = None,
    force: Annotated[bool, typer.Option(help="Fetch again, even if it is there.")] = False,
) -> None:
    """Fetch a model, check it, and keep it for offline use."""
    from genner import model_store

    tell(model_store.fetch(_base(name or "default"), force=force), sys.stdout)


@models_app.command("where")
def models_where(name: Annotated[str, typer.Argument(help="A preset, an adapter or a folder.")] = "default") -> None:
    """The folder of a model's weights."""
    from genner.loading import find_adapter
    from genner.model_store import locate

    adapter = find_adapter(name)
    tell(adapter.folder if adapter else locate(name), sys.stdout)


def _base(name: str) -> str:
    """The preset to fetch for `name`: an adapter's base, or itself."""
    from genner.loading import find_adapter
    from genner.model_store import DEFAULT_BASE

    if name == "default":
        return DEFAULT_BASE
    adapter = find_adapter(name)
    return adapter.base if adapter else name
