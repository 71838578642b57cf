"""Scores of free answers, and of those that other tools generated: LLaMA-Factory's file, the paper's five formats.

Three readings of the same answers stand side by side: `paper` reproduces the published scripts, faults included;
`strict` takes an answer for what it says; `repaired` is what genner's reader makes of it. The package stands above
formats and evaluation, which know nothing of each other.
"""

from genner.generations.paper import PAPER_RULES
from genner.generations.readings import READINGS, Readings, read_answers
from genner.generations.records import read_generations
from genner.generations.score import GenerationsReport, score_generations

__all__ = [
    "PAPER_RULES",
    "READINGS",
    "GenerationsReport",
    "Readings",
    "read_answers",
    "read_generations",
    "score_generations",
]
