"""Reads inline answers without escapes by comparing them with their text.

The answer is compared with the text character by character. A possible tag is either a tag or text that looks like one;
nearly always the text decides, as in `[PDGF[B] | protein]` about `PDGF[B]`. All readings are followed in parallel. If
several reach the end, the one whose mentions hold the fewest unmatched brackets wins: `[[125I]-insulin | protein]` is
about `[125I]-insulin`, not `125I]-insulin`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from genner.document import Entity, LabelSet

MAX_PARALLEL_READINGS = 200  # readings followed in parallel

Opened = tuple["Opened", str, int] | None
"""The open tags as a linked list, innermost first: the outer open tags, its label ("" if the closing tag names it), its
start."""
EntityChain = tuple["EntityChain", Entity] | None


class PossibleTag(NamedTuple):
    """A possible tag: its spelling, whether it closes, and its label ("" if it has none)."""

    written: str
    closes: bool
    label: str


class CopyState(NamedTuple):
    """The progress of a reading: offset in the text, open tags, their number, and the entities found."""

    at: int
    opened: Opened
    depth: int
    found: EntityChain


def tags(labels: LabelSet) -> "Copies":
    """`<PER>John Smith</PER>`; a closing tag closes the innermost open tag of its label."""
    return Copies(re.compile(rf"<(?P<close>/?)(?P<label>{_any(labels)})>"))


def brackets(labels: LabelSet) -> "Copies":
    """`[John Smith | PER]`; a closing bracket closes the innermost open one."""
    # Blanks are matched from the first on, possessively: else each blank of a run would rescan the run.
    return Copies(re.compile(rf"\[|(?P<close>(?<!\s)\s*+\|)\s*+(?P<label>{_any(labels)})\s*+\]"))


def _any(labels: LabelSet) -> str:
    return "|".join(map(re.escape, sorted(labels.tags, key=len, reverse=True)))


class Copies:
    """Reads copies with tags that match `mark`, whose groups are `close` and `label`."""

    def __init__(self, mark: re.Pattern[str]) -> None:
        self._mark = mark

    def read(self, text: str, answer: str, *, blanks: bool = True) -> list[Entity] | None:
        """The entities of an answer about `text`, duplicates included; None if it has no reading, or several.

        With `blanks=False`, blanks are ignored in both; mentions then begin and end with other characters.
        """
        if blanks:
            return self._best(text, [*self._pieces(answer)])
        kept = [i for i, char in enumerate(text) if not char.isspace()]
        pieces = [_without_blanks(piece) for piece in self._pieces(answer)]
        found = self._best("".join(text[i] for i in kept), pieces)
        if found is None:
            return None
        return [Entity(kept[e.start], kept[e.end - 1] + 1, e.label) for e in found]

    def _pieces(self, answer: str) -> Iterator[str | PossibleTag]:
        at = 0
        for match in self._mark.finditer(answer):
            yield answer[at : match.start()]
            yield PossibleTag(match.group(), bool(match["close"]), match["label"] or "")
            at = match.end()
        yield answer[at:]

    def _best(self, text: str, pieces: list[str | PossibleTag]) -> list[Entity] | None:
        readings = [CopyState(0, None, 0, None)]
        closings = sum(isinstance(piece, PossibleTag) and piece.closes for piece in pieces)
        for piece in pieces:
            written = piece.written if isinstance(piece, PossibleTag) else piece
            further = [r._replace(at=r.at + len(written)) for r in readings if text.startswith(written, r.at)]
            if isinstance(piece, PossibleTag):
                further += [marked for r in readings if (marked := _marked(r, piece)) is not None]
                closings -= piece.closes
            readings = [r for r in further if r.depth <= closings]
            if not 0 < len(readings) <= MAX_PARALLEL_READINGS:
                return None
        whole = [_entities(r.found) for r in readings if r.at == len(text) and r.opened is None]
        partners = [sum(_alone(text[e.start : e.end]) for e in entities) for entities in whole]
        best = [entities for entities, alone in zip(whole, partners, strict=True) if alone == min(partners)]
        return best[0] if len({tuple(sorted(entities)) for entities in best}) == 1 else None


def _without_blanks(piece: str | PossibleTag) -> str | PossibleTag:
    if isinstance(piece, PossibleTag):
        return piece._replace(written="".join(piece.written.split()))
    return "".join(piece.split())


def _marked(reading: CopyState, mark: PossibleTag) -> CopyState | None:
    """The reading with a tag here; None if no tag is possible: it would close nothing, or enclose nothing."""
    at, opened, depth, found = reading
    if not mark.closes:
        return CopyState(at, (opened, mark.label, at), depth + 1, found)
    inner: list[tuple[str, int]] = []  # opened later, by tags of other labels
    while opened is not None and opened[1] not in ("", mark.label):
        inner.append(opened[1:])
        opened = opened[0]
    if opened is None or opened[2] == at:
        return None
    outer, _, start = opened
    for other in reversed(inner):
        outer = (outer, *other)
    return CopyState(at, outer, depth - 1, (found, Entity(start, at, mark.label)))


def _entities(found: EntityChain) -> list[Entity]:
    entities: list[Entity] = []
    while found is not None:
        found, entity = found
        entities.append(entity)
    return entities[::-1]


def _alone(mention: str) -> int:
    """The number of unmatched brackets in a mention."""
    opened = alone = 0
    for char in mention:
        if char == "[":
            opened += 1
        elif char == "]":
            opened, alone = max(0, opened - 1), alone + (not opened)
    return opened + alone
