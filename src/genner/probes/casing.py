"""Probes of case: texts in lower case, texts in upper case."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from genner.document import Document, LabelSet
from genner.probes.base import Probe, Probed, checked, same
from genner.training.noise import lowercase, uppercase


@dataclass(frozen=True)
class Lower(Probe):
    """All letters in lower case.

    Shows: how much a model relies on capitals, which in English mark most names. A large loss says that the model
    learned the shape of names more than the names and their context.
    Cannot show: whether names are memorized; a memorized name in lower case is another token sequence, and a model may
    fail for that reason alone. In languages that capitalize all nouns, or none, it shows something else or nothing.
    Sources: Mayhew, Tsygankova and Roth (2019), "ner and pos when nothing is capitalized"; Bodapati, Yun and Al-Onaizan
    (2019), "Robustness to Capitalization Errors in Named Entity Recognition".

    Characters whose other case is not made of letters stay, as in training (`genner.training.noise`). The seed has no
    effect.
    """

    change: ClassVar[Callable[..., Document]] = staticmethod(lowercase)

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        gold = checked(documents, labels)
        made = tuple(type(self).change(document, self.dice(document)) for document in gold)
        report = {
            "documents": len(gold),
            "documents_changed": sum(a.text != b.text for a, b in zip(gold, made, strict=True)),
            "mentions": sum(len(d.entities) for d in gold),
        }
        return Probed(made, labels, same(labels), report)


@dataclass(frozen=True)
class Upper(Lower):
    """All letters in upper case, as in headlines.

    Shows: whether a model finds names when capitals carry no information. Unlike in `lower`, no word looks like a
    common word; a model that takes capitals for names finds names everywhere and loses precision.
    Cannot show: as `lower`. Words in capitals are also split into more and rarer tokens, so answers are longer.
    Sources: as `lower`.
    """

    change: ClassVar[Callable[..., Document]] = staticmethod(uppercase)
