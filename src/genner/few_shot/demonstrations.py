"""The pool: the sentences of an annotated corpus that may be demonstrated."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from genner.chunks import chunks
from genner.data import read_corpus
from genner.document import Document, Entity
from genner.errors import UsageError

LONGEST = 1200  # code points: a longer document is cut into sentences, as texts that are asked about are


@dataclass(frozen=True)
class DemonstrationPool:
    """Sentences with their entities, each once.

    Attributes:
        sentences: the documents of the corpus, long ones cut into sentences.
        digest: identifies texts, entities and their order.
        left_out: counts of what was left out: `duplicates` (sentences), `cut` (entities across two sentences), `beyond
            the limit` (sentences).
    """

    sentences: tuple[Document, ...]
    digest: str
    left_out: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, documents: Iterable[Document], limit: int | None = None) -> "DemonstrationPool":
        """The sentences of these documents; with a `limit`, so many of them, evenly spaced.

        Raises `UsageError` when there is none.
        """
        left_out: Counter[str] = Counter()
        distinct: dict[str, Document] = {}
        for document in documents:
            for sentence in _sentences(document, left_out):
                if distinct.setdefault(same_text(sentence.text), sentence) is not sentence:
                    left_out["duplicates"] += 1
        sentences = [sentence for text, sentence in distinct.items() if text]
        if not sentences:
            raise UsageError("the demonstrations have no sentence; give an annotated corpus with at least one")
        if limit is not None and limit < len(sentences):
            left_out["beyond the limit"] = len(sentences) - limit
            sentences = [sentences[i * len(sentences) // limit] for i in range(limit)]
        digest = hashlib.blake2b(digest_size=6)
        for sentence in sentences:
            record = [sentence.text, [[e.start, e.end, e.label] for e in sentence.entities]]
            digest.update(json.dumps(record).encode())
        return cls(tuple(sentences), digest.hexdigest(), left_out)

    @classmethod
    def read(
        cls, source: "str | os.PathLike[str] | Iterable[Document]", limit: int | None = None
    ) -> "DemonstrationPool":
        """The sentences of a corpus, given as `read_corpus` takes it, or as documents. Raises as both do."""
        if isinstance(source, str | os.PathLike):
            return cls.of(read_corpus(os.fspath(source)), limit)
        documents = list(source) if isinstance(source, Iterable) else [None]
        if not all(isinstance(document, Document) for document in documents):
            raise UsageError(
                "demonstrations that are neither; legal: the name of an annotated corpus, or its documents"
            )
        return cls.of(documents, limit)

    @property
    def labels(self) -> frozenset[str]:
        """The labels that occur."""
        return frozenset(entity.label for sentence in self.sentences for entity in sentence.entities)


def same_text(text: str) -> str:
    """What two texts have in common that are the same sentence: all but white space and case."""
    return " ".join(text.split()).casefold()


def _sentences(document: Document, left_out: Counter[str]) -> Iterator[Document]:
    if len(document.text) <= LONGEST:
        yield Document(document.text, document.entities)
        return
    whole = 0
    for chunk in chunks(document.text, lambda piece: True, LONGEST):
        inside = [e for e in document.entities if chunk.start <= e.start and e.end <= chunk.end]
        whole += len(inside)
        shifted = tuple(Entity(e.start - chunk.start, e.end - chunk.start, e.label) for e in inside)
        yield Document(document.text[chunk.start : chunk.end], shifted)
    left_out["cut"] += len(document.entities) - whole
