"""Pairs of gold document and prediction, and the signature of a score."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from genner.document import Document
from genner.errors import UsageError


def pair(gold: Sequence[Document], pred: Sequence[Document]) -> list[tuple[Document, Document]]:
    """Documents are paired by id where each side gives every document an id of its own and the two sides share any;
    else by order. Raises `UsageError` when a document is missing or one too many.
    """
    by_id = {d.id: d for d in pred}
    ids = {d.id for d in gold}
    unique = len(ids) == len(gold) and len(by_id) == len(pred) and "" not in ids | by_id.keys()
    # Files without ids get them from their names when read, so sides that share none are paired by order.
    # Counting sees to it that the texts of a pair agree.
    if unique and ids & by_id.keys():
        for names, what in (
            (sorted(ids - by_id.keys()), "gold documents without a prediction"),
            (sorted(by_id.keys() - ids), "predictions without a gold document"),
        ):
            if names:
                some = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
                raise UsageError(f"{what}: {len(names)} ({some}); give both sides the same documents")
        return [(d, by_id[d.id]) for d in gold]
    if len(gold) != len(pred):
        raise UsageError(
            f"gold documents: {len(gold)}, predictions: {len(pred)}, without common ids to pair them by; "
            "give both sides the same documents"
        )
    return list(zip(gold, pred, strict=True))


def sign(ours: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """`key:value|key:value|...`. Raises `UsageError` when a setting cannot be written into it."""
    for key, value in settings.items():
        if key in ours or ":" in key or "|" in f"{key}{value}" or "\n" in f"{key}{value}":
            raise UsageError(
                f"setting {key!r}: {value!r} cannot be written into the signature; legal: no '|' or line break, no ':' "
                f"in the key, no key of: {', '.join(ours)}"
            )
    return "|".join(f"{key}:{value}" for key, value in {**ours, **settings}.items())


def digest(documents: Iterable[Document]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of texts and entities; ids and scores do not change a score."""
    sha = hashlib.sha256()
    for d in documents:
        sha.update(json.dumps([d.text, [[e.start, e.end, e.label] for e in d.entities]]).encode() + b"\n")
    return sha.hexdigest()[:12]


def genner_version() -> str:
    try:
        return version("genner")
    except PackageNotFoundError:  # run from the source tree
        return "source"
