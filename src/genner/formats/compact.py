r"""Compact: the text copied out, each entity as `<1>John Smith</>`, where 1 is the number of its label in the prompt.

A format of genner's own. Its few tags are the same for any label set. So each can be a single token
that is added to the vocabulary (`added_tokens`); an entity then costs two tokens, whatever its label is called. Without
added tokens, the tags are spelled with ordinary ones, and everything else stays the same.

Where the text spells a tag, as in a literal `<1>`, a backslash is put after its `<`; where it spells such an escaped
tag, one more. Nothing else is escaped. (Why this can be read in one way only: see `genner.formats.xml`.)
"""

import re
from collections.abc import Iterable, Iterator

from genner.document import LabelSet
from genner.formats.inline import InlineFormat, Mark, MarkupTag, escaped, unescaped

CLOSE = "</>"
MAX_LABEL_DIGITS = 4  # no label set has a number with this many digits
MAX_NUMBER_DIGITS = 9  # of a number in an answer that is read at all


class Compact(InlineFormat):
    name = "compact"
    instruction = "Copy the text with each entity as <N>mention</>, N the number of its label"
    example = "<1>John Smith</> reported from <2>New York</>."
    numbered = True
    forbidden_start_chars = ("<",)

    def tags(self, labels: LabelSet) -> tuple[list[MarkupTag], list[MarkupTag]]:
        return [MarkupTag("<", f"{number}>") for number in range(1, len(labels) + 1)], [MarkupTag(CLOSE)]

    def added_tokens(self, labels: LabelSet) -> list[str]:
        """The tags: the same for all label sets of this size."""
        opening, closing = self.tag_texts(labels)
        return [*opening, *closing]

    def escape(self, text: str, labels: LabelSet) -> list[str]:
        return escaped(text, _LITERAL)

    def lex(self, text: str, answer: str, labels: LabelSet) -> Iterator[str | Mark]:
        """What is escaped is text; any number is a tag."""
        begin = 0
        for match in _LITERAL.finditer(answer):
            if "\\" in match.group():
                continue  # a literal, copied with the rest (and unescaped there)
            yield unescaped(answer[begin : match.start()], _LITERAL)
            number = match.group(1)
            yield Mark(match.group(), number is None, "" if number is None else _label(number, labels))
            begin = match.end()
        yield unescaped(answer[begin:], _LITERAL)

    def unasked(self, text: str, answer: str, labels: LabelSet) -> Iterable[str]:
        numbers = (match[1] for match in _LITERAL.finditer(answer) if match[1] and "\\" not in match[0])
        most = max((int(number) for number in numbers if len(number) < MAX_LABEL_DIGITS), default=0)
        return (f"number {i}" for i in range(len(labels) + 1, most + 1))


def _label(number: str, labels: LabelSet) -> str | None:
    """The label of this number; None where no label has it."""
    if len(number) > MAX_NUMBER_DIGITS or not 1 <= int(number) <= len(labels):
        return None
    return labels.tags[int(number) - 1]


# What is escaped does not depend on how many labels there are: so the copy of a text is the same for any label set.
_LITERAL = re.compile(r"<\\*(?:([0-9]+)|/)>")
