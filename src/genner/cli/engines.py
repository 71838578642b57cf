"""`genner engines`."""

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from genner.cli.app import app, tell
from genner.errors import GennerError, MissingPartError

if TYPE_CHECKING:
    from genner.engines.base import Capabilities


_ABOUT = {"scripted": "for tests: no model, finds nothing"}


@app.command()
def engines(
    name: Annotated[str | None, typer.Argument(help="An engine, to list its options.")] = None,
) -> None:
    """List what can run a model, and what each can do; or the options of one engine."""
    from genner.engines import engine_class, engine_names, options_class

    if name is not None:
        fields = dataclasses.fields(options_class(name))
        for field in fields:
            shown = "" if field.default is None or field.default == "" else f"={field.default}"
            tell(f"{field.name}{shown}\t{field.metadata.get('help', '')}", sys.stdout)
        if not fields:
            tell(f"engine {name!r} has no options", sys.stdout)
        try:
            engine_class(name)
        except MissingPartError as error:
            tell(str(error))
        return
    for each in engine_names():
        try:
            said = _about(engine_class(each).capabilities)
        except GennerError as error:
            said = str(error)
        tell(f"{each}\t{_ABOUT.get(each, said)}", sys.stdout)


def _about(can: "Capabilities") -> str:
    grammar = {"exact": "exact grammar", "exported": "grammars that the server reads", "none": "no grammar"}
    return ", ".join(
        [
            grammar[can.grammar],
            "scores" if can.logprobs else "no scores",
            "several adapters" if can.adapters else "one model",
            "runs here" if can.weights else "needs no weights here",
        ]
    )
