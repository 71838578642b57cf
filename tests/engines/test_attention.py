"""Attention of many rows in few products equals that of each token by itself."""

import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from genner.engines import attention
from genner.engines.attention import QueryChunk, blocks, pieces
from genner.engines.cache import KVCache

SIZE, VALUE = 4, 6  # of a head, of a value


def alone(query: Tensor, keys: Tensor, values: Tensor, scale: float, window: int | None, cap: float | None) -> Tensor:
    """One head of the last token over its row, [D], by the formula."""
    seen = range(max(0, len(keys) - window) if window else 0, len(keys))
    scores = [float(query @ keys[i]) * scale for i in seen]
    if cap is not None:
        scores = [cap * math.tanh(score / cap) for score in scores]
    weights = [math.exp(score) for score in scores]
    return sum((w * values[i] for w, i in zip(weights, seen, strict=True)), torch.zeros(VALUE)) / sum(weights)


@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5),
    seed=st.integers(0, 99),
    heads=st.sampled_from([(1, 1), (2, 1), (4, 2), (3, 3)]),
    window=st.sampled_from([None, 1, 3, 50]),
    cap=st.sampled_from([None, 2.0]),
    scale=st.sampled_from([None, 0.7]),
    piece=st.sampled_from([1, 4, 128]),
    room=st.sampled_from([1, 200, 1 << 20]),
    short=st.sampled_from([0, 16]),
)
@settings(max_examples=80, deadline=None)
def test_rows_attend_as_tokens_would(
    rows: list[tuple[int, int]],
    seed: int,
    heads: tuple[int, int],
    window: int | None,
    cap: float | None,
    scale: float | None,
    piece: int,
    room: int,
    short: int,
) -> None:
    """Whatever the rows' lengths, their slots, and the way in which they are cut up and put together."""
    torch.manual_seed(seed)
    (asking, own), slots = heads, torch.randperm(7)[: len(rows)].tolist()
    kept = [(torch.randn(own, old + new, SIZE), torch.randn(own, old + new, VALUE)) for old, new in rows]
    queries = torch.randn(1, asking, sum(new for _, new in rows), SIZE)
    cache, cpu = KVCache(7, capacity=4), torch.device("cpu")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"QUERY_CHUNK_TOKENS": piece, "ROOM": room, "FUSED_KERNEL_TOKENS": short}.items():
            patch.setattr(attention, name, value)
        for old in (True, False):  # what stands before, then what is new
            part = [slice(0, before) if old else slice(before, None) for before, _ in rows]
            counts = [before if old else new for before, new in rows]
            if not sum(counts):
                continue
            cache.begin(slots, counts, cpu)
            keys, values = (
                torch.cat([pair[i][:, some] for pair, some in zip(kept, part, strict=True)], 1) for i in (0, 1)
            )
            layer, _ = cache.update(keys[None], values[None], 0)
            if old:
                for slot, count in zip(slots, counts, strict=True):
                    cache.lengths[slot] = count
        found = layer.attend(queries, scale, window, cap)[0]
    at = 0
    for (old_tokens, new), (keys, values) in zip(rows, kept, strict=True):
        for token in range(new):
            end = old_tokens + token + 1
            for head in range(asking):
                shared = head // (asking // own)
                expected = alone(
                    queries[0, head, at], keys[shared, :end], values[shared, :end], scale or SIZE**-0.5, window, cap
                )
                torch.testing.assert_close(found[at, head], expected, atol=1e-5, rtol=1e-4)
            at += 1


@given(rows=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 400)), min_size=1, max_size=12))
def test_every_token_is_in_one_block_of_bounded_size(rows: list[tuple[int, int]]) -> None:
    made = blocks(pieces(range(len(rows)), [old for old, _ in rows], [new for _, new in rows]), heads=9)
    tokens = sorted(place for block in made for p in block.pieces for place in range(p.begin, p.begin + p.count))
    assert tokens == list(range(sum(new for _, new in rows)))
    for block in made:
        assert max(p.count for p in block.pieces) <= attention.QUERY_CHUNK_TOKENS
        assert len(block.pieces) == 1 or scores(block.pieces, 9) <= attention.ROOM


def scores(block: Sequence[QueryChunk], heads: int) -> int:
    return heads * len(block) * max(p.count for p in block) * max(p.reach for p in block)


def partitions(some: Sequence[QueryChunk]) -> Iterator[list[Sequence[QueryChunk]]]:
    """All ways to part a row of things where it stands."""
    if not some:
        yield []
    for first in range(1, len(some) + 1):
        for rest in partitions(some[first:]):
            yield [some[:first], *rest]


@given(
    rows=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 100)), min_size=1, max_size=7),
    room=st.sampled_from([1 << 16, 1 << 20]),
)
def test_no_other_way_to_part_the_pieces_costs_less(rows: list[tuple[int, int]], room: int) -> None:
    some = pieces(range(len(rows)), [old for old, _ in rows], [new for _, new in rows])
    ordered = sorted(some, key=lambda piece: (-piece.count, -piece.reach))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "ROOM", room)
        made = [block.pieces for block in blocks(some, heads=3)]
    costs = [
        sum(scores(block, 3) + attention.CALL for block in way)
        for way in partitions(ordered)
        if all(len(block) == 1 or scores(block, 3) <= room for block in way)
    ]
    assert sum(scores(block, 3) + attention.CALL for block in made) == min(costs)
