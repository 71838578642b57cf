"""Occurrence-based JSON: `[{"text": "John Smith", "label": "PER", "occurrence_index": 1}]`.

The index counts, from 1, the verbatim occurrences of the mention in the text, from left to right, overlapping ones and
those inside words included.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from genner.formats.json_answer import occurrences
from genner.formats.json_list import JsonList
from genner.formats.json_rules import Table, counted
from genner.rules import Part


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

    def rough(
        self, text: str, starts: Sequence[int], ends: Sequence[int]
    ) -> tuple[Table, Callable[[int], tuple[Part, ...]]]:
        """As many occurrences as its last word has up to there."""
        known: dict[str, list[int]] = {}

        def said(end: int) -> tuple[Part, ...]:
            start = starts[bisect_left(starts, end) - 1]
            word = text[start:end]
            if word not in known:
                known[word] = list(occurrences(text, word))
            return (Part('"occurrence_index": ', f"index{bisect_right(known[word], start) - 1}"),)

        most = max((int(said(end)[0].rule.removeprefix("index")) for end in ends), default=-1)
        return counted("index", range(1, most + 2)), said

    def hint(self, text: str, mention: str, item: Mapping[str, Any]) -> int | None:
        index = item.get("occurrence_index")
        if type(index) is not int or not 1 <= index <= len(text):
            return None
        return next(islice(occurrences(text, mention), index - 1, None), None)
