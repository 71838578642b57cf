"""Counts that add; every score is a property of their sum.

Strict matching, as in the CoNLL-2003 shared task (Tjong Kim Sang and De Meulder, 2003): an entity is right if its
start, its end and its label are. Nested and crossing entities are matched one by one, like any other.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from genner.document import Document, Entity
from genner.errors import UsageError


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives, false negatives. A ratio whose denominator is 0 is 0.0, as in seqeval.

    Whole numbers, except where a metric gives half credit: a half right entity is half a true positive, half a false
    positive and half a false negative, so that `tp + fp` stays the number found and `tp + fn` the number expected.
    """

    tp: float = 0
    fp: float = 0
    fn: float = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @classmethod
    def of(cls, credit: float, *, found: int, expected: int) -> "Counts":
        """The counts where `credit` of the `found` and of the `expected` entities are right."""
        return cls(credit, found - credit, expected - credit)

    @property
    def support(self) -> int:
        """Entities in the gold data."""
        return round(self.tp + self.fn)

    @property
    def precision(self) -> float:
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


def count(gold: Document, pred: Document) -> dict[str, Counts]:
    """Strict counts by label, for the labels that occur in either document.

    Raises `UsageError` when the two texts differ, since then their offsets do not mean the same.
    """
    return count_by(gold, pred, lambda entity: entity.label)


def count_by(gold: Document, pred: Document, bucket: Callable[[Entity], str]) -> dict[str, Counts]:
    """Strict counts by bucket; a function of the entity alone, so that a right one is in the same bucket on both sides.

    Summed over the buckets they are the strict counts of the document. Raises `UsageError` as `count` does.
    """
    check_same_text(gold, pred)
    expected, found = set(gold.entities), set(pred.entities)
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    for entity in expected | found:
        counts[bucket(entity)] += Counts(
            tp=int(entity in expected and entity in found),
            fp=int(entity not in expected),
            fn=int(entity not in found),
        )
    return dict(counts)


def check_same_text(gold: Document, pred: Document) -> None:
    """Raise `UsageError` when the two texts differ."""
    if gold.text != pred.text:
        raise UsageError(f"document {gold.id!r}: the texts of gold and prediction differ {_difference(gold, pred)}")


def _difference(gold: Document, pred: Document) -> str:
    pairs = enumerate(zip(gold.text, pred.text, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(gold.text), len(pred.text)))
    a, b = (d.text[at : at + 20] or "the end" for d in (gold, pred))
    return f"at offset {at}, {a!r} and {b!r}; predict on the very texts of the gold file"
