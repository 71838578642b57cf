"""genner's own JSON Lines as a file syntax: what `genner extract` writes and `genner train` reads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar

from genner.data.base import Journal, Syntax
from genner.data.jsonl import document_of
from genner.data.records import Intake, records, top_keys, write_records
from genner.document import Document
from genner.errors import DocumentError


@dataclass(frozen=True)
class Jsonl(Syntax):
    """`{"id", "text", "entities": [{"start", "end", "label", "score"?}], "problems"?}` a line; holds everything."""

    name: ClassVar[str] = "jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        keys = top_keys(head)
        return head.lstrip().startswith(b"{") and ({"text", "entities"} <= keys or keys == {"text"})

    def read(self, source: Traversable, journal: Journal) -> Iterator[Document]:
        intake = Intake(source, journal)
        for line, record in records(source, journal):
            identifier = intake.identifier(record.get("id"), line)
            if identifier is None:
                continue
            try:
                document = document_of(record if record.get("id") else {**record, "id": identifier})
            except DocumentError as error:
                journal.fault("bad document", source, str(error), line)
                continue
            yield document

    def write(self, documents: Iterable[Document], target: Path, journal: Journal) -> int:
        return write_records(target, (d.to_dict() for d in documents), as_list=False)
