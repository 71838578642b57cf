"""What counts as right. A metric is one function of this module and one line in `METRICS`.

A metric takes a gold document and a prediction over the same text and returns the `Counts` of that document. Its
docstring is its definition. Precision, recall, F1 and intervals follow from the sum over the documents. Every metric
keeps these laws, which `tests/evaluation/test_metrics.py` checks for each line of `METRICS`:

- tp + fp is the number of predicted entities, and tp + fn the number of gold entities (`Counts.of` does this);
- a document that is compared with itself is all right;
- no metric gives less credit than `strict`.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence

from genner.document import Document, Entity
from genner.evaluation.counts import Counts
from genner.evaluation.words import WordIndex, words

Metric = Callable[[Document, Document], Counts]

SLACK = 1
"""Words by which each edge may be off in `tolerant`."""


def strict(gold: Document, pred: Document) -> Counts:
    """Right: the same start, end and label. Nested and crossing entities count one by one."""
    right = len(set(gold.entities) & set(pred.entities))
    return Counts.of(right, found=len(pred.entities), expected=len(gold.entities))


def span(gold: Document, pred: Document) -> Counts:
    """Right: the same start and end, whatever the label. SemEval-2013 Task 9 calls it "exact".

    A span with two labels occurs twice: multisets of spans are matched.
    """
    return _matched([e.span for e in gold.entities], [e.span for e in pred.entities])


def text(gold: Document, pred: Document) -> Counts:
    """Right: the same label and the same text of the mention, wherever it stands in the document.

    Multisets are matched: a text that is an entity twice must be found twice. Texts are compared code point by
    code point. This is the best score that formats without positions can reach.
    """
    return _matched(*([(e.label, d.mention(e)) for e in d.entities] for d in (gold, pred)))


def partial(gold: Document, pred: Document) -> Counts:
    """SemEval-2013 Task 9, "partial": the same span is worth 1, an overlapping one 0.5, whatever the labels.

    Entities of the same span are paired first. Then each predicted entity, in reading order, takes the first gold
    entity left that it overlaps. On entities that do not overlap each other this equals nervaluate. Source:
    Segura-Bedmar, Martínez and Herrero-Zazo (2013), SemEval-2013 Task 9, after the MUC-5 categories.
    """
    right, expected, found = _split_exact(gold, pred, by_label=False)
    half = sum(1 for _ in _pair_overlapping(expected, found, by_label=False))
    credit = right + half / 2 if half else right
    return Counts.of(credit, found=len(pred.entities), expected=len(gold.entities))


def type_(gold: Document, pred: Document) -> Counts:
    """SemEval-2013 Task 9, "type": right is the same label on a span that overlaps by one code point or more.

    Entities of the same span and label are paired first. Then each predicted entity, in reading order, takes from the
    gold entities left that it overlaps the closest with its label, else the first with another label, which is then
    used up. On entities that do not overlap each other this equals nervaluate's "ent_type".
    """
    right, expected, found = _split_exact(gold, pred, by_label=True)
    right += sum(e.label == p.label for e, p in _pair_overlapping(expected, found, by_label=True))
    return Counts.of(right, found=len(pred.entities), expected=len(gold.entities))


def tolerant(gold: Document, pred: Document) -> Counts:
    """Right: the same label, overlapping spans, and each edge off by at most one word.

    An edge is off by the number of words (see `words.py`) with at least one code point between the two edges, so
    a title, an article or a full stop more or less is accepted. Each entity is matched at most once. The
    number right is the size of the largest such matching, which depends on no order.
    """
    index = words(gold.text)
    allowed = [[i for i, e in enumerate(gold.entities) if _near(e, p, index)] for p in pred.entities]
    return Counts.of(maximum_matching(allowed), found=len(pred.entities), expected=len(gold.entities))


METRICS: dict[str, Metric] = {
    "strict": strict,
    "span": span,
    "text": text,
    "partial": partial,
    "type": type_,
    "tolerant": tolerant,
}


def maximum_matching(allowed: list[list[int]]) -> int:
    """The size of the largest matching between rows and columns; `allowed[row]` are the columns that a row may take.

    By augmenting paths (Kuhn, 1955): each row takes a free column, or one whose owner can move to another.
    """
    owner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in allowed[row]:
            if column in tried:
                continue
            tried.add(column)
            if column not in owner or place(owner[column], tried):
                owner[column] = row
                return True
        return False

    return sum(place(row, set()) for row in range(len(allowed)))


def _matched(expected: Sequence[Hashable], found: Sequence[Hashable]) -> Counts:
    """Counts of two multisets; what is in both is right."""
    right = (Counter(expected) & Counter(found)).total()
    return Counts.of(right, found=len(found), expected=len(expected))


def _overlap(a: Entity, b: Entity) -> bool:
    """Whether the spans share a code point."""
    return a.start < b.end and b.start < a.end


def _near(a: Entity, b: Entity, index: WordIndex) -> bool:
    """Whether two entities match under `tolerant`."""
    if a.label != b.label or not _overlap(a, b):
        return False
    edges = (a.start, b.start), (a.end, b.end)
    return all(index.between(min(edge), max(edge)) <= SLACK for edge in edges)


def _split_exact(gold: Document, pred: Document, *, by_label: bool) -> tuple[int, list[Entity], list[Entity]]:
    """The number of exact matches, and the gold and predicted entities that are left, in reading order.

    Exact matches have the same span and label; unless `by_label`, entities left with the same span match next.
    """
    right = set(gold.entities) & set(pred.entities)
    expected = [e for e in gold.entities if e not in right]
    found = [e for e in pred.entities if e not in right]
    count = len(right)
    for entity in [] if by_label else list(found):
        twin = next((e for e in expected if e.span == entity.span), None)
        if twin is not None:
            expected.remove(twin)
            found.remove(entity)
            count += 1
    return count, expected, found


def _pair_overlapping(
    expected: Sequence[Entity], found: Sequence[Entity], *, by_label: bool
) -> Iterator[tuple[Entity, Entity]]:
    """Pairs `(gold, predicted)` of overlapping entities, each entity in at most one pair.

    Each predicted entity in turn takes a gold entity left that it overlaps: the first; or, with `by_label`,
    the one of its own label with the closest boundaries (the sum of both differences), and if there is
    none the first with another label.
    """
    left = list(expected)
    for entity in found:
        near = [e for e in left if _overlap(e, entity)]
        if not near:
            continue
        chosen = near[0]
        if by_label and (same := [e for e in near if e.label == entity.label]):
            chosen = min(same, key=lambda e: abs(e.start - entity.start) + abs(e.end - entity.end))
        left.remove(chosen)
        yield chosen, entity
