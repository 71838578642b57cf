"""Attention of many rows at once, each over its own keys and values, in few matrix products.

The tokens of a pass are concatenated, row after row. For attention they are split into pieces, and pieces of similar
size are multiplied together, padded to the largest. One row alone is too small for an efficient product, and torch's
fused kernels, made for long sequences, take twice as long for the few dozen tokens of a draft (docs/log.md). A long row
is split, since its early tokens do not attend to its late ones.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

QUERY_CHUNK_TOKENS = 128  # maximum number of new tokens of a row per piece
FUSED_KERNEL_TOKENS = 16  # a single piece of at most this many tokens uses torch's fused kernel
CALL = 1 << 15  # the fixed cost of a product, in scores
ROOM = 1 << 20  # maximum number of scores in a block, unless one piece has more: what fits into the processor's cache


@dataclass(frozen=True)
class QueryChunk:
    """New tokens of a row: the row's slot in the cache, the number of tokens before them, their number, and their
    offset in the line."""

    slot: int
    length: int
    count: int
    begin: int

    @property
    def reach(self) -> int:
        """The number of keys visible to the last of them."""
        return self.length + self.count


def pieces(slots: Iterable[int], lengths: Iterable[int], counts: Iterable[int]) -> list[QueryChunk]:
    """The pieces of rows that add `counts` new tokens after `lengths` old ones."""
    found, begin = list[QueryChunk](), 0
    for slot, length, count in zip(slots, lengths, counts, strict=True):
        for first in range(0, count, QUERY_CHUNK_TOKENS):
            found.append(QueryChunk(slot, length + first, min(QUERY_CHUNK_TOKENS, count - first), begin + first))
        begin += count
    return found


def blocks(some: Iterable[QueryChunk], heads: int) -> list["AttentionBatch"]:
    """The cheapest partition of the pieces, sorted by size, into blocks that attend together, for a layer with this
    many query heads."""
    ordered = sorted(some, key=lambda piece: (-piece.count, -piece.reach))
    costs, cuts = [0.0], [0]  # for the first n pieces: the minimum cost, and the start of their last block
    for end in range(1, len(ordered) + 1):
        reach, least, cut = 0, math.inf, end - 1
        for begin in reversed(range(end)):
            reach = max(reach, ordered[begin].reach)
            scores = heads * (end - begin) * ordered[begin].count * reach
            if scores > ROOM and begin < end - 1:
                break
            if costs[begin] + scores < least:
                least, cut = costs[begin] + scores, begin
        costs.append(least + CALL)
        cuts.append(cut)
    made, end = list[AttentionBatch](), len(ordered)
    while end:
        made.append(AttentionBatch(sorted(ordered[cuts[end] : end], key=lambda piece: piece.slot)))
        end = cuts[end]
    return made


class AttentionBatch:
    """B pieces of a pass that attend in one product, each padded to T tokens, over `reach` keys."""

    def __init__(self, some: list[QueryChunk]) -> None:
        self.pieces = some
        self._count, self._tokens = len(some), max(piece.count for piece in some)
        self._reach = max(piece.reach for piece in some)
        slots = [piece.slot for piece in some]
        # Adjacent rows are read in place from the cache; others are gathered into a copy.
        self._neighbours = slots == list(range(slots[0], slots[0] + len(slots)))
        self._indices: tuple[Tensor, ...] | None = None
        self._masks: dict[tuple[int | None, int, int], Tensor | None] = {}

    def attend(
        self, line: Tensor, keys: Tensor, values: Tensor, out: Tensor, window: int | None, cap: float | None
    ) -> None:
        """Compute the attention of the block's tokens, and write it to their positions in `out`.

        The query heads that share a key head are treated as additional tokens of one head, so that its keys are read
        once.

        Args:
            line: queries, scaled, [all tokens, query heads, D].
            keys, values: [rows, heads, capacity, D]; out: [all tokens, query heads, D of values].
            window: how many tokens a token sees, itself included; None for all.
            cap: soft cap of the scores (Gemma 2), or None.
        """
        heads, size = keys.shape[1], values.shape[3]
        groups = line.shape[1] // heads
        queries = self._gathered(line).view(self._count, self._tokens, heads, groups, -1)
        queries = queries.permute(0, 2, 3, 1, 4).reshape(self._count * heads, groups * self._tokens, -1)
        found = self._product(
            queries, self._rows(keys), self._rows(values), self._mask(window, heads, groups, line), cap
        )
        found = found.view(self._count, heads, groups, self._tokens, size).permute(0, 3, 1, 2, 4)
        self._scatter(found.reshape(-1, heads * groups, size), out)

    def _product(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, cap: float | None) -> Tensor:
        """Attention of [B * heads, groups * T, D]."""
        if cap is not None:
            scores = cap * torch.tanh(queries @ keys.transpose(1, 2) / cap)
            scores = scores if mask is None else scores + mask
        elif self._count == 1 and self._tokens <= FUSED_KERNEL_TOKENS:
            fused: Tensor = F.scaled_dot_product_attention(
                queries[None], keys[None], values[None], attn_mask=None if mask is None else mask[None], scale=1.0
            )
            return fused[0]
        elif mask is None:
            scores = queries @ keys.transpose(1, 2)
        else:
            scores = torch.baddbmm(mask, queries, keys.transpose(1, 2))
        return scores.softmax(-1) @ values

    def _rows(self, buffer: Tensor) -> Tensor:
        """Keys or values of the pieces' rows, [B * heads, reach, D]."""
        within = buffer[:, :, : self._reach]
        if self._neighbours:
            first = self.pieces[0].slot
            return within[first : first + self._count].flatten(0, 1)
        return within.index_select(0, self._on(buffer.device)[0]).flatten(0, 1)

    def _gathered(self, line: Tensor) -> Tensor:
        """[all tokens, ...] -> [B * T, ...]; padding repeats some token."""
        if self._count == 1:
            return line[self.pieces[0].begin : self.pieces[0].begin + self._tokens]
        return line.index_select(0, self._on(line.device)[1])

    def _scatter(self, found: Tensor, line: Tensor) -> None:
        """Write [B * T, ...] into its places in [all tokens, ...], without the padding."""
        if self._count == 1:
            line[self.pieces[0].begin : self.pieces[0].begin + self._tokens] = found
        else:
            _, _, kept, places = self._on(line.device)
            line.index_copy_(0, places, found.index_select(0, kept))

    def _on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Indices: the pieces' slots; for each of the B * T tokens its offset in the line; which of them are not
        padding, and the offsets of these in the line."""
        if self._indices is None:
            slots, source, kept, places = list[int](), list[int](), list[int](), list[int]()
            for i, piece in enumerate(self.pieces):
                own = range(piece.begin, piece.begin + piece.count)
                slots.append(piece.slot)
                source += [*own, *[piece.begin] * (self._tokens - piece.count)]
                kept += range(i * self._tokens, i * self._tokens + piece.count)
                places += own
            self._indices = tuple(torch.tensor(some, device=device) for some in (slots, source, kept, places))
        return self._indices

    def _mask(self, window: int | None, heads: int, groups: int, like: Tensor) -> Tensor | None:
        """The additive mask [B * heads, groups * T, reach]: a token sees itself and those before it in its row, at most
        the last `window` of them. None if it hides nothing. It is cached, since all layers of a kind share it."""
        key = window, heads, groups
        if key not in self._masks:
            self._masks[key] = self._made(window, heads, groups, like)
        return self._masks[key]

    def _made(self, window: int | None, heads: int, groups: int, like: Tensor) -> Tensor | None:
        if self._count == self._tokens == 1 and (window is None or window >= self._reach):
            return None
        # In numpy, whose operations on few numbers do not wait for threads. Every token sees at least one key, padding
        # too: softmax over no keys is NaN.
        hidden = np.ones((self._count, self._tokens, self._reach), dtype=np.bool_)
        hidden[:, :, 0] = False
        keys = np.arange(self._reach)
        for i, piece in enumerate(self.pieces):
            queries = np.arange(piece.length, piece.reach)[:, None]
            seen = keys <= queries
            if window is not None:
                seen &= keys > queries - window
            hidden[i, : piece.count] = ~seen
        mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
        mask.masked_fill_(torch.from_numpy(hidden).to(like.device), torch.finfo(like.dtype).min)
        size = self._count, heads, groups, self._tokens, self._reach
        # The product takes a mask for each of its matrices, so the mask is repeated for each head.
        return mask[:, None, None].expand(size).reshape(self._count * heads, groups * self._tokens, self._reach)
