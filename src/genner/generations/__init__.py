"""Scores of answers that other tools generated: LLaMA-Factory's file, the paper's five formats, two rules.

`paper` reproduces the published scripts, faults included; `strict` is the sound number. It stands above formats and
evaluation, which know nothing of each other.
"""

from genner.generations.paper import PAPER_RULES
from genner.generations.records import read_generations
from genner.generations.score import RULES, GenerationsReport, score_generations

__all__ = ["PAPER_RULES", "RULES", "GenerationsReport", "read_generations", "score_generations"]
