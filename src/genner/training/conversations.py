"""General conversations, mixed with entity data so that a model keeps what else it can do.

A file is JSON Lines; a line is a conversation in one of three forms:

    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]}
    {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello!"}]}
    {"instruction": "Translate into German.", "input": "Hello", "output": "Hallo"}

Turns go user, assistant, user, assistant ..., with or without a system turn before them. The loss is taken on all of
the assistant's turns: each is computed anyway, and in many collections the last one only says goodbye.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genner.data.json_stream import json_lines
from genner.errors import DataError, DocumentError
from genner.training.batching import Batch, Example, bucket

Conversation = tuple[tuple[str, str], ...]
"""(role, text) turn by turn, the last one the assistant's."""

CHAT_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "human": "user", "gpt": "assistant"}
"""What a turn's speaker may be called, and what the chat templates call it."""


def read_conversations(path: Path) -> Iterator[tuple[Conversation, bool]]:
    """The conversations of a file in UTF-8, blank lines skipped, and of each whether it is whole.

    It is not where it ended with a user's turn, which is left out. Space around a turn's text is, too, as most chat
    templates do. Raises `DataError`, with the line, for what is no conversation.
    """
    for number, record in json_lines(path):
        try:
            if not isinstance(record, dict):
                raise DocumentError(f"is a JSON {type(record).__name__}; legal: one object a line")
            turns = _turns(record)
            last = 1 if turns[-1][0] == "user" else 0
            yield _checked(turns[: len(turns) - last]), not last
        except DocumentError as error:
            raise DataError(str(path), str(error), number) from None


def _turns(record: Mapping[str, Any]) -> Conversation:
    """The turns as they are given, of which there is one at least. Raises `DocumentError`."""
    for key, role, text in (("messages", "role", "content"), ("conversations", "from", "value")):
        if key in record:
            turns = record[key]
            if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
                raise DocumentError(f"{key!r} is not a list of objects with {role!r} and {text!r}, one at least")
            return tuple((_role(turn.get(role), i), _text(turn.get(text), i)) for i, turn in enumerate(turns, 1))
    if "instruction" not in record or "output" not in record:
        raise DocumentError("has none of: 'messages'; 'conversations'; 'instruction' and 'output'")
    if record.get("history"):
        raise DocumentError("has a 'history', which is not read; write the conversation as 'messages'")
    asked, more = record["instruction"], record.get("input") or ""
    if isinstance(asked, str) and isinstance(more, str) and more.strip():
        asked = f"{asked.strip()}\n\n{more.strip()}"
    said = (("user", _text(asked, 1)), ("assistant", _text(record["output"], 2)))
    return (("system", _text(record["system"], 0)), *said) if record.get("system") else said


def _role(given: Any, turn: int) -> str:
    if not isinstance(given, str) or given not in CHAT_ROLES:
        raise DocumentError(f"turn {turn} is by {given!r}; legal: {', '.join(CHAT_ROLES)}")
    return CHAT_ROLES[given]


def _text(given: Any, turn: int) -> str:
    if not isinstance(given, str):
        raise DocumentError(f"turn {turn} says {given!r}, which is no text")
    if not given.strip():
        raise DocumentError(f"turn {turn} is empty")
    if not given.isascii() and any("\ud800" <= c <= "\udfff" for c in given):
        raise DocumentError(f"turn {turn} holds half a character (a lone surrogate)")
    return given.strip()


def _checked(turns: Conversation) -> Conversation:
    """The turns, if they go as templates take them. Raises `DocumentError`."""
    roles = [role for role, _ in turns]
    legal = ["user", "assistant"] * (len(roles) // 2)
    if not legal or roles != (["system", *legal] if len(roles) % 2 else legal):
        raise DocumentError(
            f"has the turns {', '.join(roles) or 'of a user alone'}; legal: user, assistant, user, assistant ..., "
            "a system turn before them or not"
        )
    return turns


def grouped(conversations: Sequence[tuple[list[int], list[bool]]], budget: int) -> Iterator[Batch]:
    """Conversations, each as `Chat.conversation` gives it, in groups of like length; see `genner.training.batching`.

    What all of a group have in common before their first answers is its prefix: the head of the template, mostly.
    """
    firsts = [said.index(True) for _, said in conversations]
    head = _shared([ids for ids, _ in conversations], firsts)
    for indices in bucket([len(ids) - 1 - head for ids, _ in conversations], budget):
        shared = _shared([conversations[i][0] for i in indices], [firsts[i] for i in indices])
        # A prefix has a token at least. Where a template begins with the user's words, none need be shared.
        for hand, length in [(indices, shared)] if shared else [([i], firsts[i] - 1) for i in indices]:
            pairs = [_pair(*conversations[i], firsts[i], length) for i in hand]
            yield Batch(conversations[hand[0]][0][:length], pairs)


def _shared(some: Sequence[list[int]], firsts: Sequence[int]) -> int:
    """How many tokens all begin with, one at least left for each before its first answer."""
    if not some:
        return 0
    low, high = min(some), max(some)  # what these two share, all share
    longest = min(firsts) - 1
    return next((i for i in range(longest) if low[i] != high[i]), longest)


def _pair(ids: list[int], said: list[bool], first: int, prefix: int) -> Example:
    spoken = tuple(said[first:])
    return Example(ids[prefix:first], ids[first:], () if all(spoken) else spoken)
