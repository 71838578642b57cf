"""Label Studio's JSON_MIN export: one flat record per annotation, its results under the name of their control.

    [{"id": 1, "text": "Ada met Bob.", "label": [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}],
      "annotator": 1, "annotation_id": 4, "created_at": "...", "updated_at": "...", "lead_time": 3.2}]

An annotation without results lacks that field. A task has one record per annotator: the first is read, the others are
counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, ClassVar

from genner.data.base import ReadLog
from genner.data.ids import IdSet
from genner.data.label_studio_offsets import MarkedSpan, OffsetUnit, code_points
from genner.data.records import DocumentBuilder, JsonRecord, RecordSpan, RecordSyntax
from genner.document import Document
from genner.errors import DocumentError

_OWN = frozenset({"annotator", "annotation_id", "created_at", "updated_at", "lead_time", "history", "agreement"})
_MADE = ("annotation_id", "annotator")  # a record with one of these was annotated


@dataclass(frozen=True)
class LabelStudioMin(RecordSyntax):
    """Label Studio's JSON_MIN.

    Options: `key` is the field of the text; `label` the field of the marks (their `from_name`), by default every field
    that holds marks; `units` is the unit of offsets, `auto` derives it from the marked texts.
    """

    name: ClassVar[str] = "label_studio_min"
    title: ClassVar[str] = "Label Studio's JSON_MIN export"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    writes: ClassVar[bool] = False

    key: str = "text"
    label: str = ""
    units: OffsetUnit = "auto"

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        return isinstance(record, dict) and (
            {"annotator", "annotation_id"} <= record.keys() or any(map(_is_marks, record.values()))
        )

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        seen = IdSet()
        for record in builder.records(self.key):
            id, text = record.get("id"), record.get(self.key)
            fields = [self.label] if self.label else [k for k, value in record.items() if _is_marks(value)]
            given = [mark for field in fields for mark in record.get(field) or []]
            if not fields and not any(record.get(key) is not None for key in _MADE):
                builder.drop("record without an annotation")
                continue
            if record.get("annotation_id") is not None and id is not None and not seen.add(str(id)):
                builder.drop("further annotation of a task")
                continue
            try:
                if not isinstance(text, str):
                    raise DocumentError(
                        f"has no text under {self.key!r}; it has: {', '.join(record)}; choose with key="
                    )
                spans = self._spans(text, given, builder)
            except DocumentError as error:
                builder.error("bad record", str(error))
                continue
            extra = {k: v for k, v in record.items() if k not in _OWN and k != self.key and k not in fields}
            document = builder.build(text, spans, id, extra)
            if document is not None:
                yield document

    def _spans(self, text: str, given: list[JsonRecord], builder: DocumentBuilder) -> list[RecordSpan]:
        marks, labels = [], []
        for mark in given:
            match mark:
                case {"start": int(start), "end": int(end), "labels": list(names)}:
                    mention = mark.get("text")
                    marks.append(MarkedSpan(start, end, mention if isinstance(mention, str) else None))
                    labels.append(names)
                case _:
                    raise DocumentError(f"a mark is {mark!r}; it needs integers 'start', 'end' and a list 'labels'")
        places, certain = code_points(text, marks, self.units)
        if not certain:
            builder.drop("certainty of the unit of offsets (no text to check)")
        return [RecordSpan(*place, name) for place, names in zip(places, labels, strict=True) for name in names]


def _is_marks(value: Any) -> bool:
    match value:
        case [{"start": int(), "end": int(), "labels": [*_]}, *_]:
            return True
    return False
