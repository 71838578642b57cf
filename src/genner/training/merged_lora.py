"""LoRA layers trained as they will be run: merged.

A LoRA layer computes x W' + s (x A') B'. That is two thin products more, and as many again and two further in the
backward pass, each too thin to be fast, with sums and scalings of whole activations between them. Here W + s B A is
formed first, which costs as much as `rank` more tokens, and one product does the rest; the backward pass forms it
again rather than keeping it. The gradients are those of the plain layer. In bf16 the sum is rounded, as it is when the
adapter is merged to decode: what is trained is what is run.
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
        # The wide factor stands right in both products: so they are several times as fast as the other way around.
        by_down = ((out @ up).t() @ flat).mul_(ctx.scale)
        by_up = (F.linear(flat, down).t() @ out).mul_(ctx.scale).t()
        return by_x, None, None, by_down, by_up, None


def train_merged(model: Any) -> int:
    """Let the LoRA layers of a peft model compute merged while they train; returns how many do.

    Layers with dropout between input and adapter, a magnitude (DoRA), or a quantized base stay as they are, and so
    does every layer in evaluation, where a pass has so few tokens that merging would not pay.
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
