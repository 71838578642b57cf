"""Context-free rules of the inline formats: right-linear, one rule per offset and stack of open entities.

    r<place>_<open>: the rest of the answer from this offset, with these entities open (n: one that may not end yet)

Exact for flat entities. Nested entities are limited in depth, and a span may get the same label twice, which the
automaton forbids; such a duplicate is kept once.
"""

from collections.abc import Sequence
from itertools import pairwise

from genner.cfg import Symbol

Choices = list[tuple[Symbol, ...]]

END = Symbol("")


def inline_rules(
    text: str,
    copies: Sequence[str],
    opening: Sequence[str],
    closing: Sequence[str],
    places: tuple[Sequence[bool], Sequence[bool], Sequence[int]],
    depth: int,
    tail: Symbol = END,
    prefix: str = "r",
) -> dict[str, tuple[tuple[Symbol, ...], ...]]:
    """Rules for the copy of a text with tags; the first is the start rule.

    `opening` and `closing` hold one tag per label, or a single tag for all. `places` gives the allowed starts and ends,
    as `boundaries` does, and the first allowed ends, as `first_ends` does. `tail` follows the copy.
    """
    starts, ends, first = places
    stops = [i for i in range(len(text) + 1) if i in (0, len(text)) or starts[i] or ends[i]]
    after = dict(pairwise(stops))
    # With a single closing tag or a single opening tag, the open label does not affect what may follow.
    kinds = range(len(opening)) if len(opening) == len(closing) else range(1)
    rules: dict[str, tuple[tuple[Symbol, ...], ...]] = {}
    todo: list[tuple[int, tuple[int, ...], bool]] = [(0, (), False)]
    known = {todo[0]: None}

    def name(state: tuple[int, tuple[int, ...], bool]) -> str:
        if state not in known:
            known[state] = None
            todo.append(state)
        place, stack, fresh = state
        return "_".join([f"{prefix}{place}", *map(str, stack)]) + ("n" if fresh else "")

    while todo:
        state = todo.pop()
        place, stack, fresh = state
        choices: Choices = []
        if place in after:
            end = after[place]
            choices.append((Symbol("".join(copies[place:end]), name((end, stack, fresh and first[place] > end))),))
        elif not stack:
            choices.append((tail,))
        if stack and not fresh and ends[place]:
            for tag in closing if len(kinds) == 1 else [closing[stack[-1]]]:
                choices.append((Symbol(tag, name((place, stack[:-1], False))),))
        if starts[place] and len(stack) < depth:
            # The innermost possible entity continues at once, since nothing else can follow its tag.
            copied = place if len(stack) + 1 < depth else after[place]
            for rank, tag in enumerate(opening):
                inner = (copied, (*stack, rank if len(kinds) > 1 else 0), copied == place or first[place] > copied)
                choices.append((Symbol(tag + "".join(copies[place:copied]), name(inner)),))
        rules[name(state)] = tuple(choices)
    return rules
