"""Wrong answers of the correct form: they test by likelihood, without generation, whether a model knows an answer.

The log-likelihood of a gold answer does not depend on the length of a generated answer, but a model that has learned to
expect brief answers finds every brief one likelier, wrong ones included. Comparison with wrong answers of the same form
cancels this effect and leaves whether the model prefers the correct one. So `AbilityItem.choice` is independent of
form, and a generative task becomes multiple choice.
"""

import random
import re
from collections.abc import Callable, Sequence

NUMBER = 3
"""Number of wrong answers per item, if its passage has so many."""

_DIGITS = re.compile(r"\d[\d,]*(?:\.\d+)?")


def distractors(
    passage: str,
    gold: Sequence[str],
    words_of: Callable[[str], Sequence[str]],
    seed: str,
    number: int = NUMBER,
) -> list[str]:
    """Up to `number` wrong answers from the passage, for a question whose gold answers (each one span) are `gold`.

    For a number they are other numbers. Otherwise they are stretches of as many words as the first gold answer, within
    a sentence, that begin with a capital if it does and share no word with any gold answer. Those nearest in length to
    the first gold answer are chosen, since likelihood depends on length; `seed` decides between equals.
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
