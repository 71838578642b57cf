"""Mentions by label: the replacements for mentions."""

import json
import random
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from genner.data import read_corpus
from genner.data.base import ReadLog
from genner.data.registry import recognized
from genner.document import Document, Entity, LabelSet
from genner.errors import DataError
from genner.evaluation.words import words
from genner.probes.spans import Name, groups


@dataclass(frozen=True)
class Lexicon:
    """Names by label, sorted; each text occurs once per label."""

    names: Mapping[str, tuple[Name, ...]]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "Lexicon":
        """The outermost mentions of annotated documents.

        Each keeps the entities inside it. If these differ between occurrences, the most frequent set counts; among
        equally frequent sets, the first in sort order. Mentions that cross others are left out, since they do not stand
        alone.
        """
        found: dict[tuple[str, str], Counter[tuple[Entity, ...]]] = {}
        for document in documents:
            for group in groups(document):
                if not group.crossing:
                    text = document.text[group.start : group.end]
                    inner = tuple(e.shifted(-group.start) for e in group.inner if e.span != group.head.span)
                    plain = tuple(Entity(e.start, e.end, e.label) for e in inner)  # without scores
                    found.setdefault((group.label, text), Counter())[plain] += 1
        return cls._sorted(
            Name(text, label, min(inner, key=lambda some: (-inner[some], some)))
            for (label, text), inner in found.items()
        )

    @classmethod
    def from_file(cls, path: Path, reader: str | None = None, read_log: ReadLog | None = None) -> "Lexicon":
        """Read annotated documents, as `read_corpus` does, or `{"TAG": ["a mention", ...]}` from a `.json` file.

        Raises `DataError` when the file is neither.
        """
        if path.suffix.lower() != ".json" or reader or (path.is_file() and recognized(path) is not None):
            return cls.of(read_corpus(path, reader, read_log))
        try:
            data = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise DataError(str(path), f"cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise DataError(str(path), f"is not JSON: {error}") from None
        if not isinstance(data, dict) or not all(
            isinstance(some, list) and all(isinstance(text, str) and text.strip() for text in some)
            for some in data.values()
        ):
            raise DataError(str(path), 'is not {"TAG": ["a mention", ...]}, mentions being strings that are not empty')
        return cls._sorted(Name(text, label) for label, some in data.items() for text in set(some))

    @classmethod
    def _sorted(cls, names: Iterable[Name]) -> "Lexicon":
        made: dict[str, list[Name]] = {}
        for name in sorted(names):
            made.setdefault(name.label, []).append(name)
        return cls({label: tuple(some) for label, some in made.items()})

    def within(self, labels: LabelSet) -> "Lexicon":
        """The lexicon limited to a label set: other labels, and inner entities of other labels, are left out."""
        return Lexicon(
            {
                label: tuple(Name(n.text, label, tuple(e for e in n.inner if e.label in labels)) for n in some)
                for label, some in self.names.items()
                if label in labels
            }
        )

    def without(self, texts: Container[str]) -> "Lexicon":
        """Without the names whose text, casefolded, is one of `texts`."""
        kept = {label: tuple(n for n in some if n.text.casefold() not in texts) for label, some in self.names.items()}
        return Lexicon({label: some for label, some in kept.items() if some})

    def unambiguous(self) -> "Lexicon":
        """Without the names that, casefolded, occur under several labels."""
        labels = Counter(text for some in self.names.values() for text in {n.text.casefold() for n in some})
        return self.without({text for text, n in labels.items() if n > 1})

    @cached_property
    def texts(self) -> frozenset[str]:
        """The texts of all names, casefolded."""
        return frozenset(n.text.casefold() for some in self.names.values() for n in some)

    @cached_property
    def _by_words(self) -> dict[str, dict[int, list[Name]]]:
        """Names by label and number of words."""
        made: dict[str, dict[int, list[Name]]] = {}
        for label, some in self.names.items():
            for n in some:
                made.setdefault(label, {}).setdefault(size(n.text), []).append(n)
        return made

    def draw(self, label: str, instead_of: str, rng: random.Random) -> Name | None:
        """A name of this label that is not `instead_of`, whatever its case; None if there is none.

        It has as many words, or else the nearest number of words, the smaller one first.
        """
        n, old = size(instead_of), instead_of.casefold()
        sizes = self._by_words.get(label, {})
        for some in (sizes[m] for m in sorted(sizes, key=lambda m: (abs(m - n), m))):
            drawn = rng.choice(some)
            if drawn.text.casefold() != old:
                return drawn
            if free := [name for name in some if name.text.casefold() != old]:
                return rng.choice(free)
        return None


def size(text: str) -> int:
    """The number of words of a mention."""
    return len(words(text).starts)
