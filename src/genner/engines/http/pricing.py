"""What a job would cost, without a call: an engine that counts tokens and answers with plain copies."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from genner.engines.base import Answered, Capabilities, Generation, Request
from genner.engines.http.answers import Budget
from genner.engines.http.estimate import estimated_tokens
from genner.engines.http.options import HttpOptions

ENTITIES = 0.05
"""How far answers go from one without an entity to one with an entity at each word: in gold answers of six corpora in
three formats 2 to 17 % of the way, median 5 %."""


class PricingEngine:
    """Takes the place of an `HttpEngine` with the same options; it asks no server and needs no key.

    Attributes:
        requests: how many there were.
        prompt: their tokens, estimated.
        answer: the tokens of their answers, estimated for texts with as many entities as usual.
        most: the tokens at which the server is told to stop.
    """

    capabilities = Capabilities(adapters=True, weights=False)
    signature: Mapping[str, str] = {}

    def __init__(self, options: HttpOptions, name: str = "") -> None:
        self.options, self.name = options, name
        self.requests = self.prompt = self.most = 0
        self.answer = 0.0

    @property
    def window(self) -> int | None:
        return self.options.window or None

    def measure(self, instruction: str, text: str) -> int:
        return estimated_tokens(instruction + text)

    def add_adapter(self, name: str, folder: Path | None) -> str:
        return name

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        for request in requests:
            grammar = request.grammar
            plain = grammar.draft(grammar.start(), 1 << 30)
            least = estimated_tokens(plain.decode())
            fullest = sum(n.times * max(map(estimated_tokens, n.strings), default=0) for n in grammar.needs())
            self.requests += 1
            self.prompt += self.measure(request.instruction, request.text)
            self.answer += least + ENTITIES * max(0, fullest - least) + self.options.thinking_tokens
            self.most += Budget.of(request, self.options, self.window).tokens
            yield request, Generation(plain)

    def lines(self) -> list[str]:
        """The estimate in words."""
        options, answer = self.options, round(self.answer)
        lines = [
            f"requests: {self.requests}; nothing was asked",
            f"tokens, estimated from characters: {self.prompt} of prompts, {answer} of answers with as many entities "
            f"as usual, at most {self.most}",
        ]
        if not (options.price_in or options.price_out):
            return [*lines, "for the cost, give --engine-option price_in=... and price_out=..., per million tokens"]
        cost, most = (self.prompt * options.price_in + n * options.price_out for n in (answer, self.most))
        lines.append(f"cost: about {cost / 1e6:.4f}, at most {most / 1e6:.4f}, without repetitions and cached answers")
        return lines
