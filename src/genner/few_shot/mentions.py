"""Solved questions for verification: mentions of the pool, with the answer yes or no.

A mention of the label asked about is answered yes. Answered no are mentions of other labels, and one word of each
sentence that is in no entity, drawn by the seed. Half of the questions that are shown are answered yes, half no, as far
as there are any: the nearest to the mention in question by their own vectors (retrieval `entity`) or by those of their
sentences (`sentence`), or random ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genner.document import Document, Span
from genner.few_shot.demonstrations import DemonstrationPool, same_text
from genner.few_shot.encoders import Encoder
from genner.few_shot.retrieval import generator, words


@dataclass(frozen=True, slots=True)
class SolvedQuestion:
    """Whether the span of a sentence is an entity of the label asked about."""

    sentence: Document
    span: Span
    yes: bool


class MentionExamples:
    """Finds solved questions for a mention. Arguments as of `genner.few_shot.retrieval.retriever`."""

    def __init__(
        self, pool: DemonstrationPool, retrieval: str, encoder: Encoder | None, queries: Encoder | None, seed: int
    ) -> None:
        self._pool, self._retrieval, self._queries, self._seed = pool, retrieval, queries, seed
        spans = [_spans(number, sentence, seed) for number, sentence in enumerate(pool.sentences)]
        self._owners = np.array([i for i, some in enumerate(spans) for _ in some], np.int64)
        self._spans = [span for some in spans for span in some]
        self._labels = [
            frozenset(e.label for e in pool.sentences[i].entities if e.span == span)
            for i, span in zip(self._owners.tolist(), self._spans, strict=True)
        ]
        if retrieval == "random":
            self._keys: npt.NDArray[np.float32] | None = None
        elif retrieval == "sentence":
            assert encoder is not None
            self._keys = encoder.sentences([s.text for s in pool.sentences])[self._owners]
        else:
            assert encoder is not None
            having = [i for i, some in enumerate(spans) if some]
            vectors = encoder.spans([pool.sentences[i].text for i in having], [spans[i] for i in having])
            self._keys = np.concatenate(vectors) if vectors else None

    def find(self, text: str, spans: Sequence[tuple[Span, str]], count: int) -> list[list[SolvedQuestion]]:
        """For each mention of a text, given as (span, label), `count` solved questions, nearest last."""
        ranks = self._ranks(text, spans)
        found = []
        itself = same_text(text)
        for (_, label), rank in zip(spans, ranks, strict=True):
            wanted = {True: (count + 1) // 2, False: count // 2}
            some: list[SolvedQuestion] = []
            for number in rank:
                yes = label in self._labels[number]
                sentence = self._pool.sentences[self._owners[number]]
                if wanted[yes] and same_text(sentence.text) != itself:
                    wanted[yes] -= 1
                    some.append(SolvedQuestion(sentence, self._spans[number], yes))
                if not any(wanted.values()):
                    break
            found.append(some[::-1])
        return found

    def _ranks(self, text: str, spans: Sequence[tuple[Span, str]]) -> list[list[int]]:
        """For each mention all numbers of the pool's mentions, nearest first."""
        if self._keys is None:
            size = len(self._spans)
            return [generator(self._seed, text, *span, label).permutation(size).tolist() for span, label in spans]
        assert self._queries is not None
        if self._retrieval == "sentence":
            vectors = np.repeat(self._queries.sentences([text]), len(spans), axis=0)
        else:
            vectors = self._queries.spans([text], [[span for span, _ in spans]])[0]
        ranks: list[list[int]] = np.argsort(-(vectors @ self._keys.T), axis=1, kind="stable").tolist()
        return ranks


def _spans(number: int, sentence: Document, seed: int) -> list[Span]:
    """The mentions of a sentence, each span once, and a word in none of them if there is one."""
    spans = list(dict.fromkeys(e.span for e in sentence.entities))
    outside = [
        (start, end)
        for start, end in words(sentence.text)
        if end - start > 2 and not any(e.start < end and start < e.end for e in sentence.entities)
    ]
    if outside:
        spans.append(outside[int(generator(seed, number, sentence.text).integers(len(outside)))])
    return spans
