"""Mentions without their positions."""

from collections import Counter

from genner.document import Document
from genner.evaluation.counts import Counts


def text(gold: Document, pred: Document) -> Counts:
    """Right: the same label and the same text of the mention, wherever it stands in the document.

    What is matched are multisets: a text that is an entity twice must be found twice. Texts are compared code point by
    code point. Never below `strict`, and the most that formats without positions can be scored by.
    """
    expected, found = (Counter((e.label, d.mention(e)) for e in d.entities) for d in (gold, pred))
    return Counts.of((expected & found).total(), found=found.total(), expected=expected.total())
