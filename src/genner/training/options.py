"""Options of a training run besides its recipe: `RunOptions` is the single source of them and their defaults."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RunOptions:
    """Limits, evaluation, and where a run takes place.

    Attributes:
        max_minutes: stop after this time; the schedule adapts to it. None: no limit.
        epochs: number of epochs, instead of the recipe's.
        eval_minutes: minutes between evaluations on dev data.
        eval_steps: steps between evaluations, instead of minutes: reproducible.
        eval_sentences: number of dev sentences of each set to evaluate on.
        calibration_sentences: number of dev sentences of each set to calibrate scores on at the end. 0: no calibration;
            `genner train` calibrates by default.
        trackers: names of `genner.training.trackers.TRACKERS` that receive losses and scores.
        resume: continue the run in the same folder.
        device: torch's name of the device; None: the GPU if there is one.
    """

    max_minutes: float | None = None
    epochs: float | None = None
    eval_minutes: float = 15.0
    eval_steps: int | None = None
    eval_sentences: int = 40
    calibration_sentences: int = 0
    trackers: tuple[str, ...] = ()
    resume: bool = False
    device: str | None = None
