"""Files that appear when they are whole, overwrite nothing unasked, and have one writer at a time."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO
from pathlib import Path

from genner.errors import DataError, UsageError

log = logging.getLogger(__name__)


def may_write(target: Path, option: str, sources: Iterable[Path] = (), *, force: bool = False) -> None:
    """Raise `UsageError` when `target` would overwrite something: one of `sources`, through links too, which `force`
    does not change; or, without `force`, whatever is there already (an empty folder is nothing).

    `option` is what `target` was given as. Raises `DataError` when it is a device or a pipe.
    """
    for source in sources:
        if same_file(target, source):
            raise UsageError(
                f"{option} {str(target)!r} is an input too ({str(source)!r}) and would be overwritten; choose another "
                f"{option}"
            )
    if target.is_dir():
        if not force and any(target.iterdir()):
            raise UsageError(f"{option} {str(target)!r} holds files; choose another, or write over them with --force")
        return
    refuse_special(target)
    if not force and target.exists():
        raise UsageError(f"{option} {str(target)!r} is there already; choose another, or overwrite it with --force")


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one file, through whatever links."""
    try:
        return a.samefile(b)
    except (OSError, ValueError):  # one is not there
        return os.path.realpath(a) == os.path.realpath(b)


def followed(path: Path) -> Path:
    """Where a link leads, so that it stays one when what it leads to is replaced; else `path`."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def lock(file: FileIO, path: Path, holder: str = "another process") -> None:
    """Lock an open file until it is closed, or its process ends in whatever way.

    Raises `DataError`, naming `path` and `holder`, when another process has locked it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(
            str(path), f"is being written by {holder}; wait until it is done, or choose another --out"
        ) from None
    except OSError as error:
        log.warning("%s cannot be locked (%s); see to it that no other process writes it", path, error.strerror)


@contextmanager
def replacing(target: Path, alone: bool = False, *, durable: bool = True) -> Iterator[BufferedWriter]:
    """A file beside `target` to write to, renamed to `target` when all is written, and removed on an exception.

    Args:
        alone: one process at a time writes `target`, so that the file beside it always has the same name: what a killed
            process has left is then overwritten by the next.
        durable: see the data to the disk before the rename. Without, a power cut may leave an empty file.

    Raises `OSError` when it cannot be written; `target` is then as it was.
    """
    target = followed(target)
    # The process id keeps two writers of one path out of each other's half-written file.
    draft = target.with_name(f"{target.name}.{'new' if alone else os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
            if durable:
                sync(file)
        draft.replace(target)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def atomic(target: Path, alone: bool = False) -> Iterator[BufferedWriter]:
    """As `replacing`, for the user's files. Raises `DataError` when it cannot be written, or is no regular file."""
    refuse_special(target)
    try:
        with replacing(target, alone) as file:
            yield file
    except OSError as error:
        raise DataError(str(target), f"cannot be written: {error.strerror or error}; the file is as it was") from None


def write_atomic(path: Path, data: str | bytes, alone: bool = False) -> None:
    """Write a whole file (a `str` in UTF-8, as it is) so that a reader sees the old one or the new one, never a half.

    `alone`: see `atomic`. Raises `DataError` when it cannot be written; the old file is then as it was.
    """
    with atomic(path, alone) as file:
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
