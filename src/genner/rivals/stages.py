"""Finished stages of a training run that has several, so that a killed run goes on in the stage in which it was."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from genner.document import Document
from genner.errors import TrainingError
from genner.evaluation.pairing import digest
from genner.rivals.fitting import FitOptions
from genner.rivals.network import RivalNetwork


class Stages:
    """The results of finished stages, in files of a folder.

    Args:
        folder: the folder of the run.
        network, documents, dev, options: what the run depends on; a time budget may change.
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
        self._key = json.dumps(
            [
                network.encoder.name,
                repr(network.options),
                network.labels.to_file(),
                asdict(replace(options, max_minutes=None)),
                digest(documents),
                digest(dev),
            ]
        )

    def result(self, name: str) -> dict[str, Any] | None:
        """The result of a stage, None if it is not finished. Raises `TrainingError` if it is that of another run."""
        place = self._place(name)
        if not place.exists():
            return None
        found = torch.load(place, weights_only=True)
        if found["key"] != self._key:
            raise TrainingError(
                f"{place} belongs to a run with other options or data; give another folder, or delete it"
            )
        result: dict[str, Any] = found["result"]
        return result

    def finish(self, name: str, result: dict[str, Any]) -> dict[str, Any]:
        """Keep the result of a stage, or replace it: tensors, numbers and strings, in lists and dicts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self._place(name + ".new")
        torch.save({"key": self._key, "result": result}, scratch)
        scratch.replace(self._place(name))
        return result

    def clear(self) -> None:
        """Delete all results: the run is over."""
        for place in self.folder.glob("stage_*.pt"):
            place.unlink()

    def _place(self, name: str) -> Path:
        return self.folder / f"stage_{name}.pt"
