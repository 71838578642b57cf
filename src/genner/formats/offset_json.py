"""Offset-based JSON: `[{"text": "John Smith", "label": "PER", "start": 0, "end": 10}]`.

Offsets count code points from 0; the end is exclusive.
"""

from collections.abc import Mapping
from typing import Any

from genner.formats.json_list import JsonList


class OffsetJSON(JsonList):
    name = "offset_json"
    instruction = (
        'List the entities of the text as JSON: [{"text": mention, "label": LABEL, "start": first character, '
        '"end": last character + 1}]'
    )
    example = (
        '[{"text": "John Smith", "label": "PER", "start": 0, "end": 10}, '
        '{"text": "New York", "label": "LOC", "start": 25, "end": 33}]'
    )

    def position(self, text: str, start: int, end: int) -> dict[str, int]:
        return {"start": start, "end": end}

    def hint(self, text: str, mention: str, item: Mapping[str, Any]) -> int | None:
        start = item.get("start")
        return start if type(start) is int and 0 <= start < len(text) else None

    def agrees(self, item: Mapping[str, Any], start: int, end: int) -> bool:
        return type(item.get("end")) is int and item["end"] == end
