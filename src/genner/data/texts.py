"""The texts to extract from: files of one text or of records, folders and patterns of files, standard input."""

import csv
import glob
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple, cast

from genner.data.base import ReadLog
from genner.data.file_opening import open_binary, recode, refuse_endless
from genner.data.html_text import html_text
from genner.data.ids import IdSet
from genner.data.json_stream import json_object, records
from genner.document import Document
from genner.errors import DataError, DocumentError, UsageError

TEXTS = (".txt", ".text", ".md", ".markdown", ".rst", ".log")
PAGES = (".html", ".htm", ".xhtml")
TABLE_SUFFIXES = (".csv", ".tsv")
RECORD_SUFFIXES = (".jsonl", ".ndjson", ".json")
TEXT_SUFFIXES = (*TEXTS, *PAGES, *TABLE_SUFFIXES, *RECORD_SUFFIXES)
LEGAL = (
    f"one text a file: {' '.join((*TEXTS, *PAGES))}; "
    f"a text a record: {' '.join((*TABLE_SUFFIXES, *RECORD_SUFFIXES))}; any of these "
    "with .gz; a folder; a pattern in quotes ('notes/*.txt'); or - (standard input)"
)
MAX_TEXT_BYTES = 1 << 28  # bytes of one text: 256 MiB; the Bible has 5
csv.field_size_limit(MAX_TEXT_BYTES)  # applies to the whole process, so it must not depend on which reader runs first
STDIN = "standard input"


class TextSource(NamedTuple):
    """A source of texts: a file, or `-`. `id`: the id of its one text, or the prefix of its records' numbers."""

    path: str
    id: str

    @property
    def suffix(self) -> str:
        return PurePath(self.path.removesuffix(".gz")).suffix.lower()

    @property
    def single(self) -> bool:
        """Whether the source is one document."""
        return self.suffix in TEXTS + PAGES


def places(names: Iterable[str], read_log: ReadLog | None = None) -> list[TextSource]:
    """The files that names of files, folders and patterns, and `-`, stand for.

    A folder stands for all readable files in it, at any depth; hidden files and genner's own output (a `.meta` is
    beside it) are left out, unreadable files are counted in `read_log`. The id of a file is its path in the folder.
    Raises `UsageError` when a file does not exist or cannot be read.
    """
    found: list[TextSource] = []
    for name in names:
        path = Path(name)
        if not name:  # it would mean the current folder
            raise UsageError("the name of a file is empty; is a variable of the shell not set? '.' is this folder")
        if name == "-":
            found.append(TextSource("-", "stdin"))
        elif path.is_dir():
            found += _in_folder(path, read_log or ReadLog())
        elif path.exists() or not glob.has_magic(name):
            found.append(_place(path))
        else:
            matches = map(Path, glob.glob(name, recursive=True))  # noqa: PTH207, as Path.glob takes no absolute ones
            files = sorted(match for match in matches if match.is_file())
            if not files:
                raise UsageError(f"no file matches {name!r}; check the pattern")
            found += map(_place, files)
    return found


def _place(path: Path) -> TextSource:
    place = TextSource(str(path), _stem(path))
    if place.suffix not in TEXT_SUFFIXES:
        raise UsageError(f"{str(path)!r} ends in {place.suffix!r}; legal: {LEGAL}; convert or rename it")
    if not path.exists():
        raise UsageError(f"there is no {str(path)!r}; give the path of an existing file or folder")
    refuse_endless(path)
    return place


def _in_folder(folder: Path, read_log: ReadLog) -> list[TextSource]:
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or not path.is_file():
            continue
        if (
            _stem(path)
            and TextSource(path.name, "").suffix in TEXT_SUFFIXES
            and not path.with_name(path.name + ".meta").exists()
        ):
            found.append(TextSource(str(path), (inside.parent / _stem(path)).as_posix()))
        else:
            read_log.drop("file of another kind, or of genner's own", str(path))
    if not found:
        raise UsageError(f"{str(folder)!r} holds no file that can be read; legal: {LEGAL}")
    return found


