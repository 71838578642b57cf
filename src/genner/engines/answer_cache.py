"""An engine that reuses the answers of an interrupted run."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from genner.engines.base import Answered, Capabilities, Engine, Generation, Request


class AnswerCache(Protocol):
    """Stores answers while the document that they belong to is unfinished."""

    def take(self, key: str) -> Generation | None:
        """The next answer that an earlier run kept under this key; each is returned once, in the order kept."""
        ...

    def keep(self, key: str, generation: Generation) -> None:
        """Keep an answer of this run."""
        ...


class CachingEngine:
    """Answers as `engine` does, and keeps its answers in `memory`; stored answers are not generated again.

    The key of a request consists of instruction, text, adapter, and whether it is constrained. Failures are not kept.
    The memory must belong to one
    model and one decoding method.
    """

    def __init__(self, engine: Engine, memory: AnswerCache) -> None:
        self.engine, self.memory, self.name = engine, memory, engine.name

    @property
    def window(self) -> int | None:
        return self.engine.window

    @property
    def capabilities(self) -> Capabilities:
        return self.engine.capabilities

    @property
    def signature(self) -> Mapping[str, str]:
        return self.engine.signature

    def add_adapter(self, name: str, folder: Path | None) -> str:
        return self.engine.add_adapter(name, folder)

    def measure(self, instruction: str, text: str) -> int:
        return self.engine.measure(instruction, text)

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        asked: deque[tuple[Request, str, Generation | None]] = deque()  # in order, with their keys and known answers

        def missing() -> Iterator[Request]:
            for request in requests:
                key = key_of(request)
                known = self.memory.take(key)
                asked.append((request, key, known))
                if known is None:
                    yield request

        def first_known() -> Iterator[Answered]:
            while asked and (known := asked[0][2]) is not None:
                yield asked.popleft()[0], known

        for request, generation in self.engine.generate(missing(), batch_size=batch_size):
            yield from first_known()
            _, key, _ = asked.popleft()
            if not generation.failure:
                self.memory.keep(key, generation)
            yield request, generation
        yield from first_known()


def key_of(request: Request) -> str:
    """The key that identifies a request."""
    asked = "\0".join((request.instruction, request.text, str(request.constrained), *filter(None, [request.adapter])))
    return blake2b(asked.encode("utf-8"), digest_size=16).hexdigest()
