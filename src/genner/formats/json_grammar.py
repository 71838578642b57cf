"""The automaton that the JSON formats share: fixed strings, menus of strings, and quotations from the text.

A JSON answer is a fixed frame around stretches of the source. While one is being quoted, the state is the set of places
in the source where it may begin: all those whose text agrees with what is written so far. When the quotation is closed,
its position (occurrence index, offsets) is a menu of the remaining places: forced if there is only one. So a mention is
always verbatim, and nothing is ever counted by the model.

The order of entities is the reading order, which makes the automaton acyclic: every answer ends, and no entity is
written twice. With `allow_trailing_repeat`, a list may also end in a mention that it already has, which is ignored: a
model that wants to repeat itself has no new entity, and would otherwise be forced to write a wrong one. States:

    Menu    one of several strings is being written; each leads to a step
    Quote   a stretch of the source is being written; closing it leads to a step
    Step    between the two; its successor is computed only when the walk gets there

The strings of a menu are prefix-free, and so is the JSON spelling of code points: no two states are alive at once.
"""

import json
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple, cast

from genner.boundaries import boundaries, cut, first_ends, most_mentions
from genner.document import LabelSet
from genner.grammar import (
    NO_PROPOSALS,
    Constraints,
    DecisionKinds,
    GrammarEntity,
    Line,
    Menu,
    Need,
    Proposals,
    State,
    Strings,
    decisions_of,
    next_marked,
)

QUOTED = 4  # how many times the whole text may be quoted in its answer
SEPARATOR = ", "
CLOSING = b'"'  # no spelling of a code point begins with it

JSON_DECISIONS = DecisionKinds("json", ("open", "mention", "label", "position"))
"""The decisions of a JSON format about an entity.

- `open`: the list goes on with another item;
- `mention`: which words, up to the closing quotation mark;
- `label`: the label, where the item names it;
- `position`: which of the places where these words stand.
"""


class WrittenItem(NamedTuple):
    """An entity that the answer has written: its span, and the number of its label."""

    start: int
    end: int
    rank: int


WrittenItems = tuple[WrittenItem, ...]


class Transition(NamedTuple):
    """The entities written so far, and what comes next.

    `quote` is the index of the label whose mention is quoted next, -1 if the label is named later, None if a menu comes
    next; `what` identifies the menu in the grammar's own terms; `()` is the end of the answer.
    """

    items: WrittenItems
    quote: int | None = None
    what: tuple[int, ...] = ()


class Choice(NamedTuple):
    """Strings that share their first `off` bytes, one of which is being written."""

    options: tuple[tuple[bytes, Transition], ...]
    off: int


class Copy(NamedTuple):
    """A quotation of which `length` code points, and `off` bytes of the next one, are written.

    `starts` are the offsets in the source where it may begin, ascending, followed by `~i` for each entity `i` of
    `items` that it may repeat; `rank` is the index of its label, -1 if that comes later; `items` are the entities
    before it.
    """

    starts: tuple[int, ...]
    length: int
    off: int
    rank: int
    items: WrittenItems


_Stretches = tuple[Strings, list[bytes], dict[bytes, tuple[int, ...]]]
"""Stretches of the text of which one comes next in a quotation, none the beginning of another; the bytes of which one
follows each; and all stretches, with the `starts` of their places."""

_Quoted = tuple[Copy, Strings, dict[bytes, tuple[int, ...]]]
"""The origin of a menu: a quotation, the strings of the menu, and the stretches of text that they begin."""


def _prefix_free(follows: Mapping[bytes, bytes]) -> tuple[Strings, list[bytes]]:
    """The strings without those that begin with another of them, and for each the bytes that may follow it."""
    found: list[bytes] = []
    ahead: list[bytes] = []
    for string in sorted(follows):
        if found and string.startswith(found[-1]):
            ahead[-1] += string[len(found[-1]) :][:1]
        else:
            found.append(string)
            ahead.append(follows[string])
    return tuple(found), ahead


def spelled(text: str) -> list[bytes]:
    """For each code point, its bytes inside a JSON string: as `json.dumps` writes it, non-ASCII as UTF-8."""
    return [_spelled(char) for char in text]


@lru_cache(4096)
def _spelled(char: str) -> bytes:
    return json.dumps(char, ensure_ascii=False)[1:-1].encode()


