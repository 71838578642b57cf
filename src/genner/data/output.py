"""Writing documents as JSON lines, into a file that comes to be when all are written, and can be gone on with."""

import json
import logging
import shutil
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from genner.data.jsonl import record_of
from genner.data.writing import refuse_special, sync
from genner.document import Document
from genner.errors import DataError, DocumentError

log = logging.getLogger(__name__)


class JsonlWriter:
    """Writes documents to `path`, which comes to be only when all are written: a context manager.

    The records go to `<path>.part`, each handed to the operating system before `write` returns. On a clean exit the
    part is synced to disk and renamed to `path`; on an exception, or a kill, it stays, and `path` is as it was.

    With `resume` a part that is there (or else `path` itself) is gone on with: a torn last line is cut off, `done`
    holds the ids that are in, and writing goes on behind them. Without `resume` it is overwritten, with a warning.
    Raises `DataError` when a file cannot be written, the disk is full, or a part holds something else than records.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.resume = resume
        self.done: set[str] = set()
        self.count = 0
        """Records in the part, those of earlier runs among them."""

    def __enter__(self) -> Self:
        try:
            refuse_special(self.path)
            if self.resume:
                if self.path.exists() and not self.part.exists():
                    shutil.copyfile(self.path, self.part)
                end = self._read_part() if self.part.exists() else 0
                self._file = FileIO(self.part, "ab")
                self._file.truncate(end)
            else:
                if self.part.exists():
                    log.warning("%s of an interrupted run is overwritten; resume would have gone on from it", self.part)
                self._file = FileIO(self.part, "wb")
        except OSError as error:
            raise DataError(str(self.part), f"cannot be written: {error.strerror}; choose another folder") from None
        return self

    def _read_part(self) -> int:
        """Fill `done` and `count` from the part; returns the bytes up to the end of the last whole line."""
        end = 0
        with self.part.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    given = record_of(line).get("id")
                except DocumentError as error:
                    raise DataError(str(self.part), f"{error}; delete the file to start anew", number) from None
                self.done.add("" if given is None else str(given))
                self.count += 1
                end += len(line)
        self.done.discard("")  # says nothing about which document it was
        return end

    def write(self, document: Document) -> None:
        """Append one record and add its id to `done`."""
        line = json.dumps(document.to_dict(), ensure_ascii=False) + "\n"
        # Only lone surrogates, in an id or a label, cannot be encoded, and "\ud800" is their JSON escape as well.
        rest = memoryview(line.encode("utf-8", errors="backslashreplace"))
        try:
            # Unbuffered: a buffer would keep what a full disk refused, and append the torn rest on closing.
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._broken(error) from None
        self.count += 1
        if document.id:
            self.done.add(document.id)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._file:
            if kind is not None:
                return
            try:
                sync(self._file)
                self.part.replace(self.path)
            except OSError as failed:
                raise self._broken(failed) from None

    def _broken(self, error: OSError) -> DataError:
        return DataError(
            str(self.path),
            f"cannot be written: {error.strerror}; documents safe in {self.part}: {self.count}; make room, then go on "
            "from them with --resume (resume=True)",
        )
