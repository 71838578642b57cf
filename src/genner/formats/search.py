"""Where mentions stand in a text, found in time that grows with the text, however many are looked for.

A mention is looked for where the answer puts it, then at its occurrence closest to that, then with another spacing or
case, or with few changes. Every step is charged to an allowance that is a multiple of the text's length; no answer of a
model that was asked about the text comes near it. When it is spent, what is left is dropped, and says so.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator

from rapidfuzz import fuzz

from genner.document import Entity, Problem
from genner.formats.json_answer import brief
from genner.grammar import boundaries

CLOSE_ENOUGH = 85.0  # similarity, in percent, from which a changed mention is taken for a stretch of the text
SCANS = 2_000  # times that the text may be gone through for mentions as they are
LIKENESSES = 500  # times that it may be gone through for mentions that were changed
_LEAST = 2_000  # characters that any text counts for

Span = tuple[int, int]


def occurrences(text: str, mention: str) -> Iterator[int]:
    """Where `mention` begins in `text`, overlapping occurrences included."""
    at = text.find(mention)
    while at >= 0:
        yield at
        at = text.find(mention, at + 1)


class Search:
    """Finds mentions in a text. Remembers what it found."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._scans = SCANS * max(len(text), _LEAST)
        self._likenesses = LIKENESSES * max(len(text), _LEAST)
        self._occurrences: dict[str, array[int]] = {}
        self._nearest: dict[tuple[str, int], int] = {}
        self._similar: dict[str, Span | None] = {}
        self._places: dict[str, list[int]] = {}

    def occurrences(self, mention: str) -> "array[int]":
        """Where it begins, overlapping occurrences included."""
        if mention not in self._occurrences:
            self._occurrences[mention] = array("I", occurrences(self.text, mention))
        return self._occurrences[mention]

    def nearest(self, mention: str, start: int) -> int | None:
        """The occurrence that begins closest to `start`; of two, the earlier."""
        key = mention, start
        if key not in self._nearest:
            if self._scans <= 0:
                return None
            after = self.text.find(mention, start)
            before = self.text.rfind(mention, 0, max(0, start + len(mention) - 1))
            self._scans -= (len(self.text) if after < 0 else after - start) + (start if before < 0 else start - before)
            found = [at for at in (before, after) if at >= 0]
            self._nearest[key] = min(found, key=lambda at: abs(at - start), default=-1)
        at = self._nearest[key]
        return at if at >= 0 else None

    def similar(self, mention: str) -> Span | None:
        """The stretch most like a mention: with another spacing or case, or else with few changes."""
        if mention not in self._similar:
            cost = len(self.text) * (1 + len(mention) // 64)
            if self._likenesses < cost or len(mention) > 2 * len(self.text):
                return None
            self._likenesses -= cost
            self._similar[mention] = self._like(mention)
        return self._similar[mention]

    def _like(self, mention: str) -> Span | None:
        words = mention.split()
        if words and (span := self._spaced(words)):
            return span
        found = fuzz.partial_ratio_alignment(mention, self.text, score_cutoff=CLOSE_ENOUGH)
        # It slides the shorter along the longer: only a mention within the text is of use.
        if found is None or len(mention) > len(self.text) or found.dest_start >= found.dest_end:
            return None
        start, end = found.dest_start, found.dest_end
        while start < end and self.text[start].isspace():
            start += 1
        while start < end and self.text[end - 1].isspace():
            end -= 1
        return (start, end) if start < end else None

    def _spaced(self, words: list[str]) -> Span | None:
        """The text with these words, whatever white space stands between them, in this case or another."""
        pattern = r"\s*+".join(map(re.escape, words))
        match = re.search(pattern, self.text) or re.search(pattern, self.text, re.IGNORECASE)
        return match.span() if match else None

    @property
    def spent(self) -> bool:
        """Whether so much was looked for that something may not have been."""
        return self._scans <= 0 or self._likenesses < len(self.text)


class WordSearch(Search):
    """Finds mentions where words begin and end, too."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._starts, self._ends = boundaries(text, "word")

    def at_or_after(self, mention: str, start: int) -> int | None:
        """The first occurrence from `start` on."""
        places = self.occurrences(mention)
        index = bisect_left(places, start)
        return places[index] if index < len(places) else None

    def at_words(self, mention: str, start: int) -> int | None:
        """The first occurrence from `start` on that begins and ends where words do."""
        if mention not in self._places:
            n = len(mention)
            self._places[mention] = [at for at in self.occurrences(mention) if self._starts[at] and self._ends[at + n]]
        places = self._places[mention]
        index = bisect_left(places, start)
        return places[index] if index < len(places) else None


def place(search: Search, mention: str, label: str, start: int | None, problems: list[Problem]) -> list[Entity]:
    """The entity of a mention that ought to begin at `start` (None: not known): one, or none if the text lacks it."""
    text, shown = search.text, f"{label} {brief(mention)}"
    if start is not None and text.startswith(mention, start):
        return [Entity(start, start + len(mention), label)]
    at = search.nearest(mention, start or 0)
    if at is not None:
        problems.append(Problem("realigned", f"{shown} placed at {at}"))
        return [Entity(at, at + len(mention), label)]
    span = search.similar(mention)
    if span is None:
        why = "is not in the text"
        if search.spent:
            why = "was not looked for in all of the text: too many mentions are not where they should be"
        problems.append(Problem("dropped", f"{shown} {why}"))
        return []
    problems.append(Problem("realigned", f"{shown} read as {brief(text[slice(*span)])} at {span[0]}"))
    return [Entity(*span, label)]
