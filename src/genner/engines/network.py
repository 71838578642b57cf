"""A transformers causal model as the decoders use it: hidden states by row, logits only for selected tokens."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genner.engines.cache import KVCache, Layer
from genner.engines.fast_loading import llama

_ROLLS_BACK = {"full_attention", "sliding_attention"}  # layer types whose cache holds keys and values per token

ATTENTION_NAME = "genner_rows"
"""The name under which transformers finds the attention over a `KVCache`."""


def _attention(
    module: Any,
    query: Tensor,
    key: Layer,
    value: Layer,
    attention_mask: None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it in each layer; the keys and values are what `KVCache.update` returned."""
    return key.attend(query, scaling, sliding_window, softcap), None


llama.ATTENTION[ATTENTION_NAME] = _attention


def _note(found: dict[int, Tensor], number: int, _module: Any, _arguments: Any, output: Tensor) -> None:
    found[number] = output


def _finish(config: Any) -> Callable[[Tensor], Tensor]:
    """The model family's transformation of logits after the output layer: scaling or soft cap, if any."""
    cap, scaling = getattr(config, "final_logit_softcapping", None), getattr(config, "logits_scaling", None)

    def finish(logits: Tensor) -> Tensor:
        if scaling:
            logits = logits / scaling
        return cap * torch.tanh(logits / cap) if cap else logits

    return finish


def causal_head(causal: Any) -> Callable[[Tensor], Tensor]:
    """Hidden states -> logits as the family computes them."""
    layer, finish = causal.get_output_embeddings(), _finish(causal.config.get_text_config())
    return lambda hidden: finish(layer(hidden))


class Network:
    """A causal model, below its head and at its head.

    A pass runs the concatenated tokens of many rows without padding. Nearly everything is computed per token,
    independent of rows; only attention depends on them (`genner.engines.cache`).

    Args:
        causal: a transformers model for causal language modelling, peft-wrapped or not, on its device.
        probe_layers: numbers of layers whose output `probed` returns; 1 is the first layer.
    """

    def __init__(self, causal: Any, probe_layers: Sequence[int] = ()) -> None:
        if hasattr(causal, "get_base_model"):
            causal = causal.get_base_model()
        self.causal = causal
        self._body = causal.model
        self._layer = causal.get_output_embeddings()
        config = causal.config.get_text_config()
        self._config = config
        self._finish = _finish(config)
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        self.rolls_back = kinds <= _ROLLS_BACK and not getattr(causal, "_is_stateful", False)
        self.window: int = config.max_position_embeddings
        self.depth: int = config.num_hidden_layers
        weight = self._layer.weight
        self.vocabulary_size: int = weight.shape[0]
        self.device, self.dtype = weight.device, weight.dtype
        if not isinstance(causal, llama.Llama):
            from transformers import AttentionInterface

            AttentionInterface.register(ATTENTION_NAME, _attention)
        self.probe_layers = tuple(sorted(probe_layers))
        self._probed: list[Tensor] = []

    @contextmanager
    def _probing(self) -> Iterator[None]:
        """Record the outputs of the probe layers inside this context."""
        found: dict[int, Tensor] = {}
        handles = []
        for number in self.probe_layers:
            # After the following norm, as the model itself reads it: in raw states, a few huge units dominate.
            norm = self._body.norm if number == self.depth else self._body.layers[number].input_layernorm
            handles.append(norm.register_forward_hook(partial(_note, found, number)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._probed = [found[number][0] for number in self.probe_layers if number in found]

    @torch.inference_mode()
    def forward(self, rows: Sequence[Sequence[int]], cache: KVCache, slots: Sequence[int]) -> Tensor:
        """Run new tokens for the rows `slots` of the cache, each row as many as it has.

        Returns the hidden states, [all tokens, H], row after row. The caller sets the cache's lengths: it decides how
        many of the new tokens are kept.
        """
        ids = torch.tensor([[token for row in rows for token in row]], device=self.device)
        positions = cache.begin(slots, [len(row) for row in rows], self.device)
        before = self._config._attn_implementation
        self._config._attn_implementation = ATTENTION_NAME
        try:
            with self._probing():
                out = self._body(
                    input_ids=ids,
                    attention_mask=None,
                    position_ids=positions[None],
                    past_key_values=cache,
                    use_cache=True,
                )
        finally:
            self._config._attn_implementation = before
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def prefix(self, ids: Sequence[int]) -> KVCache:
        """Run an instruction. Returns a cache of one row that holds it, to be copied into other caches."""
        cache = KVCache(1, len(ids))
        self.forward([ids], cache, [0])
        cache.lengths[0] = len(ids)
        return cache

    def probed(self) -> list[Tensor]:
        """The outputs of the probe layers in the last pass, in order: [all tokens, H] each."""
        return self._probed

    @torch.inference_mode()
    def _gathered(self, hidden: Tensor, tokens: Sequence[Sequence[int]]) -> Tensor:
        """For each hidden state [N, H], the float32 logits of its own tokens only, all in a line: a gather on the
        output head."""
        owners = torch.tensor([i for i, each in enumerate(tokens) for _ in each], device=self.device)
        flat = torch.tensor([t for each in tokens for t in each], device=self.device)
        logits = (hidden.float()[owners] * self._layer.weight[flat].float()).sum(-1)
        if getattr(self._layer, "bias", None) is not None:
            logits = logits + self._layer.bias[flat].float()
        return self._finish(logits).cpu()

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the whole vocabulary, [N, V] float32, for hidden states [N, H]."""
        return self._finish(self._layer(hidden).float()).cpu()

    def choose(self, hidden: Tensor, tokens: Sequence[Sequence[int]]) -> list[tuple[int, float]]:
        """For each hidden state [N, H], the most probable of its own tokens, and its log-probability among them (nats).

        `tokens` are ascending, and of equally probable ones the first is taken; empty means the whole vocabulary.
        """
        found = [(0, 0.0)] * len(tokens)
        free = [i for i, some in enumerate(tokens) if not some]
        if free:
            logits = self.logits(hidden[free])
            best = logits.argmax(1)
            values = logits[torch.arange(len(free)), best] - logits.logsumexp(1)
            for i, token, value in zip(free, best.tolist(), values.tolist(), strict=True):
                found[i] = token, value
        bound = [i for i, some in enumerate(tokens) if some]
        if bound:
            counts = [len(tokens[i]) for i in bound]
            flat = self._gathered(hidden[bound], [tokens[i] for i in bound]).numpy()
            firsts = np.cumsum([0, *counts[:-1]])
            peaks = np.maximum.reduceat(flat, firsts)
            sums = np.add.reduceat(np.exp(flat - np.repeat(peaks, counts)), firsts)
            at_peak = np.flatnonzero(flat == np.repeat(peaks, counts))
            best_at = at_peak[np.searchsorted(at_peak, firsts)] - firsts
            for i, place, value in zip(bound, best_at.tolist(), (-np.log(sums)).tolist(), strict=True):
                found[i] = tokens[i][place], value
        return found
