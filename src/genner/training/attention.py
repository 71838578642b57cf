"""Attention of a training group on a CPU: rows that share a prefix, in one line, with a hand-written backward pass.

    line     [1, N]   prefix, then row after row, without padding: token-wise operations need not know the rows

Plain attention repeats the prefix's keys and values for every row, pads, widens and copies all scores, and does the
same in the backward pass; it took a third of a training step. Here a row's scores are computed in two parts,

    all rows together   against the prefix, one large product without a mask,
    each row            against itself, causally, padded to the longest,

each with its own softmax. The two normalizers give each part's share of the whole softmax, as in blockwise attention
(FlashAttention, arXiv 2205.14135). Only the probabilities are kept for the backward pass, not the scores.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

GROUP = "genner_group"
"""The name under which transformers finds this attention."""


@contextmanager
def grouped(config: Any) -> Iterator[None]:
    """Context in which a transformers model uses this attention, over a `PackedRows`."""
    from transformers import AttentionInterface

    AttentionInterface.register(GROUP, attend)
    before, config._attn_implementation = config._attn_implementation, GROUP
    try:
        yield
    finally:
        config._attn_implementation = before


class PackedRows:
    """Positions of prefix and rows in the line; passed to a transformers model as `past_key_values`.

    Args:
        prefix: the prefix's length, at least 1.
        lengths: those of the rows, each at least 1.
    """

    def __init__(self, prefix: int, lengths: Sequence[int], device: torch.device) -> None:
        self.prefix, self.rows, self.longest = prefix, len(lengths), max(lengths)
        padded, real, at = list[int](), list[int](), 0
        for row, length in enumerate(lengths):
            # Padding follows all tokens that a row attends to, so it may be anything: here, the row's last token.
            padded += [*range(at, at + length), *[at + length - 1] * (self.longest - length)]
            real += range(row * self.longest, row * self.longest + length)
            at += length
        self.padded = torch.tensor(padded, device=device)  # [B * T]: the row token at each padded position
        self.real = torch.tensor(real, device=device)  # [R]: the padded position of each row token
        positions = [*range(prefix), *(prefix + i for length in lengths for i in range(length))]
        self.positions = torch.tensor([positions], device=device)
        self.device = device

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple["_Keys", "_Keys"]:
        """Called by each layer with its keys and values, [1, heads, N, D]; the result goes to `attend`."""
        found = _Keys(keys, values, self)
        return found, found

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the protocol that models expect; unused, since positions are always given."""
        return 0


class _Keys:
    def __init__(self, keys: Tensor, values: Tensor, line: PackedRows) -> None:
        self.keys, self.values, self.line = keys, values, line


