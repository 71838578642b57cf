"""The merged model as a GGUF file for llama.cpp, from the file that the base model came in.

Metadata and tensor names are the base file's; the weights are those that genner runs, adapter included. What the base
keeps in 4 bits is quantized to the type asked for, everything else (the embedding, norms) keeps its type; `bf16` writes
all matrices as genner has them, so that nothing is lost.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from genner.errors import UnknownNameError, UsageError
from genner.models import _TENSORS as PARTS
from genner.models import MODELS, _download

Quantized = gguf.GGMLQuantizationType
TYPES = {"q4_0": Quantized.Q4_0, "q4_1": Quantized.Q4_1, "q8_0": Quantized.Q8_0, "bf16": Quantized.BF16}
_FILE_TYPES = {  # what the header calls a file of this type
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
}


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of a q or k projection, [heads * size, H], in llama.cpp's order.

    Its rotary embedding turns neighbouring dimensions of a head, (0, 1), (2, 3) ...; transformers' turns its two halves
    against each other, (0, size/2), (1, size/2 + 1) ...
    """
    return weight.view(heads, 2, -1, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)


def weight_of(name: str, weights: Mapping[str, torch.Tensor], heads: int, kv_heads: int) -> torch.Tensor:
    """The tensor that a GGUF Llama calls `name` (`blk.3.attn_q.weight`, `token_embd.weight`), from transformers'."""
    *block, part, kind = name.split(".")
    layer = f"model.layers.{block[1]}." if block else ""
    weight = weights[f"{layer}{PARTS[part]}.{kind}"].float()
    return permuted(weight, heads if part == "attn_q" else kv_heads) if part in ("attn_q", "attn_k") else weight


def write(base: Path, weights: Mapping[str, torch.Tensor], kind: str, out: Path) -> None:
    """Write `base` to `out` with other weights. `weights`: by transformers' names. Raises `UnknownNameError`, and
    `UsageError` for a base of another architecture."""
    if kind not in TYPES:
        raise UnknownNameError("weight type", kind, TYPES)
    reader = gguf.GGUFReader(base)
    architecture = reader.fields["general.architecture"].contents()
    if architecture != "llama":
        raise UsageError(f"{base} is a {architecture!r}; only 'llama' files can be rewritten, give one with --gguf")
    writer = gguf.GGUFWriter(out.with_name(out.name + ".part"), architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue  # the writer's own
        writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1])
    writer.add_file_type(_FILE_TYPES[kind])
    heads = [reader.fields[f"llama.attention.head_count{kv}"].contents() for kv in ("", "_kv")]
    for tensor in reader.tensors:
        weight = weight_of(tensor.name, weights, *heads)
        assert list(weight.shape) == tensor.shape[::-1].tolist(), (tensor.name, weight.shape, tensor.shape)
        type_ = tensor.tensor_type
        if type_ in (Quantized.Q4_0, Quantized.Q4_1) or (kind == "bf16" and weight.dim() == 2):
            type_ = TYPES[kind]
        values: NDArray[np.float32] = weight.contiguous().numpy()
        writer.add_tensor(tensor.name, gguf.quants.quantize(values, type_), raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    out.with_name(out.name + ".part").replace(out)


def with_base(name: str, given: Path | None, then: Callable[[Path], None]) -> None:
    """Call `then` with the GGUF file that model `name` came in: `given`, or the preset's, fetched for the moment.

    Raises `UsageError` for a model that is no preset when none is given, `ModelError` when it cannot be fetched.
    """
    if given is not None:
        then(given)
    elif name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            then(_download(MODELS[name], Path(folder), progress=True))
    else:
        raise UsageError(
            f"model {name!r} is no preset ({', '.join(MODELS)}); give the GGUF file of its base with --gguf"
        )
