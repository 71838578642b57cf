"""Rewriting texts with offsets that can be mapped in both directions.

A `Rewrite` changes a document's text by removing characters or replacing them one for one; it never removes the edges
of entities. The law: for `made, way = rewrite.apply(document)`, `way.back(made) == document`, exactly, and any other
entity in the new text maps back to its source in the old text.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace

from genner.document import Document, DocumentT, Entity
from genner.errors import DocumentError


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """Maps between a text and its rewriting: code point `after[i]` comes from `before[origin[i]]`; ascending."""

    before: str
    after: str
    origin: tuple[int, ...]

    def forth(self, entity: Entity) -> Entity:
        """The entity in the new text. Raises `DocumentError` when its first or last character was removed."""
        start = bisect_left(self.origin, entity.start)
        last = bisect_left(self.origin, entity.end - 1)
        if self.origin[start : start + 1] != (entity.start,) or self.origin[last : last + 1] != (entity.end - 1,):
            raise DocumentError(f"[{entity.start}, {entity.end}) starts or ends with a character that was left out")
        return Entity(start, last + 1, entity.label, entity.score)

    def back(self, document: DocumentT) -> DocumentT:
        """The document, or prediction, on the old text. Raises `DocumentError` when its text is not the new text."""
        if document.text != self.after:
            raise DocumentError(f"document {document.id!r} does not have the text that this map leads back from")
        entities = tuple(
            Entity(self.origin[e.start], self.origin[e.end - 1] + 1, e.label, e.score) for e in document.entities
        )
        return replace(document, text=self.before, entities=entities)

    def then(self, other: "OffsetMap") -> "OffsetMap":
        """The composition: this map, then another one that starts from its new text."""
        return OffsetMap(self.before, other.after, tuple(self.origin[i] for i in other.origin))


class Rewrite(ABC):
    """A way to rewrite texts."""

    @abstractmethod
    def edit(self, document: Document) -> OffsetMap:
        """The new text and the origin of its characters. No entity starts or ends with a removed character."""

    def apply(self, document: DocumentT) -> tuple[DocumentT, OffsetMap]:
        """The rewritten document, and its map to the original."""
        way = self.edit(document)
        entities = tuple(way.forth(e) for e in document.entities)
        return replace(document, text=way.after, entities=entities), way


@dataclass(frozen=True)
class Chain(Rewrite):
    """Rewrites one after the other."""

    steps: tuple[Rewrite, ...]

    def edit(self, document: Document) -> OffsetMap:
        way = same(document.text)
        for step in self.steps:
            document, further = step.apply(document)
            way = way.then(further)
        return way


def same(text: str) -> OffsetMap:
    """The map of a text onto itself."""
    return OffsetMap(text, text, tuple(range(len(text))))


def without(document: Document, cut: Iterable[int]) -> OffsetMap:
    """Remove the characters at these offsets, except those with which an entity starts or ends."""
    edges = {at for e in document.entities for at in (e.start, e.end - 1)}
    gone = set(cut) - edges
    origin = tuple(i for i in range(len(document.text)) if i not in gone)
    return OffsetMap(document.text, "".join(document.text[i] for i in origin), origin)
