"""The rules, and the JSON schemas, of the JSON formats: mentions as stretches of the text, written word by word.

    w<start>_<end>   a mention that begins here, written up to this end: go on, or close the quotation
    w<end>           the same, with the beginning forgotten
    from<start>      a mention that begins here or later

A rule for each beginning and end would be a square of the text, and engines take minutes to compile that. So a list's
mentions are remembered whole for their first words only, then by their end: the rules stay linear in the text. What is
given up is that the numbers of a long mention follow from its beginning, and that it is more than punctuation. Its
words, its place in the order, and that flat entities do not overlap are kept. Grouped lists may have punctuation too.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from genner.document import LabelSet
from genner.grammar import Boundaries, boundaries, first_ends
from genner.rules import Part, Rules

Parts = tuple[Part, ...]
Table = dict[str, tuple[Parts, ...]]
Position = Callable[[str, int, int], dict[str, int]]
Rough = Callable[[str, Sequence[int], Sequence[int]], tuple[Table, Callable[[int], Parts]]]
"""From a text and the places where entities may start and end: rules for what an item says of its place where only the
mention's end is known; and, by that end, what it says."""

EXACT_WORDS = 3  # of a mention, in texts of any length
EXACT_RULES = 600  # that short texts may have for mentions of more words


def list_rules(text: str, labels: LabelSet, position: Position, rough: Rough, where: Boundaries, depth: int) -> Rules:
    """Rules for a list of items in reading order; `position` and `rough` give the keys behind text and label."""
    flat = depth == 1
    starts, ends = _places(text, where)
    first, after = _next(starts, len(text)), _next(ends, len(text))
    earliest = first_ends(text, where, boundaries(text, "any" if where == "any" else "word")[1])
    words = max(EXACT_WORDS, EXACT_RULES // max(1, len(starts)))
    named = Part('", "label": "', "label")

    table: Table = {"list": ((Part("[]"),), (Part('[{"text": "', f"from{first[0]}"),))}
    table["label"] = tuple((Part(tag),) for tag in labels.tags)
    numbers, said = rough(text, starts, ends)
    table |= numbers
    for end in ends:
        last = said(end)
        # Where the next mention may begin: behind this one if they are flat, else where this one began, by `from`.
        closed = (named, Part('", '), *last, Part("}", f"next{end}" if flat else ""))
        table[f"w{end}"] = (closed, *_going(text, end, after, f"w{after[end + 1]}"))
    for start in starts:
        begun: list[Parts] = []
        end, nested = start, () if flat else (Part("", f"next{start}"),)
        for word in range(words):
            if (following := after[end + 1]) > len(text):
                break
            name = f"w{start}_{following}"
            if word:
                table[f"w{start}_{end}"] += ((Part(_spelled(text[end:following]), name),),)
            else:
                begun = [(Part(_spelled(text[start:following]), name),)]
            end = following
            keys = [
                Part(f'{", " if i else ""}"{key}": {n}')
                for i, (key, n) in enumerate(position(text, start, end).items())
            ]
            closed = (named, Part('", '), *keys, Part("}", f"next{end if flat else start}"))
            table[name] = (closed,) if earliest[start] <= end else ()
        if end > start and after[end + 1] <= len(text):
            following = after[end + 1]
            table[f"w{start}_{end}"] += ((Part(_spelled(text[end:following]), f"w{following}"), *nested),)
        table[f"from{start}"] = (*begun, (Part("", f"from{first[start + 1]}"),))
    table |= {f"next{i}": ((Part("]"),), (Part(', {"text": "', f"from{first[i]}"),)) for i in {*starts, *ends}}
    return Rules(table).pruned()


def group_rules(text: str, labels: LabelSet, where: Boundaries) -> Rules:
    """Rules for an object with a list of mentions for each label."""
    tags = labels.tags
    starts, ends = _places(text, where)
    after = _next(ends, len(text))
    table: Table = {"object": ((Part(f'{{"{tags[0]}": [', "list0"),),)}
    for i in range(len(tags)):
        end = Part(f'], "{tags[i + 1]}": [', f"list{i + 1}") if i + 1 < len(tags) else Part("]}")
        table[f"list{i}"] = ((end,), (Part('"', "mention"), Part("", f"more{i}")))
        table[f"more{i}"] = ((end,), (Part(', "', "mention"), Part("", f"more{i}")))
    table["mention"] = tuple(some for start in starts for some in _going(text, start, after, f"w{after[start + 1]}"))
    for place in ends:
        table[f"w{place}"] = ((Part('"'),), *_going(text, place, after, f"w{after[place + 1]}"))
    return Rules(table).pruned()


def _going(text: str, place: int, after: Sequence[int], name: str) -> tuple[Parts, ...]:
    """The text from a place to the next end, and on to a rule; nothing where no end follows."""
    end = after[place + 1]
    return ((Part(_spelled(text[place:end]), name),),) if end <= len(text) else ()


def _places(text: str, where: Boundaries) -> tuple[list[int], list[int]]:
    """Where entities may start, and where they may end; with `strict`, where words do."""
    starts, ends = boundaries(text, "any" if where == "any" else "word")
    return [i for i, free in enumerate(starts) if free], [i for i, free in enumerate(ends) if free]


def _next(places: Sequence[int], length: int) -> list[int]:
    """For each of 0..length + 1, the first of the places from there on; `length + 1` where there is none.

    No rule has this name, so a choice that leads to it is pruned.
    """
    first, some = [length + 1] * (length + 2), iter(reversed(places))
    place = next(some, None)
    for i in range(length, -1, -1):
        first[i] = first[i + 1]
        if i == place:
            first[i], place = i, next(some, None)
    return first


def counted(name: str, numbers: Sequence[int]) -> Table:
    """Rules `<name><i>`: one of the first i + 1 numbers."""
    return {
        f"{name}{i}": ((Part(str(number)),), *(((Part("", f"{name}{i - 1}"),),) if i else ()))
        for i, number in enumerate(numbers)
    }


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
