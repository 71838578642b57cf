"""An encoder without weights, and a small pool, for the tests of few-shot prompting."""

import hashlib
from collections.abc import Sequence

import numpy as np

from genner.document import Document, Entity, Span
from genner.few_shot.encoders import unit
from genner.few_shot.similarity import Vectors

SIZE = 32


class HashEncoder:
    """A word's vector is random, the same wherever it stands; a longer text's is the sum of those of its words."""

    name = "hash"

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def sentences(self, texts: Sequence[str]) -> Vectors:
        self.encoded += texts
        vectors = [sum((_vector(word) for word in text.casefold().split()), np.zeros(SIZE)) for text in texts]
        return unit(np.array(vectors, np.float32).reshape(-1, SIZE))

    def spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        return [self.sentences([text[slice(*span)] for span in some]) for text, some in zip(texts, spans, strict=True)]


def _vector(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(word.strip(".,").encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).normal(size=SIZE)


def tagged(text: str, **mentions: str) -> Document:
    """A document with these mentions, as label=mention; `_` in a mention stands for a blank."""
    entities = []
    for label, mention in mentions.items():
        start = text.index(mention.replace("_", " "))
        entities.append(Entity(start, start + len(mention), label))
    return Document(text, tuple(entities))


POOL = [
    tagged("Rome is far away.", LOC="Rome"),
    tagged("Ann left early.", PER="Ann"),
    tagged("It rained in Paris.", LOC="Paris"),
    tagged("Nobody came to the party."),
    tagged("Bob met Ann in Oslo.", PER="Bob", LOC="Oslo"),
    tagged("The train to Rome was late.", LOC="Rome"),
]
