"""Engines: prompt and grammar in, text out. A new one is a file here and a line in `ENGINES`."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from genner.errors import UnknownNameError
from genner.extras import naming_parts

if TYPE_CHECKING:
    from genner.engines.base import LoadableEngine

# "module:Class", imported when it is asked for: most engines import torch.
ENGINES = {
    "local": "genner.engines.transformers_engine:LocalEngine",
    "free": "genner.engines.hf_generate:FreeEngine",
    "scripted": "genner.engines.scripted:ScriptedEngine",
}


@naming_parts()
def engine_class(name: str) -> "LoadableEngine":
    """The class of the engine of this name. Raises `UnknownNameError`, and `MissingPartError` without what it needs."""
    if name not in ENGINES:
        raise UnknownNameError("engine", name, list(ENGINES))
    module, attribute = ENGINES[name].split(":")
    return cast("LoadableEngine", getattr(import_module(module), attribute))
