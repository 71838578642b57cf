"""Base of the JSON formats that are a list of items in reading order, one per entity.

    [{"text": "John Smith", "label": "PER", ...}, {"text": "New York", "label": "LOC", ...}]

They can encode nested, crossing and repeated mentions, and several labels of one span (in label set order).
"""

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from genner.cfg import ContextFreeGrammar, Symbol
from genner.document import Document, Entity, LabelSet, Problem
from genner.formats.base import Format, StrictReading, check_labels, exported_depth, schema_depth
from genner.formats.json_answer import brief, find_objects, load
from genner.formats.json_cfg import RuleTable, list_rules, list_schema
from genner.formats.json_grammar import (
    JSON_DECISIONS,
    SEPARATOR,
    Choice,
    Copy,
    JsonGrammar,
    Transition,
    WrittenItem,
    WrittenItems,
)
from genner.formats.search import Hint, Search, place
from genner.grammar import FLAT, UNCONSTRAINED, Constraints, Proposals

_LABEL, _NAME, _PLACE, _NEXT = range(4)  # what comes next: the label's key, its name, the position, another item


class JsonList(Format):
    """A format whose answer is a JSON list with an object for each entity."""

    decision_kinds = JSON_DECISIONS

    number_keys: tuple[str, ...]
    """The keys of an item that give the position of its mention."""

    @abstractmethod
    def numbers(self, search: Search, start: int, end: int) -> dict[str, int]:
        """The keys and values that give the position of the mention `[start, end)` in the text."""

    def position(self, text: str, start: int, end: int) -> dict[str, int]:
        """`numbers` of a single mention."""
        return self.numbers(Search(text), start, end)

    tears: bool = True
    """Whether an entity may be torn out of a word (`genner.boundaries.torn`)."""

    @abstractmethod
    def said(self, search: Search, mention: str, item: Mapping[str, Any]) -> int | None:
        """The start that an item states for its mention; None if the mention cannot be there."""

    @abstractmethod
    def hint(self, item: Mapping[str, Any], shown: str, problems: list[Problem]) -> Hint:
        """The hint in an item whose stated position is wrong; `shown` names the item in problems."""

    @abstractmethod
    def rough(
        self, text: str, starts: Sequence[int], ends: Sequence[int]
    ) -> tuple[RuleTable, Callable[[int], tuple[Symbol, ...]]]:
        """Rules for a mention's position when only its end is known: see `json_cfg.Rough`."""

    def encode(self, document: Document, labels: LabelSet) -> str:
        check_labels(document, labels)
        rank = {tag: i for i, tag in enumerate(labels.tags)}
        ordered = sorted(self.check_encodable(document), key=lambda e: (e.start, -e.end, rank[e.label]))
        search = Search(document.text)
        items = [
            {"text": document.mention(e), "label": e.label, **self.numbers(search, e.start, e.end)} for e in ordered
        ]
        return json.dumps(items, ensure_ascii=False)

    def grammar(self, text: str, labels: LabelSet, constraints: Constraints = UNCONSTRAINED) -> "ListGrammar":
        return ListGrammar(self, text, labels, constraints)

    def rules(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> ContextFreeGrammar:
        """Exact for flat entities of a few words, and in short texts of any; for longer ones, the numbers may be wrong.
        Nested entities may be written twice, or exceed `depth`."""
        depth, repeat = exported_depth(self.name, constraints), constraints.allow_trailing_repeat
        return list_rules(text, labels, self.position, self.rough, constraints.boundaries, depth, repeat)

    def json_schema(self, text: str, labels: LabelSet, constraints: Constraints = FLAT) -> dict[str, Any]:
        """Every item is a mention with its true position; the same may be written twice, in any order."""
        return list_schema(text, labels, self.position, schema_depth(self.name, constraints))

    def unencodable(self, document: Document) -> list[Entity]:
        search = Search(document.text)
        return [] if self.tears else [e for e in document.entities if search.is_torn(*e.span)]

    def labels_in(self, answer: str, text: str = "") -> Iterable[str]:
        value = load(answer)
        items = value if isinstance(value, list) else []
        return [str(item["label"]) for item in items if isinstance(item, dict) and "label" in item]

    def parse(self, text: str, answer: str, labels: LabelSet) -> tuple[str, list[Entity], list[Problem]]:
        """Every object in the answer is an item; each is placed or dropped independently. Items whose stated position
        is correct are placed before the others."""
        objects, problems = find_objects(answer)
        search = Search(text)
        placed: list[Entity | None] = []
        astray: list[tuple[int, dict[str, Any]]] = []
        taken: dict[str, set[tuple[int, int]]] = {label: set() for label in labels.tags}
        for item in objects:
            mention, label = item.get("text"), item.get("label")
            if not isinstance(mention, str) or not isinstance(label, str) or not mention:
                problems.append(Problem("malformed", f"item {brief(item)} lacks a 'text' or a 'label'"))
            elif label not in labels:
                problems.append(Problem("dropped", f"item {brief(item)}: no such label"))
            else:
                start = self.said(search, mention, item)
                if start is not None and self._agrees(search, mention, item, start, torn=self.tears):
                    placed.append(Entity(start, start + len(mention), label))
                    taken[label].add((start, start + len(mention)))
                else:
                    astray.append((len(placed), item))
                    placed.append(None)
        for number, item in astray:
            mention, label = item["text"], item["label"]
            hint = self.hint(item, f"{label} {brief(mention)}", problems)
            for entity in place(search, mention, label, hint, problems, taken[label]):
                placed[number] = entity
                taken[label].add(entity.span)
        return text, [entity for entity in placed if entity is not None], problems

    def parse_strictly(self, text: str, answer: str, labels: LabelSet) -> StrictReading:
        """An item counts at the position of its numbers, which must all agree."""
        search = Search(text)
        entities, wrong = dict[Entity, None](), dict[tuple[str, str, str], None]()
        for item in find_objects(answer)[0]:
            mention, label = item.get("text"), item.get("label")
            if not (isinstance(mention, str) and mention and isinstance(label, str) and label):
                continue  # names no entity
            start = self.said(search, mention, item)
            if start is not None and self._agrees(search, mention, item, start, torn=True):
                entities[Entity(start, start + len(mention), label)] = None
            else:
                wrong[label, mention, self.numbers_written(item)] = None
        return StrictReading(tuple(entities), Counter(label for label, *_ in wrong))

    @abstractmethod
    def place_said(self, mention: str, item: Mapping[str, Any]) -> tuple[int, ...] | None:
        """The numbers of an item, if they are possible for this mention in some text."""

    def numbers_written(self, item: Mapping[str, Any]) -> str:
        """The stated position of an item as JSON, whatever its values."""
        return json.dumps([item.get(key) for key in self.number_keys])

    def legal(self, text: str, answer: str, labels: LabelSet) -> tuple[Entity, ...] | None:
        items = load(answer)
        if not isinstance(items, list) or json.dumps(items, ensure_ascii=False) != answer:
            return None
        rank = {tag: i for i, tag in enumerate(labels.tags)}
        search, keys = Search(text), None
        entities = dict[Entity, None]()
        last = (-1, 0, 0)
        for i, item in enumerate(items):
            if not isinstance(item, dict) or [*item][:2] != ["text", "label"]:
                return None
            mention, label = item["text"], item["label"]
            if not isinstance(mention, str) or not mention or not isinstance(label, str) or label not in rank:
                return None
            start = self.said(search, mention, item)
            if start is None or not self._agrees(search, mention, item, start, torn=self.tears):
                return None
            if keys is None:
                keys = ["text", "label", *self.numbers(search, start, start + len(mention))]
            if [*item] != keys:
                return None
            entity, place = Entity(start, start + len(mention), label), (start, -start - len(mention), rank[label])
            if place <= last and not (entity in entities and i + 1 == len(items)):
                return None  # but for the last, which may be one that is listed already
            entities[entity], last = None, place
        return tuple(entities)

    def _agrees(self, search: Search, mention: str, item: Mapping[str, Any], start: int, *, torn: bool) -> bool:
        """Whether the stated position of an item is fully correct for a mention that begins at `start`.

        Without `torn`, the mention must not be torn out of a word.
        """
        if not search.text.startswith(mention, start) or not (torn or not search.is_torn(start, start + len(mention))):
            return False
        said = self.numbers(search, start, start + len(mention))
        return all(type(item.get(key)) is int and item[key] == number for key, number in said.items())


class ListGrammar(JsonGrammar):
    """The automaton of a list format; satisfies `genner.grammar.Grammar`."""

    def __init__(
        self,
        form: JsonList,
        text: str,
        labels: LabelSet,
        constraints: Constraints,
    ) -> None:
        super().__init__(text, labels, constraints, tears=form.tears)
        self._same_span_labels = constraints.same_span_labels
        self._form = form
        self._search = Search(text)
        self._last_rank = len(labels) - 1

    def _first(self) -> Choice:
        options = [(b"[]", Transition(()))]
        if self._any_start((), -1):
            options.append((b'[{"text": "', Transition((), -1)))
        return Choice(tuple(options), 0)

    def _closed(self, quote: Copy) -> Transition | None:
        starts, length, _, _, items = quote
        places = [s for s in starts if s >= 0 and self._ends[s + length] and self._first_ends[s] <= s + length]
        places = [s for s in places if self._limit(s, items, -1) >= s + length]
        places += self._repeated(quote)
        return Transition(items, None, (_LABEL, length, *places)) if places else None

    def _follow(self, step: Transition) -> Choice:
        items, _, (what, *numbers) = step
        options: list[tuple[bytes, Transition]] = []
        if what == _LABEL:
            options.append((b', "label": "', Transition(items, None, (_NAME, *numbers))))
        elif what == _NAME:
            length, *starts = numbers
            for rank, tag in enumerate(self._tags):
                places = [
                    s
                    for s in starts
                    if (self._comes_next(WrittenItem(s, s + length, rank), items) if s >= 0 else items[~s].rank == rank)
                ]
                if places:
                    name = f'{tag}"{SEPARATOR}'.encode()
                    options.append((name, Transition(items, None, (_PLACE, length, rank, *places))))
        elif what == _PLACE:
            length, rank, *starts = numbers
            for s in starts:
                if s >= 0:
                    after = Transition((*items, WrittenItem(s, s + length, rank)), None, (_NEXT,))
                    options.append((self._tail(s, s + length), after))
                else:  # a repetition, which ends the list
                    options.append((self._tail(items[~s].start, items[~s].end) + b"]", Transition(items)))
        else:
            options.append((b"]", Transition(items)))
            if self._any_start(items, -1):
                options.append((b', {"text": "', Transition(items, -1)))
        return Choice(tuple(options), 0)

    def _names_label(self, step: Transition) -> bool:
        return step.what[:1] == (_PLACE,)

    def _tail(self, start: int, end: int) -> bytes:
        return json.dumps(self._form.numbers(self._search, start, end))[1:].encode()

    def _item(self, tag: str) -> str:
        last = len(self._text)
        numbers = self._form.position(self._text, max(0, last - 1), last)
        return json.dumps({"text": "", "label": tag, **dict.fromkeys(numbers, last)}) + ", "

    def _wants_menu(self, step: Transition, proposals: Proposals) -> bool:
        if step.what[0] == _NAME:
            return True
        if step.what[0] == _PLACE:  # a label was named for a mention with several possible places
            _, length, rank, *starts = step.what
            if starts[0] < 0:
                return False
            mention = self._text[starts[0] : starts[0] + length]
            for start, end, number in proposals.spans:  # the first match: later ones are handled later
                if self._text[start:end] == mention and self._comes_next(WrittenItem(start, end, number), step.items):
                    return number == rank
            known = proposals.likeliest(starts[0], starts[0] + length)
            return known is not None and known[1] == rank
        return step.items[-1] in proposals.spans  # its position was named

    def _comes_next(self, item: WrittenItem, items: WrittenItems) -> bool:
        if not items:
            return True
        last = items[-1]
        if (last.start, last.end) == (item.start, item.end):
            return self._same_span_labels and last.rank < item.rank
        return (last.start, -last.end) < (item.start, -item.end)

    def _free_from(self, items: WrittenItems, rank: int) -> int:
        if not items:
            return 0
        return max(item.end for item in items) if self._depth is not None else items[-1].start + 1

    def _limit(self, start: int, items: WrittenItems, rank: int) -> int:
        if not items:
            return self._last_end
        last = items[-1]
        if start < last.start:
            return 0
        # What began earlier and ends later covers this place; nothing begins later, so far.
        if self._depth is not None and sum(item.end > start for item in items) >= self._depth:
            return 0
        if start > last.start:
            return self._last_end
        return self._end_before[last.end if self._same_span_labels and last.rank < self._last_rank else last.end - 1]
