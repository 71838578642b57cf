"""Projects entities from a changed copy of a text onto the text.

Without a grammar, a model alters its copy: it drops a space, corrects a typo, adds a preface, stops early. The two
texts are aligned by their Levenshtein edit script (rapidfuzz, bit-parallel), and an entity follows its characters. Word
boundaries are kept: an entity of whole words in the copy becomes the similar whole words of the text
(`genner.formats.similar_spans`), with or without its article. What cannot be placed is dropped; both cases are counted,
each in its own `Problem`.

Computing an edit script takes time proportional to the product of both lengths. So the common prefix and suffix are set
aside, and the rest is aligned in consecutive windows, each starting where the last long common stretch ended. If a
window has none, alignment resumes where the two texts meet again.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from rapidfuzz.distance import Levenshtein

from genner.boundaries import boundaries
from genner.document import Entity, Problem, Span
from genner.formats.json_answer import brief
from genner.formats.similar_spans import changes, without_article

FULL_COMPARISON_CHARS = 300  # longer mentions (in characters) are not compared in full
MIN_OVERLAP = 0.8  # for these, the share of characters that must occur in the text, in order
ALIGN_WINDOW_CHARS = 4096  # characters of each text that are aligned at a time
ANCHOR = 24  # minimum number of equal characters to accept that two texts have met


Equal = tuple[int, int, int]
"""`copy[i : i + n]` is `text[j : j + n]`: (i, j, n)."""


def align(text: str, copy: str, entities: Iterable[Entity]) -> tuple[tuple[Entity, ...], list[Problem]]:
    """The entities of `copy` placed in `text`, without duplicates, and the problems: repaired or dropped entities."""
    problems: list[Problem] = []
    if copy == text:
        placed: list[Entity | None] = [*entities]
    else:
        placed = _by_edit_script(text, copy, [*entities], problems)
    unique: dict[Entity, None] = {}
    for entity in placed:
        if entity is None:
            continue
        if entity in unique:
            mention = brief(text[entity.start : entity.end][:100])
            problems.append(Problem("duplicate", f"{entity.label} {mention} at {entity.start} is written twice"))
        unique[entity] = None
    return tuple(unique), problems


def _by_edit_script(text: str, copy: str, entities: Sequence[Entity], problems: list[Problem]) -> list[Entity | None]:
    n = len(copy)
    where = [-1] * n  # for each character of the copy, its offset in the text
    kept = reached = 0
    for i, j, length in equals(text, copy):
        where[i : i + length] = range(j, j + length)
        kept, reached = kept + length, j + length
    lost, added, tail = len(text) - kept, n - kept, text[reached:]
    problems.append(
        Problem("invalid", f"the copy differs from the text: {lost} characters missing or changed, {added} added")
    )
    if tail.strip():
        problems.append(Problem("truncated", f"the copy ends {len(tail)} characters before the text does"))
    places = _Places(text, copy, where) if entities else None
    placed: list[Entity | None] = []
    for entity in entities:
        span = places.of(*entity.span) if places is not None else None
        if span is None:
            problems.append(Problem("dropped", f"{entity.label} {_mention(copy, entity)} is not in the text"))
            placed.append(None)
            continue
        if span != entity.span or text[slice(*span)] != copy[entity.start : entity.end]:
            problems.append(Problem("realigned", f"{entity.label} {_mention(copy, entity)} placed at {span[0]}"))
        placed.append(Entity(*span, entity.label, entity.score))
    return placed


class _Places:
    """Maps mentions of a copy to spans of the text.

    Args:
        text: the text.
        copy: the copy.
        where: for each character of the copy, its offset in the text, -1 if it has none.
    """

    def __init__(self, text: str, copy: str, where: list[int]) -> None:
        self._text, self._copy, n = text, copy, len(copy)
        # For each offset of the copy: how many earlier characters are in the text; the last that is, and the next.
        self._count, self._last, self._next = [0] * (n + 1), [-1] * (n + 1), [-1] * (n + 1)
        for i, j in enumerate(where):
            self._count[i + 1] = self._count[i] + (j >= 0)
            self._last[i + 1] = j if j >= 0 else self._last[i]
        for i in range(n - 1, -1, -1):
            self._next[i] = where[i] if where[i] >= 0 else self._next[i + 1]
        starts, ends = boundaries(text, "word")
        self._starts = [i for i, free in enumerate(starts) if free]
        self._ends = [i for i, free in enumerate(ends) if free]
        self._copy_starts, self._copy_ends = boundaries(copy, "word")

    def of(self, start: int, end: int) -> Span | None:
        """The span of the text for `[start, end)` of the copy, located by the characters at its edges."""
        found = list[tuple[tuple[int, int], Span]]()
        for begin in dict.fromkeys((start, end - len(without_article(self._copy[start:end])))):
            first, behind = self._next[begin], self._last[end] + 1
            if not 0 <= first < behind:
                continue
            some_starts = _around(first, self._starts) if self._copy_starts[begin] else [first]
            some_ends = _around(behind, self._ends) if self._copy_ends[end] else [behind]
            if end - begin > FULL_COMPARISON_CHARS:  # compared by its aligned characters
                first, behind = some_starts[0], some_ends[-1]
                kept = self._count[end] - self._count[begin]
                return (first, behind) if kept >= MIN_OVERLAP * max(end - begin, behind - first) else None
            for span in product(some_starts, some_ends):
                cost = changes(self._copy[begin:end], self._text[slice(*span)]) if span[0] < span[1] else None
                if cost is not None:
                    found.append((cost, span))
        return min(found)[1] if found else None


def _around(place: int, edges: list[int]) -> list[int]:
    """The offset itself if it is an edge, else the nearest edges before and after it."""
    index = bisect_left(edges, place)
    return edges[index : index + 1] if edges[index : index + 1] == [place] else edges[max(0, index - 1) : index + 1]


def equals(text: str, copy: str) -> Iterator[Equal]:
    """The stretches that a copy shares with its text, in order, without overlap."""
    begin = common_prefix(text, copy)
    end = min(common_prefix(text[::-1], copy[::-1]), min(len(text), len(copy)) - begin)
    if end < ANCHOR:
        end = 0
    if begin:
        yield 0, 0, begin
    yield from _windows(text, copy, begin, len(text) - end, len(copy) - end)
    if end:
        yield len(copy) - end, len(text) - end, end


def _windows(text: str, copy: str, at: int, text_end: int, copy_end: int) -> Iterator[Equal]:
    i = j = at  # everything before these offsets of copy and text is aligned
    anchors: dict[str, list[int]] | None = None
    while i < copy_end and j < text_end:
        whole = copy_end - i <= ALIGN_WINDOW_CHARS and text_end - j <= ALIGN_WINDOW_CHARS
        stop_i, stop_j = min(i + ALIGN_WINDOW_CHARS, copy_end), min(j + ALIGN_WINDOW_CHARS, text_end)
        some = [
            (i + block.src_start, j + block.dest_start, block.src_end - block.src_start)
            for block in Levenshtein.opcodes(copy[i:stop_i], text[j:stop_j])
            if block.tag == "equal"
        ]
        if whole:
            yield from some
            return
        # After the last long stretch a window is unreliable: the matching text may lie beyond the window.
        known = next((k for k in range(len(some) - 1, -1, -1) if some[k][2] >= ANCHOR), None)
        if known is not None:
            yield from some[: known + 1]
            i, j = some[known][0] + some[known][2], some[known][1] + some[known][2]
            continue
        if anchors is None:
            anchors = {}
            for place in range(j, text_end - ANCHOR + 1):
                anchors.setdefault(text[place : place + ANCHOR], []).append(place)
        met = _meeting(copy, anchors, i, j, copy_end)
        if met is None:
            return
        i, j = met


def _meeting(copy: str, anchors: dict[str, list[int]], i: int, j: int, copy_end: int) -> tuple[int, int] | None:
    """The next offset in the copy of an anchor of the text that occurs once from `j` on, and its offset in the text."""
    for k in range(i, copy_end - ANCHOR + 1):
        places = anchors.get(copy[k : k + ANCHOR])
        if places is not None and len(places) == 1 and places[0] >= j and (k > i or places[0] > j):
            return k, places[0]
    return None


def common_prefix(one: str, other: str) -> int:
    """The length of the longest common prefix of two texts."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _mention(copy: str, entity: Entity) -> str:
    return brief(copy[entity.start : min(entity.end, entity.start + 100)])
