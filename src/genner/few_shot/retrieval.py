"""Which sentences of the pool are demonstrated for a sentence: random ones, or the nearest by sentence or by entity.

- `random`: drawn anew for each sentence, by the seed and its text.
- `sentence`: the sentences whose vectors are nearest to the vector of the whole sentence.
- `entity`: every word of the sentence looks for the nearest words of entities in the pool; the sentences of the nearest
  of all these are taken. So a sentence finds others with entities like the words it has, whatever else they say.

In the paper the keys of entity-level retrieval are all words of the training sentences, by the vectors of a tagger
fine-tuned on them, which knows of entities. A general encoder does not, and to it function words are nearest; so here
the keys are the words of entities alone, and a sentence without entities is never found by entity.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from genner.document import Document, Span
from genner.errors import UsageError
from genner.few_shot.demonstrations import DemonstrationPool
from genner.few_shot.encoders import Encoder
from genner.few_shot.similarity import Vectors, vector_search

Retrieval = Literal["random", "sentence", "entity"]

_WORDS = re.compile(r"\w+")


class Retriever(Protocol):
    """Ranks the sentences of a pool for a text."""

    def retrieve(self, texts: Sequence[str], count: int) -> list[list[int]]:
        """For each text the numbers of `count` sentences of the pool, nearest first; all if there are fewer. The text
        itself may be among them."""
        ...


def retriever(
    kind: str, pool: DemonstrationPool, encoder: Encoder | None, *, queries: Encoder | None, seed: int, search: str
) -> Retriever:
    """The retriever of a kind.

    Args:
        encoder: gives the vectors of the pool.
        queries: gives those of the texts, the same encoder without a cache.
    """
    if kind == "random":
        return RandomRetriever(pool, seed)
    assert encoder is not None
    assert queries is not None
    if kind == "sentence":
        return SentenceRetriever(pool, encoder, queries, search)
    return EntityRetriever(pool, encoder, queries, search)


class RandomRetriever:
    """Draws sentences. The draw depends on the seed and the text, not on what was asked before."""

    def __init__(self, pool: DemonstrationPool, seed: int) -> None:
        self._size, self._seed = len(pool.sentences), seed

    def retrieve(self, texts: Sequence[str], count: int) -> list[list[int]]:
        wanted = min(count, self._size)
        return [generator(self._seed, text).choice(self._size, wanted, replace=False).tolist() for text in texts]


class SentenceRetriever:
    """The sentences whose vectors are nearest to the text's."""

    def __init__(self, pool: DemonstrationPool, encoder: Encoder, queries: Encoder, search: str) -> None:
        self._queries = queries
        self._search = vector_search(encoder.sentences([s.text for s in pool.sentences]), search)

    def retrieve(self, texts: Sequence[str], count: int) -> list[list[int]]:
        if not texts:
            return []
        numbers, _ = self._search.nearest(self._queries.sentences(texts), count)
        found: list[list[int]] = numbers.tolist()
        return found


class EntityRetriever:
    """The sentences with the entity words nearest to any word of the text.

    Raises `UsageError` when no sentence of the pool has an entity.
    """

    def __init__(self, pool: DemonstrationPool, encoder: Encoder, queries: Encoder, search: str) -> None:
        self._queries = queries
        places = [entity_words(sentence) for sentence in pool.sentences]
        having = [i for i, spans in enumerate(places) if spans]
        if not having:
            raise UsageError("retrieval 'entity' needs demonstrations with entities, and these have none; give others")
        vectors = encoder.spans([pool.sentences[i].text for i in having], [places[i] for i in having])
        self._owners = np.array([i for i, some in zip(having, vectors, strict=True) for _ in some], np.int64)
        self._sentences = len(having)
        self._search, self._keys = vector_search(np.concatenate(vectors), search), len(self._owners)

    def retrieve(self, texts: Sequence[str], count: int) -> list[list[int]]:
        spans = [words(text) for text in texts]
        asking = [i for i, some in enumerate(spans) if some]
        vectors = self._queries.spans([texts[i] for i in asking], [spans[i] for i in asking]) if asking else []
        found: list[list[int]] = [[] for _ in texts]
        for number, queries in zip(asking, vectors, strict=True):
            found[number] = self._nearest(queries, min(count, self._sentences))
        return found

    def _nearest(self, queries: Vectors, count: int) -> list[int]:
        """The sentences by their word nearest to any of the queries.

        Each query has neighbours of at least `count` sentences, so no sentence that is nearer is missed.
        """
        wanted = min(self._keys, 2 * count)
        while True:
            numbers, scores = self._search.nearest(queries, wanted)
            owners = self._owners[numbers]
            if wanted == self._keys or all(len(set(row)) >= count for row in owners.tolist()):
                break
            wanted = min(self._keys, 2 * wanted)
        best: dict[int, float] = {}
        for owner, score in zip(owners.ravel().tolist(), scores.ravel().tolist(), strict=True):
            best[owner] = max(score, best.get(owner, -2.0))
        return sorted(best, key=lambda owner: (-best[owner], owner))[:count]


def words(text: str) -> list[Span]:
    """The words of a text; punctuation is none."""
    return [match.span() for match in _WORDS.finditer(text)]


def entity_words(sentence: Document) -> list[Span]:
    """The words of a sentence that are part of an entity."""
    return [
        (start, end)
        for start, end in words(sentence.text)
        if any(e.start < end and start < e.end for e in sentence.entities)
    ]


def generator(seed: int, *parts: object) -> np.random.Generator:
    """Random numbers that depend on the seed and on these parts alone."""
    digest = hashlib.blake2b(repr((seed, *parts)).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
