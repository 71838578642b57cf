"""What the inline formats share: the text copied out, a tag where an entity opens and one where it closes.

A format says what its tags are, and how it escapes a text that collides with them. That is all there is to encoding;
the grammar is `InlineGrammar`, and reading what is not legal is the format's own.
"""

import re
from abc import abstractmethod

from genner.document import Document, Entity, LabelSet
from genner.formats.base import Format, check_labels, crossing_entities, tag_order
from genner.formats.inline_grammar import ANY_LABEL, InlineGrammar
from genner.formats.inline_rules import inline_rules
from genner.grammar import Boundaries, boundaries, first_ends
from genner.rules import Rules


class InlineFormat(Format):
    """A format whose answer is the text with tags put in."""

    @abstractmethod
    def tags(self, labels: LabelSet) -> tuple[list[str], list[str]]:
        """Opening and closing tags: one for each label in its order, or a single one that all labels share."""

    @abstractmethod
    def copies(self, text: str, labels: LabelSet) -> list[str]:
        """For each code point of `text`, how it is written: nearly always as itself."""

    def encode(self, document: Document, labels: LabelSet) -> str:
        check_labels(document, labels)
        opening, closing = (dict(zip(labels.tags, _each(tags, labels), strict=True)) for tags in self.tags(labels))
        places = tag_order(self.keep_all(document), labels, len(document.text))
        copies = [*self.copies(document.text, labels), ""]
        out = []
        for copy, (closed, opened) in zip(copies, places, strict=True):
            out += [closing[e.label] for e in closed]
            out += [opening[e.label] for e in opened]
            out.append(copy)
        return "".join(out)

    def grammar(
        self,
        text: str,
        labels: LabelSet,
        *,
        where: Boundaries = "any",
        depth: int | None = None,
        twins: bool = True,
        repeats: bool = False,
    ) -> InlineGrammar:
        opening, closing = ([(tag.encode(), i) for i, tag in _numbered(tags, labels)] for tags in self.tags(labels))
        copies = [copy.encode() for copy in self.copies(text, labels)]
        return InlineGrammar(
            text, labels, copies, opening, closing, where, depth=depth, twins=twins, sealed=self.sealed
        )

    def rules(self, text: str, labels: LabelSet, *, where: Boundaries = "strict", depth: int = 1) -> Rules:
        """Exact for flat entities; of nested ones, the same span may be given the same label twice."""
        starts, ends = boundaries(text, where, self.sealed)
        places = starts, ends, first_ends(text, where, ends)
        return Rules(inline_rules(text, self.copies(text, labels), *self.tags(labels), places, depth)).pruned()

    def copies_in(self, labels: LabelSet) -> int:
        return 1

    def cannot_say(self, document: Document) -> list[Entity]:
        return crossing_entities(document.entities)


def _each(tags: list[str], labels: LabelSet) -> list[str]:
    return tags if len(tags) == len(labels) else tags * len(labels)


def _numbered(tags: list[str], labels: LabelSet) -> list[tuple[int, str]]:
    return list(enumerate(tags)) if len(tags) == len(labels) else [(ANY_LABEL, tags[0])]


def escaped(text: str, literal: re.Pattern[str]) -> list[str]:
    """Each code point as itself, with a backslash after the `<` of whatever looks like a tag, escaped ones included."""
    copies = list(text)
    if "<" in text:
        for match in literal.finditer(text):
            copies[match.start()] = "<\\"
    return copies


def unescaped(piece: str, literal: re.Pattern[str]) -> str:
    """A piece of an answer with one backslash fewer in what looks like an escaped tag."""
    return literal.sub(lambda m: m.group().replace("\\", "", 1), piece) if "<\\" in piece else piece
