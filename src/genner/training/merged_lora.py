"""LoRA layers that are trained merged, as they are run at inference.

A LoRA layer computes x W' + s (x A') B'. That adds two thin products to the forward pass and four to the backward pass,
each too thin to be fast, with sums and scalings of whole activations between them. Here W + s B A is computed first, at
the cost of `rank` more tokens, and a single product follows; the backward pass recomputes the sum instead of keeping
it. The gradients are those of the plain layer. In bf16 the sum is rounded as it is when the adapter is merged for
decoding, so training and inference use the same weights.
"""

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _Merged(torch.autograd.Function):
    """x [..., in]; frozen weight [out, in] and bias; down [rank, in], up [out, rank] -> x (weight + scale up down)'."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, down, up)
        ctx.scale = scale
        return F.linear(x, torch.addmm(weight, up, down, alpha=scale), bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, down, up = ctx.saved_tensors
        out, flat = grad_outputs[0].flatten(0, -2), x.flatten(0, -2)
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = (out @ torch.addmm(weight, up, down, alpha=ctx.scale)).view_as(x)
        # The wide factor is the right operand in both products: several times as fast as the other order.
        by_down = ((out @ up).t() @ flat).mul_(ctx.scale)
        by_up = (F.linear(flat, down).t() @ out).mul_(ctx.scale).t()
        return by_x, None, None, by_down, by_up, None


def train_merged(model: Any) -> int:
    """Make the LoRA layers of a peft model compute merged in training mode; returns how many layers do.

    Layers with adapter dropout, a magnitude (DoRA), or a quantized base are unchanged, and so are all layers in
    evaluation mode, where a pass has too few tokens for merging to pay.
    """
    from peft.tuners.lora import Linear

    layers = [layer for layer in model.modules() if isinstance(layer, Linear) and _plain(layer)]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _plain(layer: Any) -> bool:
    (adapter,) = layer.active_adapters
    return (
        type(layer.base_layer) is torch.nn.Linear
        and layer.lora_A[adapter].bias is None
        and layer.lora_B[adapter].bias is None
        and adapter not in layer.lora_variant
        and isinstance(layer.lora_dropout[adapter], torch.nn.Identity)
        and not layer.fan_in_fan_out
    )


def _forward(layer: Any, x: Tensor, *arguments: Any, **named: Any) -> Tensor:
    if not layer.training or layer.merged or layer.disable_adapters or arguments or named:
        out: Tensor = type(layer).forward(layer, x, *arguments, **named)
        return out
    (adapter,) = layer.active_adapters
    down, up, scale = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight, layer.scaling[adapter]
    base = layer.base_layer
    merged: Tensor = _Merged.apply(x, base.weight, base.bias, down, up, scale)  # type: ignore[no-untyped-call]
    return merged
