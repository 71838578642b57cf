"""Probes of the labels: does a model rely on the labels' names or on their descriptions in the prompt?

The texts stay as they are; the label set changes, and the gold labels with it. A prompt lists each label as `TAG: long
name: definition`. The seed and the label set decide the change, not the documents, so training data can be changed in
the same way. If only the test data are changed, the model under test has learned the usual names.

Two of the probes follow Zhan, Wang and Huang (2026), "Assessment of Generative Named Entity Recognition in the Era of
Large Language Models": symbol only (SO) and symbol with explanation (SE); the paper uses CoNLL-2003 with inline XML.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from string import ascii_uppercase
from typing import ClassVar

from genner.document import Document, Label, LabelSet
from genner.errors import UsageError
from genner.probes.base import Probe, Probed, checked, retagged, same
from genner.probes.measures import best_naming, by_reading, strict


@dataclass(frozen=True)
class Symbols(Probe):
    """Labels are A, B, C, ... and the prompt says nothing about them.

    Shows: applied to test data only, whether the model still finds entities and separates their types when no name says
    what to look for (`span_f1`, `best_f1`, `measures.best_naming`); the plain F1 is then at chance, since nothing says
    that A is a person. With a model trained on data that went through the same probe: whether label names are needed to
    learn the task. An F1 near the usual one says that they are not.
    Cannot show: what a model knows about the names that it does not see; nor, after training, that it "understands" the
    labels, because the training data show what A is. Models have rarely seen such symbols as tags, so part of a loss
    may come from the unusual form and not from the missing meaning.
    Source: Zhan, Wang and Huang (2026), "SO". Wei et al. (2023), "Larger language models do in-context learning
    differently", replaced natural labels by meaningless ones to study in-context learning.

    `shuffled`: the letters are assigned at random; else A is the first label of the set, B the second, ... The paper
    has A = ORG, B = PER, C = LOC, D = MISC: `shuffled=False` and the labels in that order.
    """

    shuffled: bool = True

    defined: ClassVar[bool] = False

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        """Raises `UsageError` when definitions are requested and a label has neither definition nor name."""
        symbols = letters(len(labels))
        if self.shuffled:
            random.Random(f"symbols:{self.seed}:{labels.tags}").shuffle(symbols)
        about = _definitions(labels) if self.defined else [""] * len(labels)
        made = tuple(Label(symbol, "", said) for symbol, said in zip(symbols, about, strict=True))
        return _relabelled(
            documents, labels, LabelSet(made, labels.depth), dict(zip(labels.tags, symbols, strict=True))
        )

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """The plain score; `span_*`: spans without labels; `best_*`: the best naming of the symbols."""
        return strict(probed.documents, predicted) | best_naming(probed.documents, predicted)


@dataclass(frozen=True)
class SymbolsDefined(Symbols):
    """Labels are A, B, C, ..., each with its definition (or its long name, if it has none).

    Shows: whether a model finds what a definition describes when the tag does not help. The difference from the F1 with
    the usual names is what names add to definitions; the difference from `symbols` is what definitions add.
    Cannot show: that definitions are understood word by word; most contain the type's name ("names of people"), and
    transferring that word's meaning to a symbol is enough. A loss may also come from carrying a symbol through a long
    answer.
    Source: Zhan, Wang and Huang (2026), "SE"; GoLLIE (Sainz et al., 2024) masks label names in training so that a model
    has to read the definitions.
    """

    defined: ClassVar[bool] = True


@dataclass(frozen=True)
class Permuted(Probe):
    """The tags change places: each definition, with its long name, gets another label's tag; gold follows definitions.

    No label keeps its tag. With PER and LOC the prompt may say `LOC: person: names of people`, and gold calls people
    LOC.
    Shows: whether the prompt or the learned tag decides. A model that follows the prompt keeps its F1; one that has
    learned to write PER around names of people drops to near zero. `definition_f1` and `tag_f1` score both readings,
    and `chose_definition` and `chose_tag` are the shares of entities whose label followed each (`measures.by_reading`).
    Cannot show: that a model which follows the learned tag does not know the definitions; it may know them and give the
    tag more weight, since here the two contradict each other, which they never do in training data. Exchanging labels
    with similar definitions (LOC and GPE) is a smaller contradiction than exchanging dissimilar ones: look at the
    scores label by label.
    Sources: flipped labels: Wei et al. (2023), "Larger language models do in-context learning differently"; label names
    versus label meaning: also Webson and Pavlick (2022), "Do Prompt-Based Models Really Understand the Meaning of Their
    Prompts?".
    """

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        """Raises `UsageError` when a label has neither definition nor name, since nothing then says what it is."""
        if len(labels) > 1:
            _definitions(labels)
        tags = _exchanged(labels, self.seed)
        made = LabelSet(tuple(Label(tags[label.tag], label.name, label.definition) for label in labels), labels.depth)
        probed = _relabelled(documents, labels, made, tags)
        original = tuple(retagged(d, probed.back) for d in probed.documents)
        return Probed(
            probed.documents,
            made,
            probed.back,
            probed.report,
            {"definition": probed.documents, "tag": original},
        )

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """The plain score (by definition), and both readings."""
        return strict(probed.documents, predicted) | by_reading(probed.readings, predicted)


@dataclass(frozen=True)
class DefinitionsSwapped(Probe):
    """The definitions change places, tags and long names stay; gold follows the tags.

    No label keeps its definition: `LOC: location: names of people`, and gold calls places LOC.
    Shows: whether the model uses definitions at all. A model that relies on tags and long names keeps its F1; one that
    follows definitions loses it. `tag_f1`, `definition_f1`, `chose_tag` and `chose_definition` say which of the two the
    entities followed.
    Cannot show: that a model which keeps its F1 would ignore the definition of an unknown label, where nothing else
    helps (for that, see `symbols_defined`). Here tag and long name together contradict the definition; in `permuted`
    only the tag contradicts it.
    Source: the counterpart of `permuted`; see there.
    """

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        """Raises `UsageError` when a label has no definition."""
        if len(labels) > 1 and (bare := [label.tag for label in labels if not label.definition]):
            raise UsageError(
                f"labels without a definition to swap: {', '.join(bare)}; give a shipped label set, or a file with "
                "definitions (--labels-file)"
            )
        tags = _exchanged(labels, self.seed)  # the tag that receives each label's definition
        source = {new: old for old, new in tags.items()}
        said = {label.tag: label.definition for label in labels}
        made = LabelSet(tuple(Label(label.tag, label.name, said[source[label.tag]]) for label in labels), labels.depth)
        gold = checked(documents, labels)
        followed = tuple(retagged(d, tags) for d in gold)
        return Probed(gold, made, same(labels), _counted(gold, labels, tags), {"tag": gold, "definition": followed})

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """The plain score (by tag), and both readings."""
        return strict(probed.documents, predicted) | by_reading(probed.readings, predicted)


def letters(n: int) -> list[str]:
    """A, B, ..., Z, AA, AB, ...: the first `n`."""
    made: list[str] = []
    size = 1
    while len(made) < n:
        made += ["".join(some) for some in product(ascii_uppercase, repeat=size)]
        size += 1
    return made[:n]


def _exchanged(labels: LabelSet, seed: int) -> dict[str, str]:
    """Map each tag to another one, in one random cycle through all tags; a single tag maps to itself."""
    order = list(labels.tags)
    random.Random(f"exchanged:{seed}:{labels.tags}").shuffle(order)
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return {tag: following[tag] for tag in labels.tags}


def _definitions(labels: LabelSet) -> list[str]:
    if bare := [label.tag for label in labels if not (label.definition or label.name)]:
        raise UsageError(
            f"labels with neither definition nor name: {', '.join(bare)}; nothing would say what they are: give a "
            "shipped label set, or a file with definitions (--labels-file)"
        )
    return [label.definition or label.name for label in labels]


def _relabelled(documents: Iterable[Document], labels: LabelSet, made: LabelSet, tags: Mapping[str, str]) -> Probed:
    gold = checked(documents, labels)
    back = {new: old for old, new in tags.items()}
    return Probed(tuple(retagged(d, tags) for d in gold), made, back, _counted(gold, labels, tags))


def _counted(gold: Sequence[Document], labels: LabelSet, tags: Mapping[str, str]) -> dict[str, int]:
    return {
        "documents": len(gold),
        "mentions": sum(len(d.entities) for d in gold),
        "labels": len(labels),
        "labels_changed": sum(old != new for old, new in tags.items()),
    }
