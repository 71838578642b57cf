"""Documents whose chunks are being answered: from the engine's answers to a `Prediction`."""

from collections import Counter
from dataclasses import dataclass, field

from genner.calibration import Calibration
from genner.chunks import Chunk
from genner.document import Document, Entity, LabelSet, Prediction, Problem
from genner.engines.base import Generation, Request
from genner.formats import Format
from genner.grammar import GrammarEntity

PREDICTION_FIELDS = ("below_min_score", "answer_reading", "uncalibrated_scores", "refuted", "unverified")
"""Fields of a prediction that do not hold for another one: they are dropped when a prediction is read as a document."""


@dataclass(eq=False)
class PendingDocument:
    """A document whose chunks are being answered.

    Attributes:
        document: the document that was given.
        form: the format of the answers.
        exact: whether they are written under the grammar, so that none can be illegal.
        depth: how many entities may cover one place.
        independent_labels: whether the entities of each label are written apart: by the format
            (`Format.independent_labels`), or in an answer of their own.
        remaining: answers that are still missing.
        chunks: the parts of its text that are asked about.
        entities, problems: what the answers so far say, in the order of the answers.
    """

    document: Document
    form: Format
    exact: bool
    depth: int
    independent_labels: bool
    remaining: int
    chunks: tuple[Chunk, ...] = ()
    entities: list[Entity] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def collect(self, request: Request, generation: Generation, calibration: Calibration) -> None:
        """Add what an answer says. The context of the request is a `ChunkContext` of this document."""
        context: ChunkContext = request.context
        chunk, kinds = context.chunk, self.form.decision_kinds
        self.remaining -= 1
        self.problems += [Problem("engine", detail) for detail in generation.problems]
        if generation.failure:
            detail = f"no answer for [{chunk.start}, {chunk.end}): {generation.failure}"
            self.problems.append(Problem("failed", detail))
            return
        written = written_entities(request, generation, self.form)
        if written is not None:
            self.entities += [
                context.entity(each, calibration.score(each, generation, context.labels, kinds)) for each in written
            ]
        else:
            prediction = self.form.decode(request.text, generation.text, context.labels)
            self.entities += [entity.shifted(chunk.start) for entity in prediction.entities]
            self.problems += prediction.problems
        if not generation.complete:
            detail = f"the answer for [{chunk.start}, {chunk.end}) was cut off, being too long; no entities in its rest"
            self.problems.append(Problem("truncated", detail))

    def prediction(self, wanted: LabelSet, least: float, uncalibrated: bool) -> Prediction:
        """The entities of the `wanted` labels that score `least` or more.

        `uncalibrated`: whether the scores for these labels are the model's own.
        """
        document = self.document
        asked = [entity for entity in self._within_depth() if entity.label in wanted]
        # Scores are compared to the four digits in which they are written.
        kept = tuple(e for e in asked if e.score is None or round(e.score, 4) >= least)
        return Prediction(
            document.text,
            kept,
            document.id,
            tuple(self.problems),
            below_min_score=len(asked) - len(kept),
            answer_reading="" if self.exact else "repaired",
            group=document.group,
            uncalibrated_scores=uncalibrated and any(e.score is not None for e in kept),
            extra={key: value for key, value in document.extra.items() if key not in PREDICTION_FIELDS},
        )

    def _within_depth(self) -> list[Entity]:
        """The entities, with no place covered more than `depth` times; of those that cover too much, the less certain
        are dropped.

        Grammars take care of it, except where the entities of each label are written apart (`independent_labels`).
        """
        if not (self.exact and self.independent_labels):
            return self.entities
        covered: Counter[int] = Counter()
        kept: list[Entity] = []
        surest = sorted(self.entities, key=lambda e: 1.0 if e.score is None else e.score, reverse=True)
        for entity in surest:
            places = range(entity.start, entity.end)
            if any(covered[place] >= self.depth for place in places):
                detail = f"{entity.label} at [{entity.start}, {entity.end}) overlaps with entities of other labels"
                self.problems.append(Problem("overlap", f"{detail}; the labels nest {self.depth} deep"))
            else:
                covered.update(places)
                kept.append(entity)
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class ChunkContext:
    """What a request is about: the `Request.context` of the requests that an `Extractor` makes.

    Attributes:
        pending: the document.
        chunk: the part of its text.
        labels: the labels that are asked for.
    """

    pending: PendingDocument
    chunk: Chunk
    labels: LabelSet

    @property
    def document(self) -> Document:
        return self.pending.document

    def entity(self, written: GrammarEntity, score: float | None = None) -> Entity:
        """An entity of the answer, at its place in the document."""
        return Entity(self.chunk.start + written.start, self.chunk.start + written.end, written.label, score)


def written_entities(request: Request, generation: Generation, form: Format) -> tuple[GrammarEntity, ...] | None:
    """The entities that the model wrote, without those that were only completed because the budget ran out. None if the
    answer is not legal."""
    written = request.grammar.read(generation.answer)
    if written is None or generation.complete:
        return written
    reached, kinds = generation.ends[-1] if generation.ends else 0, form.decision_kinds
    return tuple(each for each in written if all(end <= reached for _, end in each.marks(kinds)))
