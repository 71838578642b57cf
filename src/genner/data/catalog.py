"""The corpora that the field measures on, as data (`assets/catalog.json`): labels, published counts, where to get them.

Four fields of an entry are for people (`licence`, `get`, `note`, `counts_from`); the others are compared with files.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from genner.document import Label, LabelSet
from genner.errors import DataError, UnknownNameError
from genner.labels import label_sets


@dataclass(frozen=True, slots=True)
class Split:
    """Published counts of one split."""

    name: str
    sentences: int
    entities: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus: `syntax` is how its files are read; `counts_from` is who published the counts of its splits."""

    name: str
    title: str
    nested: bool
    labels: LabelSet
    splits: tuple[Split, ...]
    counts_from: str
    syntax: str
    licence: str
    get: str
    note: str


@cache
def catalog() -> dict[str, Corpus]:
    """All corpora by name."""
    raw = json.loads((files("genner") / "assets" / "catalog.json").read_text(encoding="utf-8"))
    return {
        name: Corpus(
            name=name,
            title=about["title"],
            nested=about["nested"],
            labels=LabelSet(
                tuple(Label(tag, *pair) for tag, pair in about["labels"].items()), None if about["nested"] else 1
            ),
            splits=tuple(Split(split, *counts) for split, counts in about["splits"].items()),
            counts_from=about["counts_from"],
            syntax=about["syntax"],
            licence=about["licence"],
            get=about["get"],
            note=about["note"],
        )
        for name, about in raw.items()
    }


def corpus(name: str) -> Corpus:
    """The corpus of this name. Raises `UnknownNameError`."""
    if name not in catalog():
        raise UnknownNameError("corpus", name, catalog())
    return catalog()[name]


def named_label_set(name: str, root: Path) -> LabelSet:
    """A shipped label set, that of a corpus in the catalog, or that of a JSON file below the data root.

    Raises `DataError` when it is none of these, or the file holds no label set.
    """
    if name in label_sets():
        return label_sets()[name]
    if name in catalog():
        return catalog()[name].labels
    path = root / name
    if not path.is_file():
        known = ", ".join([*label_sets(), *(other for other in catalog() if other not in label_sets())])
        raise DataError(
            name,
            f"is neither a known label set ({known}) nor a file under {root}; "
            'for labels of your own write such a file: {"TAG": "definition", ...}',
        )
    return LabelSet.from_file(path)
