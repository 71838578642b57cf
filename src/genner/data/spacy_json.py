"""JSON training data of spaCy, current and old.

    [["Ada met Bob.", {"entities": [[0, 3, "PER"], [8, 11, "PER"]]}]]
    {"classes": ["PER"], "annotations": [["Ada met Bob.", {"entities": [[0, 3, "PER"]]}], null]}
    [{"id": 0, "paragraphs": [{"raw": "Ada met", "sentences": [{"tokens": [{"orth": "Ada", "ner": "U-PER"}, ...]}]}]}]
    {"text": "Ada met Bob.", "ents": [{"start": 0, "end": 3, "label": "PER"}]}

The first form is tuples, in a list or one per line; the second, tuples as an annotation tool wraps them. The third is
the input of `spacy train` in version 2: a paragraph is a document, with a BILUO tag per token. The last is the output
of `Doc.to_json`. Offsets are half-open and count code points. A document whose entities are not given (no `entities`,
or a tag `-`) is left out and counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, ClassVar

from genner.data.base import ReadLog
from genner.data.records import DocumentBuilder, RecordSpan, RecordSyntax, lacks
from genner.data.tags import scheme_errors, spans
from genner.data.tokens import join, locate
from genner.document import Document
from genner.errors import DocumentError

_MISSING = ("-", "", None)


@dataclass(frozen=True)
class SpacyJson(RecordSyntax):
    """spaCy's tuples, its JSON of version 2, and `Doc.to_json()`; texts with categories and the like are not kept."""

    name: ClassVar[str] = "spacy_json"
    title: ClassVar[str] = "spaCy's training data in JSON"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    writes: ClassVar[bool] = False

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        match record:
            case [str(), {"entities": _}] | [str(), [[int(), int(), str()], *_]]:
                return True
            case {"annotations": [*tuples]} if "data" not in record:
                return any(isinstance(t, list) and cls.recognizes_record(t) for t in tuples)
            case {"paragraphs": [{"sentences": _}, *_]}:
                return True
            case {"text": str(), "ents": [] | [{"start": int(), "end": int(), "label": _}, *_]}:
                return True
        return False

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        count = 0
        for value in builder.values():
            try:
                parts = list(_parts(value))
            except DocumentError as error:
                builder.error("bad record", str(error))
                continue
            for k, (text, given, id) in enumerate(parts, 1):
                builder.number = count = max(count + 1, builder.number)  # each of several in a value is a document
                if id is not None and len(parts) > 1:
                    id = f"{id}.{k}"
                if given is None:
                    builder.drop("text without entity annotation")
                    continue
                try:
                    found = _spans(given)
                except DocumentError as error:
                    builder.error("bad record", str(error))
                    continue
                document = builder.build(text, found, id)
                if document is not None:
                    yield document


def _parts(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Text, entities as given (None if not given) and id of the documents in a value."""
    match value:
        case None:
            return
        case [text, {"entities": given}]:
            yield text, given, None
        case [text, dict()]:
            yield text, None, None
        case [text, [*given]]:
            yield text, given, None
        case {"paragraphs": [*paragraphs]}:
            for paragraph in paragraphs:
                yield *_paragraph(paragraph), value.get("id")
        case {"annotations": [*tuples]}:
            for item in tuples:
                yield from _parts(item)
        case {"text": text}:
            yield text, value.get("ents"), value.get("id")
        case dict():
            raise DocumentError(lacks(value, "paragraphs", "annotations", "text"))
        case _:
            raise DocumentError(f"is no [text, {{'entities': ...}}] and has no 'paragraphs': {str(value)[:80]!r}")


def _paragraph(paragraph: Any) -> tuple[str, list[Any] | None]:
    """The text of a paragraph and its entities; these are None if a token's tag is missing."""
    match paragraph:
        case {"sentences": [*sentences]} if all(isinstance(s, dict) for s in sentences):
            given = [s.get("tokens") for s in sentences]
        case _:
            raise DocumentError("a paragraph has no list 'sentences' of objects")
    tokens = [t for part in given if isinstance(part, list) for t in part]
    if None in given or not all(isinstance(t, dict) and isinstance(t.get("orth"), str) for t in tokens):
        raise DocumentError("'tokens' is not a list of objects with a string 'orth'")
    words, tags, raw = [t["orth"] for t in tokens], [t.get("ner") for t in tokens], paragraph.get("raw")
    if isinstance(raw, str):
        places = locate(words, raw)
        if places is None:
            raise DocumentError("the tokens do not make up 'raw'; correct or remove 'raw'")
        text = raw
    else:
        text, places = join(words)
    if any(tag in _MISSING for tag in tags):
        return text, None
    for at, what in scheme_errors([str(tag) for tag in tags], "bioes"):
        raise DocumentError(f"token {at + 1}, {words[at]!r}: {what}")
    return text, [(places[a][0], places[b - 1][1], label) for a, b, label in spans([str(t) for t in tags], "bioes")]


def _spans(given: Any) -> list[RecordSpan]:
    found = []
    for item in given if isinstance(given, list) else [given]:
        match item:
            case [start, end, label] | [start, end, label, _]:  # the fourth is a link id
                found.append(RecordSpan(start, end, label))
            case {"start": start, "end": end, "label": label}:
                found.append(RecordSpan(start, end, label))
            case _:
                raise DocumentError(f"the entities hold {item!r}; legal: [start, end, label]")
    return found
