"""Strict, but for one word at each edge."""

from genner.document import Document, Entity
from genner.evaluation.counts import Counts
from genner.evaluation.metrics.overlap import overlaps
from genner.evaluation.words import WordIndex, words

SLACK = 1  # words


def tolerant(gold: Document, pred: Document) -> Counts:
    """Right: the same label, overlapping spans, and each edge off by at most one word.

    An edge is off by the number of words (see `words.py`) of which at least one code point lies between the two edges;
    so a title, an article or a full stop more or less is forgiven. Each entity is matched once at most; the
    number right is the size of the largest such matching, which does not depend on any order. Never below `strict`.
    """
    measure = words(gold.text)
    allowed = [[i for i, e in enumerate(gold.entities) if _near(e, p, measure)] for p in pred.entities]
    right = maximum_matching(allowed)
    return Counts.of(right, found=len(pred.entities), expected=len(gold.entities))


def _near(a: Entity, b: Entity, measure: WordIndex) -> bool:
    if a.label != b.label or not overlaps(a, b):
        return False
    edges = (a.start, b.start), (a.end, b.end)
    return all(measure.between(min(edge), max(edge)) <= SLACK for edge in edges)


def maximum_matching(allowed: list[list[int]]) -> int:
    """The size of the largest matching between rows and columns; `allowed[row]` are the columns a row may take.

    By augmenting paths (Kuhn, 1955): each row takes a free column, or one whose owner can move on.
    """
    owner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in allowed[row]:
            if column in tried:
                continue
            tried.add(column)
            if column not in owner or place(owner[column], tried):
                owner[column] = row
                return True
        return False

    return sum(place(row, set()) for row in range(len(allowed)))
