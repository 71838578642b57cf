"""Any spaCy pipeline that sets `doc.ents` or a group of spans. Package: `spacy`.

`doc.ents` have no scores; spans of a span categorizer have.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from genner.document import Problem, Span
from genner.errors import UsageError
from genner.rivals.overlaps import not_flat
from genner.rivals.tools.base import TrainedTool
from genner.rivals.tools.found import Found, ToolAnswer
from genner.rivals.words import WordEntity
from genner.toml_config import check


@dataclass(frozen=True)
class SpacyOptions:
    """Attributes:
    model: a package of spaCy, or a folder.
    spans_key: the group of spans to read, as `sc`; empty: `doc.ents`.
    label_map: which of its labels are which tags: PERSON=PER,DATE=,*= (none for DATE and all others).
    batch_size: texts at once.
    """

    model: str = "en_core_web_sm"
    spans_key: str = ""
    label_map: str = ""
    batch_size: int = 64

    def __post_init__(self) -> None:
        check(self, "options of spacy", batch_size=(1, 10_000))


class SpacyTool(TrainedTool):
    """Any spaCy pipeline that finds entities, with labels of its own (Honnibal et al. 2020)."""

    name = package = "spacy"
    options_type = SpacyOptions
    training: ClassVar[str] = "spacy train trains it, on what genner convert --to spacy writes"

    def load_model(self) -> Any:
        """See `Tool.load_model`."""
        import spacy

        return spacy.load(self.options.model)

    def names(self, model: Any) -> Collection[str] | None:
        """See `TrainedTool.names`."""
        attribute = "doc.spans" if self.options.spans_key else "doc.ents"
        found: set[str] = set()
        for name, pipe in model.pipeline:
            if attribute in model.get_pipe_meta(name).assigns:
                labels = getattr(pipe, "labels", None)
                if not labels:
                    return None
                found.update(labels)
        return found or None

    def find(self, model: Any, texts: Sequence[str]) -> list[ToolAnswer]:
        """See `Tool.find`."""
        read = iter(model.pipe((t for t in texts if len(t) <= model.max_length), batch_size=self.options.batch_size))
        return [self._answer(next(read)) if len(text) <= model.max_length else _unread(model, text) for text in texts]

    def words(self, model: Any, text: str) -> list[Span]:
        """See `Tool.words`."""
        return [(t.idx, t.idx + len(t)) for t in model.make_doc(text)] if len(text) <= model.max_length else []

    def clashes(self, entities: Sequence[WordEntity]) -> list[tuple[WordEntity, str]]:
        """See `Tool.clashes`."""
        return [] if self.options.spans_key else not_flat(entities)

    @classmethod
    def identity(cls, named: str) -> str:
        """See `Tool.identity`. A package of spaCy has its version."""
        try:
            return f"{named}@{version(named)}"
        except (PackageNotFoundError, ValueError):
            return super().identity(named)

    def _answer(self, doc: Any) -> ToolAnswer:
        key = self.options.spans_key
        if key and key not in doc.spans:
            known = ", ".join(doc.spans) or "none"
            raise UsageError(
                f"the model {self.options.model!r} sets no group of spans {key!r}; those it sets: {known}; give one as "
                "spans_key, or leave it out for doc.ents"
            )
        group = doc.spans[key] if key else doc.ents
        scores = group.attrs.get("scores") if key else None
        given = [None] * len(group) if scores is None else [float(score) for score in scores]
        return ToolAnswer(
            [
                Found(span.start_char, span.end_char, span.label_, span.text, score)
                for span, score in zip(group, given, strict=True)
            ]
        )


def _unread(model: Any, text: str) -> ToolAnswer:
    return ToolAnswer(
        (), (Problem("failed", f"{len(text)} characters; this pipeline reads at most {model.max_length}"),)
    )
