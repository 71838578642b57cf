"""Noise: documents with typical errors of people and programs; entity offsets are adjusted exactly.

Every function here replaces each character of a text by a string (a *piece*), so that an entity's mention in the new
text is its pieces joined. Characters next to an entity's start or end change only in case, and no blank is added or
removed there: mentions stay recognizable, and an entity between word boundaries stays between them.
"""

import random
from collections.abc import Callable, Sequence

from genner.boundaries import composed
from genner.document import Document, Entity
from genner.training.recipe import SetSpec

RATE = 0.05
"""The share of possible places at which an error is made; at least one place."""

Noise = Callable[[Document, random.Random], Document]


def pieced(document: Document, pieces: Sequence[str]) -> Document:
    """The document with `pieces[i]` for its i-th character; none is empty where an entity starts or ends."""
    offsets = [0]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    entities = tuple(Entity(offsets[e.start], offsets[e.end], e.label, e.score) for e in document.entities)
    return Document("".join(pieces), entities, document.id)


def lowercase(document: Document, rng: random.Random) -> Document:
    """All letters in lower case."""
    return pieced(document, [_cased(char, char.lower()) for char in document.text])


def uppercase(document: Document, rng: random.Random) -> Document:
    """All letters in upper case."""
    return pieced(document, [_cased(char, char.upper()) for char in document.text])


def typos(document: Document, rng: random.Random) -> Document:
    """Letters left out, doubled, exchanged with the next one, or replaced by another letter of the text."""
    text, edges, pieces, done = document.text, _edges(document), list(document.text), -1
    places = [i for i in range(len(text) - 1) if _letters(text, i) and not edges & {i, i + 1, i + 2}]
    letters = [char for char in text if char.isalpha()]
    for i in _some(places, rng):
        if i <= done:
            continue
        done, kind = i + 1, rng.randrange(4)
        if kind == 0:
            pieces[i] = ""
        elif kind == 1:
            pieces[i] *= 2
        elif kind == 2:
            pieces[i : i + 2] = pieces[i + 1], pieces[i]
        else:
            pieces[i] = rng.choice(letters)
    return pieced(document, pieces)


def spacing(document: Document, rng: random.Random) -> Document:
    """Blanks removed, doubled or replaced by line ends; in about every second text, one inserted into a word."""
    text, edges, pieces = document.text, _edges(document), list(document.text)
    blanks = [i for i, char in enumerate(text) if char == " " and not edges & {i, i + 1} and not _marked(text, i)]
    words = [i for i in range(len(text) - 1) if _letters(text, i) and i + 1 not in edges]
    for i in _some(blanks, rng):
        pieces[i] = rng.choice(("", "  ", "\n"))
    if words and (not blanks or rng.random() < 0.5):
        pieces[rng.choice(words)] += " "
    return pieced(document, pieces)


NOISES: dict[str, Noise] = {"lowercase": lowercase, "uppercase": uppercase, "typos": typos, "spacing": spacing}
"""Noise functions by their key in [[set]]."""


def noises(spec: SetSpec, rng: random.Random) -> list[str]:
    """The keys of the noises for one example, in the order in which they are applied."""
    keys = []
    if spec.lowercase or spec.uppercase:
        drawn = rng.random()
        if drawn < spec.lowercase + spec.uppercase:
            keys.append("lowercase" if drawn < spec.lowercase else "uppercase")
    keys += ["typos"] if spec.typos and rng.random() < spec.typos else []
    keys += ["spacing"] if spec.spacing and rng.random() < spec.spacing else []
    return keys


def _edges(document: Document) -> set[int]:
    """Offsets where entities start or end. Only for membership tests, so order does not matter."""
    return {at for e in document.entities for at in e.span}


def _cased(char: str, other: str) -> str:
    """The `other` case of a letter if it has only letters, else the letter: lower-case `İ` is an `i` with a mark."""
    return other if char.isalpha() and other.isalpha() else char


def _letters(text: str, i: int) -> bool:
    """Whether the i-th character and the next are letters without marks."""
    return text[i].isalpha() and text[i + 1].isalpha() and not _marked(text, i + 1)


def _marked(text: str, i: int) -> bool:
    return i + 1 < len(text) and composed(text[i], text[i + 1])


def _some(places: Sequence[int], rng: random.Random) -> list[int]:
    """A random selection of the places, in order; at least one, unless there are none."""
    number = max(1, round(len(places) * RATE))
    return sorted(rng.sample(places, number)) if places else []
