"""Files that appear when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO
from pathlib import Path

from genner.errors import DataError


@contextmanager
def atomic(target: Path) -> Iterator[BufferedWriter]:
    """A file to write to that takes its place when all is written; on an exception nothing has happened.

    Raises `DataError` when it cannot be written.
    """
    refuse_special(target)
    # The process id keeps two writers of one path out of each other's half-written file.
    draft = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
            sync(file)
        draft.replace(target)
    except OSError as error:
        raise DataError(str(target), f"cannot be written: {error.strerror or error}; the file is as it was") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a whole file (a `str` in UTF-8, as it is) so that a reader sees the old one or the new one, never a half.

    Raises `DataError` when it cannot be written; the old file is then as it was.
    """
    with atomic(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def sync(file: FileIO | BufferedWriter) -> None:
    """See what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


def refuse_special(path: Path) -> None:
    """Raise `DataError` for what is there and is no regular file."""
    # A rename onto /dev/null, say, would replace the device by a file.
    if path.is_dir():
        raise DataError(str(path), "is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise DataError(str(path), "is a device or a pipe, not a regular file; choose another path")
