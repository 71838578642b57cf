"""genner's own JSON Lines as a file syntax: what `genner extract` writes and `genner train` reads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar

from genner.data.base import ReadLog
from genner.data.corpus_groups import grouped
from genner.data.jsonl import document_of
from genner.data.records import DocumentBuilder, RecordSyntax, write_records
from genner.document import Document
from genner.errors import DocumentError


@dataclass(frozen=True)
class Jsonl(RecordSyntax):
    """`{"id", "text", "entities": [{"start", "end", "label", "score"?}], "problems"?}` a line; holds everything.

    A list of such objects is read too. A record without `entities` is an error: it does not say that it has none.
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
