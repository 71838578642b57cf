"""Occurrence-based JSON: `[{"text": "John Smith", "label": "PER", "occurrence_index": 1}]`.

The index counts, from 1, the verbatim occurrences of the mention in the text, from left to right, overlapping ones and
those inside words included.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from genner.formats.json_answer import occurrences
from genner.formats.json_list import JsonList


class OccurrenceJSON(JsonList):
    name = "occurrence_json"
    instruction = (
        'List the entities of the text as JSON: [{"text": mention, "label": LABEL, "occurrence_index": which of the '
        "mention's occurrences}]"
    )
    example = (
        '[{"text": "John Smith", "label": "PER", "occurrence_index": 1}, '
        '{"text": "New York", "label": "LOC", "occurrence_index": 1}]'
    )

    def position(self, text: str, start: int, end: int) -> dict[str, int]:
        mention, index, at = text[start:end], 1, -1
        while (at := text.find(mention, at + 1)) < start:
            index += 1
        return {"occurrence_index": index}

    def hint(self, text: str, mention: str, item: Mapping[str, Any]) -> int | None:
        index = item.get("occurrence_index")
        if type(index) is not int or not 1 <= index <= len(text):
            return None
        return next(islice(occurrences(text, mention), index - 1, None), None)
