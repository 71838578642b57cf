"""Rules and JSON schemas of the JSON formats: mentions are spans of the text, written word by word.

    at<start>        a mention that begins here
    w<start>_<end>   one that begins here, written up to this end: continue, or close the string
    w<end>           the same, with the start forgotten
    from<start>      a mention that begins here or later
    next<place>      the end of the list, or a mention from here on
    p_<numbers>      the keys of an item after its label

A rule for each start and end would be quadratic in the text, and engines take minutes to compile that. So rules track
start and end of a mention for its first words only, then its end alone: they stay linear in the text. This gives up
that the numbers of a long mention follow from its start, and that it is more than punctuation. Its words, the order,
and non-overlap of flat entities are still enforced. A list ends: each mention lies behind the one before it; of nested
ones, at most `depth` start in one place.

With `repeat`, a list may end in its last item once more, as with `Constraints.allow_trailing_repeat`: otherwise a model
in a loop would be forced to write a wrong one. The automaton allows any earlier item there; rules do not remember it.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from genner.boundaries import Boundaries, boundaries, first_ends, most_mentions
from genner.cfg import ContextFreeGrammar, Symbol
from genner.document import LabelSet

Parts = tuple[Symbol, ...]
RuleTable = dict[str, tuple[Parts, ...]]
Position = Callable[[str, int, int], dict[str, int]]
Rough = Callable[[str, Sequence[int], Sequence[int]], tuple[RuleTable, Callable[[int], Parts]]]
"""Takes a text and the allowed starts and ends. Returns the rules for the position in an item when only the end of its
mention is known, and a function from this end to the parts that write the position."""

EXACT_WORDS = 3  # words of a mention whose start is tracked, in texts of any length
EXACT_RULES = 600  # rules allowed in short texts for longer mentions
REPEATED_WORDS = 8  # longest mention that may be repeated, in places where one may end


def list_rules(
    text: str, labels: LabelSet, position: Position, rough: Rough, where: Boundaries, depth: int, repeat: bool
) -> ContextFreeGrammar:
    """Rules for a list of items in reading order; `position` and `rough` give the keys after text and label.

    A repeated item may have another label.
    """
    flat = depth == 1
    starts, ends = _places(text, where)
    first, after = _next(starts, len(text)), _next(ends, len(text))
    earliest = first_ends(text, where, boundaries(text, "any" if where == "any" else "word")[1])
    words = max(EXACT_WORDS, EXACT_RULES // max(1, len(starts)))
    named = Symbol('", "label": "', "label")

    table: RuleTable = {"list": ((Symbol("[]"),), (Symbol('[{"text": "', f"from{first[0]}"),))}
    table["label"] = tuple((Symbol(tag),) for tag in labels.tags)
    numbers, said = rough(text, starts, ends)
    table |= numbers
    for end in ends:
        item = (named, Symbol('", '), *said(end), Symbol("}", f"next{end}" if flat else ""))
        table[f"w{end}"] = (item, *_going(text, end, after, f"w{after[end + 1]}"))
    for start in starts:
        end, begun = start, f"at{start}"
        table[begun] = ()
        for word in range(words):
            if (following := after[end + 1]) > len(text):
                break
            name = f"w{start}_{following}"
            table[f"w{start}_{end}" if word else begun] += ((Symbol(_spelled(text[end:following]), name),),)
            end = following
            keys = position(text, start, end)
            said_here = Symbol("", "_".join(["p", *map(str, keys.values())]))
            separated = (
                Symbol(f'", "{key}": {n}' if not i else f', "{key}": {n}') for i, (key, n) in enumerate(keys.items())
            )
            table[said_here.rule] = ((*separated, Symbol("}")),)
            closed: tuple[Parts, ...] = ((named, said_here, Symbol("", f"next{end}" if flat else "")),)
            if repeat and flat and word < REPEATED_WORDS:
                again = Symbol(f', {{"text": "{_spelled(text[start:end])}')
                closed += ((named, said_here, again, named, said_here, Symbol("]")),)
            table[name] = closed if earliest[start] <= end else ()
        if end > start and after[end + 1] <= len(text):
            table[f"w{start}_{end}"] += _going(text, end, after, f"w{after[end + 1]}")
    table |= _order(starts, ends, first, depth, Symbol(', {"text": "'), Symbol("]"), repeat)
    return ContextFreeGrammar(table).pruned()


def group_rules(text: str, labels: LabelSet, where: Boundaries, depth: int, repeat: bool) -> ContextFreeGrammar:
    """Rules for an object with a list of mentions for each label. All labels share the rules of a list.

    f<end>: as w<end>, for a mention that is only punctuation so far

    The start of a mention is tracked only where it may be repeated.
    """
    tags = labels.tags
    starts, ends = _places(text, where)
    first, after = _next(starts, len(text)), _next(ends, len(text))
    earliest = first_ends(text, where, boundaries(text, "any" if where == "any" else "word")[1])
    heads = [Symbol(f'{"], " if i else "{"}"{tag}": [', "list") for i, tag in enumerate(tags)]
    table: RuleTable = {"object": ((*heads, Symbol("]}")),), "list": ((Symbol(""),), (Symbol('"', f"from{first[0]}"),))}

    def written(place: int, end: int) -> str:
        """The rule of a mention written from a place, up to which it is empty or punctuation, to an end."""
        return f"{'w' if earliest[place] <= end else 'f'}{end}"

    for end in ends:
        table[f"w{end}"] = (
            (Symbol('"', f"next{end}" if depth == 1 else ""),),
            *_going(text, end, after, f"w{after[end + 1]}"),
        )
        table[f"f{end}"] = _going(text, end, after, written(end, after[end + 1]))
    for start in starts:
        if not (repeat and depth == 1):
            table[f"at{start}"] = _going(text, start, after, written(start, after[start + 1]))
            continue
        name, end = f"at{start}", start
        table[name] = ()
        for _ in range(REPEATED_WORDS):
            if (following := after[end + 1]) > len(text):
                break
            longer = f"w{start}_{following}"
            table[name] += _going(text, end, after, longer)
            name, end = longer, following
            over = ((Symbol('"', f"next{end}"),), (Symbol(f'", "{_spelled(text[start:end])}"'),))
            table[name] = over if earliest[start] <= end else ()
        if (following := after[end + 1]) <= len(text):
            table[name] += _going(text, end, after, written(start, following))
    table |= _order(starts, ends, first, depth, Symbol(', "'), Symbol(""), repeat)
    return ContextFreeGrammar(table).pruned()


def _order(
    starts: Sequence[int],
    ends: Sequence[int],
    first: Sequence[int],
    depth: int,
    more: Symbol,
    over: Symbol,
    repeat: bool,
) -> RuleTable:
    """Rules for which mention may come next, in reading order; `more` begins one, `over` ends the list.

    Flat mentions do not overlap: at<start> leads directly to next<end>. Nested mentions all cover the place where they
    start, so at most `depth` start in one place, and one more if one may be repeated: next<start>_<number>.
    """
    if depth == 1:
        table: RuleTable = {f"from{i}": ((Symbol("", f"at{i}"),), (Symbol("", f"from{first[i + 1]}"),)) for i in starts}
        return table | {f"next{i}": ((over,), (Symbol(more.text, f"from{first[i]}"),)) for i in ends}
    table = {}
    for i in starts:
        later = Symbol(more.text, f"from{first[i + 1]}")
        table[f"from{i}"] = ((Symbol("", f"at{i}"), Symbol("", f"next{i}_1")), (Symbol("", f"from{first[i + 1]}"),))
        most = depth + repeat
        for begun in range(1, most + 1):
            again = ((Symbol(more.text, f"at{i}"), Symbol("", f"next{i}_{begun + 1}")),) if begun < most else ()
            table[f"next{i}_{begun}"] = ((over,), *again, (later,))
    return table


def _going(text: str, place: int, after: Sequence[int], name: str) -> tuple[Parts, ...]:
    """One alternative: the text from a place to the next end, then a rule; none if no end follows."""
    end = after[place + 1]
    return ((Symbol(_spelled(text[place:end]), name),),) if end <= len(text) else ()


def _places(text: str, where: Boundaries) -> tuple[list[int], list[int]]:
    """The allowed starts and ends of entities; with `strict`, at word boundaries."""
    starts, ends = boundaries(text, "any" if where == "any" else "word")
    return [i for i, free in enumerate(starts) if free], [i for i, free in enumerate(ends) if free]


def _next(places: Sequence[int], length: int) -> list[int]:
    """For each of 0..length + 1, the first place at or after it; `length + 1` if there is none.

    No rule has this name, so an alternative that leads to it is pruned.
    """
    first, some = [length + 1] * (length + 2), iter(reversed(places))
    place = next(some, None)
    for i in range(length, -1, -1):
        first[i] = first[i + 1]
        if i == place:
            first[i], place = i, next(some, None)
    return first


def counted(name: str, numbers: Sequence[int]) -> RuleTable:
    """Rules `<name><i>`: one of the first i + 1 numbers."""
    return {
        f"{name}{i}": ((Symbol(str(number)),), *(((Symbol("", f"{name}{i - 1}"),),) if i else ()))
        for i, number in enumerate(numbers)
    }


def list_schema(text: str, labels: LabelSet, position: Position, depth: int) -> dict[str, Any]:
    """A list of items, each with the text and the position of one mention, in any order."""
    items = {json.dumps(item): item for item in ({"text": text[s:e], **position(text, s, e)} for s, e in _spans(text))}
    return _array(text, depth, {"anyOf": [_object(item, labels) for item in items.values()]} if items else {})


def group_schema(text: str, labels: LabelSet, depth: int) -> dict[str, Any]:
    """An object with a list of mentions for each label."""
    mentions = list(dict.fromkeys(text[s:e] for s, e in _spans(text)))
    return _closed(dict.fromkeys(labels.tags, _array(text, depth, {"enum": mentions} if mentions else {})))


def _array(text: str, depth: int, items: dict[str, Any]) -> dict[str, Any]:
    """A list with at most `depth` items per word of the text."""
    starts, ends = boundaries(text, "word")
    most = depth * most_mentions(starts, first_ends(text, "word", ends))
    return {"type": "array", "maxItems": most} | ({"items": items} if items else {})


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
