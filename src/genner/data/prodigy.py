"""Prodigy's JSONL: one task per line, with half-open offsets in code points.

{"text": "Ada met Bob.", "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept"}
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
from genner.document import Document

_OWN = frozenset({"text", "spans", "answer", "relations", "tokens", "id", "meta"})
_OTHER = frozenset({"label", "options", "accept", "cats"})
"""Fields of other kinds of tasks: without spans they say nothing about entities."""


@dataclass(frozen=True)
class Prodigy(RecordSyntax):
    """Prodigy tasks. Only accepted ones are gold; others are counted as dropped, unless `answers` includes them.

    Option: `answers` lists which to read: accept, reject, ignore, none, separated by commas. A task accepted without
    `spans` has no entities; one without an answer was not reviewed, and its spans may be a model's. `tokens` are not
    read, as spans have character offsets, and not written: Prodigy's recipes add their own.
    """

    name: ClassVar[str] = "prodigy"
    title: ClassVar[str] = "Prodigy's tasks"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    answers: str = "accept"

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        return (
            isinstance(record, dict)
            and "text" in record
            and "entities" not in record
            and bool(record.keys() & {"spans", "answer", "_input_hash", "_task_hash"})
        )

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        wanted = {answer.strip() for answer in self.answers.split(",")}
        for task in builder.records("text"):
            if not self.recognizes_record(task) and task.keys() & {"entities", "label", "labels"}:
                builder.error("bad task", f"is no task of Prodigy's; it has: {', '.join(task)}")
                continue
            answer = task.get("answer")
            if answer is None and "none" not in wanted:
                builder.drop("task without an answer", detail="--from prodigy:answers=accept,none reads those as well")
                continue
            if not isinstance(answer, str | None):
                builder.error("bad task", f"'answer' is {answer!r}; legal: accept, reject or ignore")
                continue
            if answer is not None and answer not in wanted:
                builder.drop(f"task answered {answer!r}")
                continue
            given = task.get("spans")
            if given is None and answer is None:
                builder.drop("task without an answer and without spans")
                continue
            if given is None and task.keys() & _OTHER:
                builder.drop("task that asks for something else than spans", detail="a choice, or a label of the text")
                continue
            if given is not None and not (isinstance(given, list) and all(isinstance(s, dict) for s in given)):
                builder.error("bad task", "'spans' is not a list of objects")
                continue
            if isinstance(relations := task.get("relations"), list):
                builder.drop("relation", len(relations))
            extra = {key: value for key, value in task.items() if key not in _OWN and not key.startswith("_")}
            document = builder.build(task.get("text"), map(_span, given or []), _id(task), _meta(task) | extra)
            if document is not None:
                yield document

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        return write_records(target, (_record(d, read_log) for d in documents), as_list=False)


def _span(given: JsonRecord) -> RecordSpan:
    score = given.get("score")
    score = score if isinstance(score, int | float) and 0 <= score <= 1 else None
    return RecordSpan(given.get("start"), given.get("end"), given.get("label"), None, score)


def _id(task: JsonRecord) -> Any:
    meta = task.get("meta")
    return task["id"] if "id" in task else meta.get("id") if isinstance(meta, dict) else None


def _meta(task: JsonRecord) -> JsonRecord:
    """The source metadata of a task, without the id."""
    meta = task.get("meta")
    rest = {k: v for k, v in meta.items() if k != "id"} if isinstance(meta, dict) else meta
    return {"meta": rest} if rest else {}


def _record(document: Document, read_log: ReadLog) -> JsonRecord:
    record_losses(document, read_log, scores=False, fields=False, group=False)
    spans: list[JsonRecord] = []
    for e in document.entities:
        spans.append({"start": e.start, "end": e.end, "label": e.label})
        if e.score is not None:
            spans[-1]["score"] = e.score
    rest = {key: value for key, value in document.extra.items() if key != "id"} | typed_group(document)
    meta = rest.pop("meta", {})
    for key in sorted(rest):
        if key in _OWN or key.startswith("_"):
            read_log.drop("further field of a record", f"{key!r} of document {document.id!r}")
            del rest[key]
    if not isinstance(meta, dict):
        read_log.drop("further field of a record", f"'meta' of document {document.id!r}")
        meta = {}
    # Prodigy shows `meta` beside the text and keeps it.
    about = {"meta": {**meta, "id": typed_id(document)}, "answer": "accept"}
    return {"text": document.text, "spans": spans, **rest, **about}
