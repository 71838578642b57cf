"""What a probe is: a change to the documents or the requested labels that isolates one cause of a score.

A probe is a frozen value. The change to a document depends on the probe's seed and settings and on the document (its
id, or its text if it has no id), never on the other documents or their order. The change to a label set depends on the
seed and the label set. So probing part of a corpus gives that part of the probed corpus, and training and test data
that are probed separately stay consistent.
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
    """The result of applying a probe.

    The model predicts on `documents` with the label set `labels`; `documents` are also the gold of the plain score.
    `back` maps the tags of `labels` to those of the original label set, one to one. `report` counts what was done and
    left out. `readings` holds the same texts with alternative gold, by name, for probes whose texts have several
    readings.
    """

    documents: tuple[Document, ...]
    labels: LabelSet
    back: Mapping[str, str]
    report: Mapping[str, int]
    readings: Mapping[str, tuple[Document, ...]] = field(default_factory=dict)

    def restore(self, document: DocumentT) -> DocumentT:
        """A document, or prediction, in the original labels. Raises `LabelError` on a label that was not requested."""
        return retagged(document, self.back)


@dataclass(frozen=True)
class Probe(ABC):
    """A probe. `apply` makes the data, `measure` scores a model's predictions on it."""

    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    """What `make` needs to build it: "train" (the training documents), "lexicon" (mentions by label), or both."""

    @classmethod
    def sources(cls, train: Sequence[Document], lexicon: "Lexicon") -> dict[str, Any]:
        """The constructor arguments that are built from what the probe needs."""
        return {}

    @abstractmethod
    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        """Apply the probe to documents. Raises `LabelError` when one has a label that `labels` lacks."""

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """Scores of predictions made on `probed.documents` with `probed.labels`; the strict score unless overridden.

        Ratios are in [0, 1]. Raises `UsageError` when a prediction is missing or has another text.
        """
        return strict(probed.documents, predicted)

    def dice(self, document: Document, about: str = "") -> random.Random:
        """A random generator for something in a document: the same wherever the document occurs."""
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
    """The identity mapping, for probes that keep the labels."""
    return {tag: tag for tag in labels.tags}


def retagged(document: DocumentT, tags: Mapping[str, str]) -> DocumentT:
    """The document with each label replaced. Raises `LabelError` on a label that `tags` lacks."""
    made = []
    for e in document.entities:
        if e.label not in tags:
            raise LabelError(f"document {document.id!r} has label {e.label!r}; legal: {', '.join(tags)}")
        made.append(Entity(e.start, e.end, tags[e.label], e.score))
    return replace(document, entities=tuple(made))
