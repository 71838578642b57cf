"""JSON values from a file, one at a time: one value per line, one list, or a sequence of values.

All are read through a window: a list of gigabytes takes the memory of its longest element. Values are numbered from 1
in file order, whatever lines they are on; blank lines are not values, and a broken line counts as one.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from genner.data.base import ReadLog, read_lines
from genner.data.file_opening import open_binary, recode, refuse_encoded
from genner.errors import DataError, DocumentError

JsonRecord = dict[str, Any]
JsonLayout = Literal["lines", "list", "stream"]

CHUNK = 1 << 16  # bytes read at a time; doubled for longer values


def _once(pairs: list[tuple[str, Any]]) -> JsonRecord:
    """An object. Raises `ValueError` if a key occurs twice with different values, which is ambiguous."""
    found = dict(pairs)
    if len(found) < len(pairs) and (twice := next((key for key, value in pairs if found[key] != value), None)):
        raise ValueError(f"an object has the key {twice!r} twice, with two values; keep one")
    return found


JSON = json.JSONDecoder(object_pairs_hook=_once)
"""Reads unambiguous JSON only."""


class JsonValue(NamedTuple):
    """A JSON value in a file: the line on which it begins, and its number, both from 1."""

    line: int
    number: int
    value: Any


def values(source: Traversable, read_log: ReadLog) -> Iterator[JsonValue]:
    """The values of a file. A broken value is an error; in a list, reading ends there."""
    match layout_of(source):
        case "lines":
            yield from _lines(source, read_log)
        case kind:
            yield from _window(source, read_log, kind)


def records(source: Traversable, read_log: ReadLog) -> Iterator[tuple[int, JsonRecord]]:
    """The objects of a file, each with the number of its first line. Any other value is an error."""
    for line, _, value in values(source, read_log):
        if isinstance(value, dict):
            yield line, value
        else:
            not_an_object(source, read_log, line, value)


def not_an_object(source: Traversable, read_log: ReadLog, line: int, value: object) -> None:
    """Record the error of a value that should be an object."""
    read_log.error("no object", source, f"is a JSON {type(value).__name__}, not an object", line)


def layout_of(source: Traversable) -> JsonLayout:
    """The layout of the values of a file, determined from its beginning.

    Raises `DataError` when it cannot be read, is not UTF-8, or has a NUL character in its beginning, which JSON never
    has.
    """
    with open_binary(source) as file:
        head = file.read(CHUNK)
    refuse_encoded(source, head)
    if b"\0" in head:
        raise DataError(str(source), f"is binary: NUL at byte {head.index(0)}; legal: JSON in UTF-8")
    return head_layout(head)


def head_layout(head: bytes) -> JsonLayout:
    """The layout of the values of a file that begins with `head`."""
    head = head.lstrip()
    if head.startswith(b"["):
        # A list on each line, as in spaCy's tuples, begins with a string; a list of records never does.
        return "lines" if head[1:].lstrip().startswith(b'"') and _whole(head.split(b"\n", 1)[0]) else "list"
    # The first line of a multi-line object ends in the middle of the object.
    return "stream" if head.split(b"\n", 1)[0].rstrip().endswith((b"{", b",", b"[", b":")) else "lines"


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(source: Traversable, read_log: ReadLog) -> Iterator[JsonValue]:
    count = 0
    for line, text in read_lines(source, read_log):
        if not text.strip():
            continue
        count += 1
        try:
            value = json_value(text)
        except DocumentError as error:
            read_log.error("bad JSON", source, f"{error}, or one list of objects", line)
            continue
        yield JsonValue(line, count, value)


def json_value(line: str | bytes, decode: Callable[[str], Any] = JSON.decode) -> Any:
    """The JSON value on a line. Raises `DocumentError`, which names no file, for invalid JSON or UTF-8."""
    try:
        return decode(line if isinstance(line, str) else line.decode("utf-8"))
    except UnicodeDecodeError as error:
        assert isinstance(line, bytes)
        raise DocumentError(f"invalid UTF-8 at byte {error.start} of the line; {recode(line)}") from None
    except (ValueError, RecursionError) as error:  # ValueError also for integers of more than 4300 digits
        raise DocumentError(f"is not JSON: {error}; legal: one object a line, not broken over lines") from None


def json_object(line: bytes) -> JsonRecord:
    """The JSON object on a line. Raises `DocumentError`, which names no file, for anything else."""
    value = json_value(line)
    if not isinstance(value, dict):
        raise DocumentError(f"is a JSON {type(value).__name__}, not an object; legal: one object a line")
    return value


def json_lines(path: Path, *, torn: bool = False, fix: str = "") -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each non-blank line of a JSON Lines file, with one line in memory at a time.

    This reads records that are not a corpus: conversations, and genner's records of its runs. Lines end at `\\n` alone.

    Args:
        torn: ignore a last line without a line feed, as a process leaves it that is killed while it appends.
        fix: the advice in the error on a broken line.

    Raises `DataError`, with the line, for a file that cannot be read or is not JSON Lines in UTF-8.
    """
    with open_binary(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or (torn and not line.endswith(b"\n")):
                continue
            try:
                yield number, json_value(line, json.loads)
            except DocumentError as error:
                raise DataError(str(path), f"{error}{fix and f'; {fix}'}", number) from None


def _window(source: Traversable, read_log: ReadLog, layout: JsonLayout) -> Iterator[JsonValue]:
    with open_binary(source) as file:
        window = _Window(file)
        count = 0
        try:
            if layout == "stream":
                while window.peek():
                    count += 1
                    yield JsonValue(window.line, count, window.value())
                return
            window.next_mark()  # the bracket
            while (mark := window.peek()) != "]":
                if not mark:
                    raise ValueError("the file ends within the list; fetch it again, or write it to its end")
                count += 1
                yield JsonValue(window.line, count, window.value())
                if window.peek() == ",":
                    window.next_mark()
                elif window.peek() not in ("]", ""):
                    raise ValueError(f"{window.peek()!r} where ',' or ']' is due")
            window.next_mark()
            if window.peek():
                raise ValueError("something stands behind the end of the list")
        except (ValueError, RecursionError) as error:
            whole = "a JSON list of objects" if layout == "list" else "JSON objects one after the other"
            read_log.error("bad JSON", source, f"is not {whole}: {error}", window.line)


class _Window:
    """The part of a JSON text that is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.line = 1
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._broken = False

    def _fill(self, size: int = CHUNK) -> bool:
        """Read more; returns whether there was any."""
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
        """The next non-blank character; empty at the end of the file."""
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
                value, end = JSON.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._fill(size):
                    break
            except json.JSONDecodeError as error:
                # Reading more cannot fix an error well before the end of the window, unless a string is open.
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - 16
                if not cut or not self._fill(size):
                    raise ValueError(error.msg) from None
            size *= 2
        self._advance(end)
        return value
