"""Prodigy's JSONL: a task a line, with character offsets in code points, half-open.

{"text": "Ada met Bob.", "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept"}
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar

from genner.data.base import Journal, Syntax
from genner.data.records import Intake, Record, Span, records, top_keys, unkept, write_records
from genner.document import Document


@dataclass(frozen=True)
class Prodigy(Syntax):
    """Prodigy tasks. Only accepted ones are gold: the rest is counted as lost, unless `answers` asks for it.

    Option: `answers` is which to read, of accept, reject and ignore, with commas; a task without an answer is accepted.
    `tokens` are not read, as spans have characters, and not written: Prodigy's recipes add their own.
    """

    name: ClassVar[str] = "prodigy"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    answers: str = "accept"

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        keys = top_keys(head)
        return (
            "text" in keys and "entities" not in keys and bool(keys & {"spans", "answer", "_input_hash", "_task_hash"})
        )

    def read(self, source: Traversable, journal: Journal) -> Iterator[Document]:
        intake = Intake(source, journal)
        wanted = {answer.strip() for answer in self.answers.split(",")}
        for line, task in records(source, journal):
            answer = task.get("answer", "accept")
            if answer not in wanted:
                journal.loss(f"task answered {answer!r}", f"{source}:{line}")
                continue
            given = task.get("spans") or []
            if not isinstance(given, list) or not all(isinstance(s, dict) for s in given):
                journal.fault("bad task", source, "'spans' is not a list of objects", line)
                continue
            if task.get("relations"):
                journal.loss("relation", f"{source}:{line}", len(task["relations"]))
            document = intake.document(line, task.get("text"), map(_span, given), _id(task))
            if document is not None:
                yield document

    def write(self, documents: Iterable[Document], target: Path, journal: Journal) -> int:
        return write_records(target, (_record(d, journal) for d in documents), as_list=False)


def _span(given: Record) -> Span:
    score = given.get("score")
    score = score if isinstance(score, int | float) and 0 <= score <= 1 else None
    return Span(given.get("start"), given.get("end"), given.get("label"), None, score)


def _id(task: Record) -> Any:
    meta = task.get("meta")
    return task["id"] if "id" in task else meta.get("id") if isinstance(meta, dict) else None


def _record(document: Document, journal: Journal) -> Record:
    unkept(document, journal, scores=False)
    spans: list[Record] = []
    for e in document.entities:
        spans.append({"start": e.start, "end": e.end, "label": e.label})
        if e.score is not None:
            spans[-1]["score"] = e.score
    # Prodigy shows `meta` beside the text and keeps it.
    return {"text": document.text, "spans": spans, "meta": {"id": document.id}, "answer": "accept"}
