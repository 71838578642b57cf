"""The options of the HTTP engine: where the server is, what it may cost, and how patient its caller is."""

import json
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal, get_args

import httpx2

from genner.errors import UsageError

Structured = Literal["genner", "gbnf", "json_schema", "response_format", "none"]
"""How a server is told which answers are legal; see `genner.engines.http.structured`."""

_WHERE = (
    "http://localhost:8000/v1 (vLLM), http://localhost:8080/v1 (llama.cpp), http://localhost:11434/v1 (Ollama), "
    "http://localhost:30000/v1 (SGLang), http://localhost:1234/v1 (LM Studio), https://openrouter.ai/api/v1, "
    "https://api.openai.com/v1"
)
_EXAMPLE = "body='{\"top_k\": 1}'"
OPENAI = "api.openai.com"
CONCURRENCY = 8  # requests that are open at one time, if neither the caller nor the server says


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class HttpOptions:
    """What a call of the engine may set; each is checked when the object is made. Times are in seconds."""

    base_url: str = _option("", "The endpoint, with /v1 at its end.")
    key_env: str = _option("", "The environment variable with the key; for api.openai.com OPENAI_API_KEY, else none.")
    structured: str = _option(
        "auto", "How the server is held to the grammar: auto, genner, gbnf, json_schema, response_format or none."
    )
    concurrency: int = _option(
        0, "Requests that are open at one time; 0: 8, or fewer if the server says that it answers fewer (llama.cpp)."
    )
    start_wait: float = _option(0.0, "How long to wait at the start for a server that takes no connections yet.")
    loading_wait: float = _option(600.0, "How long to wait for a server that says that it is loading its model.")
    retries: int = _option(6, "How often a failed request is repeated.")
    backoff: float = _option(0.5, "The first wait before a repetition; each further one is twice as long.")
    max_wait: float = _option(120.0, "The longest wait, also where the server asks for a longer one.")
    give_up: int = _option(20, "Requests that fail one after the other, repetitions included, before the job stops.")
    connect_timeout: float = _option(10.0, "Time for a connection.")
    read_timeout: float = _option(300.0, "Time between two pieces of an answer, and before the first.")
    total_timeout: float = _option(900.0, "Time for a whole answer, its wait in the server's queue included.")
    stream: bool = _option(True, "Read answers as they are written, and cut off those that run away.")
    logprobs: bool = _option(True, "Ask for log-probabilities, from which entities get scores.")
    thinking_tokens: int = _option(0, "Tokens that a model may reason before it answers.")
    window: int = _option(0, "Tokens of prompt and answer together; 0: as the server says.")
    any_model: bool = _option(
        False, "Ask for a model that the server does not list, and accept answers of another one."
    )
    price_in: float = _option(0.0, "Price of a million prompt tokens.")
    price_out: float = _option(0.0, "Price of a million tokens of answers.")
    cache: str = _option("", "File of the answers paid for, or none; by default answers.sqlite in genner's folder.")
    body: str = _option("", "Further fields of each request, as a JSON object.")

    HASHED: ClassVar[frozenset[str]] = frozenset({"body"})
    """Options that may hold a secret, of which signatures have a hash."""
    UNSIGNED: ClassVar[frozenset[str]] = frozenset(
        {
            *("base_url", "key_env", "cache", "price_in", "price_out", "concurrency", "stream"),
            *("start_wait", "loading_wait", "retries", "backoff", "max_wait", "give_up"),
            *("connect_timeout", "read_timeout", "total_timeout"),
        }
    )
    """Options on which no answer depends, so that signatures lack them."""

    def __post_init__(self) -> None:
        """Raises `UsageError`."""
        object.__setattr__(self, "base_url", checked_url(self.base_url))
        legal = ("auto", *get_args(Structured))
        if self.structured not in legal:
            raise UsageError(f"structured={self.structured!r} is unknown; legal: {', '.join(legal)}")
        self._check("give_up", self.give_up >= 1, "1 or more")
        for name in (
            *("concurrency", "retries", "thinking_tokens", "window", "price_in", "price_out", "backoff"),
            *("start_wait", "loading_wait"),
        ):
            self._check(name, 0 <= getattr(self, name) < inf, "0 or more")
        for name in ("connect_timeout", "read_timeout", "total_timeout", "max_wait"):
            self._check(name, 0 < getattr(self, name) < inf, "more than 0 seconds")
        self._check("key_env", not self.key_env or self.key_env.isidentifier(), "the name of a variable, not a key", "")
        _ = self.fields

    def _check(self, name: str, holds: bool, legal: str, shown: str | None = None) -> None:
        if not holds:
            # A key that was given in the place of its variable's name is not repeated.
            value = repr(getattr(self, name)) if shown is None else "..."
            raise UsageError(f"{name}={value}; legal: {legal}")

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of `body`. Raises `UsageError` if they are no JSON object, or fields that the engine sets."""
        try:
            given = json.loads(self.body) if self.body else {}
            json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise UsageError(f"body={self.body!r} is no JSON ({error}); give an object such as {_EXAMPLE}") from None
        if not isinstance(given, dict):
            raise UsageError(f"body={self.body!r} is no JSON object; give one such as {_EXAMPLE}")
        if taken := sorted({"model", "messages", "stream", "n"} & set(given)):
            raise UsageError(f"body: {taken[0]!r} is set by genner; leave it out")
        return given

    def open_at_once(self, slots: int | None = None) -> int:
        """How many requests may be open at one time. `slots`: as many as the server answers, if it says so."""
        return self.concurrency or min(CONCURRENCY, slots or CONCURRENCY)

    @property
    def host(self) -> str:
        """The name of the server in the address."""
        from urllib.parse import urlsplit

        return urlsplit(self.base_url).hostname or ""

    @property
    def key_variable(self) -> str:
        """The environment variable that holds the key; empty for none.

        The key of OpenAI is sent to OpenAI alone, unless it is named: it would be told to other servers otherwise.
        """
        return self.key_env or ("OPENAI_API_KEY" if self.host == OPENAI else "")


def checked_url(given: str, name: str = "base_url") -> str:
    """The address without a slash at its end, and without what a call adds to it. `name` is what it was given as.

    Raises `UsageError`.
    """
    from urllib.parse import urlsplit

    variable = ", and name that with --engine-option key_env=NAME" if name == "base_url" else ""
    if not given:
        raise UsageError(f"no endpoint is named; give --base-url (base_url in engine_options), such as {_WHERE}")
    url = given.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port, httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL):
        raise UsageError(f"{name} {url!r} is no address; legal: such as {_WHERE}") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"{name} holds a name, a password or a query, which would be written into logs; leave them out, and put "
            f"the key into an environment variable{variable}"
        )
    if not whole:
        more = f"; did you mean http://{url}?" if "://" not in url else ""
        raise UsageError(f"{name} {url!r} is no address that starts with http:// or https://{more}; such as {_WHERE}")
    for end in ("/chat/completions", "/completions", "/models", "/embeddings"):
        url = url.removesuffix(end)
    return url
