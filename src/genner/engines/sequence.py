"""An answer in the making, and the tokens that it may go on with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from genner.engines.base import Generation, Request
from genner.engines.vocabulary import Vocabulary
from genner.grammar import NO_PROPOSALS, SpanProposals, State, walk

BYTES_A_TOKEN = 5  # of a draft, about; a draft that is written too long is cut


@dataclass
class Draft:
    """Tokens that an answer may go on with.

    `states` and `legal` have one entry more than `tokens`: where each token stands, and what may stand there; the last
    is the place behind the draft. A free answer has no legal tokens; its state is None where it left the grammar.
    """

    tokens: list[int] = field(default_factory=list)
    states: list[State | None] = field(default_factory=list)
    legal: list[dict[int, State]] = field(default_factory=list)


@dataclass
class Sequence:
    """An answer in the making."""

    request: Request
    pending: list[int]  # tokens that are decided but not yet in the cache
    budget: int  # tokens that it may take
    state: State | None  # None once an unconstrained answer has left the grammar
    slot: int = 0  # its row in the cache
    guess: SpanProposals | None = None  # what its entities are guessed to be; None before somebody has guessed
    hints: dict[State, int] = field(default_factory=dict)  # what the model chose behind a rejected token
    declined: bytes = b""  # what the last draft would have gone on with, had the model taken the whole of its token
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
        """Add a chosen token, which leads to state `after`; past the budget, finish with the plain copy of the rest."""
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
        """The legal tokens at `state`; kept, since a state that is drafted again is asked for again."""
        found = self._legal.get(state)
        if found is None:
            found = self._legal[state] = vocabulary.legal(self.request.grammar, state)
        return found

    def draft(self, longest: int, vocabulary: Vocabulary, encode: Callable[[str], list[int]]) -> Draft:
        """At most `longest` tokens: what the guess says, or at a place where the model was asked before, what it said.

        Args:
            encode: text -> token ids; so the draft is spelled as the model was taught to spell.
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
        grammar, guess, size = self.request.grammar, self.guess or NO_PROPOSALS, longest * BYTES_A_TOKEN
        written = grammar.draft(state, size, guess)
        if self.declined and written.startswith(self.declined):
            # The model wrote `>` where `><` was drafted: it hardly wants a tag here, whatever the guess says.
            first = grammar.draft(state, 1)
            beyond = walk(grammar, state, first)
            if beyond is not None and not first.startswith(self.declined):
                written = first + grammar.draft(beyond, size, guess)
        self.declined = b""
        try:
            return [*encode(written.decode()), end]
        except UnicodeDecodeError:  # in the middle of a character: no guess, the next byte is forced anyway
            return []

    @cached_property
    def _plain(self) -> bytes:
        """The answer that says that there are no entities."""
        return self.request.grammar.draft(self.request.grammar.start(), 1 << 30)

    @property
    def is_plain(self) -> bool:
        """Whether the answer says that there are no entities."""
        return self.answer == self._plain

    @property
    def copies(self) -> bool:
        """Whether an answer copies the text out, with entities or without."""
        return len(self._plain) >= len(self.request.text)

    @property
    def hits(self) -> tuple[int, int]:
        """How many of the guessed entities the answer has, and how many it has not."""
        written = self.request.grammar.read(bytes(self.answer)) or ()
        guessed, spans = self.guess.spans if self.guess else (), {(w.start, w.end) for w in written}
        right = sum((start, end) in spans for start, end, _ in guessed)
        return right, len(guessed) - right

    def generation(self) -> Generation:
        return Generation(
            bytes(self.answer), tuple(self.ends), tuple(self.logprobs), self.complete, self.passes, self.computed
        )
