"""Scores: counts per document, summed, then P, R and F1, then a bootstrap over the counts."""

from genner.evaluation.bootstrap import interval
from genner.evaluation.counts import Counts, count
from genner.evaluation.report import Report, evaluate

__all__ = ["Counts", "Report", "count", "evaluate", "interval"]
