"""Keys and values of many sequences, each at its own position, that can be cut back exactly.

A pass takes new tokens for some of the rows, as many as each row has, one after the other without padding. Every layer
keeps one buffer for all rows. Cutting a row back is forgetting its length: what stands beyond is never looked at, and
overwritten later. Sliding-window layers keep everything too, and look at their window only, so that a rejected draft
can be undone in them as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class RowCache:
    """Keys and values of up to `rows` sequences; passed to a transformers model as `past_key_values`.

    Buffers are [rows, capacity, heads, head size], allocated at the first pass. `lengths` says how many tokens of each
    row count; a pass leaves it alone: the caller says how much of what was run is kept.
    """

    def __init__(self, rows: int, capacity: int = 256) -> None:
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
        for buffer, new in zip(self._buffer(layer, (keys, values)), (keys, values), strict=True):
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
            for mine, theirs in zip(self._buffer(layer, buffers), buffers, strict=True):
                mine[to, :length] = theirs[of, :length]
        self.lengths[to] = length

    def _buffer(self, layer: int, like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The buffers of a layer, for keys and values [..., heads, head size] as these."""
        if layer not in self._buffers:
            size = (len(self.lengths), self._capacity)
            keys, values = like
            self._buffers[layer] = _zeros(keys, *size, *keys.shape[-2:]), _zeros(values, *size, *values.shape[-2:])
        return self._buffers[layer]

    def _grow(self, capacity: int) -> None:
        for layer, buffers in self._buffers.items():
            grown = tuple(_zeros(b, len(b), capacity, *b.shape[2:]) for b in buffers)
            for new, old in zip(grown, buffers, strict=True):
                new[:, : self._capacity] = old
            self._buffers[layer] = grown  # type: ignore[assignment]
        self._capacity = capacity


def _zeros(like: Tensor, *shape: int) -> Tensor:
    """Zeros of this shape, of the dtype and on the device of `like`."""
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    # The system hands out zeroed pages when they are first written to, so rows that are never used take no memory;
    # torch writes the zeros itself.
    size = math.prod(shape) * like.element_size()
    return torch.from_numpy(np.zeros(size, np.uint8)).view(like.dtype).view(shape)


SHORT = 16
"""Rows of at most so many new tokens attend in one call. (On two CPU cores eight rows of six tokens took 0.5 ms instead
of 0.9; of 90 tokens, 10 ms instead of 6: long rows are efficient by themselves, and padding is not.)"""


class _Pass:
    """Which rows take part in a pass, how long they were, how many tokens each brings, and where these are stored."""

    def __init__(
        self, slots: tuple[int, ...], lengths: tuple[int, ...], counts: tuple[int, ...], places: Tensor
    ) -> None:
        self.places = places
        rows, begin = list[_Part](), 0
        for slot, length, count in zip(slots, lengths, counts, strict=True):
            rows.append(_Part(slot, length, count, begin))
            begin += count
        short = [row for row in rows if row.count <= SHORT]
        self.blocks = [_Block([row]) for row in rows if row.count > SHORT] + ([_Block(short)] if short else [])


@dataclass(frozen=True)
class _Part:
    """A row in a pass: its place in the cache, its tokens there, its new ones, and where these begin in the line."""

    slot: int
    length: int
    count: int
    begin: int


