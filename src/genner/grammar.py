"""The legal answers: automata over bytes that depend on the text and on no tokenizer.

A `Grammar` belongs to one text, one label set and one format. Its states are immutable values; each state has one edge
per legal next byte. An engine intersects the edges with its vocabulary, so that its answer cannot be illegal; every
tokenization is allowed. The path through the automaton *is* the answer's meaning: `read` walks it and returns the
entities with their exact positions, so nothing is ever parsed or searched for.
"""

from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, get_args

from genner.boundaries import Boundaries
from genner.errors import UsageError

State = Hashable
"""An opaque, immutable state of an automaton."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """Restrictions of the legal answers of a format; the default restricts nothing.

    `Format.enforced` lists the constraints that the grammar of a format enforces.

    Attributes:
        boundaries: where entities may start and end.
        depth: how many entities may cover one place; None for no limit. A format that writes each label separately
            (`Format.independent_labels`) counts the entities of one label only.
        same_span_labels: whether a span may have several labels.
        allow_trailing_repeat: whether a list of entities may end with one that it already contains, which `decode`
            ignores: this lets a model that repeats itself finish. It has no effect on formats without lists.
    """

    boundaries: Boundaries = "any"
    depth: int | None = None
    same_span_labels: bool = True
    allow_trailing_repeat: bool = False

    def __post_init__(self) -> None:
        if self.boundaries not in get_args(Boundaries):
            legal = ", ".join(get_args(Boundaries))
            raise UsageError(f"boundaries {self.boundaries!r} are unknown; legal: {legal}")
        if self.depth is not None and self.depth < 1:
            raise UsageError(f"depth {self.depth} lets no entity in; legal: 1 (flat) or more, None for no limit")


UNCONSTRAINED = Constraints()
"""No restrictions: everything that is legal in a format."""

FLAT = Constraints("strict", depth=1)
"""The default for other engines: flat entities between strict boundaries."""


@dataclass(frozen=True, slots=True)
class DecisionKinds:
    """The kinds of decisions that a family of formats makes when it writes an entity.

    Attributes:
        family: the name of the family; formats of one family share a calibration.
        kinds: the kinds of decisions, in the order of the report.
        uncounted: the `kinds` that the model's own score leaves out (see `genner.extract`).
    """

    family: str
    kinds: tuple[str, ...]
    uncounted: frozenset[str] = frozenset()


class Decision(NamedTuple):
    """The bytes `[begin, end)` of an answer, and the kind of decision about an entity that they make."""

    kind: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class GrammarEntity:
    """An entity as read by the automaton: its span in code points, and which bytes of the answer made which decision.

    The automaton knows the places of its tags and items, so no caller searches the answer for them. `decisions` are in
    order of priority: a token with bytes of several decisions belongs to the first. None is empty, and no two share a
    byte, except that the bytes of an inner entity are `inside` the outer one.
    """

    start: int
    end: int
    label: str
    decisions: tuple[Decision, ...]

    def shifted(self, by: int) -> "GrammarEntity":
        """The same entity in an answer with `by` bytes before it."""
        decisions = tuple(Decision(kind, begin + by, end + by) for kind, begin, end in self.decisions)
        return GrammarEntity(self.start, self.end, self.label, decisions)

    def marks(self, kinds: DecisionKinds) -> tuple[tuple[int, int], ...]:
        """The bytes of the answer that chose this entity, as half-open intervals in order: those of all counted
        decisions.
        """
        intervals: list[tuple[int, int]] = []
        for begin, end in sorted((d.begin, d.end) for d in self.decisions if d.kind not in kinds.uncounted):
            if intervals and intervals[-1][1] == begin:
                begin = intervals.pop()[0]
            intervals.append((begin, end))
        return tuple(intervals)


def decisions_of(*decided: tuple[str, int, int]) -> tuple[Decision, ...]:
    """The decisions of an entity, without empty ones."""
    return tuple(Decision(kind, begin, end) for kind, begin, end in decided if begin < end)


class Proposals(Protocol):
    """Probable entities of a text, proposed by a drafter (`genner.drafting`); drafts are written from them."""

    @property
    def spans(self) -> Sequence[tuple[int, int, int]]:
        """The probable entities as (start, end, label index), half-open, in code points: in reading order, the longest
        first.
        """
        ...

    def starting(self, start: int) -> Sequence[tuple[int, int]]:
        """The probable entities that start here, as (end, label index), the longest first."""
        ...

    def likeliest(self, start: int, place: int, rank: int | None = None) -> tuple[int, int] | None:
        """(end, label index) of the most probable entity that starts here and ends at `place` or later, of the label
        `rank` if there is one; None if there is no such entity.
        """
        ...

    def only(self, rank: int) -> "Proposals":
        """The entities of one label, as proposals for a label set with only this label."""
        ...


class _NoProposals:
    spans = ()

    def starting(self, start: int) -> Sequence[tuple[int, int]]:
        return ()

    def likeliest(self, start: int, place: int, rank: int | None = None) -> tuple[int, int] | None:
        return None

    def only(self, rank: int) -> Proposals:
        return self


NO_PROPOSALS: Proposals = _NoProposals()
"""No entities: the draft is a plain copy of the text, or an empty list."""


class Need(NamedTuple):
    """A part of the longest answer: the string of `strings` with the most tokens, `times` times."""

    strings: tuple[str, ...]
    times: int


class Grammar(Protocol):
    """An automaton over the bytes of an answer."""

    def start(self) -> State:
        """The state before the first byte."""
        ...

    def edges(self, state: State) -> list[tuple[int, State]]:
        """The legal next bytes, each once, and the states they lead to. No state is a dead end."""
        ...

    def final(self, state: State) -> bool:
        """Whether the answer may end here."""
        ...

    def draft(self, state: State, limit: int, proposals: Proposals = NO_PROPOSALS) -> bytes:
        """A likely continuation from `state` of about `limit` bytes (at least one code point); always legal.

        It writes the entities of `proposals` that can still be written, and finishes open ones; it adds no others.
        """
        ...

    def read(self, answer: bytes) -> tuple[GrammarEntity, ...] | None:
        """The entities of `answer`, or None when it is not a legal and complete answer."""
        ...

    def needs(self) -> tuple[Need, ...]:
        """The parts of the longest allowed answer: one with an entity for each word of the text."""
        ...


Strings = tuple[bytes, ...]

Menu = tuple[Strings, Any, Sequence[bytes] | None]
"""Strings of which one comes next, what the grammar needs to go on from them (`StringGrammar.follow`), and for each of
the strings the bytes of which one follows it; None if these are not known."""


class StringGrammar(Protocol):
    """What a `Grammar` may have besides: its edges in longer pieces, so that legal tokens are found faster
    (`Vocabulary.next_tokens`)."""

    def menus(self, state: State, first: Container[int]) -> Sequence[Menu] | None:
        """The strings that may come next: each legal answer goes on with one of them, and each of them is legal.

        Those that begin with a byte that is not in `first` may be left out. None is empty, none the beginning of
        another, and strings of two menus have different first bytes. None where the grammar has only `edges`.
        """
        ...

    def follow(self, origin: Any, number: int, count: int) -> State:
        """The state after the first `count` bytes (at least 1) of string `number` of a menu with this origin."""
        ...


def walk(grammar: Grammar, state: State, text: bytes) -> State | None:
    """The state after `text`, or None if that is not legal."""
    for byte in text:
        after = dict(grammar.edges(state)).get(byte)
        if after is None:
            return None
        state = after
    return state


def accepts(grammar: Grammar, answer: bytes) -> bool:
    """Whether `answer` is legal and complete: the slow, simple reference for tests of the fast code."""
    end = walk(grammar, grammar.start(), answer)
    return end is not None and grammar.final(end)


class Line:
    """The copy of a text as one string of bytes.

    Attributes:
        bytes: the copies of all code points.
        at: where the copy of each code point begins, and the end.
        owner: the code point that each byte belongs to, and len(text) for the end.
    """

    def __init__(self, copies: Sequence[bytes]) -> None:
        self.bytes = b"".join(copies)
        self.at: Sequence[int] = range(len(copies) + 1)
        self.owner: Sequence[int] = self.at
        if len(self.bytes) > len(copies):
            self.at = [0, *accumulate(map(len, copies))]
            self.owner = [i for i, copy in enumerate(copies) for _ in copy] + [len(copies)]


def next_marked(flags: Sequence[bool]) -> list[int]:
    """For each place, the first flagged place at or after it; len(flags) - 1 if there is none."""
    after = len(flags) - 1
    found = [after := i if flag else after for i, flag in zip(range(after, -1, -1), reversed(flags), strict=True)]
    found.reverse()
    return found
