"""Engines: prompt and grammar in, text out. A new one is a file here and a line in `ENGINES`.

Another package adds engines by the entry-point group `genner.engines`: the name of the engine, and `module:Class`.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from genner.errors import UnknownNameError, UsageError
from genner.extras import naming_parts
from genner.toml_config import build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genner.engines.base import LoadableEngine

# "module:Class", imported when it is asked for: most engines import torch.
ENGINES = {
    "local": "genner.engines.transformers_engine:LocalEngine",
    "free": "genner.engines.hf_generate:FreeEngine",
    "vllm": "genner.engines.vllm:VllmEngine",
    "http": "genner.engines.http:HttpEngine",
    "scripted": "genner.engines.scripted:ScriptedEngine",
}

ENTRY_POINTS = "genner.engines"
"""The entry-point group by which other packages add engines."""


@cache
def _added() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def engine_names() -> list[str]:
    """The names of all engines: those of `ENGINES`, then those that other packages add."""
    return [*ENGINES, *(name for name in _added() if name not in ENGINES)]


@naming_parts()
def engine_class(name: str) -> "LoadableEngine":
    """The class of the engine of this name. Raises `UnknownNameError`, and `MissingPartError` without what it needs."""
    place = ENGINES.get(name) or _added().get(name)
    if place is None:
        raise UnknownNameError("engine", name, engine_names())
    module, attribute = place.split(":")
    return cast("LoadableEngine", getattr(import_module(module), attribute))


def engine_options(name: str, given: "Mapping[str, Any]") -> Any:
    """The `Options` of an engine, with the values that are given. Raises `UsageError` naming the first wrong one."""
    return build(engine_class(name).Options, dict(given), f"options of engine {name}")


def parse_option(written: str) -> tuple[str, Any]:
    """`KEY=VALUE` as an option: the value is read as TOML (8, 0.5, true), and else as a string. Raises `UsageError`."""
    import tomllib

    key, sign, value = written.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"engine option {written!r}; legal: KEY=VALUE, as in concurrency=8")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value
