r"""Inline bracketed: the text copied out, each entity as `[John Smith | PER]`; nested brackets nest.

An opening bracket names no label, so a `[` of the text is always written `\[`: otherwise it could not be distinguished
from an entity that begins there. Where the text spells a closing, as in a literal ` | PER]`, a backslash is put after
its bar; where it spells such an escaped closing, one more. Nothing else is escaped: `]`, `|` and `C:\x` stay.
"""

import re
from collections.abc import Iterable, Iterator

from genner.document import LabelSet
from genner.formats.inline import InlineFormat, Mark, MarkupTag
from genner.formats.published import PublishedAnswer, published_copy
from genner.formats.published_copy import brackets


class InlineBracketed(InlineFormat):
    name = "inline_bracketed"
    instruction = "Copy the text with each entity as [mention | LABEL]"
    example = "[John Smith | PER] reported from [New York | LOC]."
    forbidden_start_chars = ("[",)
    unclosed_is_text = True

    def tags(self, labels: LabelSet) -> tuple[list[MarkupTag], list[MarkupTag]]:
        return [MarkupTag("[")], [MarkupTag(" |", f" {tag}]") for tag in labels.tags]

    def escape(self, text: str, labels: LabelSet) -> list[str]:
        copies = ["\\[" if c == "[" else c for c in text]
        if "|" in text:
            for match in _closings(labels).finditer(text):
                copies[match.start() + 1] = "|\\"
        return copies

    def lex(self, text: str, answer: str, labels: LabelSet) -> Iterator[str | Mark]:
        """What looks like a closing, of a label that was not asked for, is text where no bracket is open, or where the
        text has one of this name."""
        literal = _escapable(labels)
        in_text = {match.group(1).strip() for match in _MARK.finditer(text) if match.group(1) is not None}
        begin = opened = 0
        for match in _MARK.finditer(answer):
            before, label = answer[begin : match.start()], match.group(1)
            begin = match.end()
            if label is None:
                yield literal.sub(r"\1", before)
                yield "[" if match.group() == "\\[" else Mark("[", False, "")
                opened += match.group() == "["
            elif (name := label.strip()) not in labels and (not opened or name in in_text):
                yield literal.sub(r"\1", before)
                yield match.group()
            else:
                # As it should be written, one blank belongs to the closing; otherwise, as many as there are.
                proper = before.endswith(" ") and label == f" {name}"
                shown = before[:-1] if proper else before.rstrip()
                yield literal.sub(r"\1", shown)
                written = before[len(shown) :] + match.group()
                yield Mark(written, True, name if name in labels else None, name, f" | {name}]")
                opened = max(0, opened - 1)
        yield literal.sub(r"\1", answer[begin:])

    def read_published(self, text: str, answer: str, labels: LabelSet) -> PublishedAnswer | None:
        return published_copy(text, answer, brackets(labels))

    def named_in(self, answer: str) -> Iterator[tuple[str, str]]:
        return ((match.group(), match[1].strip()) for match in _ANY_CLOSING.finditer(answer))

    def unasked(self, text: str, answer: str, labels: LabelSet) -> Iterable[str]:
        in_text = {match[1].strip() for match in _MARK.finditer(text) if match[1] is not None}
        tags = (match[1].strip() for match in _MARK.finditer(answer) if match[1] is not None)
        return (tag for tag in tags if tag not in labels and tag not in in_text)


# Without a way back, so that blanks and bars are gone through once. The blanks before a bar are looked at afterwards.
_MARK = re.compile(r"\\\[|\[|\|([^\[\]|\\]*+)\]")
_ANY_CLOSING = re.compile(r"\s\|\s([^\[\]|\\]+)\]")


def _escapable(labels: LabelSet) -> re.Pattern[str]:
    # A look-ahead, since a closing that follows at once may share no character, but its blank must be seen.
    tags = "|".join(map(re.escape, labels.tags))
    return re.compile(rf"( \|)\\(?=\\* (?:{tags})\])")


def _closings(labels: LabelSet) -> re.Pattern[str]:
    return re.compile(rf" \|(?=\\* (?:{'|'.join(map(re.escape, labels.tags))})\])")
