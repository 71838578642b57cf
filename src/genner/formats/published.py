"""Answers as the published files spell them: they break the law of genner's formats, but have the same content.

The files of "Assessment of Generative NER in the Era of LLMs" (Zhan, Wang and Huang 2026) have lists in another order,
two tags of one span that close crosswise (`<protein><DNA>X</protein></DNA>`), brackets of the text that are not escaped
(`[PDGF[B] | protein]`), and blanks that their text does not have. Nothing is looked up or repaired here: an answer is
read only if it has exactly one reading for its text.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from genner.document import Entity, LabelSet
from genner.formats.json_answer import load
from genner.formats.list_places import ListPlaces
from genner.formats.published_copy import Copies
from genner.formats.search import occurrences

PLACE = "place of a mention that is listed fewer times than it occurs (by the order of its list)"
SPACING = "spacing of an answer, where it is not that of its text"


class PublishedAnswer(NamedTuple):
    """The content of an answer: its entities, duplicates included, and the number of ambiguities by kind."""

    entities: list[Entity]
    left_open: Counter[str]


def published_copy(text: str, answer: str, markup: Copies) -> PublishedAnswer | None:
    """An inline answer with markup of this kind, about `text`; None if it has no unique reading."""
    entities = markup.read(text, answer)
    if entities is not None:
        return PublishedAnswer(entities, Counter())
    entities = markup.read(text, answer, blanks=False)
    return None if entities is None else PublishedAnswer(entities, Counter({SPACING: 1}))


def published_groups(text: str, answer: str, labels: LabelSet) -> PublishedAnswer | None:
    """An object with a list of mentions for each label, about `text`; None if it has no unique reading.

    It does not say which occurrence is meant where a mention is listed fewer times than it occurs; that is counted.
    """
    value = load(answer)
    if not isinstance(value, dict):
        return None
    found, unsaid, places = list[Entity](), 0, ListPlaces(text)
    for label, mentions in value.items():
        if not isinstance(mentions, list) or not all(isinstance(m, str) and m for m in mentions):
            return None
        if mentions and label not in labels:
            return None
        placed = places.place(mentions)
        for span in placed.spans:
            if span is None:
                return None
            found.append(Entity(*span, label))
        unsaid += placed.unsaid
    return PublishedAnswer(found, +Counter({PLACE: unsaid}))


PlaceReader = Callable[[str, str, dict[str, Any]], int | None]
"""(text, mention, other keys of its item) -> the start of the mention; None if it is not there."""


def published_items(text: str, answer: str, labels: LabelSet, place: PlaceReader) -> PublishedAnswer | None:
    """A list of items about `text`, placed by `place`; None if it has no unique reading."""
    value = load(answer)
    if not isinstance(value, list):
        return None
    found: list[Entity] = []
    for item in value:
        if not isinstance(item, dict):
            return None
        mention, label = item.get("text"), item.get("label")
        if not isinstance(mention, str) or not mention or not isinstance(label, str) or label not in labels:
            return None
        start = place(text, mention, {key: number for key, number in item.items() if key not in ("text", "label")})
        if start is None:
            return None
        found.append(Entity(start, start + len(mention), label))
    return PublishedAnswer(found, Counter())


def by_offsets(text: str, mention: str, numbers: dict[str, Any]) -> int | None:
    """The place of an item with `start` and `end`."""
    match numbers:
        case {"start": int(start), "end": int(end), **rest} if not rest and not isinstance(start, bool):
            return start if start >= 0 and end - start == len(mention) and text[start:end] == mention else None
    return None


def by_occurrence() -> PlaceReader:
    """Occurrences are counted from 1, overlapping ones and those inside words included; each is looked for once."""
    starts: dict[str, list[int]] = {}

    def place(text: str, mention: str, numbers: dict[str, Any]) -> int | None:
        match numbers:
            case {"occurrence_index": int(index), **rest} if not rest and index >= 1 and not isinstance(index, bool):
                if mention not in starts:
                    starts[mention] = list(occurrences(text, mention))
                return starts[mention][index - 1] if index <= len(starts[mention]) else None
        return None

    return place
