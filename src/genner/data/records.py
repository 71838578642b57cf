"""Helpers of the record syntaxes: building documents from JSON objects, and writing whole files of records."""

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.resources.abc import Traversable
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

from genner.data.base import PASSED_OVER, ReadLog, Syntax
from genner.data.ids import IdSet
from genner.data.json_head import first_values
from genner.data.json_stream import JsonRecord as JsonRecord
from genner.data.json_stream import layout_of, not_an_object, values
from genner.document import KNOWN, Document, Entity, Prediction, Problem, group_of
from genner.errors import DocumentError
from genner.extras import missing
from genner.writing import atomic

DOCSTART = "-DOCSTART-"


class RecordSpan(NamedTuple):
    """An entity as a file gives it, not yet checked; `mention`, if given, must equal the text at the offsets."""

    start: Any
    end: Any
    label: Any
    mention: str | None = None
    score: float | None = None


class RecordSyntax(Syntax):
    """A syntax whose files are JSON records: one per line, in one list, or in sequence."""

    title: ClassVar[str]
    """The name of such a record in messages: `doccano's export`."""

    @classmethod
    @abstractmethod
    def recognizes_record(cls, record: Any) -> bool:
        """Whether a JSON value is such a record. None in it may stand for an unknown value of any type."""

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        return any(cls.recognizes_record(value) for value in first_values(head))


class DocumentBuilder:
    """Reads the records of one file and builds their documents.

    A record that is not a valid document is an error, and is skipped if the log is lenient. Errors and dropped things
    name the record: by its line if each record has its own line, else by its number and id.
    """

    def __init__(self, source: Traversable, read_log: ReadLog) -> None:
        self.source = source
        self.read_log = read_log
        self.line = self.number = 0
        self._named = ""
        self._listed = False
        self._ids = IdSet()
        self._made_up = False
        self._stem = stem(source)
        self._parts = 0

    def values(self) -> Iterator[Any]:
        """The values of the file; until the next value, errors and dropped things are reported for the current one."""
        self._listed = layout_of(self.source) != "lines"
        for line, number, value in values(self.source, self.read_log):
            self.line, self.number = line, number
            given = value.get("id") if isinstance(value, dict) else None
            self._named = f", id {given!r}" if type(given) in (str, int) else ""
            yield value

    def records(self, *keys: str) -> Iterator[JsonRecord]:
        """The objects among the values. Other values are errors; so are objects that have none of `keys`, if given."""
        for value in self.values():
            if not isinstance(value, dict):
                not_an_object(self.source, self.read_log, self.line, value)
            elif keys and not value.keys() & set(keys):
                self.error("bad record", lacks(value, *keys))
            else:
                yield value

    def error(self, kind: str, what: str, *, instead: str = PASSED_OVER) -> None:
        """Record an error in the current record; otherwise as `ReadLog.error`."""
        named = f"record {self.number}{self._named}: " if self._listed else ""
        self.read_log.error(kind, self.source, named + what, self.line, instead=instead)

    def drop(self, kind: str, count: int = 1, detail: str = "") -> None:
        """Record that `count` things of this kind in the current record are not kept."""
        if count:
            named = f", record {self.number}{self._named}" if self._listed else ""
            self.read_log.drop(kind, f"{self.source}:{self.line}{named}{detail and f': {detail}'}", count)

    def starts_group(self, tokens: Any) -> bool:
        """Whether a row of tokens is the lone mark `-DOCSTART-`, which begins a group and is not a document.

        The following documents get the group `<file stem>-<number>`, from 1, unless they name one.
        """
        marks = isinstance(tokens, list) and tokens == [DOCSTART]
        self._parts += marks
        return marks

    def build_row(
        self, line: int, text: Any, spans: Iterable[RecordSpan], id: Any = None, group: str = ""
    ) -> Document | None:
        """As `build`, for the record (row, document) with this number, in files that are not JSON."""
        self.line = self.number = line
        return self.build(text, spans, id, group=group)

    def build(
        self,
        text: Any,
        spans: Iterable[RecordSpan],
        id: Any = None,
        extra: Mapping[str, Any] | None = None,
        problems: tuple[Problem, ...] | None = None,
        group: str = "",
    ) -> Document | None:
        """The document, with `problems` the prediction, or None after an error.

        Without an id it gets `<file stem>-<number>`; without a `group`, the one that `extra` names or that the last
        mark began. A repeated entity is kept once.
        """
        identifier = self.unique_id(id)
        if identifier is None:
            return None
        kept = {key: value for key, value in (extra or {}).items() if key not in KNOWN}
        if id not in (None, "") and not isinstance(id, str):
            kept["id"] = id
        group = group or group_of(kept) or (f"{self._stem}-{self._parts}" if self._parts else "")
        if group == kept.get("group"):
            del kept["group"]
        try:
            if not isinstance(text, str):
                raise DocumentError(f"the text is {type(text).__name__}, not a string")
            read: dict[Entity, None] = {}
            for span in spans:
                entity = _entity(span, text)
                if entity in read:
                    self.drop("entity given twice")
                else:
                    read[entity] = None
            if problems is None:
                return Document(text, tuple(read), identifier, group=group, extra=kept)
            return Prediction(text, tuple(read), identifier, problems, group=group, extra=kept)
        except DocumentError as error:
            self.error("bad document", str(error))
            return None

    def unique_id(self, given: Any) -> str | None:
        """The id as a string, generated if there is none; None after the error of a repeated id."""
        if given is not None and type(given) not in (str, int):
            self.error("bad id", f"'id' is {given!r}; legal: a string or an integer")
            return None
        if given in (None, ""):
            identifier = f"{self._stem}-{self.number}"
            while not self._ids.add(identifier):  # an earlier record has this id
                identifier += "+"
            self._made_up = True
            return identifier
        identifier = str(given)
        if not self._ids.add(identifier):
            or_made_up = ", or made up for a record that has none" if self._made_up else ""
            self.error("duplicate id", f"id {identifier!r} was given before{or_made_up}; give every document its own")
            return None
        return identifier


