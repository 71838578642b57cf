"""The shipped label sets (data in `assets/labels.json`), and how `--labels` is read."""

import json
import re
from collections.abc import Iterable, Mapping, Set
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from genner.document import Label, LabelSet
from genner.errors import DataError, LabelError, UnknownNameError

DEFAULT = "core"
"""The default label set: PER, LOC and ORG."""

CLOSE, SHORTEST = 0.8, 4  # minimum similarity (difflib's ratio) of a typo to a name; minimum letters of a prefix

Labels = LabelSet | str | Iterable[str | Label] | Mapping[str, str | Mapping[str, str]] | None
"""The types that callers may pass as labels: see `as_label_set`."""


@cache
def label_sets() -> dict[str, LabelSet]:
    """All shipped label sets by name."""
    raw = json.loads((files("genner") / "assets" / "labels.json").read_text(encoding="utf-8"))
    return {
        name: LabelSet(
            tuple(Label(tag, said["name"], said["definition"]) for tag, said in about["labels"].items()), about["depth"]
        )
        for name, about in raw.items()
    }


def label_set(name: str) -> LabelSet:
    """The shipped label set of this name. Raises `UnknownNameError`."""
    sets = label_sets()
    if name not in sets:
        raise UnknownNameError("label set", name, sets)
    return sets[name]


def parse_labels(text: str) -> LabelSet:
    """Read `--labels`: the name of a shipped set (`litbank`), or tags (`PER,ORG`; see `of_tags`).

    A value without a comma that is no shipped set but looks like the name of a label set, a corpus or a file, or like
    several tags (`PER;ORG`, `PER ORG`), is more likely a mistake than a tag. Raises `LabelError` for it, with the way
    to request such a tag anyway, and for an illegal tag or none.
    """
    sets = label_sets()
    if text in sets:
        return sets[text]
    tags = [tag.strip() for tag in text.split(",") if tag.strip()]
    if tags and "," not in text:
        _question(tags[0])
    return of_tags(tags)


def of_tags(tags: Iterable[str]) -> LabelSet:
    """The label set of these tags, each taken literally.

    A tag of a shipped set gets its name and definition from there, from `core` first; any other tag has only itself. If
    one shipped set has all the tags, they are taken from it. Raises `LabelError` on an illegal tag.
    """
    tags, sets = list(tags), label_sets()
    for known in sets.values():
        if tags and all(tag in known for tag in tags):
            return known.subset(tags)
    by_tag: dict[str, Label] = {}
    for known in sets.values():
        for label in known:
            by_tag.setdefault(label.tag, label)
    return LabelSet(tuple(by_tag.get(tag) or Label(tag) for tag in tags))


def as_label_set(labels: Labels) -> LabelSet:
    """A label set from any type that callers may pass as labels.

    These are: a label set; one string, read by `parse_labels`; a list of tags, which are never split and never the name
    of a shipped set; `Label`s; `{"TAG": "definition"}` or `{"TAG": {"name": ..., "definition": ...}}`; None for the
    default. Raises `LabelError` for anything else.
    """
    if labels is None:
        return label_set(DEFAULT)
    if isinstance(labels, LabelSet):
        return labels
    if isinstance(labels, str):
        return parse_labels(labels)
    if isinstance(labels, Mapping):
        try:
            plain = {tag: dict(about) if isinstance(about, Mapping) else about for tag, about in labels.items()}
            return LabelSet.from_json(plain, "labels")
        except DataError as error:
            raise LabelError(str(error)) from None
    if isinstance(labels, set | frozenset):  # the order of a set differs between processes
        labels = sorted(labels, key=str)
    given = list(labels) if isinstance(labels, Iterable) and not isinstance(labels, bytes) else [labels]
    if isinstance(labels, Set):  # whose order is another in each process, and a prompt lists labels in order
        given.sort(key=str)
    if others := [one for one in given if not isinstance(one, str | Label)]:
        raise LabelError(
            f"labels hold {others[0]!r}, a {type(others[0]).__name__}; legal: a LabelSet, a string as 'PER,ORG' or "
            "'litbank', a list of tags as ['PER', 'ORG'], or {'TAG': 'definition'}"
        )
    if all(isinstance(one, str) for one in given):
        return of_tags(str(one) for one in given)
    return LabelSet(tuple(one if isinstance(one, Label) else of_tags([str(one)]).labels[0] for one in given))


def _question(tag: str) -> None:
    """Raise `LabelError` for a tag that looks like a mistake for something else."""
    sets = label_sets()
    if any(tag in known for known in sets.values()):
        return
    anyway = f"for a label of this name: --labels '{tag},' with the comma, or in Python ['{tag}']"
    parts = [part for part in re.split(r"[;\s]+", tag) if part]
    known_or_capital = all(part.isupper() or any(part in known for known in sets.values()) for part in parts)
    if len(parts) > 1 and (";" in tag or known_or_capital):
        raise LabelError(f"label {tag!r} looks like several; divide them by commas: {','.join(parts)}; {anyway}")
    if tag.lower().endswith((".json", ".toml", ".txt", ".jsonl")):
        raise LabelError(f"label {tag!r} looks like a file; give it as --labels-file {tag}; {anyway}")
    names = {_plain(name): name for name in [*_corpora(), *sets]}  # a shipped set precedes a corpus of its name
    close = get_close_matches(_plain(tag), names, 1, CLOSE)
    begun = [plain for plain in names if len(_plain(tag)) >= SHORTEST and plain.startswith(_plain(tag))]
    if not (found := (close + begun)[:1]):
        return
    name = names[found[0]]
    if name in sets:
        raise LabelError(f"there is no label set {tag!r}; did you mean {name!r}? sets: {', '.join(sets)}; {anyway}")
    raise LabelError(
        f"label {tag!r} looks like the corpus {name}, for which no label set is shipped; name its labels, as in "
        f"PER,ORG,LOC, or take one of the sets {', '.join(sets)}; {anyway}"
    )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


@cache
def _corpora() -> list[str]:
    """Named entity corpora that people know by name: an unknown label with such a name is a mistake."""
    return (files("genner") / "assets" / "corpora.txt").read_text(encoding="utf-8").split()


def enclosing_label_set(labels: LabelSet) -> LabelSet:
    """The shipped label set that contains `labels`; `labels` itself if none does."""
    return next((known for known in label_sets().values() if set(labels) <= set(known)), labels)
