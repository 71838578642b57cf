"""How Label Studio counts offsets, found out task by task.

It once counted JavaScript's UTF-16 units (its issue 1347) and later versions count code points (its
`charsToCodePoints`); a browser may also have made one character of each `\\r\\n`. The export says neither. But each
result carries the text that it marks, so the unit is the one that cuts those texts out.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from genner.errors import DocumentError

OffsetUnit = Literal["auto", "code_points", "utf16"]


class MarkedSpan(NamedTuple):
    """What a result marks: `start` and `end` in the file's unit, `mention` the text there, where it is given."""

    start: int
    end: int
    mention: str | None


def code_points(text: str, marks: Sequence[MarkedSpan], units: OffsetUnit) -> tuple[list[tuple[int, int]], bool]:
    """The marks as `[start, end)` in code points, and whether their unit is certain.

    It is not where units differ at some mark and no mark has a text to tell by; then code points are taken.
    Raises `DocumentError` when a mark's text is not where the mark is, in any unit or in the one that is asked for.
    """
    ways = list(_ways(text, units))
    checked = [mark for mark in marks if mark.mention is not None]
    for way in ways:
        if all(_fits(text, mark, way) for mark in checked):
            places = [(way(mark.start), way(mark.end)) for mark in marks]
            certain = bool(checked) or all(other(at) == way(at) for other in ways for m in marks for at in m[:2])
            return places, certain
    wrong = next(mark for mark in checked if not _fits(text, mark, ways[0]))
    there = text[max(ways[0](wrong.start), 0) : max(ways[0](wrong.end), 0)]
    tried = " or ".join({"auto": ["code points", "UTF-16 units"]}.get(units, [units]))
    ends = ", a line end of two characters as two or as one" if "\r\n" in text and units == "auto" else ""
    raise DocumentError(
        f"span [{wrong.start}, {wrong.end}) cuts out {there!r}, not {wrong.mention!r}, counted in {tried}{ends}"
    )


def utf16(text: str) -> list[int]:
    """How many UTF-16 units lie before each code point, and before the end."""
    return [0, *accumulate(1 + (c > "\uffff") for c in text)]


def _ways(text: str, units: OffsetUnit) -> Iterator[Callable[[int], int]]:
    """Functions from offsets of a unit to code points; -1 is no place."""
    astral = max(text, default="") > "\uffff"
    if units == "utf16":
        yield _back(utf16(text)) if astral else _as_given
        return
    yield _as_given
    if units == "auto":
        if astral:
            yield _back(utf16(text))
        if "\r\n" in text:
            joined = [not text.startswith("\r\n", i) for i in range(len(text))]
            yield _back([0, *accumulate(joined)])
            if astral:
                yield _back([0, *accumulate((1 + (c > "\uffff")) * n for c, n in zip(text, joined, strict=True))])


def _back(counted: list[int]) -> Callable[[int], int]:
    places: dict[int, int] = {}
    for point, offset in enumerate(counted):
        places.setdefault(offset, point)  # of `\r\n` counted as one, the edge before it

    def back(offset: int) -> int:
        return places.get(offset, offset if offset > counted[-1] else -1)

    return back


def _as_given(offset: int) -> int:
    return offset


def _fits(text: str, mark: MarkedSpan, way: Callable[[int], int]) -> bool:
    start, end = way(mark.start), way(mark.end)
    there = text[start:end] if 0 <= start <= end <= len(text) else None
    # Label Studio writes a line end within a mention as a backslash and an n.
    return there == mark.mention or (
        there is not None and there.replace("\r\n", "\n") == (mark.mention or "").replace("\\n", "\n")
    )
