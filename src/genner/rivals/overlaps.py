"""Entities that overlap: which of them a system keeps that cannot express all, and which of them it predicts."""

from collections.abc import Callable, Iterable

from genner.rivals.words import ScoredSpan, WordEntity

CROSSES = "crosses another entity"
OVERLAPS = "overlaps another entity"
SAME_SPAN = "has the same span as another entity"


def not_flat(entities: Iterable[WordEntity]) -> list[tuple[WordEntity, str]]:
    """Entities that do not fit a flat, non-overlapping set: of two that overlap the longer one is kept, then the first.

    This is the outermost-entity convention of flat evaluation on nested corpora.
    """
    return left_out(entities, overlap, OVERLAPS)


def not_nested(entities: Iterable[WordEntity]) -> list[tuple[WordEntity, str]]:
    """Entities that do not fit a set in which spans nest and none has two labels: see `not_flat` for which is kept."""
    entities = list(entities)
    twice = same_span(entities)
    rest = [e for e in entities if e not in {e for e, _ in twice}]
    return twice + left_out(rest, cross, CROSSES)


def same_span(entities: Iterable[WordEntity]) -> list[tuple[WordEntity, str]]:
    """Entities whose span an entity before them in the alphabet of labels has too."""
    seen: set[tuple[int, int]] = set()
    found = []
    for entity in sorted(entities):
        if entity[:2] in seen:
            found.append((entity, SAME_SPAN))
        seen.add(entity[:2])
    return found


def left_out(
    entities: Iterable[WordEntity], clash: Callable[[WordEntity, WordEntity], bool], reason: str
) -> list[tuple[WordEntity, str]]:
    """Entities that clash with one that is kept, where longer ones are kept first, then those that begin first."""
    kept: list[WordEntity] = []
    found = []
    for entity in sorted(entities, key=lambda e: (e.start - e.end, e)):
        if any(clash(entity, other) for other in kept):
            found.append((entity, reason))
        else:
            kept.append(entity)
    return found


def best_first(spans: Iterable[ScoredSpan], clash: Callable[[ScoredSpan, ScoredSpan], bool]) -> list[ScoredSpan]:
    """Greedy choice: the best span first, then each that clashes with none chosen before. In reading order."""
    chosen: list[ScoredSpan] = []
    for span in sorted(spans, key=lambda s: (-s.score, s)):
        if not any(clash(span, other) for other in chosen):
            chosen.append(span)
    return sorted(chosen, key=lambda s: (s.start, -s.end, s.label))


def overlap(a: WordEntity | ScoredSpan, b: WordEntity | ScoredSpan) -> bool:
    """Whether two spans share a word."""
    return a.start < b.end and b.start < a.end


def cross(a: WordEntity | ScoredSpan, b: WordEntity | ScoredSpan) -> bool:
    """Whether two spans overlap without one containing the other."""
    return a.start < b.start < a.end < b.end or b.start < a.start < b.end < a.end
