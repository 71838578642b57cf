"""Vectors of a pool of demonstrations on disk, so that each text is encoded once."""

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from genner.document import Span
from genner.few_shot.encoders import Encoder
from genner.few_shot.similarity import Vectors
from genner.paths import home

log = logging.getLogger(__name__)

BLOCK = 256  # texts that are encoded and kept together: what an interruption loses at most


class CachedEncoder:
    """Gives the vectors of `encoder`, and keeps them in a SQLite file; kept ones are not computed again.

    The key of a text's vectors is a hash of the encoder's name, the text, and the spans. Several processes may use one
    file. A file that cannot be used costs time and gives a warning, never the result.

    Args:
        path: the file; by default `$GENNER_HOME/embeddings.sqlite`.
    """

    def __init__(self, encoder: Encoder, path: Path | None = None) -> None:
        self._encoder, self.name = encoder, encoder.name
        self.path = path or home() / "embeddings.sqlite"
        self.computed = 0
        """Texts that were not kept, and were encoded."""

    def sentences(self, texts: Sequence[str]) -> Vectors:
        keys = [_key(self.name, "sentence", text) for text in texts]
        found = self._through(keys, lambda some: [v[None] for v in self._encoder.sentences([texts[i] for i in some])])
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    def spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        keys = [_key(self.name, "spans", text, repr(list(some))) for text, some in zip(texts, spans, strict=True)]
        return self._through(keys, lambda some: self._encoder.spans([texts[i] for i in some], [spans[i] for i in some]))

    def _through(self, keys: Sequence[bytes], compute: Callable[[list[int]], list[Vectors]]) -> list[Vectors]:
        """The vectors of each key: those kept, and those that `compute` makes for the numbers of the others."""
        found: dict[int, Vectors] = {}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as file:
                file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, length INTEGER, data BLOB)")
                for number, key in enumerate(keys):
                    row = file.execute("SELECT length, data FROM vectors WHERE key = ?", (key,)).fetchone()
                    if row is not None:
                        found[number] = np.frombuffer(row[1], np.float32).reshape(row[0], -1)
                for some in self._blocks(keys, found):
                    made = compute(some)
                    found |= zip(some, made, strict=True)
                    self.computed += len(some)
                    rows = [(keys[i], len(v), v.tobytes()) for i, v in zip(some, made, strict=True) if len(v)]
                    file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
                    file.commit()
        except (sqlite3.Error, OSError) as error:
            log.warning(f"the vectors of demonstrations are not kept on disk: {self.path}: {error}")
            for some in self._blocks(keys, found):
                found |= zip(some, compute(some), strict=True)
                self.computed += len(some)
        return [found[i] for i in range(len(keys))]

    @staticmethod
    def _blocks(keys: Sequence[bytes], found: dict[int, Vectors]) -> list[list[int]]:
        missing = [i for i in range(len(keys)) if i not in found]
        return [missing[begin : begin + BLOCK] for begin in range(0, len(missing), BLOCK)]


def _key(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8"), digest_size=16).digest()
