"""Answers that are kept: as JSON, and an engine that reuses those of an interrupted run."""

import base64
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from genner.engines.base import Answered, Capabilities, Engine, Generation, Request, Usage


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
    The memory must belong to one model and one decoding method.
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


def generation_to_json(generation: Generation) -> dict[str, Any]:
    """An answer as JSON types; `generation_from_json` reads it back."""
    usage = generation.usage
    return {
        "answer": base64.b64encode(generation.answer).decode(),
        "ends": generation.ends,
        "logprobs": generation.logprobs,
        "complete": generation.complete,
        "passes": generation.passes,
        "computed": generation.computed,
        "problems": generation.problems,
        "usage": None if usage is None else [usage.prompt_tokens, usage.completion_tokens],
    }


def generation_from_json(record: Mapping[str, Any]) -> Generation:
    """The answer, its usage marked as cached. Raises one of `DAMAGED` for a damaged record."""
    usage = record["usage"]
    return Generation(
        base64.b64decode(record["answer"]),
        tuple(map(int, record["ends"])),
        tuple(map(float, record["logprobs"])),
        bool(record["complete"]),
        int(record.get("passes", 0)),
        int(record.get("computed", 0)),
        problems=tuple(map(str, record["problems"])),
        usage=None if usage is None else Usage(int(usage[0]), int(usage[1]), cached=True),
    )


DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
