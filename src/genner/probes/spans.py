"""Groups of overlapping entities, and replacing such groups in texts.

All code that replaces or removes mentions works on *groups*: entities that overlap, directly or through others. The
outermost of nested entities covers its group, so the group is that mention. A group of crossing entities is replaced as
a whole and has the label of its longest entity (among equals, the first in reading order). So no part of an annotated
mention is left in the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from genner.document import Document, Entity
from genner.training.noise import pieced


@dataclass(frozen=True, slots=True)
class OverlapGroup:
    """Entities that overlap, in reading order, and the span [start, end) that they cover together."""

    start: int
    end: int
    members: tuple[Entity, ...]

    @property
    def head(self) -> Entity:
        """The longest entity; among equals, the first in reading order."""
        return min(self.members, key=lambda e: e.start - e.end)

    @property
    def label(self) -> str:
        return self.head.label

    @property
    def crossing(self) -> bool:
        """Whether no single entity covers the whole group."""
        return self.head.span != (self.start, self.end)

    @property
    def inner(self) -> tuple[Entity, ...]:
        """The entities besides the head, which a replacement removes."""
        return tuple(e for e in self.members if e != self.head)


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A mention without its context: its text, its label, and the entities inside it, with offsets from its start."""

    text: str
    label: str
    inner: tuple[Entity, ...] = ()


def groups(document: Document) -> list[OverlapGroup]:
    """The groups of a document, from left to right; they do not overlap."""
    made: list[OverlapGroup] = []
    for e in document.entities:
        if made and e.start < made[-1].end:
            last = made.pop()
            made.append(OverlapGroup(last.start, max(last.end, e.end), (*last.members, e)))
        else:
            made.append(OverlapGroup(e.start, e.end, (e,)))
    return made


def substituted(document: Document, names: Sequence[tuple[OverlapGroup, Name]]) -> Document:
    """The document with each of its groups, from left to right, replaced by a name; only the names are gold."""
    heads = tuple(Entity(group.start, group.end, name.label) for group, name in names)
    pieces = list(document.text)
    for group, name in names:
        pieces[group.start : group.end] = [name.text] + [""] * (group.end - group.start - 1)
    made = pieced(Document(document.text, heads, document.id), pieces)
    # A set: a name may have an inner entity of its own span.
    entities = {
        inner.shifted(e.start) for e, (_, name) in zip(made.entities, names, strict=True) for inner in name.inner
    }
    entities = entities.union(made.entities)
    return replace(document, text=made.text, entities=tuple(entities))
