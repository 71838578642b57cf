"""langextract's JSONL, the output of its `save_annotated_documents`: one document per line, with a model's extractions.

    {"document_id": "a", "text": "Ada met Bob.", "extractions": [{"extraction_class": "PER", "extraction_text": "Ada",
      "char_interval": {"start_pos": 0, "end_pos": 3}, "alignment_status": "match_exact", "attributes": {}}]}

Positions are half-open and count code points. An extraction that langextract could not align has none; it is placed if
its text occurs exactly once in the document, else counted. Source: langextract's `data_lib` and `core/data`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, ClassVar

from genner.data.base import ReadLog
from genner.data.places import UNPLACED, found
from genner.data.records import DocumentBuilder, RecordSpan, RecordSyntax
from genner.document import Document
from genner.errors import DocumentError

_EXACT = (None, "match_exact")


@dataclass(frozen=True)
class Langextract(RecordSyntax):
    """langextract's JSONL, read as predictions. Attributes and descriptions of extractions are dropped."""

    name: ClassVar[str] = "langextract"
    title: ClassVar[str] = "langextract's output"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    writes: ClassVar[bool] = False

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        return isinstance(record, dict) and {"text", "extractions"} <= record.keys()

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        for record in builder.records("extractions"):
            text, given = record.get("text"), record.get("extractions")
            if given is None:
                builder.drop("document without extractions")
                continue
            try:
                if not isinstance(given, list):
                    raise DocumentError("'extractions' is not a list of objects")
                spans = [span for item in given if (span := _span(text, item, builder)) is not None]
            except DocumentError as error:
                builder.error("bad document", str(error))
                continue
            if given and not spans:
                builder.drop(UNPLACED)
                continue
            extra = {k: v for k, v in record.items() if k not in ("extractions", "document_id")}
            document = builder.build(text, spans, record.get("document_id", record.get("id")), extra, ())
            if document is not None:
                yield document


def _span(text: Any, item: Any, builder: DocumentBuilder) -> RecordSpan | None:
    match item:
        case {"extraction_class": str(label), "extraction_text": str(mention)}:
            pass
        case _:
            raise DocumentError(f"an extraction is {item!r}; it needs strings 'extraction_class' and 'extraction_text'")
    if item.get("attributes") or item.get("description"):
        builder.drop("attributes of an extraction", detail=repr(mention))
    interval = item.get("char_interval") or {}
    if not isinstance(interval, dict):
        raise DocumentError(f"'char_interval' is {interval!r}; legal: an object with start_pos and end_pos, or null")
    start, end = interval.get("start_pos"), interval.get("end_pos")
    if start is None or end is None:
        starts = found(text, mention) if isinstance(text, str) else []
        if len(starts) == 1:
            return RecordSpan(starts[0], starts[0] + len(mention), label)
        builder.drop("extraction without a place in its text", detail=repr(mention))
        return None
    # langextract aligns inexact matches to text with other words.
    return RecordSpan(start, end, label, mention if item.get("alignment_status") in _EXACT else None)
