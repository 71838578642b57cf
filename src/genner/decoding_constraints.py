"""What decoding allows, of all that is legal in a format."""

from dataclasses import replace

from genner.boundaries import Boundaries
from genner.document import LabelSet
from genner.grammar import Constraints

DEFAULT_DEPTH = 7
"""Entities that may cover one place where the labels do not say how deep they nest: the most in any corpus at hand. On
flat corpora it changes nothing (docs/log.md)."""

DECODING = Constraints("strict", DEFAULT_DEPTH, same_span_labels=False, allow_trailing_repeat=True)
"""What decoding allows, of all that is legal in a format.

- `strict` boundaries cost 276 of the 467,826 gold entities at hand in inline XML (docs/formats.md);
- of 130,000 gold entities 31 share their span with another, and models in a loop write all labels;
- a list may end in an entity that it has already: this is how models in a loop get out of it.
"""


def decoding_constraints(labels: LabelSet, *, nested: bool | None = None, symbols: bool = False) -> Constraints:
    """`DECODING` for these labels and these arguments of `Extractor`."""
    boundaries: Boundaries = "word" if symbols else DECODING.boundaries
    return replace(DECODING, boundaries=boundaries, depth=depth_of(labels, nested))


def depth_of(labels: LabelSet, nested: bool | None = None) -> int:
    """How many entities may cover one place: as many as the labels say, unless `nested` says whether they nest."""
    known = labels.depth
    if nested is None:
        return known or DEFAULT_DEPTH
    if not nested:
        return 1
    return known if known and known > 1 else DEFAULT_DEPTH
