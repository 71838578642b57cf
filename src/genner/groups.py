"""Groups of documents (articles, books, abstracts), as the documents name them or as their ids clearly number them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from genner.document import Document, DocumentT

_NUMBERED = re.compile(r"(.*?)([-_#:/.]+s?)([0-9]{1,18})", re.DOTALL)
_NUMBER_BEHIND = re.compile(r"[-_#:/. ]*[0-9]*")
# What numbered ids begin with where they name no text: a split, a portion, or what each of them is.
_NO_NAMES = re.compile(
    "all|batch|block|chunk|data|dataset|dev|devel|development|eval|evaluation|examples?|file|fold|heldout|id|idx|index|"
    "instance|item|line|part|portion|query|record|row|s|sample|segment|sent|sentences?|set|shard|split|test|testing|"
    "train|training|tune|val|valid|validation",
    re.IGNORECASE,
)
_SHORT = 5  # digits; a name of fewer may be a year, or a number of anything


@dataclass(frozen=True, slots=True)
class Groups:
    """The group of each of some documents: `names` in their order, empty for those of which it is not known.

    `by` says where they are from: `group` (the documents name them), `ids` (`groups_from_ids`), or empty (not known).
    """

    names: tuple[str, ...]
    by: Literal["group", "ids", ""]

    @property
    def units(self) -> tuple[int, ...]:
        """The number of each document's unit, from 0. A document whose group is not known is a unit by itself."""
        return units_named(self.names)

    @property
    def count(self) -> int:
        """How many different groups have a name."""
        return len(set(self.names) - {""})


def units_named(names: Iterable[str | None]) -> tuple[int, ...]:
    """The number of each name's unit, from 0; where a name is missing, a unit by itself."""
    numbers: dict[str | int, int] = {}
    return tuple(numbers.setdefault(name or at, len(numbers)) for at, name in enumerate(names))


def groups_of(documents: Sequence[Document]) -> Groups:
    """The groups of documents: those that they name, if any does; else those that their ids plainly number."""
    if any(document.group for document in documents):
        return Groups(tuple(document.group for document in documents), "group")
    names = groups_from_ids([document.id for document in documents])
    return Groups(tuple(names), "ids") if names else Groups(("",) * len(documents), "")


def groups_from_ids(ids: Iterable[str]) -> list[str] | None:
    """The group of each id, `NAME` of `NAME-0`, `NAME-1`, ...; None unless the ids plainly number texts within groups.

    They do if all of this holds: each id is a name, then a separator (of `-_#:/.`, the same in all of them; an `s` may
    follow), then a number; the ids of a name stand together, and their numbers rise; there are several names, most of
    them with more than one id; and every name may be that of a text: it holds a letter, or five digits, and is not a
    word like `train`, `test`, `batch` or `sentence`, alone or with a number.
    """
    numbered, names = NumberedIds(), list[str]()
    for id in ids:
        name = numbered.add(id)
        if name is None:
            return None
        names.append(name)
    return names if numbered.plain else None


class NumberedIds:
    """Tells whether ids, which are put in one after the other, plainly number texts within groups (`groups_from_ids`).

    Memory grows with the number of groups.
    """

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        """How many ids each name has; empty once an id was against it."""
        self._fails = False
        self._separator = ""
        self._last = ("", 0)

    def add(self, id: str) -> str | None:
        """The name in an id; None if this id, or one before, is against it."""
        part = None if self._fails else _NUMBERED.fullmatch(id)
        if part is None or not self._goes_on(part[1], part[2], int(part[3])):
            self._fails = True
            self.sizes.clear()
            return None
        self._separator, self._last = part[2], (part[1], int(part[3]))
        self.sizes[part[1]] = self.sizes.get(part[1], 0) + 1
        return part[1]

    def _goes_on(self, name: str, separator: str, number: int) -> bool:
        if name not in self.sizes:
            return separator == (self._separator or separator) and _may_name(name)
        return separator == self._separator and name == self._last[0] and number > self._last[1]

    @property
    def plain(self) -> bool:
        """Whether the ids so far plainly number texts within groups."""
        several = sum(size > 1 for size in self.sizes.values())
        return len(self.sizes) > 1 and 2 * several > len(self.sizes)


def _may_name(name: str) -> bool:
    letters = any(char.isalpha() for char in name)
    word = next((name[: m.start()] for m in _NUMBER_BEHIND.finditer(name) if m.end() == len(name)), name)
    return not _NO_NAMES.fullmatch(word) and (letters or sum(char.isdigit() for char in name) >= _SHORT)


def with_groups(documents: Sequence[DocumentT]) -> list[DocumentT]:
    """The documents, each with its group of `groups_of`."""
    return [replace(d, group=name) for d, name in zip(documents, groups_of(documents).names, strict=True)]
