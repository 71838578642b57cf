"""An encoder behind an OpenAI-compatible embeddings endpoint: `POST BASE_URL/embeddings`."""

import os
import time
from collections.abc import Sequence
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np

from genner.document import Span
from genner.engines.http.api_key import ApiKey
from genner.engines.http.backoff import retry_after, wait_time
from genner.engines.http.connection import environment_named, transport_of
from genner.engines.http.options import OPENAI, checked_url
from genner.errors import ModelError, UsageError
from genner.few_shot.encoders import unit
from genner.few_shot.similarity import Vectors

EMBEDDINGS_KEY = "GENNER_EMBEDDINGS_KEY"  # the environment variable with the key of any server but OpenAI's


class EndpointEncoder:
    """Asks a server for vectors.

    A server gives a vector of a whole text, not of words in it, so the vector of a span is that of its text by itself,
    without its sentence. Each distinct text is asked about once. The key is read from the environment,
    for OpenAI's own server from `OPENAI_API_KEY`, for another from `GENNER_EMBEDDINGS_KEY` if that is set, and is
    nowhere written.

    Args:
        base_url: the address up to `/embeddings`.
        model: the model's name on the server.
        transport: of httpx2, for tests.
    """

    BATCH = 128  # texts in a request
    TRIES, FIRST_WAIT, LONGEST_WAIT = 6, 0.5, 60.0  # of a request; seconds before it is repeated

    def __init__(self, base_url: str, model: str, transport: Any = None) -> None:
        base_url = checked_url(base_url, "encoder")
        host = _host(base_url)
        self.name = _called(base_url, model)
        self._url, self._model = f"{base_url}/embeddings", model
        self._dimensions = 0  # of its vectors, once there are some
        self._key = ApiKey(
            "OPENAI_API_KEY" if host == OPENAI else EMBEDDINGS_KEY if os.environ.get(EMBEDDINGS_KEY) else "", host
        )
        with environment_named():
            self._client = httpx2.Client(auth=self._key, timeout=60.0, transport=transport, **transport_of(host))

    @classmethod
    def of(cls, name: str) -> "EndpointEncoder":
        """The encoder that `https://HOST/v1#MODEL` names. Raises `UsageError` without a model, and for no address."""
        return cls(*_parts(name))

    def sentences(self, texts: Sequence[str]) -> Vectors:
        distinct = list(dict.fromkeys(texts))
        found: dict[str, Vectors] = {}
        for begin in range(0, len(distinct), self.BATCH):
            batch = distinct[begin : begin + self.BATCH]
            found |= zip(batch, self._asked(batch), strict=True)
        return np.stack([found[text] for text in texts]) if texts else np.zeros((0, 0), np.float32)

    def spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        vectors = self.sentences(
            [text[start:end] for text, some in zip(texts, spans, strict=True) for start, end in some]
        )
        ends = np.cumsum([len(some) for some in spans])
        return [vectors[end - len(some) : end] for end, some in zip(ends, spans, strict=True)]

    def _asked(self, texts: Sequence[str]) -> Vectors:
        """The server's vectors, [n, d]. Raises `ModelError` when it gives none."""
        said, random = "", Random()
        for attempt in range(self.TRIES):
            try:
                reply = self._client.post(self._url, json={"model": self._model, "input": list(texts)})
            except httpx2.HTTPError as error:
                said, wait = self._key.scrub(str(error)) or type(error).__name__, None
            else:
                if reply.status_code == 200:
                    return self._read(reply, len(texts))
                said = f"status {reply.status_code}: {self._key.scrub(reply.text[:200])}"
                if reply.status_code in (401, 403):
                    raise ModelError(
                        f"{self._url} refuses the key or lacks one ({said}); put a valid key into the environment "
                        f"variable {self._key.variable or EMBEDDINGS_KEY}"
                    )
                if reply.status_code == 501 or (reply.status_code < 500 and reply.status_code not in (408, 429)):
                    raise ModelError(f"{self._url} refuses the request ({said}); see the address and the model")
                wait = retry_after(reply.headers)
            if attempt + 1 < self.TRIES:
                longest = self.LONGEST_WAIT
                time.sleep(wait_time(attempt, self.FIRST_WAIT, longest, random) if wait is None else min(wait, longest))
        raise ModelError(f"{self._url} gave no vectors in {self.TRIES} tries ({said}); see whether the server runs")

    def _read(self, reply: Any, expected: int) -> Vectors:
        try:
            items = sorted(reply.json()["data"], key=lambda item: int(item["index"]))
            vectors = np.array([item["embedding"] for item in items], np.float32)
            if vectors.ndim != 2 or len(vectors) != expected or not vectors.size or not np.isfinite(vectors).all():
                raise ValueError(f"{vectors.shape} numbers for {expected} texts")
            self._dimensions = self._dimensions or vectors.shape[1]
            if vectors.shape[1] != self._dimensions:
                raise ValueError(f"vectors of {vectors.shape[1]} numbers after those of {self._dimensions}")
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self._url} does not answer as an embeddings endpoint does: {error!r}; see the address"
            ) from None
        return unit(vectors)


def endpoint_name(name: str) -> str:
    """What signatures call the encoder that `https://HOST/v1#MODEL` names; it is not asked. Raises `UsageError`."""
    return _called(*_parts(name))


def _parts(name: str) -> tuple[str, str]:
    given, _, model = name.partition("#")
    base_url = checked_url(given, "encoder")
    if not model:
        raise UsageError(
            f"encoder {name!r} names no model; write {base_url}#MODEL, as {base_url}#text-embedding-3-small"
        )
    return base_url, model


def _called(base_url: str, model: str) -> str:
    return f"{model} at {_host(base_url)}"


def _host(base_url: str) -> str:
    return urlsplit(base_url).hostname or base_url
