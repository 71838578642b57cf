"""The paper's scoring, its faults included: one function per format, each from an answer to the matched items.

Zhan, Wang and Huang (2026), "Assessment of Generative Named Entity Recognition in the Era of Large Language Models",
arXiv 2601.17898, score each format by a script of its own. These functions give the counts of those scripts on any
input and share no code with genner's own formats. The gold answer is read by the same parser as the prediction, and
multisets are matched, so an entity written twice counts twice.

Where the paper's description is unclear, these functions follow the published scripts:

- an answer that is not a string is converted as by Python's `str` (`None`, a list) for the inline formats; for the JSON
  formats a list (occurrence, offset) or an object (grouped) is taken as it is, anything else has no entities;
- code fences around JSON, and anything else that is not JSON, make the answer empty; `NaN` and `Infinity` are JSON to
  Python, and of a duplicate key the last counts;
- an item that is not an object, or lacks a field or has null for it, is passed over alone; but one whose number
  Python's `int` refuses empties the whole answer. `int` takes `"2"`, `2.7` (as 2) and `true` (as 1);
- text and label that are not strings are converted as by Python's `str` (`True`, `None`, `1.0`).
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from genner.evaluation.counts import Counts

MatchedItem = tuple[str, ...] | tuple[str, int, int] | tuple[str, str, int] | tuple[str, str, int, int]
"""The matched items; the label comes first."""


@dataclass(frozen=True, slots=True)
class PaperReading:
    """What the published script of a format reads from one record. `by_text`: matched by text, without positions."""

    gold: list[MatchedItem]
    pred: list[MatchedItem]
    by_text: bool = False

    def counts(self) -> dict[str, Counts]:
        """Counts by label, for all labels of gold or prediction."""
        expected, found = Counter(self.gold), Counter(self.pred)
        counts: dict[str, Counts] = {}
        for item in expected | found:
            right = min(expected[item], found[item])
            counts[item[0]] = counts.get(item[0], Counts()) + Counts(right, found[item] - right, expected[item] - right)
        return counts


PaperRule = Callable[[Any, Any, Sequence[str]], PaperReading]
"""`(predict, label, label set) -> PaperReading`; only inline XML uses the label set."""


def inline_bracketed(predict: Any, label: Any, labels: Sequence[str]) -> PaperReading:
    """`[John Smith | PER]`; compared by position if the copies agree, else by text."""
    return _compare_copies(_read_brackets(label), _read_brackets(predict))


def inline_xml(predict: Any, label: Any, labels: Sequence[str]) -> PaperReading:
    """`<PER>John Smith</PER>`; compared by position if the copies agree, else by text."""
    return _compare_copies(_read_tags(label, labels), _read_tags(predict, labels))


def grouped_json(predict: Any, label: Any, labels: Sequence[str]) -> PaperReading:
    """`{"PER": ["John Smith"]}`: label and text. A value that is not a list is skipped."""

    def read(answer: Any) -> list[MatchedItem]:
        data = _loads(answer) if isinstance(answer, str) else answer
        if not isinstance(data, dict):
            return []
        return [(tag, _written(text)) for tag, texts in data.items() if isinstance(texts, list) for text in texts]

    return PaperReading(read(label), read(predict), by_text=True)


def occurrence_json(predict: Any, label: Any, labels: Sequence[str]) -> PaperReading:
    """`[{"text", "label", "occurrence_index"}]`: label, text and occurrence."""
    return PaperReading(_read_items(label, "occurrence_index"), _read_items(predict, "occurrence_index"))


def offset_json(predict: Any, label: Any, labels: Sequence[str]) -> PaperReading:
    """`[{"text", "label", "start", "end"}]`: label, text, start and end; the text need not occur there."""
    return PaperReading(_read_items(label, "start", "end"), _read_items(predict, "start", "end"))


PAPER_RULES: dict[str, PaperRule] = {
    "inline_bracketed": inline_bracketed,
    "inline_xml": inline_xml,
    "grouped_json": grouped_json,
    "occurrence_json": occurrence_json,
    "offset_json": offset_json,
}

READ_WITH_LABELS = frozenset({"inline_xml"})
"""Formats whose rule reads only the tags of a given label set."""

CopyReader = tuple[str, list[tuple[str, int, int]]]
"""The answer without its markup, and `(label, start, end)` in it."""


def _compare_copies(gold: CopyReader, pred: CopyReader) -> PaperReading:
    if gold[0] == pred[0]:
        return PaperReading([*gold[1]], [*pred[1]])
    by_text = [[(tag, copy[start:end]) for tag, start, end in spans] for copy, spans in (gold, pred)]
    return PaperReading([*by_text[0]], [*by_text[1]], by_text=True)


def _read_brackets(answer: Any) -> CopyReader:
    """Spaces around the answer are stripped first. A `[` opens. A bar with anything but `]` up to the next `]` closes
    the innermost open bracket: spaces before it are removed (but not beyond the preceding markup), those in the label
    collapse. A closing part without an open bracket is removed likewise; so is a `[` that is never closed. Spans
    without text, or with a blank label, are ignored; `|]` and a bar with no `]` after it are text.
    """
    text = str(answer).strip()
    copy, spans, opened = "", list[tuple[str, int, int]](), list[int]()
    at = 0
    for mark in re.finditer(r"\[|\|([^\]]+)\]", text):
        before = text[at : mark.start()]
        at = mark.end()
        if mark[1] is None:
            copy += before
            opened.append(len(copy))
            continue
        copy += before.rstrip()
        tag = " ".join(mark[1].split())
        if opened:
            start = opened.pop()
            if start < len(copy) and tag:
                spans.append((tag, start, len(copy)))
    return copy + text[at:], spans


def _read_tags(answer: Any, labels: Sequence[str]) -> CopyReader:
    """Only tags of the label set are markup. A closing tag pairs with the nearest open one of its name and discards
    those opened since; without one it is removed. Unclosed tags are removed, spans without text are ignored, spaces
    stay.
    """
    text = str(answer)
    copy, spans, opened = "", list[tuple[str, int, int]](), list[tuple[str, int]]()
    at = 0
    names = "|".join(map(re.escape, labels))
    for mark in re.finditer(rf"<(/?)({names})>", text) if names else ():
        copy += text[at : mark.start()]
        at = mark.end()
        tag = mark[2]
        if not mark[1]:
            opened.append((tag, len(copy)))
        elif any(name == tag for name, _ in opened):
            while (last := opened.pop())[0] != tag:
                pass
            if last[1] < len(copy):
                spans.append((tag, last[1], len(copy)))
    return copy + text[at:], spans


def _read_items(answer: Any, *numbers: str) -> list[MatchedItem]:
    data = answer if isinstance(answer, list) else _loads(answer) if isinstance(answer, str) else None
    if not isinstance(data, list):
        return []
    items: list[Any] = []
    for item in data:
        if not isinstance(item, dict):
            continue
        values: list[Any] = [item.get(key) for key in ("text", "label", *numbers)]
        if any(value is None for value in values):
            continue
        text, tag, *rest = values
        try:
            items.append((_written(tag), _written(text), *map(int, rest)))
        except (ValueError, TypeError, OverflowError):
            return []
    return items


def _loads(answer: str) -> Any:
    """The JSON value; None if the text has none, or Python cannot parse it."""
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _written(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
