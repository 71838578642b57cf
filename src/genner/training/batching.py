"""Groups: (text, answer) pairs of similar length that share one instruction, which is computed once.

    prefix   [1, P]   the instruction, run once; its keys and values are shared by all rows of the group
    rows     [B, T]   body | answer | padding, each row attending to the prefix and causally to itself

A row's result is exactly that of the whole conversation alone (a test checks this): positions continue from the prefix,
and padding follows all tokens that are attended to. At inference the prefix is cached and shared in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genner.training.attention import PackedRows, grouped


@dataclass(frozen=True)
class Example:
    """The token ids of one example behind its prefix; neither part is empty.

    The loss is taken on `answer`, including the end of the turn; if `said` is given, only on the tokens for which it is
    true: the `answer` of a conversation starts at its first answer and contains the user's later turns as well.
    """

    body: list[int]
    answer: list[int]
    said: tuple[bool, ...] = ()

    def __len__(self) -> int:
        # The last token of the answer is only a target, never an input.
        return len(self.body) + len(self.answer) - 1

    @property
    def targets(self) -> list[int]:
        """The answer, with -100 for tokens without loss."""
        return [t if s else -100 for t, s in zip(self.answer, self.said, strict=True)] if self.said else self.answer


@dataclass(frozen=True)
class Batch:
    """Examples that share a prefix and are run together."""

    prefix: list[int]
    pairs: list[Example]

    @property
    def tokens(self) -> int:
        """Number of tokens computed, without padding."""
        return len(self.prefix) + sum(map(len, self.pairs))

    @property
    def targets(self) -> int:
        """Number of tokens with loss."""
        return sum(sum(pair.said) or len(pair.answer) for pair in self.pairs)


def bucket(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices of `lengths` in groups of similar length whose padded size, rows x longest, is at most `budget`.

    A length above the budget gets its own group.
    """
    hand: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if hand and (len(hand) + 1) * lengths[index] > budget:
            yield hand
            hand = []
        hand.append(index)
    if hand:
        yield hand


def tensors(group: Batch, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """The group as int64 tensors: prefix [1, P]; rows [B, T]; targets [B, T], -100 where no loss is taken."""
    longest = max(map(len, group.pairs))
    rows = torch.full((len(group.pairs), longest), pad_id)
    targets = torch.full((len(group.pairs), longest), -100)
    for r, pair in enumerate(group.pairs):
        rows[r, : len(pair)] = torch.tensor([*pair.body, *pair.answer][:-1])
        targets[r, len(pair.body) - 1 : len(pair)] = torch.tensor(pair.targets)
    return torch.tensor([group.prefix]), rows, targets


def group_loss(
    body: Any,
    head: Any,
    group: Batch,
    pad_id: int,
    device: torch.device,
    trained: Sequence[Tensor] = (),
    *,
    shared: bool = False,
    cached: bool = True,
) -> Tensor:
    """The summed cross-entropy of the group's answers, in nats, as a scalar with its graph.

    Args:
        body: the model below its output head (a transformers `...Model`).
        head: hidden states [N, H] -> logits [N, V], including the model family's own processing of logits.
        trained: the parameters of the head that require a gradient; usually none.
        shared: attend as `genner.training.attention` does, which is faster on a CPU; for models whose layers all keep
            keys and values.
        cached: if not `shared`, run the prefix once and cache its keys and values, instead of running it with each row;
            for the same models, if they are not sharded.
    """
    way = _in_line if shared else _padded if cached else _repeated
    hidden, targets = way(body, group, pad_id, device)
    # Compute logits only at targets: the output head is a large part of a small model.
    total: Tensor = _HeadLoss.apply(hidden, targets, head, *trained)  # type: ignore[no-untyped-call]
    return total


def _padded(body: Any, group: Batch, pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Hidden states at targets, [targets, H], and the targets, with the model's own cache and attention."""
    prefix, rows, targets = (t.to(device) for t in tensors(group, pad_id))
    cache = body(input_ids=prefix, use_cache=True).past_key_values
    for layer in cache.layers:
        layer.keys = layer.keys.expand(len(rows), -1, -1, -1)
        layer.values = layer.values.expand(len(rows), -1, -1, -1)
    positions = torch.arange(prefix.shape[1], prefix.shape[1] + rows.shape[1], device=device)
    hidden = body(input_ids=rows, past_key_values=cache, position_ids=positions[None], use_cache=True).last_hidden_state
    kept = targets >= 0
    return hidden[kept], targets[kept]


def _repeated(body: Any, group: Batch, pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """As `_padded`, with the prefix repeated before each row, so that each layer runs once."""
    prefix, rows, targets = (t.to(device) for t in tensors(group, pad_id))
    whole = torch.cat((prefix.expand(len(rows), -1), rows), 1)
    hidden = body(input_ids=whole, use_cache=False).last_hidden_state[:, prefix.shape[1] :]
    kept = targets >= 0
    return hidden[kept], targets[kept]


def _in_line(body: Any, group: Batch, pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """As `_padded`, without padding, in one pass over prefix and rows."""
    line = PackedRows(len(group.prefix), [len(pair) for pair in group.pairs], device)
    ids, kept, targets = list(group.prefix), list[int](), list[int]()
    for pair in group.pairs:
        first = len(ids) + len(pair.body) - 1
        kept += [first + i for i, target in enumerate(pair.targets) if target >= 0]
        targets += [target for target in pair.targets if target >= 0]
        ids += [*pair.body, *pair.answer][:-1]
    with grouped(body.config):
        out = body(
            input_ids=torch.tensor([ids], device=device),
            position_ids=line.positions,
            past_key_values=line,
            use_cache=True,
        )
    return out.last_hidden_state[0, torch.tensor(kept, device=device)], torch.tensor(targets, device=device)


class _HeadLoss(torch.autograd.Function):
    """Summed cross-entropy through the output head, a slice of the positions at a time.

    The gradient with respect to the logits has a closed form, softmax minus one-hot, and overwrites them. So no [N, V]
    matrix is kept, and each slice is read and written as few times as possible. On a CPU, memory traffic over the
    vocabulary would otherwise take a fifth of the whole training step.
    """

    SLICE = 128

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, head: Any, *trained: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        of_head = [torch.zeros_like(weight, dtype=torch.float32) for weight in trained]
        for at in range(0, len(hidden), _HeadLoss.SLICE):
            here = slice(at, at + _HeadLoss.SLICE)
            with torch.enable_grad():
                part = hidden[here].detach().requires_grad_()
                raw = head(part)
            # In the head's dtype; each step is one kernel that computes in float32 internally.
            found = raw.detach().log_softmax(1)
            rows = torch.arange(len(found), device=found.device)
            total -= found[rows, targets[here]].sum(dtype=torch.float32)
            by_logit = found.exp_()
            by_logit[rows, targets[here]] -= 1
            gradient[here], *more = torch.autograd.grad(raw, [part, *trained], by_logit)
            for total_of, part_of in zip(of_head, more, strict=True):
                total_of += part_of
        ctx.save_for_backward(gradient, *(total_of.to(w.dtype) for total_of, w in zip(of_head, trained, strict=True)))
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradient, *of_head = (saved * grad_outputs[0].to(saved.dtype) for saved in ctx.saved_tensors)
        return gradient, None, None, *of_head
