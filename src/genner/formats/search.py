"""Find where mentions stand in a text, in time that grows with the text and not with the number of mentions.

What an answer says of a place is what it means, where the text has the mention there. Everything else is repair, and
bound to words: it begins and ends where words do. A mention is looked for, in this order,

1. where one of its offsets is right; between the two, where the words there are like it;
2. as it is, then with another case or white space; then both without the article that it begins with; then both with
   its last word in the singular instead of the plural, or the other way round;
3. as the words of the text that are most like it (`genner.formats.similar_spans`);
4. as it is, beside a digit in a word, or before a capital letter.

Of several places, the one nearest to what the answer says is taken, of those that no other item has; where it says
nothing, one after the other, which is ambiguous, and reported. Where they are different words, the mention is dropped.
Every step is charged to an allowance that is a multiple of the text's length; no answer of a model that was asked about
the text comes near it. When it is spent, what is left is dropped, and says so.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from typing import NamedTuple

from genner.document import Entity, Problem, Span
from genner.formats.json_answer import brief
from genner.formats.similar_spans import SimilarSpans, changes, other_number, plain, without_article
from genner.grammar import boundaries, torn

SCANS = 2_000  # times that the text may be gone through for mentions as they are
LIKENESSES = 100  # stretches that may be compared with mentions that were changed, for each character of the text
NEAR = 8  # places on either side that may be taken before one is placed where another is
_LEAST = 2_000  # characters that any text counts for


def occurrences(text: str, mention: str) -> Iterator[int]:
    """Where `mention` begins in `text`, overlapping occurrences included."""
    at = text.find(mention)
    while at >= 0:
        yield at
        at = text.find(mention, at + 1)


class Hint(NamedTuple):
    """What an answer says of where a mention stands.

    `begin` and `end` are where it says that it begins and ends; `number` which of its occurrences it is, from 1;
    `after` the span of the mention listed before it. With `certain`, it is placed only where there is one place for it.
    """

    begin: int | None = None
    end: int | None = None
    number: int | None = None
    after: Span | None = None
    certain: bool = False


class Placement(NamedTuple):
    """Where a mention stands (None: nowhere), of how many places that fit equally well, and why it has none."""

    span: Span | None
    places: int = 1
    why: str = ""


class Search:
    """Finds mentions in a text. Remembers what it found."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._scans = SCANS * max(len(text), _LEAST)
        self._likenesses = LIKENESSES * max(len(text), _LEAST)
        self._occurrences: dict[str, array[int]] = {}
        self._at_words: dict[str, list[int]] = {}
        self._untorn: dict[str, list[int]] = {}
        self._found: dict[str, list[Span]] = {}
        self._alike: dict[str, list[Span]] = {}
        self._placed: dict[str, int] = {}  # how often a mention without a place was placed

    @cached_property
    def _edges(self) -> tuple[list[bool], list[bool]]:
        return boundaries(self.text, "word")

    @cached_property
    def _words(self) -> SimilarSpans:
        return SimilarSpans(self.text, *self._edges)

    def occurrences(self, mention: str) -> "array[int]":
        """Where it begins, overlapping occurrences and those within words included."""
        if mention not in self._occurrences:
            self._scans -= len(self.text)
            self._occurrences[mention] = array("I", occurrences(self.text, mention))
        return self._occurrences[mention]

    def at_words(self, mention: str) -> list[int]:
        """Where it begins, of the occurrences that begin and end where words do."""
        if mention not in self._at_words:
            (starts, ends), n = self._edges, len(mention)
            self._at_words[mention] = [at for at in self.occurrences(mention) if starts[at] and ends[at + n]]
        return self._at_words[mention]

    def untorn(self, mention: str) -> list[int]:
        """Where it begins, of the occurrences that are not torn out of a word (`genner.grammar.torn`)."""
        if mention not in self._untorn:
            found = self.occurrences(mention)
            self._untorn[mention] = [at for at in found if not self.is_torn(at, at + len(mention))]
        return self._untorn[mention]

    def is_torn(self, start: int, end: int) -> bool:
        """`genner.grammar.torn` of the text."""
        return torn(self.text, start, end)

    def find(self, mention: str, hint: Hint, taken: Set[Span] = frozenset()) -> Placement:
        """Where a mention stands that is not where the answer says; not at what is `taken` if it fits elsewhere."""
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
        """Whether the limit on searches was reached, so that a mention may not have been looked for."""
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
        """The mention where one of its offsets is right, or the words between the two, where they are like it."""
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
        """One of some places that fit equally well, in reading order."""
        if len(places) < 2:
            return Placement(places[0]) if places else Placement(None, 0, "is not in the text")
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
        """Near which place the occurrence stands that an index names, from 1."""
        found = self.occurrences(mention)
        if not found:  # it is written otherwise
            found = self.occurrences(self.text[slice(*places[0])])
        elif self.at_words(mention) and index <= len(places):  # those within words were not counted
            return places[index - 1][0]
        return found[index - 1] if index <= len(found) else places[min(index, len(places)) - 1][0]


def _nearest(places: Sequence[Span], start: int, taken: Set[Span]) -> Span:
    """The place that begins closest to `start`, if it can be one that is not taken; of two, the earlier."""
    index = bisect_left(places, (start, 0))
    some = places[max(0, index - NEAR) : index + NEAR]
    return min([span for span in some if span not in taken] or some, key=lambda span: abs(span[0] - start))


def place(
    search: Search, mention: str, label: str, hint: Hint, problems: list[Problem], taken: Set[Span] = frozenset()
) -> list[Entity]:
    """The entity of a mention that is not where the answer says: one, or none if the text lacks it.

    `taken` are the spans that the label has already.
    """
    text, shown = search.text, f"{label} {brief(mention)}"
    found = search.find(mention, hint, taken)
    if found.span is None:
        problems.append(Problem("dropped", f"{shown} {found.why}"))
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
