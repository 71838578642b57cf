"""Undo a corpus' tokenization: `He said : " No , thanks " .` becomes `He said: "No, thanks".`, entities moved along.

Each step finds blanks that a tokenizer inserted and running text lacks; all steps see the original text.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from genner.data.rewrite import OffsetMap, Rewrite, same, without
from genner.document import Document

TokenRule = Callable[[str], Iterable[int]]
"""The offsets, in code points, of the blanks to leave out."""


def _matches(pattern: str) -> TokenRule:
    compiled = re.compile(pattern)
    return lambda text: (m.start() for m in compiled.finditer(text))


before_closing = _matches(r"(?<=\S) (?=[.,;:?!%)\]}…”’](?:\s|$))")
after_opening = _matches(r"(?<=[(\[{“‘$£€]) (?=\S)")
before_clitics = _matches(r"(?<=\w) (?=(?:'s|'re|'ve|'ll|'d|'m|n't|’s|’re|’ve|’ll|’d|’m|n’t)\b)")
around_hyphens = _matches(r"(?<=\w) (?=- \w)|(?<=\w -) (?=\w)")
before_stops = _matches(r" (?= *[.,;:?!])")
before_lone_stops = _matches(r" (?= *[.,;:?!](?!\w))")
before_closed = _matches(r" (?=[)\]}])")
after_opened = _matches(r"(?<=[(\[{]) ")
around_quotes = _matches(r'(?<=") | (?=")')
before_percents = _matches(r" (?=[)%])")
after_dollars = _matches(r"(?<=[(\[$]) ")
before_small_clitics = _matches(r"(?<=\S) (?=(?:'s|'re|'ve|'ll|'d|'m|n't)\b)")


def within_quotes(text: str) -> Iterable[int]:
    """Blanks inside straight double quotes, which are paired within the text; an odd number is left alone."""
    quotes = [m.start() for m in re.finditer('"', text)]
    if len(quotes) % 2:
        return
    for opening, closing in zip(quotes[::2], quotes[1::2], strict=True):
        if opening + 1 < closing:
            yield from (i for i in (opening + 1, closing - 1) if text[i] == " ")


@dataclass(frozen=True)
class Detokenize(Rewrite):
    """Remove the blanks that the steps find, except those with which an entity starts or ends."""

    steps: tuple[TokenRule, ...]

    def edit(self, document: Document) -> OffsetMap:
        cut = {at for step in self.steps for at in step(document.text)}
        return without(document, cut) if cut else same(document.text)


RUNNING_TEXT_DETOKENIZE = Detokenize((before_closing, after_opening, before_clitics, around_hyphens, within_quotes))
"""Running text, as far as English rules can restore it."""

# "Assessment of Generative NER in the Era of LLMs" spaces its inputs in three ways, as its published dev and test files
# show (docs/log.md). Each constant reproduces all inputs of its kind from their tokens, joined by blanks.

PAPER_DETOKENIZE = Detokenize((before_stops,))
"""The paper's ACE 2005 and GENIA inputs for the inline formats: no blank before six marks, whatever follows."""

PAPER_LISTS = Detokenize((before_lone_stops, before_closed, after_opened, around_quotes))
"""The paper's GENIA inputs for JSON formats, and ACE 2005 for offsets; ACE keeps all blanks in the other two."""

PAPER_CONLL = Detokenize((before_stops, before_percents, after_dollars, before_small_clitics))
"""The paper's CoNLL-2003 inputs for the inline formats, after `genner.data.paper_case`."""


def detokenize(document: Document) -> Document:
    """The document in running text."""
    return RUNNING_TEXT_DETOKENIZE.apply(document)[0]
