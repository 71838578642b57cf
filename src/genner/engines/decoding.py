"""Two decoders with equal outputs: token by token, and speculative.

Both decode greedily: every step takes the most probable legal token (of equals, the one with the lowest id).
`reference` does so one token per pass. `SpeculativeDecoder` drafts several tokens, runs them in one pass, and keeps
them up to the first position where the model prefers another legal token. It takes that token too, so each pass yields
at least one. It takes only tokens that the model would have chosen: the outputs are equal, which is tested (in float32;
in bf16 the shape of a batch can decide a near-tie).

Drafts have three sources. Each may be wrong, which costs only time. The grammar writes the plain rest of the answer. A
`Drafter`, if there is one, proposes entities from the hidden states of the prompt, and the grammar writes them into the
draft. The model's choices after a rejected token are hints for the next draft: they are often unchanged once the token
before them is corrected (fixed-point iteration, as in Jacobi decoding: Santilli et al. 2023, "Accelerating Transformer
Inference for Translation via Parallel Decoding").
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from genner.engines.base import Drafter, DrafterInput, Generation, Request
from genner.engines.cache import KVCache
from genner.engines.chat import Chat
from genner.engines.network import Network
from genner.engines.prefix_state import PrefixState, label_tokens
from genner.engines.sequence import Draft, Sequence
from genner.engines.turns import Turns
from genner.engines.vocabulary import Vocabulary
from genner.grammar import NO_PROPOSALS


@dataclass(kw_only=True)
class _BatchRow(Sequence):
    """A row of the batch, and the state of its instruction."""

    prefix: PrefixState


SEAM = 2  # extra tokens that a tag may cost: it splits the tokens of the text
SPARE = 64  # safety margin in tokens: a model may tokenize differently from its tokenizer


def budget(chat: Chat, request: Request, prompt: int, window: int) -> int:
    """The token budget of an answer: the maximum that the grammar needs, if it fits after `prompt` tokens.

    It depends only on the text and on the length of the labels in tokens.
    """
    needed = sum(
        need.times * (SEAM + max(map(chat.length, need.strings), default=0)) for need in request.grammar.needs()
    )
    return max(1, min(needed + SPARE, window - prompt))


def choose(logits: torch.Tensor, tokens: list[int]) -> tuple[int, float]:
    """The most probable of `tokens` and its log-probability (nats) among them; `logits` are theirs."""
    best = int(logits.argmax())
    return tokens[best], float(logits[best] - logits.logsumexp(0))


@torch.inference_mode()
def reference(causal: Any, chat: Chat, vocabulary: Vocabulary, request: Request) -> Generation:
    """Decode token by token, with transformers' own cache and full logits: slow, short and easy to verify."""
    prefix, body = chat.prefix_ids(request.instruction), chat.body_ids(request.text)
    ids, cache = [*prefix, *body], None
    window = causal.config.get_text_config().max_position_embeddings
    row = Sequence(request, [], budget(chat, request, len(ids), window), request.grammar.start())
    row.computed = len(ids)
    while not row.finished:
        out = causal(input_ids=torch.tensor([ids], device=causal.device), past_key_values=cache, use_cache=True)
        logits, cache = out.logits[0, -1].float().cpu(), out.past_key_values
        if request.constrained:
            legal = vocabulary.legal(request.grammar, row.state)
            tokens = sorted(legal)
            row.take(*choose(logits[tokens], tokens), vocabulary)
        else:
            row.take(*choose(logits, list(range(len(logits)))), vocabulary)
        ids = [row.tokens[-1]]
        row.passes += 1
        row.computed += 1
    return row.generation()


