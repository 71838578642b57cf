"""The source text of a record: positions are positions in it, and the answers do not always hold it.

LLaMA-Factory's `prompt` is the whole chat as the tokenizer reads it back: the instruction, the sentence, and what the
chat template puts before the answer. The sentence is the last thing the user said; where it begins is checked against
the gold answer.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from rapidfuzz.distance import Levenshtein

from genner.document import LabelSet
from genner.formats import Format
from genner.generations.records import GenerationRecord, without_surrogates

# What templates leave behind the sentence, whether or not their special tokens were taken out. A reply's role may be
# glued to the sentence's full stop: "left.assistant".
_TAIL = re.compile(r"(?:\s|<[^<>\s]*>|\[/INST\]|(?:(?<=[\n>.!?\"')\]]))(?:assistant|model))*\Z")
_CLOSE = 0.8  # how like the gold copy a line must be to be its source
_LINES = 40  # how many lines from the end a sentence may begin


def is_inline(form: Format) -> bool:
    """Whether the answer is a copy of the text."""
    return form.name.startswith("inline")


def as_text(answer: Any) -> str:
    """An answer as the string that the model wrote; what was stored as JSON is written as JSON again."""
    return without_surrogates(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def find_source(record: GenerationRecord, form: Format, labels: LabelSet) -> str | None:
    """The text that was to be tagged, or None where it cannot be known.

    An inline answer copies the text: the gold answer without its markup is the source if the prompt holds it, or if
    there is no prompt; else the source is the line of the prompt that is most like it, as happens where the text has
    brackets or tags of its own.

    A JSON answer does not hold the text. Its source is an end of the prompt, from the start of a line on, in which all
    mentions of the gold answer occur, at the places it gives if there is such an end. What follows a line that
    announces the text ("Text:", "Now process the input sentence:") is tried first, then longer ends, then shorter ones.
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
        # Where an answer gives no places, it tells nothing that a mention was moved from one.
        moved = kinds.count("realigned") if form.says_places else 0
        if "dropped" not in kinds and moved < fewest:
            chosen, fewest = text, moved
        if not fewest:
            break
    return chosen


def _ends(prompt: str) -> Iterator[str]:
    """Where the text may begin: the ends of a prompt, from line starts, the likeliest first."""
    lines = _TAIL.sub("", prompt).split("\n")
    first = max(0, len(lines) - _LINES)
    announced = (i + 1 for i in range(len(lines) - 2, first - 1, -1) if lines[i].rstrip().endswith(":"))
    at = next(announced, len(lines) - 1)
    for start in [*range(at, first - 1, -1), *range(at + 1, len(lines))]:
        yield "\n".join(lines[start:])
