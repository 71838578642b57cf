"""Files beside an unfinished output, so that a later run can resume it and cannot mix two systems in it.

`<output>.part.state` is beside `<output>.part`. Its first line describes the system that began the output (the model,
the labels, the format ...); each further line is a model answer for the unfinished document, so that a long document
resumes where it stopped. When the output is complete, `<output>.meta` describes the system that wrote it.
"""

import json
import os
from collections import defaultdict, deque
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from genner.engines.answer_cache import DAMAGED, generation_from_json, generation_to_json
from genner.engines.base import Generation
from genner.errors import DataError
from genner.writing import write_atomic

RunSignature = Mapping[str, Any]


def differences(before: RunSignature, now: RunSignature) -> list[str]:
    """The differences of two systems in words: `labels PER, now LOC`."""
    said = []
    for key in dict.fromkeys([*before, *now]):
        then, today = before.get(key), now.get(key)
        if isinstance(then, Mapping) and isinstance(today, Mapping):
            if list(then.items()) == list(today.items()):  # order matters: a prompt lists labels in it
                continue
            if list(then) != list(today):
                said.append(f"{key} {','.join(then)}, now {','.join(today)}")
            else:
                said.append(f"other definitions of {key} {','.join(k for k in then if then[k] != today[k])}")
        elif then != today:
            said.append(f"{key} {_value(then)}, now {_value(today)}")
    return said


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(value)
    return "not said" if value is None else str(value)


def read_about(meta: Path, output: Path) -> dict[str, Any] | None:
    """The system that wrote a finished output, by its `.meta`; None if that lacks it, or belongs to another file."""
    try:
        about = json.loads(meta.read_text(encoding="utf-8"))
        return about if about.pop("bytes") == output.stat().st_size else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_about(meta: Path, about: RunSignature, size: int) -> None:
    """Record which system wrote an output of `size` bytes. Raises `DataError`."""
    write_atomic(meta, json.dumps({**about, "bytes": size}, ensure_ascii=False, indent=1) + "\n", alone=True)


class ResumeFile:
    """The file beside an unfinished output; the memory of a `genner.engines.answer_cache.CachingEngine`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: dict[str, Any] | None = None
        """The system that began the output; None while unknown."""
        self.holder = "another process"
        """The process that began it."""
        self.answers = 0
        """Number of answers in the file."""
        self._known: dict[str, deque[Generation]] = defaultdict(deque)
        self._head = self._end = 0  # bytes: of the first line, of all complete lines
        self._file: FileIO | None = None

    def read(self) -> None:
        """Read the file, if it exists; a torn last line is ignored. Raises `OSError`."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    record = json.loads(line)
                    if self.about is None:
                        self.about = dict(record["about"])
                        self.holder = f"process {int(record['process'])}"
                        self._head = len(line)
                    else:
                        self._known[str(record["key"])].append(generation_from_json(record))
                        self.answers += 1
                except DAMAGED:
                    return  # what follows cannot be trusted; the model is asked again
                self._end += len(line)

    def begin(self, about: RunSignature) -> None:
        """Record which system begins the output. Raises `DataError`."""
        line = json.dumps({"about": dict(about), "process": os.getpid()}).encode() + b"\n"
        write_atomic(self.path, line, alone=True)
        self.about, self.answers, self._head, self._end = dict(about), 0, len(line), len(line)
        self._known.clear()
        self.resume()

    def resume(self) -> None:
        """Continue after the lines read. Raises `OSError`."""
        self._file = FileIO(self.path, "ab")
        self._file.truncate(self._end)

    def take(self, key: str) -> Generation | None:
        """See `genner.engines.answer_cache.AnswerCache`."""
        known = self._known.get(key)
        return known.popleft() if known else None

    def keep(self, key: str, generation: Generation) -> None:
        """See `genner.engines.answer_cache.AnswerCache`. Raises `DataError` when the disk is full."""
        assert self._file is not None
        rest = memoryview(_line(key, generation))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise DataError(
                str(self.path), f"cannot be written: {error.strerror}; make room, then go on with --resume"
            ) from None
        self.answers += 1

    def forget(self) -> None:
        """Drop the answers: their document is finished."""
        assert self._file is not None
        if self.answers:
            self._file.truncate(self._head)
            self.answers = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _line(key: str, generation: Generation) -> bytes:
    return json.dumps({"key": key, **generation_to_json(generation)}).encode() + b"\n"
