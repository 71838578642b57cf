"""What the model is asked: (labels, format) -> the instruction that stands before the text, in one user turn.

The instruction comes first and the text last, so that all texts of one task share the instruction, which is run once.
"""

import re

from genner.document import Label, LabelSet
from genner.formats import Format

_LISTED = re.compile(r"^(?:-|\d+\.) ([^:\n]+?)(?::|$)", re.MULTILINE)  # a line of `instruction` for a label


def instruction(labels: LabelSet, form: Format, *, definitions: bool = True) -> str:
    """The task, the format, and a line for each label: its tag, its long name, its definition (unless left out).

    A format that writes labels as numbers has them numbered. Ends where the text begins. Kept short: on a CPU every
    token of it costs time in training.
    """
    marks = (f"{number}." if form.numbered else "-" for number in range(1, len(labels) + 1))
    lines = "\n".join(f"{mark} {_about(label, definitions)}" for mark, label in zip(marks, labels, strict=True))
    return f"{form.instruction}. Labels:\n{lines}\nText:\n"


def labels_listed(task: str) -> list[str]:
    """The tags that an instruction of `instruction` lists, in its order, legal or not; none for other tasks."""
    return _LISTED.findall(task.split("\nText:", 1)[0]) if "\nText:" in task else []


def text_in(task: str) -> str | None:
    """The text that stands behind an instruction of `instruction`; None for other tasks."""
    if "\nText:\n" in task:
        return task.split("\nText:\n", 1)[1]
    return "" if task.endswith("\nText:") else None


def _about(label: Label, definitions: bool) -> str:
    name = label.name if label.name.casefold() != label.tag.casefold() else ""
    return ": ".join(part for part in (label.tag, name, label.definition if definitions else "") if part)


def label_ends(instruction: str, labels: LabelSet) -> tuple[int, ...]:
    """Where in an instruction the line of each label ends, in code points."""
    ends, at = [], instruction.index("Labels:\n") + len("Labels:\n")
    for _ in labels:
        at = instruction.index("\n", at) + 1
        ends.append(at - 1)
    return tuple(ends)
