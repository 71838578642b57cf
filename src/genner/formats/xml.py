r"""Inline XML: the text copied out, each entity as `<PER>John Smith</PER>`; nested tags nest.

The text itself may contain anything. Where it spells a tag of the label set, as in a literal `<PER>`, a backslash is
put after its `<`; where it spells such an escaped tag, one more. Nothing else is escaped: `a < b`, `<br>` and `C:\x`
stay as they are. This can be read in one way only: no tag occurs in the copy of the text, and since a tag has one `<`
and one `>`, at its ends, none can arise where a tag is put in.
"""

import re
from collections import Counter
from collections.abc import Iterable

from genner.document import Entity, LabelSet, Problem
from genner.formats.base import exported_depth
from genner.formats.inline import InlineFormat, escaped, unescaped
from genner.formats.inline_grammar import MarkupTag
from genner.formats.inline_lark import nested_terminals
from genner.formats.json_answer import brief
from genner.grammar import FLAT, Constraints


class InlineXML(InlineFormat):
    name = "inline_xml"
    instruction = "Copy the text with each entity as <LABEL>mention</LABEL>"
    example = "<PER>John Smith</PER> reported from <LOC>New York</LOC>."
    forbidden_start_chars = ("<",)

    def tags(self, labels: LabelSet) -> tuple[list[MarkupTag], list[MarkupTag]]:
        return [MarkupTag("<", f"{tag}>") for tag in labels.tags], [MarkupTag("</", f"{tag}>") for tag in labels.tags]

    def escape(self, text: str, labels: LabelSet) -> list[str]:
        return escaped(text, _escapable(labels))

    def lark(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> str:
        """The language of `rules`, in a form that stays small however deep entities are nested."""
        depth = exported_depth(self.name, constraints)
        opening, closing = self.tag_texts(labels)
        places = self.places(text, constraints.boundaries)
        return nested_terminals(text, self.escape(text, labels), opening, closing, places, depth)

    def parse(self, text: str, answer: str, labels: LabelSet) -> tuple[str, list[Entity], list[Problem]]:
        """A closing tag closes the nearest open entity of its label; those opened since are dropped."""
        problems: list[Problem] = []
        copy: list[str] = []
        length = begin = 0
        literal, in_text = _escapable(labels), {match.group() for match in _ANY_TAG.finditer(text)}
        stack: list[tuple[str, int]] = []
        opened, unknown = Counter[str](), Counter[str]()  # open tags, and those of labels that were not asked for
        found: list[Entity] = []
        for match in _ANY_TAG.finditer(answer):
            escapes, slash, label = match.groups()
            if escapes or (label not in labels and match.group() in in_text):
                continue  # a literal, copied with the rest (and unescaped there)
            piece = unescaped(answer[begin : match.start()], literal)
            copy.append(piece)
            length, begin = length + len(piece), match.end()
            if label not in labels:
                if slash and unknown[label]:
                    unknown[label] -= 1
                    continue  # reported when it was opened
                problems.append(Problem("dropped", f"tag {brief(match.group())}: no such label"))
                if not slash:
                    unknown[label] += 1
            elif not slash:
                stack.append((label, length))
                opened[label] += 1
            elif not opened[label]:
                problems.append(Problem("invalid", f"{match.group()!r} at {length} closes nothing"))
            else:
                while stack[-1][0] != label:
                    other, start = stack.pop()
                    opened[other] -= 1
                    problems.append(Problem("dropped", f"<{other}> opened at {start} is not closed"))
                start = stack.pop()[1]
                opened[label] -= 1
                if start == length:
                    problems.append(Problem("dropped", f"<{label}> at {start} is empty"))
                else:
                    found.append(Entity(start, length, label))
        copy.append(unescaped(answer[begin:], literal))
        problems += [Problem("dropped", f"<{label}> opened at {start} is not closed") for label, start in stack]
        return "".join(copy), found, problems

    def unasked(self, text: str, answer: str, labels: LabelSet) -> Iterable[str]:
        in_text = {match[3] for match in _ANY_TAG.finditer(text)}
        tags = (match[3] for match in _ANY_TAG.finditer(answer) if not match[1])
        return (tag for tag in tags if tag not in labels and tag not in in_text)


# Anything that looks like a tag, or like the escaped spelling of one.
_ANY_TAG = re.compile(r"<(\\*)(/?)([^\s<>\\/][^<>\\/]*)>")


def _escapable(labels: LabelSet) -> re.Pattern[str]:
    return re.compile(rf"<\\*/?(?:{'|'.join(map(re.escape, labels.tags))})>")
