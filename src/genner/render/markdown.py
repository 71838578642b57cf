"""Escapes text for GitHub-flavoured Markdown, so that no part of it becomes a heading, a link or HTML."""

import re

from genner.render.layout import visible, visible_line

# Characters with a meaning inside a line (GitHub turns an address into a link, a dollar into a formula), and those that
# begin a block.
_INLINE = re.compile(r"[\\`*_\[\]|~$#]|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
_OPENING = re.compile(r"^(\d+(?=[.)](?: |$))|(?=[-+=>]))(.)")


def escaped(text: str) -> str:
    """`text` on one line, escaped so that Markdown reads it as plain text, also in a table."""
    line = " ".join(visible_line(text.replace("\n", " ").replace("\r", " ")).split())
    line = _INLINE.sub(r"\\\g<0>", line).replace("&", "&amp;").replace("<", "&lt;")
    return _OPENING.sub(r"\1\\\2", line)


def fenced(text: str) -> str:
    """`text` as a code block, for any text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}\n"


def code(text: str) -> str:
    """`text` as inline code in a table cell."""
    line = visible_line(text).replace("|", "\\|")
    if not line.strip():
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    return f"{fence} {line} {fence}" if line.startswith("`") or line.endswith("`") else f"{fence}{line}{fence}"
