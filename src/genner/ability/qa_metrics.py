"""Scores of answers to reading comprehension questions: exact match and F1, as in DROP and SQuAD.

Reimplemented from the definitions, without the harness, so that a report can score a stored answer again after
truncation. Tests compare with the harness's functions.

    DROP   Dua et al. (2019), section 5: spans are aligned one to one, F1 of two bags of words is 0 unless they share a
           number where the gold has one; the best of several gold answers counts.
    SQuAD  Rajpurkar et al. (2016), section 6.1: F1 over the words as a multiset; the best gold answer counts.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from string import punctuation

EmF1 = tuple[float, float]
"""Exact match and F1, each in [0, 1]."""

_PUNCTUATION = str.maketrans("", "", punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_LIST = re.compile(r"\s*(?:;|,(?=\s)|\band\b)\s*")


def first_line(answer: str) -> str:
    """The first non-empty line, which holds the answer to a cue; empty when there is none."""
    return next((line.strip() for line in answer.splitlines() if line.strip()), "")


# -- DROP


def drop_stock(answer: str, golds: Sequence[Sequence[str]]) -> EmF1:
    """The score of the harness's task: the whole answer is one span, whatever it looks like."""
    return _best([_drop([answer], gold) for gold in golds if gold and gold[0].strip()])


def drop_cued(answer: str, golds: Sequence[Sequence[str]]) -> EmF1:
    """As `drop_stock`, but on the answer's first line, which is also read as a list if it looks like one.

    `a, b and c` is one span or three, whichever scores more; otherwise free text could never give three spans.
    """
    line = first_line(answer)
    listed = [part for part in _LIST.split(line) if part]
    readings = [[line]] + ([listed] if len(listed) > 1 else [])
    return _best([_drop(spans, gold) for gold in golds if gold and gold[0].strip() for spans in readings])


def _best(scores: Sequence[EmF1]) -> EmF1:
    return max((em for em, _ in scores), default=0.0), max((f1 for _, f1 in scores), default=0.0)


def _drop(spans: Sequence[str], gold: Sequence[str]) -> EmF1:
    """Exact match, and F1 rounded to two decimals as in DROP's own script."""
    said, true = [drop_words(span) for span in spans], [drop_words(span) for span in gold]
    same = len(said) == len(true) and {" ".join(words) for words in said} == {" ".join(words) for words in true}
    table = [[_bag_f1(set(a), set(b)) for a in said] for b in true]
    return float(same), round(_assigned(table) / max(len(said), len(true)), 2)


@lru_cache(maxsize=100_000)
def drop_words(span: str) -> tuple[str, ...]:
    """The words of a span: in lower case, without punctuation and articles; numbers as Python formats a float."""
    words: list[str] = []
    for token in re.split(r"[ -]", span):
        word = token.lower()
        if not _is_number(word):
            word = word.translate(_PUNCTUATION)
        if _is_number(word):
            word = str(float(word))
        words.extend(_ARTICLE.sub(" ", word).split())
    return tuple(words)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _bag_f1(said: set[str], true: set[str]) -> float:
    numbers = {word for word in true if _is_number(word)}
    if numbers and not numbers & said:
        return 0.0
    shared = len(said & true)
    precision, recall = (shared / len(bag) if bag else 1.0 for bag in (said, true))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _assigned(table: Sequence[Sequence[float]]) -> float:
    """The largest sum of entries with at most one in each row and column: by dynamic programming over the longer side
    and subsets of the shorter one. There are few spans.
    """
    rows = table if len(table) >= len(table[0]) else list(zip(*table, strict=True))
    best = {0: 0.0}  # columns taken, as bits -> largest sum
    for row in rows:
        step = dict(best)
        for taken, total in best.items():
            for column, value in enumerate(row):
                bit = 1 << column
                if value and not taken & bit and total + value > step.get(taken | bit, -1.0):
                    step[taken | bit] = total + value
        best = step
    return max(best.values())


# -- SQuAD


def squad(answer: str, golds: Sequence[str]) -> EmF1:
    """Exact match and F1 of the answer's first line against the closest gold answer."""
    said = squad_words(first_line(answer))
    trues = [squad_words(gold) for gold in golds]
    return _best([(float(said == true), _multiset_f1(said, true)) for true in trues])


def squad_words(text: str) -> list[str]:
    """The words of a text: in lower case, without punctuation and articles."""
    return _ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _multiset_f1(said: Sequence[str], true: Sequence[str]) -> float:
    if not said or not true:
        return float(said == true)
    shared = (Counter(said) & Counter(true)).total()
    return 2 * shared / (len(said) + len(true))


SCORERS: dict[str, Callable[..., EmF1]] = {"drop": drop_stock, "drop_cued": drop_cued, "squad": squad}
"""Task name -> scorer: (answer, gold answers) -> (exact match, F1)."""

ANSWER_WORDS: dict[str, Callable[[str], Sequence[str]]] = {
    "drop": drop_words,
    "drop_cued": drop_words,
    "squad": squad_words,
}
"""Task name -> function that splits a text into words as the task's metric does."""


def flat(golds: Sequence[str | Sequence[str]]) -> list[str]:
    """All gold strings: those of DROP are lists of spans."""
    return [span for gold in golds for span in ([gold] if isinstance(gold, str) else gold)]
