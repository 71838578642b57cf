"""The number: strict spans."""

from genner.document import Document
from genner.evaluation.counts import Counts


def strict(gold: Document, pred: Document) -> Counts:
    """Right: the same start, end and label. Nested and crossing entities count one by one."""
    right = len(set(gold.entities) & set(pred.entities))
    return Counts.of(right, found=len(pred.entities), expected=len(gold.entities))
