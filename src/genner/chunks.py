"""Cut a text into pieces that a model can take: sentences, and windows of sentences that are too long."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sentencex

from genner.grammar import composed

_PARAGRAPHS = re.compile(r"(\n\s*\n)")


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text[start:end]` of a document, without white space at its edges. `cut`: it ends within a sentence."""

    start: int
    end: int
    cut: bool = False


def chunks(text: str, fits: Callable[[str], bool], limit: int) -> Iterator[Chunk]:
    """Cover all of `text` that is not white space, in order and without overlap.

    Args:
        fits: whether the model's window holds a piece.
        limit: no piece is longer than this many code points, whether it would fit or not.
    """
    at = 0
    for sentence in _sentences(text):
        start, end = at, at + len(sentence)
        at = end
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        while start < end:
            stop = _window(text, start, end, fits, limit)
            trimmed = stop
            while trimmed > start and text[trimmed - 1].isspace():
                trimmed -= 1
            yield Chunk(start, trimmed, cut=stop < end)
            start = stop
            while start < end and text[start].isspace():
                start += 1


def _sentences(text: str) -> Iterator[str]:
    """Sentences by sentencex (Wikimedia); a paragraph that its pieces do not join to is left whole."""
    # Paragraph by paragraph, since in texts of more than 10 kB sentencex loses some of the lines between them.
    for i, paragraph in enumerate(_PARAGRAPHS.split(text)):
        # The English rules know the commonest abbreviations, and the full stops of all scripts.
        pieces = sentencex.segment("en", paragraph) if i % 2 == 0 else []
        yield from pieces if "".join(pieces) == paragraph else [paragraph]


def _window(text: str, start: int, end: int, fits: Callable[[str], bool], limit: int) -> int:
    """Where a piece that begins at `start` has to stop: at `end`, or else at the last good place that fits."""
    stop = min(end, start + limit)
    while True:
        if stop < end:
            stop = _good_place(text, start, stop)
        if stop - start <= 1 or fits(text[start:stop]):
            return stop
        stop = start + (stop - start) // 2


def _good_place(text: str, start: int, stop: int) -> int:
    """The last blank before `stop`, not too far back; else, if there is one, a place that splits no character."""
    for at in range(stop, max(start, stop - (stop - start) // 2), -1):
        if text[at].isspace():
            return at
    return next((at for at in range(stop, start, -1) if not composed(text[at - 1], text[at])), stop)
