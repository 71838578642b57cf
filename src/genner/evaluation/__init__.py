"""Scores: counts per document, summed, then P, R and F1, then intervals over the units that were sampled."""

from genner.evaluation.compare import Comparison, compare
from genner.evaluation.counts import Counts, count
from genner.evaluation.intervals import interval
from genner.evaluation.metrics import METRICS
from genner.evaluation.report import EvaluationReport, evaluate
from genner.evaluation.taxonomy import Analysis, Verdict, analyse, verdicts

__all__ = [
    "METRICS",
    "Analysis",
    "Comparison",
    "Counts",
    "EvaluationReport",
    "Verdict",
    "analyse",
    "compare",
    "count",
    "evaluate",
    "interval",
    "verdicts",
]
