"""Wrong answers of the right form: whether a model knows an answer, asked without letting it speak.

The log-likelihood of a gold answer depends on no answer's length, but a model that has come to expect brief answers
finds every brief one likelier, wrong ones included. Against wrong answers of the same form this cancels: what is left
is whether the model prefers the right one. So `Item.choice` is the measure that form cannot move, and a task that was
generative becomes a multiple choice.
"""

import random
import re
from collections.abc import Callable, Sequence

NUMBER = 3
"""How many wrong answers an item gets, where its passage has so many."""

_DIGITS = re.compile(r"\d[\d,]*(?:\.\d+)?")


def distractors(
    passage: str,
    gold: Sequence[str],
    words_of: Callable[[str], Sequence[str]],
    seed: str,
    number: int = NUMBER,
) -> list[str]:
    """Up to `number` wrong answers out of the passage, for a question whose gold answers (each one span) are `gold`.

    For a number they are other numbers. For anything else, stretches of as many words as the first gold answer, within
    a sentence, that begin with a capital if it does, and share no word with any gold answer. Of all these, the ones
    that are nearest to the first gold answer in length, since likelihood goes with it; among equals `seed` draws.
    """
    rng = random.Random(seed)
    taken = {word for answer in gold for word in words_of(answer)}
    if _DIGITS.fullmatch(gold[0].strip()):
        found = [match.group().rstrip(",") for match in _DIGITS.finditer(passage)]
    else:
        size, capital = len(gold[0].split()), gold[0].strip()[:1].isupper()
        found = [text for text in _stretches(passage, size) if text[:1].isupper() == capital]
    some = list({tuple(words_of(text)): text for text in found if not taken & set(words_of(text))}.items())
    rng.shuffle(some)
    some.sort(key=lambda pair: abs(len(pair[1]) - len(gold[0].strip())))
    return [text for words, text in some if words][:number]


def _stretches(passage: str, size: int) -> list[str]:
    """All stretches of so many words, without punctuation at their edges or inside."""
    found = []
    for clause in re.split(r"[.,;:!?()\"]+(?=\s|$)|[\"()]", passage):
        words = clause.split()
        found += [" ".join(words[i : i + size]) for i in range(len(words) - size + 1)]
    return found
