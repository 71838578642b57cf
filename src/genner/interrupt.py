"""Stops long work at a place where it can be resumed."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TOLD = b"\nstopping after this step; Ctrl-C once more stops at once, and what came after the last checkpoint is lost\n"


class Interrupt:
    """Whether the run was asked to stop."""

    def __init__(self) -> None:
        self.wanted = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Context in which SIGINT and SIGTERM stop the run after its current step; a second one stops it at once."""
        self.wanted = False
        if threading.current_thread() is not threading.main_thread():  # signals can be handled only there
            yield
            return

        def stop(*_: object) -> None:
            if self.wanted:
                raise KeyboardInterrupt
            self.wanted = True
            os.write(2, TOLD)  # not sys.stderr, whose own write the signal may have come in

        before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
