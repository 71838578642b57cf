"""Probes of the mentions: the sentences stay, the names in them are replaced.

What is replaced is each group of overlapping entities (see `spans`), so with nested entities the outermost; the inner
ones go with their mention, and the new mention brings its own along where it comes from annotated text (`inner_removed`
and `inner_added` in the report). The same mention of a label is replaced by the same one throughout a document.
Documents without entities stay as they are. A name that is not annotated where it stands is not replaced.

What none of them can show: a sentence written about one name may not fit another (articles, gender, number, what the
rest of the text says), so some loss comes from replacing as such. The control for that is `mentions_seen`, which
replaces by names that the model has been trained on.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any, ClassVar

from genner.document import Document, LabelSet
from genner.errors import UsageError
from genner.probes.base import Probe, Probed, checked, same
from genner.probes.invented import invent
from genner.probes.lexicon import Lexicon
from genner.probes.measures import by_reading, outermost, strict
from genner.probes.spans import Name, OverlapGroup, groups, substituted

EMPTY = Lexicon({})

Plan = list[tuple[OverlapGroup, Name]]
"""What each group of a document is replaced by."""

COUNTS = (
    "documents",
    "documents_changed",
    "mentions",
    "replaced",  # groups of mentions
    "invented",  # of them, by nonsense
    "crossing",  # of them, groups of mentions that cross
    "inner_removed",
    "inner_added",
)


@dataclass(frozen=True)
class Mentions(Probe):
    """Replaces every group of mentions; `name` says by what."""

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        """Raises `UsageError` when there is nothing to replace mentions by."""
        probe, report = self.ready(labels), Counter(dict.fromkeys(COUNTS, 0))
        plans = [(document, probe.plan(document, report)) for document in checked(documents, labels)]
        gold, readings = self.read(plans)
        return Probed(gold, labels, same(labels), dict(report), readings)

    def ready(self, labels: LabelSet) -> "Mentions":
        """The probe for one label set. Raises `UsageError` when it has nothing to replace mentions by."""
        return self

    def plan(self, document: Document, report: Counter[str]) -> Plan:
        """What is to be replaced by what; counts into `report`."""
        made = [(group, self.name(document, group, report)) for group in groups(document)]
        report["documents"] += 1
        report["documents_changed"] += bool(made)
        report["mentions"] += len(document.entities)
        report["replaced"] += len(made)
        for group, name in made:
            report["crossing"] += group.crossing
            report["inner_removed"] += len(group.inner)
            report["inner_added"] += len(name.inner)
        return made

    @abstractmethod
    def name(self, document: Document, group: OverlapGroup, report: Counter[str]) -> Name:
        """What a group is replaced by: never its own text."""

    def invented(self, document: Document, group: OverlapGroup, report: Counter[str]) -> Name:
        """Nonsense, with no entities inside; counted."""
        report["invented"] += 1
        text = document.text[group.start : group.end]
        return Name(invent(text, f"{self.seed}:{document.id or document.text}"), group.label)

    def read(
        self, plans: Sequence[tuple[Document, Plan]]
    ) -> tuple[tuple[Document, ...], dict[str, tuple[Document, ...]]]:
        """The documents with their mentions replaced, as gold, and other readings of them."""
        return tuple(in_context(document, plan) for document, plan in plans), {}

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """The plain score, and the recall of the outermost mentions, whose number replacing does not change."""
        return strict(probed.documents, predicted) | outermost(probed.documents, predicted)


@dataclass(frozen=True)
class MentionsNonsense(Mentions):
    """Mentions are replaced by invented words: each letter and digit exchanged, length, case and punctuation kept.

    Shows: how well entities are found and told apart by what stands around them, and by shape alone: nobody has seen
    these names, in training or before it. What is lost beyond `mentions_seen` rests on the names themselves.
    Cannot show: pure context. Case, hyphens, digits and length stay, and give away much; the words carry no meaning
    that an unknown real name would have (`-ville`, `-ase`, `Bank of`), so this is harder than an unseen name is. Some
    contexts do not tell the type, for people either (Agarwal et al., 2021, had them try). Short words may exist by
    chance.
    Sources: Agarwal et al. (2021), "Interpretability Analysis for Named Entity Recognition to Understand System
    Predictions and How They Can Improve", on context alone and names alone; Ghaddar et al. (2021), "Context-aware
    Adversarial Training for Name Regularity Bias in Named Entity Recognition".

    A word is replaced by the same word throughout a document. How words are made: `invented.invent`. Inner entities
    are removed: nothing in a nonsense word says that they are there.
    """

    def name(self, document: Document, group: OverlapGroup, report: Counter[str]) -> Name:
        return self.invented(document, group, report)


@dataclass(frozen=True)
class FromLexicon(Mentions):
    """Replaces by names out of a lexicon, of the same label unless overridden."""

    lexicon: Lexicon = EMPTY

    def ready(self, labels: LabelSet) -> "FromLexicon":
        known = self.lexicon.within(labels)
        if not known.texts:
            raise UsageError(
                f"there is no mention to replace others by, of the labels {', '.join(labels.tags)}; the lexicon has: "
                f"{', '.join(sorted(self.lexicon.names)) or 'none (left)'}; give other data with these labels"
            )
        return changed(self, lexicon=known)

    def name(self, document: Document, group: OverlapGroup, report: Counter[str]) -> Name:
        text = document.text[group.start : group.end]
        drawn = self.lexicon.draw(group.label, text, self.dice(document, f"{group.label}:{text}"))
        return drawn or self.invented(document, group, report)


@dataclass(frozen=True)
class MentionsSeen(FromLexicon):
    """Mentions are replaced by others of the same label from the training data.

    Shows: what replacing costs in itself, since these names are known: the control for the other replacements.
    Cannot show: anything about memorization on its own. A *rise* over the original score hints at it, since all names
    are now seen ones.
    Source: entity switching within a type, Agarwal et al. (2020), "Entity-Switched Datasets: An Approach to Auditing
    the In-Domain Robustness of Named Entity Recognition Models".

    Names have as many words as those that they replace, where the lexicon has such. A label of which it has no other
    name gets nonsense words (`invented` in the report).
    """

    needs: ClassVar[tuple[str, ...]] = ("train",)

    @classmethod
    def sources(cls, train: Sequence[Document], lexicon: Lexicon) -> dict[str, Any]:
        return {"lexicon": Lexicon.of(train)}


@dataclass(frozen=True)
class MentionsUnseen(FromLexicon):
    """Mentions are replaced by others of the same label that are not entities, of any label, in the training data.

    Shows: how much of the score rests on the names seen in training: what is lost beyond `mentions_seen`.
    Cannot show: what pretraining has seen; no real name proves that a model has not met it (for that,
    `mentions_nonsense`). Names that occur in the training texts without being annotated there count as unseen, and so
    do other spellings of seen names. If the lexicon comes from another domain than the text, part of the loss is that.
    Sources: Lin et al. (2021), "RockNER: A Simple Method to Create Adversarial Examples for Evaluating the Robustness
    of Named Entity Recognition Models", replaces entities by others of their class; that unseen mentions are the harder
    ones: Augenstein et al. (2017), "Generalisation in Named Entity Recognition: A Quantitative Analysis".

    `lexicon` is where names come from: another split or corpus with the same labels; `seen`, those not to be used,
    casefolded. Names have as many words as those that they replace, where the lexicon has such. A label of which
    no unseen name is left gets nonsense words (`invented` in the report).
    """

    seen: frozenset[str] = field(default=frozenset(), repr=False)

    needs: ClassVar[tuple[str, ...]] = ("train", "lexicon")

    @classmethod
    def sources(cls, train: Sequence[Document], lexicon: Lexicon) -> dict[str, Any]:
        return {"lexicon": lexicon, "seen": frozenset(d.mention(e).casefold() for d in train for e in d.entities)}

    def ready(self, labels: LabelSet) -> "FromLexicon":
        return FromLexicon.ready(changed(self, lexicon=self.lexicon.without(self.seen)), labels)


@dataclass(frozen=True)
class MentionsOtherType(FromLexicon):
    """Mentions are replaced by mentions of another label from the training data: context against name.

    "She was born in [Paris]" becomes "She was born in [Ada Lovelace]". There are two gold readings. By *context* the
    mention has the label of what stood there (LOC); that is the plain score. By *name* it has the label of the name
    that now stands there (PER). `context_f1` and `name_f1` score both; `chose_context`, `chose_name`, `chose_other` and
    `chose_none` say, of the replaced mentions, which label the prediction gave to exactly their spans.
    Shows: which of two kinds of evidence wins where they disagree. A model that follows the name where the sentence
    speaks against it goes by the name, be it memorized or recognized by its shape.
    Cannot show: which reading is right. People waver too, and some sentences allow both ("I like Paris"); so read the
    difference between two models or formats, not the height of one number. That a name is followed does not prove that
    it was memorized: `mentions_nonsense` and `mentions_unseen` take that apart.
    Sources: Agarwal et al. (2021), as in `mentions_nonsense`; Ghaddar et al. (2021) on sentences in which a name stands
    for something that it is not usually the name of ("name regularity bias").

    The other label is drawn evenly from those of the lexicon; names that it has under several labels are not used.
    Inner entities of the new name keep their labels in both readings. A mention for which the lexicon has no name of
    another label gets nonsense words (`invented` in the report), and the readings agree about it.
    """

    needs: ClassVar[tuple[str, ...]] = ("train",)

    @classmethod
    def sources(cls, train: Sequence[Document], lexicon: Lexicon) -> dict[str, Any]:
        return {"lexicon": Lexicon.of(train)}

    def ready(self, labels: LabelSet) -> "FromLexicon":
        """Raises `UsageError` when there are no two labels with names of their own."""
        made = FromLexicon.ready(self, labels)
        made = changed(made, lexicon=made.lexicon.unambiguous())
        if len(made.lexicon.names) < 2:
            raise UsageError(
                "a mention of another type needs two labels that have names of their own; asked for: "
                f"{', '.join(labels.tags)}, in the lexicon: {', '.join(sorted(self.lexicon.names))}"
            )
        return made

    def name(self, document: Document, group: OverlapGroup, report: Counter[str]) -> Name:
        text = document.text[group.start : group.end]
        rng = self.dice(document, f"{group.label}:{text}")
        others = sorted(label for label in self.lexicon.names if label != group.label)
        rng.shuffle(others)
        drawn = (self.lexicon.draw(label, text, rng) for label in others)
        return next((name for name in drawn if name), None) or self.invented(document, group, report)

    def read(
        self, plans: Sequence[tuple[Document, Plan]]
    ) -> tuple[tuple[Document, ...], dict[str, tuple[Document, ...]]]:
        context = tuple(in_context(document, plan) for document, plan in plans)
        name = tuple(substituted(document, plan) if plan else document for document, plan in plans)
        return context, {"context": context, "name": name}

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """As the other replacements (by context), and both readings."""
        return super().measure(probed, predicted) | by_reading(probed.readings, predicted)


def in_context(document: Document, plan: Plan) -> Document:
    """The document with its mentions replaced, each by the label of what stood there."""
    if not plan:
        return document
    return substituted(document, [(group, changed(name, label=group.label)) for group, name in plan])
