"""The outcome of each cell on each document: the counts for intervals and paired tests, and the errors."""

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from genner.assess.folders import CellFolder
from genner.assess.records import Numbers, PredictionRecord
from genner.assess.scoring import LENGTH_BUCKETS
from genner.document import Document, Entity
from genner.errors import DataError, GennerError
from genner.evaluation.breakdowns import BREAKDOWNS, NO_TRAINING
from genner.evaluation.jackknife import Array
from genner.evaluation.taxonomy import ERROR_KINDS, Verdict, verdicts
from genner.evaluation.units import units_of
from genner.generations.readings import ReadingName
from genner.report.cell_items import CellItem
from genner.report.results import Collection

INVALID = "invalid answer"
TOLERANCE = 5e-4  # of F1: a record rounded to three digits agrees with its answers


@dataclass(frozen=True, slots=True)
class Sighting:
    """An error that may be shown: one of `ERROR_KINDS`, or an answer that broke its format (no verdict)."""

    kind: str
    answered: PredictionRecord
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """A cell's answers, counted. `repaired` is `[n, 3]`: true positives, false positives, false negatives of each
    document, of the entities found; `strict` and `paper` are the same by these readings, None unless every document has
    them. Data on single entities are for the entities found: `errors` is `[n]`, the number of errors of each document,
    all kinds together; `buckets` has counts `[n, 3]` by `("labels", LABEL)` and `("lengths", LENGTH)`. `units` has the
    index of each document's unit; `unit` is the kind of unit (`group` or `document`). Documents are sorted by id; ids
    are made unique (`x`, `x#2`, ...)."""

    ids: tuple[str, ...]
    repaired: Array
    strict: Array | None
    paper: Array | None
    kinds: Mapping[str, int]
    sightings: Mapping[str, tuple[Sighting, ...]] = field(repr=False)
    errors: Array | None = None
    buckets: Mapping[tuple[str, str], NDArray[np.uint16]] = field(default_factory=dict, repr=False)
    units: tuple[int, ...] = ()
    unit: str = "document"

    def __post_init__(self) -> None:
        if len(self.units) != len(self.ids):
            object.__setattr__(self, "units", tuple(range(len(self.ids))))

    def by(self, rule: ReadingName) -> Array | None:
        """The counts by one of `RULES`."""
        return {"paper": self.paper, "strict": self.strict, "repaired": self.repaired}[rule]

    def f1(self, rule: ReadingName = "strict") -> float | None:
        """Micro-F1 by one of `RULES`; None if unknown."""
        counts = self.by(rule)
        return None if counts is None else micro(counts)


def micro(counts: Array) -> float:
    """Micro-F1 of counts `[n, 3]`; 0.0 if all are 0."""
    tp, fp, fn = counts.sum(axis=0)
    return float(2 * tp / (2 * tp + fp + fn)) if tp else 0.0


def read_outcomes(collection: Collection, shown: int) -> tuple[dict[str, CellOutcome], list[str]]:
    """The outcomes of all done cells that kept their answers, and the problems of the other cells.

    `shown` is the number of errors kept per kind and cell.
    """
    found: dict[str, CellOutcome] = {}
    complaints: list[str] = []
    for item in collection.of("score", "probe"):
        if item.result is None:
            continue
        try:
            outcome = read_outcome(item.run, shown, item.strict)
        except GennerError as error:
            complaints.append(f"{item.id}: no intervals and tests: {error}")
            continue
        complaints += _checked(item, outcome)
        if outcome:
            found[item.id] = outcome
    return found, complaints


