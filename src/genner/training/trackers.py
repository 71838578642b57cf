"""Experiment trackers: they are told what `metrics.jsonl` records, losses and dev scores, as it is recorded.

None is needed and none is installed by default. To add one: a class with the three methods, and a line in `TRACKERS`.
"""

import os
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from genner.errors import UnknownNameError, UsageError
from genner.extras import install_command


class Tracker(Protocol):
    """Is told of a run, part by part: an interrupted run begins again, at the step of its checkpoint."""

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        """A run starts, or goes on after `step` steps."""
        ...

    def log(self, values: dict[str, float], step: int) -> None:
        """Metrics by name, after `step` steps."""
        ...

    def end(self) -> None:
        """The run, or this part of it, is over."""
        ...


class TensorBoard:
    """Event files in `<out>/tensorboard`; what was logged after the checkpoint that a run goes on from is hidden."""

    def __init__(self, out: Path) -> None:
        self.folder = out / "tensorboard"
        self._writer: Any = None

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(self.folder), purge_step=step + 1 if step else None)
        if not step:
            self._writer.add_text("recipe", "\n".join(f"    {key} = {value}" for key, value in recipe.items()))

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run in the project `genner` (`$WANDB_PROJECT`); its id is kept in `<out>/wandb.txt`, to go on with.

    Weights & Biases takes no step twice: of those that are run again after a kill, it keeps what it had.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.kept = out, out / "wandb.txt"
        self._run: Any = None

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        self._run = import_module("wandb").init(
            project=os.environ.get("WANDB_PROJECT", "genner"),
            name=self.out.name,
            id=_kept(self.kept, step),
            resume="allow",
            dir=str(self.out),
            config=recipe,
        )
        self.kept.write_text(self._run.id, encoding="utf-8")

    def log(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def end(self) -> None:
        if self._run is not None:
            self._run.finish()


class MlFlow:
    """A run in the experiment that MLflow's own variables say; its id is kept in `<out>/mlflow.txt`, to go on with."""

    def __init__(self, out: Path) -> None:
        self.out, self.kept = out, out / "mlflow.txt"
        self._mlflow: Any = None

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        self._mlflow = import_module("mlflow")
        before = _kept(self.kept, step)
        run = self._mlflow.start_run(run_id=before, run_name=None if before else self.out.name)
        self.kept.write_text(run.info.run_id, encoding="utf-8")
        if not before:
            self._mlflow.log_dict(recipe, "recipe.json")

    def log(self, values: dict[str, float], step: int) -> None:
        self._mlflow.log_metrics(values, step=step)

    def end(self) -> None:
        if self._mlflow is not None:
            self._mlflow.end_run()


def _kept(path: Path, step: int) -> str | None:
    """The id of the run that goes on at this step; a run from the beginning is a new one."""
    return path.read_text(encoding="utf-8").strip() if step and path.is_file() else None


class TrackerSpec(NamedTuple):
    kind: type[TensorBoard] | type[WeightsAndBiases] | type[MlFlow]
    package: str  # that it needs
    extra: str = ""  # of genner, that brings it


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
