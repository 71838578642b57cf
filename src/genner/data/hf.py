"""Hugging Face data sets: parquet files, folders made by `save_to_disk`, ids on the hub. Needs the extra `hf`.

Two column layouts are read: tokens with a tag each (`tokens`, `ner_tags`, the tag names from the features stored in the
file), and text with spans (`text`, `entities`: a list of `{"start", "end", "label"}` in code points). The second is
written, and is lossless. Rows are read in batches, so memory does not grow with the file, and in another process
(`guarded_process.py`), as a damaged file may crash Arrow. `datasets` itself is not needed.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from genner.data.base import ReadLog, Syntax
from genner.data.column_survey import tag_spelling
from genner.data.column_values import MAX_TAG_VALUES
from genner.data.guarded_process import STALLED, GuardError, StallError, guarded, on_disk
from genner.data.hf_rows import SPACED, SPACES, RowShape, entity_spans, feature_names, place_tokens, tag_name
from genner.data.records import DocumentBuilder, JsonRecord, RecordSpan, optional, record_losses
from genner.data.tags import AS_CONLLEVAL, Scheme, SchemeCheck, Spelling
from genner.data.tags import spans as spans_of
from genner.document import Document, group_of
from genner.errors import DataError, DocumentError
from genner.extras import require
from genner.writing import atomic

ROW_GROUP_SIZE = 1000  # per row group in writing
_SPLITS = frozenset(("train", "test", "validation", "valid", "val", "dev"))


@dataclass(frozen=True)
class HuggingFace(Syntax):
    """Parquet files, or a saved folder.

    Options: `split` reads one split of a folder that has several, `all` reads them all; `tokens`, `tags`, `text`,
    `entities`, `id` and `group` are the names of columns; `names` lists the tags' names, in the order of their numbers,
    when the file does not; `scheme`, `outside` and `label` say how tags are read, as for `conll`.

    A row whose tokens, tags, text or entities are missing is an error: missing does not mean that there are none.
    """

    name: ClassVar[str] = "hf"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    split: str = ""
    tokens: str = "tokens"
    tags: str = "ner_tags"
    text: str = "text"
    entities: str = "entities"
    id: str = "id"
    group: str = "group"
    names: str = ""
    scheme: Literal["auto", "iob2", "iob1", "bioes", "io", "bare"] = "auto"
    outside: str = "O"
    label: str = ""

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        if source.is_dir():
            return any(
                _is_data(child) or child.name in ("dataset_dict.json", "state.json") for child in source.iterdir()
            )
        return head.startswith((b"PAR1", b"ARROW1")) or (source.name.endswith(".arrow") and head[:4] == b"\xff" * 4)

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        row = 0
        parts = [source] if source.is_file() else self._chosen(source)
        spelling: Spelling | None = None
        check = self.check()
        for part in parts:
            shape: RowShape | None = None
            for item in self._guarded("rows", part, read_log, self._wanted):
                if shape is None:
                    shape = self.shape(part, *item)
                    if shape.tagged:
                        self.note_others([c for c in item[1] if c.endswith("ner_tags")], part, read_log)
                    if shape.tagged and spelling is None:
                        names = shape.names or self._values(parts, read_log)
                        spelling = self.spelling(names, part, read_log) if names else None
                    continue
                for record in item:
                    row += 1
                    if builder.starts_group(record.get(self.tokens)):
                        continue
                    try:
                        text, spans = self.row(record, shape, spelling or Spelling(), check, row)
                    except DocumentError as error:
                        read_log.error("bad row", part, str(error), row)
                        continue
                    group = group_of({"group": record.get(self.group)})
                    document = builder.build_row(row, text, spans, record.get(self.id), group)
                    if document is not None:
                        yield document
        self.tell(check, source, read_log)

    @property
    def _wanted(self) -> list[str]:
        return [self.id, self.tokens, self.tags, self.text, self.entities, self.group, *SPACED, *SPACES]

    def check(self) -> SchemeCheck:
        """A checker for tag sequences that break the scheme."""
        return SchemeCheck(None if self.scheme == "auto" else self.scheme)

    def tell(self, check: SchemeCheck, source: Traversable, read_log: ReadLog) -> None:
        """Record what the check has found as an error."""
        if check.broken:
            count, where, what = check.broken
            read_log.error("tag sequence", source, f"row {where}, {what}", instead=AS_CONLLEVAL, count=count)

    def note_others(self, columns: list[str], source: Traversable, read_log: ReadLog) -> None:
        """Note which other columns hold tags."""
        for column in columns:
            if column != self.tags:
                how = f"--from {self.name}:tags={column} reads it instead"
                read_log.note(source, f"column {column!r} holds tags too and is not read; {how}")

    def _guarded(self, function: str, part: Traversable, read_log: ReadLog, *args: Any) -> Iterator[Any]:
        """The items that a function of `arrow.py` yields for a file. A broken file is an error, and iteration ends."""
        require("pyarrow")  # if only the other process missed it, the file would seem broken
        try:
            with on_disk(part) as path:
                yield from guarded(f"genner.data.arrow:{function}", str(path), *args)
        except StallError as error:
            read_log.error("broken file", part, f"{error}; {STALLED}, or fetch it again")
        except GuardError as error:
            read_log.error("broken file", part, f"is not a whole parquet or arrow file: {error}; fetch it again")

    def _chosen(self, folder: Traversable) -> list[Traversable]:
        parts = list(_parts(folder))
        # A split is a folder (`save_to_disk`) or the start of a file name (`train-00000-of-00001.parquet`).
        names = [str(p).removeprefix(str(folder)).lstrip("/") for p in parts]
        words = [set(re.split(r"[-./]", name)) for name in names]
        wanted = self.split if self.split != "all" else ""
        found = [p for p, has in zip(parts, words, strict=True) if not wanted or wanted in has]
        if not found:
            there = ", ".join(names) or "no data files"
            raise DataError(str(folder), f"has no data of split {self.split!r}; it has: {there}")
        splits = sorted(set().union(*words) & _SPLITS)
        if not self.split and len(splits) > 1:
            say = f"--from {self.name}:split={splits[-1]}, or split=all for all"
            what = f"holds the splits {', '.join(splits)}; say which: {say}"
            raise DataError(str(folder), what)
        return found

    def shape(self, part: Traversable, features: JsonRecord, columns: list[str]) -> RowShape:
        """How the rows of a file are read. Raises `DataError` when a column is missing."""
        if {self.text, self.entities} <= set(columns):
            return RowShape(False, [])
        if not {self.tokens, self.tags} <= set(columns):
            what = (
                f"columns are {', '.join(sorted(columns))}; needed: {self.tokens!r} and {self.tags!r}, or "
                f"{self.text!r} and {self.entities!r}; name them, as with --from {self.name}:tokens=words,tags=tags "
                "(text=, entities=)"
            )
            raise DataError(str(part), what)
        names = self.names.split(",") if self.names else feature_names(features.get(self.tags))
        return RowShape(True, [str(name) for name in names])

    def _values(self, parts: list[Traversable], read_log: ReadLog) -> list[str]:
        """The distinct tags of all files, if they are strings."""
        quiet = ReadLog(lenient=True)  # the actual reading reports errors
        return sorted(
            {v for part in parts for vs in self._guarded("values", part, quiet, self.tags, MAX_TAG_VALUES) for v in vs}
        )

    def spelling(self, names: list[str], part: Traversable, read_log: ReadLog) -> Spelling:
        """How a file spells its tags, given all of them. Raises `DataError` when that cannot be determined."""
        return tag_spelling(set(names), self.scheme, self.outside, self.label, part, read_log, self.name)

    def row(
        self, record: JsonRecord, shape: RowShape, spelling: Spelling, check: SchemeCheck, number: int
    ) -> tuple[Any, list[RecordSpan]]:
        """Text and entities of a row; its tags are added to `check` under its number.

        Raises `DocumentError` when the row lacks them.
        """
        first, second = (self.tokens, self.tags) if shape.tagged else (self.text, self.entities)
        for column in (first, second):
            if record[column] is None:
                raise DocumentError(
                    f"{column!r} is null: unknown, not empty; leave the row out, or read with --lenient"
                )
        if not shape.tagged:
            return record[self.text], entity_spans(record[self.entities])
        tokens, tags = record[self.tokens], record[self.tags]
        for name, values in ((self.tokens, tokens), (self.tags, tags)):
            if not isinstance(values, list):
                raise DocumentError(f"{name!r} is {type(values).__name__}, not a list")
        for at, token in enumerate(tokens, 1):
            if not isinstance(token, str):
                found = "null" if token is None else type(token).__name__
                raise DocumentError(f"token {at} is {found}, not a string")
        if len(tokens) != len(tags):
            raise DocumentError(f"{len(tokens)} tokens have {len(tags)} tags")
        normal = []
        for at, given in enumerate(tags, 1):
            if given is None:
                raise DocumentError(f"tag {at} is null: unknown, not 'O'")
            tag = tag_name(given, shape.names)
            if not spelling.fits(tag):
                raise DocumentError(
                    f"tag {at}, {tag!r}, is not spelt as the others are; --from {self.name}:scheme=bare reads every "
                    f"tag as a label, outside={tag} says that this one is none"
                )
            normal.append(spelling.normal(tag))
        if tokens and tokens[0] == "[CLS]":
            raise DocumentError(
                "token 1 is '[CLS]': these are pieces of a model's tokenizer, not words; give the words"
            )
        text, places = place_tokens(record, tokens)
        scheme: Scheme | None = "bare" if spelling.form == "bare" else None
        if scheme is None:
            check.add(normal, number)
        return text, [RecordSpan(places[a][0], places[b - 1][1], label) for a, b, label in spans_of(normal, scheme)]

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        pa, parquet = optional("pyarrow", "hf"), optional("pyarrow.parquet", "hf")
        entity = {"start": pa.int64(), "end": pa.int64(), "label": pa.string(), "score": pa.float64()}
        columns = {self.id: pa.string(), self.text: pa.string(), self.entities: pa.list_(pa.struct(entity.items()))}
        columns[self.group] = pa.string()
        string, number = _value("string"), _value("int64")
        shape = {"start": number, "end": number, "label": string, "score": _value("float64")}
        features = {self.id: string, self.text: string, self.entities: [shape], self.group: string}
        schema = pa.schema(columns.items(), metadata={"huggingface": json.dumps({"info": {"features": features}})})
        rows, count = (self._record(d, read_log) for d in documents), 0
        with atomic(target) as file, parquet.ParquetWriter(file, schema, write_page_checksum=True) as writer:
            while batch := list(islice(rows, ROW_GROUP_SIZE)):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count += len(batch)
        return count

    def _record(self, document: Document, read_log: ReadLog) -> JsonRecord:
        record_losses(document, read_log, scores=False, group=False)
        made = [{"start": e.start, "end": e.end, "label": e.label, "score": e.score} for e in document.entities]
        group = document.group or None
        return {self.id: document.id, self.text: document.text, self.entities: made, self.group: group}


def hub(name: str) -> Path:
    """Fetch a data set of the hub into its cache, as parquet files; returns the folder, to be read with `split`.

    The hub keeps a parquet copy of every public data set at the revision `refs/convert/parquet`, including those made
    by a script. Raises `DataError` when it cannot be fetched.
    """
    hub_client = optional("huggingface_hub", "hf")
    try:
        fetched = hub_client.snapshot_download(
            name, repo_type="dataset", revision="refs/convert/parquet", allow_patterns="*.parquet"
        )
    except (OSError, ValueError, hub_client.errors.HfHubHTTPError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"hf://{name}", f"cannot be fetched from the hub: {first}") from None
    return Path(fetched)


def _is_data(file: Traversable) -> bool:
    return file.name.endswith((".parquet", ".arrow"))


def _parts(source: Traversable) -> Iterator[Traversable]:
    """The data files of a folder and its subfolders, sorted by path."""
    if source.is_file():
        yield source
        return
    for child in sorted(source.iterdir(), key=lambda c: c.name):
        # `map` and `filter` leave their caches beside the data.
        if child.is_dir() or (_is_data(child) and not child.name.startswith("cache-")):
            yield from _parts(child)


def _value(kind: str) -> JsonRecord:
    return {"dtype": kind, "_type": "Value"}
