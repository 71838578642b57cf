"""What a training run is given beside its recipe: `RunOptions`, the one place of these options and their defaults."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RunOptions:
    """Limits, evaluation, and where a run takes place.

    Attributes:
        max_minutes: stop after so long; the schedule fits it. None: no limit.
        epochs: instead of the recipe's number of epochs.
        eval_minutes: minutes between evaluations on dev data.
        eval_steps: steps between evaluations, instead of minutes: the same at each run.
        eval_sentences: dev sentences of each set to evaluate on.
        calibration_sentences: dev sentences of each set to calibrate scores on at the end. 0: do not; `genner train`
            calibrates unless told otherwise.
        trackers: names of `genner.training.trackers.TRACKERS` that are told of losses and scores.
        resume: go on where the run in the same folder left off.
        device: as torch calls it; None: the GPU if there is one.
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
