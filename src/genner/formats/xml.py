r"""Inline XML: the text copied out, each entity as `<PER>John Smith</PER>`; nested tags nest.

The text itself may contain anything. Where it spells a tag of the label set, as in a literal `<PER>`, a backslash is
put after its `<`; where it spells such an escaped tag, one more. Nothing else is escaped: `a < b`, `<br>` and `C:\x`
are unchanged. The reading is unique: no tag occurs in the copy of the text, and since a tag has one `<` and one `>`, at
its ends, inserting a tag cannot create another.
"""

import re
from collections.abc import Iterable, Iterator
from operator import or_

from genner.document import LabelSet
from genner.formats.base import exported_depth
from genner.formats.inline import InlineFormat, Mark, MarkupTag, escaped, unescaped
from genner.formats.inline_lark import nested_terminals
from genner.formats.published import PublishedAnswer, published_copy
from genner.formats.published_copy import tags
from genner.grammar import FLAT, Constraints

SMALL_RULES = 600  # rules of an exported grammar that is sent with each request: up to some 60,000 characters


class InlineXML(InlineFormat):
    name = "inline_xml"
    instruction = "Copy the text with each entity as <LABEL>mention</LABEL>"
    example = "<PER>John Smith</PER> reported from <LOC>New York</LOC>."
    forbidden_start_chars = ("<",)
    rules_grow_with_depth = True  # each closing tag names its label

    def tags(self, labels: LabelSet) -> tuple[list[MarkupTag], list[MarkupTag]]:
        return [MarkupTag("<", f"{tag}>") for tag in labels.tags], [MarkupTag("</", f"{tag}>") for tag in labels.tags]

    def escape(self, text: str, labels: LabelSet) -> list[str]:
        return escaped(text, _escapable(labels))

    def small_depth(self, text: str, labels: LabelSet, depth: int) -> int:
        """Each closing tag names its label, so there is a rule for each place and each stack of open labels."""
        starts, ends, _ = self.places(text, "strict")
        places = sum(map(or_, starts, ends))
        fits = (deep for deep in range(2, depth + 1) if places * len(labels) ** deep <= SMALL_RULES)
        return max(fits, default=1)

    def lark(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> str:
        """The language of `rules`, in a form that stays small however deep entities are nested."""
        depth = exported_depth(self.name, constraints)
        opening, closing = self.tag_texts(labels)
        places = self.places(text, constraints.boundaries)
        return nested_terminals(text, self.escape(text, labels), opening, closing, places, depth)

    def lex(self, text: str, answer: str, labels: LabelSet) -> Iterator[str | Mark]:
        """A tag of a label that was not asked for is text if the text has it."""
        literal, in_text = _escapable(labels), {match.group() for match in _ANY_TAG.finditer(text)}
        begin = 0
        for match in _ANY_TAG.finditer(answer):
            escapes, slash, label = match.groups()
            if escapes or (label not in labels and match.group() in in_text):
                continue  # a literal, copied with the rest (and unescaped there)
            yield unescaped(answer[begin : match.start()], literal)
            yield Mark(match.group(), bool(slash), label if label in labels else None, label)
            begin = match.end()
        yield unescaped(answer[begin:], literal)

    def read_published(self, text: str, answer: str, labels: LabelSet) -> PublishedAnswer | None:
        return published_copy(text, answer, tags(labels))

    def named_in(self, answer: str) -> Iterator[tuple[str, str]]:
        """The closing tags that have an opening tag before them."""
        opened = set[str]()
        for match in _ANY_TAG.finditer(answer):
            _, slash, label = match.groups()
            if not slash:
                opened.add(label)
            elif label in opened:
                yield match.group(), label.strip()

    def unasked(self, text: str, answer: str, labels: LabelSet) -> Iterable[str]:
        in_text = {match[3] for match in _ANY_TAG.finditer(text)}
        tags = (match[3] for match in _ANY_TAG.finditer(answer) if not match[1])
        return (tag for tag in tags if tag not in labels and tag not in in_text)


# Anything that looks like a tag, or like the escaped spelling of one.
_ANY_TAG = re.compile(r"<(\\*)(/?)([^\s<>\\/][^<>\\/]*)>")


def _escapable(labels: LabelSet) -> re.Pattern[str]:
    return re.compile(rf"<\\*/?(?:{'|'.join(map(re.escape, labels.tags))})>")
