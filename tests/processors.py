"""Processors to pretend to, so that a green run means green on every one: what this one has beyond them is hidden, what
it lacks is stood in for by PyTorch's own products, which every processor has."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from genner.engines import transformers_engine, weight_prepacking

# name: (bf16 is multiplied in hardware, what weights are packed)
PROCESSORS: dict[str, tuple[bool, set[torch.dtype]]] = {
    "bf16": (True, {torch.float32, torch.bfloat16}),
    "float32": (False, {torch.float32}),
    "unpacked": (False, set()),
}

_DTYPES, _OPERATORS = weight_prepacking.dtypes, weight_prepacking.operators


def pretend(patch: pytest.MonkeyPatch, name: str) -> torch.dtype:
    """Be a processor from now on, in this process; returns the dtype that models are loaded in."""
    bf16, packed = PROCESSORS[name]
    patch.setattr(transformers_engine, "multiplies_bf16", lambda: bf16)
    patch.setattr(weight_prepacking, "dtypes", lambda: set(packed))
    if not packed <= _DTYPES():
        patch.setattr(weight_prepacking, "operators", lambda: stand_in(bf16=bf16))
    return torch.bfloat16 if bf16 else torch.float32


def stand_in(*, bf16: bool) -> Any:
    """Operators with the signatures of PyTorch's, that leave a weight as it is."""

    def multiply(hidden: Tensor, weight: Tensor, bias: Tensor | None, *_: object) -> Tensor:
        return F.linear(hidden, weight, bias)

    return SimpleNamespace(
        _reorder_linear_weight=lambda weight, tokens: weight,
        _linear_pointwise=multiply,
        _is_mkldnn_bf16_supported=lambda: bf16,
    )
