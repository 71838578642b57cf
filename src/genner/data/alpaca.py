"""Alpaca records, as LLaMA-Factory trains on: a task, a text, and the answer in one of genner's answer formats.

    [{"instruction": "Copy the text ... Text:", "input": "Ada met Bob.", "output": "<PER>Ada</PER> met <PER>Bob</PER>.",
      "id": "7"}]

LLaMA-Factory joins instruction and input with a line end, which gives genner's own prompt. It finds the file through
`dataset_info.json` beside it; writing adds an entry there. Reading decodes the answer against the text: the input, or
what follows `Text:` in the instruction. Without either, the text is the inline answer with its tags removed.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from genner.data.answers import Exchange, decoded, label_set
from genner.data.base import ReadLog
from genner.data.json_stream import records
from genner.data.records import JsonRecord, RecordSyntax, lacks, record_losses, typed_group, typed_id, write_records
from genner.document import Document, Entity, LabelSet
from genner.errors import DataError, DocumentError
from genner.formats import get_format
from genner.labels import parse_labels
from genner.prompts import instruction, text_in
from genner.writing import atomic

INFO = "dataset_info.json"

_OWN = frozenset({"instruction", "input", "output", "id"})


@dataclass(frozen=True)
class Alpaca(RecordSyntax):
    """Alpaca JSON; a record without an output is left out.

    Options: `format` is the answers' format; `labels` are as on the command line (`PER,ORG`, `genia`). Without
    `labels`, writing uses the documents' labels, sorted; reading uses those that a record's instruction lists, or else
    those in the file's answers. The documents, or the file, are then read twice.
    """

    name: ClassVar[str] = "alpaca"
    title: ClassVar[str] = "Alpaca records"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    format: str = "inline_xml"
    labels: str = ""

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        return isinstance(record, dict) and "instruction" in record and isinstance(record.get("output", 0), str | None)

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        return decoded(source, read_log, _exchange, self.format, self.labels, _OWN)

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        """Write the records, and their entry in `dataset_info.json` beside them."""
        get_format(self.format)
        info = _info(target)
        if self.labels:
            count = self._write(documents, parse_labels(self.labels), target, read_log)
        else:
            with TemporaryDirectory() as folder:
                # All labels are known only at the end; documents are spooled to disk so that memory does not grow.
                spool = Path(folder) / "documents.jsonl"
                seen: set[str] = set()
                write_records(spool, (d.to_dict() for d in _noting(documents, seen, read_log)), as_list=False)
                waiting = (Document.from_dict(record) for _, record in records(spool, ReadLog()))
                count = self._write(waiting, label_set(sorted(seen)), target, read_log)
        with atomic(target.with_name(INFO)) as file:
            file.write(json.dumps(info, ensure_ascii=False, indent=2).encode() + b"\n")
        return count

    def _write(self, documents: Iterable[Document], labels: LabelSet, target: Path, read_log: ReadLog) -> int:
        form = get_format(self.format)
        # LLaMA-Factory puts a line end between instruction and input.
        task = instruction(labels, form).removesuffix("\n")

        def made(document: Document) -> JsonRecord:
            record_losses(document, read_log, group=False)
            known = tuple(e for e in document.entities if e.label in labels)
            for e in set(document.entities).difference(known):
                read_log.drop(f"entity of label {e.label!r}, which is not in the label set", document.id)
            encodable, left_out = form.encodable_part(Document(document.text, known, document.id))
            if left_out:
                read_log.drop(f"entity that {form.name} cannot say", document.id, len(left_out))
            return {
                "instruction": task,
                "input": document.text,
                "output": form.encode(encodable, labels),
                "id": typed_id(document),
                **typed_group(document),
            }

        return write_records(target, map(made, documents), as_list=True)


def _noting(documents: Iterable[Document], seen: set[str], read_log: ReadLog) -> Iterator[Document]:
    """Yield the documents and collect their labels; record here what a prediction loses."""
    for document in documents:
        seen.update(e.label for e in document.entities)
        record_losses(document, read_log, group=False)
        entities = tuple(Entity(*e.span, e.label) for e in document.entities)
        given = {"id": typed_id(document), **typed_group(document)}
        yield Document(document.text, entities, document.id, group=document.group, extra=given)


def _info(target: Path) -> JsonRecord:
    """The content of `dataset_info.json` with an entry for `target` added; other entries stay. Raises `DataError`."""
    path = target.with_name(INFO)
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    try:
        info = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise DataError(str(path), f"cannot be read, so not added to: {error}; correct or remove it") from None
    if not isinstance(info, dict):
        raise DataError(str(path), "is not a JSON object, so nothing can be added to it; correct or remove it")
    return {**info, target.stem: {"file_name": target.name, "columns": columns}}


def _exchange(record: JsonRecord) -> Exchange | None:
    answer, task, given = record.get("output"), record.get("instruction"), record.get("input")
    if not {"instruction", "input", "output"} & record.keys():
        raise DocumentError(lacks(record, "instruction", "input", "output"))
    if answer is None:
        return None
    if not isinstance(answer, str):
        raise DocumentError("'output' is not a string")
    task = task if isinstance(task, str) else ""
    return Exchange(task, given if isinstance(given, str) and given else text_in(task), answer)
