"""Checks the arguments of callers, texts and thresholds, before the model runs."""

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from types import NoneType
from typing import Any

from genner.document import Document
from genner.errors import UsageError


def checked_score(value: float) -> float:
    """`value`, if it is a legal `min_score`. Raises `UsageError`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= value <= 1.0:
        raise UsageError(f"min_score {value!r}; legal: a number from 0 (all entities) to 1")
    return float(value)


def not_one_text(texts: object) -> None:
    """Raise `UsageError` for a single text or a table where a stream of texts is expected."""
    if isinstance(texts, str | bytes | Document | Mapping) or hasattr(texts, "columns"):
        raise UsageError(
            f"pipe takes texts, one after another, and this is one {type(texts).__name__}: use extract(text) for a "
            "text, or pipe([text]); of a table give a column, as pipe(table['text'])"
        )


def document_of(text: Any, number: int) -> Document:
    """An element of a stream as a document, empty if its text is missing. Raises `UsageError` for anything else."""
    if isinstance(text, Document):
        return text
    if isinstance(text, str):
        return Document(text)
    if is_missing(text):
        return Document("")
    raise UsageError(no_text(f"text {number}", text))


def is_missing(value: Any) -> bool:
    """Whether this is a missing value: None, NaN, and the missing values of pandas."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and value != value)
    )


def no_text(what: str, value: object) -> str:
    """The message for `value`, given where a text is expected."""
    fixes: dict[type, str] = {
        bytes: "decode it, as text.decode('utf-8')",
        dict: "give one of its values, as record['text']",
        list: "give its elements to pipe one by one, or join them",
        tuple: "give its elements to pipe one by one, or join them",
        Path: "read it, as path.read_text(encoding='utf-8')",
        NoneType: "leave it out, or give it to pipe, which makes an empty prediction of it",
    }
    kind = NoneType if is_missing(value) else type(value)
    fix = next((fix for one, fix in fixes.items() if issubclass(kind, one)), "turn it into a string, as str(value)")
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:59]}…"
    return f"{what} is {shown}, a {type(value).__name__}; legal: a str or a Document; {fix}"
