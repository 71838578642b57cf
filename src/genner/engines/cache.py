"""A cache of keys and values of many sequences, each at its own position, that can be truncated exactly.

A pass takes new tokens for some of the rows, any number for each, concatenated without padding. Every layer has one
buffer for all rows. To truncate a row, its length is reduced: data beyond the length is never read, and is overwritten
later. Sliding-window layers also keep all tokens, and read only their window, so that a rejected draft can be undone in
them too.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genner.engines.attention import AttentionBatch, blocks, pieces


class KVCache:
    """Keys and values of up to `rows` sequences; passed to a transformers model as `past_key_values`.

    Buffers are [rows, heads, capacity, head size], allocated at the first pass. `lengths` has the number of valid
    tokens of each row; after a pass, the caller adds the number of new tokens that it keeps.
    """

    def __init__(self, rows: int, capacity: int = 256) -> None:
        self.lengths = [0] * rows
        self._capacity = capacity
        self._buffers: dict[int, tuple[Tensor, Tensor]] = {}
        self._pass = _Pass((), (), ())

    def begin(self, slots: Sequence[int], counts: Sequence[int], device: torch.device) -> Tensor:
        """Prepare a pass of `counts` new tokens for the rows `slots`; returns their positions, [sum of counts]."""
        lengths = [self.lengths[slot] for slot in slots]
        reach = max(length + count for length, count in zip(lengths, counts, strict=True))
        if reach > self._capacity:
            self._grow(max(reach, self._capacity * 3 // 2))
        # In plain Python: a torch operation on few numbers would wait for its threads.
        positions = list[int]()
        for length, count in zip(lengths, counts, strict=True):
            positions += range(length, length + count)
        self._pass = _Pass(slots, lengths, counts)
        return torch.tensor(positions, device=device)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple["Layer", "Layer"]:
        """Store new keys and values, [1, heads, tokens, head size]; each attention layer calls it.

        The result stands for the keys and values of all rows; `Layer.attend` reads them.
        """
        keys, values = keys[0], values[0]
        places = self._pass.places(len(keys), self._capacity, keys.device)
        for buffer, new in zip(self._buffer(layer, (keys, values)), (keys, values), strict=True):
            buffer.view(-1, buffer.shape[3]).index_copy_(0, places, new.reshape(-1, new.shape[2]))
        found = Layer(*self._buffers[layer], self._pass)
        return found, found

    def get_seq_length(self, layer: int = 0) -> int:
        """Required by models; since positions are always given, its value has no effect."""
        return max(self.lengths)

    @torch.inference_mode()
    def copy_row(self, source: "KVCache", of: int, to: int) -> None:
        """Make row `to` a copy of row `of` of `source`."""
        length = source.lengths[of]
        if length > self._capacity:
            self._grow(length * 3 // 2)
        for layer, buffers in source._buffers.items():
            for mine, theirs in zip(self._buffer(layer, buffers), buffers, strict=True):
                mine[to, :, :length] = theirs[of, :, :length]
        self.lengths[to] = length

    def _buffer(self, layer: int, like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The buffers of a layer; `like`: keys and values, [..., heads, tokens, head size]."""
        if layer not in self._buffers:
            rows, (keys, values) = len(self.lengths), like
            self._buffers[layer] = (
                _zeros(keys, rows, keys.shape[-3], self._capacity, keys.shape[-1]),
                _zeros(values, rows, values.shape[-3], self._capacity, values.shape[-1]),
            )
        return self._buffers[layer]

    def _grow(self, capacity: int) -> None:
        for layer, buffers in self._buffers.items():
            grown = tuple(_zeros(b, *b.shape[:2], capacity, b.shape[3]) for b in buffers)
            for new, old in zip(grown, buffers, strict=True):
                new[:, :, : self._capacity] = old
            self._buffers[layer] = grown  # type: ignore[assignment]
        self._capacity = capacity


def _zeros(like: Tensor, *shape: int) -> Tensor:
    """Zeros of this shape, of the dtype and on the device of `like`."""
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    # With numpy, the system zeroes a page when it is first written to, so unused rows take no memory; torch writes the
    # zeros itself.
    size = math.prod(shape) * like.element_size()
    return torch.from_numpy(np.zeros(size, np.uint8)).view(like.dtype).view(shape)


class _Pass:
    """The rows of a pass, and where their new keys and values are stored."""

    def __init__(self, slots: Sequence[int], lengths: Sequence[int], counts: Sequence[int]) -> None:
        self._rows = list(zip(slots, lengths, counts, strict=True))
        self._pieces = pieces(slots, lengths, counts)
        self._blocks: dict[int, list[AttentionBatch]] = {}
        self._places: dict[tuple[int, int], Tensor] = {}

    def blocks(self, heads: int) -> list[AttentionBatch]:
        """The pieces that attend together, for a layer with this many query heads."""
        if heads not in self._blocks:
            self._blocks[heads] = blocks(self._pieces, heads)
        return self._blocks[heads]

    def places(self, heads: int, capacity: int, device: torch.device) -> Tensor:
        """For each key head and each new token, its index in [rows * heads * capacity]."""
        key = heads, capacity
        if key not in self._places:
            places = list[int]()
            for head in range(heads):
                for slot, length, count in self._rows:
                    begin = (slot * heads + head) * capacity + length
                    places += range(begin, begin + count)
            self._places[key] = torch.tensor(places, device=device)
        return self._places[key]


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
        line = queries[0].transpose(0, 1) * (queries.shape[3] ** -0.5 if scale is None else scale)
        out = queries.new_empty(*line.shape[:2], self._values.shape[3])
        for block in self._pass.blocks(queries.shape[1]):
            block.attend(line, self._keys, self._values, out, window, cap)
        return out[None]
