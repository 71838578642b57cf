"""How the labels of a set are put into a prompt: which of them, in which order, with which tags."""

import json
import random
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from string import ascii_uppercase

from genner.document import Label, LabelSet
from genner.errors import UsageError
from genner.training.recipe import PromptSpec, SetSpec

MAX_ABSENT_LABELS = 4
"""Maximum number of absent labels in a prompt."""


def vary(labels: LabelSet, spec: PromptSpec, rng: random.Random) -> tuple[LabelSet, bool]:
    """A random variant of a label set for a prompt, and whether definitions are given (see `PromptSpec`)."""
    if rng.random() < spec.full_prompt:
        return labels, True
    tags = list(labels.tags)
    rng.shuffle(tags)
    if len(tags) > 1 and rng.random() < spec.subset:
        tags = tags[: rng.randint(1, len(tags) - 1)]
    return labels.subset(tags), rng.random() >= spec.no_definitions


# -- labels that do not occur


def absent_labels(spec: SetSpec, labels: LabelSet, known: Mapping[str, LabelSet]) -> tuple[Label, ...]:
    """The labels that `absent` names, by TAG or SET:TAG, from `known`; if several have the tag, the first.

    Raises `UsageError` when a name is unknown, is given twice, or is the tag of one of the set's own labels.
    """
    found: list[Label] = []
    for entry in spec.absent:
        where, _, tag = entry.rpartition(":")
        if where and where not in known:
            raise UsageError(f"[set] {spec.name!r}: absent has {entry!r}, of no known set; known: {', '.join(known)}")
        some = [known[where]] if where else known.values()
        label = next((label for some_labels in some for label in some_labels if label.tag == tag), None)
        if label is None:
            tags = dict.fromkeys(tag for some_labels in some for tag in some_labels.tags)
            raise UsageError(f"[set] {spec.name!r}: absent has {entry!r}, which no set has; known: {', '.join(tags)}")
        taken = {tag.casefold() for tag in (*labels.tags, *(other.tag for other in found))}
        if label.tag.casefold() in taken:
            raise UsageError(
                f"[set] {spec.name!r}: absent has {entry!r}, but its tag is there already, among the set's own labels "
                f"({', '.join(labels.tags)}) or in absent; leave it out"
            )
        found.append(label)
    return tuple(found)


def with_absent(asked: LabelSet, absent: Sequence[Label], share: float, rng: random.Random) -> LabelSet:
    """In this share of cases, the labels with one to `MAX_ABSENT_LABELS` absent ones inserted at random places."""
    if not (absent and share and rng.random() < share):
        return asked
    labels = list(asked)
    for label in rng.sample(absent, rng.randint(1, min(MAX_ABSENT_LABELS, len(absent)))):
        labels.insert(rng.randint(0, len(labels)), label)
    return LabelSet(tuple(labels), asked.depth)


# -- other tags


@cache
def synonyms() -> dict[str, tuple[str, ...]]:
    """Synonymous tags, by the casefolded name of the label (its tag, if it has no name)."""
    raw = json.loads((files("genner") / "assets" / "synonyms.json").read_text(encoding="utf-8"))
    return {name: tuple(tags) for name, tags in raw.items()}


def retag(asked: LabelSet, spec: PromptSpec, rng: random.Random) -> tuple[LabelSet, str | None]:
    """The labels, in the same order, with other tags (see `PromptSpec`), and the recipe key that applied, if any."""
    if not spec.renamed and not spec.anonymous_tags:
        return asked, None
    drawn = rng.random()
    if drawn < spec.anonymous_tags:
        made, key = anonymize_tags(asked, rng), "anonymous_tags"
    elif drawn < spec.anonymous_tags + spec.renamed:
        made, key = renamed(asked, rng), "renamed"
    else:
        return asked, None
    return made, key if made != asked else None


def renamed(asked: LabelSet, rng: random.Random) -> LabelSet:
    """Each label with a synonymous tag, if one is known, and without its name, which would reveal the old tag."""
    tags = list(asked.tags)
    for i, label in enumerate(asked):
        taken = {tag.casefold() for j, tag in enumerate(tags) if j != i}
        known = synonyms().get((label.name or label.tag).casefold(), ())
        if free := [tag for tag in known if tag != label.tag and tag.casefold() not in taken]:
            tags[i] = rng.choice(free)
    return LabelSet(
        tuple(
            Label(tag, "", label.definition) if tag != label.tag else label
            for tag, label in zip(tags, asked, strict=True)
        ),
        asked.depth,
    )


def anonymize_tags(asked: LabelSet, rng: random.Random) -> LabelSet:
    """Each label with a letter and a number as tag, explained by its definition or name; without either, unchanged."""
    about = [label.definition or label.name for label in asked]
    stay = {label.tag for label, said in zip(asked, about, strict=True) if not said}
    pool = [letter + str(n) for n in range(1, 10 + len(asked)) for letter in ascii_uppercase]
    symbols = rng.sample([symbol for symbol in pool if symbol not in stay], len(asked))
    return LabelSet(
        tuple(
            Label(symbol, "", said) if said else label
            for symbol, label, said in zip(symbols, asked, about, strict=True)
        ),
        asked.depth,
    )
