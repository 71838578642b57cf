"""The automaton that the inline formats share: the text copied out, with tags put in.

A format defines how each code point is copied (nearly always as itself), and its opening and closing tags. The formats
escape so little that ordinary text is unchanged, yet every answer has a unique reading (see each format).

A state is a tuple of threads, nearly always one; several are alive only while a stretch of the source could also be the
beginning of a tag. A thread is `(i, off, frames, tag)`: `i` code points are copied and `off` bytes of the next one;
`frames` are the open entities, outermost first; `tag` is the tag being written, or None.
"""

from collections.abc import Container, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from genner.boundaries import boundaries, first_ends, most_mentions
from genner.document import LabelSet
from genner.formats.inline_tags import ANY_LABEL, MarkupTag, tag_tries
from genner.grammar import (
    NO_PROPOSALS,
    UNCONSTRAINED,
    Constraints,
    GrammarEntity,
    Line,
    Menu,
    Need,
    Proposals,
    State,
    Strings,
    decisions_of,
    next_marked,
    walk,
)


class Frame(NamedTuple):
    """An open entity. `barred` labels may not close it at `at`: that would write the same entity twice."""

    label: int
    start: int
    at: int
    barred: tuple[int, ...]


class Tag(NamedTuple):
    """A tag being written: a node of the trie of opening tags, or of closing tags."""

    closes: bool
    node: int


AFTER = b"\n"  # may follow the copy, where a grammar has several of them
OPENING, CLOSING = Tag(False, 0), Tag(True, 1)  # tags of which nothing is written yet

Thread = tuple[int, int, tuple[Frame, ...], Tag | None]


class _Event(NamedTuple):
    """A tag that was completed; its first `head` bytes come before the name of the label."""

    opens: bool
    label: int
    head: int


@dataclass(frozen=True, slots=True)
class _History:
    """Completed tags of one thread, the latest first: (event, code points copied, first byte, last byte + 1)."""

    event: _Event
    at: int
    begin: int
    end: int
    before: "_History | None"


class _Stretches:
    """The stretches of the copy of a text in which no tag may stand."""

    def __init__(self, copies: Sequence[bytes], starts: Sequence[bool], ends: Sequence[bool]) -> None:
        self.line = Line(copies)
        # At or after each place: the first where an entity may start, and the first where one may start or end.
        self.start = next_marked(starts)
        self.place = next_marked([a or b for a, b in zip(starts, ends, strict=True)])


