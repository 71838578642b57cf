"""Extracts the reply from an answer: removes the model's reasoning and the wrapping of the reply.

Reasoning is the content of `<think>...</think>` and similar tags (`<thinking>`, `<reasoning>`, `[THINK]`, ...), text
before an unopened `</think>` (chat templates often open it in the prompt), text after an unclosed `<think>` (the answer
was cut off), and every channel of the harmony format but `final`. An answer that is reasoning alone has an empty reply.

A text may contain such a mark, and so does a copy of it. Then only reasoning at the beginning of the answer counts, and
it ends where the number of closing marks left equals that in the text. A mark that is also a tag of the label set is
read as that tag.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from genner.document import LabelSet

_ALWAYS = frozenset({"think", "thinking", "thought|"})  # names no model uses for anything else
_MARK = re.compile(
    r"<(?P<close>/?)(?P<name>(?i:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis))>"
    r"|\[(?P<close2>/?)(?P<name2>THINK)\]|◁(?P<close3>/?)(?P<name3>think)▷|<\|(?P<thought>begin|end)_of_thought\|>"
)
_CHANNEL = re.compile(r"<\|channel\|>\s*+(\w++)[^<]*+(?:<\|constrain\|>[^<]*+)?+<\|message\|>")
_TURN_END = re.compile(r"<\|(?:end|return|call|start)\|>")
_ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)
_BLANKS = re.compile(r"\s*+")
_MARKUP = re.compile(r"[\[{<@]")


@dataclass(frozen=True, slots=True)
class _Mark:
    """A mark of reasoning in an answer: `[begin, end)` is the mark itself."""

    begin: int
    end: int
    kind: str
    closes: bool


def reply(answer: str, text: str, labels: LabelSet, *, copies: int = 0) -> str:
    """The reply in an answer about `text`; the whole answer if nothing surrounds it. Takes any string, in linear time.

    Args:
        answer: what the model wrote.
        text: what it was asked about.
        labels: the labels asked for.
        copies: how many copies of the text a reply of this format holds.
    """
    said = _unwrapped(_final_channel(_without_reasoning(answer, text, labels, copies), text), text, labels)
    if said.strip() == answer.strip():
        return answer
    return said.strip() if text.strip() == text else said.strip("\n")


def _without_reasoning(answer: str, text: str, labels: LabelSet, copies: int) -> str:
    marks = [mark for mark in _marks(answer) if not _is_tag(answer, mark, labels)]
    if not marks:
        return answer
    in_text = {mark.kind for mark in _marks(text)}
    for kind in dict.fromkeys(mark.kind for mark in marks if mark.kind in in_text):
        some = [mark for mark in marks if mark.kind == kind]
        if cut := _end_of_leading(answer, some, [m for m in _marks(text) if m.kind == kind], text, copies):
            # After it, marks are copied text.
            return answer[cut:]
    return _outside(answer, [mark for mark in marks if mark.kind not in in_text])


def _marks(text: str) -> Iterator[_Mark]:
    for match in _MARK.finditer(text):
        if match["thought"]:
            yield _Mark(match.start(), match.end(), "thought|", match["thought"] == "end")
        else:
            name = match["name"] or match["name2"] or match["name3"]
            closes = bool(match["close"] or match["close2"] or match["close3"])
            yield _Mark(match.start(), match.end(), name.lower(), closes)


def _is_tag(answer: str, mark: _Mark, labels: LabelSet) -> bool:
    return answer[mark.begin : mark.end].strip("<>/") in labels


def _outside(answer: str, marks: list[_Mark]) -> str:
    """The text outside reasoning. The rarer names mark reasoning only at the beginning of an answer."""
    pieces: list[str] = []
    at, inside = 0, ""
    blank = _behind_blanks(answer, 0)  # offset of the first significant character
    for mark in marks:
        if inside:
            if mark.closes and mark.kind == inside:
                at, inside = mark.end, ""
                blank = blank if pieces else _behind_blanks(answer, at)
        elif mark.kind in _ALWAYS or (not mark.closes and mark.begin <= blank):
            if mark.closes:
                pieces = []
                at = mark.end
            else:
                if answer[at : mark.begin].strip():
                    pieces.append(answer[at : mark.begin])
                at, inside = mark.begin, mark.kind
    if not inside:
        pieces.append(answer[at:])
    return "".join(pieces)


def _behind_blanks(answer: str, at: int) -> int:
    match = _BLANKS.match(answer, at)
    return match.end() if match else at


def _end_of_leading(answer: str, marks: list[_Mark], in_text: list[_Mark], text: str, copies: int) -> int:
    """The end of leading reasoning when the text also has such marks; 0 if there is none."""
    leads = not marks[0].closes and not answer[: marks[0].begin].strip()
    text_leads = bool(copies and in_text and not in_text[0].closes and not text[: in_text[0].begin].strip())
    closings = [mark.end for mark in marks if mark.closes]
    expected = sum(mark.closes for mark in in_text) * (copies if leads else max(copies, 1))
    if len(closings) > expected:
        return closings[len(closings) - expected - 1]
    if not leads or text_leads:
        return 0
    return closings[0] if closings else len(answer)


def _final_channel(answer: str, text: str) -> str:
    """The last message of harmony's final channel, with its special tokens or without them."""
    if "<|channel|>" in answer and "<|channel|>" not in text:
        channels = list(_CHANNEL.finditer(answer))
        final = next((match for match in reversed(channels) if match[1] == "final"), None)
        if final is not None:
            end = _TURN_END.search(answer, final.end())
            return answer[final.end() : end.start() if end else len(answer)]
        if channels:
            return answer[: channels[0].start()].partition("<|start|>")[0]
    if answer.startswith("analysis") and not text.startswith("analysis") and "assistantfinal" not in text:
        return answer.rpartition("assistantfinal")[2]
    return answer


def _unwrapped(answer: str, text: str, labels: LabelSet) -> str:
    """The content of the last `<answer>...</answer>`, or of the only code fence if there is no markup outside it."""
    if "answer" not in labels and not _ANSWER.search(text):
        marks = list(_ANSWER.finditer(answer))
        begin = next((i for i in range(len(marks) - 1, -1, -1) if not marks[i][1]), None)
        if begin is not None:
            end = marks[begin + 1].start() if begin + 1 < len(marks) else len(answer)
            answer = answer[marks[begin].end() : end]
    if _FENCE.search(text):
        return answer
    fences = list(_FENCE.finditer(answer))
    if not 1 <= len(fences) <= 2:
        return answer
    last = fences[1] if len(fences) == 2 else None
    before, behind = answer[: fences[0].start()], answer[last.end() :] if last else ""
    if _MARKUP.search(before) or _MARKUP.search(behind):
        return answer
    inner = answer[fences[0].end() + 1 : last.start() if last else len(answer)]
    return inner.removesuffix("\n") if last else inner
