"""What probes measure beyond the plain score. Each function takes gold documents and predictions over the same texts.

All return numbers by name: counts, and ratios in [0, 1]. `low` and `high` bound the 95 % interval of F1 over the gold
documents' groups, or over documents if they have no groups (absent if there are too few). Matching is always strict:
start, end and label. Documents are paired as in `evaluate`. All raise `UsageError` when a prediction is missing or has
another text.
"""

from collections.abc import Callable, Mapping, Sequence

from genner.document import Document, Entity
from genner.evaluation.counts import Counts, check_same_text, count_by
from genner.evaluation.intervals import interval
from genner.evaluation.metrics import span
from genner.evaluation.metrics import strict as strict_counts
from genner.evaluation.pairing import pair
from genner.evaluation.units import units_of
from genner.evaluation.words import words

Documents = Sequence[Document]


def scores(counts: Sequence[Counts], gold: Documents, prefix: str = "") -> dict[str, float]:
    """Scores from counts by document: `precision`, `recall`, `f1`, `low`, `high`, `gold`, `predicted`, prefixed."""
    total = sum(counts, Counts())
    found = interval([c.tp for c in counts], [c.fp for c in counts], [c.fn for c in counts], units_of(gold).of)
    bounds = {f"{prefix}low": found[0], f"{prefix}high": found[1]} if found else {}
    return {
        f"{prefix}precision": total.precision,
        f"{prefix}recall": total.recall,
        f"{prefix}f1": total.f1,
        **bounds,
        f"{prefix}gold": total.tp + total.fn,
        f"{prefix}predicted": total.tp + total.fp,
    }


def strict(gold: Documents, predicted: Documents) -> dict[str, float]:
    """The plain score."""
    return scores([strict_counts(g, p) for g, p in pairs(gold, predicted)], gold)


def by_bucket(
    gold: Documents, predicted: Documents, bucket: Callable[[Document, Entity], str], buckets: Sequence[str]
) -> dict[str, float]:
    """The score of each bucket, prefixed by its name and `_`; `bucket` receives the gold document and an entity.

    A correct entity counts in one bucket; a wrong one counts against the bucket of its predicted span and label. So the
    counts of the buckets add up to those of the plain score.
    """
    counted = [count_by(g, p, lambda e, g=g: bucket(g, e)) for g, p in pairs(gold, predicted)]  # type: ignore[misc]
    made: dict[str, float] = {}
    for name in buckets:
        made |= scores([counts.get(name, Counts()) for counts in counted], gold, f"{name}_")
    return made


def by_reading(readings: Mapping[str, Documents], predicted: Documents) -> dict[str, float]:
    """Score predictions against several readings of the same texts, and count which reading they followed in disputes.

    Besides the score of each reading, prefixed by its name: `disputed`, the number of spans whose set of labels differs
    between readings; of these `chose_<reading>`, the share for which the prediction gives exactly that reading's
    labels; `chose_other`, the share with other labels; `chose_none`, the share without an entity of that span.
    """
    made: dict[str, float] = {}
    for name, gold in readings.items():
        made |= scores([strict_counts(g, p) for g, p in pairs(gold, predicted)], gold, f"{name}_")
    chosen = dict.fromkeys((*readings, "other", "none"), 0)
    disputed = 0
    paired = [pairs(gold, predicted) for gold in readings.values()]
    for same_text in zip(*paired, strict=True):
        found = _by_span(same_text[0][1])
        expected = dict(zip(readings, (_by_span(gold) for gold, _ in same_text), strict=True))
        for place in sorted(set().union(*expected.values())):
            given = {name: spans.get(place, frozenset()) for name, spans in expected.items()}
            if len(set(given.values())) < 2:
                continue
            disputed += 1
            answer = found.get(place)
            right = [name for name, labels in given.items() if labels and labels == answer]
            for name in right or (["other"] if answer else ["none"]):
                chosen[name] += 1
    made["disputed"] = disputed
    return made | {f"chose_{name}": n / disputed if disputed else 0.0 for name, n in chosen.items()}