class JsonGrammar(ABC):
    """The automaton of a JSON format for one text; satisfies `genner.grammar.Grammar`.

    Args:
        text: the source.
        labels: the label set.
        constraints: what narrows the answers.
        tears: whether an entity may be torn out of a word.
    """

    def __init__(self, text: str, labels: LabelSet, constraints: Constraints, *, tears: bool) -> None:
        where = constraints.boundaries
        self._text = text
        self._allow_trailing_repeat = constraints.allow_trailing_repeat
        self._tags = labels.tags
        self._depth = constraints.depth
        self._copies = spelled(text)
        self._begins, self._ends = boundaries(text, where)
        if where == "any" and not tears:
            within = [cut(text, i) for i in range(len(text) + 1)]
            blank = [char.isspace() for char in text]
            self._begins = [not (inside or gap) for inside, gap in zip(within, [*blank, True], strict=True)]
            self._ends = [not (inside or gap) for inside, gap in zip(within, [True, *blank], strict=True)]
        self._first_ends = first_ends(text, where, self._ends)
        self._entered: tuple[Transition | None, Choice | Copy] = None, Choice((), 0)  # the last result of `_enter`
        self._opened: dict[tuple[int, ...], _Stretches] = {}  # where a mention begins, by its `starts`
        self._last_end = next((i for i in range(len(text), 0, -1) if self._ends[i]), 0)
        self._places = [i for i, free in enumerate(self._begins) if free and self._first_ends[i] <= self._last_end]
        # The latest end at or before each offset: the limit for shortening an entity of the same start.
        before = 0
        self._end_before = [before := i if free else before for i, free in enumerate(self._ends)]

    # -- what a format says

    @abstractmethod
    def _first(self) -> Choice:
        """The menu that the answer begins with."""

    @abstractmethod
    def _follow(self, step: Transition) -> Choice:
        """The menu that a step leads to, if any."""

    @abstractmethod
    def _closed(self, quote: Copy) -> Transition | None:
        """The step after the quotation mark that ends `quote` here; None if it may not end."""

    @abstractmethod
    def _limit(self, start: int, items: WrittenItems, rank: int) -> int:
        """The latest end of an entity that begins at `start` and is written next; 0 if none may."""

    @abstractmethod
    def _free_from(self, items: WrittenItems, rank: int) -> int:
        """A place such that an entity that begins there, or later, may have any length: `_limit` is the last end."""

    def _may_repeat(self, item: WrittenItem, step: Transition) -> bool:
        """Whether the current list may end in a repetition of `item`, one of the step's items."""
        return True

    @abstractmethod
    def _item(self, tag: str) -> str:
        """The longest text that an answer has for an entity of this label besides its mention."""

    # -- the automaton

    def start(self) -> State:
        return self._first()

    def final(self, state: State) -> bool:
        return isinstance(state, Transition) and state.quote is None and not state.what

    def edges(self, state: State) -> list[tuple[int, State]]:
        if isinstance(state, Transition):
            if self.final(state):
                return []
            state = self._enter(state)
        return self._menu(state) if isinstance(state, Choice) else self._quote(cast(Copy, state))

    def menus(self, state: State, first: Container[int]) -> Sequence[Menu] | None:
        if isinstance(state, Transition):
            if self.final(state):
                return ()
            state = self._enter(state)
        if isinstance(state, Choice):
            off = state.off
            return ((tuple([text[off:] for text, _ in state.options]), state, None),)
        quote = cast(Copy, state)
        found: list[Menu] = []
        strings, ahead, stretches = self._copied(quote, first)
        if strings:
            found.append((strings, (quote, strings, stretches), ahead))
        closes = quote.length and not quote.off and CLOSING[0] in first
        if closes and (closed := self._closed(quote)) is not None:
            found.append(((CLOSING,), closed, None))
        return found

    def _copied(self, quote: Copy, first: Container[int]) -> _Stretches:
        """The copies of a quotation."""
        if quote.length or quote.off or quote.starts[-1] < 0:
            return self._stretches(quote, first)
        # Where a mention begins, there are many; nearly all of them again at the next mention.
        known = self._opened.get(quote.starts)
        if known is None:
            known = self._opened[quote.starts] = self._stretches(quote, range(256))
        return known

    def _stretches(self, quote: Copy, first: Container[int]) -> _Stretches:
        """The text from each of the quotation's places up to the next place where it may end."""
        starts, length, off, rank, items = quote
        line, ends = self._line
        text, at = line.bytes, line.at
        # From `free` on, there is nothing that an entity could reach too far.
        free = self._free_from(items, rank) if length and not off else 0
        found: dict[bytes, tuple[int, ...]] = {}
        follows: dict[bytes, bytes] = {}
        for start in starts:
            place = self._place(start, items) + length
            begin = at[place] + off
            if begin < len(text) and text[begin] in first:
                bounded = length and not off and not (free <= start and place < self._last_end)
                if bounded and self._reach(start, items, rank) <= place:
                    continue
                end = at[ends[place + 1]]
                string = text[begin:end]
                if string in found:
                    found[string] = (*found[string], start)
                    follows[string] += text[end : end + 1]
                else:
                    found[string] = (start,)
                    follows[string] = CLOSING + text[end : end + 1]
        strings, ahead = ((*found,), [*follows.values()]) if len(found) < 2 else _prefix_free(follows)
        return strings, ahead, found

    def follow(self, origin: "Choice | Transition | _Quoted", number: int, count: int) -> State:
        if isinstance(origin, Transition):
            return origin
        if isinstance(origin, Choice):
            options, off = origin
            text, step = options[number]
            off += count
            if off == len(text):
                return step
            return Choice(tuple([o for o in options if o[0][:off] == text[:off]]) if len(options) > 1 else options, off)
        (_, length, off, rank, items), strings, stretches = origin
        line, _ = self._line
        written = strings[number][:count]
        if len(strings) == len(stretches) and written in stretches:
            going = stretches[written]
        else:
            some = [starts for string, starts in stretches.items() if string.startswith(written)]
            going = some[0] if len(some) == 1 else self._in_order(start for starts in some for start in starts)
        begin = self._place(going[0], items)
        end = line.at[begin + length] + off + count
        after = line.owner[end]
        return Copy(going, after - begin, end - line.at[after], rank, items)

    def _in_order(self, starts: Iterable[int]) -> tuple[int, ...]:
        """The `starts` of a quotation in its order."""
        return tuple(sorted(starts, key=lambda start: (start < 0, abs(start))))

    @cached_property
    def _line(self) -> tuple[Line, list[int]]:
        """The text as bytes, and for each place, the first at or after it where a quotation may end."""
        return Line(self._copies), next_marked(self._ends)

    def _enter(self, step: Transition) -> Choice | Copy:
        known, found = self._entered
        if known is not step:  # asked for again and again while a token that leads there is looked for
            found = self._entering(step)
            self._entered = step, found
        return found

    def _entering(self, step: Transition) -> Choice | Copy:
        if step.quote is None:
            return self._follow(step)
        starts = self._starts(step.items, step.quote)
        if self._allow_trailing_repeat:
            starts += tuple(~i for i, item in enumerate(step.items) if self._may_repeat(item, step))
        return Copy(starts, 0, 0, step.quote, step.items)

    def _menu(self, menu: Choice) -> list[tuple[int, State]]:
        options, off = menu
        if len(options) == 1:
            text, step = options[0]
            return [(text[off], Choice(options, off + 1) if off + 1 < len(text) else step)]
        edges: dict[int, list[tuple[bytes, Transition]]] = {}
        for option in options:
            edges.setdefault(option[0][off], []).append(option)
        return [
            (byte, Choice(tuple(some), off + 1) if off + 1 < len(some[0][0]) else some[0][1])
            for byte, some in edges.items()
        ]

    def _starts(self, items: WrittenItems, rank: int) -> tuple[int, ...]:
        """The places where the next mention may begin."""
        free = bisect_left(self._places, self._free_from(items, rank))
        some = [s for s in self._places[:free] if self._limit(s, items, rank) >= self._first_ends[s]]
        return (*some, *self._places[free:])

    def _any_start(self, items: WrittenItems, rank: int) -> bool:
        return any(self._limit(s, items, rank) >= self._first_ends[s] for s in reversed(self._places))

    def _quote(self, quote: Copy) -> list[tuple[int, State]]:
        starts, length, off, rank, items = quote
        copies, done = self._copies, off + 1
        going = starts  # those with a legal end still ahead
        if length and not off:
            going = tuple(s for s in starts if self._reach(s, items, rank) > self._place(s, items) + length)
        groups: dict[int, tuple[int, ...]] = {}
        if len(going) == 1:
            groups[copies[self._place(going[0], items) + length][off]] = going
        else:
            for s in going:
                byte = copies[self._place(s, items) + length][off]
                groups[byte] = (*groups.get(byte, ()), s)
        edges: list[tuple[int, State]] = []
        for byte, some in groups.items():
            whole = done == len(copies[self._place(some[0], items) + length])
            edges.append((byte, Copy(some, length + whole, 0 if whole else done, rank, items)))
        if not off and length and (closed := self._closed(quote)) is not None:
            edges.append((0x22, closed))  # no spelling begins with a quotation mark
        return edges

    def _place(self, start: int, items: WrittenItems) -> int:
        """The offset in the source of one of a quotation's `starts`."""
        return start if start >= 0 else items[~start].start

    def _reach(self, start: int, items: WrittenItems, rank: int) -> int:
        """The latest end of a quotation that begins at one of its `starts`."""
        return self._limit(start, items, rank) if start >= 0 else items[~start].end

    def _repeated(self, quote: Copy) -> list[int]:
        """The `starts` of the entities that a quotation would repeat if it ended here."""
        _, length, _, _, items = quote
        return [s for s in quote.starts if s < 0 and items[~s].end == items[~s].start + length]

    # -- drafting and reading

    def draft(self, state: State, limit: int, proposals: Proposals = NO_PROPOSALS) -> bytes:
        """The proposed entities that can still be written, and no others: the current mention up to its likeliest end,
        or to its next legal end if it is not proposed."""
        out = bytearray()
        while len(out) < limit or (isinstance(state, Copy) and state.off):
            if isinstance(state, Transition):
                if self.final(state):
                    break
                state = self._enter(state)
            if isinstance(state, Choice):
                text, step = next((o for o in state.options if self._wants(o[1], proposals)), state.options[0])
                out += text[state.off :]
                state = step
            else:
                byte, state = self._quote_on(cast(Copy, state), proposals)
                out.append(byte)
        return bytes(out)

    def _wants(self, step: Transition, proposals: Proposals) -> bool:
        """Whether an option of a menu leads towards the proposals."""
        if step.quote is not None:
            spans = [span for span in proposals.spans if step.quote in (-1, span[2])]
            return self._target(spans, step.items, step.quote) is not None
        if step.what:
            return self._wants_menu(step, proposals)
        return False

    @abstractmethod
    def _wants_menu(self, step: Transition, proposals: Proposals) -> bool:
        """Whether a step to another menu leads towards the proposals."""

    def _target(
        self,
        spans: Iterable[tuple[int, int, int]],
        items: WrittenItems,
        rank: int,
        starts: Collection[int] | None = None,
        length: int = 0,
    ) -> tuple[int, int] | None:
        """The first of some proposed mentions that may be written next, under the label `rank` (-1: its own), longer
        than `length`."""
        for start, end, number in spans:
            if (starts is None or start in starts) and end - start >= length:
                item = WrittenItem(start, end, number if rank < 0 else rank)
                free = self._comes_next(item, items) and start < end <= self._limit(start, items, rank)
                free = free and self._first_ends[start] <= end
                if free and self._permitted(item, items):
                    return start, end
        return None

    def _permitted(self, item: WrittenItem, items: WrittenItems) -> bool:
        """Whether an entity may be written next, for cases that `_limit` does not decide."""
        return True

    @abstractmethod
    def _comes_next(self, item: WrittenItem, items: WrittenItems) -> bool:
        """Whether an entity comes after all that are written, in the order of the format."""

    def _quote_on(self, quote: Copy, proposals: Proposals) -> tuple[int, State]:
        starts, length, off, rank, items = quote
        edges = self._quote(quote)
        if len(edges) == 1:
            return edges[0]
        # An additional entity of this label may be one that was proposed with another label.
        spans = sorted(proposals.spans, key=lambda span: rank not in (-1, span[2]))
        target = self._target(spans, items, rank, starts, length)
        if target is None and starts[0] >= 0 and len(starts) < 4:
            known = proposals.likeliest(starts[0], starts[0] + length)
            target = known and (starts[0], known[0])
        if target is None or target[1] - target[0] <= length:
            return edges[-1] if edges[-1][0] == 0x22 else edges[0]
        wanted = self._copies[target[0] + length][off]
        return next((edge for edge in edges if edge[0] == wanted), edges[0])

    def needs(self) -> tuple[Need, ...]:
        mentions = most_mentions(self._begins, self._first_ends)
        plain = self.draft(self.start(), 1 << 30).decode()
        # Each place is quoted once for each entity that covers it.
        quoted = b"".join(self._copies).decode()
        times = QUOTED if self._depth is None else min(QUOTED, self._depth)
        return Need((plain,), 1), Need((quoted,), times), Need(tuple(map(self._item, self._tags)), mentions)

    def _names_label(self, step: Transition) -> bool:
        """Whether the menu that leads to `step` named the label of the current item, and the item continues."""
        return False

    def read(self, answer: bytes) -> tuple[GrammarEntity, ...] | None:
        state: State = self._first()
        menu = 0  # where the string of a menu begins
        opened = quoted = mentioned = labelled = 0  # starts of the item and mention, ends of mention and label
        found: list[GrammarEntity] = []
        for position, byte in enumerate(answer):
            if isinstance(state, Transition) and not self.final(state):
                state = self._enter(state)
                if isinstance(state, Copy):
                    opened, quoted = menu, position - 1  # the menu's string ends in the quotation mark
                else:
                    menu = position
            after = dict(self.edges(state)).get(byte)
            if after is None:
                return None
            if isinstance(after, Transition):
                if isinstance(state, Copy):
                    mentioned = labelled = position + 1
                elif self._names_label(after):
                    labelled = position + 1 - len(SEPARATOR)
                if len(after.items) > len(found):
                    start, end, rank = after.items[-1]
                    decisions = decisions_of(
                        ("open", opened, quoted),
                        ("mention", quoted, mentioned),
                        ("label", mentioned, labelled),
                        ("position", labelled, position + 1),
                    )
                    found.append(GrammarEntity(start, end, self._tags[rank], decisions))
            state = after
        return tuple(found) if self.final(state) else None