def attend(
    module: Any,
    query: Tensor,
    key: _Keys,
    value: _Keys,
    attention_mask: None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls in each layer: queries [1, heads, N, D] -> [1, N, heads, D]."""
    line = key.line
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    queries, keys, values = (each[0].transpose(0, 1) for each in (query, key.keys, value.values))
    window = sliding_window if sliding_window is not None and sliding_window < line.prefix + line.longest else None
    if window is not None or softcap is not None:
        return _plain(queries, keys, values, line, scale, window, softcap)[None], None
    out: Tensor = _GroupAttention.apply(queries, keys, values, line, scale)  # type: ignore[no-untyped-call]
    return out[None], None


def _plain(
    queries: Tensor, keys: Tensor, values: Tensor, line: PackedRows, scale: float, window: int | None, cap: float | None
) -> Tensor:
    """As `attend`, by autograd, over the whole line with a mask; supports a window and a soft cap of the scores."""
    groups = queries.shape[1] // keys.shape[1]
    queries, keys, values = (each.transpose(0, 1) for each in (queries, keys, values))
    keys, values = (each.repeat_interleave(groups, 0) for each in (keys, values))
    scores = queries @ keys.transpose(1, 2) * scale
    if cap is not None:
        scores = cap * torch.tanh(scores / cap)
    at = line.positions[0]
    owner = torch.cat((at.new_full((line.prefix,), -1), line.real // line.longest))
    hidden = (owner != owner[:, None]) & (owner >= 0) | (at > at[:, None])
    if window is not None:
        hidden |= at <= at[:, None] - window
    scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    return (scores.softmax(-1, dtype=torch.float32).to(values.dtype) @ values).transpose(0, 1)


class _GroupAttention(torch.autograd.Function):
    """Queries [N, K*G, D], keys and values [N, K, D] -> [N, K*G, D]: K key heads, each for G query heads.

    P tokens of prefix, B rows of up to T tokens, R in all, N = P + R. Three blocks of scores: the prefix with itself,
    [K, G*P, P]; rows with the prefix, [K, R*G, P]; rows with themselves, [B*K, G*T, T].
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, line: PackedRows, scale: float) -> Tensor:
        own = keys.shape[1]
        shape = ctx.shape = _Shape(line, own, queries.shape[1] // own)
        scaled = queries * scale
        pk, pv = (each[: line.prefix].transpose(0, 1) for each in (keys, values))
        k, v = (shape.pad_keys(each[line.prefix :]) for each in (keys, values))
        q0, q1, q2 = shape.blocks(scaled)

        zeroth, _ = _softmax(_causal(torch.bmm(q0, pk.transpose(1, 2)), line.prefix))
        first, weight_first = _softmax(torch.bmm(q1, pk.transpose(1, 2)))
        second, weight_second = _softmax(_causal(torch.bmm(q2, k.transpose(1, 2)), line.longest))
        # The share of the whole softmax that falls on the row itself: [R, K, G, 1].
        share = torch.sigmoid(shape.unpad(weight_second) - shape.unfold(weight_first))
        out = queries.new_empty(queries.shape)
        shape.prefix_of(out).copy_(shape.unfold_prefix(torch.bmm(zeroth, pv)))
        of_rows = torch.lerp(
            shape.unfold(torch.bmm(first, pv)).float(), shape.unpad(torch.bmm(second, v)).float(), share
        )
        shape.rows_of(out).copy_(of_rows)
        ctx.save_for_backward(q0, q1, q2, pk, pv, k, v, zeroth, first, second, share, out)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q0, q1, q2, pk, pv, k, v, zeroth, first, second, share, out = ctx.saved_tensors
        shape, dtype = ctx.shape, out.dtype
        by_out = grad_outputs[0].contiguous()
        # Softmax's backward pass is P * (dP - sum of P * dP); the sum follows from the output.
        known = (by_out * out).sum(-1, keepdim=True, dtype=torch.float32)
        by_rows, known_rows = shape.rows_of(by_out), shape.rows_of(known)

        by_second, known_second = shape.pad((by_rows * share).to(dtype)), shape.pad((known_rows * share).to(dtype))
        by_scores = torch.bmm(by_second, v.transpose(1, 2)).sub_(known_second).mul_(second)
        by_k = shape.unpad_keys(torch.bmm(by_scores.transpose(1, 2), q2))
        by_v = shape.unpad_keys(torch.bmm(second.transpose(1, 2), by_second))
        by_queries_second = shape.unpad(torch.bmm(by_scores, k))

        rest = 1 - share
        by_first, known_first = shape.fold((by_rows * rest).to(dtype)), shape.fold((known_rows * rest).to(dtype))
        by_scores = torch.bmm(by_first, pv.transpose(1, 2)).sub_(known_first).mul_(first)
        by_pk, by_pv = torch.bmm(by_scores.transpose(1, 2), q1), torch.bmm(first.transpose(1, 2), by_first)
        by_queries_first = shape.unfold(torch.bmm(by_scores, pk))

        by_zeroth = shape.fold_prefix(shape.prefix_of(by_out))
        known_zeroth = shape.fold_prefix(shape.prefix_of(known)).to(dtype)
        by_scores = torch.bmm(by_zeroth, pv.transpose(1, 2)).sub_(known_zeroth).mul_(zeroth)
        by_pk += torch.bmm(by_scores.transpose(1, 2), q0)
        by_pv += torch.bmm(zeroth.transpose(1, 2), by_zeroth)

        by_queries = torch.empty_like(out)
        shape.prefix_of(by_queries).copy_(shape.unfold_prefix(torch.bmm(by_scores, pk)))
        torch.add(by_queries_first, by_queries_second, out=shape.rows_of(by_queries))
        by_keys, by_values = (
            torch.cat((prefix.transpose(0, 1), rows)) for prefix, rows in ((by_pk, by_k), (by_pv, by_v))
        )
        return by_queries.mul_(ctx.scale), by_keys, by_values, None, None


class _Shape:
    """Conversions between the line, [N, K*G, .], and the blocks of `_GroupAttention`."""

    def __init__(self, line: PackedRows, own: int, groups: int) -> None:
        self.line, self.own, self.groups = line, own, groups

    def prefix_of(self, each: Tensor) -> Tensor:
        """[N, K*G, .] -> a view of [P, K, G, .]"""
        return each[: self.line.prefix].view(-1, self.own, self.groups, each.shape[2])

    def rows_of(self, each: Tensor) -> Tensor:
        """[N, K*G, .] -> a view of [R, K, G, .]"""
        return each[self.line.prefix :].view(-1, self.own, self.groups, each.shape[2])

    def blocks(self, each: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.fold_prefix(self.prefix_of(each)), self.fold(self.rows_of(each)), self.pad(self.rows_of(each))

    def fold_prefix(self, each: Tensor) -> Tensor:
        """[P, K, G, .] -> [K, G*P, .]"""
        return each.permute(1, 2, 0, 3).reshape(self.own, -1, each.shape[3])

    def unfold_prefix(self, each: Tensor) -> Tensor:
        """[K, G*P, .] -> [P, K, G, .]"""
        return each.view(self.own, self.groups, -1, each.shape[2]).permute(2, 0, 1, 3)

    def fold(self, each: Tensor) -> Tensor:
        """[R, K, G, .] -> [K, R*G, .]"""
        return each.transpose(0, 1).reshape(self.own, -1, each.shape[3])

    def unfold(self, each: Tensor) -> Tensor:
        """[K, R*G, .] -> [R, K, G, .]"""
        return each.view(self.own, -1, self.groups, each.shape[2]).transpose(0, 1)

    def pad(self, each: Tensor) -> Tensor:
        """[R, K, G, .] -> [B*K, G*T, .], zero at the padding, so that no gradient comes from there."""
        out = each.new_zeros(self.line.rows * self.line.longest, *each.shape[1:])
        out[self.line.real] = each
        out = out.view(self.line.rows, self.line.longest, *each.shape[1:])
        return out.permute(0, 2, 3, 1, 4).reshape(self.line.rows * self.own, -1, each.shape[3])

    def unpad(self, each: Tensor) -> Tensor:
        """[B*K, G*T, .] -> [R, K, G, .]"""
        wide = each.view(self.line.rows, self.own, self.groups, self.line.longest, -1).permute(0, 3, 1, 2, 4)
        return wide.flatten(0, 1)[self.line.real]

    def pad_keys(self, each: Tensor) -> Tensor:
        """[R, K, D] -> [B*K, T, D]"""
        wide = each[self.line.padded].view(self.line.rows, self.line.longest, *each.shape[1:])
        return wide.transpose(1, 2).reshape(self.line.rows * self.own, -1, each.shape[2])

    def unpad_keys(self, each: Tensor) -> Tensor:
        """[B*K, T, D] -> [R, K, D]; the padding has no gradient."""
        wide = each.view(self.line.rows, self.own, self.line.longest, -1).transpose(1, 2)
        return wide.flatten(0, 1)[self.line.real]


def _causal(scores: Tensor, count: int) -> Tensor:
    """Scores [., G*T, T] with those of later tokens at minus infinity; in place."""
    hidden = torch.ones(count, count, dtype=torch.bool, device=scores.device).triu_(1)
    scores.view(len(scores), -1, count, count).masked_fill_(hidden, -torch.inf)
    return scores


def _softmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities along the last dimension, and their normalizer's logarithm in float32, [..., 1].

    Probabilities come from one kernel, which sums in float32 for any dtype; the normalizer is the largest score minus
    the logarithm of its probability.
    """
    found = scores.softmax(-1)
    peaks, probabilities = scores.amax(-1, keepdim=True).float(), found.amax(-1, keepdim=True).float()
    return found, peaks - probabilities.log()
