"""Two decoders with equal outputs: token by token, and in verified stretches.

Both decode greedily: at every step the most probable legal token is taken (of equals, the one with the lowest id).
`reference` does so in the obvious way, one token a pass. `SpeculativeDecoder` drafts a stretch, runs it in one pass,
and keeps it up to the first place where the model prefers another legal token; that token is kept too, so each pass
yields at least one. Nothing is taken that the model would not have chosen: the outputs are equal, which is tested (in
float32; in bf16 the shape of a batch can turn a near-tie).

Drafts come from three sources, each of which may be wrong at no cost but time. The grammar knows the plain copy of what
is left of the text. A `Drafter`, where there is one, guesses the entities from the hidden states of the prompt, where
the text has been read already; the grammar writes them into the copy. And what the model chose behind a rejected token
is a hint for the next draft: its choice may well be the same once the token before is right (fixed-point iteration, as
in Jacobi decoding: Santilli et al. 2023, "Accelerating Transformer Inference for Translation via Parallel Decoding").
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from genner.engines.base import Generation, Request
from genner.engines.cache import KVCache
from genner.engines.chat import Chat
from genner.engines.drafter import Drafter, DrafterInput, option_places
from genner.engines.network import Network
from genner.engines.prefix_state import PrefixState
from genner.engines.sequence import Draft, Sequence
from genner.engines.turns import Turns
from genner.engines.vocabulary import Vocabulary
from genner.grammar import NO_PROPOSALS


@dataclass(kw_only=True)
class _Lane(Sequence):
    """A row of the batch, and what is known of its instruction."""

    task: PrefixState


SEAM = 2  # tokens that a tag may take besides its own: the text is cut where it stands
SPARE = 64  # tokens beyond all need: a model may spell otherwise than its tokenizer does


def budget(chat: Chat, request: Request, prompt: int, window: int) -> int:
    """How many tokens an answer may take: what the grammar needs at most, if it fits behind a prompt of `prompt`.

    So it grows with the text, and with the length of the labels in this tokenizer's tokens, and with nothing else.
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
    """Decode token by token, with transformers' own cache and full logits: slow, short, and obviously right."""
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
    """Decodes requests in batches, in verified stretches.

    Up to `batch_size` answers are in the making at once, each at its own position in its own cache row; a finished one
    is replaced at once. Each distinct instruction is run once, and what is known of it is kept.

    Several threads may decode at once: each call has its own rows, and takes turns with the others, a pass at a time.

    Args:
        drafter: guesses entities from hidden states, or None.
        turns: what a pass waits for; shared by all that use the network and the tokenizer.
    """

    MAX_TASKS = 16  # instructions that are kept
    MAX_TEXT = 8192  # code points that are answered at once: memory is bounded, and long rows need no company

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
        self._tasks: dict[str, PrefixState] = {}

    def decode(self, requests: Iterable[Request], batch_size: int) -> Iterator[tuple[int, Generation]]:
        """Yield (index of the request, generation) as answers are finished, in any order."""
        source = enumerate(requests)
        cache = KVCache(batch_size)
        rows: dict[int, _Lane] = {}  # by the index of their request
        free = list(range(batch_size - 1, -1, -1))  # the first ones first: what was never used takes no memory
        item: tuple[int, Request] | None = None  # that came, and has to wait for its turn
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

    def _admit(self, request: Request, cache: KVCache, slot: int) -> _Lane:
        task = self._task(request)
        cache.copy_row(task.prefix, 0, slot)
        body = self._chat.body_ids(request.text)
        room = budget(self._chat, request, task.prefix.lengths[0] + len(body), self._network.window)
        guess = None if task.trusts() else NO_PROPOSALS
        return _Lane(request, body, room, request.grammar.start(), slot, guess, task=task)

    def _task(self, request: Request) -> PrefixState:
        task = self._tasks.pop(request.instruction, None)
        if task is None:
            prefix, options = self._network.prefix(self._chat.prefix_ids(request.instruction)), None
            if self._drafter is not None and request.options:
                places = option_places(self._chat, self._vocabulary, request.instruction, request.options)
                if places is not None:
                    options = self._drafter.options([states[places] for states in self._network.tapped()])
            task = PrefixState(prefix, options)
            if len(self._tasks) >= self.MAX_TASKS:
                self._tasks.pop(next(iter(self._tasks)))
        self._tasks[request.instruction] = task  # newest last
        return task

    def _pass(self, rows: list[_Lane], cache: KVCache) -> None:
        """Draft for each row, run all drafts at once, and keep what the model agrees with."""
        drafts = [self._draft(row, len(rows)) for row in rows]
        fed = [[*row.pending, *draft.tokens] for row, draft in zip(rows, drafts, strict=True)]
        hidden = self._network.forward(fed, cache, [row.slot for row in rows])
        chosen = self._choices(rows, drafts, hidden)
        self._guess(rows, fed)
        for row, draft, tokens, choices in zip(rows, drafts, fed, chosen, strict=True):
            accepted = self._keep(row, draft, choices)
            # In the cache stands what was pending before and what of the draft was kept, not the newest token.
            cache.lengths[row.slot] += len(tokens) - len(draft.tokens) + accepted
            row.computed += len(tokens)
            row.passes += 1

    def _draft(self, row: _Lane, together: int) -> Draft:
        """The next stretch of a row that is run with `together` - 1 others."""
        longest = row.task.reach(together)
        # The guess needs the hidden states of this pass: a draft without it only pays where little is tagged.
        if row.guess is None and not row.task.copies(len(row.pending), together):
            longest = 0
        return row.draft(longest, self._vocabulary, self._chat.encode)

    def _guess(self, rows: list[_Lane], fed: list[list[int]]) -> None:
        """Ask the drafter about the rows whose prompt was in this pass."""
        if self._drafter is None:
            return
        reads, readers, begin = [], [], 0
        tapped = self._network.tapped()
        for row, tokens in zip(rows, fed, strict=True):
            if row.guess is None:
                row.guess = NO_PROPOSALS
                # Nothing has been taken yet, so what is pending is the prompt, and the text its beginning.
                ends = self._vocabulary.ends(self._chat.text_of(row.pending), row.request.text)
                if ends:
                    states = [each[begin : begin + len(ends)] for each in tapped]
                    reads.append(DrafterInput(row.request.text, ends, states, row.task.options))
                    readers.append(row)
            begin += len(tokens)
        for row, guess in zip(readers, self._drafter.guess(reads) if reads else [], strict=True):
            row.guess = guess

    def _choices(self, rows: list[_Lane], drafts: list[Draft], hidden: torch.Tensor) -> list[list[tuple[int, float]]]:
        """For each row, and each place of its draft, the model's choice and its log-probability (nats)."""
        chosen: list[list[tuple[int, float]]] = []
        asked: list[list[int]] = []
        places: list[int] = []
        owners: list[tuple[int, int]] = []  # all open decisions of all rows, for one gather on the output head
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

    def _keep(self, row: _Lane, draft: Draft, chosen: list[tuple[int, float]]) -> int:
        """Take the model's choices up to the first that departs from the draft, that one included.

        Returns how many drafted tokens were kept. Behind them, the choices are kept as hints.
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
            row.declined = drafted.removeprefix(taken) if drafted.startswith(taken) else b""
        row.task.learn_draft(accepted, len(draft.tokens), row.finished)
        if row.finished:
            row.task.learn_answer(row.is_plain)
            if row.guess and row.guess.spans:
                row.task.learn_guess(*row.hits, row.copies)
        return accepted
