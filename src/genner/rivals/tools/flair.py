"""flair's taggers (Akbik et al., 2018; Schweter and Akbik, 2020). Package: `flair`.

Scores are the mean of the probabilities of the tags, as flair computes them. flair removes and replaces some characters
of a text before it reads it; its positions are mapped back. It wants transformers 4, so it needs an environment of its
own: genner's core runs there.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from genner.document import Span
from genner.errors import UsageError
from genner.rivals.tools.base import TrainedTool
from genner.rivals.tools.found import Found, ToolAnswer
from genner.toml_config import check


@dataclass(frozen=True)
class FlairOptions:
    """Attributes:
    model: a file of flair, or a name on the hub.
    label_map: which of its labels are which tags: PERSON=PER,DATE=,*= (none for DATE and all others).
    batch_size: texts at once.
    """

    model: str = "flair/ner-english-large"
    label_map: str = ""
    batch_size: int = 32

    def __post_init__(self) -> None:
        check(self, "options of flair", batch_size=(1, 10_000))


class FlairTool(TrainedTool):
    """Flair's taggers, with labels of their own (Akbik et al. 2018)."""

    name = package = "flair"
    options_type = FlairOptions
    training: ClassVar[str] = "flair.trainers.ModelTrainer trains it, on what genner convert --to conll writes"

    def load_model(self) -> Any:
        """See `Tool.load_model`."""
        from flair.models import SequenceTagger

        return SequenceTagger.load(self.options.model)

    def accepted(self, model: Any) -> Any:
        """See `Tool.accepted`."""
        if not model.predict_spans:
            raise UsageError(
                f"the model {self.options.model!r} tags single words with {model.tag_type!r} and finds no entities; "
                "take one that does, as flair/ner-english-large"
            )
        return super().accepted(model)

    def names(self, model: Any) -> Collection[str]:
        """See `TrainedTool.names`."""
        tags = model.label_dictionary.get_items()
        return {tag.partition("-")[2] if tag[1:2] == "-" else tag for tag in tags} - {"O", "<unk>", "<START>", "<STOP>"}

    def find(self, model: Any, texts: Sequence[str]) -> list[ToolAnswer]:
        """See `Tool.find`."""
        from flair.data import Sentence

        sentences = [Sentence(text) for text in texts]
        model.predict(sentences, mini_batch_size=self.options.batch_size)
        answers = []
        for text, sentence in zip(texts, sentences, strict=True):
            place = _places(text)
            found = [
                Found(place[s.start_position], place[s.end_position - 1] + 1, s.tag, score=s.score)
                for s in sentence.get_spans(model.tag_type)
            ]
            answers.append(ToolAnswer(found))
        return answers

    def words(self, model: Any, text: str) -> list[Span]:
        """See `Tool.words`."""
        from flair.data import Sentence

        place = _places(text)
        return [(place[t.start_position], place[t.end_position - 1] + 1) for t in Sentence(text)]


def _places(text: str) -> list[int]:
    """Where each character that flair reads stands in the text."""
    from flair.data import Sentence

    return [at for at, character in enumerate(text) if Sentence._handle_problem_characters(character)]
