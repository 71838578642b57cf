"""Engines: prompt and grammar in, text out. A new one is a file here and a line in `ENGINES`.

Another package adds engines by the entry-point group `genner.engines`: the name of the engine, and `module:Class`.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from genner.engines.base import Capabilities
from genner.errors import MissingPartError, UnknownNameError, UsageError
from genner.extras import naming_parts
from genner.toml_config import build

if TYPE_CHECKING:
    from genner.engines.base import LoadableEngine

# "module:Class", imported when it is asked for: most engines import torch.
ENGINES = {
    "local": "genner.engines.transformers_engine:LocalEngine",
    "free": "genner.engines.hf_generate:FreeEngine",
    "vllm": "genner.engines.vllm:VllmEngine",
    "http": "genner.engines.http:HttpEngine",
    "scripted": "genner.engines.scripted:ScriptedEngine",
}

_OPTIONS_BESIDE = {"vllm": "genner.engines.vllm_options:VllmOptions"}
"""Options that are read without the packages that their engine needs."""

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
    """The class of the engine of this name.

    Raises `UnknownNameError`, `MissingPartError` without what it needs, and `UsageError` for one of another package
    that is broken.
    """
    if place := ENGINES.get(name):
        module, attribute = place.split(":")
        return cast("LoadableEngine", getattr(import_module(module), attribute))
    if name not in _added():
        raise UnknownNameError("engine", name, engine_names())
    return _added_class(name, _added()[name])


def _added_class(name: str, place: str) -> "LoadableEngine":
    """The class of an engine of another package. Raises `MissingPartError`, and `UsageError` if there is none."""
    try:
        with naming_parts():
            found = EntryPoint(name, place, ENTRY_POINTS).load()
    except MissingPartError:
        raise
    except Exception as error:  # of a package that we do not know
        raise _broken(name, place, f"{type(error).__name__}: {error}") from error
    if not isinstance(getattr(found, "capabilities", None), Capabilities) or not hasattr(found, "load"):
        raise _broken(name, place, "it is no class of an engine, with capabilities and load")
    if not is_dataclass(getattr(found, "Options", None)):
        raise _broken(name, place, "its Options are no dataclass")
    return cast("LoadableEngine", found)


def _broken(name: str, place: str, why: str) -> UsageError:
    how = "see to the package that adds it, or uninstall it"
    return UsageError(f"engine {name!r} cannot be used, which another package adds as {place!r} ({why}); {how}")


def options_class(name: str) -> type:
    """The `Options` of the engine of this name. Raises as `engine_class`, but for `vllm` where vLLM is missing."""
    if place := _OPTIONS_BESIDE.get(name):
        module, attribute = place.split(":")
        return cast("type", getattr(import_module(module), attribute))
    return engine_class(name).Options


def signed_options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of an engine's options that are part of a signature: what answers depend on, without where a server is, how
    patient its caller is, and which files are used; what may hold a secret is a hash (`UNSIGNED`, `HASHED`)."""
    unsigned = getattr(options_class(name), "UNSIGNED", ())
    return {key: value for key, value in shown_options(name, given).items() if key not in unsigned}


def shown_options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """An engine's options for others to read: of those that may hold a secret (`HASHED`) a hash."""
    hashed = getattr(options_class(name), "HASHED", ())
    return {
        key: blake2b(str(value).encode(), digest_size=6).hexdigest() if key in hashed else value
        for key, value in given.items()
    }


def engine_options(name: str, given: Mapping[str, Any]) -> Any:
    """The `Options` of an engine, with the values that are given. Raises `UsageError` naming the first wrong one."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise UsageError(f"engine_options {given!r}; legal: a dict of options by their names (genner engines {name})")
    kind = engine_class(name).Options
    if "base_url" in given and "base_url" not in (field.name for field in fields(kind)):
        raise UsageError(
            f"engine {name!r} asks no server, so it takes no address (base_url, --base-url); leave it out, or ask the "
            "server with engine 'http' (--engine http)"
        )
    return build(kind, dict(given), f"options of engine {name}")
