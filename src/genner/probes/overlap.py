"""Seen versus unseen mentions: the data stay unchanged, the score is split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from genner.document import Document, Entity, LabelSet
from genner.evaluation.breakdowns import NO_TRAINING, TrainingCounts
from genner.evaluation.words import words
from genner.probes.base import Probe, Probed, checked, same
from genner.probes.lexicon import Lexicon
from genner.probes.measures import by_bucket, strict

BUCKETS = ("seen", "other_label", "partial", "unseen")


@dataclass(frozen=True)
class KnownMentions:
    """The mentions of the training data, inner ones included: whole, as written, and their words by label."""

    mentions: TrainingCounts
    words: frozenset[tuple[str, str]]  # (word, label), without words of one character and function words

    @classmethod
    def of(cls, documents: Sequence[Document]) -> "KnownMentions":
        some = {(word, e.label) for d in documents for e in d.entities for word in telling(d.mention(e))}
        return cls(TrainingCounts.of(documents), frozenset(some))

    def bucket(self, document: Document, entity: Entity) -> str:
        """One of `BUCKETS`."""
        mention = document.mention(entity)
        if (mention, entity.label) in self.mentions.mentions:
            return "seen"
        if mention in self.mentions.texts:
            return "other_label"
        return "partial" if any((word, entity.label) in self.words for word in telling(mention)) else "unseen"


@dataclass(frozen=True)
class SeenUnseen(Probe):
    """Gold mentions split by whether they occur in the training data; nothing is changed.

    A mention is `seen` if it is an entity of the same label in the training data, as written; `other_label` if only of
    other labels; `partial` if one of its words is in a training mention of the same label; else `unseen`. Words of one
    character are ignored, and so are words without a capital or digit if other words of the mention have one (`of`,
    `the`).
    Shows: whether the score depends on mentions seen in training; the usual measure is `unseen_recall` compared with
    `seen_recall`. F1 is given by bucket too: a wrong entity counts against the bucket of its predicted span and label.
    Cannot show: causes. Unseen mentions are also rarer, longer and in other texts than seen ones, so part of the gap is
    unrelated to memory; the probes that replace mentions keep the sentence fixed instead. Which mentions occurred in
    pretraining is unknown.
    Sources: Taillé et al. (2020), "Contextualized Embeddings in Named-Entity Recognition: An Empirical Study on
    Generalization" (exact, partial and no lexical overlap); Augenstein et al. (2017), "Generalisation in Named Entity
    Recognition: A Quantitative Analysis". The rule for words is our own; in scripts without spaces between words no
    mention is partial.
    """

    known: KnownMentions = KnownMentions(NO_TRAINING, frozenset())

    needs: ClassVar[tuple[str, ...]] = ("train",)

    @classmethod
    def sources(cls, train: Sequence[Document], lexicon: Lexicon) -> dict[str, Any]:
        return {"known": KnownMentions.of(train)}

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        gold = checked(documents, labels)
        report = {"documents": len(gold), "mentions": sum(len(d.entities) for d in gold), **dict.fromkeys(BUCKETS, 0)}
        for document in gold:
            for entity in document.entities:
                report[self.known.bucket(document, entity)] += 1
        return Probed(gold, labels, same(labels), report)

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """The plain score and the score of each bucket (`seen_recall`, `seen_f1`, ..., `unseen_f1`)."""
        whole = strict(probed.documents, predicted)
        return whole | by_bucket(probed.documents, predicted, self.known.bucket, BUCKETS)


def telling(mention: str) -> set[str]:
    """The distinctive words of a mention, casefolded (see `SeenUnseen`)."""
    found = words(mention)
    some = [mention[start:end] for start, end in zip(found.starts, found.ends, strict=True)]
    some = [word for word in some if len(word) > 1 and any(char.isalnum() for char in word)]
    marked = [word for word in some if any(char.isupper() or char.isdigit() for char in word)]
    return {word.casefold() for word in marked or some}
