"""Two decoders with equal outputs: token by token, and in verified stretches.

Both decode greedily: at every step the most probable legal token is taken (of equals, the one with the lowest id).
`reference` does so in the obvious way, one token a pass. `Speculator` drafts a stretch (the grammar's draft: the plain
copy of what is left of the text), runs it in one pass, and keeps it up to the first place where the model prefers
another legal token; that token is kept too, so each pass yields at least one. Nothing is taken that the model would not
have chosen: the outputs are equal, which is tested (in float32; in bf16 the shape of a batch can turn a near-tie).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from genner.engines.base import Generation, Request
from genner.engines.cache import RowCache
from genner.engines.chat import Chat
from genner.engines.network import Network
from genner.engines.vocabulary import Vocabulary
from genner.grammar import State

FIRST_DRAFT, NEXT_DRAFT = 24, 12  # tokens drafted at first, and after a draft was rejected; doubled while accepted
LONGEST_ALONE, LONGEST_TOGETHER = 96, 16  # rows of a pass are padded to the longest: one long draft costs them all


def budget(prefix: int, body: int, growth: int, window: int) -> int:
    """How many tokens an answer may take: room for the text, `body` tokens of it, `growth` times over, if it fits."""
    return max(1, min(growth * body + 64, window - prefix - body))


def choose(logits: torch.Tensor, tokens: list[int]) -> tuple[int, float]:
    """The most probable of `tokens` and its log-probability (nats) among them; `logits` are theirs."""
    best = int(logits.argmax())
    return tokens[best], float(logits[best] - logits.logsumexp(0))


@torch.inference_mode()
def reference(causal: Any, chat: Chat, vocabulary: Vocabulary, request: Request) -> Generation:
    """Decode token by token, with transformers' own cache and full logits: slow, short, and obviously right."""
    prefix, body = chat.prefix_ids(request.instruction), chat.body_ids(request.text)
    ids, cache, passes = [*prefix, *body], None, 0
    computed = len(ids)
    window = causal.config.get_text_config().max_position_embeddings
    row = Row(request, [], budget(len(prefix), len(body), request.growth, window), request.grammar.start())
    while not row.finished:
        out = causal(input_ids=torch.tensor([ids], device=causal.device), past_key_values=cache, use_cache=True)
        logits, cache, passes = out.logits[0, -1].float().cpu(), out.past_key_values, passes + 1
        if request.constrained:
            legal = vocabulary.legal(request.grammar, row.state)
            tokens = sorted(legal)
            row.take(*choose(logits[tokens], tokens), vocabulary)
        else:
            row.take(*choose(logits, list(range(len(logits)))), vocabulary)
        ids = [row.tokens[-1]]
        computed += 1
    return row.generation(passes, computed)


