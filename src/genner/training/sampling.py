"""Which documents of a set an epoch uses: low-resource subsets, limits on empty sentences, joined documents."""

import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from genner.document import Document, Entity

ExampleT = TypeVar("ExampleT")


def selected(documents: Sequence[Document], share: float, k: int, seed: int, corpus: str) -> list[Document]:
    """The training documents of a corpus that a share below 1, or `k` shots, select under a seed; else all."""
    drawn_by = f"{seed}:{corpus}"
    if share < 1:
        return fraction(documents, share, drawn_by)
    return shots(documents, k, drawn_by) if k else list(documents)


def fraction(documents: Sequence[Document], share: float, seed: str) -> list[Document]:
    """A share of the documents, in their order; at least one. With one seed, a smaller part is a subset of a larger."""
    order = list(range(len(documents)))
    random.Random(seed).shuffle(order)
    return [documents[i] for i in sorted(order[: max(1, round(share * len(order)))])]


def shots(documents: Sequence[Document], k: int, seed: str) -> list[Document]:
    """A k-shot subset, in the documents' order: at least `k` entities of each label, or all if there are fewer.

    The greedy sampling of Yang and Katiyar (2020), "Simple and Effective Few-Shot Named Entity Recognition with
    Structured Nearest Neighbor Learning": label by label, the rarest first, draw documents with the label until it
    occurs `k` times; a document's other entities count for their labels. Frequent labels end up with more.
    """
    order = list(range(len(documents)))
    random.Random(seed).shuffle(order)
    total = Counter(e.label for d in documents for e in d.entities)
    held: Counter[str] = Counter()
    chosen = set[int]()
    for label in sorted(total, key=lambda tag: (total[tag], tag)):
        for i in order:
            if held[label] >= k:
                break
            labels = [e.label for e in documents[i].entities]
            if i not in chosen and label in labels:
                chosen.add(i)
                held.update(labels)
    return [documents[i] for i in sorted(chosen)]


def without_empty(documents: Sequence[Document], share: float, rng: random.Random) -> list[Document]:
    """The documents, with those without entities randomly reduced to at most the share `share`."""
    empty = [i for i, d in enumerate(documents) if not d.entities]
    full = len(documents) - len(empty)
    room = len(empty) if share >= 1 else int(share * full / (1 - share) + 1e-9)  # 0.3 * 7 / 0.7 is a little below 3
    if len(empty) <= room:
        return list(documents)
    kept = set(rng.sample(empty, room))
    return [d for i, d in enumerate(documents) if d.entities or i in kept]


def runs(documents: Sequence[ExampleT], share: float, rng: random.Random) -> list[Sequence[ExampleT]]:
    """The documents, each once, in runs: two or three consecutive ones in this share of cases, else a single one."""
    made, at = list[Sequence[ExampleT]](), 0
    while at < len(documents):
        number = rng.choice((2, 3)) if share and rng.random() < share else 1
        made.append(documents[at : at + number])
        at += number
    return made


def joined(documents: Iterable[Document]) -> Document:
    """Several documents joined into one text, with blanks between, except after East Asian punctuation."""
    text, entities, ids = "", list[Entity](), list[str]()
    for document in documents:
        if text and document.text and not (_wide(text[-1]) and _wide(document.text[0]) and not text[-1].isalnum()):
            text += " "
        entities += [e.shifted(len(text)) for e in document.entities]
        text += document.text
        ids.append(document.id)
    return Document(text, tuple(entities), "+".join(ids))


def _wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"


def times(documents: Sequence[ExampleT], weight: float, concat: float, rng: random.Random) -> list[Sequence[ExampleT]]:
    """Repeat the documents `weight` times, in runs, reshuffling each copy; a fractional last copy is truncated."""
    chosen: list[Sequence[ExampleT]] = []
    while weight > 0:
        copy = runs(documents, concat, rng)
        rng.shuffle(copy)
        chosen += copy[: round(len(copy) * min(1.0, weight))]
        weight -= 1
    return chosen
