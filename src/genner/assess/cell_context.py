"""A running cell, and what it finds."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from genner.assess.corpora import MissingError
from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.records import CellProgress, Json
from genner.errors import ModelError, UnknownNameError


@dataclass(frozen=True)
class CellFindings:
    """The findings of a cell: the part of its `CellResult` that depends on its kind."""

    metrics: Json
    signature: str
    tokens: int
    passes: int


@dataclass
class CellContext:
    """A running cell: its folder, the data root, the device, and its start time."""

    run: CellFolder
    runs: StudyFolder
    data: Path
    device: str | None
    _begun: float = field(default_factory=time.monotonic)
    _before: float = 0.0

    def __post_init__(self) -> None:
        if earlier := self.run.progress:
            self._before = earlier.seconds

    @property
    def about(self) -> Json:
        return self.run.cell.description

    @property
    def seconds(self) -> float:
        """Time spent on the cell, including interrupted runs."""
        return self._before + time.monotonic() - self._begun

    @property
    def model(self) -> str:
        """The argument for `genner.load`: the folder of the run that trained the model, or the model's name."""
        trained = self.about["trained"]
        return self.about["model"] if trained is None else str(self.runs.run(trained).folder)

    def tell(self, done: int, total: int, unit: str) -> None:
        self.run.report(CellProgress(done, total, unit, round(self.seconds, 1)))


def require_model(model: str) -> None:
    """Make sure that a model is available. Raises `MissingError` that says where to get it."""
    from genner.model_source import ModelSource

    try:
        _ = ModelSource.resolve(model).weights
    except (ModelError, UnknownNameError) as error:
        raise MissingError(str(error)) from error
