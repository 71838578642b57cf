"""`genner extract --dry-run`: what asking a server would cost."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genner.document import Document, Entity, LabelSet, Prediction
from genner.errors import UsageError
from genner.few_shot import FewShot, SelfVerification
from genner.few_shot.retrieval import words
from genner.few_shot.verification import Candidate
from genner.pending import ChunkContext

if TYPE_CHECKING:
    from genner.data import JsonlWriter
    from genner.engines.base import Engine, Generation, Request
    from genner.engines.http.pricing import PricingEngine
    from genner.extract import Extractor


def pricing_engine(engine: str, options: dict[str, Any]) -> "PricingEngine":
    """The engine that prices a job. Raises `UsageError` for engines that ask no server."""
    if engine != "http":
        raise UsageError(
            f"--dry-run estimates what asking a server costs, and engine {engine!r} asks none; give --engine http"
        )
    from genner.engines import engine_options
    from genner.engines.http.pricing import PricingEngine

    return PricingEngine(engine_options(engine, options))


class AssumedEntities(SelfVerification):
    """Asks about words of texts whose entities are not known, as many words as texts usually have entities.

    Attributes:
        assumed: how many there were.
    """

    def __init__(self, few_shot: FewShot | None) -> None:
        super().__init__(few_shot)
        self.assumed = 0
        self._owed = 0.0  # entities that a text is short of
        self._unknown: set[tuple[int, int]] = set()  # the documents and parts whose entities are not known

    def heard(self, request: "Request", generation: "Generation") -> None:
        """Is told of each answer before its document is verified."""
        context, usage = request.context, generation.usage
        if isinstance(context, ChunkContext) and not (usage and usage.cached):
            self._unknown.add((id(context.document), context.chunk.start))

    def verified(
        self, candidates: Iterable[Candidate], engine: "Engine", labels: LabelSet, **rest: Any
    ) -> Iterator[Prediction]:
        filled = (replace(each, prediction=self._filled(each, labels)) for each in candidates)
        return super().verified(filled, engine, labels, **rest)

    def _filled(self, candidate: Candidate, labels: LabelSet) -> Prediction:
        """The prediction, with entities in the parts that have no answer yet."""
        from genner.engines.http.pricing import ENTITIES

        entities = list(candidate.prediction.entities)
        for chunk in candidate.chunks:
            part = (id(candidate.document), chunk.start)
            if part not in self._unknown:
                continue
            self._unknown.remove(part)
            places = list(words(candidate.document.text[chunk.start : chunk.end]))
            self._owed += ENTITIES * len(places)
            for start, end in places[: int(self._owed)]:
                tag = labels.tags[self.assumed % len(labels.tags)]
                entities.append(Entity(chunk.start + start, chunk.start + end, tag))
                self.assumed += 1
                self._owed -= 1
        return replace(candidate.prediction, entities=tuple(entities))


def price(ner: "Extractor", documents: Iterable[Document], writer: "JsonlWriter | None") -> list[str]:
    """The estimate in words. Documents that `writer` has already are left out."""
    engine: Any = ner.engine
    left_out = 0

    def todo() -> Iterator[Document]:
        nonlocal left_out
        for document in documents:
            if writer and writer.has(document):
                left_out += 1
            else:
                yield document

    assumed = ner.verification if isinstance(ner.verification, AssumedEntities) else None
    for _ in ner.pipe(todo(), on_generation=assumed.heard if assumed else None):
        pass
    lines: list[str] = engine.summary()
    if assumed and assumed.assumed:
        lines.append(
            f"of the requests {assumed.assumed} are questions of --verify about entities that are not known yet: one "
            "for each 20 words"
        )
    if writer and left_out:
        lines.append(f"documents that {writer.path} has already: {left_out}, which cost nothing")
    return lines
