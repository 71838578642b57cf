"""Writing documents as JSON Lines into a file that appears when complete, and that can be resumed."""

import json
import os
import shutil
from contextlib import suppress
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from genner.data.json_stream import json_object
from genner.data.resuming import ResumeFile, RunSignature, differences, read_about, write_about
from genner.document import Document
from genner.errors import DataError, DocumentError, UsageError
from genner.writing import followed, lock, refuse_special, sync


class JsonlWriter:
    """Writes documents to `path`, which appears only when all are written: a context manager.

    The records go to `<path>.part`, each passed to the operating system before `write` returns. On a clean exit the
    part is synced to disk and renamed to `path`; on an exception, or a kill, it stays, and `path` is unchanged. One
    process at a time writes it.

    Without `resume` and `force`, an existing `path` or part is refused. With `resume` an existing part (or else `path`
    itself) is continued: a torn last line is cut off, and new documents are appended to those that it `has`. With
    `force` both are overwritten.

    Args:
        about: what writes the documents (model, labels, format ...). It is kept beside the output, and `resume` refuses
            an output that a different one began. None: nothing is kept, and nothing compared.

    Raises `UsageError` on an output that would be overwritten or mixed, `DataError` when a file cannot be written,
    another process writes it, the disk is full, or a part holds anything but records.
    """

    def __init__(
        self, path: Path, resume: bool = False, *, force: bool = False, about: RunSignature | None = None
    ) -> None:
        self.path = path
        self._place = followed(path)
        # Not `with_name`: it fails for the root, which has no name and which `check` refuses.
        self.part, self.meta = (self._place.parent / f"{self._place.name}{end}" for end in (".part", ".meta"))
        self.state = ResumeFile(self._place.parent / f"{self._place.name}.part.state")
        self.resume, self.force, self.about = resume, force, about
        self.count = 0
        """Number of records in the part, including those of earlier runs."""
        self._done: dict[str, bytes] = {}  # hashes of texts, by id

    def check(self) -> None:
        """Raise `UsageError` when this would overwrite a file; `DataError` when `path` is not a regular file."""
        refuse_special(self.path)
        if self.resume or self.force:
            return
        if self.path.exists():
            raise UsageError(
                f"{str(self.path)!r} is there already; choose another --out, go on with it with --resume, or overwrite "
                "it with --force"
            )
        state = ResumeFile(self.state.path)
        state.read()
        if self.part.exists() and (self.part.stat().st_size or state.answers):
            raise UsageError(
                f"{str(self.part)!r} holds what an interrupted run finished; go on with --resume, or start anew with "
                "--force"
            )

    def peek(self) -> None:
        """Read which documents `resume` would go on from, without a lock and without a change."""
        if self.part.exists():
            self._read(self.part)
        if not self.count and self.path.exists():
            self._read(self.path)

    def has(self, document: Document) -> bool:
        """Whether the document is written. Raises `UsageError` when a document with its id but another text is."""
        known = self._done.get(document.id) if document.id else None
        if known is not None and known != _hash(document.text):
            raise UsageError(
                f"document {document.id!r} has another text now than in {str(self.path)!r}; choose another --out, or "
                "start anew with --force instead of --resume"
            )
        return known is not None

    def __enter__(self) -> Self:
        try:
            refuse_special(self.path)
            refuse_special(self.part)
            self._file = self._locked()
            try:
                self._find_out()
            except BaseException:
                self._leave(finished=False)
                raise
        except OSError as error:
            raise DataError(str(self.part), f"cannot be written: {error.strerror}; choose another folder") from None
        return self

    def _locked(self) -> FileIO:
        """The part, opened and locked."""
        while True:
            file = FileIO(self.part, "ab")
            try:
                with suppress(OSError):
                    self.state.read()
                lock(file, self.path, self.state.holder)
                # The previous holder of the lock may have renamed the part.
                if self.part.exists() and os.path.samestat(os.fstat(file.fileno()), self.part.stat()):
                    self.state = ResumeFile(self.state.path)
                    self.state.read()
                    return file
            except BaseException:
                file.close()
                raise
            file.close()

    def _find_out(self) -> None:
        """Resume an existing output, or begin."""
        if not self.resume:
            self.check()
            self._file.truncate(0)
            self._begin()
            return
        end = self._read(self.part)
        # A kill at the end of one run or the start of the next leaves a state without answers beside an empty part.
        if self.count or self.state.answers:
            self._compare(self.state.about, self.part)
            self._file.truncate(end)
            if self.about is not None:
                self.state.resume()
        elif self.path.exists():
            self._compare(read_about(self.meta, self.path), self.path)
            self._begin()
            self._copy()
            self._read(self.part)
        else:
            self._file.truncate(0)
            self._begin()

    def _begin(self) -> None:
        if self.about is not None:
            self.state.begin(self.about)

    def _compare(self, before: RunSignature | None, path: Path) -> None:
        if self.about is None:
            return
        anew = "choose another --out, or start anew with --force instead of --resume"
        if before is None:
            raise UsageError(
                f"what began {str(path)!r} is not known: "
                f"{str(self.state.path if path == self.part else self.meta)!r} is missing or damaged; {anew}"
            )
        if said := differences(before, self.about):
            raise UsageError(f"{str(path)!r} was begun with {'; '.join(said)}; {anew}")

    def _copy(self) -> None:
        """Make the part a copy of the finished output, atomically."""
        draft = self.part.with_name(f"{self.part.name}.new.tmp")
        try:
            shutil.copyfile(self.path, draft)
            file = FileIO(draft, "ab")
            lock(file, self.path)
            draft.replace(self.part)
        finally:
            draft.unlink(missing_ok=True)
        self._file.close()
        self._file = file

    def _read(self, path: Path) -> int:
        """Fill `_done` and `count` from a file; returns the length in bytes up to the last complete line."""
        end = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json_object(line)
                    if not isinstance(record.get("text"), str):
                        raise DocumentError("is a record without a 'text'")
                except DocumentError as error:
                    raise DataError(
                        str(path), f"{error}; start anew with --force instead of --resume", number
                    ) from None
                given = record.get("id")
                self._note("" if given is None else str(given), record["text"])
                end += len(line)
        return end

    def _note(self, id: str, text: str) -> None:
        self.count += 1
        if id:  # without an id, the document cannot be identified
            self._done[id] = _hash(text)

    def write(self, document: Document) -> None:
        """Append one record."""
        line = json.dumps(document.to_dict(), ensure_ascii=False) + "\n"
        # Only lone surrogates, in an id or a label, cannot be encoded; "\ud800" is also their JSON escape.
        rest = memoryview(line.encode("utf-8", errors="backslashreplace"))
        try:
            # Unbuffered: a buffer would keep the bytes that a full disk refused, and append the torn rest on closing.
            while rest:
                rest = rest[self._file.write(rest) :]
            self._note(document.id, document.text)
            if self.about is not None:
                self.state.forget()
        except OSError as error:
            raise self._broken(error) from None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                sync(self._file)
                if self.about is None:
                    self.meta.unlink(missing_ok=True)  # of the overwritten output
                else:
                    write_about(self.meta, self.about, os.fstat(self._file.fileno()).st_size)
                self.part.replace(self._place)
                self.state.path.unlink(missing_ok=True)
        except OSError as failed:
            raise self._broken(failed) from None
        finally:
            self._leave(finished=kind is None)

    def _leave(self, finished: bool) -> None:
        """Close the files; an unfinished part is deleted if it is empty."""
        with suppress(OSError):
            if not finished and not self.state.answers and os.fstat(self._file.fileno()).st_size == 0:
                self.state.path.unlink(missing_ok=True)
                self.part.unlink(missing_ok=True)
        self.state.close()
        self._file.close()

    def _broken(self, error: OSError) -> DataError:
        return DataError(
            str(self.path),
            f"cannot be written: {error.strerror}; documents safe in {self.part}: {self.count}; make room, then go on "
            "from them with --resume (resume=True)",
        )


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8"), digest_size=16).digest()
