"""An engine without weights: answers come from a function. For tests and demonstrations of the layers above engines."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from genner.engines.base import Answered, Capabilities, Generation, Request, SingleModel

log = logging.getLogger(__name__)


class ScriptedEngine(SingleModel):
    """Answers each request with the result of `script`.

    Args:
        script: request -> answer, or None to copy the text plainly. The answer is used unchanged, legal or not.
        window: the simulated context window, one token per character.
    """

    name = "scripted"
    capabilities = Capabilities("exact", logprobs=True, weights=False)

    def __init__(self, script: Callable[[Request], str | None] = lambda _: None, window: int | None = None) -> None:
        self._script, self._window = script, window

    @classmethod
    def load(cls, *_: Any, **__: Any) -> "ScriptedEngine":
        """An engine that copies every text plainly, for any model."""
        log.warning("the engine 'scripted' is for tests: it runs no model, and finds no entity in any text")
        return cls()

    @property
    def window(self) -> int | None:
        return self._window

    def measure(self, instruction: str, text: str) -> int:
        return len(instruction) + len(text)

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        for request in requests:
            said = self._script(request)
            answer = request.grammar.draft(request.grammar.start(), 1 << 30) if said is None else said.encode()
            yield request, Generation(answer, (len(answer),) if answer else (), (0.0,) if answer else ())
