"""An engine that need not answer again what it answered before it was interrupted."""

from collections import deque
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Protocol

from genner.engines.base import Engine, Generation, Request


class AnswerCache(Protocol):
    """Where answers are kept while the document that they belong to is unfinished."""

    def take(self, key: str) -> Generation | None:
        """An answer that an earlier run kept under this key, each once, in the order in which they were kept."""
        ...

    def keep(self, key: str, generation: Generation) -> None:
        """Keep an answer of this run."""
        ...


class CachingEngine:
    """Answers as `engine` does, and hands its answers to `memory`; what is there already, it takes from there.

    A request is known by what it asks: instruction, text, whether it is constrained. The memory has to belong to one
    model and one way of decoding.
    """

    def __init__(self, engine: Engine, memory: AnswerCache) -> None:
        self.engine, self.memory, self.name = engine, memory, engine.name

    @property
    def window(self) -> int | None:
        return self.engine.window

    def measure(self, instruction: str, text: str) -> int:
        return self.engine.measure(instruction, text)

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Generation]:
        order: deque[tuple[str, Generation | None]] = deque()  # of what was asked and not yet answered

        def missing() -> Iterator[Request]:
            for request in requests:
                key = key_of(request)
                known = self.memory.take(key)
                order.append((key, known))
                if known is None:
                    yield request

        def first_known() -> Iterator[Generation]:
            while order and (known := order[0][1]) is not None:
                order.popleft()
                yield known

        for generation in self.engine.generate(missing(), batch_size=batch_size):
            yield from first_known()
            self.memory.keep(order.popleft()[0], generation)
            yield generation
        yield from first_known()


def key_of(request: Request) -> str:
    """What tells a request from another."""
    asked = "\0".join((request.instruction, request.text, str(request.constrained)))
    return blake2b(asked.encode("utf-8"), digest_size=16).hexdigest()
