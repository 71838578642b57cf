"""Packed rows: many (text, answer) pairs behind one shared instruction, in a row of fixed length.

    row      [ prefix | body 1 | answer 1 | body 2 | answer 2 | ... | padding ]

Each pair attends to the prefix and to itself alone, and its positions go on from the prefix, so a packed row computes
exactly what its pairs would give one by one (a test holds it to that), while the instruction is computed once. At
inference the same prefix is cached once and shared in the same way. Rows of one length keep shapes static.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """The token ids of one example behind its prefix. The loss is taken on `answer`, the end of the turn included."""

    body: list[int]
    answer: list[int]

    def __len__(self) -> int:
        # The last token of the answer is predicted, but predicts nothing: it need not be computed.
        return len(self.body) + len(self.answer) - 1


@dataclass(frozen=True)
class Row:
    """A prefix, and the pairs that share it."""

    prefix: list[int]
    pairs: list[Pair]

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.pairs))


def pack(prefix: list[int], pairs: Iterable[Pair], length: int, lookahead: int = 24) -> Iterator[Row]:
    """Fill rows of at most `length` tokens, taking of the next `lookahead` pairs the first that still fits.

    A pair that fits into no row at all must have been left out before: it raises `ValueError`.
    """
    source, waiting = iter(pairs), list[Pair]()
    row, room = list[Pair](), length - len(prefix)
    while True:
        while len(waiting) < lookahead and (pair := next(source, None)) is not None:
            waiting.append(pair)
        index = next((i for i, pair in enumerate(waiting) if len(pair) <= room), None)
        if index is not None:
            pair = waiting.pop(index)
            row.append(pair)
            room -= len(pair)
        elif row:
            yield Row(prefix, row)
            row, room = [], length - len(prefix)
        elif waiting:
            raise ValueError(f"a pair of {len(waiting[0])} tokens does not fit into a row of {length}")
        else:
            return


@dataclass(frozen=True)
class Batch:
    """Packed rows as tensors; R rows of L tokens.

    input_ids, position_ids: [R, L] int64. mask: [R, 1, L, L], 0 where a query (dim 2) may see a key, else the lowest
    value of its dtype. targets: [R, L] int64, the token to predict at each place, -100 where no loss is taken.
    """

    input_ids: Tensor
    position_ids: Tensor
    mask: Tensor
    targets: Tensor
    tokens: int  # that are not padding


def collate(rows: list[Row], length: int, pad_id: int, dtype: torch.dtype) -> Batch:
    """Rows to tensors. Padding attends to itself alone, so that no softmax is empty."""
    shape = (len(rows), length)
    ids, positions = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long)
    targets = torch.full(shape, -100)
    owner = torch.full(shape, -1)  # which pair a place belongs to; 0 is the prefix, -1 padding
    for r, row in enumerate(rows):
        at = len(row.prefix)
        ids[r, :at] = torch.tensor(row.prefix)
        positions[r, :at] = torch.arange(at)
        owner[r, :at] = 0
        for number, pair in enumerate(row.pairs, start=1):
            end, whole = at + len(pair), [*pair.body, *pair.answer]
            ids[r, at:end] = torch.tensor(whole[:-1])
            positions[r, at:end] = torch.arange(len(row.prefix), len(row.prefix) + len(pair))
            targets[r, at + len(pair.body) - 1 : end] = torch.tensor(pair.answer)
            owner[r, at:end] = number
            at = end
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same = owner[:, :, None] == owner[:, None, :]
    shared = (owner[:, None, :] == 0) & (owner[:, :, None] > 0)
    sees = causal & (same | shared) & (owner >= 0)[:, :, None] | torch.eye(length, dtype=torch.bool)
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
    return Batch(ids, positions, mask[:, None], targets, int((owner >= 0).sum()))
