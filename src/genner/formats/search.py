"""Locates mentions in a text, in time that grows with the text and not with the number of mentions.

If the text has the mention at the position that the answer states, that position is taken. Everything else is repair,
and limited to word boundaries at both ends. A mention is searched for, in this order,

1. where one of its offsets is correct; or between both offsets, if the words there are similar;
2. unchanged, then ignoring case and white space; then both without its leading article; then both with its last word
   changed between singular and plural;
3. as the most similar words of the text (`genner.formats.similar_spans`);
4. unchanged, beside a digit inside a word, or before a capital letter.

Of several places that no other item has, the one nearest to the stated position is taken. Without a stated position,
they are taken in order, which is ambiguous and reported; if their words differ, the mention is dropped instead. Every
step is charged to a budget proportional to the text's length; ordinary answers come nowhere near it. When the budget is
spent, the remaining mentions are dropped and reported.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from typing import NamedTuple

from genner.boundaries import boundaries, torn
from genner.document import Entity, Problem, Span
from genner.formats.json_answer import brief
from genner.formats.similar_spans import SimilarSpans, changes, other_number, plain, without_article

SCANS = 2_000  # scans of the text allowed for unchanged mentions
LIKENESSES = 100  # spans that may be compared with changed mentions, per character of the text
NEAR = 8  # taken places tolerated on either side before a mention is placed on a taken one
_LEAST = 2_000  # characters: the minimum length that a text counts as


def occurrences(text: str, mention: str) -> Iterator[int]:
    """Start offsets of `mention` in `text`, overlapping occurrences included."""
    at = text.find(mention)
    while at >= 0:
        yield at
        at = text.find(mention, at + 1)


class Hint(NamedTuple):
    """What an answer states about the position of a mention.

    `begin` and `end` are the stated offsets; `number` is the stated occurrence, from 1; `after` is the span of the
    mention listed before it. With `certain`, it is placed only if there is exactly one place for it.
    """

    begin: int | None = None
    end: int | None = None
    number: int | None = None
    after: Span | None = None
    certain: bool = False


class Placement(NamedTuple):
    """The place of a mention (None: nowhere), the number of equally good places, and the reason if it has none."""

    span: Span | None
    places: int = 1
    why: str = ""
    absent: bool = False


class Search:
    """Finds mentions in a text. Caches its findings."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._scans = SCANS * max(len(text), _LEAST)
        self._likenesses = LIKENESSES * max(len(text), _LEAST)
        self._occurrences: dict[str, array[int]] = {}
        self._at_words: dict[str, list[int]] = {}
        self._untorn: dict[str, list[int]] = {}
        self._found: dict[str, list[Span]] = {}
        self._alike: dict[str, list[Span]] = {}
        self._placed: dict[str, int] = {}  # how often a mention without a stated position was placed

    @cached_property
    def _edges(self) -> tuple[list[bool], list[bool]]:
        return boundaries(self.text, "word")

    @cached_property
    def _words(self) -> SimilarSpans:
        return SimilarSpans(self.text, *self._edges)

    def occurrences(self, mention: str) -> "array[int]":
        """Its start offsets, overlapping occurrences and those within words included."""
        if mention not in self._occurrences:
            self._scans -= len(self.text)
            self._occurrences[mention] = array("I", occurrences(self.text, mention))
        return self._occurrences[mention]

    def at_words(self, mention: str) -> list[int]:
        """The start offsets of its occurrences at word boundaries."""
        if mention not in self._at_words:
            (starts, ends), n = self._edges, len(mention)
            self._at_words[mention] = [at for at in self.occurrences(mention) if starts[at] and ends[at + n]]
        return self._at_words[mention]

    def untorn(self, mention: str) -> list[int]:
        """The start offsets of its occurrences that are not torn out of a word (`genner.boundaries.torn`)."""
        if mention not in self._untorn:
            found = self.occurrences(mention)
            self._untorn[mention] = [at for at in found if not self.is_torn(at, at + len(mention))]
        return self._untorn[mention]

    def is_torn(self, start: int, end: int) -> bool:
        """`genner.boundaries.torn` for this text."""
        return torn(self.text, start, end)

    def find(self, mention: str, hint: Hint, taken: Set[Span] = frozenset()) -> Placement:
        """The place of a mention that is not where the answer states; `taken` places are avoided if possible."""
        if (span := self._at_offsets(mention, hint)) is not None:
            return Placement(span)
        places = self._as_it_is(mention)
        if not places:
            places = self._like(mention) or [(at, at + len(mention)) for at in self.untorn(mention)]
        if not places and self.spent:
            why = "was not looked for in all of the text: too many mentions are not where they should be"
            return Placement(None, 0, why)
        return self._chosen(mention, places, hint, taken)

    @property
    def spent(self) -> bool:
        """Whether the search budget is spent, so that a mention may not have been searched for."""
        return self._scans <= 0 or self._likenesses <= 0

    def _as_it_is(self, mention: str) -> list[Span]:
        """Occurrences that differ in case, white space, an article, or the number of the last word only."""
        if mention not in self._found:
            places, bare = list[Span](), without_article(mention)
            for wanted in dict.fromkeys((mention, bare, *other_number(mention), *other_number(bare))):
                if self._scans > 0 and not places:
                    places = [(at, at + len(wanted)) for at in self.at_words(wanted)] or self._words.same(wanted)
                    self._scans -= len(self.text)
            self._found[mention] = places
        return self._found[mention]

    def _like(self, mention: str) -> list[Span]:
        if mention not in self._alike:
            wanted = dict.fromkeys((mention, without_article(mention)))
            cost = sum(map(self._words.cost, wanted))
            if len(mention) > 2 * len(self.text):
                return []
            if cost > self._likenesses:
                self._likenesses = 0
                return []
            self._likenesses -= cost
            self._alike[mention] = self._words.like(*wanted)
        return self._alike[mention]

    def _at_offsets(self, mention: str, hint: Hint) -> Span | None:
        """The mention at one correct offset, or the words between both offsets if they are similar to it."""
        (starts, ends), n = self._edges, len(mention)
        begin, end = hint.begin, hint.end
        for start in (begin, None if end is None else end - n):
            there = start is not None and start >= 0 and self.text.startswith(mention, start)
            if start is not None and there and starts[start] and ends[start + n]:
                return start, start + n
        if begin is None or end is None or not 0 <= begin < end <= len(self.text):
            return None
        return (begin, end) if starts[begin] and ends[end] and self._alike_at(mention, begin, end) else None

    def _alike_at(self, mention: str, start: int, end: int) -> bool:
        longest = max(end - start, len(mention))
        cost = 1 + longest * (1 + longest // 64) // 100
        if self._likenesses < cost:
            return False
        self._likenesses -= cost
        stretch = self.text[start:end]
        return any(changes(wanted, stretch) for wanted in (mention, without_article(mention)))

    def _chosen(self, mention: str, places: Sequence[Span], hint: Hint, taken: Set[Span]) -> Placement:
        """Choose one of several equally good places, given in reading order."""
        if len(places) < 2:
            return Placement(places[0]) if places else Placement(None, 0, "is not in the text", absent=True)
        differ = mention in self._alike and len({plain(self.text[start:end]) for start, end in places}) > 1
        start = hint.begin
        if start is None and hint.end is not None:
            start = hint.end - len(mention)
        if hint.number is not None and not differ:
            start = self._of_index(mention, places, hint.number)
        if start is not None:
            return Placement(_nearest(places, start, taken), len(places) if differ else 1)
        if differ:
            some = " or ".join(brief(self.text[slice(*span)]) for span in places[:2])
            return Placement(None, 0, f"may be {some}{' or another' if len(places) > 2 else ''}")
        if hint.certain:
            return Placement(None, 0, f"stands in {len(places)} places, and the answer does not say in which")
        if hint.after is not None:
            behind = bisect_left(places, (hint.after[0], 0))
            while behind < len(places) and places[behind][0] == hint.after[0] and places[behind][1] >= hint.after[1]:
                behind += 1
            return Placement(places[behind]) if behind < len(places) else Placement(places[0], len(places))
        before = self._placed.get(mention, 0)
        self._placed[mention] = before + 1
        return Placement(places[min(before, len(places) - 1)], max(len(places) - before, 1))

    def _of_index(self, mention: str, places: Sequence[Span], index: int) -> int:
        """The start near which the stated occurrence (from 1) lies."""
        found = self.occurrences(mention)
        if not found:  # it is spelled differently
            found = self.occurrences(self.text[slice(*places[0])])
        elif self.at_words(mention) and index <= len(places):  # those within words were not counted
            return places[index - 1][0]
        return found[index - 1] if index <= len(found) else places[min(index, len(places)) - 1][0]


def _nearest(places: Sequence[Span], start: int, taken: Set[Span]) -> Span:
    """The place that begins closest to `start`, not taken if possible; on a tie, the earlier."""
    index = bisect_left(places, (start, 0))
    some = places[max(0, index - NEAR) : index + NEAR]
    return min([span for span in some if span not in taken] or some, key=lambda span: abs(span[0] - start))


def place(
    search: Search, mention: str, label: str, hint: Hint, problems: list[Problem], taken: Set[Span] = frozenset()
) -> list[Entity]:
    """The entity of a mention that is not where the answer states: one, or none if the text lacks it.

    `taken` are the spans that the label has already.
    """
    text, shown = search.text, f"{label} {brief(mention)}"
    found = search.find(mention, hint, taken)
    if found.span is None:
        problems.append(Problem("dropped" if found.absent else "unplaced", f"{shown} {found.why}"))
        return []
    start, end = found.span
    read = (
        "placed"
        if text.startswith(mention, start) and end - start == len(mention)
        else f"read as {brief(text[start:end])}"
    )
    problems.append(Problem("realigned", f"{shown} {read} at {start}"))
    if found.places > 1:
        problems.append(
            Problem("ambiguous", f"{shown} fits {found.places} places equally well; that at {start} is taken")
        )
    return [Entity(start, end, label)]
