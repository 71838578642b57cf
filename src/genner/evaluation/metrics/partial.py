"""Half credit for overlaps."""

from genner.document import Document
from genner.evaluation.counts import Counts
from genner.evaluation.metrics.overlap import greedy, split_exact


def partial(gold: Document, pred: Document) -> Counts:
    """SemEval-2013 Task 9, "partial": the same span is worth 1, an overlapping one 0.5, whatever the labels.

    Entities of the same span are paired first; then each predicted entity in reading order takes the first gold entity
    left that it overlaps. On entities that do not overlap each other this is what nervaluate computes. Source: Segura-
    Bedmar, Martínez and Herrero-Zazo (2013), SemEval-2013 Task 9, after the MUC-5 categories.
    """
    right, expected, found = split_exact(gold, pred, by_label=False)
    half = sum(1 for _ in greedy(expected, found, by_label=False))
    credit = right + half / 2 if half else right
    return Counts.of(credit, found=len(pred.entities), expected=len(gold.entities))
