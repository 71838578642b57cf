"""Scores of free answers, and of those that other tools generated: LLaMA-Factory's file, the paper's five formats.

`paper` reproduces the published scripts, faults included; `strict` is the sound number; `read_answers` gives both, and
what an answer is worth if nothing in it is looked up. It stands above formats and evaluation, which know nothing of
each other.
"""

from genner.generations.paper import PAPER_RULES
from genner.generations.readings import Readings, read_answers
from genner.generations.records import read_generations
from genner.generations.score import RULES, GenerationsReport, score_generations

__all__ = [
    "PAPER_RULES",
    "RULES",
    "GenerationsReport",
    "Readings",
    "read_answers",
    "read_generations",
    "score_generations",
]
