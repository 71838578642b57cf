"""Errors to look at: which of those that were kept are shown, a few of each kind for each format and decoding."""

from collections.abc import Mapping
from itertools import zip_longest

from genner.document import Document, Entity
from genner.evaluation.taxonomy import ERROR_KINDS
from genner.report.answers import ordered
from genner.report.collect import DECODING_TITLES, CellGroup
from genner.report.measures import Source
from genner.report.outcomes import INVALID, REPAIRED, CellOutcome, Sighting
from genner.report.table import ErrorExample, ErrorExamples

ERROR_CONTEXT_CHARS = 160  # code points of the text on either side of an error
MAX_ANSWER_CHARS = 1_500  # code points of an answer
SHOWN_KINDS = (*(kind for kind in ERROR_KINDS if kind != "right"), INVALID)


def examples(source: Source, outcomes: Mapping[str, CellOutcome], each: int) -> list[ErrorExamples]:
    """For each test set the errors of up to `each` cells a kind, format and decoding, one from each.

    Which error of a cell stands for its kind is decided by a hash of the document's name when the answers are read, and
    cells take turns in the order of the tables: nobody picks.
    """
    if each < 1:
        return []
    found = []
    for test in source.collection.tests():
        items: list[ErrorExample] = []
        taken: dict[tuple[str, str, str], int] = {}
        for turn in range(each):
            for group in [g for g in ordered(source) if g.key.test == test]:
                for kind in SHOWN_KINDS:
                    place = group.key.format, group.key.decoding, kind
                    kept = [s for id in group.cells[:1] if id in outcomes for s in outcomes[id].sightings.get(kind, ())]
                    if taken.get(place, 0) < each and turn < len(kept):
                        taken[place] = taken.get(place, 0) + 1
                        items.append(_example(group, kind, kept[turn]))
        if items:
            order = {kind: n for n, kind in enumerate(SHOWN_KINDS)}
            items.sort(key=lambda e: order[e.kind])
            title = source.collection.title(test)
            caption = (
                f"{source.collection.about(test)}. Up to {each} for each kind, format and decoding, drawn by a hash of "
                f"the document's id. {REPAIRED}"
            )
            found.append(ErrorExamples(title, caption, tuple(items)))
    return found


def _example(group: CellGroup, kind: str, sighting: Sighting) -> ErrorExample:
    k = group.key
    about = f"{k.system.title}, {k.format}, {DECODING_TITLES.get(k.decoding, k.decoding)}"
    answered = sighting.answered
    gold, pred = answered.document(), answered.prediction()
    spans = [(0, min(len(gold.text), 2 * ERROR_CONTEXT_CHARS))]
    if verdict := sighting.verdict:
        sides = [_named(gold.mention(e), e) if e else "nothing" for e in (verdict.gold, verdict.pred)]
        about += f": {sides[0]} → {sides[1]}"
        spans = [e.span for e in (verdict.gold, verdict.pred) if e]
    start, end = min(s for s, _ in spans) - ERROR_CONTEXT_CHARS, max(e for _, e in spans) + ERROR_CONTEXT_CHARS
    raw = [
        text
        for text, (first, last) in zip_longest(answered.raw, answered.chunks, fillvalue=(0, len(gold.text)))
        if isinstance(text, str) and first < end and start < last
    ]
    return ErrorExample(
        kind,
        about,
        group.cells[0],
        _window(gold, start, end),
        _window(pred, start, end),
        tuple(_cut(text) for text in raw),
        tuple(f"{p.kind}: {p.detail}" for p in answered.problems),
    )


def _window(document: Document, start: int, end: int) -> Document:
    """The text between two offsets, with the entities that lie wholly in it; an ellipsis where it is cut."""
    begin, stop = max(0, start), min(len(document.text), end)
    before, after = "… " if begin else "", " …" if stop < len(document.text) else ""
    inside = tuple(e.shifted(len(before) - begin) for e in document.entities if begin <= e.start and e.end <= stop)
    return Document(before + document.text[begin:stop] + after, inside, document.id)


def _cut(text: str) -> str:
    return (
        text
        if len(text) <= MAX_ANSWER_CHARS
        else f"{text[:MAX_ANSWER_CHARS]}… ({len(text) - MAX_ANSWER_CHARS:,} more characters)"
    )


def _named(text: str, entity: Entity) -> str:
    return f"“{text if len(text) <= 60 else text[:59] + '…'}” {entity.label}"
