"""The way down from a grammar that a server refuses, or that a format does not have, to none."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from genner.engines.base import Generation, Request
from genner.engines.http.failures import Refused, SetAside
from genner.engines.http.options import Structured
from genner.engines.http.structured import ServerKind, fields

log = logging.getLogger(__name__)

TRIED = 3  # requests whose grammar is refused, with none accepted, before no more is sent

AskInMode = Callable[[Structured, dict[str, Any]], Awaitable[Generation]]
"""Asks for the answer in a mode, with these fields. Raises `Refused` if the server does not take the request."""


@dataclass
class _Standing:
    """How often a mode was accepted and refused."""

    accepted: int = 0
    refused: int = 0


class ModeLadder:
    """The modes of structured output, the best first, and what the server made of each.

    A server may refuse the grammar of one long text and take all others. So a refused grammar is left out of its
    request; only where the first `TRIED` are refused, and none is taken, does the mode go for good.

    Attributes:
        steps: the modes; the last is `none`.
    """

    def __init__(self, steps: tuple[Structured, ...], kind: ServerKind, counts: Counter[str]) -> None:
        self.steps = steps
        self._kind, self._counts = kind, counts
        self._standing = {step: _Standing() for step in steps}
        self._told: set[str] = set()

    async def descend(self, request: Request, ask: AskInMode) -> Generation:
        """The answer in the best mode that the server takes. Raises `SetAside` if it takes the request in none."""
        refused: dict[Structured, Refused] = {}
        for mode in self.steps if request.constrained else ("none",):
            # Writing a grammar takes up to some tenths of a second, in which the replies of others are to be read.
            more = {} if mode == "none" else await asyncio.to_thread(self._fields, mode, request)
            if more is None:
                continue
            try:
                generation = await ask(mode, dict(more))
            except Refused as error:
                # A refused grammar costs nothing. If the request is refused without one too, something else is wrong.
                refused[mode] = error
                continue
            if mode in self._standing:
                self._standing[mode].accepted += 1
            for other in refused:
                self._standing[other].refused += 1
            return self._told_of(generation, mode, refused) if request.constrained else generation
        last = list(refused.values())[-1]
        raise SetAside("refused", f"the server refuses the request: {last.reason}")

    def _fields(self, mode: Structured, request: Request) -> Mapping[str, Any] | None:
        """The fields of a mode; None where it is of no use."""
        standing = self._standing[mode]
        if (standing.refused >= TRIED and not standing.accepted) or request.grammar_source is None:
            return None
        return fields(mode, self._kind, request.grammar_source)

    def _told_of(self, generation: Generation, mode: Structured, refused: Mapping[Structured, Refused]) -> Generation:
        """The answer, with what is to be said of the way to it; it is counted, and logged once."""
        self._counts["refused grammar"] += bool(refused)
        if mode != "none":
            return generation
        self._counts["without grammar"] += 1
        if not refused:
            self._log("the server takes no grammar of such answers; they are aligned with their texts and repaired")
            return generation
        reason = next(iter(refused.values())).reason
        self._log(f"the server refuses a grammar ({reason}); such answers are aligned with their texts and repaired")
        said = f"the server refused the grammar, and the answer was written without: {reason}"
        return replace(generation, problems=(said, *generation.problems))

    def _log(self, said: str) -> None:
        kind = said[:20]
        if kind not in self._told:
            self._told.add(kind)
            log.warning(said)
