"""Native readers in a separate process: if a damaged file crashes them, only that process ends.

`guarded(function, path)` runs a module's generator function there and yields its items. The process is reused for the
next file, unless it crashed, hung or was left with much of a file unread.
"""

import atexit
import importlib
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from genner.data.file_opening import open_binary
from genner.errors import GennerError

STALL_TIMEOUT = 60.0
"""Seconds without an item after which a reader counts as hanging."""
START_TIMEOUT = 120.0
"""Seconds that the process may take to start, and then again to yield the first item: readers import large packages."""

STALLED = "the machine is busy or the file is damaged; try again"
"""What to tell whoever gave the file of a reader that stalled."""

_LENGTH = struct.Struct("<Q")
_COMMAND = "from genner.data.guarded_process import serve; serve()"


class GuardError(Exception):
    """A native reader that failed: the message says how."""


class StallError(GuardError):
    """A native reader that is still running after the time that it has: the file is damaged, or the machine is busy."""


def guarded(function: str, *args: Any) -> Iterator[Any]:
    """The items that the generator function `module:name`, called with `args`, yields in another process.

    Arguments and items are pickled. Raises `GuardError` when it raises or crashes, and `StallError` when it yields
    nothing for `STALL_TIMEOUT` seconds, before the first item for `START_TIMEOUT`; genner's own errors are raised
    unchanged.
    """
    worker = _idle.pop() if _idle else _Worker()
    try:
        worker.send((function, args))
        wait = START_TIMEOUT
        while True:
            kind, value = worker.receive(wait)
            if kind == "item":
                wait = STALL_TIMEOUT
                yield value
            elif kind != "ready":
                break
    except GeneratorExit:
        worker.leave()
        raise
    except BaseException:
        worker.kill()
        raise
    _idle.append(worker)
    if kind == "error":
        raise value if isinstance(value, GennerError) else GuardError(value)


@contextmanager
def on_disk(source: Traversable) -> Iterator[Path]:
    """A path to the unpacked data of `source`, for readers that need one."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            if file.read(2) != b"\x1f\x8b":
                yield source
                return
    with tempfile.NamedTemporaryFile(prefix="genner-") as copy:
        with open_binary(source) as file:
            file.seek(0)
            while data := file.read(1 << 20):
                copy.write(data)
        copy.flush()
        yield Path(copy.name)


class _Worker:
    def __init__(self) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONFAULTHANDLER": ""},
        )

    def send(self, request: Any) -> None:
        assert self._process.stdin is not None
        data = pickle.dumps(request)
        try:
            self._process.stdin.write(_LENGTH.pack(len(data)) + data)
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None

    def receive(self, wait: float) -> tuple[str, Any]:
        """The next frame: its kind and its value."""
        until = time.monotonic() + wait
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, until, wait))
        frame: tuple[str, Any] = pickle.loads(self._read(length, until, wait))
        return frame

    def _read(self, size: int, until: float, wait: float) -> bytes:
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        pieces: list[bytes] = []
        while size:
            ready, _, _ = select.select([fd], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise StallError(f"its reader gave nothing for {wait:g} seconds")
            data = os.read(fd, min(size, 1 << 20))
            if not data:
                raise self._ended()
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)

    def _ended(self) -> GuardError:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        return GuardError(f"its reader crashed ({how})")

    def leave(self) -> None:
        """Keep the process for the next file if little of this one is left; else end it."""
        with suppress(GuardError):
            for _ in range(4):
                if self.receive(1.0)[0] in ("end", "error"):
                    _idle.append(self)
                    return
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()


_idle: list[_Worker] = []


@atexit.register
def _close() -> None:
    while _idle:
        _idle.pop().close()


os.register_at_fork(after_in_child=_idle.clear)  # a forked child must not use its parent's process


# In the other process


def serve() -> None:
    """Answer requests on standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900")  # a damaged file may request all memory
    # Output that native code prints must not be read as an answer.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def answer(kind: str, value: Any = None) -> None:
        data = pickle.dumps((kind, value))
        out.write(_LENGTH.pack(len(data)) + data)
        out.flush()

    while head := sys.stdin.buffer.read(_LENGTH.size):
        function, args = pickle.loads(sys.stdin.buffer.read(_LENGTH.unpack(head)[0]))
        module, _, name = function.partition(":")
        try:
            call = getattr(importlib.import_module(module), name)
            answer("ready")
            for item in call(*args):
                answer("item", item)
            answer("end")
        except BrokenPipeError:
            return
        except GennerError as error:
            answer("error", error)
        except Exception as error:
            answer("error", f"{type(error).__name__}: {str(error).strip() or 'no more is known'}".splitlines()[0])
