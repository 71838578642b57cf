"""The groups of known corpora, derived from the ids of their sentences (`assets/groups.json`).

Files that `genner data fetch` makes name their groups. For older files, and those made otherwise, the folder's name
selects the corpus whose pattern applies: `genia/test.jsonl`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePath
from typing import cast

from genner.document import DocumentT


@dataclass(frozen=True, slots=True)
class Numbering:
    """How the ids of a corpus name groups: `pattern` matches a whole id; its one capture group is the group's name.

    `unit` says what a group is, for people. `anew`: each split numbers its groups from the beginning, so a name
    identifies a group only together with the file's name.
    """

    pattern: re.Pattern[str]
    unit: str
    anew: bool = False


@cache
def numberings() -> dict[str, Numbering]:
    """How ids name groups, by corpus."""
    raw = json.loads((files("genner") / "assets" / "groups.json").read_text(encoding="utf-8"))
    return {
        name: Numbering(re.compile(about["ids"]), about["unit"], about.get("numbered_anew", False))
        for name, about in raw.items()
    }


def grouped(source: Traversable) -> Callable[[DocumentT], DocumentT]:
    """A function that gives the documents of a file their groups, if its folder is named after a corpus.

    A document that names its group keeps it; one whose id does not match the pattern gets none.
    """
    numbering = numberings().get(cast(Path, source).parent.name)
    if numbering is None:
        return lambda document: document
    prefix = f"{PurePath(source.name.removesuffix('.gz')).stem}:" if numbering.anew else ""

    def named(document: DocumentT) -> DocumentT:
        found = None if document.group else numbering.pattern.fullmatch(document.id)
        return replace(document, group=prefix + found[1]) if found else document

    return named
