"""Rows of parquet and Arrow files, fully validated before use. `guarded` runs this in its own process."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

BATCH_ROWS = 1000  # in a batch


def rows(path: str, wanted: list[str]) -> Iterator[Any]:
    """First `(features, columns)`, the data set's description of its columns and their names; then lists of rows.

    Rows hold only those `wanted` columns that exist. Raises Arrow's errors on a broken file.
    """
    schema, batches = _open(path, wanted)
    yield _features(schema.metadata), schema.names
    for batch in batches:
        batch.validate(full=True)
        yield from (batch.slice(at, BATCH_ROWS).to_pylist() for at in range(0, batch.num_rows, BATCH_ROWS))


def values(path: str, column: str, most: int) -> Iterator[Any]:
    """Yield one list: the distinct values in a column of lists of strings, at most `most`."""
    pa, compute = import_module("pyarrow"), import_module("pyarrow.compute")
    schema, batches = _open(path, [column])
    found: set[str] = set()
    kind = schema.field(column).type if column in schema.names else None
    if kind is not None and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        for batch in batches:
            batch.validate(full=True)
            items = compute.list_flatten(batch.column(batch.schema.get_field_index(column)))
            if len(found) > most or not (pa.types.is_string(items.type) or pa.types.is_large_string(items.type)):
                break
            found.update(value for value in compute.unique(items).to_pylist() if value is not None)
    yield sorted(found)


def _open(path: str, wanted: list[str]) -> tuple[Any, Iterator[Any]]:
    """The schema of the whole file, and its batches with the wanted columns."""
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    with Path(path).open("rb") as file:
        head = file.read(6)
    if head.startswith(b"PAR1"):
        table = parquet.ParquetFile(path, page_checksum_verification=True)
        return table.schema_arrow, table.iter_batches(
            BATCH_ROWS, columns=[c for c in wanted if c in table.schema_arrow.names]
        )
    if head == b"ARROW1":  # Arrow's file format, which Feather uses too
        whole = pa.ipc.open_file(path)
        return whole.schema, _chosen((whole.get_batch(at) for at in range(whole.num_record_batches)), wanted)
    reader = pa.ipc.open_stream(pa.OSFile(path))
    return reader.schema, _chosen(iter(reader), wanted)


def _chosen(batches: Iterator[Any], wanted: list[str]) -> Iterator[Any]:
    for batch in batches:
        batch.validate(full=True)
        yield batch.select([name for name in wanted if name in batch.schema.names])


def _features(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}
