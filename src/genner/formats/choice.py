"""The grammar of a question with a fixed set of answers, such as yes and no."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from genner.errors import UsageError
from genner.grammar import NO_PROPOSALS, Grammar, GrammarEntity, Need, Proposals, State


class ChoiceGrammar:
    """The answers are `choices`, and nothing else. A state is what was written, as bytes.

    Raises `UsageError` when there is no choice, or an empty one.
    """

    def __init__(self, choices: Sequence[str]) -> None:
        if not choices or not all(choices):
            raise UsageError(f"choices {list(choices)!r}; legal: one answer or more, none of them empty")
        self.choices = tuple(choices)
        self._written = tuple(choice.encode() for choice in choices)

    def start(self) -> State:
        return b""

    def edges(self, state: State) -> list[tuple[int, State]]:
        before = cast(bytes, state)
        rest = [
            choice[len(before)]
            for choice in self._written
            if len(choice) > len(before) and choice[: len(before)] == before
        ]
        return [(byte, before + bytes([byte])) for byte in dict.fromkeys(rest)]

    def final(self, state: State) -> bool:
        return state in self._written

    def draft(self, state: State, limit: int, proposals: Proposals = NO_PROPOSALS) -> bytes:
        """The rest of the first choice that can still be written."""
        before = cast(bytes, state)
        return next((choice[len(before) :] for choice in self._written if choice.startswith(before)), b"")

    def read(self, answer: bytes) -> tuple[GrammarEntity, ...] | None:
        """No entities for a choice; None for anything else."""
        return () if answer in self._written else None

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.choices, 1),)


@dataclass(frozen=True, slots=True)
class ChoiceGrammarSource:
    """The grammar of these choices; implements `genner.engines.base.GrammarSource`."""

    choices: tuple[str, ...]

    def grammar(self) -> Grammar:
        """The automaton."""
        return ChoiceGrammar(self.choices)

    def to_json(self) -> dict[str, Any]:
        """As JSON types; `genner.formats.grammar_source.grammar_source_from_json` reads them back."""
        return {"choices": list(self.choices)}

    def gbnf(self) -> str:
        """One rule in the notation of llama.cpp."""
        return f"root ::= {' | '.join(json.dumps(choice, ensure_ascii=False) for choice in self.choices)}\n"

    def json_schema(self) -> dict[str, Any] | None:
        """None: the answers are not JSON."""
        return None
