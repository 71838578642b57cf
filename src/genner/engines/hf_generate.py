"""Unconstrained decoding by transformers' own `generate`, greedy or sampled.

The paper's tool samples, whereas `genner.engines.decoding` always takes the most probable token. Rows of a batch are
padded on the left. If every layer attends to all earlier tokens, the instruction is run once and its cache shared, with
the padding behind it. Otherwise (sliding windows, state-space layers) that padding would have an effect, so each prompt
is run as a whole.

Random numbers belong to a request, not to a batch: they are seeded by the seed, the instruction and the text. So an
answer does not depend on the rest of its batch, and an interrupted run continues as if it had not been interrupted
(except for near-ties in bf16, which the shape of a batch can decide).
"""

import copy
import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genner.engines.base import Answered, Capabilities, Generation, Request, SingleModel
from genner.engines.chat import Chat
from genner.engines.decoding import budget
from genner.engines.fast_loading.weights import load_weights
from genner.engines.transformers_engine import READ_AHEAD, default_device, fast_dtype
from genner.engines.turns import Turns
from genner.engines.vocabulary import token_bytes


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. The defaults are those of LLaMA-Factory (`GeneratingArguments`)."""

    temperature: float = 0.95
    top_p: float = 0.7
    top_k: int = 50

    def __str__(self) -> str:
        return f"t{self.temperature}-p{self.top_p}-k{self.top_k}"


class FreeEngine(SingleModel):
    """Answers requests without their grammars. Several threads may use one engine: they take turns.

    Args:
        causal: a causal model of transformers, in evaluation mode and on its device.
        tokenizer: its fast tokenizer, with a chat template.
        name: its name in scores and messages.
        sampling: how tokens are drawn; None: the most probable one is taken.
        seed: seed of the random numbers.
    """

    capabilities = Capabilities()

    def __init__(
        self, causal: Any, tokenizer: Any, name: str = "free", sampling: Sampling | None = None, seed: int = 0
    ) -> None:
        self.causal, self.name, self.sampling, self.seed = causal, name, sampling, seed
        self.chat = Chat(tokenizer)
        self._turns = Turns()
        self._bytes = token_bytes(tokenizer)
        config = causal.config.get_text_config()
        self.window: int = config.max_position_embeddings
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        self._shares = kinds == {"full_attention"} and not getattr(causal, "_is_stateful", False)
        pad = tokenizer.pad_token_id
        self._pad: int = pad if pad is not None else self.chat.end_id
        self.default_batch = 8 if causal.device.type == "cpu" else 64

    @classmethod
    def load(
        cls,
        folder: Path | None,
        adapter: Path | None = None,
        *,
        name: str = "free",
        device: torch.device | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        decoder: Any = None,
        drafter: Any = None,
        options: Any = None,
    ) -> "FreeEngine":
        """Load a model folder, and merge a LoRA adapter into it. Raises `ModelError` as `load_weights` does.

        `decoder` and `drafter` are ignored: transformers decodes, and drafts nothing.
        """
        assert folder is not None
        device = device or default_device()
        causal, tokenizer = load_weights(folder, adapter, device, fast_dtype(device), "sdpa", plain=False)
        return cls(causal, tokenizer, name, sampling, seed)

    def measure(self, instruction: str, text: str) -> int:
        with self._turns:
            return len(self.chat.prefix_ids(instruction)) + len(self.chat.body_ids(text))

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        size = batch_size or self.default_batch
        source = iter(requests)
        while block := list(islice(source, size * READ_AHEAD)):
            # Rows of a batch share their instruction, and are about equally long.
            order = sorted(range(len(block)), key=lambda i: (block[i].instruction, len(block[i].text)))
            done: dict[int, Generation] = {}
            for instruction, group in groupby(order, key=lambda i: block[i].instruction):
                places = list(group)
                with self._turns:
                    cache = self._cache(instruction)
                for at in range(0, len(places), size):
                    rows = places[at : at + size]
                    with self._turns:
                        answers = self._batch([block[i] for i in rows], cache)
                    done.update(zip(rows, answers, strict=True))
            yield from ((request, done[i]) for i, request in enumerate(block))

    @torch.inference_mode()
    def _cache(self, instruction: str) -> Any:
        """Keys and values of the instruction, for one row; None if they cannot be shared."""
        if not self._shares:
            return None
        ids = torch.tensor([self.chat.prefix_ids(instruction)], device=self.causal.device)
        return self.causal(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values

    @torch.inference_mode()
    def _batch(self, requests: Sequence[Request], cache: Any) -> list[Generation]:
        """The answers to requests with one instruction; `cache` holds it."""
        prefix = self.chat.prefix_ids(requests[0].instruction)
        bodies = [self.chat.body_ids(request.text) for request in requests]
        longest = max(map(len, bodies))
        rows, seen = [], []
        for body in bodies:
            gap = longest - len(body)
            before, behind = (prefix, []) if cache is not None else ([], prefix)
            rows.append([*before, *[self._pad] * gap, *behind, *body])
            seen.append([*[1] * len(before), *[0] * gap, *[1] * len(behind + body)])
        rooms = [
            budget(self.chat, request, len(prefix) + len(body), self.window)
            for body, request in zip(bodies, requests, strict=True)
        ]
        own = copy.deepcopy(cache)
        if own is not None:
            own.batch_repeat_interleave(len(requests))
        out: Tensor = self.causal.generate(
            input_ids=torch.tensor(rows, device=self.causal.device),
            attention_mask=torch.tensor(seen, device=self.causal.device),
            past_key_values=own,
            logits_processor=[_Draws(self.sampling, [self._dice(r) for r in requests])] if self.sampling else [],
            max_new_tokens=max(rooms),
            do_sample=False,  # `_Draws` leaves the drawn token only
            num_beams=1,
            repetition_penalty=1.0,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=self.chat.end_id,
            pad_token_id=self._pad,
            use_cache=True,
        )
        answers = out[:, len(rows[0]) :].tolist()
        fixed = 0 if cache is not None else len(prefix)
        return [
            self._generation(answer[:room], fixed + len(body))
            for answer, room, body in zip(answers, rooms, bodies, strict=True)
        ]

    def _generation(self, answer: list[int], prompt: int) -> Generation:
        complete = self.chat.end_id in answer
        tokens = answer[: answer.index(self.chat.end_id) + 1] if complete else answer
        written, ends = bytearray(), []
        for token in tokens:
            if token != self.chat.end_id and token < len(self._bytes):
                written += self._bytes[token] or b""
            ends.append(len(written))
        return Generation(bytes(written), tuple(ends), (), complete, len(tokens), prompt + len(tokens) - 1)

    def _dice(self, request: Request) -> random.Random:
        named = f"{self.seed}\0{request.instruction}\0{request.text}"
        return random.Random(hashlib.sha256(named.encode()).digest())


class _Draws:
    """A logits processor that draws a token for each row, by the row's own random numbers, and masks all others."""

    def __init__(self, sampling: Sampling, dice: Sequence[random.Random]) -> None:
        self._sampling, self._dice = sampling, dice

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`scores` [rows, V] are logits."""
        tokens = draw(scores, self._sampling, [dice.random() for dice in self._dice])
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


def draw(logits: Tensor, sampling: Sampling, at: Sequence[float]) -> Tensor:
    """A token for each row of `logits` [N, V]: the one at the quantile `at`, in [0, 1), of the tokens that are left.

    The settings apply as in transformers, one after the other: temperature; the k most probable tokens; of them, the
    fewest whose probabilities add up to `top_p`.
    """
    k = min(sampling.top_k, logits.shape[1])
    values, tokens = (logits.float() / sampling.temperature).topk(k)  # in order: the most probable first
    shares = values.softmax(1)
    before = shares.cumsum(1) - shares
    shares = shares.masked_fill(before >= sampling.top_p, 0.0)  # the first always stays: nothing is before it
    sums = shares.cumsum(1)
    wanted = torch.tensor(at, device=logits.device, dtype=sums.dtype)[:, None] * sums[:, -1:]
    places = torch.searchsorted(sums, wanted, right=True).clamp(max=k - 1)
    last = (shares > 0).sum(1, keepdim=True) - 1
    return tokens.gather(1, torch.minimum(places, last))[:, 0]
