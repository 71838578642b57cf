"""A transformers causal model as the decoders use it: hidden states by rows, logits only for chosen tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genner.engines.cache import RowCache

_ROLLS_BACK = {"full_attention", "sliding_attention"}  # layer types whose cache is keys and values, a token each


def causal_head(causal: Any) -> Callable[[Tensor], Tensor]:
    """Hidden states -> logits as the family computes them: its output layer, then its scaling or soft cap, if any."""
    layer, config = causal.get_output_embeddings(), causal.config.get_text_config()
    cap, scaling = getattr(config, "final_logit_softcapping", None), getattr(config, "logits_scaling", None)

    def head(hidden: Tensor) -> Tensor:
        logits: Tensor = layer(hidden)
        if scaling:
            logits = logits / scaling
        return cap * torch.tanh(logits / cap) if cap else logits

    return head


class Network:
    """A causal model, below its head and at its head.

    Args:
        causal: a transformers model for causal language modelling, peft-wrapped or not, on its device.
    """

    def __init__(self, causal: Any) -> None:
        if hasattr(causal, "get_base_model"):
            causal = causal.get_base_model()
        self.causal = causal
        self._body = causal.model
        self._layer = causal.get_output_embeddings()
        config = causal.config.get_text_config()
        self._cap = getattr(config, "final_logit_softcapping", None)
        self._scaling = getattr(config, "logits_scaling", None)
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        self.rolls_back = kinds <= _ROLLS_BACK
        self._by_kind = "sliding_attention" in kinds
        self._sliding: int | None = getattr(config, "sliding_window", None) if self._by_kind else None
        self.window: int = config.max_position_embeddings
        weight = self._layer.weight
        self.vocabulary_size: int = weight.shape[0]
        self.device, self.dtype = weight.device, weight.dtype

    @torch.inference_mode()
    def forward(self, rows: Sequence[Sequence[int]], cache: RowCache, first: int) -> Tensor:
        """Run new tokens for consecutive cache rows from `first` on; rows may differ in length (padded on the right).

        Returns the hidden states, [rows, longest, H]. The cache's lengths are left alone: the caller says how much of
        what was run is kept.
        """
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=self.device)
        positions = cache.begin(first, first + len(rows), width, self.device)
        mask: Any = cache.mask(positions, self.dtype)
        if self._by_kind:
            mask = {"full_attention": mask, "sliding_attention": cache.mask(positions, self.dtype, self._sliding)}
        out = self._body(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    @torch.inference_mode()
    def logits_of(self, hidden: Tensor, tokens: Sequence[Sequence[int]]) -> list[Tensor]:
        """For each hidden state [N, H], the float32 logits of its own tokens only: a gather on the output head."""
        counts = [len(each) for each in tokens]
        flat = torch.tensor([t for each in tokens for t in each], device=self.device)
        weight = self._layer.weight[flat].float()
        repeated = hidden.float().repeat_interleave(torch.tensor(counts, device=self.device), dim=0)
        logits = (repeated * weight).sum(-1)
        if getattr(self._layer, "bias", None) is not None:
            logits = logits + self._layer.bias[flat].float()
        return list(torch.split(self._finish(logits).cpu(), counts))

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the whole vocabulary, [N, V] float32, for hidden states [N, H]."""
        return self._finish(self._layer(hidden).float()).cpu()

    def _finish(self, logits: Tensor) -> Tensor:
        if self._scaling:
            logits = logits / self._scaling
        return self._cap * torch.tanh(logits / self._cap) if self._cap else logits
