"""Invented words: each letter and digit of a word is replaced; length, case and all other characters are kept."""

import random
import re
import unicodedata
from functools import cache

ALPHABETS = {
    "LATIN": ("bcdfghjklmnprstvwz", "aeiou"),
    "CYRILLIC": ("бвгджзклмнпрстфхцчш", "аеиоу"),
    "GREEK": ("βγδζθκλμνξπρστφχψ", "αεηιουω"),
}
"""Consonants and vowels by script; a script is the prefix of its characters' Unicode names."""

TRIES = 50
_WORD = re.compile(r"[^\W_]+")


def invent(mention: str, seed: str) -> str:
    """A mention with every word replaced by an invented one of the same length, case and kind of characters.

    Letters of the scripts in `ALPHABETS` become alternating consonants and vowels, so that the word is pronounceable.
    Letters of other scripts become other letters near them in Unicode (syllables, or consonants whose marks stay in
    place). Decimal digits become other digits; other characters stay. With one seed, the same word gives the same
    invented word, whatever its case. A mention with nothing to replace becomes a Latin word of its length, so the
    result never equals the mention. An invented word, above all a short one, may exist by chance.
    """
    made = _WORD.sub(lambda match: _word(match.group(), seed), mention)
    return made if made != mention else _latin(mention, seed)


def _word(word: str, seed: str) -> str:
    rng = random.Random(f"{seed}:{word.lower()}")
    for _ in range(TRIES):
        made = _draw(word, rng)
        if made.casefold() != word.casefold():
            return made
    return word


def _draw(word: str, rng: random.Random) -> str:
    made, vowel = "", rng.random() < 0.3
    for char in word:
        if char.isdecimal():
            made += chr(ord(char) - unicodedata.decimal(char) + rng.randint(1, 9))
        elif not char.isalpha():
            made += char
        elif sounds := ALPHABETS.get(_script(char)):
            drawn = rng.choice(sounds[vowel])
            made += drawn.upper() if char.isupper() else drawn
            vowel = not vowel
        else:
            made += rng.choice(_near(char))
    return made


def _latin(mention: str, seed: str) -> str:
    return _draw("x" * len(mention), random.Random(f"{seed}:{mention}"))


def _script(char: str) -> str:
    return unicodedata.name(char, "").partition(" ")[0]


@cache
def _near(char: str) -> str:
    """The letters of the same script and category in the surrounding 128 code points, including the letter itself."""
    first = ord(char) & ~127
    block = map(chr, range(first, first + 128))
    kind = unicodedata.category(char), _script(char)
    return "".join(c for c in block if (unicodedata.category(c), _script(c)) == kind)
