"""Where entities may start and end in a text: word boundaries in any script, and spans that cross."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

Boundaries = Literal["any", "word", "strict"]
"""Where entities may start and end.

- `any`: between any two code points;
- `word`: at the starts and ends of words;
- `strict`: as `word`, but no entity starts at the format's markup (`Format.forbidden_start_chars`), and none consists
  only of punctuation.
"""

# Scripts without spaces between words, or with particles attached to names (Hangul): any place may be a boundary.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul Jamo
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3130, 0x318F),  # Hangul compatibility Jamo
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # CJK extension A
    (0x4E00, 0x9FFF),  # CJK
    (0xAC00, 0xD7AF),  # Hangul syllables
    (0xF900, 0xFAFF),  # CJK compatibility
    (0x20000, 0x3FFFF),  # CJK extensions
)


def _unspaced(char: str) -> bool:
    point = ord(char)
    return point >= 0x0E00 and any(low <= point <= high for low, high in _UNSPACED)


@lru_cache(4096)
def _joins(char: str) -> bool:
    """Whether a code point belongs to the visible character before it."""
    return unicodedata.category(char).startswith("M") or char == "\u200d"


def composed(left: str, right: str) -> bool:
    """Whether two adjacent code points are parts of one visible character: a letter and its mark, joined emojis."""
    return _joins(right) or left == "\u200d"


def _joined(base: str, left: str, right: str) -> bool:
    """Whether no word boundary lies between two adjacent characters; `base` is the base of `left` if that is a mark."""
    if composed(left, right):
        return True
    return base.isalnum() and right.isalnum() and not (_unspaced(base) or _unspaced(right))


def cut(text: str, place: int) -> bool:
    """Whether a place is between two letters of a word, except between a lower-case letter and a capital."""
    if not 0 < place < len(text):
        return False
    right, base = text[place], place - 1
    while base and composed("", text[base]):
        base -= 1
    if not (text[base].isalpha() and right.isalpha()) or (text[base].islower() and right.isupper()):
        return False
    return _joined(text[base], text[place - 1], right)


def torn(text: str, start: int, end: int) -> bool:
    """Whether a span begins or ends inside a word (see `cut`), or has white space at its edges.

    This holds for 112 of 467,826 gold entities in 39 corpora; 1,089 others begin or end inside a word at a place that
    is not a `cut` (`5|min`, `Daimler|Chrysler`).
    """
    return cut(text, start) or cut(text, end) or text[start].isspace() or text[end - 1].isspace()


def boundaries(text: str, where: Boundaries, forbidden: tuple[str, ...] = ()) -> tuple[list[bool], list[bool]]:
    """Where entities may start and where they may end: two lists of len(text) + 1 flags.

    With `word`, an entity starts and ends at a word boundary and has no white space at its edges; marks on a space
    count as white space. So each start has an end. (Of 217,000 gold entities in eleven corpora, 27 break this.) With
    `strict`, no entity starts at one of the strings `forbidden` (`Format.forbidden_start_chars`), or where only
    punctuation follows.
    """
    n = len(text)
    if where == "any":
        return [True] * n + [False], [False] + [True] * n
    free, blank = _word_boundaries(text)
    starts = [*(edge and not space for edge, space in zip(free, blank, strict=False)), False]
    ends = [False, *(edge and not space for edge, space in zip(free[1:], blank, strict=True))]
    if where == "strict":
        beyond = next((i + 1 for i in range(n - 1, -1, -1) if worded(text[i])), 0)  # the last word
        starts[beyond:] = [False] * (n + 1 - beyond)
        for string in forbidden:
            at = text.find(string)
            while at >= 0:
                starts[at] = False
                at = text.find(string, at + 1)
    return starts, ends


def _word_boundaries(text: str) -> tuple[list[bool], list[bool]]:
    """For each place, whether it is a word boundary; for each code point, whether it is white space (a mark is what its
    base is)."""
    n = len(text)
    if text.isascii():  # no marks, and white space is at no word's inside
        letters = [*map(str.isalnum, text)]
        edges = [not (a and b) for a, b in pairwise(letters)]
        return [True, *edges, *[True][: n > 0]], [*map(str.isspace, text)]
    free, blank = [True] * (n + 1), [text[:1].isspace()] * n
    base = text[:1]
    for i in range(1, n):
        joined = _joined(base, text[i - 1], text[i])
        if not composed("", text[i]):  # a mark belongs to its letter, which may be inside a word
            base = text[i]
        blank[i] = base.isspace()
        free[i] = not joined or blank[i] != blank[i - 1]
    return free, blank


def first_ends(text: str, where: Boundaries, ends: Sequence[bool]) -> list[int]:
    """For each place, the first place at which an entity that starts there may end; `ends` is from `boundaries`.

    It is len(text) + 1 if there is none. With `strict`, an entity contains more than punctuation.
    """
    n = len(text)
    first, after = [n + 1] * (n + 1), n + 1  # `after`: the first end after the current place
    for i in range(n - 1, -1, -1):
        after = i + 1 if ends[i + 1] else after
        first[i] = after if where != "strict" or worded(text[i]) else first[i + 1]
    return first


@lru_cache(4096)
def worded(char: str) -> bool:
    """Whether a character is more than punctuation: not white space, punctuation, a control or an ASCII symbol.

    Signs that represent a word count as more: of 468,000 gold entities in 38 corpora, 394 are `%`, 39 a currency or a
    degree.
    """
    if char.isalnum() or char in "%‰$":
        return True
    kind = unicodedata.category(char)
    return char > "\x7f" and not char.isspace() and kind[0] not in "PZ" and kind not in ("Cc", "Cf")


def most_mentions(starts: Sequence[bool], first: Sequence[int]) -> int:
    """The maximum number of disjoint entities in a text, about its number of words. `first` is from `first_ends`."""
    count = at = 0
    for i, free in enumerate(starts):
        if free and i >= at and first[i] < len(starts):
            count, at = count + 1, first[i]
    return count


def crossing(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The first two spans that overlap without one containing the other, or None. Spans are in reading order."""
    open_spans: list[tuple[int, int]] = []
    for span in spans:
        while open_spans and open_spans[-1][1] <= span[0]:
            open_spans.pop()
        if open_spans and open_spans[-1][1] < span[1]:
            return open_spans[-1], span
        open_spans.append(span)
    return None
