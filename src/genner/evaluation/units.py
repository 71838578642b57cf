"""The units over which intervals are computed: groups that the documents name, or those that the caller asks for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from genner.document import Document
from genner.errors import UsageError
from genner.evaluation.intervals import FEW
from genner.groups import groups_of, units_named

BY = "document, group, a field of the records, or id:PATTERN"


@dataclass(frozen=True, slots=True)
class Units:
    """`of` has the number of each document's unit, from 0. `what` is what a unit is, in a word, `by` how it was told,
    as in a signature. `alone` documents do not say their unit, and are one each."""

    of: tuple[int, ...]
    what: str
    by: str
    alone: int = 0

    @property
    def number(self) -> int:
        return len(set(self.of))

    @property
    def about(self) -> str:
        """`316 groups of 2077 documents`."""
        n = self.number
        whole = f" of {len(self.of)} documents" if self.by != "document" else ""
        alone = f", {self.alone} of them by themselves" if self.alone else ""
        return f"{n} {self.what}{'s' * (n != 1)}{whole}{alone}"

    def signature(self) -> dict[str, str]:
        """What a signature says of the intervals."""
        return {"unit": self.by, "units": str(self.number), "interval": "jackknife-t"}

    def warning(self, effective: float) -> str:
        """What is to be said where there are few of them; empty where there are enough. `effective` is their number
        as if all were of the same size."""
        n = self.number
        if effective >= FEW:
            return ""
        if n < 2:
            advice = "; --group-by document takes each document for one" if len(self.of) > 1 else ""
            one = f"there is {n or 'no'} {self.what}, and nothing is known of how others would differ"
            return f"no interval: {one}{advice}"
        if effective <= 1:  # all figures are of one unit, and none of the others has anything in it
            some = "1" if effective else "none"
            return (
                f"no interval: {some} of {n} {self.what}s has entities, and nothing is known of how others would differ"
            )
        rough = f"fewer than {FEW}: the interval is rough; only large differences of systems show"
        if n < FEW:
            return f"only {n} {self.what}s, {rough}"
        return f"{n} {self.what}s, but so unequal in size that they count as {max(effective, 0):.0f}, {rough}"

    def to_dict(self, effective: float) -> dict[str, Any]:
        """As JSON types."""
        return {
            "unit": self.by,
            "number": self.number,
            "effective": effective,
            "documents": len(self.of),
            "without_unit": self.alone,
            "warning": self.warning(effective) or None,
        }


def units_of(documents: Sequence[Document], by: str | None = None) -> Units:
    """The units of gold documents. `by` is one of `BY`; without it they are groups where the documents say so.

    Of `id:PATTERN`, a regular expression, the unit is what its first group matches in the id, or else all of the match.
    Raises `UsageError` where no document has what is asked for.
    """
    if by == "document":
        return Units(tuple(range(len(documents))), "document", "document")
    if by is None or by == "group":
        groups = groups_of(documents)
        if not groups.by:
            if by and documents:
                raise UsageError(
                    "--group-by group: the gold documents name no group, and their ids do not number any; give each a "
                    "field 'group' (`genner convert` writes it), name another field, or --group-by id:PATTERN"
                )
            return units_of(documents, "document")
        return Units(groups.units, "group", "group" if groups.by == "group" else "group, by id", groups.names.count(""))
    if by.startswith("id:"):
        try:
            pattern = re.compile(by.removeprefix("id:"))
        except re.error as error:
            raise UsageError(f"--group-by {by}: is no regular expression: {error}") from None
        found = [pattern.search(d.id) for d in documents]
        names = [(m[1] if pattern.groups and m[1] is not None else m[0]) if m else None for m in found]
        return _named(
            names, by, "group", f"id {quote(by.removeprefix('id:'), safe=' ()[]{}.*+?^$-_,;=!<>@#/')}", documents
        )
    names = [str(d.extra[by]) if isinstance(d.extra.get(by), str | int) else None for d in documents]
    return _named(names, by, by if re.fullmatch(r"[\w-]+", by) else "group", f"field {quote(by, safe=' ')}", documents)


def _named(names: Sequence[str | None], by: str, what: str, told: str, documents: Sequence[Document]) -> Units:
    if documents and not any(names):
        fields = sorted({key for d in documents for key, v in d.extra.items() if isinstance(v, str | int)})
        some = f"; fields that records have: {', '.join(fields[:20])}" if fields else ""
        ids = f"; the first id is {documents[0].id!r}" if by.startswith("id:") else some
        raise UsageError(f"--group-by {by}: no gold document has it{ids}; legal: {BY}")
    return Units(units_named(names), what, told, sum(not name for name in names))
