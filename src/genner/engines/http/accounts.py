"""What a job has cost: calls, repetitions by their reason, tokens and money, those of failed calls included."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genner.engines.base import Usage
from genner.engines.http.estimate import estimated_tokens
from genner.engines.http.reply import Reply

BYTES_PER_TOKEN = 3  # of answers without a count
MOST = 1e9  # tokens or money: a server that says more of one call says nonsense, and is taken to say nothing


@dataclass
class Accounts:
    """The sums of a job. Prices are for a million tokens.

    Attributes:
        counts: of requests by outcome (`answered`, `cached`, `failed`, `interrupted`), of `calls`, and of what happened
            on the way.
        repeated: of repetitions, by the reason.
        prompt, completion: tokens that were paid for.
        estimated: calls whose tokens are estimated, since the server did not count them.
        saved: tokens of answers from the cache.
        billed: what the server itself says that calls cost (OpenRouter does), in its currency.
    """

    price_in: float = 0.0
    price_out: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    prompt: int = 0
    completion: int = 0
    estimated: int = 0
    saved: int = 0
    billed: float = 0.0

    @property
    def cost(self) -> float:
        return (self.prompt * self.price_in + self.completion * self.price_out) / 1e6

    def spend(self, reply: Reply, prompt: str) -> Usage:
        """Count the tokens of a call that had an answer, whole or not, and return them.

        Without the server's count they are estimated: a call without a byte of an answer is taken to cost nothing.
        """
        usage = reply.usage
        said, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        if said is None or written is None:
            if not reply.written:
                return Usage()
            said, written = estimated_tokens(prompt), -(-reply.written // BYTES_PER_TOKEN)
            self.estimated += 1
        cost = usage.get("cost")
        if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < MOST:
            self.billed += cost
        self.prompt += said
        self.completion += written
        return Usage(said, written)

    def lines(self) -> list[str]:
        """The sums in words."""
        got = self.counts
        total = got["answered"] + got["cached"] + got["failed"] + got["interrupted"]
        outcomes = [f"{got['answered']} answered"]
        if got["cached"]:
            outcomes.append(f"{got['cached']} from the cache, {self.saved} tokens not paid again")
        if got["failed"]:
            outcomes.append(f"{got['failed']} failed")
        if got["interrupted"]:
            outcomes.append(f"{got['interrupted']} interrupted, without an answer")
        said = f"requests: {total} ({', '.join(outcomes)}); calls: {got['calls']}"
        if self.repeated:
            reasons = ", ".join(f"{n} x {why}" for why, n in self.repeated.most_common())
            said += f", of which {sum(self.repeated.values())} failed and were repeated or given up ({reasons})"
        lines = [said]
        tokens = f"tokens paid for: {self.prompt} of prompts, {self.completion} of answers"
        tokens += f" (of {self.estimated} calls estimated)" if self.estimated else ""
        tokens += f"; cost {self.cost:.4f}" if self.price_in or self.price_out else ""
        tokens += f"; billed by the server: {self.billed:.4f}" if self.billed else ""
        lines.append(tokens)
        odd = [f"{got[kind]} {words}" for kind, words in _ODD.items() if got[kind]]
        return [*lines, f"answers: {', '.join(odd)}"] if odd else lines


_ODD = {
    "illegal": "not as the format prescribes (aligned with the text and repaired)",
    "without grammar": "written without a grammar",
    "refused grammar": "whose grammar the server refused",
    "cut off": "cut off, being too long",
    "cut by server": "cut by the server's limit",
    "wrong model": "by another model",
    "unscored": "without scores, since their log-probabilities do not fit their text",
}


def _count(usage: Mapping[str, Any], key: str) -> int | None:
    value = usage.get(key)
    return value if type(value) is int and 0 <= value < MOST else None
