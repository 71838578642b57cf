"""GLiNER2's training data: a text, and its entities as mentions without offsets.

    {"input": "Ada met Bob.", "output": {"entities": {"person": ["Ada", "Bob"]}, "entity_descriptions": {...}}}

`text` and `schema` are other names for `input` and `output`. A mention is placed only if its position is certain:
the text has it as often as the record gives it. Source: GLiNER2's training data formats.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, ClassVar, Literal

from genner.data.base import ReadLog
from genner.data.places import UNPLACED, found
from genner.data.records import DocumentBuilder, JsonRecord, RecordSpan, RecordSyntax, lacks
from genner.document import Document
from genner.errors import DocumentError

_OTHERS = ("classifications", "json_structures", "relations")


@dataclass(frozen=True)
class Gliner2(RecordSyntax):
    """GLiNER2's JSONL. A record without `entities` is left out; `entities: {}` means that there are none.

    Option: `places` decides about a mention that the text has more often than the record: `certain` leaves it out and
    counts it, `all` takes every occurrence.
    """

    name: ClassVar[str] = "gliner2"
    title: ClassVar[str] = "GLiNER2's training data"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    writes: ClassVar[bool] = False

    places: Literal["certain", "all"] = "certain"

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        match record:
            case {"input": str(), "output": dict(asked)} | {"text": str(), "schema": dict(asked)}:
                return bool(asked.keys() & {"entities", *_OTHERS})
        return False

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        for record in builder.records("input", "text"):
            text = record.get("input", record.get("text"))
            if not record.keys() & {"output", "schema"}:
                builder.error("bad record", lacks(record, "output", "schema"))
                continue
            asked = record.get("output", record.get("schema"))
            asked = asked if isinstance(asked, dict) else {}
            for other in _OTHERS:
                if isinstance(given := asked.get(other), list):
                    builder.drop(other.replace("_", " ").removesuffix("s"), len(given))
            if asked.get("entities") is None:
                builder.drop("record without entities")
                continue
            try:
                spans = self._spans(text, asked["entities"], builder)
            except DocumentError as error:
                builder.error("bad record", str(error))
                continue
            if not spans and any(_mentions(asked["entities"])):
                builder.drop(UNPLACED)
                continue
            extra = {key: value for key, value in record.items() if key not in ("input", "output", "schema")}
            document = builder.build(text, spans, record.get("id"), extra)
            if document is not None:
                yield document

    def _spans(self, text: Any, entities: Any, builder: DocumentBuilder) -> list[RecordSpan]:
        spans = []
        for label, mention, count in _mentions(entities):
            starts = found(text, mention) if isinstance(text, str) else []
            if len(starts) <= count or self.places == "all":
                spans += [RecordSpan(start, start + len(mention), label) for start in starts]
                builder.drop("mention that its text does not have", max(count - len(starts), 0), repr(mention))
            else:
                what = "mention that its text has more often than its record (places=all takes every place)"
                builder.drop(what, count, repr(mention))
        return spans


def _mentions(entities: Any) -> Iterator[tuple[str, str, int]]:
    """Label, mention, and how often the record gives it. Raises `DocumentError`."""
    given: list[JsonRecord] = entities if isinstance(entities, list) else [entities]
    counts: Counter[tuple[str, str]] = Counter()
    for group in given:
        if not isinstance(group, dict) or not all(isinstance(m, list) for m in group.values()):
            raise DocumentError(f"'entities' holds {group!r}; legal: {{label: [mention, ...]}}")
        for label, mentions in group.items():
            if not all(isinstance(mention, str) for mention in mentions):
                raise DocumentError(f"the mentions of {label!r} are {mentions!r}; legal: a list of strings")
            counts.update((label, mention) for mention in mentions)
    for (label, mention), count in counts.items():
        yield label, mention, count
