"""Weights in the order in which a CPU multiplies by them, put so once instead of in every product.

oneDNN, which multiplies bf16 matrices on a CPU, wants the weights in blocks, and brings them into blocks anew each
time. For a few hundred tokens that is nothing; for the ten of a decoder's pass it takes as long as the product itself
(docs/log.md). PyTorch has operators that take weights in blocks: those which its compiler emits for frozen models. They
take float32 as well, which PyTorch otherwise leaves to a BLAS that reads the weights as they lie, slower for few
tokens.
"""

import platform
from typing import Any

import torch
from torch import Tensor, nn

from genner.engines.lora import is_linear
from genner.engines.threads import one_thread

# oneDNN chooses the blocks by the number of rows that are to be expected: of 8, 64 and 256 tokens, 64 was best or near
# it for all passes of 1 to 400.
TOKENS = 64


class Packed(nn.Module):
    """A linear layer for inference: [..., in] -> [..., out]. Its weight is opaque, and is neither saved nor trained."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._weight: Any = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().contiguous(), TOKENS)
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, self._weight, self._bias, "none", [], "")
        return out


def pack(causal: Any) -> int:
    """Pack the linear layers of a model in place, but its output layer, whose rows are looked up one by one.

    Only what is on the CPU, in a dtype of `dtypes()`, and a plain linear layer. Returns how many were packed.
    """
    kinds = dtypes()
    if not kinds:
        return 0
    kept = causal.get_output_embeddings()
    places = [
        (parent, name)
        for parent in causal.modules()
        for name, layer in parent.named_children()
        if layer is not kept and is_linear(layer) and layer.weight.device.type == "cpu" and layer.weight.dtype in kinds
    ]
    with one_thread():
        for parent, name in places:  # one at a time, so that at no time two of each are in memory
            setattr(parent, name, Packed(getattr(parent, name)))
    return len(places)


def dtypes() -> set[torch.dtype]:
    """What can be packed here, by operators that PyTorch still has: bf16 where the processor multiplies it, and float32
    on processors like those that it was measured on."""
    operators = torch.ops.mkldnn
    if not torch._C._has_mkldnn or not all(
        hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    ):
        return set()
    found = {torch.float32} if platform.machine().lower() in ("x86_64", "amd64") else set()
    return found | {torch.bfloat16} if operators._is_mkldnn_bf16_supported() else found
