"""Locates the mentions of a list that states neither positions nor order: `["IL-2", "IL-2 gene", "IL-2"]`.

A mention listed as often as it occurs needs no order. A mention listed fewer times is placed by the order of the list:
the first of these orders that all of its mentions can follow.

1. By end, the shorter first, as tags close: this fits all 5,150 lists of GENIA's dev and test sets that "Assessment of
   Generative NER in the Era of LLMs" publishes.
2. By start, the shorter first: this fits all 3,159 lists of ACE 2005.
3. By start, the longer first: the reading order.

If none fits, its first occurrences are taken. The priority of the three makes little difference (docs/log.md).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from genner.boundaries import boundaries
from genner.document import Span
from genner.formats.search import occurrences

EdgeOrder = Callable[[Span], Span]

ORDERS: tuple[EdgeOrder, ...] = (
    lambda span: (span[1], -span[0]),
    lambda span: (span[0], span[1]),
    lambda span: (span[0], -span[1]),
)


class Places(NamedTuple):
    """A span for each mention of a list, None if the text lacks it; a mention listed more often than it occurs repeats
    a span. `unsaid` counts mentions that could be elsewhere: they are listed fewer times than they occur."""

    spans: list[Span | None]
    unsaid: int


class ListPlaces:
    """Places lists of mentions in one text.

    Only occurrences at word boundaries count, unless the mention is listed more often than these.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._words: tuple[list[bool], list[bool]] | None = None

    def place(self, mentions: Sequence[str]) -> Places:
        """The places of a label's list, in time linear in the list and the occurrences of its mentions."""
        listed = Counter(mentions)
        found = {mention: self._candidates(mention, times) for mention, times in listed.items()}
        unsaid = sum(times for mention, times in listed.items() if times < len(found[mention]))
        seen = Counter[str]()
        first: list[Span | None] = []
        kept: list[int] = []  # indices of the mentions that have an occurrence of their own
        for number, mention in enumerate(mentions):
            starts = found[mention]
            if seen[mention] < len(starts):
                kept.append(number)
            start = starts[min(seen[mention], len(starts) - 1)] if starts else None
            first.append(None if start is None else (start, start + len(mention)))
            seen[mention] += 1
        if unsaid:
            for order in ORDERS:
                if (ordered := _in_order([(mentions[i], found[mentions[i]]) for i in kept], order)) is not None:
                    for number, span in zip(kept, ordered, strict=True):
                        first[number] = span
                    break
        return Places(first, unsaid)

    def _candidates(self, mention: str, times: int) -> list[int]:
        """Its start offsets: at word boundaries, or anywhere if it is listed more often than it occurs there."""
        anywhere = list(occurrences(self._text, mention)) if mention else []
        if len(anywhere) <= times:
            return anywhere
        if self._words is None:
            self._words = boundaries(self._text, "word")
        starts, ends = self._words
        words = [at for at in anywhere if starts[at] and ends[at + len(mention)]]
        return words if len(words) >= times else anywhere


def _in_order(listed: Sequence[tuple[str, list[int]]], order: EdgeOrder) -> list[Span] | None:
    """For each mention, its first occurrence after the previous mention; None if a mention has none left.

    All occurrences of a mention have the same length, so orders by start and by end agree.
    """
    spans: list[Span] = []
    for mention, starts in listed:
        length = len(mention)
        index = 0
        if spans:
            index = bisect_right(starts, order(spans[-1]), key=lambda at: order((at, at + length)))
        if index == len(starts):
            return None
        spans.append((starts[index], starts[index] + length))
    return spans
