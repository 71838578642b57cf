"""Groups of documents (articles, books, abstracts), named by the documents or clearly encoded in their ids."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from genner.document import Document, DocumentT

_NUMBERED = re.compile(r"(.*?)([-_#:/.]+s?)([0-9]{1,18})", re.DOTALL)
_NUMBER_BEHIND = re.compile(r"[-_#:/. ]*[0-9]*")
# Prefixes of numbered ids that name no text: a split, a portion, or the kind of unit.
_NO_NAMES = re.compile(
    "all|batch|block|chunk|data|dataset|dev|devel|development|eval|evaluation|examples?|file|fold|heldout|id|idx|index|"
    "instance|item|line|part|portion|query|record|row|s|sample|segment|sent|sentences?|set|shard|split|test|testing|"
    "train|training|tune|val|valid|validation",
    re.IGNORECASE,
)
_SHORT = 5  # digits; a shorter number may be a year or any other number


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of documents: `names` in document order, empty where the group is unknown.

    `by` is their origin: `group` (named by the documents), `ids` (`groups_from_ids`), or empty (unknown).
    """

    names: tuple[str, ...]
    by: Literal["group", "ids", ""]

    @property
    def units(self) -> tuple[int, ...]:
        """The number of each document's unit, from 0. A document of unknown group is a unit by itself."""
        return units_named(self.names)

    @property
    def count(self) -> int:
        """The number of distinct named groups."""
        return len(set(self.names) - {""})


def units_named(names: Iterable[str | None]) -> tuple[int, ...]:
    """The number of each name's unit, from 0; each missing name is a unit by itself."""
    numbers: dict[str | int, int] = {}
    return tuple(numbers.setdefault(name or at, len(numbers)) for at, name in enumerate(names))


def groups_of(documents: Sequence[Document]) -> Groups:
    """The groups of documents: the named ones, if any document names one; else those that the ids plainly encode."""
    if any(document.group for document in documents):
        return Groups(tuple(document.group for document in documents), "group")
    names = groups_from_ids([document.id for document in documents])
    return Groups(tuple(names), "ids") if names else Groups(("",) * len(documents), "")


def groups_from_ids(ids: Iterable[str]) -> list[str] | None:
    """The group of each id, `NAME` of `NAME-0`, `NAME-1`, ...; None unless the ids plainly number texts in groups.

    They do if all of this holds: each id is a name, a separator (one of `-_#:/.`, the same in all ids; an `s` may
    follow) and a number; the ids of a name are consecutive, and their numbers increase; there are several names, most
    of them with more than one id; and every name can be that of a text: it has a letter or five digits, and is not a
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
    """Checks whether ids, added one by one, plainly number texts in groups (`groups_from_ids`).

    Memory grows with the number of groups.
    """

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        """Number of ids of each name; empty once an id broke the pattern."""
        self._fails = False
        self._separator = ""
        self._last = ("", 0)

    def add(self, id: str) -> str | None:
        """Add an id and return its name; None if this or an earlier id breaks the pattern."""
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
        """Whether the ids so far plainly number texts in groups."""
        several = sum(size > 1 for size in self.sizes.values())
        return len(self.sizes) > 1 and 2 * several > len(self.sizes)


def _may_name(name: str) -> bool:
    letters = any(char.isalpha() for char in name)
    word = next((name[: m.start()] for m in _NUMBER_BEHIND.finditer(name) if m.end() == len(name)), name)
    return not _NO_NAMES.fullmatch(word) and (letters or sum(char.isdigit() for char in name) >= _SHORT)


def with_groups(documents: Sequence[DocumentT]) -> list[DocumentT]:
    """The documents, each with its group from `groups_of`."""
    return [replace(d, group=name) for d, name in zip(documents, groups_of(documents).names, strict=True)]
