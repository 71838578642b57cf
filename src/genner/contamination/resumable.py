"""Stores a signal's computed items one by one, so that an interrupted run resumes after the last item.

`FOLDER/<signal>.jsonl` has a line per item, `{"key": ..., "value": ...}`, written immediately and with one call. A key
is a hash of everything that the value depends on except the model, which is fixed per folder (`run`).
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from genner.data.json_stream import json_lines
from genner.errors import DataError

ItemListener = Callable[[str, int, int], None]
"""Callback for progress: what is being done, the number of items done, and the total."""


class ResumableItems:
    """The items of one signal: in a file if there is a folder, else only in memory.

    Raises `DataError` naming a line that is not such an item; an incomplete last line of a killed process is dropped.
    """

    def __init__(self, path: Path | None = None, watch: ItemListener = lambda what, done, total: None) -> None:
        self._path, self._watch = path, watch
        self._values: dict[str, Any] = {}
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as file:
                file.truncate(whole)
        for number, item in json_lines(path, fix="delete the file"):
            try:
                self._values[item["key"]] = item["value"]
            except (KeyError, TypeError) as error:
                raise DataError(str(path), f"is not an item of a signal ({error!r}); delete the file", number) from None

    def fill(
        self, what: str, asked: Sequence[Any], compute: Callable[[list[int]], Iterable[tuple[int, Any]]]
    ) -> list[Any]:
        """The value of each of `asked` (JSON types, from which the key is computed), in order.

        `compute` receives the indices of missing items and yields (index, value) in any order; equal items are computed
        once. `what` is passed to `watch`.
        """
        keys = [key_of([what, each]) for each in asked]
        first = {key: i for i, key in reversed([*enumerate(keys)])}
        todo = [i for key, i in first.items() if key not in self._values]
        done = len(first) - len(todo)
        self._watch(what, done, len(first))
        if todo:
            with self._appending() as write:
                for place, value in compute(sorted(todo)):
                    write({"key": keys[place], "value": value})
                    self._values[keys[place]] = value
                    done += 1
                    self._watch(what, done, len(first))
        return [self._values[key] for key in keys]

    def _appending(self) -> "_Append":
        return _Append(self._path)


class _Append:
    """Appends lines to a file; without a path, writes nothing."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("ab") if path is not None else None

    def __enter__(self) -> Callable[[Any], None]:
        return self._write

    def _write(self, item: Any) -> None:
        if self._file is not None:
            self._file.write(json.dumps(item, ensure_ascii=False).encode("utf-8") + b"\n")
            self._file.flush()

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()


def key_of(value: Any) -> str:
    """A hash of JSON types, the same on every machine."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return blake2b(written.encode("ascii"), digest_size=12).hexdigest()


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Batches of indices of rows of similar length, longest first; each padded batch has so many tokens or one row."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
