"""Self-verification: the model is asked about each entity that it found whether it is one.

The paper's second strategy, against entities that a model sees where there are none. For each entity:

    I am an excellent linguist. The task is to verify whether the word is a location entity extracted from the given
    sentence.
    The given sentence: Only France and Britain backed Fischler's proposal.
    Question: Is the word "France" in the given sentence a location entity? Please answer with yes or no.

before which solved questions may stand. Under a grammar the answer is `Yes` or `No`; the probability of `Yes` between
the two is kept with the entity (`Entity.verified`). Entities that are answered `No` are dropped and counted.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp

from genner.chunks import Chunk
from genner.document import Document, Entity, LabelSet, Prediction, Problem
from genner.engines.base import Answered, Engine, Generation, Request
from genner.errors import UsageError
from genner.few_shot.prompting import FewShot
from genner.few_shot.window import ExamplePair
from genner.few_shot.wording import TaskPrompt, question, verification_prompt
from genner.formats.choice import ChoiceGrammarSource

YES, NO = "Yes", "No"
ANSWERS = ChoiceGrammarSource((YES, NO))
DOCUMENTS, QUESTIONS = 64, 128  # documents, or questions about them, that are asked about together: bounds memory
RESERVE = 16  # tokens for the answer and what a model tokenizes otherwise

_SAID = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
_THOUGHT = re.compile(r"\A.*</think>", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class QuestionContext:
    """What a question is about: the `Request.context` of the requests that verification makes.

    Attributes:
        document: the document that was given.
        chunk: the part of its text that is shown.
        entity: the entity, in the document's offsets.
    """

    document: Document
    chunk: Chunk
    entity: Entity


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prediction whose entities are to be verified, the document that was given, and the parts that were asked
    about."""

    document: Document
    chunks: Sequence[Chunk]
    prediction: Prediction


class SelfVerification:
    """Asks about each entity whether it is one.

    Args:
        few_shot: where solved questions come from; None for none.
        shots: how many stand before a question; None for as many as `few_shot` shows in a prompt.
    """

    def __init__(self, few_shot: FewShot | None = None, shots: int | None = None) -> None:
        if shots is not None and (shots < 0 or (shots and few_shot is None)):
            raise UsageError(f"{shots} shots of verification; legal: 0 or more, with demonstrations if not 0")
        self.few_shot = few_shot
        self.shots = shots if shots is not None else few_shot.shots if few_shot else 0

    @property
    def signature(self) -> str:
        return f"{self.shots} shots" if self.shots else "zero-shot"

    def verified(
        self,
        candidates: Iterable[Candidate],
        engine: Engine,
        labels: LabelSet,
        *,
        constrained: bool,
        adapter: str = "",
        batch_size: int | None = None,
        heard: Callable[[Request, Generation], None] | None = None,
    ) -> Iterator[Prediction]:
        """The predictions, in order, without the entities that the engine does not confirm.

        Reads ahead a bounded number of documents. `heard` is told of each answer.
        """

        # Only then are probabilities those of a yes against a no, and not among all that could be said.
        exact = constrained and engine.capabilities.grammar == "exact"

        def answered() -> Iterator[Prediction]:
            requests = (r for c in waiting for r in self._requests(c, engine, labels, constrained, adapter))
            return _answered(waiting, engine.generate(requests, batch_size=batch_size), exact, heard)

        waiting: list[Candidate] = []
        questions = 0
        for candidate in candidates:
            waiting.append(candidate)
            questions += len(candidate.prediction.entities)
            if questions >= QUESTIONS or len(waiting) >= DOCUMENTS:
                yield from answered()
                waiting, questions = [], 0
        yield from answered()

    def _requests(
        self, candidate: Candidate, engine: Engine, labels: LabelSet, constrained: bool, adapter: str
    ) -> Iterator[Request]:
        by_tag = {label.tag: label for label in labels}
        for chunk in candidate.chunks:
            inside = [e for e in candidate.prediction.entities if chunk.start <= e.start and e.end <= chunk.end]
            if not inside:
                continue
            sentence = candidate.document.text[chunk.start : chunk.end]
            spans = [((e.start - chunk.start, e.end - chunk.start), e.label) for e in inside]
            for entity, examples in zip(inside, self._examples(sentence, spans, labels), strict=True):
                context = QuestionContext(candidate.document, chunk, entity)
                label = by_tag[entity.label]
                asked = question(sentence, entity.text, label)
                instruction = self._instruction(verification_prompt(label), examples, asked, engine)
                yield Request(instruction, asked, ANSWERS.grammar(), constrained, (), context, adapter, ANSWERS)

    def _instruction(self, prompt: TaskPrompt, examples: Sequence[ExamplePair], asked: str, engine: Engine) -> str:
        if self.few_shot is None or not examples:
            return prompt.instruction()
        room = None if engine.window is None else engine.window - RESERVE
        return self.few_shot.fitted(prompt, examples, room, lambda instruction: engine.measure(instruction, asked))

    def _examples(
        self, sentence: str, spans: Sequence[tuple[tuple[int, int], str]], labels: LabelSet
    ) -> list[list[ExamplePair]]:
        """For each entity its solved questions, nearest last."""
        if not (self.few_shot and self.shots):
            return [[] for _ in spans]
        by_tag = {label.tag: label for label in labels}
        found = self.few_shot.mentions.find(sentence, spans, self.shots)
        return [
            [
                (question(q.sentence.text, q.sentence.text[slice(*q.span)], by_tag[label]), YES if q.yes else NO)
                for q in solved
            ]
            for (_, label), solved in zip(spans, found, strict=True)
        ]


