"""What `partial` and `type` share: who is paired with whom where spans overlap."""

from collections.abc import Iterator, Sequence

from genner.document import Document, Entity


def overlaps(a: Entity, b: Entity) -> bool:
    """Whether the spans share a code point."""
    return a.start < b.end and b.start < a.end


def split_exact(gold: Document, pred: Document, *, by_label: bool) -> tuple[int, list[Entity], list[Entity]]:
    """The number of entities that are exactly right, and the other gold and predicted ones, in reading order.

    Exactly right are those of the same span and label, and, unless `by_label`, then those of the same span.
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


def greedy(expected: Sequence[Entity], found: Sequence[Entity], *, by_label: bool) -> Iterator[tuple[Entity, Entity]]:
    """Pairs `(gold, predicted)` of overlapping entities, each entity in one pair at most.

    Each predicted entity in turn takes a gold entity that is left and that it overlaps: the first; or, with `by_label`,
    of those with its own label the one whose boundaries are closest (the sum of both differences), and if there is
    none the first with another label.
    """
    left = list(expected)
    for entity in found:
        near = [e for e in left if overlaps(e, entity)]
        if not near:
            continue
        chosen = near[0]
        if by_label and (same := [e for e in near if e.label == entity.label]):
            chosen = min(same, key=lambda e: abs(e.start - entity.start) + abs(e.end - entity.end))
        left.remove(chosen)
        yield chosen, entity
