"""Rows of a Hugging Face data set as JSON: as `to_json` writes them, or as the hub's rows API returns them.

    {"tokens": ["Ada", "met"], "ner_tags": ["B-PER", "O"]}
    {"features": [{"name": "ner_tags", "type": {...}}], "rows": [{"row_idx": 0, "row": {"tokens": [...], ...}}]}

Numeric tags need their names: the API's answer has them; for a file of rows give them (`names=O,B-PER,I-PER`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, ClassVar, Literal

from genner.data.base import ReadLog
from genner.data.column_values import MAX_TAG_VALUES
from genner.data.hf import HuggingFace
from genner.data.hf_rows import SPACED, SPACES
from genner.data.json_stream import records
from genner.data.records import DocumentBuilder, JsonRecord, RecordSyntax, lacks
from genner.data.tags import Spelling, parse
from genner.document import Document
from genner.errors import DocumentError

TOKEN_COLUMNS = ("tokens", "words", "token", "word", "sentence", "text")
TAG_COLUMNS = ("ner_tags", "ner", "ner_labels", "bio", "bio_tags", "iob", "iob_tags", "tags", "labels", "label")


@dataclass(frozen=True)
class HuggingFaceJson(RecordSyntax):
    """JSON rows with tokens and a tag each.

    Options: `tokens`, `tags` and `id` are the names of columns (by default the usual names: `tokens`, `words`,
    `sentence` ..., and `ner_tags`, `tags`, `labels` ...). Tokens may be a list, or a string of words separated by
    blanks. A text column, or flags such as `space_after`, decide where blanks are; `names` lists the tag names in the
    order of their numbers; `scheme`, `outside` and `label` say how tags are read, as for `conll`. A row without tags is
    left out. The file is read twice, first to see how it spells its tags.
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
                tokens, tags = _columns(row)
                if not (tokens and tags):
                    return False
                if isinstance(words := row[tokens], str):
                    return _all(row[tags], str) and _tagged(words.split(), row[tags])
                return _all(row[tokens], str) and _all(row[tags], str, int)
        return False

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        spelling: Spelling | None = None
        check = self._reader({}).check()
        count = 0
        for record in builder.records():
            features, rows = _rows(record)
            for row in rows:
                count += 1
                if features:  # each row of an answer is a record
                    builder.number = count
                reader = self._reader(row)
                if reader.tokens not in row:
                    has = ", ".join(row) or "nothing"
                    builder.error(
                        "bad row", f"has no {reader.tokens!r}; it has: {has}; name the columns with tokens=, tags="
                    )
                    continue
                if reader.tags not in row:
                    builder.error("bad row", f"{lacks(row, reader.tags)}; else name the columns with tokens=, tags=")
                    continue
                if isinstance(words := row[reader.tokens], str):
                    row = {**row, reader.tokens: words.split()}
                if count == 1:
                    reader.note_others(_others(row, reader.tokens, reader.tags), source, read_log)
                if builder.starts_group(row[reader.tokens]):
                    continue
                if row.get(reader.tags) is None:
                    builder.drop(f"row without {reader.tags!r}")
                    continue
                try:
                    shape = reader.shape(source, features, list(row))
                    if spelling is None:
                        spelling = reader.spelling(shape.names or self._values(source), source, read_log)
                    spaced = {key: row[key] for key in (*SPACED, *SPACES) if key in row and key != reader.tokens}
                    tagged = {**spaced, reader.tokens: row[reader.tokens], reader.tags: row[reader.tags]}
                    text, spans = reader.row(tagged, shape, spelling, check, builder.number)
                except DocumentError as error:
                    builder.error("bad row", str(error))
                    continue
                if isinstance(row.get("text"), str) and row["text"] != text and reader.tokens != "text":
                    builder.drop("text that its tokens do not make up")
                read = {reader.tokens, reader.tags, self.id, *SPACES, *(k for k in SPACED if row.get(k) == text)}
                extra = {k: v for k, v in row.items() if k not in read}
                document = builder.build(text, spans, row.get(self.id), extra)
                if document is not None:
                    yield document
        self._reader({}).tell(check, source, read_log)

    def _reader(self, row: JsonRecord) -> "_Rows":
        """The reader for this row, shared with parquet."""
        found = _columns(row)
        tokens, tags = self.tokens or found[0], self.tags or found[1]
        return _Rows(
            tokens=tokens or TOKEN_COLUMNS[0],
            tags=tags or TAG_COLUMNS[0],
            text="",
            names=self.names,
            scheme=self.scheme,
            outside=self.outside,
            label=self.label,
        )

    def _values(self, source: Traversable) -> list[str]:
        """The distinct tags of the file that are strings."""
        found: set[str] = set()
        for _, record in records(source, ReadLog(lenient=True)):  # the actual reading reports errors
            for row in _rows(record)[1]:
                tags = row.get(self._reader(row).tags)
                found.update(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else None
                if len(found) > MAX_TAG_VALUES:
                    break
        return sorted(found)


class _Rows(HuggingFace):
    """Rows that are JSON, for messages."""

    name = "hf_json"


def _rows(record: JsonRecord) -> tuple[JsonRecord, list[JsonRecord]]:
    """The features by name and the rows of a rows API answer; any other record is itself a row."""
    match record:
        case {"features": [*features], "rows": [*rows]}:
            named = {
                f["name"]: f.get("type") for f in features if isinstance(f, dict) and isinstance(f.get("name"), str)
            }
            return named, [r["row"] for r in rows if isinstance(r, dict) and isinstance(r.get("row"), dict)]
    return {}, [record]


def _columns(row: JsonRecord) -> tuple[str, str]:
    """The usual names under which a row has tokens and tags; empty for a missing one."""
    lists = [name for name in TOKEN_COLUMNS if isinstance(row.get(name), list)]
    return lists[0] if lists else _first(row, TOKEN_COLUMNS), _first(row, TAG_COLUMNS)


def _tagged(words: list[str], tags: Any) -> bool:
    """Whether each word of a string has a tag, and these are clearly entity tags, not labels of a whole text."""
    return isinstance(tags, list) and bool(tags) and len(words) == len(tags) and all(map(parse, tags))


def _others(row: JsonRecord, tokens: str, tags: str) -> list[str]:
    """The other columns of a row that hold a tag for each token."""
    number = len(row[tokens]) if isinstance(row[tokens], list) else 0
    found = [
        (name, value)
        for name, value in row.items()
        if name not in (tokens, tags, "chunk_tags") and isinstance(value, list) and len(value) == number > 0
    ]
    return [
        name
        for name, value in found
        if (name.endswith("ner_tags") and _all(value, str, int)) or (_all(value, str) and all(map(parse, value)))
    ]


def _first(row: JsonRecord, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in row), "")


def _all(value: Any, *kinds: type) -> bool:
    """Whether a value, which may be unknown, is a list of these types."""
    return value is None or (isinstance(value, list) and all(type(v) in kinds for v in value))
