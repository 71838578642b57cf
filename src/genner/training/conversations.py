"""General conversations, mixed with entity data so that a model keeps its other abilities.

A file is JSON Lines; a line is a conversation in one of three forms:

    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]}
    {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello!"}]}
    {"instruction": "Translate into German.", "input": "Hello", "output": "Hallo"}

Turns alternate between user and assistant, optionally after a system turn. The loss is taken on all of the assistant's
turns: each is computed anyway, and in many collections the last one only says goodbye.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genner.data.json_stream import json_lines
from genner.errors import DataError, DocumentError
from genner.training.batching import Batch, Example, bucket

Conversation = tuple[tuple[str, str], ...]
"""The turns as (role, text); the last is the assistant's."""

CHAT_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "human": "user", "gpt": "assistant"}
"""By the name of a turn's speaker in a file, the role in chat templates."""


def read_conversations(path: Path) -> Iterator[tuple[Conversation, bool]]:
    """The conversations of a UTF-8 file, each with whether it is whole; blank lines are skipped.

    A conversation that ends with a user's turn is not whole; that turn is dropped. Turns are stripped of surrounding
    whitespace, as in most chat templates. Raises `DataError`, with the line number, for a line that is no conversation.
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
    """The turns as given, at least one. Raises `DocumentError`."""
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
    """The turns, if chat templates accept their order. Raises `DocumentError`."""
    roles = [role for role, _ in turns]
    legal = ["user", "assistant"] * (len(roles) // 2)
    if not legal or roles != (["system", *legal] if len(roles) % 2 else legal):
        raise DocumentError(
            f"has the turns {', '.join(roles) or 'of a user alone'}; legal: user, assistant, user, assistant ..., "
            "a system turn before them or not"
        )
    return turns


def grouped(conversations: Sequence[tuple[list[int], list[bool]]], budget: int) -> Iterator[Batch]:
    """Conversations, as `Chat.conversation` returns them, in groups of similar length; see `genner.training.batching`.

    A group's prefix is what all its conversations share before their first answers: mostly the head of the template.
    """
    firsts = [said.index(True) for _, said in conversations]
    head = _shared([ids for ids, _ in conversations], firsts)
    for indices in bucket([len(ids) - 1 - head for ids, _ in conversations], budget):
        shared = _shared([conversations[i][0] for i in indices], [firsts[i] for i in indices])
        # A prefix needs at least one token. If none is shared (a template may begin with the user), each has its own.
        for hand, length in [(indices, shared)] if shared else [([i], firsts[i] - 1) for i in indices]:
            pairs = [_pair(*conversations[i], firsts[i], length) for i in hand]
            yield Batch(conversations[hand[0]][0][:length], pairs)


def _shared(some: Sequence[list[int]], firsts: Sequence[int]) -> int:
    """Length of the common prefix; at least one token of each is left between it and the first answer."""
    if not some:
        return 0
    low, high = min(some), max(some)  # their common prefix is that of all
    longest = min(firsts) - 1
    return next((i for i in range(longest) if low[i] != high[i]), longest)


def _pair(ids: list[int], said: list[bool], first: int, prefix: int) -> Example:
    spoken = tuple(said[first:])
    return Example(ids[prefix:first], ids[first:], () if all(spoken) else spoken)
