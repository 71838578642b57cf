"""JSON Lines and plain text: how documents come in and go out.

A record, one a line, is what `Document.to_dict` gives:

    {"id": "7", "text": "Ada met Bob.", "entities": [{"start": 0, "end": 3, "label": "PER", "text": "Ada"}]}

A record with `problems` is a `Prediction`. All files are read as bytes, split at `\\n` only and decoded here: text mode
would turn `\\r\\n` into `\\n` and so move every offset behind it.
"""

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from io import BufferedReader, FileIO
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Self, get_args

from genner.data.ids import Ids
from genner.data.opening import open_binary
from genner.data.writing import refuse_special, sync
from genner.document import Document, Prediction, Problem, ProblemKind
from genner.errors import DataError, DocumentError, UsageError

log = logging.getLogger(__name__)

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_jsonl(path: Path, *, lenient: bool = False) -> Iterator[Document]:
    """Yield the documents of a JSON Lines file, in UTF-8 with or without a byte order mark; blank lines are skipped.

    One line is in memory at a time, besides 8 bytes for each id seen so far. A record without an `id` gets `<file
    stem>-<line>`, lines counted from 1. A bad line (invalid UTF-8 or JSON, no object, a malformed document, an id
    seen before) raises `DataError`; with `lenient` it is logged as a warning and skipped. A file that cannot be
    read, or is binary, raises `DataError` either way.
    """
    return _read(path, document_of, lenient)


def read_texts(path_or_dash: str) -> Iterator[Document]:
    """The texts to extract from, as documents without entities.

    `x.txt` is one document with id `x`; `x.jsonl` has an object with a `text` a line, whose `entities` play no part and
    whose other fields are kept (`Document.extra`); `-` is standard input, one document with id `stdin`. A byte order
    mark at the start is not part of the text; all else is, NUL characters and carriage returns too. Raises at once:
    `UsageError` on any other suffix, `DataError` when the file cannot be opened or is not UTF-8; on a bad line when it
    is reached.
    """
    if path_or_dash == "-":
        return iter([Document(_decode(sys.stdin.buffer.read(), "standard input"), id="stdin")])
    path = Path(path_or_dash)
    match path.suffix.lower():
        case ".txt":
            with _open(path) as file:
                return iter([Document(_decode(file.read(), str(path)), id=path.stem)])
        case ".jsonl":
            _open(path).close()  # a wrong path is better known now than after a model was loaded
            return _read(path, lambda record: Document.from_dict({**record, "entities": ()}))
        case suffix:
            raise UsageError(
                f"{path_or_dash!r} ends in {suffix!r}; legal: .txt (one document a file), .jsonl (one object with "
                "a 'text' a line), or - (standard input); convert or rename it"
            )


def _read(path: Path, build: Callable[[dict[str, Any]], Document], lenient: bool = False) -> Iterator[Document]:
    ids, stem = Ids(), PurePath(path.name.removesuffix(".gz")).stem
    for number, line in numbered_lines(path):
        try:
            document = build(_record(line, default_id=f"{stem}-{number}"))
            if not ids.add(document.id):
                raise DocumentError(f"id {document.id!r} was given on an earlier line; give every document its own")
        except DocumentError as error:
            bad = DataError(str(path), str(error), number)
            if not lenient:
                raise bad from None
            log.warning("%s; line skipped", bad)
            continue
        yield document


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, packed with gzip or not, that are not blank, with their numbers from 1.

    Raises `DataError` for a file that cannot be opened, or is no text.
    """
    with open_binary(path) as file:
        _refuse_binary(file.peek(4096), str(path))
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def _record(line: bytes, default_id: str = "") -> dict[str, Any]:
    """The JSON object on `line`, with an `id`, `default_id` if it has none. Raises `DocumentError`, without a line."""
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DocumentError(f"invalid UTF-8 at byte {error.start} of the line; {_recode(line)}") from None
    except (ValueError, RecursionError) as error:  # ValueError also for integers of over 4300 digits
        raise DocumentError(f"is not JSON: {error}; legal: one object a line, not broken over lines") from None
    if not isinstance(record, dict):
        raise DocumentError(f"is a JSON {type(record).__name__}, not an object with a 'text'")
    given = record.get("id")
    if given is not None and type(given) not in (str, int):
        raise DocumentError(f"'id' is {given!r}; legal: a string or an integer")
    return record | {"id": default_id} if given in (None, "") else record


def document_of(record: dict[str, Any]) -> Document:
    """The `Document`, or with `problems` the `Prediction`, of a record. Raises `DocumentError`."""
    document = Document.from_dict(record)
    if "problems" not in record:
        return document
    problems, kinds = record["problems"], get_args(ProblemKind)
    if not isinstance(problems, list) or not all(isinstance(p, dict) and p.get("kind") in kinds for p in problems):
        raise DocumentError(f"'problems' is not a list of objects with a 'kind', one of: {', '.join(kinds)}")
    found = tuple(Problem(p["kind"], str(p.get("detail", ""))) for p in problems)
    return Prediction(document.text, document.entities, document.id, found, extra=document.extra)


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(str(path), "there is no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(str(path), "is a folder; name a file in it") from None
    except PermissionError:
        raise DataError(str(path), "may not be read by this user; change its permissions") from None
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from None


def _refuse_binary(head: bytes, where: str) -> None:
    if head.startswith(_UTF16):
        raise DataError(where, f"is UTF-16; {_recode(head)}")
    if b"\0" in head:
        raise DataError(where, f"is binary: NUL at byte {head.index(0)}; legal: UTF-8 text, one JSON object a line")


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(where, f"invalid UTF-8 at byte {error.start}; {_recode(data)}") from None


def _recode(data: bytes) -> str:
    encoding = "UTF-16" if data.startswith(_UTF16) else "ISO-8859-1"
    return f"convert it from the encoding it is in, as with: iconv -f {encoding} -t UTF-8 OLD > NEW"


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
                    identifier = str(_record(line)["id"])
                except DocumentError as error:
                    raise DataError(str(self.part), f"{error}; delete the file to start anew", number) from None
                self.done.add(identifier)
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
