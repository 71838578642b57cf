"""Base of the inline formats: the text copied out, with a tag where an entity opens and one where it closes.

A format defines its tags (`tags`), how it escapes a text that collides with them (`escape`), and how it finds both in
an answer that is not legal (`lex`). The grammar, the rules for other engines and the parser are shared.
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from genner.boundaries import Boundaries, boundaries, first_ends
from genner.cfg import ContextFreeGrammar
from genner.document import Document, Entity, Label, LabelSet, Prediction
from genner.errors import LabelError
from genner.formats.align import common_prefix
from genner.formats.base import Format, StrictReading, check_labels, crossing_entities, exported_depth, tag_order
from genner.formats.inline_cfg import inline_rules
from genner.formats.inline_grammar import InlineGrammar
from genner.formats.inline_parser import Mark, Parsed, parse_marks
from genner.formats.inline_tags import ANY_LABEL, INLINE_DECISIONS, MarkupTag
from genner.formats.json_answer import load
from genner.grammar import FLAT, UNCONSTRAINED, Constraints

_ANY_LABELS = LabelSet.of("ENTITY")  # for cases where the requested labels do not matter

DEEP = 64  # from this many open entities, a copy is read only in its encoded form


class InlineFormat(Format):
    """A format whose answer is the text with tags put in."""

    decision_kinds = INLINE_DECISIONS

    @abstractmethod
    def tags(self, labels: LabelSet) -> tuple[list[MarkupTag], list[MarkupTag]]:
        """Opening and closing tags: one per label, in label order, or a single one that all labels share."""

    @abstractmethod
    def escape(self, text: str, labels: LabelSet) -> list[str]:
        """For each code point of `text`, its spelling in an answer: nearly always itself."""

    unclosed_is_text: bool = False
    """Whether an opening tag that is never closed is read as unescaped text."""

    @abstractmethod
    def lex(self, text: str, answer: str, labels: LabelSet) -> Iterator[str | Mark]:
        """Split an answer that is not legal into copied text, unescaped, and tags. Takes any string.

        The text distinguishes a tag from text that looks like one. A tag may name a label that was not asked for.
        """

    def parse(self, text: str, answer: str, labels: LabelSet) -> Parsed:
        opening, closing = self.tags(labels)
        both_named = bool(opening[0].name and closing[0].name)
        pieces = self.lex(text, answer, labels)
        return parse_marks(pieces, both_named=both_named, unclosed_is_text=self.unclosed_is_text)

    def encode(self, document: Document, labels: LabelSet) -> str:
        check_labels(document, labels)
        return self._written(
            document.text, tag_order(self.check_encodable(document), labels, len(document.text)), labels
        )

    def _written(self, text: str, places: Sequence[tuple[list[Entity], list[Entity]]], labels: LabelSet) -> str:
        """The text with tags: at each place, first the tags of entities that close, then of those that open."""
        opening, closing = (dict(zip(labels.tags, _each(tags, labels), strict=True)) for tags in self.tag_texts(labels))
        copies = [*self.escape(text, labels), ""]
        out = []
        for copy, (closed, opened) in zip(copies, places, strict=True):
            out += [closing[e.label] for e in closed]
            out += [opening[e.label] for e in opened]
            out.append(copy)
        return "".join(out)

    def grammar(self, text: str, labels: LabelSet, constraints: Constraints = UNCONSTRAINED) -> InlineGrammar:
        opening, closing = (_numbered(tags, labels) for tags in self.tags(labels))
        copies = [*map(str.encode, self.escape(text, labels))]
        return InlineGrammar(text, labels, copies, opening, closing, constraints, self.forbidden_start_chars)

    def rules(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> ContextFreeGrammar:
        """Exact for flat entities; for nested ones, a span may get the same label twice."""
        depth = exported_depth(self.name, constraints)
        opening, closing = self.tag_texts(labels)
        places = self.places(text, constraints.boundaries)
        rules = inline_rules(text, self.escape(text, labels), opening, closing, places, depth)
        return ContextFreeGrammar(rules).pruned()

    def tag_texts(self, labels: LabelSet) -> tuple[list[str], list[str]]:
        """Opening and closing tags as strings."""
        opening, closing = self.tags(labels)
        return [tag.text for tag in opening], [tag.text for tag in closing]

    def places(self, text: str, where: Boundaries) -> tuple[list[bool], list[bool], list[int]]:
        """Where entities may start, where they may end, and the first end after each start."""
        starts, ends = boundaries(text, where, self.forbidden_start_chars)
        return starts, ends, first_ends(text, where, ends)

    def legal(self, text: str, answer: str, labels: LabelSet) -> tuple[Entity, ...] | None:
        copy, entities, problems = self.parse(text, answer, labels)
        if not problems and copy == text and len(set(entities)) == len(entities):
            # Entities are in closing order. Are the tags the same in the same places, and the text copied correctly?
            places: list[tuple[list[Entity], list[Entity]]] = [([], []) for _ in range(len(text) + 1)]
            for entity in entities:
                places[entity.end][0].append(entity)
            outer_first = entities[::-1]
            for entity in sorted(outer_first, key=lambda e: -e.end):  # stable
                places[entity.start][1].append(entity)
            if self._written(text, places, labels) == answer:
                return tuple(entities)
        # A tag inside text that looks like a tag can only be read by the automaton, whose states hold all open
        # entities.
        if self._depth(answer, labels) > DEEP:
            return None
        written = self.grammar(text, labels).read(answer.encode("utf-8"))
        return None if written is None else tuple(Entity(w.start, w.end, w.label) for w in written)

    def unasked(self, text: str, answer: str, labels: LabelSet) -> Iterable[str]:
        """The labels that an answer names though they were not asked for."""
        marks = (piece for piece in self.lex(text, answer, labels) if isinstance(piece, Mark))
        return [mark.name for mark in marks if mark.label is None and mark.name]

    def parse_strictly(self, text: str, answer: str, labels: LabelSet) -> StrictReading:
        """An entity counts if the copy equals the text up to its end."""
        there, wrong = self._in_copy(text, answer, labels)
        entities, not_there = list(there), Counter(e.label for e in wrong)
        # Requested labels are read as by `parse`: other labels do not affect them.
        if others := tuple(Label(tag) for tag in dict.fromkeys(self.unasked(text, answer, labels)) if is_tag(tag)):
            there, wrong = self._in_copy(text, answer, LabelSet((*labels.labels, *others)))
            entities += [e for e in there if e.label not in labels]
            not_there += Counter(e.label for e in wrong if e.label not in labels)
        return StrictReading(tuple(entities), not_there)

    def _in_copy(self, text: str, answer: str, labels: LabelSet) -> tuple[list[Entity], list[Entity]]:
        """The entities that end where the copy still equals the text, and the others; each once."""
        copy, entities, _ = self.parse(text, answer, labels)
        same, unique = common_prefix(text, copy), dict.fromkeys(entities)
        return [e for e in unique if e.end <= same], [e for e in unique if e.end > same]

    def _depth(self, answer: str, labels: LabelSet) -> int:
        """The maximum number of tags open at once."""
        opening, closing = self.tag_texts(labels)
        opens, most, depth = frozenset(opening), 0, 0
        for match in re.finditer("|".join(map(re.escape, [*opening, *closing])), answer):
            depth = depth + 1 if match.group() in opens else max(0, depth - 1)
            most = max(most, depth)
        return most

    def copies_in(self, labels: LabelSet) -> int:
        return 1

    def copied(self, answer: str, labels: LabelSet) -> Prediction:
        text, entities, problems = self.parse("", self.reply("", answer, labels), labels)
        return Prediction(text, tuple(dict.fromkeys(entities)), problems=tuple(problems))

    def labels_in(self, answer: str, text: str = "") -> Iterable[str]:
        if isinstance(load(answer), list | dict):
            return []  # an answer in JSON, whatever its strings contain
        named = Counter(self.named_in(answer))
        return [label for (written, label), n in named.items() if n > text.count(written)]

    def named_in(self, answer: str) -> Iterable[tuple[str, str]]:
        """For each entity of an answer, the tag that names its label, as written, and the label; empty for a format
        whose tags do not name labels. Takes any string, in linear time."""
        marks = (piece for piece in self.lex("", answer, _ANY_LABELS) if isinstance(piece, Mark))
        return [(mark.written, mark.name) for mark in marks if mark.name]

    def unencodable(self, document: Document) -> list[Entity]:
        return crossing_entities(document.entities)


def _each(tags: list[str], labels: LabelSet) -> list[str]:
    return tags if len(tags) == len(labels) else tags * len(labels)


def _numbered(tags: list[MarkupTag], labels: LabelSet) -> list[tuple[MarkupTag, int]]:
    return [(tag, i) for i, tag in enumerate(tags)] if len(tags) == len(labels) else [(tags[0], ANY_LABEL)]


def is_tag(tag: str) -> bool:
    """Whether a string can be a label's tag."""
    try:
        Label(tag)
    except LabelError:
        return False
    return True


def escaped(text: str, literal: re.Pattern[str]) -> list[str]:
    """Each code point as itself, but with a backslash after the `<` of whatever looks like a tag, escaped or not."""
    copies = list(text)
    if "<" in text:
        for match in literal.finditer(text):
            copies[match.start()] = "<\\"
    return copies


def unescaped(piece: str, literal: re.Pattern[str]) -> str:
    """A piece of an answer with one backslash removed from whatever looks like an escaped tag."""
    return literal.sub(lambda m: m.group().replace("\\", "", 1), piece) if "<\\" in piece else piece


__all__ = ["InlineFormat", "Mark", "MarkupTag", "escaped", "is_tag", "unescaped"]
