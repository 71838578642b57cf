"""Conversion between entities in code points and entities in tokens."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from genner.document import Entity

_TOKEN = re.compile(r"\w+|[^\w\s]")


def tokenize(text: str, entities: Iterable[Entity] = ()) -> list[tuple[int, int]]:
    """Words and single marks, as `[start, end)` in code points, split further where an entity starts or ends."""
    edges = sorted({at for e in entities for at in e.span})
    spans = []
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        for edge in edges[bisect_left(edges, start + 1) : bisect_left(edges, end)]:
            spans.append((start, edge))
            start = edge
        spans.append((start, end))
    return spans


def join(tokens: Sequence[str], spaces: Sequence[bool] | None = None) -> tuple[str, list[tuple[int, int]]]:
    """The tokens joined by blanks, and the span of each in that text.

    `spaces` says for each token whether a blank follows it; the last one's is left out.
    """
    pieces, spans, at = [], [], 0
    for token, space in zip(tokens, spaces if spaces is not None else [True] * len(tokens), strict=True):
        spans.append((at, at + len(token)))
        pieces += [token, " " * space]
        at += len(token) + space
    return "".join(pieces[:-1]), spans


def locate(tokens: Sequence[str], text: str) -> list[tuple[int, int]] | None:
    """The spans of the tokens in `text`, in order with only blanks between them; None if the text differs."""
    spans, at = [], 0
    for token in tokens:
        start = text.find(token, at)
        if start < 0 or text[at:start].strip():
            return None
        at = start + len(token)
        spans.append((start, at))
    return None if text[at:].strip() else spans
