r"""GPT-NER: one label at a time, the text copied out with each of its mentions as `@@John Smith##`.

The marking of Wang et al. (2023), "GPT-NER: Named Entity Recognition via Large Language Models", section 3. It is meant
for prompts with one label at a time. For a label set of several, the answer is one copy of the text for each label, in
their order, each on a line of its own; so entities of different labels may cross.

Every `@` and every `#` of the text is written with a backslash before it: otherwise it could not be distinguished from
an adjacent mark.
"""

import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, cast

from genner.cfg import ContextFreeGrammar, Symbol
from genner.document import Document, Entity, LabelSet, Problem
from genner.formats.base import Format, StrictReading, check_labels, crossing_entities, exported_depth
from genner.formats.inline import InlineFormat, Mark, MarkupTag
from genner.formats.inline_cfg import inline_rules
from genner.formats.inline_grammar import AFTER, InlineGrammar
from genner.formats.inline_tags import INLINE_DECISIONS
from genner.grammar import (
    FLAT,
    NO_PROPOSALS,
    UNCONSTRAINED,
    Constraints,
    GrammarEntity,
    Menu,
    Need,
    Proposals,
    State,
)

LINE = AFTER


class GPTNER(Format):
    name = "gpt_ner"
    instruction = "Copy the text with each entity as @@mention##"
    example = "@@John Smith## reported from New York.\nJohn Smith reported from @@New York##."
    prompt_per_label = True
    independent_labels = True
    decision_kinds = INLINE_DECISIONS
    forbidden_start_chars = (
        "@@",
    )  # a single `@` begins 547 of 468,000 gold entities in our corpora, a doubled one none

    def encode(self, document: Document, labels: LabelSet) -> str:
        check_labels(document, labels)
        entities = self.check_encodable(document)
        return "\n".join(
            _MARKED.encode(Document(document.text, tuple(e for e in entities if e.label == tag)), LabelSet.of(tag))
            for tag in labels.tags
        )

    def grammar(
        self, text: str, labels: LabelSet, constraints: Constraints = UNCONSTRAINED
    ) -> "InlineGrammar | LinesGrammar":
        first = _MARKED.grammar(text, LabelSet.of(labels.tags[0]), constraints)
        if len(labels) == 1:
            return first
        return LinesGrammar([first, *(first.renamed(LabelSet.of(tag)) for tag in labels.tags[1:])])

    def enforced(self, constraints: Constraints) -> Constraints:
        """A span may be marked in the copies of several labels: the copies do not know of each other."""
        return replace(constraints, same_span_labels=True)

    def rules(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> ContextFreeGrammar:
        """Exact for flat entities; of nested ones, the same span may be marked twice."""
        rules: dict[str, tuple[tuple[Symbol, ...], ...]] = {}
        depth = exported_depth(self.name, constraints)
        copies, tags = _MARKED.escape(text, labels), _MARKED.tag_texts(labels)
        places = _MARKED.places(text, constraints.boundaries)
        for line in range(len(labels)):
            tail = Symbol("\n", f"l{line + 1}r0") if line + 1 < len(labels) else Symbol("")
            rules |= inline_rules(text, copies, *tags, places, depth, tail, f"l{line}r")
        return ContextFreeGrammar(rules).pruned()

    def unencodable(self, document: Document) -> list[Entity]:
        by_label = sorted(document.entities, key=lambda e: e.label)  # stable: in reading order within a label
        return [e for _, some in groupby(by_label, lambda e: e.label) for e in crossing_entities(some)]

    def copies_in(self, labels: LabelSet) -> int:
        return len(labels)

    def legal(self, text: str, answer: str, labels: LabelSet) -> tuple[Entity, ...] | None:
        lines, height = answer.split("\n"), text.count("\n") + 1
        if len(lines) != height * len(labels):
            return None
        entities: list[Entity] = []
        for i, tag in enumerate(labels.tags):
            found = _MARKED.legal(text, "\n".join(lines[i * height : (i + 1) * height]), LabelSet.of(tag))
            if found is None:
                return None
            entities += found
        return tuple(entities)

    def repaired(self, text: str, answer: str, labels: LabelSet) -> tuple[tuple[Entity, ...], list[Problem]]:
        entities, problems = list[Entity](), list[Problem]()
        for share, one in self._shares(text, answer, labels):
            found = _MARKED.legal(text, share, one)
            if found is None:
                found, more = _MARKED.repaired(text, share, one)
                problems += more
            entities += found
        return tuple(entities), problems

    def parse_strictly(self, text: str, answer: str, labels: LabelSet) -> StrictReading:
        entities, wrong = list[Entity](), Counter[str]()
        for share, one in self._shares(text, answer, labels):
            found = _MARKED.legal(text, share, one)
            said = _MARKED.parse_strictly(text, share, one) if found is None else StrictReading(found)
            entities += said.entities
            wrong += said.wrong
        return StrictReading(tuple(entities), wrong)

    def _shares(self, text: str, answer: str, labels: LabelSet) -> Iterator[tuple[str, LabelSet]]:
        """Each label's share of an answer: as many lines as the text has, the rest for the last."""
        lines, height, last = answer.split("\n"), text.count("\n") + 1, len(labels) - 1
        for i, tag in enumerate(labels.tags):
            yield "\n".join(lines[i * height : (i + 1) * height if i < last else None]), LabelSet.of(tag)

    def parse(self, text: str, answer: str, labels: LabelSet) -> tuple[str, list[Entity], list[Problem]]:
        """Read the copy for the first label."""
        return _MARKED.parse(text, answer, labels)


class _Marked(InlineFormat):
    """The copy for one label."""

    name = GPTNER.name
    instruction = GPTNER.instruction
    forbidden_start_chars = GPTNER.forbidden_start_chars

    def tags(self, labels: LabelSet) -> tuple[list[MarkupTag], list[MarkupTag]]:
        return [MarkupTag("@@")], [MarkupTag("##")]

    def escape(self, text: str, labels: LabelSet) -> list[str]:
        return [f"\\{c}" if c in "@#" else c for c in text]

    def lex(self, text: str, answer: str, labels: LabelSet) -> Iterator[str | Mark]:
        begin = 0
        for match in re.finditer(r"\\[@#]|@@|##", answer):
            yield answer[begin : match.start()]
            mark = match.group()
            if mark[0] == "\\":
                yield mark[1]
            else:
                yield Mark(mark, mark == "##", labels.tags[0] if mark == "@@" else "")
            begin = match.end()
        yield answer[begin:]


_MARKED = _Marked()


class LinesGrammar:
    """Several grammars one after the other, a line break between two. A state is (number of the line, its state).

    None of them can continue where it may end, so the end of a line is not a decision.
    """

    def __init__(self, lines: Sequence[InlineGrammar]) -> None:
        self._lines = lines

    def start(self) -> State:
        return 0, self._lines[0].start()

    def edges(self, state: State) -> list[tuple[int, State]]:
        line, inner = cast("tuple[int, State]", state)
        if line + 1 < len(self._lines) and self._lines[line].final(inner):
            return [(LINE[0], (line + 1, self._lines[line + 1].start()))]
        return [(byte, (line, after)) for byte, after in self._lines[line].edges(inner)]

    def menus(self, state: State, first: Container[int]) -> Sequence[Menu] | None:
        line, inner = cast("tuple[int, State]", state)
        if line + 1 < len(self._lines) and self._lines[line].final(inner):
            return None
        found = self._lines[line].menus(inner, first)
        return None if found is None else [(strings, (line, origin), ahead) for strings, origin, ahead in found]

    def follow(self, origin: tuple[int, Any], number: int, count: int) -> State:
        line, inner = origin
        return line, self._lines[line].follow(inner, number, count)

    def final(self, state: State) -> bool:
        line, inner = cast("tuple[int, State]", state)
        return line + 1 == len(self._lines) and self._lines[line].final(inner)

    def draft(self, state: State, limit: int, proposals: Proposals = NO_PROPOSALS) -> bytes:
        line, inner = cast("tuple[int, State]", state)
        out = self._lines[line].draft(inner, limit, proposals.only(line))
        while len(out) < limit and line + 1 < len(self._lines):
            line += 1
            left = max(1, limit - len(out) - 1)
            out += LINE + self._lines[line].draft(self._lines[line].start(), left, proposals.only(line))
        return out

    def read(self, answer: bytes) -> tuple[GrammarEntity, ...] | None:
        height = self._height
        lines = answer.split(LINE)
        if len(lines) != height * len(self._lines):
            return None
        found: list[GrammarEntity] = []
        at = 0
        for i, grammar in enumerate(self._lines):
            part = LINE.join(lines[i * height : (i + 1) * height])
            written = grammar.read(part)
            if written is None:
                return None
            found += [entity.shifted(at) for entity in written]
            at += len(part) + 1
        return tuple(found)

    def needs(self) -> tuple[Need, ...]:
        return tuple(need for grammar in self._lines for need in (*grammar.needs(), Need(("\n",), 1)))

    @property
    def _height(self) -> int:
        """Lines of each part: those of the text, since marks have no line break."""
        return self._lines[0].draft(self._lines[0].start(), 1 << 30).count(LINE) + 1
