"""The parser that the inline formats share: from the pieces of an answer to the copied text and its entities.

A format gives a lexer, which cuts an answer that is not legal into copied text and tags (`Mark`). This module decides
what a tag closes, and how to treat a tag that closes nothing or is never closed.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from genner.document import Entity, Problem
from genner.formats.json_answer import brief


class Mark(NamedTuple):
    """A tag in an answer.

    Attributes:
        written: the tag as in the answer.
        closes: whether it is a closing tag.
        label: the label that it names; "" where tags of this kind name none, None for a label that was not asked for.
        name: the label as in the answer.
        proper: the correct spelling of the tag, if the answer may spell it differently.
    """

    written: str
    closes: bool
    label: str | None
    name: str = ""
    proper: str = ""


class _Opened(NamedTuple):
    """An open tag: its start in the copy, and the number of the copied piece that stands for it."""

    mark: Mark
    start: int
    piece: int


Parsed = tuple[str, list[Entity], list[Problem]]
"""The copied text, the entities in it (offsets in that copy, inner before outer ones), and the problems."""


def parse_marks(pieces: Iterable[str | Mark], *, both_named: bool, unclosed_is_text: bool) -> Parsed:
    """Match the tags among the pieces of an answer, in time that grows with the answer.

    Args:
        pieces: copied text, and tags.
        both_named: whether opening and closing tags both name the label. Then a closing tag closes the nearest open one
            of its label, and those opened since are dropped; else it closes the innermost.
        unclosed_is_text: whether an opening tag that is never closed is text of the copy; else it is dropped.
    """
    problems, found, copy, length = list[Problem](), list[Entity](), list[str](), 0
    stack = list[_Opened]()
    opened, unknown = (
        Counter[str | None](),
        Counter[str](),
    )  # open tags: by label; not asked for, by name
    for piece in pieces:
        if isinstance(piece, str):
            copy.append(piece)
            length += len(piece)
            continue
        mark = piece
        shown = brief(mark.written)
        if both_named and mark.label is None:
            if mark.closes and unknown[mark.name]:
                unknown[mark.name] -= 1
                continue  # reported when it was opened
            problems.append(Problem("dropped", f"{shown} at {length}: no such label"))
            unknown[mark.name] += not mark.closes
        elif not mark.closes:
            stack.append(_Opened(mark, length, len(copy)))
            opened[mark.label] += 1
            copy.append("")
        elif not stack or (both_named and not opened[mark.label]):
            problems.append(Problem("invalid", f"{shown} at {length} closes nothing"))
        else:
            while both_named and stack[-1].mark.label != mark.label:
                problems.append(_unclosed(other := stack.pop()))
                opened[other.mark.label] -= 1
            start_tag, start, _ = stack.pop()
            opened[start_tag.label] -= 1
            label = start_tag.label if mark.label == "" else mark.label
            if mark.proper and mark.written != mark.proper:
                problems.append(Problem("invalid", f"{shown} is not written {brief(mark.proper)}"))
            if label is None:
                naming = mark if mark.label is None else start_tag
                problems.append(Problem("dropped", f"{brief(naming.written)} at {start}: no such label"))
            elif start == length:
                problems.append(Problem("malformed", f"{brief(start_tag.written)} at {start} is empty"))
            else:
                found.append(Entity(start, length, label))
    if not unclosed_is_text:
        return "".join(copy), found, problems + [_unclosed(one) for one in stack]
    for mark, start, place in reversed(stack):
        problems.append(Problem("invalid", f"{brief(mark.written)} at {start} is not escaped or not closed"))
        copy[place] = mark.written
    return "".join(copy), _moved(found, stack) if stack else found, problems


def _unclosed(one: _Opened) -> Problem:
    return Problem("malformed", f"{brief(one.mark.written)} at {one.start} is not closed")


def _moved(found: Iterable[Entity], stack: list[_Opened]) -> list[Entity]:
    """The entities after the unclosed tags were put into the copy as text."""
    starts, width = [one.start for one in stack], len(stack[0].mark.written)
    return [
        Entity(e.start + width * bisect_right(starts, e.start), e.end + width * bisect_left(starts, e.end), e.label)
        for e in found
    ]
