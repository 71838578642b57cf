"""Weights in the memory layout that a CPU multiplies by, reordered once instead of in every product.

oneDNN, which multiplies bf16 matrices on a CPU, needs the weights in blocks, and reorders them for each product. For a
few hundred tokens this does not matter; for the ten tokens of a decoder's pass it takes as long as the product itself
(docs/log.md). PyTorch has operators that take weights in blocks: its compiler emits them for frozen models. They take
float32 as well; without them PyTorch uses a BLAS that reads the weights in their plain order, which is slower for few
tokens.
"""

import platform
from typing import Any

import torch
from torch import Tensor, nn

from genner.engines.fast_loading.lora import is_linear
from genner.engines.threads import one_thread

# oneDNN chooses the blocks by the number of rows that it is told to expect: of 8, 64 and 256 tokens, 64 was best or
# nearly best for all passes of 1 to 400.
EXPECTED_ROWS = 64


class Packed(nn.Module):
    """A linear layer for inference: [..., in] -> [..., out]. Its weight is opaque, and is neither saved nor trained."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._weight: Any = operators()._reorder_linear_weight(layer.weight.detach().contiguous(), EXPECTED_ROWS)
        self._multiply = operators()._linear_pointwise
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self._multiply(hidden, self._weight, self._bias, "none", [], "")
        return out


def pack(causal: Any) -> int:
    """Pack the linear layers of a model in place, except its output layer, whose rows are looked up one by one.

    Only plain linear layers on the CPU, in a dtype of `dtypes()`, are packed. Returns how many were.
    """
    kinds = dtypes()
    if not kinds:
        return 0
    kept = causal.get_output_embeddings()
    # By the tree of modules, not by attributes: for a layer with the name of a method (`half`, `eval`), the attribute
    # is the method.
    places = [
        (parent._modules, name)
        for parent in causal.modules()
        for name, layer in parent._modules.items()
        if layer is not None and layer is not kept and _is_packable(layer, kinds)
    ]
    with one_thread():
        for modules, name in places:  # one at a time, so that memory holds both forms of one layer only
            modules[name] = Packed(modules[name])
    return len(places)


def _is_packable(layer: nn.Module, kinds: set[torch.dtype]) -> bool:
    return is_linear(layer) and layer.weight.device.type == "cpu" and layer.weight.dtype in kinds


def operators() -> Any:
    """The namespace of PyTorch's operators for packed weights; None if this PyTorch has none."""
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    there = torch._C._has_mkldnn and all(hasattr(torch.ops.mkldnn, name) for name in names)
    return torch.ops.mkldnn if there else None


def dtypes(machine: str | None = None) -> set[torch.dtype]:
    """The dtypes that can be packed on a `machine` (this one, if left out): bf16 where the processor multiplies it, and
    float32 on the kind of processor that it was measured on. None without the operators."""
    known = operators()
    if known is None:
        return set()
    found = {torch.float32} if (machine or platform.machine()).lower() in ("x86_64", "amd64") else set()
    return found | {torch.bfloat16} if known._is_mkldnn_bf16_supported() else found
