"""What one measurement gave: one side (a base, or an adapter on it) on one task with so many shots."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BASE, ADAPTER = "base", "adapter"


@dataclass(frozen=True)
class AbilityResult:
    """Scores of the items in `items` (a JSONL file, see `genner.ability.items`), and how they came about.

    `scores` are the harness's own: by metric, `{"value", "stderr"}`; `METRIC/FILTER` where a task has several filters.
    `answers` are means over the items of what is known of each: `em`, `f1`, `empty_rate`, `truncated_rate`,
    `mean_tokens` of the answer, `loglikelihood` of the gold answer (natural logarithm, per token), `choice` (see
    `genner.ability.distractors`); a key is missing where a task has no such thing.
    """

    task: str
    shots: int
    side: str
    model: str
    limit: int | None
    seed: int
    settings: dict[str, Any]
    scores: dict[str, dict[str, float | None]]
    answers: dict[str, float]
    examples: int
    left_out: dict[str, int]
    harness: str
    versions: dict[str, str]
    items: Path
    seconds: float
    tokens: int
    passes: int

    def metrics(self) -> dict[str, Any]:
        """The part of a cell's result.json under `metrics`."""
        keys = ("scores", "answers", "examples", "left_out", "harness")
        return {key: getattr(self, key) for key in keys}

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; the path of the items is their file's name."""
        return {**asdict(self), "items": self.items.name}
