"""Any text in Markdown of GitHub's kind, so that it reads as it is: nothing of it becomes a heading, a link or HTML."""

import re

from genner.render.layout import visible, visible_line

# What means something inside a line (an address becomes a link by itself, a dollar a formula on GitHub), and what
# begins a block.
_INLINE = re.compile(r"[\\`*_\[\]|~$#]|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
_OPENING = re.compile(r"^(\d+(?=[.)](?: |$))|(?=[-+=>]))(.)")


def escaped(text: str) -> str:
    """`text` on one line, so that Markdown reads it as plain text, in a table too."""
    line = " ".join(visible_line(text.replace("\n", " ").replace("\r", " ")).split())
    line = _INLINE.sub(r"\\\g<0>", line).replace("&", "&amp;").replace("<", "&lt;")
    return _OPENING.sub(r"\1\\\2", line)


def fenced(text: str) -> str:
    """`text` as a block of code, whatever it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}\n"


def code(text: str) -> str:
    """`text` as code within a line of a table."""
    line = visible_line(text).replace("|", "\\|")
    if not line.strip():
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    return f"{fence} {line} {fence}" if line.startswith("`") or line.endswith("`") else f"{fence}{line}{fence}"
