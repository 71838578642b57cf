"""Probes of the mentions: the sentences stay, the names in them are replaced.

Each group of overlapping entities (see `spans`) is replaced as one, so of nested entities the outermost. Its inner
entities are removed with it, and a new mention from annotated text brings its own inner entities (`inner_removed` and
`inner_added` in the report). Within a document, the same mention of a label always gets the same replacement. Documents
without entities stay unchanged. Occurrences of a name that are not annotated are not replaced.

A limit of all of them: a sentence written about one name may not fit another (articles, gender, number, the rest of the
text), so some loss comes from the replacement itself. The control is `mentions_seen`, which replaces by names that the
model has been trained on.
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
"""The replacement of each group of a document."""

COUNTS = (
    "documents",
    "documents_changed",
    "mentions",
    "replaced",  # groups of mentions
    "invented",  # of these, replaced by nonsense
    "crossing",  # of these, groups of crossing mentions
    "inner_removed",
    "inner_added",
)


@dataclass(frozen=True)
class Mentions(Probe):
    """Replaces every group of mentions; `name` gives the replacement."""

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        """Raises `UsageError` when there are no replacements for mentions."""
        probe, report = self.ready(labels), Counter(dict.fromkeys(COUNTS, 0))
        plans = [(document, probe.plan(document, report)) for document in checked(documents, labels)]
        gold, readings = self.read(plans)
        return Probed(gold, labels, same(labels), dict(report), readings)

    def ready(self, labels: LabelSet) -> "Mentions":
        """The probe for one label set. Raises `UsageError` when it has no replacements for mentions."""
        return self

    def plan(self, document: Document, report: Counter[str]) -> Plan:
        """The replacement of each group; adds its counts to `report`."""
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
        """The replacement of a group: never its own text."""

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
    """Mentions are replaced by invented words: each letter and digit changes, length, case and punctuation are kept.

    Shows: how well entities are found and classified by context and shape alone, since these names occur in neither
    training nor pretraining. The loss beyond that of `mentions_seen` is due to the names themselves.
    Cannot show: pure context. Case, hyphens, digits and length stay and reveal much; the words lack the clues of an
    unknown real name (`-ville`, `-ase`, `Bank of`), so they are harder than an unseen name. Some contexts do not reveal
    the type to people either (tested by Agarwal et al., 2021). Short words may exist by chance.
    Sources: Agarwal et al. (2021), "Interpretability Analysis for Named Entity Recognition to Understand System
    Predictions and How They Can Improve", on context alone and names alone; Ghaddar et al. (2021), "Context-aware
    Adversarial Training for Name Regularity Bias in Named Entity Recognition".

    Within a document, a word is always replaced by the same word (see `invented.invent`). Inner entities are removed,
    since nothing in a nonsense word indicates them.
    """

    def name(self, document: Document, group: OverlapGroup, report: Counter[str]) -> Name:
        return self.invented(document, group, report)


@dataclass(frozen=True)
class FromLexicon(Mentions):
    """Replaces mentions by names from a lexicon, of the same label unless overridden."""

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

    Shows: the cost of replacement itself, since these names are known; it is the control for the other replacements.
    Cannot show: anything about memorization on its own. A *rise* over the original score hints at it, since all names
    are now seen ones.
    Source: entity switching within a type, Agarwal et al. (2020), "Entity-Switched Datasets: An Approach to Auditing
    the In-Domain Robustness of Named Entity Recognition Models".

    A name has as many words as the one it replaces, if the lexicon has such a name. If the lexicon has no other name of
    a label, nonsense words are used (`invented` in the report).
    """

    needs: ClassVar[tuple[str, ...]] = ("train",)

    @classmethod
    def sources(cls, train: Sequence[Document], lexicon: Lexicon) -> dict[str, Any]:
        return {"lexicon": Lexicon.of(train)}


@dataclass(frozen=True)
class MentionsUnseen(FromLexicon):
    """Mentions are replaced by others of the same label that are not entities, of any label, in the training data.

    Shows: how much of the score depends on names seen in training: the loss beyond that of `mentions_seen`.
    Cannot show: what pretraining has seen; a real name may always have occurred there (for that, see
    `mentions_nonsense`). Names that occur in the training texts without annotation count as unseen, and so do other
    spellings of seen names. If the lexicon comes from another domain than the text, part of the loss comes from that.
    Sources: Lin et al. (2021), "RockNER: A Simple Method to Create Adversarial Examples for Evaluating the Robustness
    of Named Entity Recognition Models", replaces entities by others of their class; that unseen mentions are the harder
    ones: Augenstein et al. (2017), "Generalisation in Named Entity Recognition: A Quantitative Analysis".

    `lexicon` has the names, from another split or corpus with the same labels; `seen` are the names that must not be
    used, casefolded. A name has as many words as the one it replaces, if the lexicon has such a name. If a label has no
    unseen name left, nonsense words are used (`invented` in the report).
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
    mention has the label of the original mention (LOC); that is the plain score. By *name* it has the label of the new
    name (PER). `context_f1` and `name_f1` score both; `chose_context`, `chose_name`, `chose_other` and `chose_none` are
    the shares of replaced mentions by the label that the prediction gave to exactly their spans.
    Shows: whether context or name wins when they disagree. A model that follows the name against the sentence relies on
    the name, whether memorized or recognized by its shape.
    Cannot show: which reading is correct. People disagree too, and some sentences allow both ("I like Paris"); so
    compare two models or formats and do not interpret a single number. A model that follows a name need not have
    memorized it: `mentions_nonsense` and `mentions_unseen` separate the two.
    Sources: Agarwal et al. (2021), as in `mentions_nonsense`; Ghaddar et al. (2021) on sentences in which a name
    denotes something unusual for it ("name regularity bias").

    The other label is drawn uniformly from those of the lexicon; names that it lists under several labels are not used.
    Inner entities of the new name keep their labels in both readings. If the lexicon has no name of another label, the
    mention is replaced by nonsense words (`invented` in the report), and the readings agree about it.
    """

    needs: ClassVar[tuple[str, ...]] = ("train",)

    @classmethod
    def sources(cls, train: Sequence[Document], lexicon: Lexicon) -> dict[str, Any]:
        return {"lexicon": Lexicon.of(train)}

    def ready(self, labels: LabelSet) -> "FromLexicon":
        """Raises `UsageError` when fewer than two labels have names of their own."""
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
        """The scores of the other replacements (by context), and both readings."""
        return super().measure(probed, predicted) | by_reading(probed.readings, predicted)


def in_context(document: Document, plan: Plan) -> Document:
    """The document with its mentions replaced, each with the label of the original mention."""
    if not plan:
        return document
    return substituted(document, [(group, changed(name, label=group.label)) for group, name in plan])
