"""GLiNER2 and GLiNER2.5 (Zaratiana et al., 2025): zero-shot extraction by a schema. Package: `gliner2[local]`.

Each label is decided apart. Long texts are read in overlapping chunks by the package itself. It puts a full stop behind
a text that ends without one; an entity with this full stop in it is left out (`dropped`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from genner.document import Span
from genner.errors import UnknownNameError
from genner.rivals.overlaps import CROSSES, OVERLAPS, cross, left_out, overlap
from genner.rivals.tools.base import Tool
from genner.rivals.tools.found import Found, ToolAnswer
from genner.rivals.words import WordEntity
from genner.toml_config import check

NESTED = "nests in another entity of its label"
_CLASH = {
    "disallow": (overlap, OVERLAPS),
    "nested": (cross, CROSSES),
    "longest": (lambda a, b: b.start <= a.start and a.end <= b.end, NESTED),
}


@dataclass(frozen=True)
class Gliner2Options:
    """The package's options, with its defaults.

    Attributes:
        model: a folder, or a name on the hub.
        threshold: minimum score of an entity.
        overlap_policy: which entities of one label may overlap: `disallow`, `nested` (none that cross), `longest`
            (none within another), `allow`.
        batch_size: texts at once.
        chunk_size: words of a part of a text that is read at once.
        chunk_overlap: words that two parts share.
    """

    model: str = "fastino/gliner2-base-v1"
    threshold: float = 0.5
    overlap_policy: str = "disallow"
    batch_size: int = 8
    chunk_size: int = 384
    chunk_overlap: int = 64

    def __post_init__(self) -> None:
        where = "options of gliner2"
        check(self, where, threshold=(0, 1), batch_size=(1, 10_000), chunk_size=(2, 100_000))
        check(self, where, chunk_overlap=(0, self.chunk_size - 1))
        if self.overlap_policy not in (*_CLASH, "allow"):
            raise UnknownNameError("overlap_policy", self.overlap_policy, [*_CLASH, "allow"])


class Gliner2Tool(Tool):
    """Zero-shot extraction by a schema, asked for the names of the labels (Zaratiana et al. 2025)."""

    name = package = "gliner2"
    options_type = Gliner2Options
    training: ClassVar[str] = "gliner2.training trains it, on what genner convert --to gliner2 writes"

    def load_model(self) -> Any:
        """See `Tool.load_model`."""
        from gliner2 import AutoExtractor

        return AutoExtractor.from_pretrained(self.options.model)

    def find(self, model: Any, texts: Sequence[str]) -> list[ToolAnswer]:
        """See `Tool.find`."""
        o = self.options
        found = model.batch_extract_entities_long(
            list(texts),
            list(self.tags),
            batch_size=o.batch_size,
            threshold=o.threshold,
            include_confidence=True,
            include_spans=True,
            chunk_size=o.chunk_size,
            chunk_overlap=o.chunk_overlap,
            overlap_policy=o.overlap_policy,
        )
        return [
            ToolAnswer([self._found(model, text, name, e) for name, said in result["entities"].items() for e in said])
            for text, result in zip(texts, found, strict=True)
        ]

    def _found(self, model: Any, text: str, name: str, said: dict[str, Any]) -> Found:
        words = self.words(model, text)
        if not words or said["end"] > words[-1][1]:  # it has the full stop in it
            return Found(said["start"], len(text) + 1, name, None, said["confidence"])
        return Found(said["start"], said["end"], name, said["text"], said["confidence"])

    def words(self, model: Any, text: str) -> list[Span]:
        """See `Tool.words`."""
        return [(start, end) for _, start, end in model.processor.word_splitter(text, lower=True)]

    def max_words(self, model: Any) -> int | None:
        """See `Tool.max_words`."""
        return model.config.max_width if model.config.architecture == "span" else None

    def clashes(self, entities: Sequence[WordEntity]) -> list[tuple[WordEntity, str]]:
        """See `Tool.clashes`."""
        if self.options.overlap_policy == "allow":
            return []
        clash, reason = _CLASH[self.options.overlap_policy]
        return left_out(entities, lambda a, b: a.label == b.label and clash(a, b), reason)
