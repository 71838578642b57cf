"""What a tool says of a text, checked against the text.

If the position of an entity does not cut the mention that the tool says, the mention is searched for; where that fails,
the entity is left out. Whatever was moved or left out is in `Prediction.problems`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genner.document import Document, Entity, Prediction, Problem, ProblemKind

_ROUNDING = 1e-3  # by which a score may leave [0, 1] in half precision


@dataclass(frozen=True, slots=True)
class Found:
    """An entity as a tool says it: positions in code points, None where it gives none; `text` None if it says none."""

    start: int | None
    end: int | None
    label: str
    text: str | None = None
    score: float | None = None

    def __str__(self) -> str:
        return f"{self.label} [{self.start}, {self.end}) {self.text!r}"


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool says of a text, and what went wrong on the way."""

    found: Sequence[Found] = ()
    problems: tuple[Problem, ...] = ()


def checked(document: Document, answer: ToolAnswer, tag_of: Callable[[str], str | None]) -> Prediction:
    """The prediction for a document: see the module.

    `tag_of`: the tag of a label of the tool; empty: it is left out on purpose; None: it stands for no tag.
    """
    kept: dict[Entity, Entity] = {}
    problems = list(answer.problems)
    for said in answer.found:
        entity, problem = _entity(document.text, said, tag_of(said.label))
        if problem is not None:
            problems.append(problem)
        if entity is None:
            continue
        if entity in kept:
            problems.append(Problem("duplicate", f"{said} is given twice"))
            scores = [s for s in (kept[entity].score, entity.score) if s is not None]
            entity = Entity(entity.start, entity.end, entity.label, max(scores, default=None))
        kept[entity] = entity
    return Prediction(
        document.text, tuple(kept.values()), document.id, tuple(problems), group=document.group, extra=document.extra
    )


def _entity(text: str, said: Found, tag: str | None) -> tuple[Entity | None, Problem | None]:
    if tag is None:
        return None, Problem("dropped", f"{said}: label {said.label!r} stands for none of the labels")
    if not tag:
        return None, None
    start, end, problem = _placed(text, said)
    if start is None or end is None:
        return None, problem
    score, wrong = _score(said)
    return Entity(start, end, tag, score), problem or wrong


def _placed(text: str, said: Found) -> tuple[int | None, int | None, Problem | None]:
    """Where an entity stands in the text, and what was wrong with its position."""
    start, end = said.start, said.end
    legal = start is not None and end is not None and 0 <= start < end <= len(text)
    if legal and (said.text is None or text[start:end] == said.text):
        return start, end, None
    if not said.text:
        return None, None, Problem("dropped", f"{said}: the text has no such position")
    places = [at for at in range(len(text)) if text.startswith(said.text, at)]
    if not places:
        return None, None, Problem("dropped", f"{said}: the text does not contain it")
    at = min(places, key=lambda place: abs(place - (start or 0)))
    kind: ProblemKind = "realigned" if len(places) == 1 else "ambiguous"
    return at, at + len(said.text), Problem(kind, f"{said}: it stands at {at}")


def _score(said: Found) -> tuple[float | None, Problem | None]:
    score = said.score
    if score is None:
        return None, None
    if math.isnan(score) or not -_ROUNDING <= score <= 1 + _ROUNDING:
        return None, Problem("engine", f"{said}: score {score} is outside [0, 1] and left out")
    return min(1.0, max(0.0, score)), None
