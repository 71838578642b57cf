"""Labels, with spans that need only overlap."""

from genner.document import Document
from genner.evaluation.counts import Counts
from genner.evaluation.metrics.overlap import greedy, split_exact


def type_(gold: Document, pred: Document) -> Counts:
    """SemEval-2013 Task 9, "type": right is the same label on a span that overlaps by one code point or more.

    Entities of the same span and label are paired first; then each predicted entity in reading order takes, of the gold
    entities left that it overlaps, the closest with its label, else the first with another, which is then spent. On
    entities that do not overlap each other this is what nervaluate computes as "ent_type".
    """
    right, expected, found = split_exact(gold, pred, by_label=True)
    right += sum(e.label == p.label for e, p in greedy(expected, found, by_label=True))
    return Counts.of(right, found=len(pred.entities), expected=len(gold.entities))