def _stem(path: Path) -> str:
    return PurePath(path.name.removesuffix(".gz")).stem


def read_texts(
    place: TextSource | str, text_field: str = "text", read_log: ReadLog | None = None
) -> Iterator[Document]:
    """The texts of a file as documents without entities. Other fields of a record are kept in `Document.extra`.

    A text file is kept unchanged, with carriage returns and NUL characters, but without a byte order mark; the text of
    an HTML page is its visible text (`html_text`). Records of JSON (lines, or a list) and of tables, whose first row
    names the columns, have their text in `text_field` and may have an `id`; their `entities` are ignored. Standard
    input is one text, unless it is JSON Lines or a list of JSON objects. gzip is unpacked.

    Raises `UsageError` at once on a file of another kind, and `DataError` when something cannot be read.
    """
    if isinstance(place, str):
        place = TextSource("-", "stdin") if place == "-" else _place(Path(place))
    read_log = read_log or ReadLog()
    if place.path == "-":
        return _standard_input(text_field, read_log)
    if place.suffix in TEXTS + PAGES:
        return _text(place)
    path = Path(place.path)
    found = _rows(path, text_field) if place.suffix in TABLE_SUFFIXES else records(path, read_log)
    return _documents(found, place.path, place.id, text_field, read_log)


def _text(place: TextSource) -> Iterator[Document]:
    with open_binary(Path(place.path)) as file:
        text = _decode(_bounded(file, place.path), place.path)
    if place.suffix in PAGES:
        try:
            text = html_text(text)
        except ValueError as error:
            raise DataError(place.path, f"is no HTML that can be read: {error}; save its text as .txt") from None
    yield Document(text, id=place.id, group=place.id)


def _bounded(file: BinaryIO, where: str) -> bytes:
    data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise DataError(where, f"is one text of more than {MAX_TEXT_BYTES:,} bytes; divide it among files or records")
    return data


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(where, f"invalid UTF-8 at byte {error.start}; {recode(data)}") from None


class _Bytes(NamedTuple):
    """In-memory data in place of a file."""

    data: bytes

    def open(self, mode: str = "rb") -> BinaryIO:
        return io.BytesIO(self.data)

    def __str__(self) -> str:
        return STDIN


def _standard_input(text_field: str, read_log: ReadLog) -> Iterator[Document]:
    stream = sys.stdin.buffer
    first = stream.readline(MAX_TEXT_BYTES + 1)
    if first.startswith(b"\x1f\x8b"):
        with open_binary(cast(Any, _Bytes(first + _bounded(stream, STDIN)))) as file:
            stream = cast(Any, io.BytesIO(_bounded(file, STDIN)))
            first = stream.readline()
    first = first.removeprefix(b"\xef\xbb\xbf")
    while first and not first.strip() and (line := stream.readline(MAX_TEXT_BYTES + 1)):
        first += line  # blank lines before the text
    if isinstance(_json(first), dict):  # lines of objects, possibly endless
        return _documents(
            _json_lines(chain([first], iter(lambda: stream.readline(MAX_TEXT_BYTES + 1), b""))),
            STDIN,
            "stdin",
            text_field,
            read_log,
        )
    data = first + _bounded(stream, STDIN)
    if data.lstrip()[:1] in (b"[", b"{"):
        value = _json(data)
        listed = value if isinstance(value, list) else [value]
        if listed and all(isinstance(record, dict) for record in listed):
            return _documents(enumerate(listed, 1), STDIN, "stdin", text_field, read_log)
    return iter([Document(_decode(data, STDIN), id="stdin")])


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _json_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            if not isinstance(_json(line), dict):
                raise DataError(STDIN, "is no JSON object, as the lines before are", number)
            try:
                record = json_object(line)
            except DocumentError as error:
                raise DataError(STDIN, str(error), number) from None
            yield number, record