class _Block:
    """Rows of a pass that attend in one call: B places in the cache, T new tokens each, the longest row's."""

    def __init__(self, rows: list[_Part]) -> None:
        self.rows = rows
        self.slots = slice(min(row.slot for row in rows), max(row.slot for row in rows) + 1)
        self.size, self.tokens = self.slots.stop - self.slots.start, max(row.count for row in rows)
        self.reach = max(row.length + row.count for row in rows)
        self.single = len(rows) == 1
        # What stands in the line for each of the B x T tokens, and the other way around. For padding, and for places in
        # the cache between those of the block, it is any token at all.
        self._from, self._to = [0] * (self.size * self.tokens), list[int]()
        self._line = list[int]()
        for row in rows:
            at = (row.slot - self.slots.start) * self.tokens
            self._from[at : at + row.count] = range(row.begin, row.begin + row.count)
            self._to += range(at, at + row.count)
            self._line += range(row.begin, row.begin + row.count)
        self._indices: tuple[Tensor, Tensor, Tensor] | None = None
        self._masks: dict[int | None, Tensor | None] = {}

    def gather(self, line: Tensor) -> Tensor:
        """[all tokens, ...] -> [B * T, ...]"""
        return line[self._line[0] : self._line[-1] + 1] if self.single else line[self._on(line.device)[0]]

    def scatter(self, found: Tensor, line: Tensor) -> None:
        """[B * T, ...] into its places in [all tokens, ...]"""
        if self.single:
            line[self._line[0] : self._line[-1] + 1] = found
        else:
            _, to, places = self._on(line.device)
            line[places] = found[to]

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        if self._indices is None:
            self._indices = (
                torch.tensor(self._from, device=device),
                torch.tensor(self._to, device=device),
                torch.tensor(self._line, device=device),
            )
        return self._indices

    def mask(self, window: int | None, groups: int, like: Tensor) -> Tensor | None:
        """The additive mask [B, 1, groups * T, reach]: a token sees itself, all before it in its row, and no more than
        the last `window` of them. None where it would hide nothing. The same for all layers of a kind, so kept."""
        if window not in self._masks:
            self._masks[window] = self._mask(window, groups, like)
        return self._masks[window]

    def _mask(self, window: int | None, groups: int, like: Tensor) -> Tensor | None:
        if self.single and self.tokens == 1 and (window is None or window >= self.reach):
            return None
        # In numpy, whose operations on so few numbers do not wait for threads. Nobody may see nothing at all.
        hidden = np.ones((self.size, self.tokens, self.reach), dtype=np.bool_)
        hidden[:, :, 0] = False
        keys = np.arange(self.reach)
        for row in self.rows:
            queries = np.arange(row.length, row.length + row.count)[:, None]
            seen = keys <= queries
            if window is not None:
                seen &= keys > queries - window
            hidden[row.slot - self.slots.start, : row.count] = ~seen
        mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
        mask.masked_fill_(torch.from_numpy(hidden).to(like.device), torch.finfo(like.dtype).min)
        return mask[:, None].repeat(1, 1, groups, 1)


class Layer:
    """The keys and values of one layer in one pass."""

    def __init__(self, keys: Tensor, values: Tensor, now: _Pass) -> None:
        self._keys, self._values, self._pass = keys, values, now

    def attend(self, queries: Tensor, scale: float | None, window: int | None, cap: float | None) -> Tensor:
        """Attention of the pass's tokens, each within its own row.

        The query heads that share a key head stand as so many tokens of one head, so its keys are gone over once.

        Args:
            queries: [1, query heads, tokens, head size]; each group of query heads shares a key head.
            scale: of the scores; 1 / sqrt(head size) if None.
            window: how many tokens a token sees, itself included; None for all.
            cap: soft cap of the scores (Gemma 2), or None.

        Returns [1, tokens, query heads, head size].
        """
        line = queries[0].transpose(0, 1)
        own, size = self._keys.shape[2], self._values.shape[3]
        groups = queries.shape[1] // own
        out = queries.new_empty(*line.shape[:2], size)
        for block in self._pass.blocks:
            keys, values = (b[block.slots, : block.reach].transpose(1, 2) for b in (self._keys, self._values))
            some = block.gather(line).view(block.size, block.tokens, own, groups, -1)
            some = some.permute(0, 2, 3, 1, 4).flatten(2, 3)
            mask = block.mask(window, groups, queries)
            if cap is None:
                found = F.scaled_dot_product_attention(some, keys, values, attn_mask=mask, scale=scale)
            else:
                found = _capped(some, keys, values, mask, scale, cap)
            found = found.view(block.size, own, groups, block.tokens, size).permute(0, 3, 1, 2, 4)
            block.scatter(found.reshape(-1, own * groups, size), out)
        return out[None]


def _capped(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float | None, cap: float
) -> Tensor:
    """Attention with scores squeezed into (-cap, cap), which no fused kernel of torch's does."""
    scores = queries @ keys.transpose(2, 3) * (queries.shape[3] ** -0.5 if scale is None else scale)
    scores = cap * torch.tanh(scores / cap)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1, dtype=torch.float32).to(queries.dtype) @ values