def false_alarms(gold: Documents, predicted: Documents) -> dict[str, float]:
    """False positives in entity-free texts: `per_1000_words`, `documents_with` (the share with one or more), counts.

    Words are those of `genner.evaluation.words`, independent of a model's tokenizer. An entity is a false alarm if it
    is not in gold.
    """
    alarms = total = hit = 0
    paired = pairs(gold, predicted)
    for g, p in paired:
        n = len(set(p.entities) - set(g.entities))
        alarms, hit, total = alarms + n, hit + (n > 0), total + len(words(g.text).starts)
    return {
        "per_1000_words": 1000 * alarms / total if total else 0.0,
        "documents_with": hit / len(paired) if paired else 0.0,
        "false_alarms": alarms,
        "words": total,
        "documents": len(paired),
    }


def outermost(gold: Documents, predicted: Documents) -> dict[str, float]:
    """`outer_recall`: recall of the gold entities that lie in no other; `outer_gold`: their number.

    Comparable with the original when a probe leaves out inner entities.
    """
    right = total = 0
    for g, p in pairs(gold, predicted):
        found = set(p.entities)
        for e in g.entities:
            if not any(o.start <= e.start and e.end <= o.end and o.span != e.span for o in g.entities):
                total, right = total + 1, right + (e in found)
    return {"outer_recall": right / total if total else 0.0, "outer_gold": total}


def best_naming(gold: Documents, predicted: Documents) -> dict[str, float]:
    """Whether entity types are separated, whatever their names.

    `span_*` scores spans without labels; `best_*` scores with the predicted labels renamed, one to one, so that most
    entities are correct (the assignment problem; Kuhn, 1955). The naming is fitted to gold, so the score is an upper
    bound and exceeds chance on small data.
    """
    paired = pairs(gold, predicted)
    tags = sorted({e.label for g, p in paired for e in (*g.entities, *p.entities)})
    at = {tag: i for i, tag in enumerate(tags)}
    agree = [[0] * len(tags) for _ in tags]
    for g, p in paired:
        expected = _by_span(g)
        for place, labels in _by_span(p).items():
            for label in labels:
                for other in expected.get(place, ()):
                    agree[at[label]][at[other]] += 1
    called = {tag: tags[column] for tag, column in zip(tags, assign(agree), strict=True)}
    best = []
    for g, p in paired:
        named = {Entity(e.start, e.end, called[e.label]) for e in p.entities}
        best.append(Counts.of(len(named & set(g.entities)), found=len(p.entities), expected=len(g.entities)))
    return scores([span(g, p) for g, p in paired], gold, "span_") | scores(best, gold, "best_")


def assign(gain: Sequence[Sequence[int]]) -> list[int]:
    """Assign each row of a square matrix a column of its own so that the sum of the gains is maximal.

    The Hungarian method (Kuhn, 1955) with potentials, O(n^3).
    """
    n = len(gain)
    rows, columns = [0] * (n + 1), [0] * (n + 1)  # potentials; row and column 0 are outside the matrix
    owner = [0] * (n + 1)  # the row assigned to each column
    for row in range(1, n + 1):
        owner[0], column = row, 0
        least, before, used = [float("inf")] * (n + 1), [0] * (n + 1), [False] * (n + 1)
        while owner[column]:
            used[column] = True
            at, step, following = owner[column], float("inf"), 0
            for j in range(1, n + 1):
                if not used[j]:
                    cost = -gain[at - 1][j - 1] - rows[at] - columns[j]
                    if cost < least[j]:
                        least[j], before[j] = cost, column
                    if least[j] < step:
                        step, following = least[j], j
            for j in range(n + 1):
                if used[j]:
                    rows[owner[j]] += int(step)
                    columns[j] -= int(step)
                else:
                    least[j] -= step
            column = following
        while column:
            owner[column] = owner[before[column]]
            column = before[column]
    return [owner.index(row, 1) - 1 for row in range(1, n + 1)]


def pairs(gold: Documents, predicted: Documents) -> list[tuple[Document, Document]]:
    """Each gold document with its prediction. Raises `UsageError` when one is missing or the texts differ."""
    paired = pair(gold, predicted)
    for g, p in paired:
        check_same_text(g, p)
    return paired


def _by_span(document: Document) -> dict[tuple[int, int], frozenset[str]]:
    """The labels of each span."""
    made: dict[tuple[int, int], frozenset[str]] = {}
    for e in document.entities:
        made[e.span] = made.get(e.span, frozenset()) | {e.label}
    return made