class InlineGrammar:
    """The automaton of an inline format for one text; satisfies `genner.grammar.Grammar`.

    Args:
        text: the source.
        labels: the label set.
        copies: for each code point of `text`, the bytes that copy it.
        opening, closing: tags with the index of their label; an opening tag of label `ANY_LABEL` leaves the label to
            the closing tag, a closing one takes it from the opening tag. No tag is the prefix of another.
        constraints: restrictions of the answers; all are enforced, and no list can end in a repeat.
        forbidden: see `Format.forbidden_start_chars`.
    """

    def __init__(
        self,
        text: str,
        labels: LabelSet,
        copies: Sequence[bytes],
        opening: Sequence[tuple[MarkupTag, int]],
        closing: Sequence[tuple[MarkupTag, int]],
        constraints: Constraints = UNCONSTRAINED,
        forbidden: tuple[str, ...] = (),
    ) -> None:
        self._tags = labels.tags
        self._same_span_labels = constraints.same_span_labels
        self._copies = copies
        self._n = len(text)
        self._tries = tag_tries(tuple(opening), tuple(closing))
        self._late = any(label == ANY_LABEL for _, label in opening)
        self._shared = any(label == ANY_LABEL for _, label in closing)
        self._depth = constraints.depth if constraints.depth is not None else self._n * len(labels) + 1
        self._starts, self._ends = boundaries(text, constraints.boundaries, forbidden)
        self._first_ends = first_ends(text, constraints.boundaries, self._ends)
        self._markup = tuple(tag.text for tag, _ in opening), tuple(tag.text for tag, _ in closing)
        # The number of legal ends at or after i, so that no entity is opened that could not be closed.
        self._ends_from = [*accumulate(reversed(self._ends), initial=0)]
        self._ends_from.reverse()

    def renamed(self, labels: LabelSet) -> "InlineGrammar":
        """The same automaton for as many other labels, whose names its tags do not have."""
        _ = self._stretches  # made, so that both share them
        other = copy(self)
        other._tags = labels.tags
        return other

    # -- the automaton

    def start(self) -> State:
        return ((0, 0, (), None),)

    def edges(self, state: State) -> list[tuple[int, State]]:
        threads: tuple[Thread, ...] = state  # type: ignore[assignment]
        if len(threads) == 1:
            moves = self._moves(threads[0])
            if len(moves) == 1:
                return [(moves[0][0], (moves[0][1],))]
        else:
            moves = [move for thread in threads for move in self._moves(thread)]
        merged: dict[int, tuple[Thread, ...]] = {}
        for byte, thread, _ in moves:
            merged[byte] = (*merged[byte], thread) if byte in merged else (thread,)
        return list(merged.items())

    def final(self, state: State) -> bool:
        threads: tuple[Thread, ...] = state  # type: ignore[assignment]
        return (self._n, 0, (), None) in threads

    def menus(self, state: State, first: Container[int]) -> Sequence[Menu] | None:
        threads: tuple[Thread, ...] = state  # type: ignore[assignment]
        if len(threads) > 1:
            return None
        i, off, frames, tag = threads[0]
        if tag is not None:
            return ((self._rests(i, frames, tag), threads[0], None),)
        stretches = self._stretches
        line, at, places = stretches.line.bytes, stretches.line.at, stretches.place if frames else stretches.start
        if off or i < places[i]:
            return (self._copies_menu(threads[0], places[i + 1 if off else i]),)
        room = i < self._n and (not frames or self._room(frames, i + 1))
        tags = self._tags_at(i, frames, room) if self._tries.begins_in(first) else ()
        if tags and room and line[at[i]] in self._tries.first_bytes:
            return None  # the text looks like a tag: several threads may go on
        found: list[Menu] = []
        if room and line[at[i]] in first:
            found.append(self._copies_menu(threads[0], places[i + 1]))
        if len(tags) > 1:
            # Both kinds may begin with the same bytes, after which there are two threads.
            strings = self._rests(i, frames, CLOSING) + self._rests(i, frames, OPENING)
            found.append((strings, (state, strings), None))
        elif tags and (rests := self._rests(i, frames, tags[0])):
            found.append((rests, (i, 0, frames, tags[0]), None))
        return found

    def _tags_at(self, i: int, frames: tuple[Frame, ...], room: bool) -> list[Tag]:
        """The kinds of tags that may begin at `i`; `room` is whether no open entity has to end there."""
        tags: list[Tag] = []
        if frames and self._ends[i] and self._first_ends[frames[-1].start] <= i:
            tags.append(CLOSING)
        if room and self._starts[i] and len(frames) < self._depth and self._ends_from[self._first_ends[i]]:
            tags.append(OPENING)
        return tags

    def _copies_menu(self, thread: Thread, stop: int) -> Menu:
        """The copy up to a place."""
        line = self._stretches.line
        end = line.at[stop]
        ahead = (line.bytes[end : end + 1] or AFTER) + self._tries.first_bytes
        return (line.bytes[line.at[thread[0]] + thread[1] : end],), thread, (ahead,)

    def _rests(self, i: int, frames: tuple[Frame, ...], tag: Tag) -> Strings:
        """What is left of the tags that may be written at `i`."""
        legal = self._closable(i, frames) if tag.closes else self._openable(i, frames)
        return self._tries.rests(tag.closes, tag.node, legal)

    def follow(self, origin: Thread | tuple[State, Strings], number: int, count: int) -> State:
        if len(origin) == 2:
            state, strings = origin
            return walk(self, state, strings[number][:count])
        i, off, frames, tag = origin
        if tag is None:
            line = self._stretches.line
            place = line.at[i] + off + count
            i = line.owner[place]
            return ((i, place - line.at[i], frames, None),)
        node, children = tag.node, self._tries.children
        for byte in self._rests(i, frames, tag)[number][:count]:
            node = children[node][byte]
        label = self._tries.leaf[node]
        if label is None:
            return ((i, 0, frames, Tag(tag.closes, node)),)
        if tag.closes:
            return ((i, 0, self._closed(i, frames, frames[-1].label if self._shared else label), None),)
        return ((i, 0, (*frames, Frame(label, i, i, ())), None),)

    @cached_property
    def _stretches(self) -> _Stretches:
        return _Stretches(self._copies, self._starts, self._ends)

    def _moves(self, thread: Thread) -> list[tuple[int, Thread, _Event | None]]:
        """All legal next bytes, each with the thread after it and the tag that it completes."""
        i, off, frames, tag = thread
        if tag is not None:
            return self._in_tag(i, frames, tag)
        if off:
            return [self._copy(i, off, frames)]
        moves: list[tuple[int, Thread, _Event | None]] = []
        # Copying on, or opening another here, both mean that no open entity ends before i + 1.
        room = i < self._n and self._room(frames, i + 1)
        if room:
            moves.append(self._copy(i, 0, frames))
        for kind in self._tags_at(i, frames, room):
            moves += self._in_tag(i, frames, kind)
        return moves

    def _copy(self, i: int, off: int, frames: tuple[Frame, ...]) -> tuple[int, Thread, None]:
        written = self._copies[i]
        thread = (i, off + 1, frames, None) if off + 1 < len(written) else (i + 1, 0, frames, None)
        return written[off], thread, None

    def _in_tag(self, i: int, frames: tuple[Frame, ...], tag: Tag) -> list[tuple[int, Thread, _Event | None]]:
        tries = self._tries
        moves: list[tuple[int, Thread, _Event | None]] = []
        legal = self._closable(i, frames) if tag.closes else self._openable(i, frames)
        for byte, node in tries.children[tag.node].items():
            if legal.isdisjoint(tries.labels[node]):
                continue
            label = tries.leaf[node]
            thread: Thread
            if label is None:
                thread, event = (i, 0, frames, Tag(tag.closes, node)), None
            elif tag.closes:
                label = frames[-1].label if self._shared else label
                thread, event = (i, 0, self._closed(i, frames, label), None), _Event(False, label, tries.heads[node])
            else:
                thread, event = (i, 0, (*frames, Frame(label, i, i, ())), None), _Event(True, label, tries.heads[node])
            moves.append((byte, thread, event))
        return moves

    # -- every path has an end, and every entity is written once

    def _openable(self, i: int, frames: tuple[Frame, ...]) -> set[int]:
        """The labels that may open here."""
        labels = self._tries.labels[0]
        if len(frames) < self._ends_from[self._first_ends[i]]:
            return labels
        return {label for label in labels if self._room((*frames, Frame(label, i, i, ())), i + 1)}

    def _closable(self, i: int, frames: tuple[Frame, ...]) -> set[int]:
        """The labels by which the innermost entity may close here."""
        top = frames[-1]
        labels = self._tries.labels[1] if self._late else {top.label}
        if top.at == i:
            labels = labels.difference(top.barred)
        if labels and len(frames) > self._ends_from[i] and not self._room(self._closed(i, frames, min(labels)), i):
            return set()
        return {ANY_LABEL} if labels and self._shared else labels

    def _closed(self, i: int, frames: tuple[Frame, ...], label: int) -> tuple[Frame, ...]:
        top, rest = frames[-1], frames[:-1]
        twin = self._twin(top)
        if not any(self._twin(f) == twin for f in rest):
            return rest
        bars = (label,) if self._same_span_labels else tuple(range(len(self._tags)))
        return tuple(
            Frame(f.label, f.start, i, (*(f.barred if f.at == i else ()), *bars)) if self._twin(f) == twin else f
            for f in rest
        )

    def _twin(self, frame: Frame) -> tuple[int, int]:
        """The key shared by open entities that must not end in the same place (or not with the same label)."""
        return frame.start, frame.label if self._same_span_labels else 0

    def _room(self, frames: tuple[Frame, ...], i: int) -> bool:
        """Whether all open entities can be closed at `i` or later, no two alike.

        Twins (same start, same label; or same start, where a span has one label) need different places to end, or
        different labels where the close names it.
        Closing each as early as those alike allow, from the innermost on, takes the fewest places. No outer one has to
        end later than an inner one.
        """
        if not frames:
            return True
        i = max(i, self._first_ends[frames[-1].start])
        places = self._ends_from[i]
        if len(frames) <= places:
            return True
        each = len(self._tags) if self._late and self._same_span_labels else 1
        needed = 1
        used: dict[tuple[int, int], int] = {}
        for frame in reversed(frames):
            twin = self._twin(frame)
            count = used.get(twin, len(frame.barred) if needed == 1 and frame.at == i else 0)
            if count >= each:
                needed, used, count = needed + 1, {}, 0
            used[twin] = count + 1
        return needed <= places

    # -- drafting and reading

    def draft(self, state: State, limit: int, proposals: Proposals = NO_PROPOSALS) -> bytes:
        """The rest of the text with the proposed entities: the current tag completed, open entities closed at their
        likeliest end, or as late as possible if they were not proposed."""
        thread: Thread = state[0]  # type: ignore[index]
        out = bytearray()
        while len(out) < limit or thread[1]:
            i, off, frames, tag = thread
            if tag is None and (off or self._copies_on(i, frames, proposals)):
                out += self._copies[i][off:]
                thread = (i + 1, 0, frames, None)
            elif moves := self._moves(thread):
                byte, thread = self._likeliest(thread, moves, proposals)
                out.append(byte)
            else:
                break
        return bytes(out)

    def _copies_on(self, i: int, frames: tuple[Frame, ...], proposals: Proposals) -> bool:
        """Whether the text continues at `i` without a tag, according to the proposals."""
        if i >= self._n or not self._room(frames, i + 1):
            return False
        return not self._closes(i, frames, proposals) and not self._opens(i, frames, proposals)

    def _closes(self, i: int, frames: tuple[Frame, ...], proposals: Proposals) -> bool:
        """Whether the innermost open entity ends at `i`, according to the proposals."""
        if not frames or i < self._first_ends[frames[-1].start] or not self._ends[i]:
            return False
        known = self._open(i, frames, proposals)
        return known is not None and known[0] == i

    def _open(self, i: int, frames: tuple[Frame, ...], proposals: Proposals) -> tuple[int, int] | None:
        """(end, label) of the innermost open entity, as proposed."""
        start, rank = frames[-1].start, frames[-1].label
        likely = proposals.starting(start)
        place = _reached(likely, start, frames[:-1])
        # Of several that start here, the one with this label, or else the next.
        known = next(
            (some for some in likely[place:] if some[1] == rank), likely[place] if place < len(likely) else None
        )
        return known if known and known[0] >= i else proposals.likeliest(start, i, rank)

    def _opens(self, i: int, frames: tuple[Frame, ...], proposals: Proposals) -> bool:
        """Whether a proposed entity still has to be opened at `i`."""
        likely = proposals.starting(i)
        if not likely or not self._starts[i] or len(frames) >= self._depth or self._first_ends[i] > self._n:
            return False
        return _reached(likely, i, frames) < len(likely)

    def _likeliest(
        self, thread: Thread, moves: list[tuple[int, Thread, _Event | None]], proposals: Proposals
    ) -> tuple[int, Thread]:
        """Of the possible continuations of a tag: the one towards the proposals."""
        i, _, frames, tag = thread
        closes = tag.closes if tag else self._closes(i, frames, proposals) or not self._opens(i, frames, proposals)
        wanted: int | None = None
        if closes == self._late and (frames or not closes):  # the label is named in this tag
            if closes:
                known = self._open(i, frames, proposals)
            else:
                likely = proposals.starting(i)
                place = _reached(likely, i, frames)
                known = likely[place] if place < len(likely) else proposals.likeliest(i, i)
            wanted = known[1] if known else 0
        for byte, after, event in moves:
            tag = after[3]
            if event is not None:
                fits, labels = event.opens != closes, {event.label}
            else:
                fits = tag is not None and tag.closes == closes
                labels = self._tries.labels[tag.node] if tag else set()
            if fits and (wanted is None or wanted in labels or ANY_LABEL in labels):
                return byte, after
        return moves[0][0], moves[0][1]

    def read(self, answer: bytes) -> tuple[GrammarEntity, ...] | None:
        alive: list[tuple[Thread, int, _History | None]] = [((0, 0, (), None), 0, None)]
        for position, byte in enumerate(answer):
            after = []
            for thread, begun, history in alive:
                if thread[3] is None:
                    begun = position
                for edge, target, event in self._moves(thread):
                    if edge == byte:
                        done = _History(event, thread[0], begun, position + 1, history) if event else history
                        after.append((target, begun, done))
            alive = after
            if not alive:
                return None
        complete = [history for (i, _, frames, tag), _, history in alive if i == self._n and not frames and tag is None]
        return self._written(complete[0]) if complete else None

    def needs(self) -> tuple[Need, ...]:
        mentions = most_mentions(self._starts, self._first_ends)
        copy = b"".join(self._copies).decode()
        return Need((copy,), 1), *(Need(tags, mentions) for tags in self._markup)

    def _written(self, history: _History | None) -> tuple[GrammarEntity, ...]:
        tags: list[_History] = []
        while history is not None:
            tags.append(history)
            history = history.before
        stack, found = [], []
        for tag in reversed(tags):
            if tag.event.opens:
                stack.append(tag)
            else:
                first = stack.pop()
                named, closed = first.begin + first.event.head, tag.begin + tag.event.head
                decisions = decisions_of(
                    ("open", first.begin, named),
                    ("label", named, first.end),
                    ("close", tag.begin, closed),
                    ("label", closed, tag.end),
                    ("inside", first.end, tag.begin),
                )
                found.append(GrammarEntity(first.at, tag.at, self._tags[tag.event.label], decisions))
        return tuple(found)


def _reached(likely: Sequence[tuple[int, int]], start: int, frames: tuple[Frame, ...]) -> int:
    """How many of the likely entities that begin at `start` are open, or skipped in favour of one that is."""
    place = 0
    for frame in frames:
        if frame.start == start:
            place = next((at + 1 for at in range(place, len(likely)) if likely[at][1] == frame.label), place + 1)
    return place
