"""Occurrence-based JSON: `[{"text": "John Smith", "label": "PER", "occurrence_index": 1}]`.

The index counts, from 1, the verbatim occurrences of the mention in the text, from left to right, overlapping ones and
those inside words included. The format cannot encode an entity that is torn out of a word (`genner.boundaries.torn`):
if an answer has `cell` and the text `cells`, the mention is wrong.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genner.cfg import Symbol
from genner.document import LabelSet, Problem
from genner.formats.json_answer import whole_number
from genner.formats.json_cfg import RuleTable, counted
from genner.formats.json_list import JsonList
from genner.formats.published import PublishedAnswer, by_occurrence, published_items
from genner.formats.search import Hint, Search


class OccurrenceJSON(JsonList):
    name = "occurrence_json"
    tears = False
    number_keys = ("occurrence_index",)
    instruction = (
        'List the entities of the text as JSON: [{"text": mention, "label": LABEL, "occurrence_index": which of the '
        "mention's occurrences}]"
    )
    example = (
        '[{"text": "John Smith", "label": "PER", "occurrence_index": 1}, '
        '{"text": "New York", "label": "LOC", "occurrence_index": 1}]'
    )

    def read_published(self, text: str, answer: str, labels: LabelSet) -> PublishedAnswer | None:
        return published_items(text, answer, labels, by_occurrence())

    def numbers(self, search: Search, start: int, end: int) -> dict[str, int]:
        return {"occurrence_index": bisect_right(search.occurrences(search.text[start:end]), start)}

    def rough(
        self, text: str, starts: Sequence[int], ends: Sequence[int]
    ) -> tuple[RuleTable, Callable[[int], tuple[Symbol, ...]]]:
        """Any number up to the occurrences of its last word so far."""
        search = Search(text)

        def said(end: int) -> tuple[Symbol, ...]:
            start = starts[bisect_left(starts, end) - 1]
            index = bisect_right(search.occurrences(text[start:end]), start)
            return (Symbol('"occurrence_index": ', f"index{index - 1}"),)

        most = max((int(said(end)[0].rule.removeprefix("index")) for end in ends), default=-1)
        return counted("index", range(1, most + 2)), said

    def said(self, search: Search, mention: str, item: Mapping[str, Any]) -> int | None:
        index, found = item.get("occurrence_index"), search.occurrences(mention)
        return found[index - 1] if type(index) is int and 1 <= index <= len(found) else None

    def hint(self, item: Mapping[str, Any], shown: str, problems: list[Problem]) -> Hint:
        """An index that is not a number above 0 names no occurrence: the mention is placed only if it has one place."""
        if "occurrence_index" not in item:
            return Hint()
        index = whole_number(item, "occurrence_index", shown, problems)
        return Hint(number=index) if index is not None and index > 0 else Hint(certain=True)

    def place_said(self, mention: str, item: Mapping[str, Any]) -> tuple[int, ...] | None:
        index = item.get("occurrence_index")
        return (index,) if type(index) is int and index >= 1 else None
