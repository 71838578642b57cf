"""The records of a runs folder: cells, their results, failures, progress and answers.

Offsets are half-open code points, as everywhere.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from genner.document import Document, Entity, Prediction, Problem

CellKind = Literal["train", "fit", "score", "probe", "ability", "contamination"]
CELL_KINDS: tuple[CellKind, ...] = get_args(CellKind)
CellState = Literal["done", "failed", "skipped", "running", "waiting"]
CELL_STATES: tuple[CellState, ...] = get_args(CellState)
RECORDS_SCHEMA = 2
"""The schema of results and answers. In version 1 (still read, no longer written) the readings were `published`,
`as_said` and `strict`, which is now `repaired`.
"""

Json = dict[str, Any]
Numbers = tuple[float, float, float]
"""True positives, false positives, false negatives."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One unit of work. `id` is `<kind>-<hash of the description>`; `needs` are the cells that must be done before.

    `model` is the study's name for the model. It does not affect the result, so it is not in the hash. It is empty if
    the cell is about none of the study's models, like the base that general ability is compared with. `places` are the
    folders on this machine of what the description names without a path; they are not in the hash.
    """

    kind: CellKind
    id: str
    name: str
    needs: tuple[str, ...]
    description: Json
    command: str = ""
    model: str = ""
    places: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellResult:
    """The result of a cell and its cost. `tokens` are the computed tokens (for `train`, the training tokens), `passes`
    the forward passes, both summed over documents, and 0 for rivals, whose passes are not counted; `peak_memory_mb` is
    the process's peak plus that of the GPU, if there is one.
    """

    kind: CellKind
    id: str
    description: Json
    signature: str
    versions: dict[str, str]
    seconds: float
    peak_memory_mb: float
    tokens: int
    passes: int
    finished_at: str
    metrics: Json
    schema: int = RECORDS_SCHEMA


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a cell failed; `error` is the type, `at` an ISO time."""

    error: str
    message: str
    traceback: str
    at: str


@dataclass(frozen=True, slots=True)
class CellProgress:
    """The progress of a running cell and its time so far, interrupted runs included."""

    done: int
    total: int
    unit: str
    seconds: float = 0.0


def _listed(entities: tuple[Entity, ...]) -> list[list[Any]]:
    return [[e.start, e.end, e.label, e.score] for e in entities]


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One document of a score or probe cell: the gold entities, the predicted ones, and the raw answers.

    Attributes:
        raw: the answers, one per chunk (and per label, in a format that prompts for one label at a time).
        chunks: `[start, end)` of the text of each answer, parallel to `raw`.
        tokens, passes: computed tokens and forward passes.
        prompt_tokens, answer_tokens: tokens of all prompts and of all answers; 0 in records of earlier versions.
        refuted, unverified: see `Prediction`.
        denied: the refuted entities; None in records of earlier versions, which have their number only.
        entities: the predicted entities; for free answers, by the `repaired` reading (`genner.generations.readings`).
        paper: true positives, false positives and false negatives by the paper's rule; None if it has no such rule.
        strict: the same by the strict reading; None in records of earlier versions.
        group: what the text is a part of (`Document.group`); empty if unknown, and in records of earlier versions.
    """

    id: str
    text: str
    gold: tuple[Entity, ...]
    entities: tuple[Entity, ...]
    raw: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    tokens: int = 0
    passes: int = 0
    chunks: tuple[tuple[int, int], ...] = ()
    paper: Numbers | None = None
    strict: Numbers | None = None
    group: str = ""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    refuted: int = 0
    unverified: int = 0
    denied: tuple[Entity, ...] | None = None

    def document(self) -> Document:
        """The gold document."""
        return Document(self.text, self.gold, self.id, group=self.group)

    def prediction(self) -> Prediction:
        return Prediction(self.text, self.entities, self.id, self.problems, group=self.group)

    def to_dict(self) -> Json:
        return {
            "id": self.id,
            "text": self.text,
            "gold": [[e.start, e.end, e.label] for e in self.gold],
            "entities": _listed(self.entities),
            "raw": list(self.raw),
            "problems": [{"kind": p.kind, "detail": p.detail} for p in self.problems],
            "tokens": self.tokens,
            "passes": self.passes,
            "chunks": [list(chunk) for chunk in self.chunks],
            "paper": list(self.paper) if self.paper is not None else None,
            "strict": list(self.strict) if self.strict is not None else None,
            "group": self.group,
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "refuted": self.refuted,
            "unverified": self.unverified,
            "denied": _listed(self.denied) if self.denied is not None else None,
        }

    @classmethod
    def from_dict(cls, raw: Json) -> Self:
        """The inverse of `to_dict`. Raises `KeyError`, `TypeError`, `ValueError`, `DocumentError` on any other line."""
        # Schema 1 says `published`; its `as_said` had no false positive for a mention in a wrong place.
        paper, strict = raw.get("paper", raw.get("published")), raw.get("strict")
        return cls(
            id=raw["id"],
            text=raw["text"],
            gold=tuple(Entity(*e) for e in raw["gold"]),
            entities=tuple(Entity(*e) for e in raw["entities"]),
            raw=tuple(raw["raw"]),
            problems=tuple(Problem(p["kind"], p["detail"]) for p in raw["problems"]),
            tokens=raw["tokens"],
            passes=raw["passes"],
            chunks=tuple((start, end) for start, end in raw.get("chunks", ())),
            paper=(paper[0], paper[1], paper[2]) if paper is not None else None,
            strict=(strict[0], strict[1], strict[2]) if strict is not None else None,
            group=raw.get("group", ""),
            prompt_tokens=raw.get("prompt_tokens", 0),
            answer_tokens=raw.get("answer_tokens", 0),
            refuted=raw.get("refuted", 0),
            unverified=raw.get("unverified", 0),
            denied=tuple(Entity(*e) for e in denied) if (denied := raw.get("denied")) is not None else None,
        )
