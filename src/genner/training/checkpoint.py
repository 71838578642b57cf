"""What a training run leaves on disk: adapters, and the state to resume from. Everything is replaced atomically."""

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from genner.errors import TrainingError
from genner.training.mixture import Mixture
from genner.training.recipe import Recipe


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Turn whatever goes wrong while `path` is written into a `TrainingError` that says what to do."""
    from safetensors import SafetensorError

    try:
        yield path
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors hide a full disk in theirs
        raise TrainingError(
            f"{path} cannot be written: {error}; make room or choose another folder, then go on from the last "
            "checkpoint with --resume"
        ) from error


def save_adapter(model: Any, target: Path, mixture: Mixture, scores: dict[str, float]) -> None:
    """Write the adapter and `genner.json`, what it belongs to; file by file, so that none is ever missing."""
    recipe = mixture.recipe
    about = {
        "base": recipe.base,
        "formats": [form.name for form in mixture.ranked],
        "recipe": hashlib.sha256(json.dumps(recipe.to_dict(), indent=1).encode()).hexdigest(),  # of recipe.json
        "scores": scores,
    }
    model.peft_config["default"].base_model_name_or_path = recipe.base  # not a path of this machine
    with writing(target):
        scratch = target.with_name(f"{target.name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        # Unless told that no embeddings were trained, peft asks the hub.
        model.save_pretrained(scratch, save_embedding_layers=False)
        (scratch / "README.md").unlink(missing_ok=True)  # peft's empty model card
        (scratch / "genner.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        target.mkdir(exist_ok=True)
        for file in scratch.iterdir():
            file.replace(target / file.name)
        scratch.rmdir()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write what `load_state` reads."""
    with writing(path):
        scratch = path.with_name(f"{path.name}.part")
        with scratch.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)


def load_state(path: Path, shapes: Sequence[torch.Size], device: torch.device) -> dict[str, Any]:
    """The state of a run whose masters have these shapes. Raises `TrainingError` for another's, or a damaged file."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} cannot be read: {error}; start anew with another --out") from error
    if [m.shape for m in state["masters"]] != list(shapes):
        raise TrainingError(f"{path} belongs to another model or rank; give another --out")
    return state


def check_recipe(path: Path, recipe: Recipe) -> None:
    """Refuse to go on with a recipe other than that in `path`; how to optimize may be changed on the way."""
    try:
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}; delete it to go on without its check") from None
    now = json.loads(json.dumps(recipe.to_dict()))
    for key in sorted((before.keys() & now.keys()) - {"optim", "drafter"}):
        if before[key] != now[key]:
            raise TrainingError(
                f"{path.parent} holds a run of another recipe: {key!r} was {before[key]!r} and is {now[key]!r}; "
                "resume with the old recipe, or give another --out"
            )
