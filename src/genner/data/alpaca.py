"""Alpaca records, as LLaMA-Factory trains on: a task, a text, and the answer in one of genner's answer formats.

    [{"instruction": "Copy the text ... Text:", "input": "Ada met Bob.", "output": "<PER>Ada</PER> met <PER>Bob</PER>.",
      "id": "7"}]

LLaMA-Factory joins instruction and input with a line end, which makes genner's own prompt of them. It finds the file
through `dataset_info.json` beside it, where an entry is made. Import decodes the answer against the text: the input, or
what stands behind `Text:` in the instruction; where neither is, an inline answer with its tags removed is the text.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from genner.data.base import Journal, Syntax
from genner.data.records import Intake, Record, Span, records, top_keys, unkept, write_records
from genner.data.writing import atomic
from genner.document import Document, Entity, LabelSet, Prediction
from genner.errors import DataError, LabelError
from genner.formats import Format, get_format
from genner.formats.inline import InlineFormat
from genner.labels import of_tags, parse_labels
from genner.prompts import instruction

INFO = "dataset_info.json"

_LISTED = re.compile(r"^(?:-|\d+\.) ([^:\n]+?)(?::|$)", re.MULTILINE)  # a label, as `genner.prompts` lists it
_CLOSING = re.compile(r"</([^<>\\/]+)>|\s\|\s([^\[\]|\\]+)\]")


@dataclass(frozen=True)
class Alpaca(Syntax):
    """Alpaca JSON. Options: `format` is the answers' format; `labels` are as on the command line (`PER,ORG`, `genia`).

    Without `labels`, those of the documents are written, in the order of the alphabet, and those read that a record's
    instruction lists, or else those that the file's answers use. Documents, or a file, are then gone through twice.
    """

    name: ClassVar[str] = "alpaca"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    format: str = "inline_xml"
    labels: str = ""

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        return {"instruction", "output"} <= top_keys(head)

    def read(self, source: Traversable, journal: Journal) -> Iterator[Document]:
        form = get_format(self.format)
        given = parse_labels(self.labels) if self.labels else None
        used: LabelSet | None = None
        intake = Intake(source, journal)
        for line, record in records(source, journal):
            answer, text = record.get("output"), _text(record)
            if not isinstance(answer, str):
                journal.fault("bad record", source, "'output' is not a string", line)
                continue
            labels = given or _asked(str(record.get("instruction"))) or used
            if labels is None:
                labels = used = _used(source)
            if text is None and not isinstance(form, InlineFormat):
                what = f"no text is given, in 'input' or behind 'Text:', and {form.name} does not repeat it"
                journal.fault("no text", source, what, line)
                continue
            found = _without_text(form, answer, labels) if text is None else form.decode(text, answer, labels)
            if found.problems:
                what = f"the answer does not fit its text: {found.problems[0].detail}; is it {form.name}? (format=...)"
                journal.fault("answer repaired", source, what, line)
            spans = (Span(e.start, e.end, e.label) for e in found.entities)
            document = intake.document(line, found.text, spans, record.get("id"))
            if document is not None:
                yield document

    def write(self, documents: Iterable[Document], target: Path, journal: Journal) -> int:
        """Write the records, and their entry in `dataset_info.json` beside them."""
        get_format(self.format)
        info = _info(target)
        if self.labels:
            count = self._write(documents, parse_labels(self.labels), target, journal)
        else:
            with TemporaryDirectory() as folder:
                # Labels are known at the end; so that memory does not grow, documents wait on disk.
                spool = Path(folder) / "documents.jsonl"
                seen: set[str] = set()
                write_records(spool, (d.to_dict() for d in _noting(documents, seen, journal)), as_list=False)
                waiting = (Document.from_dict(record) for _, record in records(spool, Journal()))
                count = self._write(waiting, _label_set(sorted(seen)), target, journal)
        with atomic(target.with_name(INFO)) as file:
            file.write(json.dumps(info, ensure_ascii=False, indent=2).encode() + b"\n")
        return count

    def _write(self, documents: Iterable[Document], labels: LabelSet, target: Path, journal: Journal) -> int:
        form = get_format(self.format)
        # LLaMA-Factory puts a line end between instruction and input.
        task = instruction(labels, form).removesuffix("\n")

        def made(document: Document) -> Record:
            unkept(document, journal)
            known = tuple(e for e in document.entities if e.label in labels)
            for e in set(document.entities).difference(known):
                journal.loss(f"entity of label {e.label!r}, which is not in the label set", document.id)
            sayable, left_out = form.keep(Document(document.text, known, document.id))
            if left_out:
                journal.loss(f"entity that {form.name} cannot say", document.id, len(left_out))
            return {
                "instruction": task,
                "input": document.text,
                "output": form.encode(sayable, labels),
                "id": document.id,
            }

        return write_records(target, map(made, documents), as_list=True)


def _noting(documents: Iterable[Document], seen: set[str], journal: Journal) -> Iterator[Document]:
    """Pass the documents on, noting their labels; what a prediction has to lose is lost here."""
    for document in documents:
        seen.update(e.label for e in document.entities)
        unkept(document, journal)
        yield Document(document.text, tuple(Entity(*e.span, e.label) for e in document.entities), document.id)


def _info(target: Path) -> Record:
    """The content of `dataset_info.json` with an entry for `target`; what is there stays. Raises `DataError`."""
    path = target.with_name(INFO)
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    try:
        info = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise DataError(str(path), f"cannot be read, so not added to: {error}; correct or remove it") from None
    if not isinstance(info, dict):
        raise DataError(str(path), "is not a JSON object, so nothing can be added to it; correct or remove it")
    return {**info, target.stem: {"file_name": target.name, "columns": columns}}


def _text(record: Record) -> str | None:
    """The text of a record, None when it has none."""
    given, task = record.get("input"), record.get("instruction")
    if isinstance(given, str) and given:
        return given
    if isinstance(task, str) and "\nText:\n" in task:
        return task.split("\nText:\n", 1)[1]
    return "" if isinstance(task, str) and task.endswith("\nText:") else None


def _without_text(form: Format, answer: str, labels: LabelSet) -> Prediction:
    """Decode an inline answer whose text is not known: what stands between its tags, without any reasoning."""
    text, entities, problems = form.parse("", form.reply("", answer, labels), labels)
    return Prediction(text, tuple(dict.fromkeys(entities)), problems=tuple(problems))


@lru_cache(maxsize=8)
def _asked(task: str) -> LabelSet | None:
    """The labels that an instruction of genner's lists, in its order; None for other instructions."""
    listed = _LISTED.findall(task.split("\nText:", 1)[0]) if "\nText:" in task else []
    tags = [tag for tag in dict.fromkeys(listed) if _legal(tag)]
    return _label_set(tags) if tags else None


