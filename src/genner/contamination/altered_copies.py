"""Texts compared with copies in which other mentions replace the original ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genner.contamination.base import ContaminationCase, Finding, Signal
from genner.contamination.membership import is_adapted, judged
from genner.contamination.resumable import ResumableItems
from genner.document import Document
from genner.probes import make

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel

COPIES = 4


@dataclass(frozen=True)
class AlteredCopies(Signal):
    """How much likelier a text is than unseen copies of it with other mentions of the same labels.

    Shows: whether the model knows which names occur in these very sentences. The `advantage` of a text is its mean
    log-likelihood per token minus that of four copies; it is compared with the advantage of unseen texts over their
    copies. Both sides of each difference have texts of the same kind and length.
    Cannot show: anything by the advantage alone. A name fits its sentence, so the true text is also likelier to a model
    that has never seen it; only a larger advantage than that of unseen texts counts. Texts without entities have no
    copies and are left out.
    Sources: Mattern et al. (2023), "Membership Inference Attacks against Language Models via Neighbourhood
    Comparison"; there a masked model makes the neighbours, here mentions are replaced, as in the probe `mentions_seen`.
    """

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        if not any(document.entities for document in case.test):
            return [Finding(side.name, "unknown", "the test set has no entities to replace") for side in sides]
        texts = {group: self.copies(documents, case) for group, documents in case.groups().items()}
        names = [side.name for side in sides]
        findings = []
        for side in sides:
            advantages = {}
            for group, some in texts.items():
                values = iter(_loss(side, [text for one in some for text in one], kept))
                each = [[next(values) for _ in one] for one in some]
                advantages[group] = [one[0] - sum(one[1:]) / COPIES for one in each if None not in one]
            findings.append(judged(case, side.name, {"advantage": advantages}, is_adapted(side.name, names)))
        return findings

    def copies(self, documents: Sequence[Document], case: ContaminationCase) -> list[list[str]]:
        """For each document that has entities: its text and the texts of its copies."""
        some = [document for document in documents if document.entities]
        seeds = range(COPIES * self.seed, COPIES * self.seed + COPIES)
        made = [make("mentions_seen", seed, train=case.test).apply(some, case.labels).documents for seed in seeds]
        return [[d.text, *(copy[i].text for copy in made)] for i, d in enumerate(some)]


def _loss(side: "LanguageModel", texts: Sequence[str], kept: ResumableItems) -> list[Any]:
    """The mean log-likelihood per token of each text; None if no token can be scored."""

    def compute(places: list[int]) -> Iterator[tuple[int, Any]]:
        for row, scored in side.score_texts([texts[i] for i in places]):
            yield places[row], sum(scored.logp) / len(scored.logp) if scored.logp else None

    return kept.fill(f"copies, {side.name}", list(texts), compute)