def _entity(span: RecordSpan, text: str) -> Entity:
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


def lacks(record: Mapping[str, Any], *keys: str, what: str = "") -> str:
    """The message on a record that has none of `keys`: the keys that it has, and the syntax that reads it, if known.

    `what`: the kind of value that a key should have, as `list `.
    """
    from genner.data.registry import looks_like  # the registry imports the syntaxes

    has = ", ".join(key if key.isprintable() else repr(key) for key in record) or "nothing"
    advice = looks_like(record)
    return f"has no {what}{' or '.join(map(repr, keys))}; it has: {has}{f'; {advice}' if advice else ''}"


def stem(source: Traversable) -> str:
    """The name of a file without its suffix, and without gzip's."""
    return PurePath(source.name.removesuffix(".gz")).stem


def record_losses(
    document: Document, read_log: ReadLog, *, scores: bool = True, fields: bool = True, group: bool = True
) -> None:
    """Record the losses of a document that only genner's own syntax can hold.

    These are a prediction's problems; with `fields`, the record's fields that are not genner's; with `scores`, scores;
    with `group`, the group.
    """
    if isinstance(document, Prediction) and document.problems:
        read_log.drop("problem of a prediction", document.id, len(document.problems))
    if group and document.group:
        read_log.drop("group", f"{document.group!r} of document {document.id!r}")
    for key in document.extra if fields else ():
        if key != "id" and not (key == "group" and document.group):
            read_log.drop("further field of a record", f"{key!r} of document {document.id!r}")
    if scores and (n := sum(e.score is not None for e in document.entities)):
        read_log.drop("score", document.id, n)


def typed_id(document: Document) -> Any:
    """The id with the type in its record, for example an integer."""
    given = document.extra.get("id")
    return given if given is not None and str(given) == document.id else document.id


def typed_group(document: Document) -> JsonRecord:
    """The field `group` with the type in its record, if the document has one."""
    given = document.extra.get("group")
    as_given = given if given is not None and str(given) == document.group else document.group
    return {"group": as_given} if document.group else {}


def json_bytes(record: JsonRecord) -> bytes:
    """The record as one line, without the line end."""
    # Only lone surrogates, in an id or a label, cannot be encoded; "\\ud800" is also their JSON escape.
    return json.dumps(record, ensure_ascii=False).encode("utf-8", errors="backslashreplace")


def write_records(target: Path, made: Iterable[JsonRecord], *, as_list: bool) -> int:
    """Write records as JSON Lines, or as a JSON list with one record per line; returns how many."""
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
    """Import a package that only some syntaxes need. Raises `MissingPartError`."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name != package:
            raise
        raise missing(package, extra=extra) from None
