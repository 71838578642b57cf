"""What a job would cost, without a call: an engine that counts tokens and answers with plain copies."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from genner.engines.base import Answered, Capabilities, Generation, Request, Usage
from genner.engines.http.answer_store import AnswerStore
from genner.engines.http.engine import capabilities_of
from genner.engines.http.estimate import estimated_tokens
from genner.engines.http.options import HttpOptions
from genner.engines.http.request_writer import RequestWriter, server_key
from genner.engines.http.server import KnownServer, ServerFacts
from genner.engines.http.structured import fields

ENTITIES = 0.05
"""How far answers go from one without an entity to one with an entity at each word: in gold answers of six corpora in
three formats 2 to 17 % of the way, median 5 %."""


class PricingEngine:
    """Takes the place of an `HttpEngine` with the same options; it asks no server and needs no key.

    What a server said of itself when it was last asked is known from the cache, so requests are made as they would be,
    and those whose answers are in the cache get them and cost nothing. The first model that `add_adapter` names is
    the one that is priced.

    Attributes:
        requests: how many there were; `cached`: how many of them would not be asked.
        prompt: tokens of those that would be, estimated.
        answer: the tokens of their answers, estimated for texts with as many entities as usual.
        most: the tokens at which the server is told to stop.
    """

    signature: Mapping[str, str] = {}

    def __init__(self, options: HttpOptions) -> None:
        """Raises `DataError` when the cache of answers cannot be used."""
        self.options, self.name = options, ""
        self.store = AnswerStore.of(options.cache, make=False)
        self.requests = self.cached = self.saved = self.prompt = self.most = 0
        self.answer = 0.0
        self._seen: set[bytes] = set()  # keys of requests that are priced
        self._writer: RequestWriter | None = None
        self._named = False

    @property
    def writer(self) -> RequestWriter:
        """Writes the requests, as far as the server is known."""
        if self._writer is None:
            unknown = KnownServer(ServerFacts("unknown", self.options.base_url), self.name, ("none",), False)
            known = self.store and self.store.get_server(server_key(self.options, self.name))
            self._writer = RequestWriter(self.options, known or unknown)
        return self._writer

    @property
    def capabilities(self) -> Capabilities:
        return capabilities_of(self.writer.server)

    @property
    def window(self) -> int | None:
        return self.writer.window

    def measure(self, instruction: str, text: str) -> int:
        return estimated_tokens(instruction + text)

    def add_adapter(self, name: str, folder: Path | None) -> str:
        if not self._named:
            self._named, self.name, self._writer = True, name, None
        return "" if name in (self.name, self.writer.server.model) else name

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        for request in requests:
            self.requests += 1
            known = self._known(request)
            if known is not None:
                self.cached += 1
                self.saved += known.usage.total if known.usage else 0
            yield request, known or self._priced(request)

    def _known(self, request: Request) -> Generation | None:
        """The answer in the cache, in whichever mode it was given; a plain copy if an equal request is priced."""
        if self.options.cache == "none":
            return None
        server, source, first = self.writer.server, request.grammar_source, None
        for mode in server.steps if request.constrained and source else ("none",):
            grammar = {} if mode == "none" or source is None else fields(mode, server.facts.kind, source)
            if grammar is None:
                continue
            key = self.writer.key(self.writer.body(request, grammar))
            if self.store and (known := self.store.get(key)) is not None:
                return known
            first = first or key
        if first in self._seen:
            return Generation(_plain(request), usage=Usage(cached=True))
        self._seen.update([first] if first else [])
        return None

    def _priced(self, request: Request) -> Generation:
        plain = _plain(request)
        least = estimated_tokens(plain.decode())
        needs = request.grammar.needs()
        fullest = sum(need.times * max(map(estimated_tokens, need.strings), default=0) for need in needs)
        self.prompt += self.measure(request.instruction, request.text)
        self.answer += least + ENTITIES * max(0, fullest - least) + self.options.thinking_tokens
        self.most += self.writer.budget(request).tokens
        return Generation(plain)

    def summary(self) -> list[str]:
        """The estimate in words."""
        options, answer = self.options, round(self.answer)
        known = f", {self.cached} of them in the cache ({self.saved} tokens not paid again)" if self.cached else ""
        lines = [
            f"requests: {self.requests}{known}; nothing was asked",
            f"tokens, estimated from characters: {self.prompt} of prompts, {answer} of answers with as many entities "
            f"as usual, at most {self.most}",
        ]
        if not (options.price_in or options.price_out):
            return [*lines, "for the cost, give --engine-option price_in=... and price_out=..., per million tokens"]
        cost, most = (self.prompt * options.price_in + n * options.price_out for n in (answer, self.most))
        lines.append(f"cost: about {cost / 1e6:.4f}, at most {most / 1e6:.4f}, without repetitions")
        return lines


def _plain(request: Request) -> bytes:
    """An answer without entities."""
    return request.grammar.draft(request.grammar.start(), 1 << 30)
