"""The source text of a record: positions refer to it, and not all answers contain it.

LLaMA-Factory's `prompt` is the whole chat as decoded by the tokenizer: the instruction, the sentence, and the chat
template's text before the answer. The sentence is the last part of the user's turn; its beginning is checked against
the gold answer.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from rapidfuzz.distance import Levenshtein

from genner.document import DROPPED_KINDS, LabelSet
from genner.formats import Format
from genner.generations.records import GenerationRecord, without_surrogates

# What templates leave after the sentence, with or without their special tokens. A reply's role may be glued to the
# sentence's full stop: "left.assistant".
_TAIL = re.compile(r"(?:\s|<[^<>\s]*>|\[/INST\]|(?:(?<=[\n>.!?\"')\]]))(?:assistant|model))*\Z")
_CLOSE = 0.8  # minimum similarity of a line to the gold copy to be its source
_LINES = 40  # maximum number of lines from the end at which a sentence may begin


def is_inline(form: Format) -> bool:
    """Whether the answer is a copy of the text."""
    return form.name.startswith("inline")


def as_text(answer: Any) -> str:
    """An answer as the string that the model wrote; a value stored as JSON is serialized again."""
    return without_surrogates(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def find_source(record: GenerationRecord, form: Format, labels: LabelSet) -> str | None:
    """The text to be tagged, or None if it cannot be determined.

    An inline answer copies the text: the gold answer without its markup is the source if the prompt holds it, or if
    there is no prompt; else the source is the line of the prompt that is most similar, as needed if the text has
    brackets or tags of its own.

    A JSON answer does not contain the text. Its source is a suffix of the prompt that starts at a line and contains all
    mentions of the gold answer, at the stated places if such a suffix exists. The suffix after a line that announces
    the text ("Text:", "Now process the input sentence:") is tried first, then longer suffixes, then shorter ones.
    """
    gold = as_text(record.label)
    if is_inline(form):
        prompt = record.prompt or ""
        copy = form.parse(prompt, form.reply(prompt, gold, labels), labels)[0]
        if record.prompt is None or copy in record.prompt:
            return copy
        likeness = {
            line: Levenshtein.normalized_similarity(line, copy) for line in _TAIL.sub("", record.prompt).split("\n")
        }
        best = max(likeness, key=lambda line: likeness[line])
        return best if likeness[best] >= _CLOSE else copy
    chosen, fewest = None, len(gold) + 1
    for text in _ends(record.prompt) if record.prompt is not None else ():
        kinds = [p.kind for p in form.decode(text, gold, labels).problems]
        # If an answer gives no places, a moved mention says nothing.
        moved = kinds.count("realigned") if form.says_places else 0
        if not set(DROPPED_KINDS).intersection(kinds) and moved < fewest:
            chosen, fewest = text, moved
        if not fewest:
            break
    return chosen


def _ends(prompt: str) -> Iterator[str]:
    """Candidate texts: the suffixes of a prompt that start at a line, the likeliest first."""
    lines = _TAIL.sub("", prompt).split("\n")
    first = max(0, len(lines) - _LINES)
    announced = (i + 1 for i in range(len(lines) - 2, first - 1, -1) if lines[i].rstrip().endswith(":"))
    at = next(announced, len(lines) - 1)
    for start in [*range(at, first - 1, -1), *range(at + 1, len(lines))]:
        yield "\n".join(lines[start:])
