"""GLiNER's training data: tokens, and entities as first and last token, the last one included.

    [{"tokenized_text": ["Ada", "met", "Bob", "."], "ner": [[0, 0, "PER"], [2, 2, "PER"]]}]

Tokens say nothing of the blanks between them. So `text` and `id` are written as well, which GLiNER passes over; a file
without them is read with a blank between each two tokens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar

from genner.data.base import Journal, Syntax
from genner.data.records import Intake, Record, Span, records, top_keys, unkept, write_records
from genner.data.tokens import join, locate, tokenize
from genner.document import Document, Entity
from genner.errors import DocumentError


@dataclass(frozen=True)
class GlinerJson(Syntax):
    """GLiNER JSON, a list or lines. Option: `lines` writes lines."""

    name: ClassVar[str] = "gliner"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")

    lines: bool = False

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        return "tokenized_text" in top_keys(head)

    def read(self, source: Traversable, journal: Journal) -> Iterator[Document]:
        intake = Intake(source, journal)
        for line, record in records(source, journal):
            try:
                text, spans = _read(record)
            except DocumentError as error:
                journal.fault("bad record", source, str(error), line)
                continue
            document = intake.document(line, text, spans, record.get("id"))
            if document is not None:
                yield document

    def write(self, documents: Iterable[Document], target: Path, journal: Journal) -> int:
        return write_records(target, (_record(d, journal) for d in documents), as_list=not self.lines)


def _read(record: Record) -> tuple[str, list[Span]]:
    tokens, given, text = record.get("tokenized_text"), record.get("ner") or [], record.get("text")
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
                spans.append(Span(places[first][0], places[last][1], label))
            case _:
                raise DocumentError(
                    f"'ner' holds {item!r}; legal: [first token, last token, label] with tokens 0 to {len(tokens) - 1}"
                )
    return text, spans


def _record(document: Document, journal: Journal) -> Record:
    unkept(document, journal)
    places = tokenize(document.text, document.entities)
    starts = {start: i for i, (start, _) in enumerate(places)}
    ends = {end: i for i, (_, end) in enumerate(places)}
    ner: dict[tuple[int, int, str], None] = {}
    for e in document.entities:
        trimmed = _trimmed(document, e)
        if trimmed is None:
            journal.loss("mention of blanks alone", document.id)
            continue
        if trimmed != e.span:
            journal.loss("blank at the edge of a mention", document.id)
        ner[starts[trimmed[0]], ends[trimmed[1]], e.label] = None
    tokens = [document.text[start:end] for start, end in places]
    return {"tokenized_text": tokens, "ner": [list(n) for n in ner], "text": document.text, "id": document.id}


def _trimmed(document: Document, entity: Entity) -> tuple[int, int] | None:
    """The span without the blanks at its edges: blanks are in no token."""
    mention = document.mention(entity)
    if not mention.strip():
        return None
    start = entity.start + len(mention) - len(mention.lstrip())
    return start, start + len(mention.strip())
