"""doccano's export: one text per line, spans as `[start, end, label]`, or as objects if relations are marked.

    {"id": 7, "text": "Ada met Bob.", "label": [[0, 3, "PER"], [8, 11, "PER"]]}
    {"id": 7, "text": "Ada met Bob.", "entities": [{"id": 1, "label": "PER", "start_offset": 0, "end_offset": 3}],
      "relations": []}

Offsets are half-open and count code points. doccano writes `label` (`labels` in old versions and in files made for it).
A text that nobody has annotated is also exported with an empty list, unless only confirmed texts are exported.
Source: doccano's `data_export/pipeline`.
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
    lacks,
    record_losses,
    typed_group,
    typed_id,
    write_records,
)
from genner.document import Document
from genner.errors import DocumentError

SPAN_FIELDS = ("label", "labels", "entities")


@dataclass(frozen=True)
class Doccano(RecordSyntax):
    """doccano's JSONL. Other fields (`Comments`, metadata uploaded with the text) are kept."""

    name: ClassVar[str] = "doccano"
    title: ClassVar[str] = "doccano's export"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        if not isinstance(record, dict) or "text" not in record:
            return False
        match [record[field] for field in SPAN_FIELDS if field in record]:
            case [[[int(), int(), str()], *_]]:
                return True
            case [[{"start_offset": _, "end_offset": _}, *_]]:
                return True
            case [[]]:  # an empty `entities` alone is genner's own syntax
                return "entities" not in record or "relations" in record
        return False

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        for record in builder.records():
            given = [field for field in SPAN_FIELDS if record.get(field) is not None]
            try:
                spans = _spans(record[given[0]]) if len(given) == 1 else None
                if spans is None:
                    which = f"has {' and '.join(map(repr, given))}, of which one is legal" if given else ""
                    raise DocumentError(which or lacks(record, *SPAN_FIELDS))
            except DocumentError as error:
                builder.error("bad record", str(error))
                continue
            if isinstance(relations := record.get("relations"), list):
                builder.drop("relation", len(relations))
            extra = {key: value for key, value in record.items() if key not in (*SPAN_FIELDS, "relations")}
            document = builder.build(record.get("text"), spans, record.get("id"), extra)
            if document is not None:
                yield document

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        return write_records(target, (_record(d, read_log) for d in documents), as_list=False)


def _spans(given: Any) -> list[RecordSpan]:
    spans = []
    for item in given if isinstance(given, list) else [given]:
        match item:
            case [start, end, label]:
                spans.append(RecordSpan(start, end, label))
            case {"start_offset": start, "end_offset": end, "label": label}:
                spans.append(RecordSpan(start, end, label))
            case _:
                raise DocumentError(
                    f"the labels hold {item!r}; legal: [start, end, label], or an object with start_offset, end_offset "
                    "and label"
                )
    return spans


def _record(document: Document, read_log: ReadLog) -> JsonRecord:
    record_losses(document, read_log, group=False)
    label = [[e.start, e.end, e.label] for e in document.entities]
    return {"id": typed_id(document), "text": document.text, "label": label, **typed_group(document)}
