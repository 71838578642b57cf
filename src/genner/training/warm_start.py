"""Training that starts from an existing adapter: its weights replace those of the fresh adapter.

The adapter named by `start` in the recipe must have the same base and LoRA settings, so that every weight has a
counterpart with the same scale. The optimizer starts fresh.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from genner.errors import ModelError, TrainingError
from genner.manifest import MANIFEST
from genner.model_source import ADAPTER_WEIGHTS as _WEIGHTS
from genner.model_source import ModelSource, shipped
from genner.training.recipe import LoraSpec, Recipe

_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class WarmStart:
    """An adapter to start from: its name in the recipe, its folder, the SHA-256 of its weights."""

    name: str
    folder: Path
    sha256: str

    @classmethod
    def of(cls, recipe: Recipe, base: Path) -> Self | None:
        """The adapter that the recipe starts from, or None. `base` is the folder of the recipe's base model.

        Raises `ModelError` if `start` is no adapter or one for another base; `TrainingError` if its LoRA settings
        differ from the recipe's.
        """
        if recipe.start is None:
            return None
        found = ModelSource.find(recipe.start, fetch=True)
        if found is None or found.adapter is None:
            raise ModelError(
                f"start = {recipe.start!r} is no adapter; give a shipped one ({', '.join(shipped()) or 'none'}), or "
                "the folder of one or of the run that made it; a model all of whose weights were trained is a 'base'"
            )
        found.check_base(recipe.base, base)
        start = cls(recipe.start, found.adapter, found.adapter_sha256)
        start._check(recipe.lora)
        return start

    @property
    def record(self) -> dict[str, str]:
        """Its entry in `genner.json`."""
        return {"name": self.name, "sha256": self.sha256}

    def _check(self, spec: LoraSpec) -> None:
        config = json.loads((self.folder / _CONFIG).read_text(encoding="utf-8"))
        pairs = (
            ("rank", config.get("r"), spec.rank),
            ("alpha", config.get("lora_alpha"), spec.alpha),
            ("rslora", bool(config.get("use_rslora")), spec.rslora),
            ("dora", bool(config.get("use_dora")), spec.dora),
        )
        for key, there, here in pairs:
            if there != here:
                raise self._differs(key, there, here)
        # Layers with their own scale, or an initialization that changes the base weights.
        unlike = {key: config[key] for key in ("rank_pattern", "alpha_pattern") if config.get(key)}
        if config.get("peft_type") != "LORA":
            unlike["peft_type"] = config.get("peft_type")
        if config.get("init_lora_weights", True) not in (True, False, "gaussian"):
            unlike["init_lora_weights"] = config["init_lora_weights"]
        if unlike:
            raise TrainingError(
                f"start = {self.name!r} was made with {json.dumps(unlike)}, which recipes cannot say; give another "
                f"start, or merge it into its base (genner merge {self.name} --out FOLDER) and give base = 'FOLDER'"
            )

    def _differs(self, key: str, there: object, here: object) -> TrainingError:
        return TrainingError(
            f"start = {self.name!r} has {key} = {json.dumps(there)}, and the recipe [lora] {key} = {json.dumps(here)}; "
            f"write {key} = {json.dumps(there)} under [lora], or leave start out"
        )

    def put(self, model: Any) -> None:
        """Replace the weights of the model's fresh adapter by these, in the model's own dtype.

        Raises `ModelError` when its file is damaged, `TrainingError` when its layers or tag tokens are not those of the
        fresh adapter.
        """
        from peft import get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(self.folder / _WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"adapter {self.folder} is corrupt: {error}; train it again") from None
        fresh = get_peft_model_state_dict(model, save_embedding_layers=False)
        self._fit(tensors, fresh)
        set_peft_model_state_dict(model, tensors)

    def _fit(self, tensors: dict[str, torch.Tensor], fresh: dict[str, torch.Tensor]) -> None:
        """Raise `TrainingError` unless both have tensors of the same names and shapes."""
        there, here = (_layers(names) for names in (tensors, fresh))
        if there != here:
            ends = [sorted({layer.rsplit(".", 1)[-1] for layer in layers}) for layers in (there, here)]
            if ends[0] != ends[1]:
                raise self._differs("targets", *ends)
            raise TrainingError(
                f"start = {self.name!r} has {len(there)} layers, and the recipe's targets {json.dumps(ends[1])} are "
                f"{len(here)} of this base; give another start, or leave it out"
            )
        tags = [max((t.shape[0] for n, t in some.items() if _TAGS in n), default=0) for some in (tensors, fresh)]
        if tags[0] != tags[1]:
            raise TrainingError(
                f"start = {self.name!r} has {tags[0]} tag tokens, and the recipe {tags[1]}; tag_tokens must be the "
                "same under [lora], and the largest label set have as many labels; or leave start out"
            )
        for name in sorted(tensors.keys() | fresh.keys()):
            shapes = [list(some[name].shape) if name in some else None for some in (tensors, fresh)]
            if shapes[0] != shapes[1]:
                raise TrainingError(
                    f"start = {self.name!r} does not fit: {name} has shape {shapes[0]} there and {shapes[1]} in the "
                    "recipe's adapter (None: it is not there); give another start, or leave it out"
                )


_TAGS = ".trainable_tokens_"


def _layers(names: Any) -> set[str]:
    """The names of the layers that have an adapter, from the names of its tensors."""
    return {name.split(".lora_")[0] for name in names if ".lora_" in name}


def record_of(folder: Path) -> dict[str, str] | None:
    """The `start` recorded for the adapter in `folder`, or None."""
    about = folder / MANIFEST
    try:
        found: dict[str, str] | None = json.loads(about.read_text(encoding="utf-8")).get("start")
    except (OSError, ValueError) as error:
        raise ModelError(f"{about} cannot be read: {error}; train the adapter anew, in another --out") from None
    return found
