"""Where in a text a mention is that a file gives without offsets: only where that is certain."""

import re

UNPLACED = "document none of whose mentions has a certain place"
"""What is counted for a document that would look as if it had no entities."""


def found(text: str, mention: str) -> list[int]:
    """Where `mention` starts in `text`: as whole words, or else anywhere."""
    if not mention:
        return []
    bare = re.escape(mention)
    left = r"(?<!\w)" if mention[0].isalnum() else ""
    right = r"(?!\w)" if mention[-1].isalnum() else ""
    for pattern in (f"(?={left}{bare}{right})", f"(?={bare})"):
        if starts := [match.start() for match in re.finditer(pattern, text)]:
            return starts
    return []
