"""What a training run leaves on disk: adapters or models, and the state to resume from.

Every file is replaced atomically: it is written under a temporary name beside its place, then renamed.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from genner.calibration import CALIBRATION_FILE as CALIBRATION
from genner.errors import TrainingError, UsageError
from genner.manifest import MANIFEST, TUNED, write_manifest
from genner.trained import TRAINED_KEY
from genner.training.mixture import Mixture, trained_on
from genner.training.recipe import Recipe
from genner.writing import replacing


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Turn any error while `path` is written into a `TrainingError` that says what to do."""
    from safetensors import SafetensorError

    try:
        yield path
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors hide a full disk in their errors
        raise TrainingError(
            f"{path} cannot be written: {error}; make room or choose another folder, then go on from the last "
            "checkpoint with --resume"
        ) from error


def save_model(
    model: Any,
    target: Path,
    mixture: Mixture,
    dev: dict[str, Any],
    origin: dict[str, dict[str, str]] | None = None,
    weights: dict[str, Any] | None = None,
) -> None:
    """Write the adapter, or the whole model where there is none, with its metadata.

    An adapter gets a `genner.json` with its base and the rest of its `origin` (see `Trainer`); a model gets a
    `training.json` with the same content, since a model's `genner.json` is its manifest. `dev` holds the dev scores of
    exactly these weights. The tokenizer is written if it differs from the base's. Files are replaced one by one, so
    none is ever missing. `weights`: the trained weights by name, if the model itself does not hold them whole.
    """
    recipe, full = mixture.recipe, mixture.recipe.method == "full"
    about: dict[str, Any] = {
        "base": recipe.base,
        "formats": [form.name for form in mixture.ranked],
        "recipe": hashlib.sha256(json.dumps(recipe.to_dict(), indent=1).encode()).hexdigest(),  # of recipe.json
        **({"dev": dev} if dev else {}),
        **(origin or {}),
        TRAINED_KEY: trained_on((spec, labels) for spec, labels, _ in mixture.sets).to_json(),
    }
    asked = {labels for _, labels, _ in mixture.sets}
    if len(asked) == 1:  # the default labels
        about["labels"], about["depth"] = asked.pop().to_json(), mixture.depth
    with writing(target):
        scratch = target.with_name(f"{target.name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        if full:
            # One file: shards of two checkpoints could mix.
            model.save_pretrained(scratch, max_shard_size="1000GB", state_dict=weights)
        else:
            config = model.peft_config["default"]
            config.base_model_name_or_path = recipe.base  # not a path of this machine
            model.create_or_update_model_card = lambda folder: None  # peft's is empty, and takes longer than the rest
            # peft queries the hub unless told that no embeddings were trained.
            model.save_pretrained(scratch, save_embedding_layers=False, state_dict=weights)
        if full or recipe.lora.tag_tokens:
            mixture.chat.tokenizer.save_pretrained(scratch)
        write_manifest(scratch / (TUNED if full else MANIFEST), about)
        target.mkdir(exist_ok=True)
        (target / CALIBRATION).unlink(missing_ok=True)  # belongs to the previous weights
        for file in scratch.iterdir():
            file.replace(target / file.name)
        scratch.rmdir()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write what `load_state` reads."""
    with writing(path), replacing(path, alone=True) as file:
        torch.save(state, file)


# Raised by torch.load for damaged or foreign files, and by reading their content.
_UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, UnpicklingError)


def load_state(path: Path, shapes: Sequence[torch.Size], device: torch.device) -> dict[str, Any]:
    """The state of a run whose master weights have these shapes. Raises `TrainingError` for another run's state or a
    damaged file."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        found = [m.shape for m in state["masters"]]
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        UnpicklingError,
    ) as error:
        raise TrainingError(f"{path} cannot be read: {error}; start anew with another --out") from error
    if found != list(shapes):
        raise TrainingError(f"{path} belongs to another model or rank; give another --out")
    return state


def check_recipe(path: Path, recipe: Recipe) -> None:
    """Refuse to resume with a recipe that differs from the one in `path`; [optim] and [drafter] may change."""
    try:
        before = Recipe.from_recorded(json.loads(path.read_text(encoding="utf-8"))).to_dict() if path.exists() else {}
    except (OSError, ValueError, UsageError) as error:
        raise TrainingError(f"{path} cannot be read: {error}; delete it to go on without its check") from None
    now = recipe.to_dict()
    for key in sorted(before.keys() | now.keys() if before else ()):
        old, new = before.get(key), now.get(key)
        if old != new and key not in ("optim", "drafter"):
            raise TrainingError(
                f"{path.parent} holds a run of another recipe: {key!r} was {old!r} and is {new!r}; resume with the old "
                "recipe, or give another --out"
            )
