"""Finished stages of a training run that has several, so that a killed run goes on in the stage in which it was."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genner.document import Document
from genner.evaluation.pairing import digest
from genner.rivals.fitting import CHECKPOINT, FitOptions, load_state, run_key, save_state
from genner.rivals.network import RivalNetwork


class Stages:
    """The results of finished stages, in files of a folder.

    Args:
        folder: the folder of the run.
        network, documents, dev, options: what the run depends on; a time budget may change.

    `key` identifies all of these.
    """

    def __init__(
        self,
        folder: Path,
        network: RivalNetwork,
        documents: Sequence[Document],
        dev: Sequence[Document],
        options: FitOptions,
    ) -> None:
        self.folder = folder
        self.key = run_key(network, options, network.encoder.name, digest(documents), digest(dev))

    def result(self, name: str) -> dict[str, Any] | None:
        """The result of a stage, None if it is not finished. Raises `TrainingError` if it is that of another run."""
        found = load_state(self._place(name), self.key)
        return found and found["result"]

    def finish(self, name: str, result: dict[str, Any], trained: Path | None = None) -> dict[str, Any]:
        """Keep the result of a stage, or replace it: tensors, numbers and strings, in lists and dicts.

        Then delete the checkpoint in the folder `trained`, if it came of one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        save_state(self._place(name), self.key, {"result": result})
        if trained is not None:
            (trained / CHECKPOINT).unlink(missing_ok=True)
        return result

    def _place(self, name: str) -> Path:
        return self.folder / f"stage_{name}.pt"


def clear_stages(folder: Path) -> None:
    """Delete all results in a folder: the run is over."""
    for place in (*folder.glob("stage_*.pt*"), *folder.glob(f"*/{CHECKPOINT}*")):
        place.unlink()
