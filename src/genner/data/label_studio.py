"""Label Studio's JSON export: a list of tasks, each with its text and its annotations.

    [{"id": 1, "data": {"text": "Ada met Bob."}, "annotations": [{"result": [{"type": "labels", "from_name": "label",
      "to_name": "text", "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}}]}]}]

A task without a usable annotation says nothing about entities; it is left out and counted. A `Prediction` is written
under `predictions`, which Label Studio shows to annotators, with its score and model version. The file `X.config.xml`
beside the tasks holds a labelling configuration that displays them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Literal
from xml.sax.saxutils import quoteattr

from genner.data.base import ReadLog
from genner.data.label_studio_offsets import MarkedSpan, OffsetUnit, code_points, utf16
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
from genner.document import Document, Prediction
from genner.errors import DocumentError
from genner.writing import write_atomic

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class LabelStudio(RecordSyntax):
    """Label Studio JSON. The annotation of a task that is marked as ground truth is read, else the first.

    Cancelled annotations are ignored. Options: `key` is the field of `data` that holds the text; `annotations` selects
    annotations or predictions; `annotator` selects the author (an id or an address; for predictions a model version);
    `units` is the unit of offsets, `auto` derives it from the texts of the results (when writing: code points);
    `from_name` and `to_name` are the names in the labelling configuration: when reading, results with other names are
    left out, when writing the defaults are `label` and `text`; `model_version` is written with predictions.
    """

    name: ClassVar[str] = "label_studio"
    title: ClassVar[str] = "Label Studio's JSON export"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    key: str = "text"
    annotations: Literal["annotations", "predictions"] = "annotations"
    annotator: str = ""
    units: OffsetUnit = "auto"
    from_name: str = ""
    to_name: str = ""
    model_version: str = "genner"

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        return (
            isinstance(record, dict)
            and isinstance(record.get("data", ""), dict | None)
            and bool(record.keys() & {"annotations", "completions", "predictions"})
        )

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        names: set[str] = set()  # the `from_name`s in results
        for task in builder.records("data"):
            try:
                data = task.get("data")
                text = data.get(self.key) if isinstance(data, dict) else None
                if not isinstance(data, dict) or not isinstance(text, str):
                    known = ", ".join(data) if isinstance(data, dict) else "nothing"
                    raise DocumentError(f"'data' has no text under {self.key!r}; it has: {known}; choose with key=")
                results = self._results(task, builder)
                names |= {str(r["from_name"]) for r in results or () if "from_name" in r}
                spans = None if results is None else self._spans(data, text, results, builder)
            except DocumentError as error:
                builder.error("bad task", str(error))
                continue
            if spans is None:
                continue
            meta = task.get("meta")
            given = meta.get("id") if isinstance(meta, dict) else None
            document = builder.build(
                text,
                spans,
                task.get("id") if given is None else given,
                {key: value for key, value in data.items() if key != self.key},
                () if self.annotations == "predictions" else None,
            )
            if document is not None:
                yield document
        if self.from_name and names and self.from_name not in names:
            what = f"no result has from_name {self.from_name!r}; legal: {', '.join(sorted(names))}"
            read_log.error("unknown from_name", source, what)

    def _results(self, task: JsonRecord, builder: DocumentBuilder) -> list[JsonRecord] | None:
        """The results of the annotation to read; None, which is recorded, if there is none."""
        made = task.get(self.annotations)
        if made is None and self.annotations == "annotations":
            made = task.get("completions")  # the name before version 1.0
        made = made or []
        if not isinstance(made, list) or not all(isinstance(a, dict) for a in made):
            raise DocumentError(f"{self.annotations!r} is not a list of objects")
        valid = [a for a in made if not (a.get("was_cancelled") or a.get("skipped")) and a.get("result") is not None]
        builder.drop(f"cancelled {self.annotations[:-1]}", len(made) - len(valid))
        chosen = [a for a in valid if not self.annotator or self.annotator in _by(a)]
        if self.annotations == "annotations" and isinstance(guessed := task.get("predictions"), list):
            builder.drop("prediction", len(guessed), "--from label_studio:annotations=predictions reads them")
        if not chosen:
            by = f" by {self.annotator}" if self.annotator else ""
            builder.drop(f"task without {'an annotation' if self.annotations == 'annotations' else 'a prediction'}{by}")
            return None
        builder.drop(f"further {self.annotations[:-1]} of a task", len(valid) - 1)
        results = next((a for a in chosen if a.get("ground_truth") is True), chosen[0])["result"]
        if not isinstance(results, list) or not all(isinstance(r, dict) for r in results):
            raise DocumentError("'result' is not a list of objects")
        return results

    def _spans(
        self, data: JsonRecord, text: str, results: list[JsonRecord], builder: DocumentBuilder
    ) -> list[RecordSpan] | None:
        labelled = []
        for result in results:
            kind, value = result.get("type"), result.get("value")
            if kind == "labels" and isinstance(value, dict):
                labelled.append(result)
            elif kind in (None, "labels", "Labels"):
                raise DocumentError(
                    f"a result of type {kind!r} has the value {value!r}; legal: 'labels', with an object"
                )
            elif isinstance(kind, str) and kind.endswith("labels"):
                builder.drop(f"task marked with {kind}, which are not offsets in a text")
                return None
            else:
                builder.drop(f"result of type {kind!r}")
        marks: list[MarkedSpan] = []
        rest: list[tuple[list[str], float | None]] = []
        for result in self._of_this_text(data, labelled, builder):
            value = result["value"]
            start, end, labels = value.get("start"), value.get("end"), value.get("labels")
            if type(start) is not int or type(end) is not int or not isinstance(labels, list):
                raise DocumentError(
                    f"a result's value is {value!r}; it needs integers 'start', 'end' and a list 'labels'"
                )
            if not labels:
                builder.drop("span without a label")
            mention = value.get("text")
            marks.append(MarkedSpan(start, end, mention if isinstance(mention, str) else None))
            rest.append((labels, _score(result.get("score"))))
        places, certain = code_points(text, marks, self.units)
        if not certain:
            builder.drop("certainty of the unit of offsets (no text to check)")
        return [
            RecordSpan(start, end, label, None, score)
            for (start, end), (labels, score) in zip(places, rest, strict=True)
            for label in labels
        ]

    def _of_this_text(self, data: JsonRecord, results: list[JsonRecord], builder: DocumentBuilder) -> list[JsonRecord]:
        """The results that mark the selected text: a task may have several texts. Raises `DocumentError`."""
        if self.from_name:
            kept = [r for r in results if r.get("from_name") == self.from_name]
            builder.drop(f"result of another from_name than {self.from_name!r}", len(results) - len(kept))
            results = kept
        names = {name for r in results if isinstance(name := r.get("to_name"), str)}
        if self.to_name:
            ours = {self.to_name}
        elif names & {"text", self.key}:
            ours = names & {self.key} or {"text"}
        else:
            ours = names - data.keys()
            if len(ours) > 1:
                several = ", ".join(sorted(ours))
                raise DocumentError(f"results mark several texts: {several}; choose that of {self.key!r} with to_name=")
        kept = [r for r in results if (name := r.get("to_name")) is None or str(name) in ours]
        builder.drop("result that marks another text of its task", len(results) - len(kept))
        return kept

    def companions(self, target: Path) -> tuple[Path, ...]:
        return (target.with_name(f"{target.name.removesuffix('.json')}.config.xml"),)

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        labels: set[str] = set()
        made = (self._record(i, d, read_log, labels) for i, d in enumerate(documents, 1))
        count = write_records(target, made, as_list=True)
        write_atomic(self.companions(target)[0], self._config(labels, read_log))
        return count

    def _record(self, number: int, document: Document, read_log: ReadLog, labels: set[str]) -> JsonRecord:
        record_losses(document, read_log, scores=False, fields=False, group=self.key == "group")
        labels.update(e.label for e in document.entities)
        units = utf16(document.text) if self.units == "utf16" else range(len(document.text) + 1)
        results: list[JsonRecord] = []
        for i, e in enumerate(document.entities):
            value = {"start": units[e.start], "end": units[e.end], "text": document.mention(e), "labels": [e.label]}
            names = {"from_name": self.from_name or "label", "to_name": self.to_name or "text", "type": "labels"}
            score = {} if e.score is None else {"score": e.score}
            results.append({"id": f"{number}-{i}", **names, "value": value, **score})
        data = {key: value for key, value in document.extra.items() if key != "id"} | typed_group(document)
        if self.key in data:
            read_log.drop("further field of a record", f"{self.key!r} of document {document.id!r}")
        data[self.key] = document.text
        # Label Studio numbers tasks itself; genner's id is in `meta`, which it keeps.
        task = {"id": number, "data": data, "annotations": [{"result": results}], "meta": {"id": typed_id(document)}}
        if isinstance(document, Prediction):
            scores = [e.score for e in document.entities if e.score is not None]
            score = {"score": round(fmean(scores), 4)} if scores else {}
            guessed = {"model_version": self.model_version, "result": results, **score}
            task |= {"annotations": [], "predictions": [guessed]}
        return task

    def _config(self, labels: set[str], read_log: ReadLog) -> str:
        """The XML of a labelling configuration with these labels."""
        lines = []
        for label in sorted(labels):
            if _NO_XML.search(label):
                read_log.drop("label that the labelling configuration, being XML, cannot hold", repr(label))
            else:
                lines.append(f"    <Label value={quoteattr(label)}/>\n")
        to_name = quoteattr(self.to_name or "text")
        return (
            f"<View>\n  <Labels name={quoteattr(self.from_name or 'label')} toName={to_name}>\n{''.join(lines)}"
            f"  </Labels>\n  <Text name={to_name} value={quoteattr('$' + self.key)}/>\n</View>\n"
        )


def _by(annotation: JsonRecord) -> set[str]:
    """The names that select the author of an annotation or prediction."""
    by = annotation.get("completed_by")
    names = [by.get("id"), by.get("email"), by.get("username")] if isinstance(by, dict) else [by]
    return {str(name) for name in (*names, annotation.get("model_version")) if name is not None}


def _score(given: Any) -> float | None:
    return given if isinstance(given, int | float) and 0 <= given <= 1 else None
