"""Turns: how several threads share one model.

A model, its tokenizer and what a decoder keeps between passes are changed by a pass, so one pass runs at a time. A
thread holds the model for one pass only, never while it waits for its caller: a stream that nobody reads further blocks
nobody.
"""

from collections import deque
from threading import Lock
from types import TracebackType


class Turns:
    """A lock that serves threads in the order in which they came; a context manager. It is not re-entrant.

    A plain lock may be taken again at once by the thread that just released it, so a long stream could keep others
    waiting without end.
    """

    def __init__(self) -> None:
        self._state = Lock()  # guards the two below, for a moment
        self._taken = False
        self._waiting: deque[Lock] = deque()  # one gate for each thread that waits, opened when its turn comes

    def __enter__(self) -> None:
        with self._state:
            if not self._taken:
                self._taken = True
                return
            gate = Lock()
            gate.acquire()
            self._waiting.append(gate)
        try:
            gate.acquire()
        except BaseException:  # Ctrl-C while waiting: leave the queue, or pass on a turn that came meanwhile
            with self._state:
                if gate in self._waiting:
                    self._waiting.remove(gate)
                    raise
            self._next()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._next()

    def _next(self) -> None:
        with self._state:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
