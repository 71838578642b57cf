"""What the model is asked: (labels, format) -> the instruction that stands before the text, in one user turn.

The instruction comes first and the text last, so that all texts of one task share the instruction, which is run once.
"""

from genner.document import Label, LabelSet
from genner.formats import Format


def instruction(labels: LabelSet, form: Format, *, definitions: bool = True) -> str:
    """The task, the format, and a line for each label: its tag, its long name, its definition (unless left out).

    Ends where the text begins. Kept short: on a CPU every token of it costs time in training.
    """
    lines = "\n".join(_line(label, definitions) for label in labels)
    return f"Copy the text {form.instruction}. Labels:\n{lines}\nText:\n"


def _line(label: Label, definitions: bool) -> str:
    name = label.name if label.name.casefold() != label.tag.casefold() else ""
    about = ": ".join(part for part in (name, label.definition if definitions else "") if part)
    return f"- {label.tag}: {about}" if about else f"- {label.tag}"
