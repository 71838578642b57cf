"""The kind of each error, and the confusion matrix of labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genner.document import Document, Entity, reading_order
from genner.evaluation.counts import check_same_text
from genner.evaluation.pairing import pair

ErrorKind = Literal["right", "wrong label", "wrong boundary", "both", "missed", "spurious"]

ERROR_KINDS: dict[str, str] = {
    "right": "same span, same label",
    "wrong label": "same span, another label",
    "wrong boundary": "overlapping span, same label",
    "both": "overlapping span, another label",
    "missed": "a gold entity that nothing answers to",
    "spurious": "a predicted entity that answers to nothing",
}

NO_LABEL = ""
"""The row of spurious and the column of missed entities in a confusion matrix; no label is empty."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gold entity and the predicted entity that is paired with it; one of the two is None if there is no partner."""

    kind: ErrorKind
    gold: Entity | None
    pred: Entity | None

    @property
    def labels(self) -> tuple[str, str]:
        """Gold and predicted label, `NO_LABEL` where there is no entity: the cell of the confusion matrix."""
        return self.gold.label if self.gold else NO_LABEL, self.pred.label if self.pred else NO_LABEL


@dataclass(frozen=True, slots=True)
class Analysis:
    """The verdicts of each pair of documents."""

    cases: tuple[tuple[Document, Document, tuple[Verdict, ...]], ...]

    @property
    def kinds(self) -> dict[str, int]:
        """How many verdicts of each kind; every kind is there."""
        counts = Counter[str](v.kind for _, _, found in self.cases for v in found)
        return {kind: counts[kind] for kind in ERROR_KINDS}

    @property
    def confusion(self) -> Counter[tuple[str, str]]:
        """How often `(gold label, predicted label)` were paired, whatever the boundaries."""
        return confusion(v for _, _, found in self.cases for v in found)

    def to_dict(self) -> dict[str, Any]:
        """The sums as JSON types; a missing entity has the label null."""
        return {
            "kinds": self.kinds,
            "confusion": [
                {"gold": gold or None, "pred": pred or None, "count": n}
                for (gold, pred), n in sorted(self.confusion.items())
            ],
        }

    def table(self) -> str:
        """The kinds on a line each, then the confusion matrix: gold down, predicted across, a point for 0."""
        width = max(map(len, ERROR_KINDS))
        lines = [f"{kind:>{width}}  {n:>6}  {ERROR_KINDS[kind]}" for kind, n in self.kinds.items()]
        counts = self.confusion
        labels = [*label_order(counts), NO_LABEL]
        names = [label or "none" for label in labels]
        width = max(map(len, [*names, *map(str, counts.values())]))
        rows = [[n, *(str(counts[g, p] or ".") for p in labels)] for n, g in zip(names, labels, strict=True)]
        lines += ["", "confusion (gold down, predicted across; boundaries need only overlap)"]
        lines += [" ".join(f"{cell:>{width}}" for cell in row) for row in [["", *names], *rows]]
        return "\n".join(lines)


def analyse(gold: Sequence[Document], pred: Sequence[Document]) -> Analysis:
    """The verdicts on all documents, paired as `evaluate` pairs them. Raises `UsageError` as that does."""
    return Analysis(tuple((g, p, tuple(verdicts(g, p))) for g, p in pair(gold, pred)))


def verdicts(gold: Document, pred: Document) -> list[Verdict]:
    """Each gold and each predicted entity in one verdict, in reading order.

    Entities are paired one to one, in passes: same span and label; same span; overlapping, same label; overlapping.
    Within a pass the pair that shares most comes first (code points in common over code points in either), ties in
    reading order of gold, then of the prediction. So the answer is the same each time, and what is right stays right
    whatever else overlaps it. Raises `UsageError` when the two texts differ.
    """
    check_same_text(gold, pred)
    expected, found = set(gold.entities), set(pred.entities)
    right = expected & found
    result = [Verdict("right", e, e) for e in gold.entities if e in right]
    expected -= right
    found -= right
    pairs = [(g, p) for g in expected for p in found if _shared(g, p)]
    pairs.sort(key=lambda pair: (-_shared(*pair), reading_order(pair[0]), reading_order(pair[1])))
    passes: list[tuple[ErrorKind, list[tuple[Entity, Entity]]]] = [
        ("wrong label", [(g, p) for g, p in pairs if g.span == p.span]),
        ("wrong boundary", [(g, p) for g, p in pairs if g.label == p.label]),
        ("both", [(g, p) for g, p in pairs if g.label != p.label and g.span != p.span]),
    ]
    for kind, candidates in passes:
        for g, p in candidates:
            if g in expected and p in found:
                expected.remove(g)
                found.remove(p)
                result.append(Verdict(kind, g, p))
    result += [Verdict("missed", g, None) for g in expected]
    result += [Verdict("spurious", None, p) for p in found]
    return sorted(result, key=_place)


def confusion(of: Iterable[Verdict]) -> Counter[tuple[str, str]]:
    """How often `(gold label, predicted label)` were paired, whatever the boundaries; `NO_LABEL` if one is missing."""
    return Counter(v.labels for v in of)


def label_order(counts: Iterable[tuple[str, str]]) -> list[str]:
    """The labels of a confusion matrix, in order of the alphabet, without `NO_LABEL`."""
    return sorted({label for cell in counts for label in cell} - {NO_LABEL})


def _shared(g: Entity, p: Entity) -> float:
    """Code points in common over code points in either: 0 where spans are apart, 1 where they are the same."""
    common = min(g.end, p.end) - max(g.start, p.start)
    return common / (max(g.end, p.end) - min(g.start, p.start)) if common > 0 else 0.0


def _place(verdict: Verdict) -> tuple[tuple[int, int, str], bool]:
    entity = verdict.gold or verdict.pred
    assert entity is not None
    return reading_order(entity), verdict.gold is None
