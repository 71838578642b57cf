"""Words of a text, and windows of words that fit an encoder.

Rivals label words. A word is the smallest unit at whose edges genner's own decoding lets an entity begin or end
(`genner.boundaries`): a run of letters and digits, a single mark, a single character in scripts without spaces.

A text that is longer than the encoder's input is cut into windows. In training no window ends inside an entity, so that
gold is lost only if an entity alone is longer than a window. In prediction windows overlap, and an entity counts in the
window in which its first word is farthest from both edges.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from genner.boundaries import boundaries
from genner.document import Document, Entity, Span

NOT_ASKED = "its label is not in the label set"
INSIDE_WORD = "begins or ends inside a word"
TOO_LONG = "longer than the encoder's input"

Unencodable = Counter[str]
"""The number of gold entities that a rival cannot express, by reason."""


class WordEntity(NamedTuple):
    """An entity of a window: words [start, end), half-open, and its label."""

    start: int
    end: int
    label: str


class ScoredSpan(NamedTuple):
    """A predicted entity of a window: words [start, end), half-open, its label, and its score in [0, 1]."""

    start: int
    end: int
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive words of a text: `words` are their spans in code points of the whole text.

    `entities` are the gold entities within it, in words of the window; empty in prediction. `home` are the words
    [start, end) whose entities count in prediction: entities that begin elsewhere are left to the neighbouring window.
    """

    text: str
    words: tuple[Span, ...]
    entities: tuple[WordEntity, ...] = ()
    home: tuple[int, int] = (0, 0)

    def tokens(self) -> list[str]:
        """The words as strings."""
        return [self.text[start:end] for start, end in self.words]

    def entity(self, span: ScoredSpan) -> Entity:
        """The entity in code points of the text."""
        return Entity(self.words[span.start][0], self.words[span.end - 1][1], span.label, span.score)


def words(text: str) -> tuple[Span, ...]:
    """The words of a text, in code points. White space belongs to none."""
    starts, ends = boundaries(text, "word")
    return tuple(
        zip(
            (place for place, free in enumerate(starts) if free),
            (place for place, free in enumerate(ends) if free),
            strict=True,
        )
    )


def word_entities(document: Document) -> tuple[tuple[Span, ...], list[WordEntity], list[Entity]]:
    """The words of a document, its entities in words, and the entities that begin or end inside a word."""
    found = words(document.text)
    first = {start: i for i, (start, _) in enumerate(found)}
    last = {end: i + 1 for i, (_, end) in enumerate(found)}
    entities, torn = [], []
    for entity in document.entities:
        if entity.start in first and entity.end in last:
            entities.append(WordEntity(first[entity.start], last[entity.end], entity.label))
        else:
            torn.append(entity)
    return found, entities, torn


Fits = Callable[[str, Sequence[Span]], list[int]]
"""The number of pieces that an encoder makes of each word of a text."""


def training_windows(document: Document, pieces: Fits, limit: int) -> tuple[list[Window], Unencodable]:
    """Windows of at most `limit` pieces that together hold each word once, and what they lose of the gold entities.

    A window ends where no entity goes on, at the last such place that fits; if an entity alone is too long, it is cut
    where the window is full, and counted. A word of more than `limit` pieces is a window of its own (the encoder cuts
    its pieces).
    """
    found, entities, torn = word_entities(document)
    lost: Unencodable = Counter()
    lost.update([INSIDE_WORD] * len(torn))
    lengths = pieces(document.text, found)
    inside = [False] * (len(found) + 1)  # whether an entity goes on over this place
    for entity in entities:
        for place in range(entity.start + 1, entity.end):
            inside[place] = True
    made, start = [], 0
    while start < len(found):
        end = _full(lengths, start, limit)
        cut = end
        while cut > start and inside[cut]:
            cut -= 1
        end = cut if cut > start else end
        within = tuple(
            WordEntity(e.start - start, e.end - start, e.label) for e in entities if start <= e.start and e.end <= end
        )
        made.append(Window(document.text, found[start:end], within, (0, end - start)))
        start = end
    lost[TOO_LONG] += len(entities) - sum(len(window.entities) for window in made)
    return made, +lost


def prediction_windows(text: str, pieces: Fits, limit: int) -> Iterator[Window]:
    """Windows of at most `limit` pieces over a text, each overlapping the next by about half its words.

    The `home` of each goes to the middle of the overlaps, so that an entity of up to a quarter of a window is seen
    whole wherever it begins.
    """
    found = words(text)
    lengths = pieces(text, found)
    bounds, start = [], 0
    while start < len(found):
        end = _full(lengths, start, limit)
        bounds.append((start, end))
        if end == len(found):
            break
        start += max(1, (end - start) // 2)
    for i, (start, end) in enumerate(bounds):
        low = (bounds[i - 1][1] + start) // 2 if i else start
        high = (end + bounds[i + 1][0]) // 2 if i + 1 < len(bounds) else end
        yield Window(text, found[start:end], (), (low - start, high - start))


def _full(lengths: Sequence[int], start: int, limit: int) -> int:
    """The end of the longest run of words from `start` with at most `limit` pieces; one word at least."""
    end, total = start, 0
    while end < len(lengths) and (end == start or total + lengths[end] <= limit):
        total += lengths[end]
        end += 1
    return end


def without_gold(window: Window) -> Window:
    """The window as prediction sees it."""
    return replace(window, entities=())
