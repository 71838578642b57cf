"""JSON Lines and plain text: how documents come in and go out.

A record, one a line, is what `Document.to_dict` gives:

    {"id": "7", "text": "Ada met Bob.", "entities": [{"start": 0, "end": 3, "label": "PER", "text": "Ada"}]}

`group`, where it is given, names what the text is a part of (see `Document`). A record with `problems` is a
`Prediction`. All files are read as bytes, split at `\\n` only and decoded here: text mode
would turn `\\r\\n` into `\\n` and so move every offset behind it.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from genner.data.base import ALONE
from genner.data.corpus_groups import grouped
from genner.data.file_opening import open_binary
from genner.data.ids import IdSet
from genner.data.json_stream import JSON
from genner.data.records import stem
from genner.document import Document, Prediction, Problem, ProblemKind
from genner.errors import DataError, DocumentError, UnreadableError

log = logging.getLogger(__name__)

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_jsonl(path: Path, *, lenient: bool = False) -> Iterator[Document]:
    """Yield the documents of a JSON Lines file, in UTF-8 with or without a byte order mark; blank lines are skipped.

    The file may be packed with gzip. One line is in memory at a time, besides 8 bytes for each id seen so far. A record
    without an `id` gets `<file stem>-<number>`: which record it is, from 1; blank lines are none. A bad line (invalid
    UTF-8 or JSON, no object, a malformed document, one without `entities`, an id seen before) raises `DataError`; with
    `lenient` it is logged as a warning and skipped. A file that cannot be read, or is binary, raises `DataError` either
    way.
    """
    return read_records(path, document_of, lenient)


def read_records(path: Path, build: Callable[[dict[str, Any]], Document], lenient: bool = False) -> Iterator[Document]:
    """The documents that `build` makes of the records of a file; else as `read_jsonl`."""
    from genner.data.registry import looks_like_file  # which knows this module too

    ids, group = IdSet(), grouped(path)
    if path.is_dir() and (advice := looks_like_file(path)):
        raise UnreadableError(str(path), f"is a folder; {advice}")
    for count, (number, line) in enumerate(numbered_lines(path), 1):
        try:
            record = _first(line, path) if count == 1 else record_of(line)
            made_up = record.get("id") in (None, "")
            document = build(record)
            if made_up:
                document = replace(document, id=f"{stem(path)}-{count}")
            while not (new := ids.add(document.id)) and made_up:
                document = replace(document, id=document.id + "+")
            if not new:
                raise DocumentError(f"id {document.id!r} was given on an earlier line; give every document its own")
        except DocumentError as error:
            bad = DataError(str(path), str(error), number)
            if not lenient:
                raise bad from None
            log.warning("%s; line skipped", bad)
            continue
        yield group(document)


def _first(line: bytes, path: Path) -> dict[str, Any]:
    """The record on the first line of a file; where there is none, the error says what the file looks like instead."""
    from genner.data.registry import looks_like_file

    try:
        return record_of(line)
    except DocumentError as error:
        advice = looks_like_file(path)
        raise DocumentError(f"{error}; {advice}" if advice else str(error)) from None


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, packed with gzip or not, that are not blank, with their numbers from 1.

    Raises `DataError` for a file that cannot be opened, or is no text.
    """
    with open_binary(path) as file:
        _refuse_binary(file.peek(4096), str(path))
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def record_of(line: bytes) -> dict[str, Any]:
    """The JSON object on `line`. Raises `DocumentError`, without a line, for anything else or an odd `id`."""
    try:
        record = JSON.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DocumentError(f"invalid UTF-8 at byte {error.start} of the line; {recode(line)}") from None
    except (ValueError, RecursionError) as error:  # ValueError also for integers of over 4300 digits
        if b"\r" in line.strip():
            raise DocumentError(ALONE) from None
        raise DocumentError(f"is not JSON: {error}; legal: one object a line, not broken over lines") from None
    if not isinstance(record, dict):
        raise DocumentError(f"is a JSON {type(record).__name__}, not an object with a 'text'")
    given = record.get("id")
    if given is not None and type(given) not in (str, int):
        raise DocumentError(f"'id' is {given!r}; legal: a string or an integer")
    return record


def document_of(record: dict[str, Any]) -> Document:
    """The `Document`, or with `problems` the `Prediction`, of an annotated record. Raises `DocumentError`."""
    try:
        document = Document.from_dict(record)
    except DocumentError as error:
        from genner.data.registry import looks_like  # which knows this module too

        advice = looks_like(record)
        raise DocumentError(f"{error}; {advice}" if advice else str(error)) from None
    if "problems" not in record:
        return document
    problems, kinds = record["problems"], get_args(ProblemKind)
    if not isinstance(problems, list) or not all(isinstance(p, dict) and p.get("kind") in kinds for p in problems):
        raise DocumentError(f"'problems' is not a list of objects with a 'kind', one of: {', '.join(kinds)}")
    found = tuple(Problem(p["kind"], str(p.get("detail", ""))) for p in problems)
    extra = dict(document.extra)
    reading = extra.pop("answer_reading") if isinstance(extra.get("answer_reading"), str) else ""
    uncalibrated = extra.pop("uncalibrated_scores") if isinstance(extra.get("uncalibrated_scores"), bool) else False
    return Prediction(
        document.text,
        document.entities,
        document.id,
        found,
        group=document.group,
        extra=extra,
        answer_reading=reading,
        uncalibrated_scores=uncalibrated,
    )


def _refuse_binary(head: bytes, where: str) -> None:
    if head.startswith(_UTF16):
        raise DataError(where, f"is UTF-16; {recode(head)}")
    if b"\0" in head:
        raise DataError(where, f"is binary: NUL at byte {head.index(0)}; legal: UTF-8 text, one JSON object a line")


def recode(data: bytes) -> str:
    """What to do about bytes that are not UTF-8."""
    encoding = "UTF-16" if data.startswith(_UTF16) else "ISO-8859-1"
    return f"convert it from the encoding it is in, as with: iconv -f {encoding} -t UTF-8 OLD > NEW"
