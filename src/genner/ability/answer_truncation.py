"""Cutting answers to one form, so that what they say can be compared apart from how much they say around it.

F1 punishes every word beyond the gold answer, so a model that learns to be brief gains F1 and knows no more. Each cut
takes that away in its own manner, and none is neutral; together they bracket the truth:

    short        what a careful reader takes for the answer: lead-in and further sentences go. No gold answer is needed,
                 so nothing is given away; but what it does not recognize, stays.
    same_length  both answers of an item are cut to the words of the shorter one. Favours the brief side: where a wordy
                 answer comes to its point late, the point is lost.
    window       the stretch of the answer that scores most, found with the gold answer. Favours the wordy side: the
                 more is said, the more stretches there are to choose from.
"""

import re
from collections.abc import Callable, Collection, Sequence

from genner.ability.qa_metrics import EmF1, first_line

AnswerScorer = Callable[[str], EmF1]

MAX_WINDOW_WORDS = 64
"""Words of an answer that `window` looks at: beyond, an answer is running text."""

_LEAD_IN = re.compile(r"^.{0,120}?\banswer\b[^.:]{0,80}?(?::|\bis\b:?)\s*", re.IGNORECASE)
# A point after a single letter or one of a few short forms ends no sentence; nor does one within a number.
_SENTENCE_END = re.compile(r"(?<!\b[A-Za-z])(?<!\bNo)(?<!\bMr)(?<!\bDr)(?<!\bSt)[.!?;]+(?=\s|$)")


def short(answer: str) -> str:
    """The first line without a lead-in such as `The answer is`, up to the end of its first sentence."""
    line = first_line(answer)
    rest = _LEAD_IN.sub("", line, count=1)
    if line and not rest:  # the lead-in has a line of its own
        rest = first_line(answer.partition(line)[2]) or line
    end = _SENTENCE_END.search(rest)
    return (rest[: end.start()] if end and end.start() else rest).strip()


def same_length(answer: str, other: str) -> tuple[str, str]:
    """The first lines of two answers, cut to the words of the one that has fewer."""
    both = first_line(answer).split(), first_line(other).split()
    words = min(map(len, both))
    return " ".join(both[0][:words]), " ".join(both[1][:words])


def window(answer: str, score: AnswerScorer, words_of: Callable[[str], Sequence[str]], known: Collection[str]) -> str:
    """The stretch of words of the answer that has the highest F1; of several, the shortest, then the first.

    Only stretches that begin and end with a word of the gold answers are tried, since a strange word at an edge never
    adds to F1. `words_of` gives the words of a text as the score sees them, `known` those of the gold answers.
    """
    words = answer.split()[:MAX_WINDOW_WORDS]
    edges = [i for i, word in enumerate(words) if any(part in known for part in words_of(word))]
    stretches = [" ".join(words[i : j + 1]) for i in edges for j in edges if i <= j]
    return max(stretches, key=lambda text: (score(text)[1], -len(text.split())), default=" ".join(words))
