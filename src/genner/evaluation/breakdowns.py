"""Strict counts by what an entity is like. To add a breakdown: a function that names an entity's bucket, and a line.

A bucket depends on the entity, its text and the gold document, and not on whether the entity is gold or predicted. So a
correct entity is in one bucket on both sides, a wrong one counts against its own bucket, and the buckets sum to the
strict counts.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from genner.document import Document, Entity
from genner.evaluation.words import words


@dataclass(frozen=True, slots=True)
class TrainingCounts:
    """The training data of a system: how often each mention, as written, was an entity of each label."""

    mentions: Counter[tuple[str, str]]  # (text, label)
    texts: frozenset[str]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Self:
        mentions = Counter((d.mention(e), e.label) for d in documents for e in d.entities)
        return cls(mentions, frozenset(text for text, _ in mentions))


NO_TRAINING = TrainingCounts(Counter(), frozenset())


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Buckets in display order, and the function that puts an entity into one of them."""

    definition: str
    buckets: tuple[str, ...]
    bucket: Callable[[Entity, Document, TrainingCounts], str]
    needs_training: bool = False


def _length(entity: Entity, gold: Document, training: TrainingCounts) -> str:
    # A mention of blanks alone has no word; it is as short as can be.
    n = words(gold.text).between(*entity.span)
    return str(max(n, 1)) if n < 5 else "5-9" if n < 10 else "10+"


def _depth(entity: Entity, gold: Document, training: TrainingCounts) -> str:
    outer = sum(e.start <= entity.start and entity.end <= e.end and e.span != entity.span for e in gold.entities)
    return str(outer) if outer < 3 else "3+"


def _seen(entity: Entity, gold: Document, training: TrainingCounts) -> str:
    text = gold.mention(entity)
    if (text, entity.label) in training.mentions:
        return "seen"
    return "other label" if text in training.texts else "unseen"


def _frequency(entity: Entity, gold: Document, training: TrainingCounts) -> str:
    n = training.mentions[gold.mention(entity), entity.label]
    return "0" if not n else "1" if n == 1 else "2-4" if n < 5 else "5-19" if n < 20 else "20+"


BREAKDOWNS: dict[str, Breakdown] = {
    "length": Breakdown("words of the mention", ("1", "2", "3", "4", "5-9", "10+"), _length),
    "depth": Breakdown("gold entities that hold the mention and are longer", ("0", "1", "2", "3+"), _depth),
    "seen": Breakdown(
        "whether the mention, as written, is an entity of this label in the training data, of another only, or of none",
        ("seen", "other label", "unseen"),
        _seen,
        needs_training=True,
    ),
    "frequency": Breakdown(
        "how often the mention, as written, is an entity of this label in the training data",
        ("0", "1", "2-4", "5-19", "20+"),
        _frequency,
        needs_training=True,
    ),
}
