"""Finds the whole-word spans of a text that are similar to a mention which the text lacks.

The most similar span has the smallest indel distance (rapidfuzz) ignoring case and white space; ties go to the longest,
which keeps most of the mention; then to the smallest distance with case and white space. It is similar to the mention
if the distance is at most a fifth of both lengths together. So letters, blanks or words may be lost or added; a
substitution counts twice, and is more likely another name. `docs/log.md` has how the threshold was chosen.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from math import inf

from rapidfuzz import process
from rapidfuzz.distance import Indel

from genner.document import Span

LIKE = 5  # two strings are similar if they have at least this many characters together per insertion or deletion
MAX_LENGTH_RATIO = (LIKE + 1) / (LIKE - 1)  # a string more than this many times longer is never similar
WORD_LIKE = 0.6  # minimum normalised similarity of each word to its counterpart, for equal numbers of words
MOST_STRANGE = 4  # for unequal numbers of words, one word in this many may have no counterpart


_ARTICLE = re.compile(
    r"(?:the|an?|this|these|those|that|its|their|his|her|our|my|your"
    r"|der|die|das|dem|den|des|eine?|eine[mnrs]|les?|la|une?|el|l[ao]s|una|il|gli|het|een)\s+|[ld]['’]\s*",
    re.IGNORECASE,
)  # fmt: skip
_PLURAL = re.compile(r"ies$|(?<=s|x|z)es$|(?<=ch|sh)es$|(?<!s)s$", re.IGNORECASE)
_CONSONANT_Y = re.compile(r"[^aeiou]y$", re.IGNORECASE)
_HISSING = re.compile(r"(?:s|x|z|ch|sh)$", re.IGNORECASE)
_DIGITS = re.compile(r"\d")
_WORDS = re.compile(r"\w+")


def plain(text: str) -> str:
    """A text in lower case without white space."""
    return "".join(text.split()).lower()


def without_article(mention: str) -> str:
    """A mention without its leading article or pronoun; the mention itself if it has none."""
    match = _ARTICLE.match(mention)
    return mention[match.end() :] if match and match.end() < len(mention) else mention


def other_number(mention: str) -> list[str]:
    """A mention with its last word in the singular if it was in the plural, or the other way round, as in English."""
    if not mention[-1:].isalpha():
        return []
    if match := _PLURAL.search(mention):
        stem = mention[: match.start()]
        return {"ies": [f"{stem}y"], "es": [stem, f"{stem}e"]}.get(match.group().lower(), [stem])
    if _CONSONANT_Y.search(mention):
        return [f"{mention[:-1]}ies", f"{mention}s"]
    return [f"{mention}es", f"{mention}s"] if _HISSING.search(mention) else [f"{mention}s"]


def changes(mention: str, stretch: str) -> tuple[int, int] | None:
    """The edit distance from a span of text to a mention that is similar and means the same.

    Ignoring case and white space, and with them; None if it is not similar or has another meaning.
    """
    ours, theirs = plain(mention), plain(stretch)
    if theirs in map(plain, other_number(mention)):
        return 1, Indel.distance(mention, stretch)
    most = (len(ours) + len(theirs)) // LIKE
    count = Indel.distance(ours, theirs, score_cutoff=most)
    if count > most or not says_the_same(mention, stretch):
        return None
    return count, Indel.distance(mention, stretch)


def says_the_same(mention: str, stretch: str) -> bool:
    """Whether a similar span may mean the same as a mention: same digits, no word replaced by another one, few words
    without counterpart, and no symbol at an edge where the mention has a letter.

    `IL-4` is not `IL-2`, and `hepatitis C` not `hepatitis B`, however long the words around; `cells` are not `B cells`,
    and `-1` is not `A-1`.
    """
    for place in (0, -1):
        if (mention.strip() or mention)[place].isalnum() and not stretch[place].isalnum():
            return False
    if _DIGITS.findall(mention) != _DIGITS.findall(stretch):
        return False
    ours, theirs = _WORDS.findall(mention.lower()), _WORDS.findall(stretch.lower())
    if len(ours) != len(theirs):
        return _strange(ours, theirs) * MOST_STRANGE <= len(ours) and _strange(theirs, ours) * MOST_STRANGE <= len(
            theirs
        )
    return all(Indel.normalized_similarity(a, b) >= WORD_LIKE for a, b in zip(ours, theirs, strict=True))


def _strange(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """The number of words without a similar word among the others."""
    joined = "".join(theirs)
    return sum(
        word not in joined and not any(Indel.normalized_similarity(word, other) >= WORD_LIKE for other in theirs)
        for word in ours
    )


class SimilarSpans:
    """The words of a text, which make up the candidate spans for a mention.

    Args:
        text: the text.
        starts, ends: word boundaries, as `genner.boundaries.boundaries` gives them.
    """

    def __init__(self, text: str, starts: Sequence[bool], ends: Sequence[bool]) -> None:
        self._text = text
        self._starts = [i for i, free in enumerate(starts) if free]
        self._ends = [i for i, free in enumerate(ends) if free]
        words = [plain(text[start:end]) for start, end in zip(self._starts, self._ends, strict=True)]
        self._plain = "".join(words)
        self._offsets = [0, *accumulate(map(len, words))]  # of each word in `_plain`, and of its end
        self._at = {offset: i for i, offset in enumerate(self._offsets)}

    def same(self, mention: str) -> list[Span]:
        """The spans that differ from a mention only in white space and case."""
        wanted, found = plain(mention), list[Span]()
        at = self._plain.find(wanted) if wanted else -1
        while at >= 0:
            first, end = self._at.get(at), self._at.get(at + len(wanted))
            if first is not None and end is not None:
                found.append((self._starts[first], self._ends[end - 1]))
            at = self._plain.find(wanted, at + 1)
        return found

    def cost(self, mention: str) -> int:
        """The approximate number of spans that `like` compares; long spans count as several, by time."""
        length, words = len(mention), len(self._starts)
        stretches = words + int(words * words * length * (MAX_LENGTH_RATIO - 1 / MAX_LENGTH_RATIO)) // max(
            len(self._plain), 1
        )
        return stretches * (1 + length * (1 + length // 64) // 100)

    def like(self, *mentions: str) -> list[Span]:
        """The spans most similar to one of the mentions (ties: the first mention), in reading order; empty if none is
        similar."""
        return sorted(min(map(self._most_like, mentions), key=lambda some: some[0])[1])

    def _most_like(self, mention: str) -> tuple[float, list[Span]]:
        """The smallest edit distance to a mention, and the spans that have it."""
        wanted = plain(mention)
        windows = self._windows(len(wanted))
        strings = [self._plain[start:end] for start, end in windows]
        most = int(len(wanted) * (1 + MAX_LENGTH_RATIO)) // LIKE
        fewest, spans = inf, list[Span]()
        known = dict[str, bool]()  # whether a span means the same
        # The smallest distances come first.
        for string, changes, number in process.extract(
            wanted, strings, scorer=Indel.distance, score_cutoff=most, limit=None
        ):
            if changes > fewest:
                break
            if changes * LIKE > len(wanted) + len(string):
                continue
            start, end = windows[number]
            span = self._starts[self._at[start]], self._ends[self._at[end] - 1]
            stretch = self._text[slice(*span)]
            if stretch not in known:
                known[stretch] = says_the_same(mention, stretch)
            if known[stretch]:
                fewest = changes
                spans.append(span)
        return fewest, self._closest(mention, spans)

    def _windows(self, length: int) -> list[Span]:
        """The word spans, in `_plain`, whose length allows them to be similar to a mention."""
        import numpy as np

        offsets = np.array(self._offsets)
        starts = np.arange(len(offsets) - 1)
        first = np.maximum(np.searchsorted(offsets, offsets[:-1] + length / MAX_LENGTH_RATIO - 1e-9), starts + 1)
        behind = np.searchsorted(offsets, offsets[:-1] + length * MAX_LENGTH_RATIO + 1e-9, side="right")
        counts = np.maximum(behind - first, 0)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        ends = offsets[np.repeat(first, counts) + within]
        return list(zip(np.repeat(offsets[:-1], counts).tolist(), ends.tolist(), strict=True))

    def _closest(self, mention: str, spans: list[Span]) -> list[Span]:
        """The longest spans; of these, those most similar to a mention with case and white space."""
        lengths = [len(plain(self._text[start:end])) for start, end in spans]
        spans = [span for span, length in zip(spans, lengths, strict=True) if length == max(lengths)]
        stretches = [self._text[start:end] for start, end in spans]
        distinct = list(dict.fromkeys(stretches))
        if len(distinct) < 2:
            return spans
        scores = {s: n for s, n, _ in process.extract(mention, distinct, scorer=Indel.distance, limit=None)}
        best = min(scores.values())
        return [span for span, stretch in zip(spans, stretches, strict=True) if scores[stretch] == best]