def read_outcome(run: CellFolder, shown: int, strict: Sequence[Numbers] | None = None) -> CellOutcome | None:
    """The outcome of a cell; None if it has no answers. Raises `DataError` for damaged answers.

    `strict` has the strict counts of each answer for a record of an earlier version, which lacks them.
    """
    names: Counter[str] = Counter()
    kinds: Counter[str] = Counter(dict.fromkeys(ERROR_KINDS, 0))
    best: dict[str, list[tuple[int, int, Sighting]]] = {}
    rows: list[tuple[str, PredictionRecord, tuple[int, int, int], int]] = []
    buckets: defaultdict[tuple[str, str], dict[int, list[int]]] = defaultdict(dict)
    for at, answered in enumerate(run.predictions()):
        if strict is not None and answered.strict is None:
            answered = replace(answered, strict=strict[at])
        names[answered.id] += 1
        unique = answered.id if names[answered.id] == 1 else f"{answered.id}#{names[answered.id]}"
        try:
            judged = verdicts(answered.document(), answered.prediction())
        except GennerError as error:
            raise DataError(str(run.folder / "predictions.jsonl"), str(error), at + 1) from None
        expected, predicted = set(answered.gold), set(answered.entities)
        right = len(expected & predicted)
        wrong = sum(v.kind != "right" for v in judged)
        answers = replace(answered, text="", raw=(), gold=(), entities=(), problems=(), chunks=())
        rows.append((unique, answers, (right, len(predicted) - right, len(expected) - right), wrong))
        gold = answered.document()
        for e in expected | predicted:
            for key in (("labels", e.label), ("lengths", length(e, gold))):
                place = buckets[key].setdefault(at, [0, 0, 0])
                place[0 if e in expected and e in predicted else 1 if e in predicted else 2] += 1
        kinds.update(v.kind for v in judged)
        sightings = [Sighting(v.kind, answered, v) for v in judged if v.kind != "right"]
        if answered.prediction().invalid:
            sightings.append(Sighting(INVALID, answered, None))
        for n, sighting in enumerate(sightings):
            # Choose by a hash of the document id, so that the choice is independent of how an error looks.
            rank = int.from_bytes(
                hashlib.sha256(f"{sighting.kind}|{unique}|{n}".encode("utf-8", "replace")).digest()[:8]
            )
            heap = best.setdefault(sighting.kind, [])
            heapq.heappush(heap, (-rank, at, sighting))
            if len(heap) > shown:
                heapq.heappop(heap)
    if not rows:
        return None
    units = units_of([Document("", id=a.id, group=a.group) for _, a, _, _ in rows])  # in file order
    order = sorted(range(len(rows)), key=lambda i: rows[i][0])
    place_of = {at: n for n, at in enumerate(order)}
    counted: dict[tuple[str, str], NDArray[np.uint16]] = {}
    for key, found in buckets.items():
        counted[key] = np.zeros((len(rows), 3), dtype=np.uint16)
        for at, numbers in found.items():
            counted[key][place_of[at]] = numbers
    rows = [rows[i] for i in order]
    return CellOutcome(
        tuple(id for id, *_ in rows),
        np.array([counts for _, _, counts, _ in rows], dtype=np.float64),
        _all([a.strict for _, a, _, _ in rows]),
        _all([a.paper for _, a, _, _ in rows]),
        dict(kinds),
        {kind: tuple(s for _, _, s in sorted(heap, key=lambda x: (-x[0], x[1]))) for kind, heap in best.items()},
        np.array([errors for *_, errors in rows], dtype=np.float64),
        counted,
        tuple(units.of[i] for i in order),
        units.what,
    )


def _all(counts: Sequence[Numbers | None]) -> Array | None:
    """The counts as an array; None if any document lacks them."""
    known = [c for c in counts if c is not None]
    return np.array(known, dtype=np.float64) if len(known) == len(counts) else None


def length(entity: Entity, gold: Document) -> str:
    """The bucket of a mention by its number of words, as in the records."""
    words = BREAKDOWNS["length"].bucket(entity, gold, NO_TRAINING)
    return next((name for name, members in LENGTH_BUCKETS.items() if words in members), words)


def _checked(item: CellItem, outcome: CellOutcome | None) -> Iterable[str]:
    """The disagreements between a cell's record and its answers."""
    if outcome is None:
        return [f"{item.id}: it kept no answers, so its figures have no intervals and tests"]
    wrong, documents = [], item.metric("documents")
    for rule in ("strict", "repaired"):
        recorded, counted = item.metric(rule, "f1"), outcome.f1(rule)
        if counted is not None and (recorded is None or abs(recorded - counted) > TOLERANCE):
            said = "nothing" if recorded is None else f"{100 * recorded:.2f}"
            wrong.append(f"{item.id}: {rule} F1 is {said} in its record and {100 * counted:.2f} by its answers")
    if documents is not None and documents != len(outcome.ids):
        wrong.append(
            f"{item.id}: its record says {documents:.0f} documents, and there are answers to {len(outcome.ids)}"
        )
    return wrong
