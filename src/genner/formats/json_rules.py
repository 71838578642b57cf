"""The rules, and the JSON schemas, of the JSON formats: mentions as stretches of the text, written word by word.

    w<start>_<end>   a mention that begins here, written up to this end: go on, or close the quotation
    from<start>      a mention that begins here or later

Exact for the lists of flat entities, in reading order. Of nested entities the rules keep the order of the starts, but
may let one be written twice. Grouped lists may hold any mentions in any order.
"""

import json
from collections.abc import Callable
from typing import Any

from genner.document import LabelSet
from genner.grammar import Boundaries, boundaries
from genner.rules import Part, Rules

Table = dict[str, tuple[tuple[Part, ...], ...]]
Position = Callable[[str, int, int], dict[str, int]]


def list_rules(text: str, labels: LabelSet, position: Position, where: Boundaries, depth: int) -> Rules:
    """Rules for a list of items in reading order; `position` gives the keys behind text and label."""

    def close(start: int, end: int) -> tuple[Part, ...]:
        # Where the next mention may begin: behind this one if they are flat, else not before its start.
        after = end if depth == 1 else start
        tail = json.dumps(position(text, start, end))[1:]
        return Part('", "label": "', "label"), Part(f'", {tail}', f"next{after}")

    first = _first_starts(text, where)
    table: Table = {"list": ((Part("[]"),), (Part('[{"text": "', f"from{first[0]}"),))}
    table["label"] = tuple((Part(tag),) for tag in labels.tags)
    table |= _mentions(text, where, close)
    table |= {f"next{i}": ((Part("]"),), (Part(', {"text": "', f"from{s}"),)) for i, s in enumerate(first)}
    return Rules(table).pruned()


def group_rules(text: str, labels: LabelSet, where: Boundaries) -> Rules:
    """Rules for an object with a list of mentions for each label."""
    tags, mention = labels.tags, f"from{_first_starts(text, where)[0]}"
    table: Table = {"object": ((Part(f'{{"{tags[0]}": [', "list0"),),)}
    for i in range(len(tags)):
        end = Part(f'], "{tags[i + 1]}": [', f"list{i + 1}") if i + 1 < len(tags) else Part("]}")
        table[f"list{i}"] = ((end,), (Part('"', mention), Part("", f"more{i}")))
        table[f"more{i}"] = ((end,), (Part(', "', mention), Part("", f"more{i}")))
    return Rules(table | _mentions(text, where, lambda start, end: (Part('"'),))).pruned()


def _mentions(text: str, where: Boundaries, close: Callable[[int, int], tuple[Part, ...]]) -> Table:
    first = _first_starts(text, where)
    _, ends = boundaries(text, where)
    last = [i for i in range(len(text) + 1) if ends[i]]
    after = dict(zip([-1, *last], last, strict=False))  # of an end, the next one
    table: Table = {}
    for start in sorted({*first} - {len(text)}):
        ahead = [e for e in last if e > start]
        begun = ((Part(_spelled(text[start : ahead[0]]), f"w{start}_{ahead[0]}"),),) if ahead else ()
        table[f"from{start}"] = (*begun, (Part("", f"from{first[start + 1]}"),))
        for end in ahead:
            going = ((Part(_spelled(text[end : after[end]]), f"w{start}_{after[end]}"),),) if end in after else ()
            table[f"w{start}_{end}"] = (close(start, end), *going)
    return table


def _first_starts(text: str, where: Boundaries) -> list[int]:
    """For each place, the first one from there on where an entity may start; the length of the text if there is none.

    No rule begins there, so a choice that leads to it is pruned.
    """
    starts, _ = boundaries(text, where)
    first = [len(text)] * (len(text) + 1)
    for i in range(len(text) - 1, -1, -1):
        first[i] = i if starts[i] else first[i + 1]
    return first


def list_schema(text: str, labels: LabelSet, position: Position) -> dict[str, Any]:
    """A list of items, each with the text and the position of one mention, in any order."""
    items = {json.dumps(item): item for item in ({"text": text[s:e], **position(text, s, e)} for s, e in _spans(text))}
    return {"type": "array", "items": {"anyOf": [_object(item, labels) for item in items.values()]}} if items else _NONE


def group_schema(text: str, labels: LabelSet) -> dict[str, Any]:
    """An object with a list of mentions for each label."""
    mentions = list(dict.fromkeys(text[s:e] for s, e in _spans(text)))
    some = {"type": "array", "items": {"enum": mentions}} if mentions else _NONE
    return _closed(dict.fromkeys(labels.tags, some))


_NONE: dict[str, Any] = {"type": "array", "maxItems": 0}


def _object(item: dict[str, Any], labels: LabelSet) -> dict[str, Any]:
    head = {"text": {"const": item["text"]}, "label": {"enum": list(labels.tags)}}
    return _closed(head | {key: {"const": value} for key, value in item.items() if key != "text"})


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _spans(text: str) -> list[tuple[int, int]]:
    starts, ends = boundaries(text, "word")
    return [(s, e) for s in range(len(text)) if starts[s] for e in range(s + 1, len(text) + 1) if ends[e]]


def _spelled(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
