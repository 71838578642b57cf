"""Typed TOML: reads tables into dataclasses; checks that keys are known and values have the correct type and range."""

import dataclasses
import tomllib
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from genner.errors import DataError, UsageError

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises `DataError`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # a byte order mark is not legal TOML
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(str(path), f"is not TOML: {error}") from None


def parse_option(written: str, what: str, *, lists: bool = False) -> tuple[str, Any]:
    """`KEY=VALUE` as an option: numbers, true, false, quoted strings, and with `lists` lists are read as TOML, all else
    is a string.

    Raises `UsageError`, naming what it is an option of.
    """
    key, sign, value = written.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"{what} {written!r}; legal: KEY=VALUE, as in concurrency=8")
    try:
        read = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        read = {}
    simple = len(read) == 1 and isinstance(read["value"], bool | int | float | str | (list if lists else bool))
    return key.strip(), read["value"] if simple else value


def listed(tables: Any, name: str) -> list[dict[str, Any]]:
    """The tables under [[name]]. Raises `UsageError` for any other value."""
    if not isinstance(tables, list | tuple) or not all(isinstance(item, dict) for item in tables):
        raise UsageError(f"{name!r} is not a list of tables; write [[{name}]], once for each")
    return list(tables)


def build(kind: type[T], values: dict[str, Any], where: str) -> T:
    """A dataclass from a TOML table; errors name the table `where`. Lists become tuples, integers become floats if the
    field is a float, or a float or nothing. Raises `UsageError` naming the key that is missing, unknown or of the wrong
    type.
    """
    if not isinstance(values, dict):
        raise UsageError(f"{where} = {values!r} is not a table; write [{where}]")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(fields)):
        known = [name.rstrip("_") for name in fields]
        if not known:
            raise UsageError(f"[{where}] has no key {unknown[0]!r}, nor any other; leave it out")
        close = get_close_matches(unknown[0], known, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UsageError(f"[{where}] has no key {unknown[0]!r}{hint}; known: {', '.join(known)}")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UsageError(f"[{where}] lacks {name!r}")
    hints, converted = get_type_hints(kind), {}
    for name, value in values.items():
        wanted = hints[name]
        given = value
        if isinstance(value, list):
            value = tuple(value)
        if type(value) is int and (wanted is float or float in get_args(wanted)):
            value = float(value)
        if not _is(value, wanted):
            legal = wanted if get_args(wanted) else wanted.__name__
            raise UsageError(f"[{where}] {name} = {given!r} is not of type {legal}")
        converted[name] = value
    return kind(**converted)


def check(table: object, where: str, **legal: tuple[float, float]) -> None:
    """Raise `UsageError` naming the first value outside its range."""
    for name, (low, high) in legal.items():
        value = getattr(table, name)
        if not low <= value <= high:
            bounds = f"{low} or more" if high == inf else f"{low} to {high}"
            raise UsageError(f"[{where}] {name} = {value}; legal: {bounds}")


def check_sum(table: object, where: str, *names: str) -> None:
    """Raise `UsageError` when mutually exclusive shares sum to more than 1."""
    values = [getattr(table, name) for name in names]
    if sum(values) > 1:
        said = ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))
        raise UsageError(f"[{where}] {said}; legal: 1 or less together")


def _is(value: Any, wanted: Any) -> bool:
    """Whether a value has an annotated type; supports the few types that such tables use."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is(item, arguments[0]) for item in value)
    if origin is dict:
        numbers = all(type(item) in (int, float) for item in value.values()) if isinstance(value, dict) else False
        return numbers or (isinstance(value, dict) and arguments[1] is Any)
    return any(_is(value, kind) for kind in arguments) if arguments else type(value) is wanted
