"""What a model was trained on: the label sets of its recipe, and which other labels are new to it.

A label is known if its tag or its name equals that of a label of the recipe, comparing only letters and digits and
ignoring case (`PERSON`, `person`). Its meaning may still differ: other corpora may define a `known` label differently.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from genner.document import LabelSet
from genner.errors import DataError

TRAINED_KEY = "trained"  # in the `genner.json` of an adapter, the `training.json` of a model
MAX_NAMED_LABELS = 8  # maximum number of labels listed in a message


@dataclass(frozen=True)
class Trained:
    """The label sets of a recipe, each once, with the names of the data sets that use it."""

    sets: tuple[tuple[tuple[str, ...], LabelSet], ...]

    @classmethod
    def of(cls, sets: Iterable[tuple[str, LabelSet]]) -> Self:
        """From (name of a data set, its label set)."""
        by_labels: dict[LabelSet, list[str]] = {}
        for name, labels in sets:
            by_labels.setdefault(labels, []).append(name)
        return cls(tuple((tuple(names), labels) for labels, names in by_labels.items()))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(
            plain(name) for _, labels in self.sets for label in labels for name in (label.tag, label.name) if name
        )

    def new(self, labels: LabelSet) -> tuple[str, ...]:
        """The tags of the labels that are new to the model, in order."""
        return tuple(
            label.tag
            for label in labels
            if not self._known.intersection(plain(name) for name in (label.tag, label.name) if name)
        )

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON types; `from_json` reads them back."""
        return [{"sets": list(names), "labels": labels.to_json()} for names, labels in self.sets]

    @classmethod
    def from_json(cls, raw: Any, source: str) -> Self:
        """From the result of `to_json`. Raises `DataError`, naming `source`, for anything else."""
        if not isinstance(raw, list):
            raise DataError(source, f"{TRAINED_KEY!r} is {type(raw).__name__}, not a list")
        found = []
        for item in raw:
            if not isinstance(item, Mapping) or not isinstance(names := item.get("sets"), list):
                raise DataError(source, f"{TRAINED_KEY!r} holds {item!r}, which has no list 'sets' and no 'labels'")
            found.append((tuple(map(str, names)), LabelSet.from_json(item.get("labels"), source)))
        return cls(tuple(found))


def plain(name: str) -> str:
    """The letters and digits of a name, casefolded, for comparison."""
    return re.sub(r"[\W_]+", "", name).casefold()


def named(tags: Sequence[str]) -> str:
    """Tags for a message: the first ones, and the number of others."""
    more = f" and {len(tags) - MAX_NAMED_LABELS} more" if len(tags) > MAX_NAMED_LABELS else ""
    return ", ".join(tags[:MAX_NAMED_LABELS]) + more
