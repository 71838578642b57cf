"""Stretches of a text that are like a mention which the text does not have: whole words, longer or shorter than it.

The most like is the one that takes the fewest characters put in or taken out (indel distance, rapidfuzz), case and
white space aside; of those that take as many, the longest, which keeps most of the mention; then the one that takes
fewest with case and white space. It is like the mention if they are a fifth at most of both their characters. So
letters, blanks or words may be lost or added; what stands for something else counts twice, and is rather another name.
`docs/log.md` has how the threshold was chosen.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from math import inf

from rapidfuzz import process
from rapidfuzz.distance import Indel

from genner.document import Span

LIKE = 5  # two strings are like if they have this many characters together for each that is put in or taken out
MAX_LENGTH_RATIO = (LIKE + 1) / (LIKE - 1)  # nothing is like what is more times longer than this
WORD_LIKE = 0.6  # normalised likeness that each word has to its counterpart, where there are as many
MOST_STRANGE = 4  # one word in so many may have no counterpart, where there are more or fewer


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
    """A text without its white space and its capital letters."""
    return "".join(text.split()).lower()


def without_article(mention: str) -> str:
    """A mention without the article or the pronoun that it begins with; the mention itself where there is none."""
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
    """How many characters it takes to make a mention of a stretch of text that is like it, and says the same.

    Without case and white space, and with them; None where it is not like it, or says another thing.
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
    """Whether what is like a mention may mean the same: it has its digits, no word that stands for another one, few
    that have no counterpart, and no sign at its edges where the mention has a letter.

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
    """How many words have nothing like them among some others."""
    joined = "".join(theirs)
    return sum(
        word not in joined and not any(Indel.normalized_similarity(word, other) >= WORD_LIKE for other in theirs)
        for word in ours
    )


class SimilarSpans:
    """The words of a text, of which the stretches consist that a mention may be read as.

    Args:
        text: the text.
        starts, ends: where words start and end, as `genner.grammar.boundaries` says.
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
        """The stretches that differ from a mention in white space and case alone."""
        wanted, found = plain(mention), list[Span]()
        at = self._plain.find(wanted) if wanted else -1
        while at >= 0:
            first, end = self._at.get(at), self._at.get(at + len(wanted))
            if first is not None and end is not None:
                found.append((self._starts[first], self._ends[end - 1]))
            at = self._plain.find(wanted, at + 1)
        return found

    def cost(self, mention: str) -> int:
        """How many stretches `like` compares, more or less; where they are long, as many as take that time."""
        length, words = len(mention), len(self._starts)
        stretches = words + int(words * words * length * (MAX_LENGTH_RATIO - 1 / MAX_LENGTH_RATIO)) // max(
            len(self._plain), 1
        )
        return stretches * (1 + length * (1 + length // 64) // 100)

    def like(self, *mentions: str) -> list[Span]:
        """The stretches that are most like one of some mentions, the first of those that are as like to theirs; in
        reading order, none where none is like it."""
        return sorted(min(map(self._most_like, mentions), key=lambda some: some[0])[1])

    def _most_like(self, mention: str) -> tuple[float, list[Span]]:
        """How many characters it takes to make a mention of what is most like it, and where that is."""
        wanted = plain(mention)
        windows = self._windows(len(wanted))
        strings = [self._plain[start:end] for start, end in windows]
        most = int(len(wanted) * (1 + MAX_LENGTH_RATIO)) // LIKE
        fewest, spans = inf, list[Span]()
        known = dict[str, bool]()  # whether a stretch says the same
        # Those that take the fewest come first.
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
        """The stretches of words, in `_plain`, that are not too long or too short to be like a mention."""
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
        """The longest of some spans; of these, those that are most like a mention when case and white space count."""
        lengths = [len(plain(self._text[start:end])) for start, end in spans]
        spans = [span for span, length in zip(spans, lengths, strict=True) if length == max(lengths)]
        stretches = [self._text[start:end] for start, end in spans]
        distinct = list(dict.fromkeys(stretches))
        if len(distinct) < 2:
            return spans
        scores = {s: n for s, n, _ in process.extract(mention, distinct, scorer=Indel.distance, limit=None)}
        best = min(scores.values())
        return [span for span, stretch in zip(spans, stretches, strict=True) if scores[stretch] == best]
