"""Spans without their labels."""

from collections import Counter

from genner.document import Document
from genner.evaluation.counts import Counts


def span(gold: Document, pred: Document) -> Counts:
    """Right: the same start and end, whatever the label; SemEval-2013 Task 9 calls it "exact".

    A span that has two labels occurs twice, so what is matched are multisets of spans.
    """
    expected, found = (Counter(e.span for e in document.entities) for document in (gold, pred))
    return Counts.of((expected & found).total(), found=found.total(), expected=expected.total())
