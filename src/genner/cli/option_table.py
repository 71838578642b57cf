"""The options of a dataclass, as a command takes them, with what its docstring says of each."""

import inspect
import json
import re
from dataclasses import fields
from typing import Any

_MEANING = re.compile(r"^( *)([a-z_0-9]+(?:, [a-z_0-9]+)*): (.*(?:\n\1 +.*)*)", re.MULTILINE)


def option_lines(options: Any) -> list[str]:
    """A line for each field of a dataclass: `KEY=VALUE` with its value, as `--set` takes it, and what it means."""
    meant = meanings(type(options))
    shown = {f.name: _written(f.name, getattr(options, f.name)) for f in fields(options)}
    width = max((len(text) for text in shown.values()), default=0)
    return [f"{text:<{width}}  {meant.get(name, '')}".rstrip() for name, text in shown.items()]


def meanings(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a dataclass and its bases say below `Attributes:`, by field."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        _, _, attributes = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")
        for _, names, text in _MEANING.findall(attributes):
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


def _written(name: str, value: Any) -> str:
    if value is None or value == "":
        return f"{name}: none"
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"
