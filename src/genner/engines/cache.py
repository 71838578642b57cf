"""A key-value cache whose rows are each at their own position, and can be cut back exactly.

Every layer keeps one buffer for all rows. Cutting a row back is forgetting its length: what stands beyond is masked,
and overwritten later. Sliding-window layers keep everything too and are masked to their window, so that a rejected
draft can be undone in them as well.
"""

from typing import Any

import torch
from torch import Tensor


class RowCache:
    """Keys and values of up to `rows` sequences; passed to a transformers model as `past_key_values`.

    Buffers are [rows, heads, capacity, head size], allocated at the first update.
    """

    def __init__(self, rows: int, capacity: int = 512) -> None:
        self.lengths = [0] * rows
        self._capacity = capacity
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._first = self._last = self._reach = 0
        self._places = torch.zeros(1, 1, 1, 1, dtype=torch.long)

    def begin(self, first: int, last: int, width: int, device: torch.device) -> Tensor:
        """Prepare a pass of `width` new tokens for rows first..last-1; returns their positions, [rows, width]."""
        starts = torch.tensor(self.lengths[first:last], device=device)
        positions = starts[:, None] + torch.arange(width, device=device)
        self._first, self._last = first, last
        self._reach = max(self.lengths[first:last]) + width
        if self._reach > self._capacity:
            self._grow(max(self._reach, self._capacity * 3 // 2))
        self._places = positions[:, None, :, None]
        return positions

    def mask(self, positions: Tensor, dtype: torch.dtype, window: int | None = None) -> Tensor:
        """The additive mask of the pass, [rows, 1, width, reach]: a token sees itself, all before it, and no more
        than the last `window` of them."""
        keys = torch.arange(self._reach, device=positions.device)
        seen = keys[None, None, :] <= positions[:, :, None]
        if window is not None:
            seen &= keys[None, None, :] > positions[:, :, None] - window
        mask = torch.zeros(seen.shape, dtype=dtype, device=positions.device)
        return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Called by each attention layer: store the new keys and values, return all that the pass may look at."""
        if layer not in self._keys:
            shape = (len(self.lengths), keys.shape[1], self._capacity, keys.shape[3])
            self._keys[layer] = keys.new_zeros(shape)
            self._values[layer] = values.new_zeros((*shape[:3], values.shape[3]))
        rows = slice(self._first, self._last)
        found = []
        for buffer, new in ((self._keys[layer], keys), (self._values[layer], values)):
            buffer[rows].scatter_(2, self._places.expand(-1, new.shape[1], -1, new.shape[3]), new)
            found.append(buffer[rows, :, : self._reach])
        return found[0], found[1]

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the protocol that models expect; positions are always given, so nothing hangs on it."""
        return max(self.lengths)

    @torch.inference_mode()
    def copy_row(self, source: "RowCache", of: int, to: int) -> None:
        """Make row `to` a copy of row `of` of `source` (which may be this cache)."""
        length = source.lengths[of]
        if length > self._capacity:
            self._grow(length * 3 // 2)
        for layer, keys in source._keys.items():
            values = source._values[layer]
            if layer not in self._keys:
                shape = (len(self.lengths), keys.shape[1], self._capacity, keys.shape[3])
                self._keys[layer] = keys.new_zeros(shape)
                self._values[layer] = values.new_zeros((*shape[:3], values.shape[3]))
            self._keys[layer][to, :, :length] = keys[of, :, :length]
            self._values[layer][to, :, :length] = values[of, :, :length]
        self.lengths[to] = length

    def _grow(self, capacity: int) -> None:
        for buffers in (self._keys, self._values):
            for layer, old in buffers.items():
                new = old.new_zeros((*old.shape[:2], capacity, old.shape[3]))
                new[:, :, : self._capacity] = old
                buffers[layer] = new
        self._capacity = capacity
