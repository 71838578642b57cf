"""A fair lock with which several threads share one model.

A pass changes the model's cache, the tokenizer's settings and what a decoder keeps, so one pass runs at a time. A
thread holds the model for one pass only, never while it waits for its caller, so a stream whose reader pauses does not
block others.
"""

from collections import deque
from threading import Lock
from types import TracebackType


class Turns:
    """A lock that serves threads in the order in which they came; a context manager. It is not re-entrant.

    The thread that releases a plain lock may take it again at once, so a long stream could starve the others.
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
