"""Label Studio's JSON export: a list of tasks, each with its text and what annotators marked in it.

    [{"id": 1, "data": {"text": "Ada met Bob."}, "annotations": [{"result": [{"type": "labels", "from_name": "label",
      "to_name": "text", "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}}]}]}]

Label Studio once counted JavaScript's UTF-16 units (its issue 1347) and later versions count code points (its
`charsToCodePoints`); the export does not say which. They differ behind characters beyond U+FFFF, as emoji. Each result
carries the text it marks, so the unit is chosen, task by task, by which one cuts those texts out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal

from genner.data.base import Journal, Syntax
from genner.data.records import Intake, Record, Span, records, top_keys, unkept, write_records
from genner.document import Document
from genner.errors import DocumentError

Units = Literal["auto", "code_points", "utf16"]


@dataclass(frozen=True)
class LabelStudio(Syntax):
    """Label Studio JSON. Of a task that several people annotated, the first annotation that was not cancelled is read.

    Options: `key` is the field of `data` that holds the text; `units` is how offsets count, `auto` by the check above
    (in writing: code points); `from_name` and `to_name` are the names in the labelling configuration, for writing.
    """

    name: ClassVar[str] = "label_studio"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    key: str = "text"
    units: Units = "auto"
    from_name: str = "label"
    to_name: str = "text"

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        keys = top_keys(head)
        return "data" in keys and bool(keys & {"annotations", "completions", "predictions"})

    def read(self, source: Traversable, journal: Journal) -> Iterator[Document]:
        intake = Intake(source, journal)
        for line, task in records(source, journal):
            try:
                text, results = self._task(task, journal, f"{source}:{line}")
                spans = self._spans(text, results, journal, f"{source}:{line}")
            except DocumentError as error:
                journal.fault("bad task", source, str(error), line)
                continue
            given = (task.get("meta") or {}).get("id") if isinstance(task.get("meta"), dict) else None
            document = intake.document(line, text, spans, given if given is not None else task.get("id"))
            if document is not None:
                yield document

    def _task(self, task: Record, journal: Journal, where: str) -> tuple[str, list[Record]]:
        """The text of a task and the results of the annotation that counts."""
        data = task.get("data")
        text = data.get(self.key) if isinstance(data, dict) else None
        if not isinstance(text, str):
            known = ", ".join(data) if isinstance(data, dict) else "nothing"
            raise DocumentError(f"'data' has no text under {self.key!r}; it has: {known}; choose with key=")
        made = task.get("annotations", task.get("completions")) or []
        if not isinstance(made, list) or not all(isinstance(a, dict) for a in made):
            raise DocumentError("'annotations' is not a list of objects")
        valid = [a for a in made if not (a.get("was_cancelled") or a.get("skipped"))]
        if cancelled := len(made) - len(valid):
            journal.loss("cancelled annotation", where, cancelled)
        if len(valid) > 1:
            journal.loss("further annotation of a task", where, len(valid) - 1)
        results = (valid[0].get("result") if valid else None) or []
        if not isinstance(results, list) or not all(isinstance(r, dict) for r in results):
            raise DocumentError("'result' is not a list of objects")
        return text, results

    def _spans(self, text: str, results: list[Record], journal: Journal, where: str) -> list[Span]:
        marked: list[tuple[int, int, list[str], str | None, float | None]] = []
        for result in results:
            value = result.get("value")
            if result.get("type") != "labels" or not isinstance(value, dict):
                journal.loss(f"result of type {result.get('type')!r}", where)
                continue
            start, end, labels = value.get("start"), value.get("end"), value.get("labels")
            if type(start) is not int or type(end) is not int or not isinstance(labels, list):
                raise DocumentError(
                    f"a result's value is {value!r}; it needs integers 'start', 'end' and a list 'labels'"
                )
            if not labels:
                journal.loss("span without a label", where)
            mention, score = value.get("text"), result.get("score")
            score = score if isinstance(score, int | float) and 0 <= score <= 1 else None
            marked.append((start, end, labels, mention if isinstance(mention, str) else None, score))
        place = self._unit(text, [(start, end, mention) for start, end, _, mention, _ in marked], journal, where)
        return [
            Span(place(start), place(end), label, mention and _same(mention, text, place(start)), score)
            for start, end, labels, mention, score in marked
            for label in labels
        ]

    def _unit(self, text: str, marked: list[tuple[int, int, str | None]], journal: Journal, where: str) -> Any:
        """A function from the offsets of this task to code points."""
        if self.units == "code_points" or max(text, default="") <= "\uffff":
            return _as_given
        units = _utf16(text)
        back = {unit: point for point, unit in enumerate(units)}

        def from_utf16(offset: int) -> int:
            return back.get(offset, offset if offset > units[-1] else -1)  # within a pair, or beyond: no legal place

        if self.units == "utf16":
            return from_utf16
        checks = [(s, e, m) for s, e, m in marked if m is not None]
        if all(text[s:e] == _same(m, text, s) for s, e, m in checks):
            if not checks and any(e > 0 and units[min(s, len(text))] != s for s, e, _ in marked):
                journal.loss("certainty of the unit of offsets (no text to check)", where)
            return _as_given
        return from_utf16

    def write(self, documents: Iterable[Document], target: Path, journal: Journal) -> int:
        return write_records(target, (self._record(i, d, journal) for i, d in enumerate(documents, 1)), as_list=True)

    def _record(self, number: int, document: Document, journal: Journal) -> Record:
        unkept(document, journal, scores=False)
        units = _utf16(document.text) if self.units == "utf16" else range(len(document.text) + 1)
        results: list[Record] = []
        for i, e in enumerate(document.entities):
            value = {"start": units[e.start], "end": units[e.end], "text": document.mention(e), "labels": [e.label]}
            names = {"from_name": self.from_name, "to_name": self.to_name, "type": "labels"}
            score = {} if e.score is None else {"score": e.score}
            results.append({"id": f"{number}-{i}", **names, "value": value, **score})
        # Label Studio numbers tasks itself; ours stands in `meta`, which it keeps.
        return {
            "id": number,
            "data": {self.key: document.text},
            "annotations": [{"result": results}],
            "meta": {"id": document.id},
        }


def _utf16(text: str) -> list[int]:
    """How many UTF-16 units lie before each code point, and before the end."""
    return [0, *accumulate(1 + (c > "\uffff") for c in text)]


def _as_given(offset: int) -> int:
    return offset


def _same(mention: str, text: str, start: int) -> str:
    """The mention as the text spells it: Label Studio writes a line end as a backslash and an n."""
    plain = mention.replace("\\n", "\n")
    return plain if mention != plain and text.startswith(plain, max(start, 0)) else mention
