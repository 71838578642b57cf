"""Merging a plain LoRA adapter into a model: W += scale * B A for each layer it names, as peft does, to the bit.

Importing peft and wrapping the model takes over a second, the merge itself a fifth of that. What is not plain LoRA on
linear layers (DoRA, trained biases or embeddings, other methods) is left to peft. So is an adapter that does not fit,
since peft has the best error messages.
"""

import json
import re
from math import sqrt
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from genner.engines.threads import one_thread

_PREFIX = "base_model.model."
_PARTS = (".lora_A.weight", ".lora_B.weight")
# Settings that a merge depends on; and settings for training only, or that describe the adapter.
_HEEDED = {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias", "target_modules"}
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
}


def merge(causal: nn.Module, adapter: Path) -> bool:
    """Merge the adapter of this folder into the linear layers of a model, in place.

    Returns False, and leaves the model unchanged, if peft has to do it.
    """
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        if not _plain(config):
            return False
        with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (OSError, ValueError, SafetensorError):
        return False
    pairs = _pairs(causal, tensors, config)
    if pairs is None:
        return False
    largest = max((layer.weight.numel() for layer, _, _ in pairs.values()), default=0)
    scratch = torch.empty(2, largest)  # reused: fresh pages would cost as much as the sums
    with torch.no_grad(), one_thread():
        for name, (layer, down, up) in pairs.items():
            weight = layer.weight
            change, wide = (row[: weight.numel()].view(weight.shape) for row in scratch)
            torch.mm(up.float(), down.float(), out=change)
            # In float32, rounded once at the end, and in place, so that a tied or mapped weight stays so.
            weight.copy_(change.mul_(_scale(config, name)).add_(wide.copy_(weight)))
    return True


def _plain(config: dict[str, Any]) -> bool:
    """Whether each setting is handled here, has no effect on a merge, or is not set."""
    set_apart = any(value for name, value in config.items() if name not in _HEEDED | _HARMLESS)
    # peft reads a pattern's key, and targets that are one string, as regular expressions; here they are names.
    keys = [*(config.get("rank_pattern") or {}), *(config.get("alpha_pattern") or {})]
    named = all(re.fullmatch(r"[\w.]+", key) for key in keys) and isinstance(config.get("target_modules"), list)
    # Other initializations change the base's weights as well.
    begun = config.get("init_lora_weights", True) in (True, False, "gaussian")
    return (config.get("peft_type"), config.get("bias")) == ("LORA", "none") and named and begun and not set_apart


def _pairs(
    causal: nn.Module, tensors: dict[str, Tensor], config: dict[str, Any]
) -> dict[str, tuple[nn.Linear, Tensor, Tensor]] | None:
    """For each adapted layer its module, A [rank, in] and B [out, rank]; None unless every tensor belongs to one."""
    found: dict[str, tuple[nn.Linear, Tensor, Tensor]] = {}
    layers = dict(causal.named_modules(remove_duplicate=False))  # an attribute may be a method: `half`, `eval`
    for key in {key.removesuffix(_PARTS[0]).removesuffix(_PARTS[1]) for key in tensors}:
        down, up = (tensors.get(key + part) for part in _PARTS)
        name = key.removeprefix(_PREFIX)
        layer = layers.get(name)
        if down is None or up is None or name == key or layer is None or not is_linear(layer):
            return None
        rank, targets = _of(name, config.get("rank_pattern"), config.get("r")), config["target_modules"]
        fits = down.shape == (rank, layer.in_features) and up.shape == (layer.out_features, rank)
        if not fits or not any(f".{name}".endswith(f".{target}") for target in targets):
            return None
        found[name] = (layer, down, up)
    return found


def is_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a layer multiplies by its weight and does nothing else: quantized and adapted layers are subclasses, or
    wrap a linear layer."""
    return isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward


def _scale(config: dict[str, Any], name: str) -> float:
    """alpha / rank, or alpha / sqrt(rank), with this layer's values from the patterns."""
    rank = _of(name, config.get("rank_pattern"), config["r"])
    alpha = _of(name, config.get("alpha_pattern"), config["lora_alpha"])
    return float(alpha / (sqrt(rank) if config.get("use_rslora") else rank))


def _of(name: str, patterns: dict[str, Any] | None, default: Any) -> Any:
    """The value of the first pattern that is this layer's name, or the end of it."""
    return next((value for key, value in (patterns or {}).items() if f".{name}".endswith(f".{key}")), default)
