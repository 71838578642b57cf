"""The local engine: a transformers model on this machine's CPU or GPU, decoding under a grammar."""

import os
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch

from genner.engines.base import Answered, Capabilities, Drafter, Generation, Request, SingleModel
from genner.engines.chat import Chat
from genner.engines.decoding import SpeculativeDecoder, budget, reference
from genner.engines.fast_loading.weights import load_weights
from genner.engines.network import Network
from genner.engines.turns import Turns
from genner.engines.vocabulary import Vocabulary
from genner.engines.weight_prepacking import pack
from genner.errors import UsageError

# On a CPU, oneDNN (and ideep in front of it) caches compiled code for each shape of a product, 1,024 shapes by default.
# Passes have many different numbers of tokens, so this grew to a gigabyte; 64 shapes cost no time (docs/log.md). The
# variables are read at the first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")

Decoder = Literal["speculative", "reference"]

READ_AHEAD = 16  # batches sorted by length together, so that rows of a pass are about equally long


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the processor multiplies it in hardware, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if multiplies_bf16() else torch.float32


def multiplies_bf16() -> bool:
    """Whether this processor has instructions for products of bf16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def default_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_of(name: str | None) -> torch.device:
    """The device that a caller names; None: `default_device`. Raises `UsageError` if it is not available."""
    if name is None:
        return default_device()
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        here += ["mps"] if torch.backends.mps.is_available() else []
        raise UsageError(
            f"device {name!r} is not on this machine, or not one that PyTorch {torch.__version__} can use; here: "
            f"{', '.join(here)}"
        ) from None
    return device


class LocalEngine(SingleModel):
    """Answers requests with a causal model; see `genner.engines.decoding` for how.

    Several threads may use one engine: they take turns, a pass at a time (`genner.engines.turns`).

    Args:
        causal: the model, in evaluation mode and on its device.
        tokenizer: its fast tokenizer, with a chat template.
        name: its name in scores and messages.
        decoder: `speculative`, or the slow `reference`; a model whose cache cannot be truncated gets the latter.
        drafter: proposes entities for the speculative decoder to verify; or None.
    """

    capabilities = Capabilities("exact", logprobs=True)

    def __init__(
        self,
        causal: Any,
        tokenizer: Any,
        name: str = "local",
        decoder: Decoder = "speculative",
        drafter: Drafter | None = None,
    ) -> None:
        self.name = name
        self.chat = Chat(tokenizer)
        self.network = Network(causal, drafter.probe_layers if drafter else ())
        self.vocabulary = Vocabulary(tokenizer, self.chat.end_id, self.network.vocabulary_size)
        self.decoder: Decoder = decoder if self.network.rolls_back else "reference"
        if self.decoder != decoder:
            kind = self.network.causal.config.get_text_config().model_type
            warnings.warn(
                f"{name}: a model of type {kind!r} has layers whose state cannot be cut back to an earlier token, so "
                "it is decoded token by token, which is slow",
                stacklevel=2,
            )
        self._turns = Turns()
        self._decoder = SpeculativeDecoder(self.network, self.chat, self.vocabulary, drafter, self._turns)
        self.default_batch = 16 if self.network.device.type == "cpu" else 64

    @classmethod
    def load(
        cls,
        folder: Path | None,
        adapter: Path | None = None,
        *,
        name: str = "local",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        decoder: Decoder = "speculative",
        drafter: Drafter | None = None,
        options: Any = None,
    ) -> "LocalEngine":
        """Load a model folder, and merge a LoRA adapter into it. Uses no network. The `reference` has no drafter.

        Raises `ModelError` when a file is missing or does not fit.
        """
        assert folder is not None
        device = device or default_device()
        # For the passes that transformers runs by itself: plain attention is faster in short passes on a CPU.
        attention = "eager" if device.type == "cpu" else "sdpa"
        plain = decoder != "reference"  # which runs on transformers' own model
        causal, tokenizer = load_weights(folder, adapter, device, dtype or fast_dtype(device), attention, plain=plain)
        engine = cls(causal, tokenizer, name, decoder, drafter if decoder != "reference" else None)
        if engine.decoder != "reference":
            pack(causal)
        return engine

    @property
    def window(self) -> int:
        return self.network.window

    def measure(self, instruction: str, text: str) -> int:
        with self._turns:
            return len(self.chat.prefix_ids(instruction)) + len(self.chat.body_ids(text))

    def reserve(self, request: Request) -> int:
        """Tokens that the answer may take."""
        with self._turns:
            prefix, body = self.chat.prefix_ids(request.instruction), self.chat.body_ids(request.text)
            return budget(self.chat, request, len(prefix) + len(body), self.window)

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        if self.decoder == "reference":
            for request in requests:
                with self._turns:
                    generation = reference(self.network.causal, self.chat, self.vocabulary, request)
                yield request, generation
            return
        size = batch_size or self.default_batch
        source = iter(requests)
        while block := list(islice(source, size * READ_AHEAD)):
            order = sorted(range(len(block)), key=lambda i: len(block[i].text), reverse=True)
            done: dict[int, Generation] = {}
            next_out = 0
            for place, generation in self._decoder.decode((block[i] for i in order), size):
                done[order[place]] = generation
                while next_out in done:
                    yield block[next_out], done.pop(next_out)
                    next_out += 1
