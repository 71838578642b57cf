"""GLiNER (Zaratiana et al., 2024): zero-shot spans, asked for the names of the labels. Package: `gliner`.

Scores are a sigmoid for each span and label. GLiNER reads the first `config.max_len` words of a text; the rest is not
read, which each prediction says (`truncated`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from genner.document import Problem, Span
from genner.rivals.overlaps import CROSSES, cross, left_out, not_flat, not_nested
from genner.rivals.tools.base import Tool
from genner.rivals.tools.found import Found, ToolAnswer
from genner.rivals.words import WordEntity
from genner.toml_config import check


@dataclass(frozen=True)
class GlinerOptions:
    """The package's options, with its defaults.

    Attributes:
        model: a folder, or a name on the hub.
        threshold: minimum score of an entity.
        flat: entities do not overlap; else they nest.
        multi_label: a span may have several labels.
        batch_size: texts at once.
    """

    model: str = "urchade/gliner_medium-v2.1"
    threshold: float = 0.5
    flat: bool = True
    multi_label: bool = False
    batch_size: int = 8

    def __post_init__(self) -> None:
        check(self, "options of gliner", threshold=(0, 1), batch_size=(1, 10_000))


class GlinerTool(Tool):
    """Zero-shot spans, asked for the names of the labels (Zaratiana et al. 2024)."""

    name = package = "gliner"
    options_type = GlinerOptions
    training: ClassVar[str] = "GLiNER.train_model trains it, on what genner convert --to gliner writes"

    def load_model(self) -> Any:
        """See `Tool.load_model`."""
        from gliner import GLiNER

        return GLiNER.from_pretrained(self.options.model)

    def find(self, model: Any, texts: Sequence[str]) -> list[ToolAnswer]:
        """See `Tool.find`."""
        o = self.options
        found = model.inference(
            list(texts),
            list(self.tags),
            flat_ner=o.flat,
            threshold=o.threshold,
            multi_label=o.multi_label,
            batch_size=o.batch_size,
        )
        limit = model.config.max_len
        answers = []
        for text, entities in zip(texts, found, strict=True):
            there = len(_words(model, text))
            cut = (Problem("truncated", f"{there} words, of which {limit} are read"),) if there > limit else ()
            said = [Found(e["start"], e["end"], e["label"], e["text"], e["score"]) for e in entities]
            answers.append(ToolAnswer(said, cut))
        return answers

    def words(self, model: Any, text: str) -> list[Span]:
        """See `Tool.words`."""
        return _words(model, text)[: model.config.max_len]

    def max_words(self, model: Any) -> int | None:
        """See `Tool.max_words`."""
        limit: int = model.config.max_width
        return None if model.config.span_mode == "token_level" else limit

    def clashes(self, entities: Sequence[WordEntity]) -> list[tuple[WordEntity, str]]:
        """See `Tool.clashes`."""
        if not self.options.multi_label:
            return not_flat(entities) if self.options.flat else not_nested(entities)
        if not self.options.flat:
            return left_out(entities, cross, CROSSES)
        kept = {entity[:2] for entity in entities}
        lost = {entity[:2]: why for entity, why in not_flat(WordEntity(*span, "") for span in kept)}
        return [(entity, lost[entity[:2]]) for entity in entities if entity[:2] in lost]


def _words(model: Any, text: str) -> list[Span]:
    _, starts, ends = model.prepare_inputs([text])
    return list(zip(starts[0], ends[0], strict=True))
