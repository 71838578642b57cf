"""What the beginning of a JSON file tells: its first values, the keys of its first object, whether it is broken."""

import json
from typing import Any

from genner.data.json_stream import CHUNK, head_layout, json_value
from genner.errors import DocumentError

FIRST = 50  # values at the start of a file that are used to recognize it


def first_values(head: bytes) -> tuple[Any, ...]:
    """The first values of a file that `head` holds completely, at most 50.

    If the first object is incomplete in `head`: an object with its keys, all values None.
    """
    keys = () if (found := _whole_values(head)) else sorted(top_keys(head[:CHUNK]))
    return found or ((dict.fromkeys(keys),) if keys else ())


def broken_json(head: bytes) -> tuple[str, int] | None:
    """The error, with its line, of a file that begins with `{` or `[` and whose first value is not JSON; else None.

    Only JSON Lines are checked, and only if `head` holds the whole first line.
    """
    text = head.lstrip()
    if text[:1] not in (b"{", b"[") or head_layout(head) != "lines":
        return None
    first, ended, _ = text.partition(b"\n")
    if not ended and len(head) >= CHUNK:
        return None
    try:
        json_value(first)
    except DocumentError as error:
        return str(error), 1 + head[: len(head) - len(text)].count(b"\n")
    return None


def breaks_off(head: bytes) -> bool:
    """Whether a file that begins with `head` seems to be JSON whose first value continues beyond `head`."""
    return head.lstrip()[:1] in (b"{", b"[") and not _whole_values(head) and bool(top_keys(head[:4096]))


def _whole_values(head: bytes) -> tuple[Any, ...]:
    text = head.decode("utf-8", "replace").lstrip()
    if text[:1] not in ("{", "["):
        return ()
    found: list[Any] = []
    at = 1 if head_layout(head) == "list" else 0
    decoder = json.JSONDecoder()
    try:
        while len(found) < FIRST:
            while at < len(text) and text[at] in " \t\r\n,":
                at += 1
            value, at = decoder.raw_decode(text, at)
            found.append(value)
    except (ValueError, RecursionError):
        pass
    return tuple(found)


def top_keys(head: bytes) -> set[str]:
    """The keys of the first object in a file that begins with `head`, which may end anywhere."""
    keys: set[str] = set()
    text = head.decode("utf-8", "replace").lstrip()
    top = 2 if text.startswith("[") else 1
    depth, at, string = 0, 0, ""
    while at < len(text):
        char = text[at]
        if char == '"':
            end = at + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            string = text[at + 1 : end]
            at = end
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
            if depth < top:
                break
        elif char == ":" and depth == top:
            keys.add(string)
        at += 1
    return keys if text[:1] in ("{", "[") else set()
