"""An unfinished answer and drafts of its continuation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from genner.engines.base import Generation, Request
from genner.engines.vocabulary import Vocabulary
from genner.grammar import NO_PROPOSALS, Proposals, State, walk

BYTES_A_TOKEN = 5  # estimate for a draft; a draft that is too long is cut


@dataclass
class Draft:
    """A proposed continuation of an answer.

    `states` and `legal` have an entry for each token (the grammar's state before it, and the tokens legal there) and
    one for the position after the draft. A free answer has no legal tokens; its state is None once it has left the
    grammar.
    """

    tokens: list[int] = field(default_factory=list)
    states: list[State | None] = field(default_factory=list)
    legal: list[dict[int, State]] = field(default_factory=list)


@dataclass
class Sequence:
    """An unfinished answer."""

    request: Request
    pending: list[int]  # tokens that are decided but not yet in the cache
    budget: int  # tokens that it may take
    state: State | None  # None once an unconstrained answer has left the grammar
    slot: int = 0  # its row in the cache
    proposals: Proposals | None = None  # the drafter's proposals; None before the drafter was asked
    hints: dict[State, int] = field(default_factory=dict)  # the model's choices after a rejected token
    rejected_suffix: bytes = b""  # tail of the drafted token when the model chose a shorter prefix of it
    tokens: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    answer: bytearray = field(default_factory=bytearray)
    passes: int = 0
    computed: int = 0
    complete: bool = True
    finished: bool = False
    _legal: dict[State, dict[int, State]] = field(default_factory=dict)

    def take(self, token: int, logprob: float, vocabulary: Vocabulary, after: State | None = None) -> None:
        """Add a chosen token, which leads to state `after`; at the end of the budget, finish with the plain rest."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if after is not None:
            self.state = after
        elif self.state is not None:
            self.state = vocabulary.advance(self.request.grammar, self.state, token)
        self.answer += vocabulary.bytes[token] or b"" if token != vocabulary.end_id else b""
        self.ends.append(len(self.answer))
        if token == vocabulary.end_id:
            self.finished = True
        elif len(self.tokens) >= self.budget:
            self.finished, self.complete = True, False
            if self.request.constrained and self.state is not None:
                self.answer += self.request.grammar.draft(self.state, 1 << 30)

    def legal(self, state: State, vocabulary: Vocabulary) -> dict[int, State]:
        """The legal tokens at `state`; cached, since drafts visit a state again and again."""
        found = self._legal.get(state)
        if found is None:
            found = self._legal[state] = vocabulary.legal(self.request.grammar, state)
        return found

    def draft(self, longest: int, vocabulary: Vocabulary, encode: Callable[[str], list[int]]) -> Draft:
        """At most `longest` tokens, written from the proposals. Earlier choices of the model take precedence.

        Args:
            encode: text -> token ids, so that the draft is tokenized as in training.
        """
        made, state = Draft(), self.state
        constrained = self.request.constrained
        spelled = self._spelled(state, longest, encode, vocabulary.end_id)
        at = 0
        while True:
            legal: dict[int, State] = {}
            if constrained and state is not None:
                legal = self.legal(state, vocabulary)
            made.states.append(state)
            made.legal.append(legal)
            if len(made.tokens) >= longest or state is None or (made.tokens and made.tokens[-1] == vocabulary.end_id):
                return made
            token = spelled[at] if at < len(spelled) else None
            hint = self.hints.get(state)
            if hint is not None and hint != token:
                token, at = hint, 0
                after = legal[hint]
                spelled = [hint, *self._spelled(after, longest - len(made.tokens), encode, vocabulary.end_id)]
            if token is None:
                return made
            reached = legal.get(token) if constrained else vocabulary.advance(self.request.grammar, state, token)
            if reached is None:
                return made
            made.tokens.append(token)
            state, at = reached, at + 1

    def _spelled(self, state: State | None, longest: int, encode: Callable[[str], list[int]], end: int) -> list[int]:
        if state is None or longest <= 0:
            return []
        grammar, size = self.request.grammar, longest * BYTES_A_TOKEN
        proposals = NO_PROPOSALS if self.proposals is None else self.proposals
        written = grammar.draft(state, size, proposals)
        if self.rejected_suffix and written.startswith(self.rejected_suffix):
            # The model wrote `>` where `><` was drafted: a tag is unlikely here, whatever was proposed.
            first = grammar.draft(state, 1)
            beyond = walk(grammar, state, first)
            if beyond is not None and not first.startswith(self.rejected_suffix):
                written = first + grammar.draft(beyond, size, proposals)
        self.rejected_suffix = b""
        try:
            return [*encode(written.decode()), end]
        except UnicodeDecodeError:  # in the middle of a character: no draft, the next byte is forced anyway
            return []

    @cached_property
    def _plain(self) -> bytes:
        """The answer drafted without proposals."""
        return self.request.grammar.draft(self.request.grammar.start(), 1 << 30)

    @property
    def is_plain(self) -> bool:
        """Whether the answer is the plain one, which is drafted when nothing is proposed."""
        return self.answer == self._plain

    @property
    def copies(self) -> bool:
        """Whether answers copy the text out."""
        return len(self._plain) >= len(self.request.text)

    def generation(self) -> Generation:
        return Generation(
            bytes(self.answer), tuple(self.ends), tuple(self.logprobs), self.complete, self.passes, self.computed
        )
