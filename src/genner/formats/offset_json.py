"""Offset-based JSON: `[{"text": "John Smith", "label": "PER", "start": 0, "end": 10}]`.

Offsets count code points from 0; the end is exclusive.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genner.cfg import Symbol
from genner.document import LabelSet, Problem
from genner.formats.json_answer import whole_number
from genner.formats.json_cfg import RuleTable, counted
from genner.formats.json_list import JsonList
from genner.formats.published import PublishedAnswer, by_offsets, published_items
from genner.formats.search import Hint, Search


class OffsetJSON(JsonList):
    name = "offset_json"
    number_keys = ("start", "end")
    instruction = (
        'List the entities of the text as JSON: [{"text": mention, "label": LABEL, "start": first character, '
        '"end": last character + 1}]'
    )
    example = (
        '[{"text": "John Smith", "label": "PER", "start": 0, "end": 10}, '
        '{"text": "New York", "label": "LOC", "start": 25, "end": 33}]'
    )

    def read_published(self, text: str, answer: str, labels: LabelSet) -> PublishedAnswer | None:
        return published_items(text, answer, labels, by_offsets)

    def numbers(self, search: Search, start: int, end: int) -> dict[str, int]:
        return {"start": start, "end": end}

    def rough(
        self, text: str, starts: Sequence[int], ends: Sequence[int]
    ) -> tuple[RuleTable, Callable[[int], tuple[Symbol, ...]]]:
        """Its end, and any start before it."""

        def said(end: int) -> tuple[Symbol, ...]:
            return Symbol('"start": ', f"start{bisect_left(starts, end) - 1}"), Symbol(f', "end": {end}')

        return counted("start", starts), said

    def said(self, search: Search, mention: str, item: Mapping[str, Any]) -> int | None:
        start = item.get("start")
        return start if type(start) is int and 0 <= start < len(search.text) else None

    def hint(self, item: Mapping[str, Any], shown: str, problems: list[Problem]) -> Hint:
        """If neither offset is a number, there is no hint: the mention is placed only if it has exactly one place."""
        given = [key for key in ("start", "end") if key in item]
        numbers = {key: whole_number(item, key, shown, problems) for key in given}
        unknown = bool(given) and all(number is None for number in numbers.values())
        return Hint(numbers.get("start"), numbers.get("end"), certain=unknown)

    def place_said(self, mention: str, item: Mapping[str, Any]) -> tuple[int, ...] | None:
        start, end = item.get("start"), item.get("end")
        if type(start) is not int or type(end) is not int or start < 0 or end - start != len(mention):
            return None
        return start, end
