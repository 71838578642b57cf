"""Rows of a Hugging Face data set as JSON: what `to_json` writes, and what the hub's rows API answers.

    {"tokens": ["Ada", "met"], "ner_tags": ["B-PER", "O"]}
    {"features": [{"name": "ner_tags", "type": {...}}], "rows": [{"row_idx": 0, "row": {"tokens": [...], ...}}]}

Tags that are numbers need their names: the API's answer has them, a file of rows does not (`names=O,B-PER,I-PER`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, ClassVar, Literal

from genner.data.base import Journal
from genner.data.column_values import MANY
from genner.data.hf import HuggingFace
from genner.data.json_stream import records
from genner.data.records import Intake, Record, RecordSyntax
from genner.data.tags import Spelling
from genner.document import Document
from genner.errors import DocumentError

TOKENS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "ner", "labels")


@dataclass(frozen=True)
class HuggingFaceJson(RecordSyntax):
    """JSON rows with tokens and a tag each.

    Options: `tokens`, `tags` and `id` are the names of columns (looked for, when left out, as `tokens` or `words`, and
    `ner_tags`, `tags`, `ner` or `labels`); `names` lists the tags' names in the order of their numbers; `scheme`,
    `outside` and `label` say how tags are meant, as for `conll`. A row without tags is left out. The file is gone
    through twice, to see how it spells its tags.
    """

    name: ClassVar[str] = "hf_json"
    title: ClassVar[str] = "rows of a Hugging Face data set"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    writes: ClassVar[bool] = False

    tokens: str = ""
    tags: str = ""
    id: str = "id"
    names: str = ""
    scheme: Literal["auto", "iob2", "iob1", "bioes", "io", "bare"] = "auto"
    outside: str = "O"
    label: str = ""

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        match record:
            case {"features": [*_], "rows": [{"row": dict(row)}, *_]}:
                return cls.recognizes_record(row)
            case dict(row):
                tokens, tags = _first(row, TOKENS), _first(row, TAGS)
                return bool(tokens and tags) and _all(row[tokens], str) and _all(row[tags], str, int)
        return False

    def read(self, source: Traversable, journal: Journal) -> Iterator[Document]:
        intake = Intake(source, journal)
        spelling: Spelling | None = None
        count = 0
        for record in intake.records():
            features, rows = _rows(record)
            for row in rows:
                count += 1
                if features:  # of an answer, each row is a record
                    intake.number = count
                reader = self._reader(row)
                if reader.tokens not in row:
                    has = ", ".join(row) or "nothing"
                    intake.fault(
                        "bad row", f"has no {reader.tokens!r}; it has: {has}; name the columns with tokens=, tags="
                    )
                    continue
                if intake.begins_group(row[reader.tokens]):
                    continue
                if row.get(reader.tags) is None:
                    intake.loss(f"row without {reader.tags!r}")
                    continue
                try:
                    shape = reader.shape(source, features, list(row))
                    if spelling is None:
                        spelling = reader.spelling(shape.names or self._values(source), source, journal)
                    text, spans = reader.row(row, shape, spelling)
                except DocumentError as error:
                    intake.fault("bad row", str(error))
                    continue
                extra = {k: v for k, v in row.items() if k not in (reader.tokens, reader.tags, self.id)}
                document = intake.build(text, spans, row.get(self.id), extra)
                if document is not None:
                    yield document

    def _reader(self, row: Record) -> "_Rows":
        """What reads this row, as it reads parquet's."""
        tokens, tags = self.tokens or _first(row, TOKENS), self.tags or _first(row, TAGS)
        return _Rows(
            tokens=tokens or TOKENS[0],
            tags=tags or TAGS[0],
            text="",
            names=self.names,
            scheme=self.scheme,
            outside=self.outside,
            label=self.label,
        )

    def _values(self, source: Traversable) -> list[str]:
        """The different tags of the file that are strings."""
        found: set[str] = set()
        for _, record in records(source, Journal(lenient=True)):  # faults are said when it is read in earnest
            for row in _rows(record)[1]:
                tags = row.get(self._reader(row).tags)
                found.update(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else None
                if len(found) > MANY:
                    break
        return sorted(found)


class _Rows(HuggingFace):
    """Rows that are JSON, for messages."""

    name = "hf_json"


def _rows(record: Record) -> tuple[Record, list[Record]]:
    """The features by name and the rows of an answer of the rows API; a record that is none is a row."""
    match record:
        case {"features": [*features], "rows": [*rows]}:
            named = {
                f["name"]: f.get("type") for f in features if isinstance(f, dict) and isinstance(f.get("name"), str)
            }
            return named, [r["row"] for r in rows if isinstance(r, dict) and isinstance(r.get("row"), dict)]
    return {}, [record]


def _first(row: Record, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in row), "")


def _all(value: Any, *kinds: type) -> bool:
    """Whether a value, which may be unknown, is a list of these types."""
    return value is None or (isinstance(value, list) and all(type(v) in kinds for v in value))
