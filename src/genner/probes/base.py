"""What a probe is: a way to change documents, or the labels that are asked for, so that a score says something new.

A probe is a frozen value. What it does to a document depends on its seed and settings and on the document (its id, or
its text where it has none), never on the other documents or their order; what it does to a label set depends on the
seed and the label set. So part of a corpus, probed, is that part of the probed corpus, and training and test data that
are probed apart go together.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from genner.document import Document, DocumentT, Entity, LabelSet
from genner.errors import LabelError
from genner.probes.measures import strict

if TYPE_CHECKING:
    from genner.probes.lexicon import Lexicon


@dataclass(frozen=True)
class Probed:
    """What a probe makes.

    `documents` are to be predicted on, asked with `labels`, and are the gold of the plain score. `back` leads from the
    tags of `labels` to those of the original label set, one to one. `report` counts what was done and left out.
    `readings` holds the same texts with other gold, by name, where a probe lets one read its texts in several ways.
    """

    documents: tuple[Document, ...]
    labels: LabelSet
    back: Mapping[str, str]
    report: Mapping[str, int]
    readings: Mapping[str, tuple[Document, ...]] = field(default_factory=dict)

    def restore(self, document: DocumentT) -> DocumentT:
        """A document, or prediction, in the original labels. Raises `LabelError` on a label that was not asked for."""
        return retagged(document, self.back)


@dataclass(frozen=True)
class Probe(ABC):
    """A way to probe. `apply` makes the data, `measure` scores what a model answered to it."""

    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    """What `make` must be given to build it: of "train" (the training documents) and "lexicon" (mentions by label)."""

    @classmethod
    def sources(cls, train: Sequence[Document], lexicon: "Lexicon") -> dict[str, Any]:
        """The arguments that are made of what the probe needs."""
        return {}

    @abstractmethod
    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        """Probe documents. Raises `LabelError` when one has a label that `labels` lacks."""

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """Scores of predictions made on `probed.documents` with `probed.labels`; the strict score unless overridden.

        Ratios are in [0, 1]. Raises `UsageError` when a prediction is missing or has another text.
        """
        return strict(probed.documents, predicted)

    def dice(self, document: Document, about: str = "") -> random.Random:
        """Random numbers for something in a document: the same wherever the document stands."""
        return random.Random(f"{type(self).__name__}:{self.seed}:{document.id or document.text}:{about}")


def checked(documents: Iterable[Document], labels: LabelSet) -> tuple[Document, ...]:
    """The documents. Raises `LabelError` when one has a label that `labels` lacks."""
    made = tuple(documents)
    for document in made:
        for entity in document.entities:
            if entity.label not in labels:
                raise LabelError(
                    f"document {document.id!r} has label {entity.label!r}, which the label set lacks; it has: "
                    f"{', '.join(labels.tags)}; ask for all labels of the data"
                )
    return made


def same(labels: LabelSet) -> dict[str, str]:
    """The way back where labels stay as they are."""
    return {tag: tag for tag in labels.tags}


def retagged(document: DocumentT, tags: Mapping[str, str]) -> DocumentT:
    """The document with each label replaced. Raises `LabelError` on a label that `tags` lacks."""
    made = []
    for e in document.entities:
        if e.label not in tags:
            raise LabelError(f"document {document.id!r} has label {e.label!r}; legal: {', '.join(tags)}")
        made.append(Entity(e.start, e.end, tags[e.label], e.score))
    return replace(document, entities=tuple(made))