def _used(source: Traversable) -> LabelSet:
    """The labels that the answers of a file use, in whatever format they are."""
    seen: set[str] = set()
    for _, record in records(source, Journal(lenient=True)):  # faults are reported when the file is read in earnest
        if isinstance(answer := record.get("output"), str):
            seen.update(_labels_in(answer, _text(record) or ""))
    return _label_set([tag for tag in sorted(seen) if _legal(tag)])


def _legal(tag: str) -> bool:
    """Whether this is a tag; if not, what looked like one is text."""
    try:
        return bool(LabelSet.of(tag))
    except LabelError:
        return False


def _label_set(tags: list[str]) -> LabelSet:
    """The label set of these tags. There is none without labels: a file without entities asks for any entity."""
    return of_tags(tags) if tags else LabelSet.of("ENTITY")


def _labels_in(answer: str, text: str) -> Iterator[str]:
    try:
        value = json.loads(answer)
    except ValueError:
        value = None
    if isinstance(value, dict):
        yield from (str(label) for label in value)
    elif isinstance(value, list):
        yield from (str(item["label"]) for item in value if isinstance(item, dict) and "label" in item)
    else:
        # A closing tag that the text itself spells as often is the text's.
        closings = Counter(m.group() for m in _CLOSING.finditer(answer))
        for match in _CLOSING.finditer(answer):
            if closings[match.group()] > text.count(match.group()):
                yield (match.group(1) or match.group(2)).strip()


__all__ = ["INFO", "Alpaca"]
