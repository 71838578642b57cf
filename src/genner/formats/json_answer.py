"""Reading what a model wrote as JSON and should not have: broken, wrapped in prose, cut off, with mentions changed."""

import json
import re
from collections.abc import Iterator
from typing import Any

from rapidfuzz import fuzz

from genner.document import Entity, Problem

CLOSE_ENOUGH = 85.0  # similarity, in percent, from which a changed mention is taken for a stretch of the text

_KEYED_LIST = re.compile(r'"([^"\\]+)"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(strict=False)


def find_objects(answer: str) -> tuple[list[dict[str, Any]], list[Problem]]:
    """All innermost JSON objects in an answer, in order, wherever they stand; and what is wrong with the answer.

    So an answer that is cut off, or has one bad item, loses that item only.
    """
    problems = [_verdict(answer)]
    objects: list[dict[str, Any]] = []
    at = answer.find("{")
    while at >= 0:
        value, end = _object(answer, at)
        if value is None:
            nested = answer.find("{", at + 1)
            closes = answer.find("}", at + 1)
            if closes >= 0 and (nested < 0 or closes < nested):
                problems.append(Problem("dropped", f"item {answer[at : closes + 1]!r} is not JSON"))
            at = nested
        else:
            inner = [v for v in _values(value) if isinstance(v, dict)]
            objects += inner if inner else [value]
            at = answer.find("{", end)
    return objects, problems


def find_lists(answer: str) -> tuple[list[tuple[str, list[Any]]], list[Problem]]:
    """All `"key": [value, ...]` in an answer, in order, wherever they stand; and what is wrong with the answer.

    A list that is cut off, or goes wrong, loses what comes after.
    """
    problems = [_verdict(answer)]
    lists: list[tuple[str, list[Any]]] = []
    at = 0
    while match := _KEYED_LIST.search(answer, at):
        key, at = match.group(1), match.end()
        values: list[Any] = []
        while (at := _BETWEEN.match(answer, at).end()) < len(answer) and answer[at] != "]":  # type: ignore[union-attr]
            try:
                value, at = _DECODER.raw_decode(answer, at)
            except (ValueError, RecursionError):
                problems.append(Problem("dropped", f"{key}: {answer[at : at + 40]!r} is not JSON"))
                break
            values.append(value)
        lists.append((key, values))
    return lists, problems


def _values(value: Any) -> Iterator[Any]:
    """What lists and objects hold, at any depth."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield inner
        yield from _values(inner)


def _object(answer: str, at: int) -> tuple[dict[str, Any] | None, int]:
    try:
        value, end = _DECODER.raw_decode(answer, at)
    except (ValueError, RecursionError):
        return None, at
    return value, end


def _verdict(answer: str) -> Problem:
    """What is wrong with an answer as a whole, which is known not to be legal."""
    try:
        json.loads(answer)
    except (ValueError, RecursionError) as error:
        # "Expecting value", "unterminated string" at the very end: it stopped too early.
        cut = isinstance(error, json.JSONDecodeError) and error.pos >= len(answer.rstrip())
        begun = answer.lstrip()[:1] in ("[", "{")
        started = isinstance(error, json.JSONDecodeError) and error.msg.startswith("Unterminated")
        if begun and (cut or started):
            return Problem("truncated", f"the JSON ends too early: {error}")
        return Problem("invalid", f"the answer is not JSON: {error}")
    return Problem("invalid", "the JSON is not what the format prescribes for this text")


def occurrences(text: str, mention: str) -> Iterator[int]:
    """Where `mention` begins in `text`, overlapping occurrences included."""
    at = text.find(mention)
    while at >= 0:
        yield at
        at = text.find(mention, at + 1)


def place(
    text: str, mention: str, label: str, start: int | None, problems: list[Problem], look_up: bool = True
) -> list[Entity]:
    """The entity of a mention that ought to begin at `start` (None: not known): one, or none if the text lacks it.

    Without `look_up`, none either if it is not there.
    """
    if start is not None and text.startswith(mention, start):
        return [Entity(start, start + len(mention), label)]
    if not look_up:
        problems.append(Problem("dropped", f"{label} {mention!r} is not where the answer says"))
        return []
    found = list(occurrences(text, mention))
    if found:
        at = min(found, key=lambda place: abs(place - (start or 0)))
        problems.append(Problem("realigned", f"{label} {mention!r} placed at {at}"))
        return [Entity(at, at + len(mention), label)]
    span = _similar(text, mention)
    if span is None:
        problems.append(Problem("dropped", f"{label} {mention!r} is not in the text"))
        return []
    problems.append(Problem("realigned", f"{label} {mention!r} read as {text[slice(*span)]!r} at {span[0]}"))
    return [Entity(*span, label)]


def _similar(text: str, mention: str) -> tuple[int, int] | None:
    """The stretch of the text most like a mention: with another spacing or case, or else with few changes."""
    words = r"\s*".join(map(re.escape, mention.split()))
    if words and (match := re.search(words, text) or re.search(words, text, re.IGNORECASE)):
        return match.span()
    found = fuzz.partial_ratio_alignment(mention, text, score_cutoff=CLOSE_ENOUGH)
    # It slides the shorter along the longer: only a mention within the text is of use.
    if found is None or len(mention) > len(text) or found.dest_start >= found.dest_end:
        return None
    start, end = found.dest_start, found.dest_end
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None
