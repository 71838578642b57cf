"""Keys and values of many sequences, each at its own position, that can be cut back exactly.

A pass takes new tokens for some of the rows, as many as each row has, one after the other without padding. Every layer
keeps one buffer for all rows. Cutting a row back is forgetting its length: what stands beyond is never looked at, and
overwritten later. Sliding-window layers keep everything too, and look at their window only, so that a rejected draft
can be undone in them as well.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class RowCache:
    """Keys and values of up to `rows` sequences; passed to a transformers model as `past_key_values`.

    Buffers are [rows, capacity, heads, head size], allocated at the first pass. `lengths` says how many tokens of each
    row count; a pass leaves it alone: the caller says how much of what was run is kept.
    """

    def __init__(self, rows: int, capacity: int = 512) -> None:
        self.lengths = [0] * rows
        self._capacity = capacity
        self._buffers: dict[int, tuple[Tensor, Tensor]] = {}
        self._pass = _Pass((), (), (), torch.zeros(0, dtype=torch.long))

    def begin(self, slots: Sequence[int], counts: Sequence[int], device: torch.device) -> Tensor:
        """Prepare a pass of `counts` new tokens for the rows `slots`; returns their positions, [sum of counts]."""
        lengths = [self.lengths[slot] for slot in slots]
        reach = max(length + count for length, count in zip(lengths, counts, strict=True))
        if reach > self._capacity:
            self._grow(max(reach, self._capacity * 3 // 2))
        # In plain Python: each of torch's operations on so few numbers would wait for its threads.
        positions, places = list[int](), list[int]()
        for slot, length, count in zip(slots, lengths, counts, strict=True):
            positions += range(length, length + count)
            places += range(slot * self._capacity + length, slot * self._capacity + length + count)
        self._pass = _Pass(tuple(slots), tuple(lengths), tuple(counts), torch.tensor(places, device=device))
        return torch.tensor(positions, device=device)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple["Layer", "Layer"]:
        """Called by each attention layer with what is new, [1, heads, tokens, head size]: store it.

        What is returned stands for the keys and values of all rows; `attend` takes it.
        """
        keys, values = keys[0].transpose(0, 1), values[0].transpose(0, 1)
        if layer not in self._buffers:
            size = (len(self.lengths), self._capacity)
            self._buffers[layer] = keys.new_zeros(*size, *keys.shape[1:]), values.new_zeros(*size, *values.shape[1:])
        for buffer, new in zip(self._buffers[layer], (keys, values), strict=True):
            buffer.flatten(0, 1).index_copy_(0, self._pass.places, new)
        found = Layer(*self._buffers[layer], self._pass)
        return found, found

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the protocol that models expect; positions are always given, so nothing hangs on it."""
        return max(self.lengths)

    @torch.inference_mode()
    def copy_row(self, source: "RowCache", of: int, to: int) -> None:
        """Make row `to` a copy of row `of` of `source`."""
        length = source.lengths[of]
        if length > self._capacity:
            self._grow(length * 3 // 2)
        for layer, buffers in source._buffers.items():
            if layer not in self._buffers:
                size = (len(self.lengths), self._capacity)
                self._buffers[layer] = tuple(b.new_zeros(*size, *b.shape[2:]) for b in buffers)  # type: ignore[assignment]
            for mine, theirs in zip(self._buffers[layer], buffers, strict=True):
                mine[to, :length] = theirs[of, :length]
        self.lengths[to] = length

    def _grow(self, capacity: int) -> None:
        for layer, buffers in self._buffers.items():
            grown = tuple(b.new_zeros(len(b), capacity, *b.shape[2:]) for b in buffers)
            for new, old in zip(grown, buffers, strict=True):
                new[:, : self._capacity] = old
            self._buffers[layer] = grown  # type: ignore[assignment]
        self._capacity = capacity


class _Pass:
    """Which rows take part in a pass, how long they were, how many tokens each brings, and where these are stored."""

    def __init__(
        self, slots: tuple[int, ...], lengths: tuple[int, ...], counts: tuple[int, ...], places: Tensor
    ) -> None:
        self.rows = list(zip(slots, lengths, counts, strict=True))
        self.places = places
        self._masks: dict[tuple[int, int | None], Tensor | None] = {}

    def mask(self, row: int, window: int | None, like: Tensor) -> Tensor | None:
        """The additive mask of a row, [new tokens, all tokens]: a token sees itself, all before it, and no more than
        the last `window` of them. None where it would hide nothing. The same for all layers of a kind, so kept."""
        key = (row, window)
        if key not in self._masks:
            _, length, count = self.rows[row]
            reach = length + count
            mask = None
            if count > 1 or (window is not None and window < reach):
                queries = torch.arange(length, reach, device=like.device)[:, None]
                keys = torch.arange(reach, device=like.device)
                hidden = keys > queries
                if window is not None:
                    hidden |= keys <= queries - window
                mask = torch.zeros(count, reach, dtype=like.dtype, device=like.device)
                mask.masked_fill_(hidden, torch.finfo(like.dtype).min)
            self._masks[key] = mask
        return self._masks[key]


class Layer:
    """The keys and values of one layer in one pass."""

    def __init__(self, keys: Tensor, values: Tensor, now: _Pass) -> None:
        self._keys, self._values, self._pass = keys, values, now

    def attend(self, queries: Tensor, scale: float | None, window: int | None, cap: float | None) -> Tensor:
        """Attention of the pass's tokens, each within its own row.

        Args:
            queries: [1, query heads, tokens, head size]; each group of query heads shares a key head.
            scale: of the scores; 1 / sqrt(head size) if None.
            window: how many tokens a token sees, itself included; None for all.
            cap: soft cap of the scores (Gemma 2), or None.

        Returns [1, tokens, query heads, head size].
        """
        out = queries.new_empty(1, queries.shape[2], queries.shape[1], self._values.shape[3])
        begin = 0
        for row, (slot, length, count) in enumerate(self._pass.rows):
            keys, values = (b[slot, : length + count].transpose(0, 1)[None] for b in (self._keys, self._values))
            mask = self._pass.mask(row, window, queries)
            some = queries[:, :, begin : begin + count]
            if cap is None:
                found = F.scaled_dot_product_attention(
                    some, keys, values, attn_mask=mask, scale=scale, enable_gqa=keys.shape[1] != some.shape[1]
                )
            else:
                found = _capped(some, keys, values, mask, scale, cap)
            out[0, begin : begin + count] = found[0].transpose(0, 1)
            begin += count
        return out


def _capped(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float | None, cap: float
) -> Tensor:
    """Attention with scores squeezed into (-cap, cap), which no fused kernel of torch's does."""
    groups = queries.shape[1] // keys.shape[1]
    keys, values = (each.repeat_interleave(groups, dim=1) for each in (keys, values))
    scores = queries @ keys.transpose(2, 3) * (queries.shape[3] ** -0.5 if scale is None else scale)
    scores = cap * torch.tanh(scores / cap)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1, dtype=torch.float32).to(queries.dtype) @ values
