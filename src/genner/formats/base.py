"""What a format is, and the law it obeys.

A format writes a document's entities as an answer (`encode`), reads any string back (`decode`), and describes its legal
answers as an automaton (`grammar`). The law, tested for every format over any text and any entities:

1. `decode(text, encode(document)) == document`, for every document whose entities are all encodable (`unencodable`
   lists the others);
2. `grammar(text)` accepts `encode(document)`, and reads the same entities from it, each with the bytes of the answer
   that decided it (`GrammarEntity.decisions`), of the format's `decision_kinds`;
3. every path that the grammar allows decodes to a legal prediction without problems, and obeys the constraints that the
   format enforces (`enforced`);
4. `decode` takes any string and never raises; whatever it had to repair or drop is in `Prediction.problems`.

No code outside `genner.formats` knows what markup looks like: it asks these methods.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from genner.boundaries import Boundaries, boundaries, first_ends
from genner.cfg import ContextFreeGrammar
from genner.document import Document, Entity, LabelSet, Prediction, Problem
from genner.errors import FormatError, UsageError
from genner.formats.align import align
from genner.formats.published import SPACING, PublishedAnswer
from genner.formats.reply import reply
from genner.grammar import FLAT, UNCONSTRAINED, Constraints, DecisionKinds, Grammar, GrammarEntity

PUBLISHED = 8_192
"""Maximum characters of an answer to be read in the published spelling, which takes time depth times length."""


@dataclass(frozen=True, slots=True)
class StrictReading:
    """The literal content of an answer, without looking up or aligning anything.

    `entities` are those that the text has at the stated position, whether or not their label was asked for, without
    duplicates. `wrong` counts by label the other mentions in the answer: the text has them elsewhere or nowhere, or the
    stated position does not exist. In strict scoring, each of them is a false positive.
    """

    entities: tuple[Entity, ...] = ()
    wrong: Counter[str] = field(default_factory=Counter)


class Format(ABC):
    """A way to write entities as an answer. Stateless."""

    name: str
    """The key in `FORMATS`."""

    instruction: str
    """The answer format as the prompt describes it, in one clause."""

    example: str
    """The answer for "John Smith reported from New York." with labels PER and LOC, for help texts."""

    decision_kinds: DecisionKinds
    """The kinds of decisions about an entity that its grammar gives in `GrammarEntity.decisions`. Formats of one family
    share a calibration."""

    numbered: bool = False
    """Whether a label is written as its number in the label set, from 1, so that the prompt has to number them."""

    prompt_per_label: bool = False
    """Whether the model is asked for one label at a time, each in a prompt of its own."""

    independent_labels: bool = False
    """Whether the entities of each label are written apart from the others, so that no constraint holds for entities of
    different labels together."""

    rules_grow_with_depth: bool = False
    """Whether its `rules` remember each open label, so that their size grows with (number of labels)^depth. Its `lark`
    does not."""

    says_places: bool = True
    """Whether an answer states the position of each mention."""

    forbidden_start_chars: tuple[str, ...] = ()
    """First strings of the markup: with `strict` boundaries, no entity starts where the text has one. A model that
    copies such a string without escaping it would open an entity instead, and then more."""

    @abstractmethod
    def encode(self, document: Document, labels: LabelSet) -> str:
        """The answer for `document`. Raises `FormatError` naming an entity that it cannot encode."""

    @abstractmethod
    def grammar(self, text: str, labels: LabelSet, constraints: Constraints = UNCONSTRAINED) -> Grammar:
        """All legal answers for `text`, narrowed by those of the `constraints` that the format can enforce."""

    def enforced(self, constraints: Constraints) -> Constraints:
        """Those of the constraints that the grammar enforces: all, or those that the format can enforce."""
        return constraints

    @abstractmethod
    def rules(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> ContextFreeGrammar:
        """The legal answers for `text` as context-free rules, for other engines.

        They accept every answer that the grammar of the same constraints accepts, and may accept more (each format says
        what); `decode` reads and counts that too. There is a longest answer, so that every answer of a model ends.
        Raises `UsageError` for constraints that rules cannot express (see `exported_depth`).
        """

    def small_depth(self, text: str, labels: LabelSet, depth: int) -> int:
        """The depth of rules that are small enough to be sent with each request, `depth` at most."""
        return depth

    def lark(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> str:
        """The language of `rules`, in the dialect of Lark that llguidance reads."""
        return self.rules(text, labels, constraints).lark()

    def json_schema(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> dict[str, Any] | None:
        """The legal answers for `text` as a JSON schema, entities at word boundaries; None if the format is not JSON.

        A list has at most as many items as fit in the text, nested up to `depth`. Raises `UsageError`
        for constraints that a schema cannot express (see `schema_depth`).
        """
        return None

    def added_tokens(self, labels: LabelSet) -> list[str]:
        """Strings of the markup that can be added to a tokenizer's vocabulary, a token each, and trained; none where
        the markup depends on the names of the labels."""
        return []

    @abstractmethod
    def parse(self, text: str, answer: str, labels: LabelSet) -> tuple[str, list[Entity], list[Problem]]:
        """Read an answer that is *not* legal for its text, as leniently as makes sense.

        Returns the copied text, the entities in it (offsets in that copy), and what was wrong. Never raises. The
        text tells markup from text that looks like it.
        """

    @abstractmethod
    def parse_strictly(self, text: str, answer: str, labels: LabelSet) -> StrictReading:
        """Read a reply that is *not* legal for its text literally. Never raises."""

    @abstractmethod
    def unencodable(self, document: Document) -> list[Entity]:
        """The entities to leave out so that the others can be encoded; empty if all can be."""

    def decode(self, text: str, answer: str, labels: LabelSet, id: str = "") -> Prediction:
        """The entities of `answer`, repaired, with offsets in `text`. Takes any string and never raises.

        Reasoning and wrapping around the reply are skipped (`genner.formats.reply`). A mention that is not at its
        stated position is searched for in the text. `decode_strictly` reads the answer literally; for a legal answer
        the two agree.

        Args:
            text: the text that the answer is about.
            answer: what the model wrote.
            labels: the labels asked for.
            id: id of the document.
        """
        said, entities, problems = self._legally(text, answer, labels)
        if entities is None:
            entities, more = self.repaired(text, said, labels)
            problems += more
            if not any(p.kind in ("invalid", "truncated") for p in problems):
                problems.insert(0, Problem("invalid", "the answer is not what the format prescribes for this text"))
        return Prediction(text, entities, id, tuple(problems))

    def decode_strictly(self, text: str, answer: str, labels: LabelSet) -> StrictReading:
        """The literal content of `answer` about `text`, without looking up, aligning or leaving out anything. Never
        raises.

        Reasoning and wrapping around the reply are skipped, as in `decode`. Duplicates are one entity.
        """
        said, entities, _ = self._legally(text, answer, labels)
        if entities is not None:
            return StrictReading(tuple(dict.fromkeys(entities)))
        return self.parse_strictly(text, said, labels)

    def _legally(
        self, text: str, answer: str, labels: LabelSet
    ) -> tuple[str, tuple[Entity, ...] | None, list[Problem]]:
        """The reply, its entities if it has a unique reading for the text, and what was ignored around it.

        It has one if it is legal or in the published spelling (`genner.formats.published`): a model tuned on the
        published data is not penalized for the order of its lists.
        """
        answer = answer.encode("utf-8", "replace").decode()  # no lone surrogates
        said, problems = answer, list[Problem]()
        entities = self.legal(text, said, labels)
        if entities is None and (said := self.reply(text, answer, labels)) != answer:
            passed = len(answer) - len(said)
            problems.append(
                Problem("invalid", f"{passed} characters of reasoning or wrapping are no part of the reply")
            )
            entities = self.legal(text, said, labels)
        if entities is None and (entities := self._published(text, said, labels)) is not None:
            problems.append(Problem("invalid", self._differs(Document(text, entities), said, labels)))
        return said, entities, problems

    def _differs(self, document: Document, said: str, labels: LabelSet) -> str:
        """Where an answer in the published spelling first differs from the legal one for the same entities."""
        legal = self.encode(document, labels)
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(said, legal, strict=False))
        at = sum(1 for _ in alike)
        begin = max(0, at - 10)  # some of what is alike, to find the place by
        return (
            "lists in another order, or markup spelt as in the published data: "
            f"{said[begin : at + 30]!r} for {legal[begin : at + 30]!r}"
        )

    def _published(self, text: str, answer: str, labels: LabelSet) -> tuple[Entity, ...] | None:
        """The entities of an answer in the published spelling; None if it is not, has duplicates, or has entities that
        this format cannot encode."""
        if len(answer) > PUBLISHED:
            return None
        read = self.read_published(text, answer, labels)
        if read is None or read.left_open[SPACING] or len(set(read.entities)) < len(read.entities):
            return None
        return None if self.unencodable(Document(text, tuple(read.entities))) else tuple(read.entities)

    def reply(self, text: str, answer: str, labels: LabelSet) -> str:
        """The reply in an answer, without reasoning and wrapping; the whole answer if it has neither."""
        return reply(answer, text, labels, copies=self.copies_in(labels))

    def copies_in(self, labels: LabelSet) -> int:
        """How many copies of the text an answer holds."""
        return 0

    def copied(self, answer: str, labels: LabelSet) -> Prediction | None:
        """The text that an answer copies, and its entities, when that text is unknown; None if the answer copies
        none."""
        return None

    def labels_in(self, answer: str, text: str = "") -> Iterable[str]:
        """The names of labels that an answer gives, in this format or spelt as the published data are.

        A name that `text` itself has as often is not a label. Takes any string; the names need not be legal tags.
        """
        return []

    def read_published(self, text: str, answer: str, labels: LabelSet) -> PublishedAnswer | None:
        """The content of an answer about `text` in the published spelling (see `genner.formats.published`).

        None if it has no unique reading, or if no data in this format are published.
        """
        return None

    @abstractmethod
    def legal(self, text: str, answer: str, labels: LabelSet) -> tuple[Entity, ...] | None:
        """The entities of an answer that the grammar accepts, trailing repeats included; None if it does not accept it.

        The result of the grammar's `read`, in time that grows only with the answer, for any answer.
        """

    def repaired(self, text: str, answer: str, labels: LabelSet) -> tuple[tuple[Entity, ...], list[Problem]]:
        """The repaired entities of a reply that is not legal, and its problems."""
        copy, entities, problems = self.parse(text, answer, labels)
        placed, more = align(text, copy, entities)
        return placed, problems + more

    def check_encodable(self, document: Document) -> tuple[Entity, ...]:
        """All entities of the document. Raises `FormatError` naming one that this format cannot encode."""
        if left_out := self.unencodable(document):
            e = left_out[0]
            raise FormatError(
                f"document {document.id!r}: {e.label} [{e.start}, {e.end}) cannot be written in {self.name}; "
                "leave it out with `encodable_part`"
            )
        return document.entities

    def encodable_part(self, document: Document, where: Boundaries = "any") -> tuple[Document, tuple[Entity, ...]]:
        """The document without the entities that this format cannot encode, and the entities left out."""
        starts, ends = boundaries(document.text, where, self.forbidden_start_chars)
        first = first_ends(document.text, where, ends)
        kept = tuple(e for e in document.entities if starts[e.start] and ends[e.end] and first[e.start] <= e.end)
        # Whether an entity can be encoded depends on the others, so those inside words go first.
        out = set(self.unencodable(Document(document.text, kept, document.id)))
        kept = tuple(e for e in kept if e not in out)
        if len(kept) == len(document.entities):
            return document, ()
        left_out = tuple(e for e in document.entities if e not in kept)
        return Document(document.text, kept, document.id, group=document.group, extra=document.extra), left_out


def exported_depth(name: str, constraints: Constraints) -> int:
    """The depth of constraints for rules of the format `name`.

    Raises `UsageError` where there is none: rules need a limit. Rules may give a span several labels whatever
    `same_span_labels` says, since they may accept more than the grammar.
    """
    if constraints.depth is None:
        raise UsageError(f"the rules of {name} need a depth; give Constraints(depth=1), or how deep entities nest")
    return constraints.depth


def schema_depth(name: str, constraints: Constraints) -> int:
    """As `exported_depth`, for a JSON schema, whose entities lie at word boundaries."""
    if constraints.boundaries == "any":
        raise UsageError(f'the JSON schema of {name} has word boundaries; give Constraints("word") or "strict"')
    return exported_depth(name, constraints)


def crossing_entities(entities: Iterable[Entity]) -> list[Entity]:
    """Given entities in reading order: those to leave out so that no two cross (the later one of each pair)."""
    out: list[Entity] = []
    around: list[Entity] = []  # those kept that cover the place, the innermost last
    for entity in entities:
        while around and around[-1].end <= entity.start:
            around.pop()
        if around and around[-1].start < entity.start and around[-1].end < entity.end:
            out.append(entity)
        else:
            around.append(entity)
    return out


def check_labels(document: Document, labels: LabelSet) -> None:
    """Raise `FormatError` when the document has a label that is not in the label set."""
    for entity in document.entities:
        if entity.label not in labels:
            raise FormatError(
                f"document {document.id!r}: label {entity.label!r} is not in the label set; "
                f"legal: {', '.join(labels.tags)}"
            )


def tag_order(entities: Sequence[Entity], labels: LabelSet, length: int) -> list[tuple[list[Entity], list[Entity]]]:
    """For each place 0..length: the entities that close there, innermost first, and those that open, outermost first.

    Entities of one span nest in the order of the label set.
    """
    rank = {tag: i for i, tag in enumerate(labels.tags)}
    places: list[tuple[list[Entity], list[Entity]]] = [([], []) for _ in range(length + 1)]
    nested = sorted(entities, key=lambda e: (e.start, -e.end, rank[e.label]))
    for entity in nested:
        places[entity.start][1].append(entity)
    for entity in sorted(nested, key=lambda e: (-e.start, e.end, -rank[e.label])):
        places[entity.end][0].append(entity)
    return places


__all__ = [
    "Format",
    "GrammarEntity",
    "StrictReading",
    "check_labels",
    "crossing_entities",
    "exported_depth",
    "schema_depth",
    "tag_order",
]
