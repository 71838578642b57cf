"""The answers that were paid for, on disk: a killed run asks for none of them again, nor does another run.

The key is a hash of all that decides an answer: the address, the model and what the server says of it, and the body of
the request, with prompt, parameters and grammar. No key of an endpoint and no prompt is kept. An answer is written as
soon as it is there, and is then safe from a kill of this process. What a server said of itself is kept as well, so that
the price of a job can be told without asking it.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from genner.engines.answer_cache import DAMAGED, generation_from_json, generation_to_json
from genner.engines.base import Generation
from genner.engines.http.server import KnownServer
from genner.errors import DataError
from genner.paths import home

T = TypeVar("T")

NOT_IN_KEY = frozenset({"stream", "stream_options"})
"""Fields of a request that change how an answer is sent, not what it is."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, made INTEGER, answer TEXT) STRICT",
    "CREATE TABLE IF NOT EXISTS servers (key BLOB PRIMARY KEY, made INTEGER, answer TEXT) STRICT",
)


def default_path() -> Path:
    """`answers.sqlite` in the folder of genner: `$GENNER_HOME`, or `~/.cache/genner`."""
    return home() / "answers.sqlite"


class AnswerStore:
    """Answers by the requests that they were given to. One thread uses it; several processes may share the file.

    Raises `DataError` when the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            for table in _TABLES:
                self._db.execute(table)
        except (OSError, sqlite3.Error) as error:
            raise self._broken(error) from None

    @classmethod
    def of(cls, cache: str, *, make: bool = True) -> "AnswerStore | None":
        """The store that the option `cache` names; None for `none`, and where there is no file yet unless `make`."""
        path = Path(cache) if cache else default_path()
        return cls(path) if cache != "none" and (make or path.exists()) else None

    def get(self, key: bytes) -> Generation | None:
        """The answer that was kept under this key."""
        return self._get("answers", key, _fitting)

    def put(self, key: bytes, generation: Generation) -> None:
        """Keep an answer."""
        self._put("answers", key, generation_to_json(generation))

    def get_server(self, key: bytes) -> KnownServer | None:
        """What is known of a server, kept under this key."""
        return self._get("servers", key, KnownServer.from_json)

    def put_server(self, key: bytes, server: KnownServer) -> None:
        """Keep what is known of a server."""
        self._put("servers", key, server.to_json())

    def _get(self, table: str, key: bytes, read: Callable[[dict[str, Any]], T]) -> T | None:
        try:
            row = self._db.execute(f"SELECT answer FROM {table} WHERE key = ?", (key,)).fetchone()
            return None if row is None else read(json.loads(row[0]))
        except (sqlite3.Error, RecursionError, *DAMAGED) as error:
            raise self._broken(error) from None

    def _put(self, table: str, key: bytes, record: Mapping[str, Any]) -> None:
        try:
            values = key, int(time.time()), json.dumps(record)
            self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", values)
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def close(self) -> None:
        self._db.close()

    def _broken(self, error: Exception) -> DataError:
        return DataError(
            str(self.path),
            f"cannot serve as cache of answers ({error}); give another file, where there is room and leave to write, "
            "with --engine-option cache=FILE; or remove this one, if it is damaged; or give cache=none",
        )


def _fitting(record: dict[str, Any]) -> Generation:
    """The answer of a record. Raises one of `DAMAGED`, also for log-probabilities that do not fit their answer."""
    made = generation_from_json(record)
    if len(made.ends) != len(made.logprobs) or not all(0 < end <= len(made.answer) for end in made.ends):
        raise ValueError("log-probabilities that do not fit their answer")
    return made


def key_of(url: str, identity: str, body: Mapping[str, Any]) -> bytes:
    """The key of a request."""
    asked = [url, identity, {name: value for name, value in body.items() if name not in NOT_IN_KEY}]
    return blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=16).digest()
