"""SpanMarker (Aarsen, 2023): spans with markers, classified by an encoder. Package: `span_marker`.

Words are those of its tokenizer. A text longer than `model_max_length` tokens is cut, which each prediction says. It
wants transformers 4, so it needs an environment of its own: genner's core runs there.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from genner.document import Problem, Span
from genner.rivals.tools.base import TrainedTool
from genner.rivals.tools.found import Found, ToolAnswer
from genner.toml_config import check

_WITH_BLANK = "a text"


@dataclass(frozen=True)
class SpanMarkerOptions:
    """Attributes:
    model: a folder, or a name on the hub.
    label_map: which of its labels are which tags: PERSON=PER,DATE=,*= (none for DATE and all others).
    batch_size: texts at once.
    """

    model: str = "tomaarsen/span-marker-roberta-large-ontonotes5"
    label_map: str = ""
    batch_size: int = 4

    def __post_init__(self) -> None:
        check(self, "options of span_marker", batch_size=(1, 10_000))


class SpanMarkerTool(TrainedTool):
    """Spans with markers, classified by an encoder, with labels of its own (Aarsen 2023)."""

    name = package = "span_marker"
    options_type = SpanMarkerOptions
    training: ClassVar[str] = "span_marker.Trainer trains it, on what genner convert --to hf writes"

    def load_model(self) -> Any:
        """See `Tool.load_model`."""
        from span_marker import SpanMarkerModel

        return SpanMarkerModel.from_pretrained(self.options.model)

    def names(self, model: Any) -> Collection[str]:
        """See `TrainedTool.names`."""
        return {label for number, label in model.config.id2label.items() if number != model.config.outside_id}

    def find(self, model: Any, texts: Sequence[str]) -> list[ToolAnswer]:
        """See `Tool.find`."""
        # The package refuses a text without a token, and takes texts for words where none has a blank.
        asked = [text for text in texts if self.words(model, text)]
        found = iter(model.predict([*asked, _WITH_BLANK], batch_size=self.options.batch_size))
        limit = model.tokenizer.model_max_length
        answers = []
        for text in texts:
            if not self.words(model, text):
                answers.append(ToolAnswer())
                continue
            tokens = len(model.tokenizer.tokenizer(text)["input_ids"])
            cut = (Problem("truncated", f"{tokens} tokens, of which {limit} are read"),) if tokens > limit else ()
            said = [
                Found(e["char_start_index"], e["char_end_index"], e["label"], e["span"], e["score"])
                for e in next(found)
            ]
            answers.append(ToolAnswer(said, cut))
        return answers

    def words(self, model: Any, text: str) -> list[Span]:
        """See `Tool.words`."""
        read = model.tokenizer.tokenizer(text, truncation=True, max_length=model.tokenizer.model_max_length)
        numbers = dict.fromkeys(number for number in read.word_ids() if number is not None)
        return [tuple(read.word_to_chars(number)) for number in numbers]

    def max_words(self, model: Any) -> int:
        """See `Tool.max_words`."""
        limit: int = model.config.entity_max_length
        return limit
