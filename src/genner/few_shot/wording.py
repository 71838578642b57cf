"""The words of a prompt: genner's own, or those of the paper.

Both have three parts: the task, the demonstrations, and the sentence, which stands last. genner's words are those that
its adapters were trained on (`genner.prompts`), with the demonstrations between the labels and the text. The paper's:

    I am an excellent linguist. The task is to label location entities in the given sentence. Below are some examples.
    Input: Only France and Britain backed Fischler's proposal.
    Output: Only @@France## and @@Britain## backed Fischler's proposal.
    Input: China says Taiwan spoils atmosphere for talks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from genner.document import Label, LabelSet
from genner.errors import UnknownNameError
from genner.few_shot.window import ExamplePair
from genner.formats import Format
from genner.prompts import instruction, label_ends

Wording = Literal["genner", "gpt_ner"]
TEXT = "Text:\n"  # the last line of genner's instructions


@dataclass(frozen=True, slots=True)
class TaskPrompt:
    """A prompt without its demonstrations and its text.

    Attributes:
        task: the first part.
        introduction: the line before the demonstrations.
        asked, answered: what stands before a text, and before an answer.
        label_positions: see `genner.engines.base.Request`.
    """

    task: str
    introduction: str
    asked: str
    answered: str
    label_positions: tuple[int, ...] = ()

    def instruction(self, examples: Sequence[ExamplePair] = ()) -> str:
        """Everything before the text, with these demonstrations, in their order."""
        shown = "".join(f"{self.asked}{text}\n{self.answered}{answer}\n" for text, answer in examples)
        return f"{self.task}{self.introduction if examples else ''}{shown}{self.asked}"


def task_prompt(labels: LabelSet, form: Format, wording: str = "genner") -> TaskPrompt:
    """The prompt for these labels in this format. Raises `UnknownNameError` for an unknown wording."""
    if wording not in get_args(Wording):
        raise UnknownNameError("wording", wording, get_args(Wording))
    if wording == "genner":
        asked = instruction(labels, form)
        return TaskPrompt(asked.removesuffix(TEXT), "Examples:\n", TEXT, "Answer:\n", label_ends(asked, labels))
    numbers = (f"{number}. " if form.numbered else "" for number in range(1, len(labels) + 1))
    named = ", ".join(number + _named(label) for number, label in zip(numbers, labels, strict=True))
    defined = "".join(f" {label.tag}: {label.definition}." for label in labels if label.definition)
    task = f"I am an excellent linguist. The task is to label {named} entities in the given sentence.{defined}"
    return TaskPrompt(f"{task} {form.instruction}.\n", "Below are some examples.\n", "Input: ", "Output: ")


def verification_prompt(label: Label) -> TaskPrompt:
    """The question whether a mention is an entity of this label: the paper's words."""
    name = label.name or label.tag
    defined = f" {label.tag}: {label.definition}." if label.definition else ""
    task = (
        f"I am an excellent linguist. The task is to verify whether the word is {_article(name)} {name} entity "
        f"extracted from the given sentence.{defined}\n"
    )
    return TaskPrompt(task, "", "The given sentence: ", "")


def question(sentence: str, mention: str, label: Label) -> str:
    """The text of a question about a mention in a sentence, as it follows on `verification_prompt`."""
    name = label.name or label.tag
    return (
        f'{sentence}\nQuestion: Is the word "{mention}" in the given sentence {_article(name)} {name} entity? Please '
        "answer with yes or no."
    )


def _named(label: Label) -> str:
    """A label's name, and its tag where that is another word: most formats write it."""
    return f"{label.name} ({label.tag})" if label.name and label.name.casefold() != label.tag.casefold() else label.tag


def _article(name: str) -> str:
    return "an" if name[:1].casefold() in ("a", "e", "i", "o", "u") else "a"
