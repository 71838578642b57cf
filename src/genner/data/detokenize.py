"""Undo a corpus' tokenization: `He said : " No , thanks " .` becomes `He said: "No, thanks".`, entities moved along."""

import re

from genner.document import Document, Entity

# Blanks that a tokenizer put in, and that running text does not have.
_BLANKS = re.compile(
    r"""(?<=\S)\ (?=[.,;:?!%)\]}…”’](?:\s|$))   # before closing punctuation
    |   (?<=[(\[{“‘$£€])\ (?=\S)                 # after opening punctuation
    |   (?<=\w)\ (?=(?:'s|'re|'ve|'ll|'d|'m|n't|’s|’re|’ve|’ll|’d|’m|n’t)\b)
    |   (?<=\w)\ (?=-\ \w)|(?<=\w\ -)\ (?=\w)    # around a hyphen
    """,
    re.VERBOSE,
)


def detokenize(document: Document) -> Document:
    """The document in running text. Straight double quotes are paired within the text, odd ones left alone."""
    text = document.text
    cut = {m.start() for m in _BLANKS.finditer(text)}
    quotes = [m.start() for m in re.finditer('"', text)]
    if len(quotes) % 2 == 0:
        for opening, closing in zip(quotes[::2], quotes[1::2], strict=True):
            cut.update(i for i in (opening + 1, closing - 1) if text[i] == " " and opening + 1 < closing)
    if not cut:
        return document
    new: list[str] = []
    where: list[int] = []
    for i, char in enumerate(text):
        where.append(len(new))
        if i not in cut:
            new.append(char)
    where.append(len(new))
    # An entity that begins or ends with a blank that was cut shrinks with it; one of blanks alone cannot be kept.
    entities = {
        Entity(where[e.start], where[e.end], e.label) for e in document.entities if where[e.start] < where[e.end]
    }
    return Document("".join(new), tuple(entities), document.id)
