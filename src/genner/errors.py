"""Every error genner raises on purpose.

    GennerError
    ├── UsageError            a wrong argument: the message names the value, the legal values and the fix
    │   ├── LabelError        a label that is not a legal tag, or not in the label set
    │   ├── UnknownNameError  no such format, model, engine, corpus ...
    │   └── MissingPartError  a package that is not installed: the message names the command that installs it
    ├── DocumentError         a span that does not lie in its text
    ├── DataError             a file that does not hold what its reader expects (file and line named)
    │   └── UnreadableError   a file that cannot be opened at all; also a `UsageError`, since another has to be named
    ├── FormatError           entities that a format cannot write down
    ├── ModelError            a model that is missing, corrupt, or cannot be fetched
    └── TrainingError         training cannot start or go on

The command line exits with 2 on `UsageError`, with 1 on every other `GennerError`.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class GennerError(Exception):
    """Base of all errors that genner raises on purpose."""


class UsageError(GennerError):
    """A wrong argument."""


class LabelError(UsageError):
    """A label that is not a legal tag, or is not in the label set."""


class UnknownNameError(UsageError):
    """A name that no registry knows; `more`: what else may be given."""

    def __init__(self, kind: str, name: object, known: Iterable[str], more: str = "") -> None:
        known = sorted(known)
        close = get_close_matches(str(name), known, 1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        listed = ", ".join([*known, *([more] if more else [])])
        super().__init__(f"unknown {kind} {name!r}{guess}; known: {listed}")


class MissingPartError(UsageError, ModuleNotFoundError):
    """A package that genner can do without and that this call needs; see `genner.extras`."""


class DocumentError(GennerError):
    """A span that does not lie in its text, or a text that is not text."""


class DataError(GennerError):
    """A file that does not hold what its reader expects."""

    def __init__(self, where: str, what: str, line: int | None = None) -> None:
        super().__init__(f"{where}{f':{line}' if line is not None else ''}: {what}")


class UnreadableError(DataError, UsageError):
    """What is at a path is no file that can be read: nothing, a folder, a device, a damaged or encrypted archive."""


class FormatError(GennerError):
    """Entities that a format cannot write down."""


class ModelError(GennerError):
    """A model that is missing, corrupt, or cannot be fetched."""


class TrainingError(GennerError):
    """Training cannot start or go on."""
