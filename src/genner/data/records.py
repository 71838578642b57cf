"""What the record syntaxes share: JSON objects read one at a time, documents built from them, files written whole.

JSON comes as lines of objects or as one list. Both are read in a window: a list of gigabytes takes the memory of its
longest record.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.resources.abc import Traversable
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

from genner.data.base import Journal, open_binary, read_lines
from genner.data.ids import Ids
from genner.data.writing import atomic
from genner.document import Document, Entity, Prediction
from genner.errors import DocumentError, UsageError

Record = dict[str, Any]

CHUNK = 1 << 16  # bytes read at a time; a record longer than that doubles it


class Span(NamedTuple):
    """An entity as a file gives it, not yet checked; `mention`, where given, is what the offsets must cut out."""

    start: Any
    end: Any
    label: Any
    mention: str | None = None
    score: float | None = None


def records(source: Traversable, journal: Journal) -> Iterator[tuple[int, Record]]:
    """The objects of a file of JSON lines, or of a JSON list, with the number of the line that each begins on.

    A line, or an element, that is no JSON object is a fault; so is a list that breaks off, where reading ends.
    """
    with open_binary(source) as file:
        listed = file.read(CHUNK).lstrip()[:1] == b"["
    for line, value in _elements(source, journal) if listed else _lines(source, journal):
        if isinstance(value, dict):
            yield line, value
        else:
            journal.fault("no object", source, f"is a JSON {type(value).__name__}, not an object", line)


def _lines(source: Traversable, journal: Journal) -> Iterator[tuple[int, Any]]:
    for number, line in read_lines(source, journal):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError also for integers of over 4300 digits
            what = f"is not JSON: {error}; legal: one object a line, not broken over lines, or one list of objects"
            journal.fault("bad JSON", source, what, number)
            continue
        yield number, value


def _elements(source: Traversable, journal: Journal) -> Iterator[tuple[int, Any]]:
    with open_binary(source) as file:
        window = _Window(file)
        try:
            window.next_mark()  # the bracket
            while (mark := window.peek()) != "]":
                if not mark:
                    raise ValueError("the file ends within the list; fetch it again, or write it to its end")
                line, value = window.line, window.value()
                yield line, value
                if window.peek() == ",":
                    window.next_mark()
                elif window.peek() not in ("]", ""):
                    raise ValueError(f"{window.peek()!r} where ',' or ']' is due")
            window.next_mark()
            if window.peek():
                raise ValueError("something stands behind the end of the list")
        except (ValueError, RecursionError) as error:
            journal.fault("bad JSON", source, f"is not a JSON list of objects: {error}", window.line)


class _Window:
    """The part of a JSON text that is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.line = 1
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self._broken = False

    def _fill(self, size: int = CHUNK) -> bool:
        """Read on; whether there was more."""
        data = b"" if self._broken else self._file.read(size)
        try:
            more = self._decode.decode(data, final=not data)
        except UnicodeDecodeError:
            self._broken = True
            raise ValueError("invalid UTF-8; convert the file with iconv") from None
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(data)

    def _advance(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def peek(self) -> str:
        """The next character that is no blank; empty at the end of the file."""
        while True:
            rest = self._at
            while rest < len(self._text) and self._text[rest] in " \t\r\n":
                rest += 1
            self._advance(rest)
            if rest < len(self._text):
                return self._text[rest]
            if self._broken or not self._fill():
                return ""

    def next_mark(self) -> str:
        mark = self.peek()
        self._advance(self._at + len(mark))
        return mark

    def value(self) -> Any:
        """The JSON value that begins here. Raises `ValueError`."""
        size = CHUNK
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._fill(size):
                    break
            except json.JSONDecodeError as error:
                # An error well before the end of the window is no matter of reading on, but for an open string's.
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - 16
                if not cut or not self._fill(size):
                    raise ValueError(error.msg) from None
            size *= 2
        self._advance(end)
        return value


class Intake:
    """Builds the documents of one file; what cannot be one is a fault, and passed over when the journal is lenient."""

    def __init__(self, source: Traversable, journal: Journal) -> None:
        self.source = source
        self.journal = journal
        self._ids = Ids()
        self._stem = stem(source)

    def document(self, line: int, text: Any, spans: Iterable[Span], id: Any = None) -> Document | None:
        """The document, or None after a fault. Without an id it gets `<file stem>-<line>`; twins become one."""
        identifier = self.identifier(id, line)
        if identifier is None:
            return None
        try:
            if not isinstance(text, str):
                raise DocumentError(f"'text' is {type(text).__name__}, not a string")
            read: dict[Entity, None] = {}
            for span in spans:
                entity = _entity(span, text)
                if entity in read:
                    self.journal.loss("entity given twice", f"{self.source}:{line}")
                read[entity] = None
            return Document(text, tuple(read), identifier)
        except DocumentError as error:
            self.journal.fault("bad document", self.source, str(error), line)
            return None

    def identifier(self, given: Any, line: int) -> str | None:
        """The id as a string, made up when there is none; None after the fault of one that was given before."""
        if given is not None and type(given) not in (str, int):
            self.journal.fault("bad id", self.source, f"id is {given!r}; legal: a string or an integer", line)
            return None
        identifier = f"{self._stem}-{line}" if given in (None, "") else str(given)
        if not self._ids.add(identifier):
            what = f"id {identifier!r} was given before; give every document its own"
            self.journal.fault("duplicate id", self.source, what, line)
            return None
        return identifier


def _entity(span: Span, text: str) -> Entity:
    if type(span.start) is not int or type(span.end) is not int or not isinstance(span.label, str):
        raise DocumentError(f"entity {span[:3]!r} needs integer offsets and a string for a label")
    if span.end > len(text):
        raise DocumentError(
            f"span [{span.start}, {span.end}) lies outside the text; legal ends: 1 to {len(text)}, in code points"
        )
    entity = Entity(span.start, span.end, span.label, span.score)
    if span.mention is not None and text[span.start : span.end] != span.mention:
        raise DocumentError(
            f"span [{span.start}, {span.end}) cuts out {text[span.start : span.end]!r}, not {span.mention!r}; "
            "offsets count code points, not bytes or UTF-16 units"
        )
    return entity


def stem(source: Traversable) -> str:
    """The name of a file without its suffix, gzip's apart."""
    return PurePath(source.name.removesuffix(".gz")).stem


def top_keys(head: bytes) -> set[str]:
    """The keys of the first object in a file that begins with `head`, which may break off anywhere."""
    keys: set[str] = set()
    text = head.decode("utf-8", "replace").lstrip()
    top = 2 if text.startswith("[") else 1
    depth, at, string = 0, 0, ""
    while at < len(text):
        char = text[at]
        if char == '"':
            end = at + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            string = text[at + 1 : end]
            at = end
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
            if depth < top:
                break
        elif char == ":" and depth == top:
            keys.add(string)
        at += 1
    return keys if text[:1] in ("{", "[") else set()


def unkept(document: Document, journal: Journal, *, scores: bool = True) -> None:
    """Record what only genner's own syntax has a place for: a prediction's problems and (with `scores`) its scores."""
    if isinstance(document, Prediction) and document.problems:
        journal.loss("problem of a prediction", document.id, len(document.problems))
    if scores and (n := sum(e.score is not None for e in document.entities)):
        journal.loss("score", document.id, n)


def json_bytes(record: Record) -> bytes:
    """The record in a line of its own, without the line's end."""
    # Only lone surrogates, in an id or a label, cannot be encoded, and "\\ud800" is their JSON escape as well.
    return json.dumps(record, ensure_ascii=False).encode("utf-8", errors="backslashreplace")


def write_records(target: Path, made: Iterable[Record], *, as_list: bool) -> int:
    """Write records as lines, or as a JSON list with a record a line; returns how many."""
    count = 0
    with atomic(target) as file:
        for record in made:
            between = (b",\n" if count else b"[\n") if as_list else b""
            file.write(between + json_bytes(record) + (b"" if as_list else b"\n"))
            count += 1
        if as_list:
            file.write(b"\n]\n" if count else b"[]\n")
    return count


def optional(module: str, extra: str) -> ModuleType:
    """Import a package that only some syntaxes need. Raises `UsageError` naming the command that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name != package:
            raise
        raise UsageError(f"{package} is not installed; install it with: pip install 'genner[{extra}]'") from None
