"""State of a training run, its limits, and its records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genner.data import write_atomic
from genner.errors import UsageError
from genner.training.checkpoint import writing
from genner.training.curve import read_metrics
from genner.training.trackers import Tracker

LOG_STEPS = 10  # steps between two records of the loss; each is the mean over these steps


@dataclass(frozen=True)
class Limits:
    """When a run stops, and how often it evaluates and saves. It stops at the time limit or after its epochs, whichever
    comes first.

    `max_minutes` and `eval_minutes` count the time spent in steps, over all parts of an interrupted run; evaluating,
    saving and preparing data come on top. `eval_steps` sets the number of steps between evaluations instead.
    """

    max_minutes: float | None = None
    eval_minutes: float = 15.0
    save_minutes: float = 5.0
    eval_steps: int | None = None

    def __post_init__(self) -> None:
        if self.eval_steps is not None and self.eval_steps < 1:
            raise UsageError(f"eval_steps {self.eval_steps}; legal: 1 or more, or None for evaluations by the clock")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise UsageError(f"max_minutes {self.max_minutes}; legal: more than 0, or None for no limit")


@dataclass
class TrainingProgress:
    """State of a run that a checkpoint stores besides weights and optimizer state."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = -1.0
    evaluated: float = 0.0  # `seconds` at the last evaluation
    stale: int = 0  # number of evaluations since the best one
    finished: bool = False
    losses: list[float] = field(default_factory=list)  # of the last steps, for the next record


class Records:
    """Writes a run's metrics to `metrics.jsonl` and the trackers; `path` is None in a process that writes nothing."""

    def __init__(self, path: Path | None, trackers: Sequence[Tracker]) -> None:
        self._path, self._trackers = path, trackers

    def trim(self, progress: TrainingProgress) -> None:
        """Drop the records of steps after the last checkpoint: these steps are run and recorded again."""
        if self._path:
            with writing(self._path) as path:
                kept = [record for record in read_metrics(path) if record["step"] <= progress.step]
                write_atomic(path, "".join(json.dumps(record) + "\n" for record in kept))

    def step(self, progress: TrainingProgress, loss: float, learning_rate: float) -> None:
        """Add the loss of a step; every `LOG_STEPS` steps, write the mean."""
        recent = progress.losses = [*progress.losses, loss][-LOG_STEPS:]
        if progress.step % LOG_STEPS == 0:
            self.add(progress, loss=round(sum(recent) / len(recent), 5), lr=learning_rate)

    def add(self, progress: TrainingProgress, **values: float) -> None:
        """Write a record."""
        if not self._path:
            return
        head = {"step": progress.step, "tokens": progress.tokens, "seconds": round(progress.seconds, 1)}
        with writing(self._path) as path, path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(head | values) + "\n")
        for tracker in self._trackers:
            tracker.log(values, progress.step)
