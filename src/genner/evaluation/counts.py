"""Counts that add; every score is a property of their sum.

Strict matching, as in the CoNLL-2003 shared task (Tjong Kim Sang and De Meulder, 2003): an entity is right if its
start, its end and its label are. Nested and crossing entities are matched one by one, like any other.
"""

from collections import defaultdict
from dataclasses import dataclass

from genner.document import Document
from genner.errors import UsageError


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives, false negatives. A ratio whose denominator is 0 is 0.0, as in seqeval."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def support(self) -> int:
        """Entities in the gold data."""
        return self.tp + self.fn

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
    """Counts by label, for the labels that occur in either document.

    Raises `UsageError` when the two texts differ, since then their offsets do not mean the same.
    """
    if gold.text != pred.text:
        raise UsageError(f"document {gold.id!r}: the texts of gold and prediction differ {_difference(gold, pred)}")
    expected, found = set(gold.entities), set(pred.entities)
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    for entity in expected | found:
        counts[entity.label] += Counts(
            tp=int(entity in expected and entity in found),
            fp=int(entity not in expected),
            fn=int(entity not in found),
        )
    return dict(counts)


def _difference(gold: Document, pred: Document) -> str:
    pairs = enumerate(zip(gold.text, pred.text, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(gold.text), len(pred.text)))
    a, b = (d.text[at : at + 20] or "the end" for d in (gold, pred))
    return f"at offset {at}, {a!r} and {b!r}; predict on the very texts of the gold file"
