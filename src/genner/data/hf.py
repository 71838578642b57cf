"""Data sets of the Hugging Face: parquet files, folders made by `save_to_disk`, ids on the hub. Needs the extra `hf`.

Two layouts of columns are read: tokens with a tag each (`tokens`, `ner_tags`, the tags' names from the features stored
in the file), and text with spans (`text`, `entities`: a list of `{"start", "end", "label"}` in code points). The second
is written, and is exact. Rows come in batches, so memory does not grow with the file. `datasets` itself is not needed.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from genner.data.base import Journal, Syntax, open_binary
from genner.data.records import Intake, Record, Span, optional, unkept
from genner.data.tags import spans as tagged
from genner.data.tokens import join
from genner.data.writing import atomic
from genner.document import Document
from genner.errors import DataError, DocumentError

ROWS = 1000  # in a batch, and in a row group that is written


@dataclass(frozen=True)
class HuggingFace(Syntax):
    """Parquet files, or a saved folder.

    Options: `split` reads one split of a folder that has several; `tokens`, `tags`, `text`, `entities` and `id` are the
    names of columns; `names` lists the tags' names, in the order of their numbers, when the file does not.
    """

    name: ClassVar[str] = "hf"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    split: str = ""
    tokens: str = "tokens"
    tags: str = "ner_tags"
    text: str = "text"
    entities: str = "entities"
    id: str = "id"
    names: str = ""

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        if source.is_dir():
            return any(
                _is_data(child) or child.name in ("dataset_dict.json", "state.json") for child in source.iterdir()
            )
        return head.startswith(b"PAR1")

    def read(self, source: Traversable, journal: Journal) -> Iterator[Document]:
        intake = Intake(source, journal)
        row = 0
        for part in [source] if source.is_file() else self._chosen(source):
            for features, batch in _batches(part, journal):
                columns = set(features) | set(batch[0] if batch else ())
                for record in batch:
                    row += 1
                    try:
                        text, spans = self._row(record, features, columns)
                    except DocumentError as error:
                        journal.fault("bad row", part, str(error), row)
                        continue
                    document = intake.document(row, text, spans, record.get(self.id))
                    if document is not None:
                        yield document

    def _chosen(self, folder: Traversable) -> list[Traversable]:
        parts = list(_parts(folder))
        # A split is a folder (`save_to_disk`) or begins a file's name (`train-00000-of-00001.parquet`).
        names = [str(p).removeprefix(str(folder)).lstrip("/") for p in parts]
        found = [
            p for p, name in zip(parts, names, strict=True) if not self.split or self.split in re.split(r"[-./]", name)
        ]
        if not found:
            there = ", ".join(names) or "no data files"
            raise DataError(str(folder), f"has no data of split {self.split!r}; it has: {there}")
        return found

    def _row(self, record: Record, features: Record, columns: set[str]) -> tuple[Any, list[Span]]:
        if self.text in columns and self.entities in columns:
            return record[self.text], _spans(record[self.entities])
        if not {self.tokens, self.tags} <= columns:
            raise DocumentError(
                f"columns are {', '.join(sorted(columns))}; needed: {self.tokens!r} and {self.tags!r}, or "
                f"{self.text!r} and {self.entities!r}; give other names with the options tokens, tags, text, entities"
            )
        tokens, tags = record[self.tokens] or [], record[self.tags] or []
        if len(tokens) != len(tags):
            raise DocumentError(f"{len(tokens)} tokens have {len(tags)} tags")
        names = self.names.split(",") if self.names else _names(features.get(self.tags))
        text, places = join(tokens)
        spans = [Span(places[a][0], places[b - 1][1], label) for a, b, label in tagged([_tag(t, names) for t in tags])]
        return text, spans

    def write(self, documents: Iterable[Document], target: Path, journal: Journal) -> int:
        pa, parquet = optional("pyarrow", "hf"), optional("pyarrow.parquet", "hf")
        entity = {"start": pa.int64(), "end": pa.int64(), "label": pa.string(), "score": pa.float64()}
        columns = {self.id: pa.string(), self.text: pa.string(), self.entities: pa.list_(pa.struct(entity.items()))}
        string, number = _value("string"), _value("int64")
        shape = {"start": number, "end": number, "label": string, "score": _value("float64")}
        features = {self.id: string, self.text: string, self.entities: [shape]}
        schema = pa.schema(columns.items(), metadata={"huggingface": json.dumps({"info": {"features": features}})})
        rows, count = (self._record(d, journal) for d in documents), 0
        with atomic(target) as file, parquet.ParquetWriter(file, schema) as writer:
            while batch := list(islice(rows, ROWS)):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count += len(batch)
        return count

    def _record(self, document: Document, journal: Journal) -> Record:
        unkept(document, journal, scores=False)
        made = [{"start": e.start, "end": e.end, "label": e.label, "score": e.score} for e in document.entities]
        return {self.id: document.id, self.text: document.text, self.entities: made}


def hub(name: str) -> Path:
    """Fetch a data set of the hub into its cache, as parquet files; returns the folder, to be read with `split`.

    The hub keeps a parquet copy of every public data set at the revision `refs/convert/parquet`, also of those that are
    made by a script. Raises `DataError` when it cannot be fetched.
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
    """The data files of a folder and those below it, in the order of their paths."""
    if source.is_file():
        yield source
        return
    for child in sorted(source.iterdir(), key=lambda c: c.name):
        # Caches of `map` and `filter` lie beside the data in a folder that was loaded from.
        if child.is_dir() or (_is_data(child) and not child.name.startswith("cache-")):
            yield from _parts(child)


