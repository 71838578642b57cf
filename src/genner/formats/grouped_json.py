"""Category-grouped JSON: `{"PER": ["John Smith"], "LOC": ["New York"], "ORG": []}`; every label is there, in order.

The mentions of a label are listed in reading order. The place of each is its first occurrence at word boundaries after
the mention listed before it (or within that one, from the same start); if there is none, its first occurrence there
that is not torn out of a word (`genner.boundaries.torn`). So the format cannot encode a torn entity, nor an entity
preceded by an occurrence of the same string that is not an entity of that label: it would be read as that occurrence.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from genner.cfg import ContextFreeGrammar
from genner.document import Document, Entity, LabelSet, Problem, Span
from genner.formats.base import Format, StrictReading, check_labels, exported_depth, schema_depth
from genner.formats.json_answer import brief, find_lists, load
from genner.formats.json_cfg import group_rules, group_schema
from genner.formats.json_grammar import (
    JSON_DECISIONS,
    Choice,
    Copy,
    JsonGrammar,
    Transition,
    WrittenItem,
    WrittenItems,
)
from genner.formats.published import PublishedAnswer, published_groups
from genner.formats.search import Hint, Search, place
from genner.grammar import FLAT, UNCONSTRAINED, Constraints, Proposals

_FILLED, _EMPTY, _ENDED = range(3)  # state of a label's list: it has mentions, it has none, it may have no more


class GroupedJSON(Format):
    name = "grouped_json"
    instruction = 'List the entities of the text by label as JSON: {"LABEL": [mention, mention], "LABEL": []}'
    example = '{"PER": ["John Smith"], "LOC": ["New York"]}'
    independent_labels = True
    says_places = False
    decision_kinds = JSON_DECISIONS

    def encode(self, document: Document, labels: LabelSet) -> str:
        check_labels(document, labels)
        entities = self.check_encodable(document)
        return json.dumps(
            {tag: [document.mention(e) for e in entities if e.label == tag] for tag in labels.tags}, ensure_ascii=False
        )

    def grammar(self, text: str, labels: LabelSet, constraints: Constraints = UNCONSTRAINED) -> "GroupedGrammar":
        return GroupedGrammar(text, labels, constraints)

    def enforced(self, constraints: Constraints) -> Constraints:
        """A span may be in the lists of several labels.

        If the grammar forbade a mention that another list has, a model would not drop it, but write a longer one
        (docs/log.md).
        """
        return replace(constraints, same_span_labels=True)

    def rules(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> ContextFreeGrammar:
        """Every list holds stretches of the text in reading order, flat ones side by side.

        The text may have a mention at an earlier place, where `decode` then puts it: inside the one before it, say. Of
        nested ones, the same may be written twice, and deeper ones than `depth`.
        """
        depth, repeat = exported_depth(self.name, constraints), constraints.allow_trailing_repeat
        return group_rules(text, labels, constraints.boundaries, depth, repeat)

    def json_schema(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> dict[str, Any]:
        """Every string is a stretch of the text; the same may be written twice, in any order."""
        return group_schema(text, labels, schema_depth(self.name, constraints))

    def unencodable(self, document: Document) -> list[Entity]:
        rule = ListedMentions(document.text)
        last: dict[str, Span] = {}
        out = []
        for entity in document.entities:
            if rule.place(document.mention(entity), last.get(entity.label)) == entity.start:
                last[entity.label] = entity.span
            else:
                out.append(entity)
        return out

    def legal(self, text: str, answer: str, labels: LabelSet) -> tuple[Entity, ...] | None:
        lists = load(answer)
        if not isinstance(lists, dict) or [*lists] != [*labels.tags] or json.dumps(lists, ensure_ascii=False) != answer:
            return None
        rule, entities = ListedMentions(text), list[Entity]()
        for label, mentions in lists.items():
            if not isinstance(mentions, list):
                return None
            last: Span | None = None
            listed = set[str]()
            for i, mention in enumerate(mentions):
                if not isinstance(mention, str) or not mention:
                    return None
                start = rule.place(mention, last)
                if start is not None:
                    last = start, start + len(mention)
                    entities.append(Entity(*last, label))
                elif mention not in listed or i + 1 < len(mentions):
                    return None  # but for the last, which may be one that is listed already
                listed.add(mention)
        return tuple(entities)

    def read_published(self, text: str, answer: str, labels: LabelSet) -> PublishedAnswer | None:
        return published_groups(text, answer, labels)

    def labels_in(self, answer: str, text: str = "") -> Iterable[str]:
        value = load(answer)
        return list(value) if isinstance(value, dict) else []

    def parse(self, text: str, answer: str, labels: LabelSet) -> tuple[str, list[Entity], list[Problem]]:
        """Mentions are placed by the rule; one that does not come after the one before it, at its first occurrence."""
        lists, problems = find_lists(answer)
        rule = ListedMentions(text)
        found: list[Entity] = []
        for label, mentions in lists:
            last: Span | None = None
            for mention in mentions:
                if label not in labels:
                    problems.append(Problem("dropped", f"{brief(label)} {brief(mention)}: no such label"))
                elif not isinstance(mention, str) or not mention:
                    problems.append(Problem("malformed", f"{label} {brief(mention)} is not a mention"))
                else:
                    start = rule.place(mention, last)
                    if start is not None:
                        entities = [Entity(start, start + len(mention), label)]
                    else:
                        entities = place(rule, mention, label, Hint(after=last or (0, len(text) + 1)), problems)
                    found += entities
                    last = entities[0].span if entities else last
        return text, found, problems

    def parse_strictly(self, text: str, answer: str, labels: LabelSet) -> StrictReading:
        """A mention counts where the rule puts it. One that is listed more often than the text has it counts as often
        as the text has it, or once if the text lacks it."""
        rule = ListedMentions(text)
        entities = dict[Entity, None]()
        listed = Counter[tuple[str, str]]()
        for label, mentions in find_lists(answer)[0]:
            last: Span | None = None
            for mention in mentions:
                if not (isinstance(mention, str) and mention and label):
                    continue  # names no entity
                listed[label, mention] += 1
                start = rule.place(mention, last)
                if start is not None:
                    last = start, start + len(mention)
                    entities[Entity(*last, label)] = None
        placed = Counter((e.label, text[e.start : e.end]) for e in entities)
        wrong = Counter[str]()
        for (label, mention), n in listed.items():
            wrong[label] += min(n, max(1, len(rule.occurrences(mention)))) - placed[label, mention]
        return StrictReading(tuple(entities), +wrong)


class ListedMentions(Search):
    """Places listed mentions."""

    def place(self, mention: str, last: Span | None) -> int | None:
        """The place of a mention that is listed behind one of span `last`; None when the text has no such place."""
        start, end = last or (0, len(self.text) + 1)
        for places in (self.at_words, self.untorn):
            found = places(mention)
            index = bisect_left(found, start)
            if index < len(found) and found[index] == start and start + len(mention) >= end:
                index += 1
            if index < len(found):
                return found[index]
        return None


class GroupedGrammar(JsonGrammar):
    """The automaton; is a `genner.grammar.Grammar`. A step's `what` is (number of the label, how its list stands)."""

    def __init__(self, text: str, labels: LabelSet, constraints: Constraints) -> None:
        super().__init__(text, labels, constraints, tears=False)
        self._rule = ListedMentions(text)

    def _first(self) -> Choice:
        return Choice(((f'{{"{self._tags[0]}": ['.encode(), Transition((), None, (0, _EMPTY))),), 0)

    def _follow(self, step: Transition) -> Choice:
        """The end of a label's list, or another mention."""
        items, _, (rank, stands) = step
        if rank + 1 == len(self._tags):
            options = [(b"]}", Transition(items))]
        else:
            options = [(f'], "{self._tags[rank + 1]}": ['.encode(), Transition(items, None, (rank + 1, _EMPTY)))]
        if stands != _ENDED and self._any_start(items, rank):
            options.append((b'"' if stands == _EMPTY else b', "', Transition(items, rank)))
        return Choice(tuple(options), 0)

    def _wants_menu(self, step: Transition, proposals: Proposals) -> bool:
        return False  # the next label's list is where all other ways end

    def _comes_next(self, item: WrittenItem, items: WrittenItems) -> bool:
        last = items[-1] if items and items[-1].rank == item.rank else None
        return last is None or (last.start, -last.end) < (item.start, -item.end)

    def _closed(self, quote: Copy) -> Transition | None:
        starts, length, _, rank, items = quote
        some = next((s for s in starts if s >= 0 and self._ends[s + length]), None)
        last = items[-1] if items and items[-1].rank == rank else None
        if some is None:
            return Transition(items, None, (rank, _ENDED)) if self._repeated(quote) else None
        start = self._rule.place(self._text[some : some + length], last and (last.start, last.end))
        if start is None or not self._begins[start] or not self._ends[start + length]:
            return None
        if self._first_ends[start] > start + length:
            return None
        if not self._permitted(WrittenItem(start, start + length, rank), items):
            return None
        return Transition((*items, WrittenItem(start, start + length, rank)), None, (rank, _FILLED))

    def _may_repeat(self, item: WrittenItem, step: Transition) -> bool:
        last = step.items[-1]  # it belongs to this list if `item` does
        # If the rule still finds a place for the mention, it would be read as that place.
        mention = self._text[item.start : item.end]
        return item.rank == step.quote and self._rule.place(mention, (last.start, last.end)) is None

    def _free_from(self, items: WrittenItems, rank: int) -> int:
        if not items or items[-1].rank != rank:
            return 0
        return len(self._text) if self._bars(items, rank) else items[-1].start + 1

    def _limit(self, start: int, items: WrittenItems, rank: int) -> int:
        last = items[-1] if items and items[-1].rank == rank else None
        limit = self._last_end
        if last is not None:
            if start < last.start:
                return 0
            if start == last.start:
                limit = self._end_before[last.end - 1]
        if not self._bars(items, rank):
            return limit
        # A deeper place is barred: the latest end such that the rule puts the mention here, and here it may be.
        after = last and (last.start, last.end)
        while limit >= self._first_ends[start]:
            item = WrittenItem(start, limit, rank)
            if self._permitted(item, items) and self._rule.place(self._text[start:limit], after) == start:
                return limit
            limit = self._end_before[limit - 1]
        return 0

    def _item(self, tag: str) -> str:
        return '"", '

    def _bars(self, items: WrittenItems, rank: int) -> bool:
        """Whether the mentions written for a label may block another entity of that label."""
        return self._depth is not None and sum(item.rank == rank for item in items) >= self._depth

    def _permitted(self, item: WrittenItem, items: WrittenItems) -> bool:
        """Whether no place of the entity is covered too often, in the list of its label."""
        if self._depth is None or not self._bars(items, item.rank):
            return True
        inside = [i for i in items if i.rank == item.rank and i.start < item.end and item.start < i.end]
        # The cover is deepest where an entity begins.
        places = [item.start, *(i.start for i in inside if i.start > item.start)]
        return all(sum(i.start <= place < i.end for i in inside) < self._depth for place in places)
