"""What was decided when an entity was written: its tokens, sorted by what they chose."""

import re
from collections.abc import Mapping
from typing import Literal

from genner.document import LabelSet
from genner.engines.base import Generation
from genner.formats import Format
from genner.grammar import GrammarEntity

Family = Literal["inline", "json"]
"""How a format writes entities: as two tags in the text, or as an item of a list."""

KINDS: dict[Family, tuple[str, ...]] = {
    "inline": ("open", "label", "inside", "close"),
    "json": ("open", "mention", "label", "position"),
}
"""The kinds of decisions.

- inline: `open`, an entity begins here; `label`, its tag's name; `inside`, what is written from there to its end, so
  that it did not end earlier (entities inside it included); `close`, it ends here;
- json: `open`, the list goes on; `mention`, which words, up to the closing quotation mark; `label`; `position`, which
  of several places where these words stand.
"""

UNCOUNTED = {"inside"}
"""Kinds that a model's own score does not count (see `genner.extract`)."""

Decisions = Mapping[str, float]
"""Log-probability (nats, at most 0) of an entity's decisions, by kind."""

_STRUCTURE = frozenset(b"<>/[]|@# ")  # what tags are made of besides the label's name
_ITEM = re.compile(
    rb'(?P<open>[^"]*(?:"text": )?)(?P<mention>"(?:[^"\\]|\\.)*")(?P<label>(?:, "label": "[^"]*")?)', re.DOTALL
)


def family_of(form: Format) -> Family:
    """The family of all entities of a format."""
    return "inline" if form.json_schema("a", LabelSet.of("A")) is None else "json"


def family(written: GrammarEntity) -> Family:
    """An entity of an inline format has two marks, its tags; of a JSON format one, its item."""
    return "json" if len(written.marks) == 1 else "inline"


def decisions(written: GrammarEntity, generation: Generation) -> dict[str, float] | None:
    """The decisions that wrote an entity; None when the engine gave no log-probabilities.

    A token belongs to the kind of the first byte of the entity's markup that it holds: a token `<PER` opens. Each
    counts once, and one that touches the markup of two entities counts for both.
    """
    if not generation.logprobs:
        return None
    kinds = KINDS[family(written)]
    places = _places(written, generation.answer)
    found, begin = dict.fromkeys(kinds, 0.0), 0
    for end, logprob in zip(generation.ends, generation.logprobs, strict=True):
        kind = next((kind for kind, first, last in places if begin < last and first < end), None)
        if kind is not None:
            found[kind] += logprob
        begin = end
    return found


def _places(written: GrammarEntity, answer: bytes) -> list[tuple[str, int, int]]:
    """Half-open byte intervals of the answer and their kinds, in the order in which they claim tokens."""
    (begin, end), *rest = written.marks
    if not rest:
        match = _ITEM.match(answer, begin, end)
        if match is None:  # of no format here; then all of it is one decision
            return [("mention", begin, end)]
        places = [(kind, *match.span(kind)) for kind in ("open", "mention", "label")]
        places.append(("position", match.end(), end))
        return [place for place in places if place[1] < place[2]]
    ((closing, last),) = rest
    named_at, closed_at = _name(answer, begin, end), _name(answer, closing, last)
    places = [("open", begin, named_at), ("label", named_at, end), ("close", closing, closed_at)]
    places += [("label", closed_at, last), ("inside", end, closing)]
    return [place for place in places if place[1] < place[2]]


def _name(answer: bytes, begin: int, end: int) -> int:
    """Where the name of the label begins in a tag, blanks before it included; its end where it has none."""
    at = next((i for i in range(begin, end) if answer[i] not in _STRUCTURE), end)
    while begin < at < end and answer[at - 1] == 0x20:
        at -= 1
    return at
