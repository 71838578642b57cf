"""The answers that were paid for, on disk: a killed run asks for none of them again, nor does another run.

The key is a hash of all that decides an answer: the address, the model and what the server says of it, and the body of
the request, with prompt, parameters and grammar. No key of an endpoint and no prompt is kept. An answer is written as
soon as it is there, and is then safe from a kill of this process.
"""

import base64
import json
import sqlite3
import time
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from genner.engines.base import Generation, Usage
from genner.errors import DataError
from genner.paths import home

NOT_IN_KEY = frozenset({"stream", "stream_options"})
"""Fields of a request that change how an answer is sent, not what it is."""


_TABLE = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, made INTEGER, answer TEXT) STRICT"


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
            self._db.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise self._broken(error) from None

    def get(self, key: bytes) -> Generation | None:
        """The answer that was kept under this key."""
        try:
            row = self._db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            return None if row is None else _generation(json.loads(row[0]))
        except (sqlite3.Error, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise self._broken(error) from None

    def put(self, key: bytes, generation: Generation) -> None:
        """Keep an answer."""
        record = json.dumps(_record(generation), ensure_ascii=True)
        try:
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (key, int(time.time()), record))
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def close(self) -> None:
        self._db.close()

    def _broken(self, error: Exception) -> DataError:
        return DataError(
            str(self.path),
            f"cannot serve as cache of answers ({error}); give another file with --engine-option cache=FILE, remove "
            "this one, or give cache=none",
        )


def key_of(url: str, identity: str, body: Mapping[str, Any]) -> bytes:
    """The key of a request."""
    asked = [url, identity, {name: value for name, value in body.items() if name not in NOT_IN_KEY}]
    return blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=16).digest()


def _record(generation: Generation) -> dict[str, Any]:
    usage = generation.usage
    return {
        "answer": base64.b64encode(generation.answer).decode(),
        "ends": generation.ends,
        "logprobs": generation.logprobs,
        "complete": generation.complete,
        "problems": generation.problems,
        "usage": None if usage is None else [usage.prompt_tokens, usage.completion_tokens],
    }


def _generation(record: Mapping[str, Any]) -> Generation:
    """The answer of a record. Raises one of several errors for a damaged one."""
    usage, answer = record["usage"], base64.b64decode(record["answer"])
    ends, logprobs = tuple(map(int, record["ends"])), tuple(map(float, record["logprobs"]))
    if len(ends) != len(logprobs) or not all(0 < end <= len(answer) for end in ends):
        raise ValueError("log-probabilities that do not fit their answer")
    return Generation(
        answer,
        ends,
        logprobs,
        bool(record["complete"]),
        problems=tuple(map(str, record["problems"])),
        usage=None if usage is None else Usage(int(usage[0]), int(usage[1]), cached=True),
    )