def _answered(
    candidates: Sequence[Candidate],
    answered: Iterable[Answered],
    exact: bool,
    heard: Callable[[Request, Generation], None] | None,
) -> Iterator[Prediction]:
    """The predictions without the entities that were answered no."""
    answers: dict[int, list[Answered]] = {}  # by the document
    for request, generation in answered:
        if heard:
            heard(request, generation)
        answers.setdefault(id(request.context.document), []).append((request, generation))
    for candidate in candidates:
        yield _confirmed(candidate.prediction, answers.get(id(candidate.document), []), exact)


def _confirmed(prediction: Prediction, answers: Sequence[Answered], exact: bool) -> Prediction:
    said = {request.context.entity: generation for request, generation in answers}
    kept, problems = [], list(prediction.problems)
    refuted = unverified = 0
    for entity in prediction.entities:
        generation = said[entity]
        problems += [Problem("engine", detail) for detail in generation.problems]
        if generation.failure:
            detail = f"{entity.label} at [{entity.start}, {entity.end}) was not verified: {generation.failure}"
            problems.append(Problem("failed", detail))
        answer = None if generation.failure else verdict(generation)
        refuted += answer == NO
        unverified += answer is None
        if answer != NO:
            known = answer == YES and exact and generation.logprobs
            kept.append(replace(entity, verified=min(1.0, exp(sum(generation.logprobs))) if known else None))
    return replace(prediction, entities=tuple(kept), problems=tuple(problems), refuted=refuted, unverified=unverified)


def denied(answered: Iterable[Answered]) -> tuple[Entity, ...]:
    """The entities among these questions that were answered no, in reading order. Other requests are passed over."""
    found = [
        request.context.entity
        for request, generation in answered
        if isinstance(request.context, QuestionContext) and not generation.failure and verdict(generation) == NO
    ]
    return tuple(sorted(found, key=lambda e: (e.start, -e.end, e.label)))


def verdict(generation: Generation) -> str | None:
    """`Yes`, `No`, or None for an answer that says neither: the first of these words, after any reasoning."""
    match = _SAID.search(_THOUGHT.sub("", generation.text))
    return None if match is None else YES if match[1].casefold() == "yes" else NO
