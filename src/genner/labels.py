"""The label sets that genner ships, as data (`assets/labels.json`), and how `--labels` is read."""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from genner.document import Label, LabelSet
from genner.errors import UnknownNameError

DEFAULT = "core"
"""PER, LOC and ORG: what is asked for when nothing is said."""


@cache
def label_sets() -> dict[str, LabelSet]:
    """All shipped label sets by name."""
    raw = json.loads((files("genner") / "assets" / "labels.json").read_text(encoding="utf-8"))
    return {
        name: LabelSet(tuple(Label(tag, about["name"], about["definition"]) for tag, about in tags.items()))
        for name, tags in raw.items()
    }


def label_set(name: str) -> LabelSet:
    """The shipped label set of this name. Raises `UnknownNameError`."""
    sets = label_sets()
    if name not in sets:
        raise UnknownNameError("label set", name, sets)
    return sets[name]


def parse_labels(text: str) -> LabelSet:
    """Read `--labels`: the name of a shipped set (`litbank`), or tags (`PER,ORG`).

    A tag that a shipped set knows brings its name and definition along, `core` first; any other tag stands for itself.
    If one shipped set knows all the tags, they are taken from it. Raises `LabelError` on an illegal tag.
    """
    sets = label_sets()
    if text in sets:
        return sets[text]
    tags = [tag.strip() for tag in text.split(",") if tag.strip()]
    for known in sets.values():
        if tags and all(tag in known for tag in tags):
            return known.subset(tags)
    by_tag: dict[str, Label] = {}
    for known in sets.values():
        for label in known:
            by_tag.setdefault(label.tag, label)
    return LabelSet(tuple(by_tag.get(tag, Label(tag)) for tag in tags))


def as_label_set(labels: LabelSet | str | Iterable[str] | None) -> LabelSet:
    """What a caller may give as labels: a label set, what `parse_labels` reads, tags, or None for the default."""
    if labels is None:
        return label_set(DEFAULT)
    if isinstance(labels, LabelSet):
        return labels
    return parse_labels(labels if isinstance(labels, str) else ",".join(labels))


def family(labels: LabelSet) -> LabelSet:
    """The shipped label set that `labels` is a part of; `labels` itself when it is part of none."""
    return next((known for known in label_sets().values() if set(labels) <= set(known)), labels)