def _rows(path: Path, text_field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table, each as a mapping from the names in its first row, with the line on which it ends."""
    with open_binary(path) as file:
        lines = io.TextIOWrapper(file, "utf-8", newline="")  # line ends within quotes are kept
        try:
            head = lines.readline()
            divider = _divider(head, path, text_field)
            rows = csv.reader(chain([head], lines), delimiter=divider, strict=True)
            names = next(rows, [])
            for twice in (name for name in names if names.count(name) > 1):
                raise DataError(str(path), f"has two columns named {twice!r}; rename one", 1)
            for row in rows:
                if row and len(row) != len(names):
                    raise DataError(
                        str(path),
                        f"has {len(row)} cells where the first row has {len(names)}; put cells that hold {divider!r} "
                        "into quotes",
                        rows.line_num,
                    )
                if row:
                    yield rows.line_num, dict(zip(names, row, strict=True))
        except UnicodeDecodeError as error:
            raise DataError(str(path), f"invalid UTF-8; {recode(error.object[:4])}") from None
        except csv.Error as error:
            raise DataError(str(path), f"is no table that can be read: {error}", rows.line_num) from None


def _divider(head: str, path: Path, text_field: str) -> str:
    """The cell separator: the one under which the first row has a cell with the text field's name."""
    usual = "\t" if TextSource(str(path), "").suffix == ".tsv" else ","
    try:
        for divider in dict.fromkeys((usual, ",", ";", "\t")):
            if text_field in next(csv.reader([head], delimiter=divider), []):
                return divider
        names = next(csv.reader([head], delimiter=usual), [])
    except csv.Error:
        names = []
    raise DataError(
        str(path),
        f"has no column {text_field!r}; its first row has: {', '.join(map(repr, names)) or 'nothing'}; name the column "
        "of the texts with --text-field",
        1,
    )


def _documents(
    found: Iterable[tuple[int, dict[str, Any]]], where: str, stem: str, text_field: str, read_log: ReadLog
) -> Iterator[Document]:
    ids = IdSet()
    for number, (line, record) in enumerate(found, 1):
        try:
            made_up = record.get("id") in (None, "")
            _check_text(record, text_field)
            document = _document({**record, "id": f"{stem}-{number}"} if made_up else record, text_field)
        except DocumentError as error:
            raise DataError(where, str(error), line) from None
        if text_field != "text" and "text" in record:
            read_log.drop("field 'text' beside the one that is read", document.id)
        while not ids.add(document.id):
            if not made_up:
                what = f"id {document.id!r} was given before; give every document its own"
                raise DataError(where, what, line)
            document = replace(document, id=document.id + "+")
        yield document


def _check_text(record: dict[str, Any], text_field: str) -> None:
    """Raise `DocumentError`, with the record's fields, where it has no text."""
    text = record.get(text_field)
    if not isinstance(text, str):
        if text_field in record:
            raise DocumentError(f"{text_field!r} is {type(text).__name__}, not a string")
        others = {key: value for key, value in record.items() if isinstance(value, str) and key != "id"}
        fix = f"--text-field {max(others, key=lambda key: len(others[key]))}" if others else "--text-field"
        has = ", ".join(record) or "nothing"
        raise DocumentError(f"has no {text_field!r}; it has: {has}; name the field of the text, as with {fix}")


def _document(record: dict[str, Any], text_field: str) -> Document:
    """Raises `DocumentError` for an id that is none, and for a group or a field that a document cannot have."""
    if type(record["id"]) not in (str, int):
        raise DocumentError(f"'id' is {record['id']!r}; legal: a string or an integer")
    rest = {key: value for key, value in record.items() if key not in (text_field, "text", "entities")}
    return Document.from_dict({**rest, "text": record[text_field], "entities": []})
