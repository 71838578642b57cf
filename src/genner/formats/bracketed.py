r"""Inline bracketed: the text copied out, each entity as `[John Smith | PER]`; nested brackets nest.

Since an opening bracket carries no label, a `[` of the text is always written `\[`: left as it is, it could not be told
from an entity that begins there. Where the text spells a closing, as in a literal ` | PER]`, a backslash is put after
its bar; where it spells such an escaped closing, one more. Nothing else is escaped: `]`, `|` and `C:\x` stay.
"""

import re

from genner.document import Entity, LabelSet, Problem
from genner.formats.inline import InlineFormat


class InlineBracketed(InlineFormat):
    name = "inline_bracketed"
    instruction = "Copy the text with each entity as [mention | LABEL]"
    example = "[John Smith | PER] reported from [New York | LOC]."
    sealed = ("[",)

    def tags(self, labels: LabelSet) -> tuple[list[str], list[str]]:
        return ["["], [f" | {tag}]" for tag in labels.tags]

    def copies(self, text: str, labels: LabelSet) -> list[str]:
        copies = ["\\[" if c == "[" else c for c in text]
        if "|" in text:
            for match in _escapable(labels).finditer(text):
                copies[match.start() + 1] = "|\\"
        return copies

    def parse(
        self, text: str, answer: str, labels: LabelSet, *, look_up: bool = True
    ) -> tuple[str, list[Entity], list[Problem]]:
        """A closing closes the innermost open bracket; a bracket that is never closed is text."""
        problems: list[Problem] = []
        found: list[Entity] = []
        stack: list[tuple[int, int]] = []  # (place in `copy`, number of pieces before it)
        copy: list[str] = []
        length = begin = 0
        for match in re.finditer(r"\\\[|\[|\s*\|\s*([^\[\]|\\]*?)\s*\]", answer):
            copy.append(_unescape(answer[begin : match.start()], labels))
            length, begin = length + len(copy[-1]), match.end()
            label = match.group(1)
            if match.group() == "\\[":
                copy.append("[")
                length += 1
            elif label is None:
                stack.append((length, len(copy)))
                copy.append("")
            elif not stack or (label not in labels and match.group() in text):
                if label in labels:
                    problems.append(Problem("invalid", f"{match.group()!r} at {length} closes nothing"))
                else:
                    copy.append(match.group())
                    length += len(copy[-1])
            else:
                start, _ = stack.pop()
                if match.group() != f" | {label}]":
                    problems.append(Problem("invalid", f"{match.group()!r} is not written ' | {label}]'"))
                if label not in labels:
                    problems.append(Problem("dropped", f"{match.group()!r} at {length}: no such label"))
                elif start == length:
                    problems.append(Problem("dropped", f"an empty {label} at {start}"))
                else:
                    found.append(Entity(start, length, label))
        copy.append(_unescape(answer[begin:], labels))
        for start, piece in reversed(stack):
            problems.append(Problem("invalid", f"'[' at {start} is not escaped or not closed"))
            copy[piece] = "["
            found = [Entity(e.start + (e.start >= start), e.end + (e.end > start), e.label) for e in found]
        return "".join(copy), found, problems


def _escapable(labels: LabelSet) -> re.Pattern[str]:
    # A look-ahead, since a closing that follows at once may share no character, but its blank must be seen.
    return re.compile(rf" \|(?=\\* (?:{'|'.join(map(re.escape, labels.tags))})\])")


def _unescape(piece: str, labels: LabelSet) -> str:
    if "|\\" not in piece:
        return piece
    return re.sub(rf"( \|)\\(?=\\* (?:{'|'.join(map(re.escape, labels.tags))})\])", r"\1", piece)