@dataclass
class Row:
    """An answer in the making."""

    request: Request
    pending: list[int]  # tokens that are decided but not yet in the cache
    budget: int
    state: State | None  # None once an unconstrained answer has left the grammar
    reach: int = FIRST_DRAFT  # how many tokens to draft next
    longest: int = LONGEST_ALONE
    accepted: int = 0  # how many drafted tokens the last pass kept
    tokens: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    answer: bytearray = field(default_factory=bytearray)
    passes: int = 0
    computed: int = 0
    complete: bool = True
    finished: bool = False

    def take(self, token: int, logprob: float, vocabulary: Vocabulary) -> None:
        """Add a chosen token; past the budget, finish with the plain copy of the rest."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if self.state is not None:
            self.state = vocabulary.advance(self.request.grammar, self.state, token)
        self.answer += vocabulary.bytes[token] or b"" if token != vocabulary.end_id else b""
        self.ends.append(len(self.answer))
        if token == vocabulary.end_id:
            self.finished = True
        elif len(self.tokens) >= self.budget:
            self.finished, self.complete = True, False
            if self.request.constrained and self.state is not None:
                self.answer += self.request.grammar.draft(self.state, 1 << 30)

    def generation(self, passes: int, computed: int) -> Generation:
        return Generation(bytes(self.answer), tuple(self.ends), tuple(self.logprobs), self.complete, passes, computed)


class Speculator:
    """Decodes requests in batches, in verified stretches.

    Up to `batch_size` answers are in the making at once, each at its own position in its own cache row; finished rows
    are replaced. Each distinct instruction is run once, and its cache kept.
    """

    MAX_PREFIXES = 16  # instructions whose cache is kept

    def __init__(self, network: Network, chat: Chat, vocabulary: Vocabulary) -> None:
        self._network, self._chat, self._vocabulary = network, chat, vocabulary
        self._prefixes: dict[str, RowCache] = {}

    def decode(self, requests: Iterable[Request], batch_size: int) -> Iterator[tuple[int, Generation]]:
        """Yield (index of the request, generation) as answers are finished, in any order."""
        source = enumerate(requests)
        cache = RowCache(batch_size)
        rows: list[tuple[int, Row]] = []
        exhausted = False
        while True:
            # Refill when a good part has finished: new rows begin with a long pass, which they had better share.
            if not exhausted and len(rows) <= batch_size * 3 // 4:
                fresh: list[tuple[int, Row]] = []
                while len(rows) + len(fresh) < batch_size:
                    if (item := next(source, None)) is None:
                        exhausted = True
                        break
                    fresh.append((item[0], self._admit(item[1], cache, len(rows) + len(fresh))))
                if fresh:
                    rows += fresh
                    self._pass([row for _, row in fresh], cache, len(rows) - len(fresh))
            if not rows:
                return
            if not any(row.finished for _, row in rows):
                self._pass([row for _, row in rows], cache, 0)
            slot = 0
            while slot < len(rows):
                index, row = rows[slot]
                if not row.finished:
                    slot += 1
                    continue
                yield index, row.generation(row.passes, row.computed)
                last = rows.pop()
                if slot < len(rows):  # the last row moves into the gap, so that rows stay together
                    rows[slot] = last
                    cache.copy_row(cache, len(rows), slot)

    def _admit(self, request: Request, cache: RowCache, slot: int) -> Row:
        prefix = self._prefixes.pop(request.instruction, None)
        if prefix is None:
            ids = self._chat.prefix_ids(request.instruction)
            prefix = RowCache(1, len(ids))
            self._network.forward([ids], prefix, 0)
            prefix.lengths[0] = len(ids)
            if len(self._prefixes) >= self.MAX_PREFIXES:
                self._prefixes.pop(next(iter(self._prefixes)))
        self._prefixes[request.instruction] = prefix  # newest last
        cache.copy_row(prefix, 0, slot)
        body = self._chat.body_ids(request.text)
        room = budget(prefix.lengths[0], len(body), request.growth, self._network.window)
        row = Row(request, body, room, request.grammar.start())
        row.longest = LONGEST_ALONE if len(cache.lengths) == 1 else LONGEST_TOGETHER
        row.reach = min(row.reach, row.longest)
        return row

    def _pass(self, rows: list[Row], cache: RowCache, first: int) -> None:
        """Draft for each row, run all drafts at once, and keep what the model agrees with."""
        drafts = [self._draft(row) for row in rows]
        fed = [[*row.pending, *draft] for row, (draft, _) in zip(rows, drafts, strict=True)]
        hidden = self._network.forward(fed, cache, first)
        asked: list[list[int]] = []
        places: list[tuple[int, int]] = []
        owners: list[tuple[int, int]] = []  # all open decisions of all rows, for one gather on the output head
        for r, (row, (draft, legal)) in enumerate(zip(rows, drafts, strict=True)):
            for j in range(len(draft) + 1):
                if not row.request.constrained or len(legal[j]) > 1:
                    asked.append(sorted(legal[j]) if row.request.constrained else [])
                    places.append((r, len(row.pending) - 1 + j))
                    owners.append((r, j))
        decided = self._decide(hidden, asked, places)
        choice = dict(zip(owners, decided, strict=True))
        for r, (row, (draft, legal)) in enumerate(zip(rows, drafts, strict=True)):
            self._keep(row, draft, [choice.get((r, j)) or (next(iter(legal[j])), 0.0) for j in range(len(draft) + 1)])
            # In the cache stands what was pending before and what of the draft was kept, not the newest token.
            cache.lengths[first + r] += len(fed[r]) - len(draft) + row.accepted
            row.computed += len(fed[r])
            row.passes += 1

    def _decide(
        self, hidden: torch.Tensor, asked: list[list[int]], places: list[tuple[int, int]]
    ) -> list[tuple[int, float]]:
        if not asked:
            return []
        at = torch.tensor(places, device=hidden.device)
        states = hidden[at[:, 0], at[:, 1]]
        everything = list(range(len(self._vocabulary.bytes)))
        free = [i for i, tokens in enumerate(asked) if not tokens]
        bound = [i for i, tokens in enumerate(asked) if tokens]
        decided = [(0, 0.0)] * len(asked)
        if bound:
            for i, logits in zip(bound, self._network.logits_of(states[bound], [asked[i] for i in bound]), strict=True):
                decided[i] = choose(logits, asked[i])
        if free:
            for i, logits in zip(free, self._network.logits(states[free]), strict=True):
                decided[i] = choose(logits, everything)
        return decided

    def _keep(self, row: Row, draft: list[int], chosen: list[tuple[int, float]]) -> None:
        """Take the model's choices up to the first that departs from the draft, that one included."""
        row.accepted = 0
        for j, (token, logprob) in enumerate(chosen):
            row.take(token, logprob, self._vocabulary)
            if row.finished or j == len(draft) or token != draft[j]:
                break
            row.accepted += 1
        whole = row.accepted == len(draft)
        row.reach = min(row.longest, 2 * max(row.reach, NEXT_DRAFT)) if whole else NEXT_DRAFT
        row.pending = [row.tokens[-1]]

    def _draft(self, row: Row) -> tuple[list[int], list[dict[int, State]]]:
        """Tokens that may come next, and for each place (one more than tokens) the legal tokens there."""
        vocabulary, grammar, constrained = self._vocabulary, row.request.grammar, row.request.constrained
        state, draft, legal = row.state, list[int](), list[dict[int, State]]()
        guess: list[int] = []
        if state is not None:
            written = grammar.draft(state, row.reach * 5)
            try:
                guess = self._chat.encode(written.decode())[: row.reach]
            except UnicodeDecodeError:  # in the middle of a character: no guess, the next byte is forced anyway
                guess = []
        for token in [*guess, vocabulary.end_id]:
            if len(draft) == row.reach:
                break
            if constrained:
                assert state is not None
                legal.append(vocabulary.legal(grammar, state))
                after = legal[-1].get(token)
            else:
                legal.append({})
                after = vocabulary.advance(grammar, state, token) if state is not None else None
            if after is None:
                return draft, legal
            draft.append(token)
            state = after
            if token == vocabulary.end_id:
                legal.append({token: state})
                return draft, legal
        legal.append(vocabulary.legal(grammar, state) if constrained and state is not None else {})
        return draft, legal
