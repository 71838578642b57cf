"""One side of a model as signals need it: the likelihood of tokens, and the continuation of a text."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from genner.ability.models import AbilitySide, Models
from genner.contamination.base import MAX_TOKENS
from genner.contamination.resumable import batches
from genner.engines.chat import Chat
from genner.errors import ModelError

BATCH_TOKENS = 2048
"""Tokens per batch, padding included."""
POSITIONS = 256
"""Number of positions whose distributions over the vocabulary are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Scored:
    """For each scored token: its log-likelihood (natural logarithm), and the mean and standard deviation of the
    log-likelihoods of its predicted distribution; the latter two are empty if they were not requested.
    """

    logp: tuple[float, ...]
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


class LanguageModel:
    """A side of a model. Weights are loaded at the first request and shared with the other side.

    Args:
        models: loads sides.
        side: which one.
    """

    def __init__(self, models: Models, side: AbilitySide) -> None:
        self._models, self._side = models, side

    @property
    def name(self) -> str:
        """`base` or `adapter`."""
        return self._side.name

    @cached_property
    def _tokenizer(self) -> Any:
        with self._models.on(self._side) as (_, tokenizer):
            return tokenizer

    @cached_property
    def chat(self) -> Chat | None:
        """Renders prompts; None if the model has no usable chat template."""
        try:
            return Chat(self._tokenizer)
        except ModelError:
            return None

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text as a document of its own, with the tokenizer's leading special tokens."""
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids[:-1] if len(ids) > 1 and ids[-1] == self._tokenizer.eos_token_id else ids

    def prompt(self, text: str) -> list[int]:
        """Token ids of a user turn, or of plain text if the model has no chat template."""
        return self.chat.prefix_ids("") + self.chat.body_ids(text) if self.chat else self.encode(text)

    def score_texts(self, texts: Sequence[str], *, spread: bool = False) -> Iterator[tuple[int, Scored]]:
        """`score` of plain texts, each up to `MAX_TOKENS`."""
        return self.score([(self.encode(text)[:MAX_TOKENS], 0) for text in texts], spread=spread)

    def score(
        self, rows: Sequence[tuple[Sequence[int], int]], prefix: Sequence[int] = (), *, spread: bool = False
    ) -> Iterator[tuple[int, Scored]]:
        """Score each row (token ids, and the index of the first scored token) after `prefix`: (its number, `Scored`).

        Rows come in the order of computation: the longest first. The very first token has no context and cannot be
        scored.
        """
        shared: _Prefix | None = None
        lengths = [len(ids) for ids, _ in rows]
        for batch in batches([len(prefix) + length for length in lengths], BATCH_TOKENS):
            # The side is released between batches, since the consumer of the rows may use the other one.
            with self._models.on(self._side) as (model, _), torch.inference_mode():
                if prefix and shared is None and _shares(model):
                    shared = _prefix(model, prefix)
                found = self._batch(model, [rows[i] for i in batch], prefix, shared, spread)
            yield from zip(batch, found, strict=True)

    def _batch(
        self,
        model: Any,
        rows: Sequence[tuple[Sequence[int], int]],
        prefix: Sequence[int],
        shared: "_Prefix | None",
        spread: bool,
    ) -> list[Scored]:
        head = [] if shared else list(prefix)
        lengths = [len(head) + len(ids) for ids, _ in rows]
        ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)  # padding is on the right: no token attends to it
        for row, (own, _) in enumerate(rows):
            ids[row, : lengths[row]] = torch.tensor([*head, *own], dtype=torch.long)
        ids = ids.to(model.device)
        if shared:
            cache = copy.deepcopy(shared.cache)
            cache.batch_repeat_interleave(len(rows))
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
            before = shared.logits.expand(len(rows), 1, -1)
        else:
            logits = model(input_ids=ids).logits
            before = logits[:, :1]  # for the very first token, which is never scored
        logits = torch.cat([before, logits[:, :-1]], dim=1)  # [rows, T, V], the predicted distribution of each token
        begins = [max(len(head) + start, 0 if shared else 1) for _, start in rows]
        return [
            _scored(logits[row, begins[row] : lengths[row]], ids[row, begins[row] : lengths[row]], spread)
            for row in range(len(rows))
        ]

    def write(self, prompts: Sequence[Sequence[int]], most: Sequence[int]) -> Iterator[tuple[int, str]]:
        """The model's greedy continuation of each prompt, for so many tokens: (its number, the text)."""
        tokenizer = self._tokenizer
        end = self.chat.end_id if self.chat else tokenizer.eos_token_id
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
        for batch in batches([len(p) + room for p, room in zip(prompts, most, strict=True)], BATCH_TOKENS):
            with self._models.on(self._side) as (model, _), torch.inference_mode():
                width = max(len(prompts[i]) for i in batch)
                gaps = [width - len(prompts[i]) for i in batch]
                ids = [[pad] * gap + list(prompts[i]) for gap, i in zip(gaps, batch, strict=True)]
                out: Tensor = model.generate(
                    input_ids=torch.tensor(ids, device=model.device),
                    attention_mask=torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps], device=model.device),
                    max_new_tokens=max(most[i] for i in batch),
                    do_sample=False,
                    num_beams=1,
                    repetition_penalty=1.0,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    eos_token_id=end,
                    pad_token_id=pad,
                    use_cache=True,
                )
                found = []
                for i, written in zip(batch, out[:, width:].tolist(), strict=True):
                    own = written[: most[i]]
                    own = own[: own.index(end)] if end in own else own
                    found.append((i, str(tokenizer.decode(own, skip_special_tokens=True))))
            yield from found


@dataclass(frozen=True)
class _Prefix:
    """Keys and values of a prefix, and the logits after it [1, 1, V]."""

    cache: Any
    logits: Tensor


def _shares(model: Any) -> bool:
    """Whether rows can share the cache of a prefix: true if each layer attends to all previous tokens."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"])
    return kinds == {"full_attention"} and not getattr(model, "_is_stateful", False)


def _prefix(model: Any, prefix: Sequence[int]) -> _Prefix:
    out = model(input_ids=torch.tensor([list(prefix)], device=model.device), use_cache=True)
    return _Prefix(out.past_key_values, out.logits[:, -1:])


def _scored(logits: Tensor, ids: Tensor, spread: bool) -> Scored:
    """`logits` [T, V] of the tokens `ids` [T]."""
    logp: list[float] = []
    mean: list[float] = []
    deviation: list[float] = []
    for at in range(0, len(ids), POSITIONS):
        some = torch.log_softmax(logits[at : at + POSITIONS].float(), dim=-1)
        logp += some.gather(1, ids[at : at + POSITIONS, None])[:, 0].tolist()
        if spread:
            shares = some.exp()
            expected = (shares * some).sum(-1)
            square = (shares * some * some).sum(-1)
            mean += expected.tolist()
            deviation += (square - expected**2).clamp_min(0).sqrt().tolist()
    return Scored(tuple(logp), tuple(mean), tuple(deviation))