class SpeculativeDecoder:
    """Decodes requests in batches; drafts several tokens, and verifies them in one pass.

    A batch has up to `batch_size` rows, each at its own position in the cache; a finished row is replaced at once. Each
    distinct instruction is run once, and its state is kept.

    Several threads may decode at once: each call has its own rows, and calls alternate pass by pass.

    Args:
        drafter: proposes entities from hidden states, or None.
        turns: the lock of a pass; shared by all users of the network and the tokenizer.
    """

    MAX_PREFIXES = 16  # instructions that are kept
    MAX_TEXT = 8192  # code points of the texts in a batch: limits memory; batching does not speed up long rows

    def __init__(
        self,
        network: Network,
        chat: Chat,
        vocabulary: Vocabulary,
        drafter: Drafter | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._network, self._chat, self._vocabulary, self._drafter = network, chat, vocabulary, drafter
        self._turns = turns or Turns()
        self._prefixes: dict[str, PrefixState] = {}

    def decode(self, requests: Iterable[Request], batch_size: int) -> Iterator[tuple[int, Generation]]:
        """Yield (index of the request, generation) as answers are finished, in any order."""
        source = enumerate(requests)
        cache = KVCache(batch_size)
        rows: dict[int, _BatchRow] = {}  # by the index of their request
        free = list(range(batch_size - 1, -1, -1))  # the lowest first: a row that was never used takes no memory
        item: tuple[int, Request] | None = None  # the next request, if there is no room for it yet
        while True:
            room = self.MAX_TEXT - sum(len(row.request.text) for row in rows.values())
            while free and (item := item or next(source, None)) is not None:
                if rows and len(item[1].text) > room:
                    break
                with self._turns:
                    rows[item[0]] = self._admit(item[1], cache, free.pop())
                room -= len(item[1].text)
                item = None
            if not rows:
                return
            with self._turns:
                self._pass(list(rows.values()), cache)
            for index in [index for index, row in rows.items() if row.finished]:
                row = rows.pop(index)
                free.append(row.slot)
                yield index, row.generation()

    def _admit(self, request: Request, cache: KVCache, slot: int) -> _BatchRow:
        prefix = self._prefix(request)
        cache.copy_row(prefix.prefix, 0, slot)
        body = self._chat.body_ids(request.text)
        room = budget(self._chat, request, prefix.prefix.lengths[0] + len(body), self._network.window)
        proposals = None if prefix.use_drafter() else NO_PROPOSALS
        return _BatchRow(request, body, room, request.grammar.start(), slot, proposals, prefix=prefix)

    def _prefix(self, request: Request) -> PrefixState:
        """The state of the request's instruction, which is run if it is new."""
        known = self._prefixes.pop(request.instruction, None)
        if known is None:
            prefix, labels = self._network.prefix(self._chat.prefix_ids(request.instruction)), None
            if self._drafter is not None and request.label_positions:
                places = label_tokens(self._chat, self._vocabulary, request.instruction, request.label_positions)
                if places is not None:
                    labels = self._drafter.read_labels([states[places] for states in self._network.probed()])
            known = PrefixState(prefix, labels)
            if len(self._prefixes) >= self.MAX_PREFIXES:
                self._prefixes.pop(next(iter(self._prefixes)))
        self._prefixes[request.instruction] = known  # newest last
        return known

    def _pass(self, rows: list[_BatchRow], cache: KVCache) -> None:
        """Draft for each row, run all drafts at once, and keep the tokens that the model confirms."""
        drafts = [self._draft(row, len(rows)) for row in rows]
        fed = [[*row.pending, *draft.tokens] for row, draft in zip(rows, drafts, strict=True)]
        hidden = self._network.forward(fed, cache, [row.slot for row in rows])
        chosen = self._choices(rows, drafts, hidden)
        self._propose(rows, fed)
        for row, draft, tokens, choices in zip(rows, drafts, fed, chosen, strict=True):
            accepted = self._keep(row, draft, choices)
            # The cache holds what was pending before and the accepted part of the draft, not the newest token.
            cache.lengths[row.slot] += len(tokens) - len(draft.tokens) + accepted
            row.computed += len(tokens)
            row.passes += 1

    def _draft(self, row: _BatchRow, rows: int) -> Draft:
        """The next draft of a row, in a pass with this many rows."""
        longest = row.prefix.draft_length(rows)
        # The drafter needs the hidden states of this pass: a draft without proposals only pays if most answers are
        # plain.
        if row.proposals is None and not row.prefix.draft_plain(len(row.pending), rows):
            longest = 0
        return row.draft(longest, self._vocabulary, self._chat.encode)

    def _propose(self, rows: list[_BatchRow], fed: list[list[int]]) -> None:
        """Ask the drafter about the rows whose prompt was in this pass."""
        if self._drafter is None:
            return
        inputs, askers, begin = list[DrafterInput](), list[_BatchRow](), 0
        probed = self._network.probed()
        for row, tokens in zip(rows, fed, strict=True):
            if row.proposals is None:
                row.proposals = NO_PROPOSALS
                # The answer is still empty, so the pending tokens are the prompt's body, which begins with the text.
                ends = self._vocabulary.ends(self._chat.text_of(row.pending), row.request.text)
                if ends:
                    states = [each[begin : begin + len(ends)] for each in probed]
                    inputs.append(DrafterInput(row.request.text, ends, states, row.prefix.labels))
                    askers.append(row)
            begin += len(tokens)
        for row, proposals in zip(askers, self._drafter.propose(inputs) if inputs else [], strict=True):
            row.proposals = proposals

    def _choices(
        self, rows: list[_BatchRow], drafts: list[Draft], hidden: torch.Tensor
    ) -> list[list[tuple[int, float]]]:
        """For each row, and each place of its draft, the model's choice and its log-probability (nats)."""
        chosen: list[list[tuple[int, float]]] = []
        asked: list[list[int]] = []
        places: list[int] = []
        owners: list[tuple[int, int]] = []  # (row, place) of each open decision, for one gather on the output head
        begin = 0
        for r, (row, draft) in enumerate(zip(rows, drafts, strict=True)):
            begin += len(row.pending)
            chosen.append([(next(iter(legal)), 0.0) if legal else (0, 0.0) for legal in draft.legal])
            for j, legal in enumerate(draft.legal):
                if not row.request.constrained or len(legal) > 1:
                    asked.append(sorted(legal) if row.request.constrained else [])
                    places.append(begin - 1 + j)
                    owners.append((r, j))
            begin += len(draft.tokens)
        if asked:
            found = self._network.choose(hidden[torch.tensor(places, device=hidden.device)], asked)
            for (r, j), choice in zip(owners, found, strict=True):
                chosen[r][j] = choice
        return chosen

    def _keep(self, row: _BatchRow, draft: Draft, chosen: list[tuple[int, float]]) -> int:
        """Take the model's choices up to and including the first that differs from the draft.

        Returns how many drafted tokens were accepted. Later choices become hints.
        """
        accepted = 0
        for j, (token, logprob) in enumerate(chosen):
            row.take(token, logprob, self._vocabulary, draft.legal[j].get(token))
            if row.finished or j == len(draft.tokens) or token != draft.tokens[j]:
                break
            accepted += 1
        behind = slice(accepted + 1, None)
        for state, legal, (token, _) in zip(draft.states[behind], draft.legal[behind], chosen[behind], strict=True):
            if state is not None and len(legal) > 1:
                row.hints[state] = token
        row.pending = [row.tokens[-1]]
        if accepted < len(draft.tokens):
            drafted, taken = (self._vocabulary.bytes[t] or b"" for t in (draft.tokens[accepted], row.tokens[-1]))
            row.rejected_suffix = drafted.removeprefix(taken) if drafted.startswith(taken) else b""
        row.prefix.record_draft(accepted, len(draft.tokens), row.finished)
        if row.finished:
            row.prefix.record_answer(row.is_plain)
            if self._drafter is not None and row.proposals is not None and row.proposals is not NO_PROPOSALS:
                right, wrong = self._drafter.hits(row.proposals, row.request.grammar, bytes(row.answer))
                if right or wrong:
                    row.prefix.record_proposals(right, wrong, row.copies)
        return accepted