def _batches(part: Traversable, journal: Journal) -> Iterator[tuple[Record, list[Record]]]:
    """The features of a file (empty when it has none) and its rows, a batch at a time."""
    pa, parquet = optional("pyarrow", "hf"), optional("pyarrow.parquet", "hf")
    with open_binary(part) as file:
        try:
            if part.name.endswith(".arrow"):
                batches = iter(pa.ipc.open_stream(file))
                schema = batches.schema
            else:
                opened = parquet.ParquetFile(file)
                schema, batches = opened.schema_arrow, opened.iter_batches(ROWS)
            features = _features(schema.metadata)
            for batch in batches:
                yield features, batch.to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            first = str(error).strip().splitlines()[0]
            journal.fault("broken file", part, f"is not a whole parquet or arrow file: {first}; fetch it again")


def _features(metadata: dict[bytes, bytes] | None) -> Record:
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _names(feature: Any) -> list[str]:
    """The names of a `ClassLabel`, wrapped in a list or not; none for other features."""
    while isinstance(feature, list | dict) and "names" not in feature:
        inner = feature[0] if isinstance(feature, list) and feature else None
        feature = feature.get("feature") if isinstance(feature, dict) else inner
    return feature["names"] if isinstance(feature, dict) else []


def _tag(tag: Any, names: list[str]) -> str:
    if isinstance(tag, str):
        return tag
    if type(tag) is not int or not 0 <= tag < len(names):
        known = ",".join(names) or "none in the file"
        raise DocumentError(f"tag {tag!r} has no name; names: {known}; give them with the option names=O,B-PER,...")
    return names[tag]


def _spans(given: Any) -> list[Span]:
    if isinstance(given, dict):  # a `Sequence` of objects was long kept as an object of lists
        given = [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]
    if not isinstance(given or [], list) or not all(isinstance(e, dict) for e in given or []):
        raise DocumentError("the entities are not a list of objects with start, end and label")
    return [Span(e.get("start"), e.get("end"), e.get("label"), None, e.get("score")) for e in given or []]


def _value(kind: str) -> Record:
    return {"dtype": kind, "_type": "Value"}
