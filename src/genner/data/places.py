"""Find mentions that a file gives without offsets, if their position in the text is certain."""

import re

UNPLACED = "document none of whose mentions has a certain place"
"""The kind that is counted for a document that would seem to have no entities."""


def found(text: str, mention: str) -> list[int]:
    """The offsets at which `mention` starts in `text`: as whole words, or if there are none, anywhere."""
    if not mention:
        return []
    bare = re.escape(mention)
    left = r"(?<!\w)" if mention[0].isalnum() else ""
    right = r"(?!\w)" if mention[-1].isalnum() else ""
    for pattern in (f"(?={left}{bare}{right})", f"(?={bare})"):
        if starts := [match.start() for match in re.finditer(pattern, text)]:
            return starts
    return []
