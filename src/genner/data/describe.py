"""The contents of a file of documents: counts, nesting, duplicates, overlap of splits, differences from the catalog."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

from genner.data.catalog import Corpus
from genner.document import Document, Entity
from genner.groups import NumberedIds

_MADE_UP = re.compile(r"-[0-9]+")


@dataclass
class Description:
    """One split. Lengths are in code points; depth is the number of entities that cover a character."""

    name: str
    documents: int = 0
    characters: int = 0
    entities: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    inner: int = 0
    """Entities that lie within another one, or have the same span."""
    crossing: int = 0
    """Entities that begin within another one and end after it."""
    depth: int = 0
    longest: int = 0
    longest_id: str = ""
    duplicates: int = 0
    """Documents whose text occurred earlier in this file."""
    group_sizes: Counter[str] = field(default_factory=Counter, repr=False)
    """Number of documents by the group that they name; `""` for those that name none."""
    ids: NumberedIds = field(default_factory=NumberedIds, repr=False)
    texts: Counter[bytes] = field(default_factory=Counter, repr=False)
    """Number of documents by an 8-byte hash of their text; used to find what two files share."""

    def add(self, document: Document) -> None:
        self.documents += 1
        self.characters += len(document.text)
        self.entities += len(document.entities)
        self.labels.update(e.label for e in document.entities)
        if len(document.text) > self.longest:
            self.longest, self.longest_id = len(document.text), document.id
        inner, crossing, depth = nesting(document.entities)
        self.inner += inner
        self.crossing += crossing
        self.depth = max(self.depth, depth)
        key = blake2b(document.text.encode(), digest_size=8).digest()
        self.duplicates += key in self.texts
        self.texts[key] += 1
        self.group_sizes[document.group] += 1
        self.ids.add(document.id)

    @property
    def groups(self) -> Mapping[str, int]:
        """Number of documents in each group: as they name it, or else as their ids do. Empty if unknown."""
        named = {name: size for name, size in self.group_sizes.items() if name}
        return named or (self.ids.sizes if self.ids.plain else {})

    def to_dict(self) -> dict[str, Any]:
        """All but the hashes, as JSON types; `groups` is null if unknown."""
        facts = {name: value for name, value in vars(self).items() if name not in ("texts", "group_sizes", "ids")}
        sizes = list(self.groups.values())
        known = {"number": len(sizes), "documents": sum(sizes), "largest": max(sizes)} if sizes else None
        return {**facts, "labels": dict(self.labels.most_common()), "groups": known}


def nesting(entities: Sequence[Entity]) -> tuple[int, int, int]:
    """For entities in reading order: how many lie within another, how many cross an earlier one, the maximum depth."""
    inner = crossing = depth = 0
    open_ends: list[int] = []  # ends of earlier entities that reach beyond the current start
    for entity in entities:
        open_ends = [end for end in open_ends if end > entity.start]
        inner += any(end >= entity.end for end in open_ends)
        # Earlier entities start no later; one with the same start is at least as long, so there is no crossing.
        crossing += any(end < entity.end for end in open_ends)
        open_ends.append(entity.end)
        depth = max(depth, len(open_ends))
    return inner, crossing, depth


def describe(name: str, documents: Iterable[Document]) -> Description:
    """Describe the documents in one pass; memory grows by a few bytes per document."""
    made = Description(name)
    for document in documents:
        made.add(document)
    return made


def leaks(splits: Sequence[Description]) -> list[tuple[str, str, int]]:
    """For each ordered pair of splits (a, b): number of documents of a whose text is also in b, if any."""
    pairs = ((a, b) for a in splits for b in splits if a is not b)
    counts = [(a.name, b.name, sum(n for text, n in a.texts.items() if text in b.texts)) for a, b in pairs]
    return [leak for leak in counts if leak[2]]


def group_leaks(splits: Sequence[Description]) -> list[tuple[str, str, int, int, str]]:
    """For each ordered pair of splits (a, b): the groups of a of which b also has documents, if any.

    Values: number of groups, number of documents of a, the name of one group. Names that a reader derived from the
    file's name are left out.
    """
    found = []
    for a in splits:
        for b in splits:
            both = [] if a is b else [g for g in a.groups if g in b.groups and not _MADE_UP.fullmatch(_rest(g, a.name))]
            if both:
                found.append((a.name, b.name, len(both), sum(a.groups[g] for g in both), both[0]))
    return found


def _rest(group: str, path: str) -> str:
    """The part of a group's name after the name of the file."""
    return group.removeprefix(PurePath(path.removesuffix(".gz")).stem) if path else group


def disagreements(split: Description, corpus: Corpus, which: str) -> list[str]:
    """How the counts of a split differ from those published for split `which` of the corpus; one line each."""
    lines = []
    for expected in corpus.splits:
        if expected.name == which:
            for what, found, published in (
                ("sentences", split.documents, expected.sentences),
                ("entities", split.entities, expected.entities),
            ):
                if found != published:
                    lines.append(
                        f"{split.name}: {found:,} {what}, but {published:,} are published for {corpus.title}, "
                        f"{which} ({corpus.counts_from})"
                    )
    unknown = sorted(set(split.labels) - set(corpus.labels.tags))
    if unknown:
        legal = ", ".join(corpus.labels.tags)
        lines.append(f"{split.name}: labels {', '.join(unknown)} are not of {corpus.title}, which has {legal}")
    return lines
