"""The result of one measurement: one side (a base, or an adapter on it) on one task with so many shots."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BASE, ADAPTER = "base", "adapter"


@dataclass(frozen=True)
class AbilityResult:
    """Scores of the items in `items` (a JSONL file, see `genner.ability.items`), and how they were measured.

    `scores` are the harness's own: by metric, `{"value", "stderr"}`; `METRIC/FILTER` if a task has several filters.
    `answers` are means over the items: `em`, `f1`, `empty_rate`, `truncated_rate`, `mean_tokens` of the answer,
    `loglikelihood` of the gold answer (natural logarithm, per token), `choice` (see `genner.ability.distractors`); keys
    that do not apply to a task are missing.
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
        """The `metrics` part of a cell's result.json."""
        keys = ("scores", "answers", "examples", "left_out", "harness")
        return {key: getattr(self, key) for key in keys}

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; the path of the items is their file's name."""
        return {**asdict(self), "items": self.items.name}
