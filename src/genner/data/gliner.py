"""GLiNER's training data: tokens, and entities as first and last token (inclusive).

    [{"tokenized_text": ["Ada", "met", "Bob", "."], "ner": [[0, 0, "PER"], [2, 2, "PER"]]}]

Tokens do not keep the blanks between them. So `text` and `id` are written too, which GLiNER ignores; a file without
them is read with a blank between tokens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar

from genner.data.base import ReadLog
from genner.data.records import (
    DocumentBuilder,
    JsonRecord,
    RecordSpan,
    RecordSyntax,
    record_losses,
    typed_group,
    typed_id,
    write_records,
)
from genner.data.tokens import join, locate, tokenize
from genner.document import Document, Entity
from genner.errors import DocumentError

_OWN = frozenset({"tokenized_text", "ner", "relations", "text", "id"})


@dataclass(frozen=True)
class GlinerJson(RecordSyntax):
    """GLiNER JSON, a list or lines. A record without `ner` is left out. Option: `lines` writes lines."""

    name: ClassVar[str] = "gliner"
    title: ClassVar[str] = "GLiNER's training data"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")

    lines: bool = False

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        return isinstance(record, dict) and "tokenized_text" in record

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        for record in builder.records("tokenized_text"):
            if record.get("ner") is None:
                builder.drop("record without 'ner'")
                continue
            if isinstance(relations := record.get("relations"), list):
                builder.drop("relation", len(relations))
            try:
                text, spans = _read(record)
            except DocumentError as error:
                builder.error("bad record", str(error))
                continue
            extra = {key: value for key, value in record.items() if key not in _OWN}
            document = builder.build(text, spans, record.get("id"), extra)
            if document is not None:
                yield document

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        return write_records(target, (_record(d, read_log) for d in documents), as_list=not self.lines)


def _read(record: JsonRecord) -> tuple[str, list[RecordSpan]]:
    tokens, given, text = record.get("tokenized_text"), record.get("ner"), record.get("text")
    if not isinstance(tokens, list) or not all(isinstance(t, str) for t in tokens):
        raise DocumentError("'tokenized_text' is not a list of strings")
    if isinstance(text, str):
        places = locate(tokens, text)
        if places is None:
            raise DocumentError("the tokens of 'tokenized_text' do not make up 'text'; correct or remove 'text'")
    else:
        text, places = join(tokens)
    spans = []
    for item in given if isinstance(given, list) else [given]:
        match item:
            case [int(first), int(last), str(label)] if 0 <= first <= last < len(tokens):
                spans.append(RecordSpan(places[first][0], places[last][1], label))
            case _:
                raise DocumentError(
                    f"'ner' holds {item!r}; legal: [first token, last token, label] with tokens 0 to {len(tokens) - 1}"
                )
    return text, spans


def _record(document: Document, read_log: ReadLog) -> JsonRecord:
    record_losses(document, read_log, fields=False, group=False)
    places = tokenize(document.text, document.entities)
    starts = {start: i for i, (start, _) in enumerate(places)}
    ends = {end: i for i, (_, end) in enumerate(places)}
    ner: dict[tuple[int, int, str], None] = {}
    for e in document.entities:
        trimmed = _trimmed(document, e)
        if trimmed is None:
            read_log.drop("mention of blanks alone", document.id)
            continue
        if trimmed != e.span:
            read_log.drop("blank at the edge of a mention", document.id)
        ner[starts[trimmed[0]], ends[trimmed[1]], e.label] = None
    tokens = [document.text[start:end] for start, end in places]
    rest = {key: value for key, value in document.extra.items() if key not in _OWN} | typed_group(document)
    for key in document.extra.keys() & _OWN - {"id"}:
        read_log.drop("further field of a record", f"{key!r} of document {document.id!r}")
    made = {"tokenized_text": tokens, "ner": [list(n) for n in ner], "text": document.text, "id": typed_id(document)}
    return made | rest


def _trimmed(document: Document, entity: Entity) -> tuple[int, int] | None:
    """The span without blanks at its edges: tokens contain no blanks."""
    mention = document.mention(entity)
    if not mention.strip():
        return None
    start = entity.start + len(mention) - len(mention.lstrip())
    return start, start + len(mention.strip())
