"""Experiment trackers: they receive the losses and dev scores that `metrics.jsonl` records, as they are recorded.

None is required or installed by default. They wrap accelerate's trackers and add what these lack: a resumed run
continues at its checkpoint. To add one: a class with the three methods, and a line in `TRACKERS`.
"""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from genner.errors import UnknownNameError, UsageError
from genner.extras import install_command


class Tracker(Protocol):
    """Receives the metrics of a run. A resumed run calls `begin` again, with the step of its checkpoint."""

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        """A run starts, or resumes after `step` steps."""
        ...

    def log(self, values: dict[str, float], step: int) -> None:
        """Metrics by name, after `step` steps."""
        ...

    def end(self) -> None:
        """The run, or this part of it, is over."""
        ...


class _Accelerated:
    """One of accelerate's trackers, for the run in the folder `out`; made when the run begins."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._tracker: Any = None

    def _take(self, tracker: Any) -> Any:
        """Log to a tracker of accelerate from now on; returns it."""
        from accelerate import PartialState

        PartialState(cpu=True)  # accelerate's logging needs one; a launcher's is not replaced
        tracker.main_process_only = False  # only the main process has trackers here
        self._tracker = tracker
        return tracker

    def log(self, values: dict[str, float], step: int) -> None:
        self._tracker.log(values, step=step)

    def end(self) -> None:
        if self._tracker is not None:
            self._tracker.finish()


class TensorBoard(_Accelerated):
    """Event files in `<out>/tensorboard`; on resume, events logged after the checkpoint are hidden."""

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        from accelerate.tracking import TensorBoardTracker

        tracker = self._take(TensorBoardTracker("tensorboard", self.out, purge_step=step + 1 if step else None))
        tracker.start()
        if not step:  # accelerate would write the recipe as hyperparameters, which must be flat
            tracker.writer.add_text("recipe", "\n".join(f"    {key} = {value}" for key, value in recipe.items()))


class WeightsAndBiases(_Accelerated):
    """A run in the project `genner` (`$WANDB_PROJECT`); its id is kept in `<out>/wandb.txt`, for resuming.

    Weights & Biases accepts each step once: for steps that are run again after a kill, it keeps the first values.
    """

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        from accelerate.tracking import WandBTracker

        kept = self.out / "wandb.txt"
        settings = {"name": self.out.name, "resume": "allow", "dir": str(self.out), "config": recipe}
        project = os.environ.get("WANDB_PROJECT", "genner")
        tracker = self._take(WandBTracker(project, id=_kept(kept, step), **settings))
        tracker.start()
        kept.write_text(tracker.run.id, encoding="utf-8")


class MlFlow(_Accelerated):
    """A run in the experiment set by MLflow's own variables; its id is kept in `<out>/mlflow.txt`, for resuming.

    accelerate's tracker would ignore those variables, choose its own experiment and drop long values of the recipe: so
    the run is started here, and the recipe logged as a file.
    """

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        import mlflow
        from accelerate.tracking import MLflowTracker

        kept = self.out / "mlflow.txt"
        before = _kept(kept, step)
        run = mlflow.start_run(run_id=before, run_name=None if before else self.out.name)
        kept.write_text(run.info.run_id, encoding="utf-8")
        if not before:
            mlflow.log_dict(recipe, "recipe.json")
        self._take(MLflowTracker(run_id=run.info.run_id))


def _kept(path: Path, step: int) -> str | None:
    """The id of the run to resume at this step; None at step 0, which starts a new run."""
    return path.read_text(encoding="utf-8").strip() if step and path.is_file() else None


class TrackerSpec(NamedTuple):
    kind: type[TensorBoard] | type[WeightsAndBiases] | type[MlFlow]
    package: str  # the package it needs
    extra: str = ""  # genner's extra that installs the package


TRACKERS: dict[str, TrackerSpec] = {
    "tensorboard": TrackerSpec(TensorBoard, "tensorboard", "tracking"),
    "wandb": TrackerSpec(WeightsAndBiases, "wandb"),
    "mlflow": TrackerSpec(MlFlow, "mlflow"),
}


def trackers(names: Iterable[str], out: Path) -> list[Tracker]:
    """The trackers of these names, for the run in `out`; each once.

    Raises `UnknownNameError`, and `UsageError` with the command to install what is missing.
    """
    made: list[Tracker] = []
    for name in dict.fromkeys(names):
        if name not in TRACKERS:
            raise UnknownNameError("tracker", name, TRACKERS)
        known = TRACKERS[name]
        if find_spec(known.package) is None:
            how = install_command(known.extra, "" if known.extra else known.package)
            raise UsageError(
                f"tracker {name!r} needs the package {known.package!r}, which is not installed; {how}; "
                f"known: {', '.join(TRACKERS)}"
            )
        made.append(known.kind(out))
    return made
