"""Signals that ask a command to stop: SIGTERM and SIGHUP are treated as Ctrl-C is."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

_STOP = tuple(
    number
    for name in ("SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None))  # Windows lacks SIGHUP
)


class Interrupted(KeyboardInterrupt):
    """A signal asks the command to stop, as Ctrl-C does; `said` is the message for the user."""

    def __init__(self, number: int, said: str = "interrupted; what was finished is kept") -> None:
        super().__init__(said)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` on SIGTERM and SIGHUP, unless the parent process set them to be ignored (nohup)."""
    owner = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker has nothing to clean up
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise Interrupted(number)

    with _handled({number: stop for number in _STOP if signal.getsignal(number) == signal.SIG_DFL}):
        yield


@contextmanager
def ending() -> Iterator[None]:
    """Ignore further signals while a stopped command prints its last line."""
    with _handled(dict.fromkeys((signal.SIGINT, *_STOP), signal.SIG_IGN)):
        yield


@contextmanager
def _handled(handlers: Mapping[int, Callable[[int, FrameType | None], Any] | signal.Handlers]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
