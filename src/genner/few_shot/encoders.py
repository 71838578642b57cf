"""Encoders: vectors of sentences, and of spans within them.

`LocalEncoder` runs a transformers encoder on this machine, such as a sentence transformer. `EndpointEncoder`
(`genner.few_shot.endpoint`) asks a server. Both give unit vectors in float32.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np

from genner.document import Span
from genner.errors import UsageError
from genner.few_shot.similarity import Vectors
from genner.transformer_encoder import identity, load_transformer

ADDRESSES = ("http://", "https://")
"""How the name of an embeddings endpoint begins."""


class Encoder(Protocol):
    """Gives vectors of texts."""

    name: str
    """What identifies it in signatures and in the cache: the same name means the same vectors."""

    def sentences(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text, [n, d]."""
        ...

    def spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        """For each text, a vector for each of its spans, [number of spans, d]."""
        ...


class LocalEncoder:
    """A transformers encoder: a sentence's vector is the mean over its tokens, a span's that over the tokens in it.

    This is how sentence transformers with mean pooling are meant to be used; of models that pool otherwise, the pooling
    is ignored. Tokens beyond the model's window are cut off, and a span beyond it gets a zero vector.

    Args:
        model: a transformers encoder in evaluation mode.
        tokenizer: its fast tokenizer.
        name: what identifies it.
    """

    BATCH = 32  # texts in a pass

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self.name = name
        self._model, self._tokenizer = model, tokenizer
        self._lock = Lock()  # a fast tokenizer that pads must not be used by two threads at a time
        limits = (tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or 512)
        self._window = int(min(limits))

    @classmethod
    def load(cls, folder_or_id: str) -> "LocalEncoder":
        """The encoder in a folder of transformers, or of the Hugging Face hub.

        Raises `ModelError` if there is none, or if it needs code of its own.
        """
        more = ", or an embeddings endpoint as https://HOST/v1#MODEL"
        model, tokenizer = load_transformer(folder_or_id, fast=True, more=more)
        return cls(model, tokenizer, identity(folder_or_id, model))

    def sentences(self, texts: Sequence[str]) -> Vectors:
        return _stacked([vectors[0] for vectors in self.spans(texts, [[(0, len(text))] for text in texts])])

    def spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        import torch

        found: dict[int, Vectors] = {}
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for begin in range(0, len(order), self.BATCH):
            numbers = order[begin : begin + self.BATCH]
            with self._lock:
                read = self._tokenizer(
                    [texts[i] for i in numbers],
                    padding=True,
                    truncation=True,
                    max_length=self._window,
                    return_offsets_mapping=True,
                    return_special_tokens_mask=True,
                    return_tensors="pt",
                )
            places, special = read.pop("offset_mapping").numpy(), read.pop("special_tokens_mask").numpy()
            with torch.inference_mode():
                states = self._model(**read).last_hidden_state.float().numpy()  # [batch, tokens, d]
            attended = read["attention_mask"].numpy()
            for row, number in enumerate(numbers):
                text, asked = texts[number], spans[number]
                vectors = np.zeros((len(asked), states.shape[2]), np.float32)
                for i, (start, end) in enumerate(asked):
                    if (start, end) == (0, len(text)):
                        mine = attended[row] == 1  # with the special tokens, as sentence transformers pool
                    else:
                        mine = (special[row] == 0) & (places[row, :, 0] < end) & (places[row, :, 1] > start)
                    if mine.any():
                        vectors[i] = states[row][mine].mean(0)
                found[number] = unit(vectors)
        return [found[i] for i in range(len(texts))]


def unit(vectors: Vectors) -> Vectors:
    """The vectors at length 1; zero vectors stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled


def _stacked(vectors: Sequence[Vectors]) -> Vectors:
    return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def identity_of(name: str) -> str:
    """The name that the encoder which `find_encoder` finds has in signatures; nothing is loaded or asked.

    Raises `UsageError` for an address that is none.
    """
    if name.startswith(ADDRESSES):
        from genner.few_shot.endpoint import endpoint_name

        return endpoint_name(name)
    return identity(name)


def find_encoder(name: "str | Encoder | None", purpose: str) -> Encoder:
    """The encoder of this name; `purpose` is what it is needed for.

    `https://HOST/v1#MODEL` is an embeddings endpoint; any other name is a folder of transformers or an id of the hub.
    Raises `UsageError` if it is None, and as the encoders do.
    """
    if name is None:
        raise UsageError(
            f"{purpose} needs an encoder: give --encoder (encoder=) with the folder of a transformers encoder, "
            "OWNER/NAME on the Hugging Face hub, or an embeddings endpoint as https://HOST/v1#MODEL; or take "
            "retrieval 'random'"
        )
    if not isinstance(name, str):
        if not (hasattr(name, "sentences") and hasattr(name, "spans") and hasattr(name, "name")):
            raise UsageError(
                f"encoder {name!r} is none; give its name, or an object as genner.few_shot.encoders.Encoder"
            )
        return name
    if name.startswith(ADDRESSES):
        from genner.few_shot.endpoint import EndpointEncoder

        return EndpointEncoder.of(name)
    return LocalEncoder.load(name)
