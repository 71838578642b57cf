r"""Inline bracketed: the text copied out, each entity as `[John Smith | PER]`; nested brackets nest.

Since an opening bracket carries no label, a `[` of the text is always written `\[`: left as it is, it could not be told
from an entity that begins there. Where the text spells a closing, as in a literal ` | PER]`, a backslash is put after
its bar; where it spells such an escaped closing, one more. Nothing else is escaped: `]`, `|` and `C:\x` stay.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from genner.document import Entity, LabelSet, Problem
from genner.formats.inline import InlineFormat
from genner.formats.inline_grammar import MarkupTag
from genner.formats.json_answer import brief


class InlineBracketed(InlineFormat):
    name = "inline_bracketed"
    instruction = "Copy the text with each entity as [mention | LABEL]"
    example = "[John Smith | PER] reported from [New York | LOC]."
    forbidden_start_chars = ("[",)

    def tags(self, labels: LabelSet) -> tuple[list[MarkupTag], list[MarkupTag]]:
        return [MarkupTag("[")], [MarkupTag(" |", f" {tag}]") for tag in labels.tags]

    def escape(self, text: str, labels: LabelSet) -> list[str]:
        copies = ["\\[" if c == "[" else c for c in text]
        if "|" in text:
            for match in _closings(labels).finditer(text):
                copies[match.start() + 1] = "|\\"
        return copies

    def parse(self, text: str, answer: str, labels: LabelSet) -> tuple[str, list[Entity], list[Problem]]:
        """A closing closes the innermost open bracket; a bracket that is never closed is text."""
        problems: list[Problem] = []
        found: list[Entity] = []
        stack: list[tuple[int, int]] = []  # (place in `copy`, number of pieces before it)
        copy: list[str] = []
        length = begin = 0
        literal = _escapable(labels)
        in_text = {match.group(1).strip() for match in _MARK.finditer(text) if match.group(1) is not None}
        for match in _MARK.finditer(answer):
            before, label = answer[begin : match.start()], match.group(1)
            shown = before
            if label is not None:  # as it ought to be, one blank belongs to the closing; else, as many as there are
                proper = before.endswith(" ") and label == f" {label.strip()}"
                shown = before[:-1] if proper else before.rstrip()
            written = before[len(shown) :] + match.group()  # the blanks before a closing are its own
            if (
                literally := label is not None
                and (name := label.strip()) not in labels
                and (not stack or name in in_text)
            ):
                shown = before
            copy.append(literal.sub(r"\1", shown) if "|\\" in shown else shown)
            length, begin = length + len(copy[-1]), match.end()
            if match.group() == "\\[" or literally:
                copy.append("[" if label is None else match.group())
                length += len(copy[-1])
            elif label is None:
                stack.append((length, len(copy)))
                copy.append("")
            elif not stack:
                problems.append(Problem("invalid", f"{brief(written)} at {length} closes nothing"))
            else:
                start, _ = stack.pop()
                if written != f" | {name}]":
                    problems.append(Problem("invalid", f"{brief(written)} is not written {brief(f' | {name}]')}"))
                if name not in labels:
                    problems.append(Problem("dropped", f"{brief(written)} at {length}: no such label"))
                elif start == length:
                    problems.append(Problem("dropped", f"an empty {name} at {start}"))
                else:
                    found.append(Entity(start, length, name))
        copy.append(literal.sub(r"\1", answer[begin:]))
        for start, piece in reversed(stack):
            problems.append(Problem("invalid", f"'[' at {start} is not escaped or not closed"))
            copy[piece] = "["
        if stack:  # each of them is a character more
            added = [start for start, _ in stack]
            found = [
                Entity(e.start + bisect_right(added, e.start), e.end + bisect_left(added, e.end), e.label)
                for e in found
            ]
        return "".join(copy), found, problems

    def unasked(self, text: str, answer: str, labels: LabelSet) -> Iterable[str]:
        in_text = {match[1].strip() for match in _MARK.finditer(text) if match[1] is not None}
        tags = (match[1].strip() for match in _MARK.finditer(answer) if match[1] is not None)
        return (tag for tag in tags if tag not in labels and tag not in in_text)


# Without a way back, so that blanks and bars are gone through once. The blanks before a bar are looked at afterwards.
_MARK = re.compile(r"\\\[|\[|\|([^\[\]|\\]*+)\]")


def _escapable(labels: LabelSet) -> re.Pattern[str]:
    # A look-ahead, since a closing that follows at once may share no character, but its blank must be seen.
    tags = "|".join(map(re.escape, labels.tags))
    return re.compile(rf"( \|)\\(?=\\* (?:{tags})\])")


def _closings(labels: LabelSet) -> re.Pattern[str]:
    return re.compile(rf" \|(?=\\* (?:{'|'.join(map(re.escape, labels.tags))})\])")
