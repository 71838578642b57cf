"""GGUF folders: written by genner itself if the base model came as GGUF, else by llama.cpp's own converter."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from genner.errors import ModelError, UnknownNameError, UsageError
from genner.export.about import FOUR_BITS, ModelFacts
from genner.export.card import CARD, MARK, write_card
from genner.export.folder import keep_card, to_transformers
from genner.extras import naming_parts, require
from genner.model_source import ModelSource
from genner.model_store import MODELS
from genner.paths import expanded
from genner.presets import WheelSource

SCRIPT = "convert_hf_to_gguf.py"
LLAMA_CPP_TYPES = ("q8_0", "bf16", "f16", "q4_0", "q4_1")


@naming_parts()
def to_gguf(
    model: str,
    out: Path,
    kind: str = "q8_0",
    *,
    base_gguf: Path | None = None,
    converter: Path | None = None,
) -> Path:
    """Write the model of `genner.load(model)` as `OUT/NAME-KIND.gguf` with a model card; NAME is the folder's name.
    A folder may hold the same model in several types.

    Args:
        kind: type of the weights, one of `LLAMA_CPP_TYPES`.
        base_gguf: the GGUF file of the base model, a Llama; if the base is a preset, it is fetched.
        converter: llama.cpp's `convert_hf_to_gguf.py`, or its folder; without a GGUF file of the base, it is also
            searched in `$LLAMA_CPP` and on the PATH.

    Raises `UsageError` when there is neither, or the file exists; `UnknownNameError`; `ModelError` when a file is
    missing, does not fit or cannot be written, or the converter fails.
    """
    if kind not in LLAMA_CPP_TYPES:
        raise UnknownNameError("weight type", kind, LLAMA_CPP_TYPES)
    if out.suffix == ".gguf":
        raise UsageError(
            f"{out} would be a folder, which holds the file and its card; give --out {out.with_suffix('')}"
        )
    out = out.resolve()
    about, target = ModelFacts.of(model), out / f"{out.name}-{kind}.gguf"
    before = ModelFacts.read(out) if out.is_dir() else None
    if target.exists():
        raise UsageError(f"{target} is there already; give another folder or type")
    about = replace(about, kind="gguf", gguf=before.gguf if before else {})
    if before != about if before else out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds something else; give a folder that is new, empty, or an export of this model")
    script = _converter(converter) if converter else None
    came_so = about.base.name in MODELS and isinstance(MODELS[about.base.name].source, WheelSource)
    if script is None and base_gguf is None and not came_so:
        script = _converter(None)
        if script is None:
            raise UsageError(
                f"the base of {model!r}, {about.base.name!r}, is no preset that came as GGUF, and llama.cpp's {SCRIPT} "
                "is not at hand: give it with --converter or in $LLAMA_CPP (it is in llama.cpp's repository), or give "
                "the GGUF file of the base with --base-gguf"
            )
    if script and kind in FOUR_BITS:
        raise UsageError(f"{SCRIPT} writes q8_0, bf16 and f16, not {kind}; export f16, then use llama-quantize")
    require("torch", "safetensors", "gguf")  # before the folder is made
    out.mkdir(parents=True, exist_ok=True)
    if script:
        _convert(script, model, kind, target)
    else:
        _rewrite(model, about.base.name, base_gguf, kind, target)
    about = replace(about, gguf={**about.gguf, target.name: kind})
    about.write(out, out.name)
    if not (out / CARD).is_file() or MARK in (out / CARD).read_text(encoding="utf-8"):
        source = ModelSource.resolve(model)
        keep_card(source.adapter or source.weights, out)
        write_card(about, out, out.name)
    return target


def _rewrite(model: str, base: str, base_gguf: Path | None, kind: str, out: Path) -> None:
    import torch

    from genner.engines.fast_loading.weights import load_weights
    from genner.export import gguf_file

    source = ModelSource.resolve(model)
    causal, _ = load_weights(source.weights, source.adapter, torch.device("cpu"), torch.bfloat16, "eager")
    weights = causal.state_dict()
    gguf_file.with_base(base, base_gguf, lambda file: gguf_file.write(file, weights, kind, out))


def _converter(given: Path | None) -> Path | None:
    """llama.cpp's converter: `given`, else that in `$LLAMA_CPP`, else on the PATH; None if there is none.

    Raises `UsageError` when it is not at the given place.
    """
    named = os.environ.get("LLAMA_CPP")
    for place, said in ((given, "--converter"), (Path(named) if named else None, "$LLAMA_CPP")):
        if place is not None:
            place = expanded(str(place))
            script = place / SCRIPT if place.is_dir() else place
            if not script.is_file():
                raise UsageError(f"{said} is {str(place)!r}, where there is no {SCRIPT}; give its path, or its folder")
            return script.resolve()
    found = shutil.which(SCRIPT)
    return Path(found) if found else None


def _convert(script: Path, model: str, kind: str, out: Path) -> None:
    """Merge into a temporary folder and convert that."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merged-") as scratch:
        folder = to_transformers(model, Path(scratch) / out.parent.name)
        partial = Path(scratch) / "model.gguf"
        command = [sys.executable, str(script), str(folder), "--outfile", str(partial), "--outtype", kind]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0 or not partial.is_file():
            said = " / ".join(done.stdout.strip().splitlines()[-3:]) or "nothing"
            raise ModelError(
                f"{script.name} could not convert the merged model (exit code {done.returncode}); it said: {said}"
            )
        partial.replace(out)
