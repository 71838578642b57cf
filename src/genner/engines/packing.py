"""Weights in the order in which a CPU multiplies by them, put so once instead of in every product.

oneDNN, which multiplies bf16 matrices on a CPU, wants the weights in blocks, and brings them into blocks anew each
time. For a few hundred tokens that is nothing; for the ten of a decoder's pass it takes as long as the product itself
(docs/log.md). PyTorch has operators that take weights in blocks: those which its compiler emits for frozen models.
"""

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

    Only what is in bf16 on a CPU that multiplies it, and is a plain linear layer. Returns how many were packed.
    """
    if not supported():
        return 0
    kept = causal.get_output_embeddings()
    places = [
        (parent, name)
        for parent in causal.modules()
        for name, layer in parent.named_children()
        if layer is not kept and _packable(layer)
    ]
    with one_thread():
        for parent, name in places:  # one at a time, so that at no time two of each are in memory
            setattr(parent, name, Packed(getattr(parent, name)))
    return len(places)


def supported() -> bool:
    """Whether this processor multiplies bf16, by operators that PyTorch still has."""
    operators = torch.ops.mkldnn
    named = all(hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
    return named and torch._C._has_mkldnn and bool(operators._is_mkldnn_bf16_supported())


def _packable(layer: nn.Module) -> bool:
    return is_linear(layer) and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.bfloat16
