"""A plain transformers folder: weights with the adapter merged in, tokenizer, configs, manifest, model card."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from genner.errors import ModelError, UnknownNameError, UsageError
from genner.export.about import ModelFacts
from genner.export.card import CARD, MARK, ORIGINAL, write_card
from genner.extras import naming_parts
from genner.manifest import read_json
from genner.model_source import ModelSource

EXPORT_DTYPES = ("bfloat16", "float16", "float32")

# The tokenizer's files, copied unchanged to preserve token ids, and files that belong to the weights: the adapter's
# drafter and calibration also fit the merged model.
_COPIED = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
    "generation_config.json",
    "drafter.safetensors",
    "calibration.json",
    "LICENSE*",
    "LICENCE*",
    "NOTICE*",
    "USE_POLICY*",
)


def merge(adapter: str, out: Path, dtype: str = "bfloat16") -> Path:
    """Merge an adapter (`default`, its folder, or a training run's) into its base, as `to_transformers` does.

    Also raises `UsageError` when it is no adapter.
    """
    if (source := ModelSource.find(adapter, fetch=True)) is None or source.adapter is None:
        raise UsageError(
            f"{adapter!r} is no adapter: neither it nor its best/ or adapter/ has an adapter_config.json; "
            "give `default`, or the folder of an adapter or of a training run; `genner export --to transformers` takes "
            "a model without an adapter"
        )
    return to_transformers(adapter, out, dtype)


@naming_parts()
def to_transformers(model: str, out: Path, dtype: str = "bfloat16") -> Path:
    """Write the model of `genner.load(model)` as a plain transformers folder. Returns `out`.

    The folder appears only when it is complete. Weights are summed in float32 and rounded once to `dtype`.

    Raises `UnknownNameError` for a dtype or model, `UsageError` when `out` is not empty, `ModelError` when a file is
    missing, does not fit or cannot be written.
    """
    if dtype not in EXPORT_DTYPES:
        raise UnknownNameError("dtype", dtype, EXPORT_DTYPES)
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already; give a folder that is new or empty")
    about = ModelFacts.of(model)
    source = ModelSource.resolve(model)
    base, adapter = source.weights, source.adapter
    with _appearing(out) as partial:
        _write(base, adapter, dtype, partial)
        kind = "merged" if about.adapter else about.kind
        about = replace(about, kind=kind, dtype=dtype)
        about.write(partial, out.name)
        keep_card(adapter or base, partial)
        write_card(about, partial, title=out.name)
    return out


def _write(base: Path, adapter: Path | None, dtype: str, out: Path) -> None:
    """Weights, config and tokenizer."""
    import torch

    from genner.engines.fast_loading.weights import load_weights

    if "quantization_config" in read_json(base / "config.json"):
        raise ModelError(
            f"{base} holds quantized weights, into which an adapter cannot be merged without loss; "
            "give the folder of the model before quantization"
        )
    causal, _ = load_weights(base, adapter, torch.device("cpu"), getattr(torch, dtype), "eager", plain=False)
    causal.save_pretrained(out)
    _index(out)
    for path in out.glob("*.safetensors"):
        path.chmod(0o644)  # written readable by the owner only, but models are shared
    # An adapter with tokens of its own brings a tokenizer.
    for path in [p for folder in (base, adapter) if folder for pattern in _COPIED for p in folder.glob(pattern)]:
        if path.is_dir():
            shutil.copytree(path, out / path.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, out / path.name)


def _index(out: Path) -> None:
    """Write which file holds which tensor, also where one file holds all: without it, servers (vLLM, SGLang) read every
    file of tensors in the folder as the model's, the drafter's too."""
    from safetensors import safe_open

    place, weights = out / "model.safetensors.index.json", out / "model.safetensors"
    if place.exists():
        return
    with safe_open(weights, "pt") as tensors:
        names = sorted(tensors.keys())
    index = {"metadata": {"total_size": weights.stat().st_size}, "weight_map": dict.fromkeys(names, weights.name)}
    place.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def keep_card(source: Path, out: Path) -> None:
    """Copy the hand-written card, since a generated one cannot replace it."""
    for name in (ORIGINAL, CARD):
        path = source / name
        if path.is_file() and MARK not in path.read_text(encoding="utf-8"):
            shutil.copyfile(path, out / ORIGINAL)


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A temporary folder that is renamed to `out` at the end, or removed on an exception. Raises `ModelError`."""
    from safetensors import SafetensorError

    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()  # empty
        partial.rename(out)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{out} cannot be written: {error}; make room, or give another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
