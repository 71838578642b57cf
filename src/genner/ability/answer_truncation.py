"""Truncating answers to a common form, so that their content can be compared independently of their length.

F1 penalizes every word beyond the gold answer, so a model that learns to be brief gains F1 without knowing more. Each
truncation removes that effect in its own way, and none is neutral; together they bracket the truth:

    short        what a careful reader takes for the answer, without lead-in and further sentences. Uses no gold answer,
                 so leaks nothing; but lead-ins that it does not recognize stay.
    same_length  both answers of an item are cut to the length in words of the shorter one. Favours the brief side: if a
                 wordy answer comes to its point late, the point is lost.
    window       the stretch of the answer with the highest score against gold. Favours the wordy side: the more is
                 said, the more stretches there are to choose from.
"""

import re
from collections.abc import Callable, Collection, Sequence

from genner.ability.qa_metrics import EmF1, first_line

AnswerScorer = Callable[[str], EmF1]

MAX_WINDOW_WORDS = 64
"""Maximum number of words that `window` searches; a longer answer is running text."""

_LEAD_IN = re.compile(r"^.{0,120}?\banswer\b[^.:]{0,80}?(?::|\bis\b:?)\s*", re.IGNORECASE)
# A period after a single letter or a common abbreviation, or inside a number, does not end a sentence.
_SENTENCE_END = re.compile(r"(?<!\b[A-Za-z])(?<!\bNo)(?<!\bMr)(?<!\bDr)(?<!\bSt)[.!?;]+(?=\s|$)")


def short(answer: str) -> str:
    """The first line without a lead-in such as `The answer is`, up to the end of its first sentence."""
    line = first_line(answer)
    rest = _LEAD_IN.sub("", line, count=1)
    if line and not rest:  # the lead-in is on a line of its own
        rest = first_line(answer.partition(line)[2]) or line
    end = _SENTENCE_END.search(rest)
    return (rest[: end.start()] if end and end.start() else rest).strip()


def same_length(answer: str, other: str) -> tuple[str, str]:
    """The first lines of two answers, both cut to the number of words of the shorter one."""
    both = first_line(answer).split(), first_line(other).split()
    words = min(map(len, both))
    return " ".join(both[0][:words]), " ".join(both[1][:words])


def window(answer: str, score: AnswerScorer, words_of: Callable[[str], Sequence[str]], known: Collection[str]) -> str:
    """The stretch of words of the answer with the highest F1; among equals, the shortest, then the first.

    Only stretches that begin and end with a word of the gold answers are tried, since any other word at an edge never
    increases F1. `words_of` gives the words of a text as the metric counts them, `known` those of the gold answers.
    """
    words = answer.split()[:MAX_WINDOW_WORDS]
    edges = [i for i, word in enumerate(words) if any(part in known for part in words_of(word))]
    stretches = [" ".join(words[i : j + 1]) for i in edges for j in edges if i <= j]
    return max(stretches, key=lambda text: (score(text)[1], -len(text.split())), default=" ".join(words))
