"""Reads faulty JSON answers: broken, wrapped in prose, cut off.

All functions take time linear in the answer: nothing is reread for each place where a value might begin.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from genner.document import Problem

# An object without nested objects. Possessive, so that a failed match costs no more than a successful one.
_OBJECT = re.compile(r'\{(?:[^{}"\\]|"(?:[^"\\]|\\.)*+")*+\}', re.DOTALL)
_KEYED_LIST = re.compile(r'"([^"\\]++)"\s*+:\s*+\[')
_BETWEEN = re.compile(r"[\s,]*+")
_MAX_DIGITS = 20  # of an integer: more than any place in a text has; Python refuses to read 4,300 and more


def _integer(digits: str) -> int:
    """The integer; of one that no place can be, the first digits."""
    return int(digits[:_MAX_DIGITS])


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer)
_NUMBER = re.compile(r"\s*+[+-]?[0-9]{1,15}\s*+")
_SHOWN = 60


class _Pairs(list[tuple[str, Any]]):
    """An object that keeps duplicate keys."""


_PAIRS = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs, parse_int=_integer)


def brief(value: object) -> str:
    """The repr of a value, truncated, for messages."""
    shown = repr(value[: 2 * _SHOWN] if isinstance(value, str) else value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def find_objects(answer: str) -> tuple[list[dict[str, Any]], list[Problem]]:
    """All items anywhere in an answer, in order, and the problems of the answer.

    An item is a JSON object that has a "text", or no other object in it. An answer that is cut off, or has one bad
    item, loses that item only.
    """
    value, problem = _whole(answer, _DECODER)
    problems = [problem]
    if isinstance(value, list | dict):
        return _items(value), problems
    objects: list[dict[str, Any]] = []
    at = answer.find("{")
    while at >= 0:
        match = _OBJECT.match(answer, at)
        try:
            item = _DECODER.decode(match.group()) if match else None
        except (ValueError, RecursionError):
            item = None
        if item is not None:
            objects.append(item)
        elif match:
            problems.append(Problem("malformed", f"item {brief(match.group())} is not JSON"))
        at = answer.find("{", match.end() if match else at + 1)
    return objects, problems


def find_lists(answer: str) -> tuple[list[tuple[str, list[Any]]], list[Problem]]:
    """All `"key": [value, ...]` anywhere in an answer, in order, and the problems of the answer.

    A list that is cut off or malformed loses the rest.
    """
    value, problem = _whole(answer, _PAIRS)
    problems = [problem]
    if isinstance(value, list):
        return list(_keyed(value)), problems
    lists: list[tuple[str, list[Any]]] = []
    at = 0
    while match := _KEYED_LIST.search(answer, at):
        key, at = match.group(1), match.end()
        values: list[Any] = []
        while (at := _BETWEEN.match(answer, at).end()) < len(answer) and answer[at] != "]":  # type: ignore[union-attr]
            try:
                if answer[at] in "[{":  # not a mention; it may contain another list
                    raise ValueError
                value, at = _DECODER.raw_decode(answer, at)
            except ValueError:
                problems.append(Problem("malformed", f"{key}: {brief(answer[at : at + _SHOWN])} is no mention"))
                break
            values.append(value)
        lists.append((key, values))
    return lists, problems


def whole_number(item: Mapping[str, Any], key: str, shown: str, problems: list[Problem]) -> int | None:
    """The whole number that an item of an answer has under a key; None and a problem if it is not a number.

    `"2"` and `2.0` are read as 2, which is a problem, too; `true` and `null` are no numbers.
    """
    value = item[key]
    if type(value) is int:
        return value
    whole: int | None = None
    if (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        whole = int(value)
    read = "is no whole number" if whole is None else f"is read as {whole}"
    problems.append(Problem("invalid", f"{shown}: {key} {brief(value)} {read}"))
    return whole


def load(answer: str) -> Any:
    """The answer as a JSON value; None if it is not JSON, or Python cannot parse it."""
    try:
        return json.loads(answer, parse_int=_integer)
    except (ValueError, RecursionError):
        return None


def _items(value: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    holds: list[bool] = []  # whether each has an object in it
    todo: list[tuple[Any, int]] = [(value, -1)]  # with the number of the object that it is in
    while todo:
        inner, outer = todo.pop()
        if isinstance(inner, dict):
            if outer >= 0:
                holds[outer] = True
            outer = len(found)
            found.append(inner)
            holds.append(False)
            inner = [*inner.values()]
        if isinstance(inner, list):
            todo += ((some, outer) for some in reversed(inner))
    return [item for item, holds_one in zip(found, holds, strict=True) if "text" in item or not holds_one]


def _keyed(value: Any) -> Iterator[tuple[str, list[Any]]]:
    todo: list[Any] = [value]
    while todo:
        inner = todo.pop()
        if isinstance(inner, _Pairs):
            todo += reversed(inner)
        elif isinstance(inner, tuple):
            key, some = inner
            if isinstance(some, list) and not isinstance(some, _Pairs):
                yield key, some
            else:
                todo.append(some)
        elif isinstance(inner, list):
            todo += reversed(inner)


def _whole(answer: str, decoder: json.JSONDecoder) -> tuple[Any, Problem]:
    """The answer as a JSON value, None if it is not JSON, and the problems of the answer, which is known to be
    illegal."""
    try:
        return decoder.decode(answer), Problem("invalid", "the JSON is not what the format prescribes for this text")
    except (ValueError, RecursionError) as error:
        # "Expecting value", "unterminated string" at the very end: it stopped too early.
        cut = isinstance(error, json.JSONDecodeError) and error.pos >= len(answer.rstrip())
        begun = answer.lstrip()[:1] in ("[", "{")
        started = isinstance(error, json.JSONDecodeError) and error.msg.startswith("Unterminated")
        if begun and (cut or started):
            return None, Problem("truncated", f"the JSON ends too early: {error}")
        return None, Problem("invalid", f"the answer is not JSON: {error}")
