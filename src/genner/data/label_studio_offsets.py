"""Detection of the unit of Label Studio's offsets, for each task.

Older versions count JavaScript's UTF-16 units (its issue 1347), later ones code points (its `charsToCodePoints`); a
browser may also have turned each `\\r\\n` into one character. The export does not state the unit. But each result
carries the text that it marks, so the unit is the one under which offsets and texts agree.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from genner.errors import DocumentError

OffsetUnit = Literal["auto", "code_points", "utf16"]


class MarkedSpan(NamedTuple):
    """The span of a result: `start` and `end` in the file's unit; `mention` is the text there, if given."""

    start: int
    end: int
    mention: str | None


def code_points(text: str, marks: Sequence[MarkedSpan], units: OffsetUnit) -> tuple[list[tuple[int, int]], bool]:
    """The marks as `[start, end)` in code points, and whether their unit is certain.

    It is uncertain if units differ at some mark and no mark has a text that decides; then code points are assumed.
    Raises `DocumentError` when a mark's text is not at its offsets, in any unit or in the one given.
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
    """The number of UTF-16 units before each code point, and before the end."""
    return [0, *accumulate(1 + (c > "\uffff") for c in text)]


def _ways(text: str, units: OffsetUnit) -> Iterator[Callable[[int], int]]:
    """Functions from offsets in a unit to code points; -1: no such offset."""
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
        places.setdefault(offset, point)  # for `\r\n` counted as one, the position before it

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
