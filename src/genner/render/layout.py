"""Helpers of both renderers: where entities are drawn, in which colour, and how unprintable characters are shown.

A drawing must be able to nest: a box opens and closes inside the box around it. Entities may cross, and crossing boxes
do not nest; so `walk` closes a box that would cross another and opens it again behind the crossing, as a *continued*
piece. Properly nested entities are never cut.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from genner.document import Document, Entity


@dataclass(frozen=True, slots=True)
class Colour:
    """A hue in two shades: `dark` for white backgrounds (or white letters), `light` for black ones (or black
    letters)."""

    dark: str
    light: str


# Chosen so that any two stay apart under normal vision, protanopia, deuteranopia and tritanopia (simulated, OKLab
# distance 0.06 at least). Colour is never the only carrier: both renderers write the label beside each mention.
PALETTE = (
    Colour("#1a66e0", "#3d9bff"),  # blue
    Colour("#b84a00", "#ff9838"),  # orange
    Colour("#006352", "#3fe0a4"),  # green
    Colour("#5b2a9b", "#cbb9ff"),  # violet
    Colour("#b83aa8", "#ff6485"),  # magenta, rose
    Colour("#5a4200", "#f7ee3a"),  # brown, yellow
    Colour("#0c2f57", "#aef6ff"),  # navy, pale cyan
    Colour("#6d7671", "#9b9aab"),  # grey
)


def colour_indices(labels: Iterable[str], documents: Iterable[Document]) -> dict[str, int]:
    """The index in `PALETTE` of each label: the given labels in order, then other labels of the entities, sorted.

    With more labels than colours, the palette repeats.
    """
    found = {entity.label for document in documents for entity in document.entities}
    given = dict.fromkeys(labels)
    return {label: i % len(PALETTE) for i, label in enumerate([*given, *sorted(found - given.keys())])}


def tracks(entities: tuple[Entity, ...]) -> list[int]:
    """The track of each entity (in reading order): 0 touches the text, and overlapping entities never share one.

    Of two overlapping entities, the longer lies farther out; if equally long, the earlier in reading order.
    """
    overlapping: list[list[int]] = [[] for _ in entities]
    active: list[int] = []
    for i, entity in enumerate(entities):
        active = [j for j in active if entities[j].end > entity.start]
        for j in active:
            overlapping[i].append(j)
            overlapping[j].append(i)
        active.append(i)
    rows = [-1] * len(entities)  # -1: not placed yet
    for i in sorted(range(len(entities)), key=lambda i: (entities[i].end - entities[i].start, -i)):
        rows[i] = 1 + max((rows[j] for j in overlapping[i]), default=-1)
    return rows


@dataclass(frozen=True, slots=True)
class Open:
    """The box of `entity` begins, on `track`; `first` is False if it continues after a crossing."""

    entity: Entity
    track: int
    first: bool


@dataclass(frozen=True, slots=True)
class Close:
    """The innermost open box, that of `entity`, ends; `last` is False if a crossing only cuts it."""

    entity: Entity
    last: bool


def walk(document: Document) -> Iterator[str | Open | Close]:
    """The text in reading order, cut at entity boundaries, with the boxes that open and close between the cuts.

    The strings join to the text; boxes are balanced like brackets, the outermost on the highest track.
    """
    entities, rows = document.entities, tracks(document.entities)
    starting: dict[int, list[int]] = {}
    for i, entity in enumerate(entities):
        starting.setdefault(entity.start, []).append(i)
    cuts = sorted({0, len(document.text), *(offset for entity in entities for offset in entity.span)})
    stack: list[int] = []  # the open boxes, outermost first
    for start, end in pairwise(cuts):
        inside = [i for i in stack if entities[i].end > start] + starting.get(start, [])
        inside.sort(key=lambda i: -rows[i])
        kept = 0
        while kept < min(len(stack), len(inside)) and stack[kept] == inside[kept]:
            kept += 1
        for i in reversed(stack[kept:]):
            yield Close(entities[i], last=entities[i].end <= start)
        for i in inside[kept:]:
            yield Open(entities[i], rows[i], first=entities[i].start == start)
        yield document.text[start:end]
        stack = inside
    for i in reversed(stack):
        yield Close(entities[i], last=True)


def depths(entities: tuple[Entity, ...]) -> list[int]:
    """How far to indent each entity in a list: one more than the closest entity above it in the list that holds it.

    An entity that merely crosses the one before it is not indented under it.
    """
    result: list[int] = []
    around: list[Entity] = []
    for entity in entities:
        while around and around[-1].end < entity.end:
            around.pop()
        result.append(len(around))
        around.append(entity)
    return result


# Characters that would control the display instead of being shown: controls, line and paragraph separators,
# bidirectional embeddings, overrides and isolates (they can make a text read otherwise than it is), lone surrogates.
# Line feed and tab stay: they are layout.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def picture(char: str) -> str:
    """The replacement of an unprintable character: its control picture (U+2400 ff.) if there is one, else an escape."""
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\u{code:04x}"


def visible(text: str) -> str:
    """`text` with every unprintable character replaced by its picture; returned unchanged if there is none."""
    return UNPRINTABLE.sub(lambda match: picture(match[0]), text)


def visible_line(text: str) -> str:
    """As `visible`, on one line: line feeds and tabs become pictures too."""
    return visible(text).replace("\n", picture("\n")).replace("\t", picture("\t"))


def excerpt(document: Document, start: int, end: int) -> Document:
    """The text from `start` to `end` (offsets may lie outside) with the entities inside; an ellipsis marks a cut."""
    begin, stop = max(0, start), min(len(document.text), end)
    before, after = "… " if begin else "", " …" if stop < len(document.text) else ""
    inside = tuple(e.shifted(len(before) - begin) for e in document.entities if begin <= e.start and e.end <= stop)
    return Document(before + document.text[begin:stop] + after, inside, document.id)
