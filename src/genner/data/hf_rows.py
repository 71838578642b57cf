"""Rows of a Hugging Face data set: tag names, tokens and their spacing, entities."""

from typing import Any, NamedTuple

from genner.data.records import JsonRecord, RecordSpan
from genner.data.tokens import join, locate
from genner.errors import DocumentError

SPACED = ("text", "full_text", "sentence")
"""Columns that may hold the untokenized text."""
SPACES = ("space_after", "spaces", "ws", "trailing_whitespace", "whitespace")
"""Columns that may say which tokens are followed by a blank, as in RONEC."""


class RowShape(NamedTuple):
    """How the rows of a file are read: as tokens with tags or as text with entities; and the tag names, if known."""

    tagged: bool
    names: list[str]


def feature_names(feature: Any) -> list[str]:
    """The names of a `ClassLabel`, wrapped in a list or not; none for other features."""
    while isinstance(feature, list | dict) and "names" not in feature:
        inner = feature[0] if isinstance(feature, list) and feature else None
        feature = feature.get("feature") if isinstance(feature, dict) else inner
    names = feature["names"] if isinstance(feature, dict) else []
    return names if isinstance(names, list) else []


def tag_name(tag: Any, names: list[str]) -> str:
    """The name of a tag that is a string or a number. Raises `DocumentError` for a number without a name."""
    if isinstance(tag, str):
        return tag
    if type(tag) is not int or not 0 <= tag < len(names):
        known = ",".join(names) or "none in the file"
        raise DocumentError(f"tag {tag!r} has no name; names: {known}; give them with the option names=O,B-PER,...")
    return names[tag]


def entity_spans(given: Any) -> list[RecordSpan]:
    """The entities of a row. Raises `DocumentError` unless they are a list of objects, or an object of lists."""
    if isinstance(given, dict):  # older versions store a `Sequence` of objects as an object of lists
        try:
            given = [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]
        except (TypeError, ValueError):
            raise DocumentError("the entities are no object of lists of one length") from None
    if not isinstance(given, list) or not all(isinstance(e, dict) for e in given):
        raise DocumentError("the entities are not a list of objects with start, end and label")
    return [RecordSpan(e.get("start"), e.get("end"), e.get("label"), None, e.get("score")) for e in given]


def place_tokens(record: JsonRecord, tokens: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text of tokens, and their spans in it: from a text column, or from flags for the blanks after them.

    Raises `DocumentError` unless there are as many flags as tokens.
    """
    for key in SPACED:
        text = record.get(key)
        if isinstance(text, str) and (places := locate(tokens, text)) is not None:
            return text, places
    for key in SPACES:
        flags = record.get(key)
        if isinstance(flags, list) and all(type(flag) is bool for flag in flags):
            if len(flags) != len(tokens):
                raise DocumentError(f"{len(tokens)} tokens have {len(flags)} flags {key!r}")
            return join(tokens, flags)
    return join(tokens)
