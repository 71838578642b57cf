"""Entity mentions of the test set that occur in the training data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from genner.contamination.base import ContaminationCase, Finding, Measure, Signal
from genner.contamination.overlap import by_side
from genner.contamination.resumable import ResumableItems
from genner.document import Document
from genner.probes.overlap import BUCKETS, KnownMentions

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel


@dataclass(frozen=True)
class MentionOverlap(Signal):
    """Entity mentions of the test set that occur in the training data, as written.

    Shows: how much of a score can depend on names seen in training: `seen`, the share of mentions that are entities of
    the same label there; `other_label`, of other labels only; `partial`, with a word in such an entity; `unseen`, the
    rest; `seen_distinct`, `seen` with each mention counted once. For comparison, `unseen_split_seen` is the same share
    in unseen texts of the kind, if there are any: what two splits of one corpus have in common.
    Cannot show: contamination. Frequent names occur in every text of their field, so this is a description; the probe
    `seen_unseen` gives the score on each part.
    Sources: Augenstein et al. (2017), "Generalisation in Named Entity Recognition: A Quantitative Analysis"; Taillé et
    al. (2020), "Contextualized Embeddings in Named-Entity Recognition: An Empirical Study on Generalization".
    """

    asks: ClassVar[bool] = False

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        known = KnownMentions.of([document for source in case.train for document in source.documents])
        counts, distinct = _counts(case.test, known)
        n, different = counts.total(), distinct.total()
        if not n:
            return [Finding(side.name, "unknown", "the test set has no entities") for side in sides]
        measures = {bucket: Measure(counts[bucket] / n, n) for bucket in BUCKETS}
        measures["seen_distinct"] = Measure(distinct["seen"] / different, different)
        said = (
            f"{counts['seen'] / n:.1%} of {n:,} mentions, {distinct['seen'] / different:.1%} of {different:,} "
            "different ones were trained on with their label"
        )
        other, _ = _counts(case.unseen, known)
        if other.total():
            measures["unseen_split_seen"] = Measure(other["seen"] / other.total(), other.total())
            said += f"; of unseen texts' {other.total():,} mentions {other['seen'] / other.total():.1%}"
        return by_side(case, sides, False, said, measures, verdict="measured")


def _counts(documents: Sequence[Document], known: KnownMentions) -> tuple[Counter[str], Counter[str]]:
    """Mentions, and distinct mentions, by bucket."""
    all_of = [((d.mention(e), e.label), known.bucket(d, e)) for d in documents for e in d.entities]
    return Counter(bucket for _, bucket in all_of), Counter(dict(all_of).values())
