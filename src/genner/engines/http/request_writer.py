"""How a server is asked: the body of each request, without the fields that the server has refused."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from genner.engines.base import Request
from genner.engines.http.answer_store import key_of
from genner.engines.http.answers import Budget
from genner.engines.http.options import HttpOptions
from genner.engines.http.server import KnownServer

log = logging.getLogger(__name__)

_ADJUSTABLE = ("stream_options", "chat_template_kwargs", "logprobs", "temperature", "max_tokens")
"""Fields that some servers refuse; the request means about the same without, or under another name."""

_LIMIT = re.compile(r"at most (\d{1,9})\b")


@dataclass
class RequestWriter:
    """Writes the bodies of requests to one model of one server.

    Attributes:
        server: what is known of it. `adjust` learns from refusals.
    """

    options: HttpOptions
    server: KnownServer

    @property
    def window(self) -> int | None:
        """Tokens of prompt and answer together."""
        return self.options.window or self.server.facts.window

    def budget(self, request: Request) -> Budget:
        return Budget.of(request, self.options, self.window)

    def body(self, request: Request, grammar: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a request, with those that hold the server to a grammar."""
        options, server = self.options, self.server
        tokens = self.budget(request).tokens
        body: dict[str, Any] = {
            "model": request.adapter or server.model,
            "messages": [{"role": "user", "content": request.instruction + request.text}],
            "temperature": 0,
            "max_tokens": min(tokens, server.most_tokens or tokens),
            "stream": options.stream,
        }
        if options.stream:
            body["stream_options"] = {"include_usage": True}
        if server.logprobs:
            body["logprobs"] = True
            if server.facts.kind == "llama.cpp":  # which otherwise adds the twenty likeliest tokens to each
                body["top_logprobs"] = 1
        if server.facts.kind in ("vllm", "sglang", "llama.cpp") and not options.thinking_tokens:
            body["chat_template_kwargs"] = {"enable_thinking": False}  # as in training; other templates ignore it
        body |= grammar
        for name in server.left_out & body.keys():
            value = body.pop(name)
            if name == "max_tokens":
                body["max_completion_tokens"] = value
        return body | options.fields

    def key(self, body: Mapping[str, Any]) -> bytes:
        """What the answer to this body is kept under."""
        return key_of(self.server.facts.base_url, self.server.facts.identity, body)

    def adjust(self, reason: str, request: Request, body: Mapping[str, Any]) -> bool:
        """Leave out a field that the server names in its refusal, or keep to its limit of tokens, from now on. Returns
        whether it names one. A name that the text has as well may be the text's, so it does not count."""
        low, text, server = reason.lower(), request.text.lower(), self.server
        if limit := _LIMIT.search(low) if "max_tokens" in low or "max_completion_tokens" in low else None:
            most = int(limit[1])
            if "max_tokens" in text or not 0 < most < (server.most_tokens or body.get("max_tokens", 0)):
                return False
            self.server = replace(server, most_tokens=most)
            log.warning("the server writes at most %d tokens (%s); longer answers are cut off", most, reason)
            return True
        for name in _ADJUSTABLE:
            free = name not in server.left_out and name not in self.options.fields and name not in text
            if free and name in body and name in low:
                self.server = replace(server, left_out=server.left_out | {name})
                log.warning("the server does not take %r (%s); requests go on without it", name, reason)
                return True
        return False


def server_key(options: HttpOptions, model: str) -> bytes:
    """What is known of the model `model` of a server is kept under this key."""
    asked = "\0".join((options.base_url, model, options.structured, str(options.logprobs)))
    return blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=16).digest()
