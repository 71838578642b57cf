"""Offset-based JSON: `[{"text": "John Smith", "label": "PER", "start": 0, "end": 10}]`.

Offsets count code points from 0; the end is exclusive.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genner.formats.json_list import JsonList
from genner.formats.json_rules import Table, counted
from genner.formats.search import Search
from genner.rules import Part


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

    def numbers(self, search: Search, start: int, end: int) -> dict[str, int]:
        return {"start": start, "end": end}

    def rough(
        self, text: str, starts: Sequence[int], ends: Sequence[int]
    ) -> tuple[Table, Callable[[int], tuple[Part, ...]]]:
        """Its end, and any start before it."""

        def said(end: int) -> tuple[Part, ...]:
            return Part('"start": ', f"start{bisect_left(starts, end) - 1}"), Part(f', "end": {end}')

        return counted("start", starts), said

    def hint(self, search: Search, mention: str, item: Mapping[str, Any]) -> int | None:
        """Where it starts, or else where it ends; if neither has the mention there, its start."""
        start, end = item.get("start"), item.get("end")
        starts = type(start) is int and 0 <= start < len(search.text)
        if type(end) is int and end >= len(mention) and not (starts and search.text.startswith(mention, start)):
            by_end = end - len(mention)
            if search.text.startswith(mention, by_end):
                return by_end
        return start if starts else None

    def place_said(self, mention: str, item: Mapping[str, Any]) -> tuple[int, ...] | None:
        start, end = item.get("start"), item.get("end")
        if type(start) is not int or type(end) is not int or start < 0 or end - start != len(mention):
            return None
        return start, end
