"""genner's own JSON Lines: the output of `genner extract`, and the target of conversions from other syntaxes.

A line is one record, as `Document.to_dict` returns it:

    {"id": "7", "text": "Ada met Bob.", "entities": [{"start": 0, "end": 3, "label": "PER", "text": "Ada"}]}

`group`, if given, names the unit that the text belongs to (see `Document`). A record with `problems` is a `Prediction`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, get_args

from genner.data.base import ReadLog
from genner.data.corpus_groups import grouped
from genner.data.json_stream import JsonRecord
from genner.data.records import DocumentBuilder, RecordSyntax, write_records
from genner.document import Document, Prediction, Problem, ProblemKind
from genner.errors import DocumentError


@dataclass(frozen=True)
class Jsonl(RecordSyntax):
    """`{"id", "text", "entities": [{"start", "end", "label", "score"?}], "problems"?}` a line; holds everything.

    A list of such objects is read too. A record without `entities` is an error: missing does not mean none.
    """

    name: ClassVar[str] = "jsonl"
    title: ClassVar[str] = "genner's own JSON lines"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        if not isinstance(record, dict) or not {"text", "entities"} <= record.keys():
            return False
        match record["entities"]:
            case None | []:
                return True
            case [{"start": _, "end": _, "label": _}, *_]:
                return True
        return False

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder, group = DocumentBuilder(source, read_log), grouped(source)
        for record in builder.records():
            identifier = builder.unique_id(record.get("id"))
            if identifier is None:
                continue
            try:
                document = document_of(record)
            except DocumentError as error:
                builder.error("bad document", str(error))
                continue
            yield group(replace(document, id=identifier))

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        return write_records(target, (d.to_dict() for d in documents), as_list=False)


def read_jsonl(path: Path, *, lenient: bool = False) -> Iterator[Document]:
    """Yield the documents of a file of genner's own JSON Lines. `read_corpus` reads these, and any other syntax.

    The file may be gzipped and may begin with a byte order mark. One record is in memory at a time, plus 8 bytes per
    id. A record without an `id` gets `<file stem>-<number>`, from 1; blank lines are not counted.

    A bad record (invalid UTF-8 or JSON, not an object, a malformed document, no `entities`, a repeated id) raises
    `DataError`; with `lenient` it is logged as a warning and skipped. A file that cannot be read, or is binary, always
    raises `DataError`.
    """
    return Jsonl().read(path, ReadLog(lenient=lenient))


def document_of(record: JsonRecord) -> Document:
    """The `Document` of an annotated record, or the `Prediction` if it has `problems`. Raises `DocumentError`."""
    try:
        document = Document.from_dict(record)
    except DocumentError as error:
        from genner.data.registry import looks_like  # the registry imports this module

        advice = looks_like(record)
        raise DocumentError(f"{error}; {advice}" if advice else str(error)) from None
    if "problems" not in record:
        return document
    problems, kinds = record["problems"], get_args(ProblemKind)
    if not isinstance(problems, list) or not all(isinstance(p, dict) and p.get("kind") in kinds for p in problems):
        raise DocumentError(f"'problems' is not a list of objects with a 'kind', one of: {', '.join(kinds)}")
    found = tuple(Problem(p["kind"], str(p.get("detail", ""))) for p in problems)
    extra = dict(document.extra)
    reading = extra.pop("answer_reading") if isinstance(extra.get("answer_reading"), str) else ""
    uncalibrated = extra.pop("uncalibrated_scores") if isinstance(extra.get("uncalibrated_scores"), bool) else False
    return Prediction(
        document.text,
        document.entities,
        document.id,
        found,
        group=document.group,
        extra=extra,
        answer_reading=reading,
        uncalibrated_scores=uncalibrated,
    )
