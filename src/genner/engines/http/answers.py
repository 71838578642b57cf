"""What an answer may take up, and what a reply comes to: bytes, tokens and log-probabilities as a `Generation`."""

from collections import Counter
from dataclasses import dataclass

from genner.engines.base import Generation, Request, Usage
from genner.engines.http.estimate import estimated_tokens
from genner.engines.http.options import HttpOptions, Structured
from genner.engines.http.reply import Reply, ReplyLimits
from genner.engines.http.structured import respelled, unwrapped

SPARE_BYTES = 256  # bytes: a fence around the answer, a word before it
LEAST_TOKENS = 16  # tokens, where the window leaves no room


@dataclass(frozen=True)
class Budget:
    """The length of the longest answer: in bytes, at which the reading stops, and in tokens, at which the server stops.

    It is twice what the grammar needs for an entity at each word, since servers space JSON out and models write words
    around it. Tokens are estimated: three bytes each.
    """

    tokens: int
    limits: ReplyLimits

    @classmethod
    def of(cls, request: Request, options: HttpOptions, window: int | None) -> "Budget":
        needed = sum(n.times * max((len(s.encode()) for s in n.strings), default=0) for n in request.grammar.needs())
        longest = 2 * needed + SPARE_BYTES
        tokens = -(-longest // 3) + options.thinking_tokens
        if window:
            room = window - estimated_tokens(request.instruction + request.text) * 5 // 4 - 32
            tokens = max(LEAST_TOKENS, min(tokens, room))
        return cls(tokens, ReplyLimits(longest, 8 * options.thinking_tokens))


def generation_of(request: Request, mode: Structured, reply: Reply, counts: Counter[str], usage: Usage) -> Generation:
    """The answer in a reply; `counts` gets what is odd about it."""
    begin, end = unwrapped(reply.text) if mode == "response_format" else (0, len(reply.text))
    text = reply.text[begin:end]
    problems = []
    legal = request.grammar.read(text.encode()) is not None
    if not legal and mode in ("json_schema", "response_format"):
        other = respelled(text)
        if other != text and request.grammar.read(other.encode()) is not None:
            text, legal = other, True
    if not legal and request.constrained:
        counts["illegal"] += 1
    if reply.cut:
        counts["cut off"] += 1
        problems.append(reply.cut)
    elif reply.finish == "length" and not legal:
        counts["cut by server"] += 1
        problems.append("the server cut the answer off at its limit of tokens (finish_reason length)")
    answer = text.encode("utf-8", "replace")
    ends, logprobs = _scores(reply, answer, len(reply.text[:begin].encode("utf-8", "replace")))
    if reply.tokens and not ends and answer:
        counts["unscored"] += 1
    complete = legal or not (reply.cut or reply.finish == "length")
    return Generation(answer, ends, logprobs, complete, problems=tuple(problems), usage=usage)


def _scores(reply: Reply, answer: bytes, begin: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The ends and log-probabilities of the tokens that write `answer`, which stands at byte `begin` of the reply.

    Empty unless the bytes of the tokens are those of the reply: scores are of what was written, or there are none.
    """
    if not reply.tokens:
        return (), ()
    written = b"".join(piece or b"" for piece, _ in reply.tokens)
    whole = reply.text.encode("utf-8", "replace")
    at = -begin
    if written != whole:  # a leading blank that the server trims; the token that ends the turn
        lead = written.find(whole) if whole else -1
        if lead < 0 or written[:lead].strip():
            return (), ()
        at -= lead
    if whole[begin : begin + len(answer)] != answer:
        return (), ()
    ends, logprobs = [], []
    for piece, logprob in _spread(reply.tokens):
        start, at = at, at + len(piece or b"")
        if at > 0 and start < len(answer) and piece:
            ends.append(min(at, len(answer)))
            logprobs.append(min(0.0, logprob))
    return tuple(ends), tuple(logprobs)


def _spread(tokens: list[tuple[bytes | None, float]]) -> list[tuple[bytes | None, float]]:
    """The tokens, each with at least a byte of the character that several of them write.

    vLLM gives the bytes of such a character, and what its first token has before it, to its last token, and none to
    those before.
    """
    found = list(tokens)
    held = 0  # tokens without bytes, just before
    for index, (piece, logprob) in enumerate(tokens):
        if piece and held:
            begin = next((at for at, byte in enumerate(piece) if byte >= 0xC0), len(piece))
            length = len(piece[begin:].decode("utf-8", "replace")[:1].encode())
            given, at = min(held, length - 1), 0
            for place in range(index - given, index):
                end = begin + 1 + place - (index - given)
                found[place] = piece[at:end], tokens[place][1]
                at = end
            found[index] = piece[at:], logprob
        held = held + 1 if piece == b"" else 0
    return found
