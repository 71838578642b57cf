"""Errors: their kinds, and a few examples of each kind for each format and decoding."""

from collections import Counter
from itertools import zip_longest
from typing import Any

from genner.assess.scoring import GRAMMAR
from genner.document import Document, Entity
from genner.evaluation.taxonomy import ERROR_KINDS
from genner.report.common import (
    GROUP_HEADS,
    decoded,
    decoding_title,
    group_heads,
    headline,
    here,
    ordered,
    section,
    test_heading,
)
from genner.report.measures import Source
from genner.report.outcomes import INVALID, REPAIRED, Sighting
from genner.report.plots import INK, colour, label, legend, name_rows, panels, size
from genner.report.results import CellGroup, GroupKey, System, TestSet
from genner.report.table import Block, Column, ErrorExample, ErrorExamples, Figure, Section, Table, TableRow, Value

ERROR_CONTEXT_CHARS = 160  # code points of the text on either side of an error
MAX_ANSWER_CHARS = 1_500  # code points of an answer
SHOWN_KINDS = (*(kind for kind in ERROR_KINDS if kind != "right"), INVALID)


def errors_section(source: Source) -> Section:
    """The kinds of errors, and examples."""
    blocks: list[Block | None] = [kinds_figure(source, test, n) for n, test in enumerate(source.collection.tests(), 1)]
    return section("errors", "Errors", [*blocks, kinds_table(source), *examples(source)])


def kinds_table(source: Source) -> Table | None:
    """The number of errors of each kind, by group, averaged over seeds."""
    rows = []
    for g in ordered(source):
        known = source.estimates.outcomes(g.cells)
        if not known:
            continue
        counts: Counter[str] = Counter()
        for outcome in known:
            counts.update(outcome.kinds)
        entries = tuple(Value(counts[kind] / len(known), "number", cells=g.cells) for kind in ERROR_KINDS)
        rows.append(TableRow(group_heads(g), entries, test_heading(source, g.key.test)))
    if not rows:
        return None
    return Table(
        "kinds",
        "Kinds of errors",
        GROUP_HEADS,
        tuple(Column(kind) for kind in ERROR_KINDS),
        tuple(rows),
        "; ".join(f"{kind}: {meaning}" for kind, meaning in ERROR_KINDS.items()) + f". {REPAIRED} Means over seeds.",
        supporting=True,
    )


def kinds_figure(source: Source, test: TestSet, n: int) -> Figure | None:
    """The errors of each format by kind, as shares of the gold entities; one panel per system."""
    shown, formats, _ = here(source, test)
    decoding = headline(source, test)
    bars: dict[System, dict[str, dict[str, float]]] = {}
    totals: dict[tuple[System, str], tuple[float, float]] = {}
    entities: set[int] = set()
    rows: list[tuple[str | float | None, ...]] = []
    for system in shown:
        for format in formats:
            group = source.collection.get(GroupKey(system, format, test, decoding))
            known = source.estimates.outcomes(group.cells)
            gold = sum(float(o.repaired[:, 0].sum() + o.repaired[:, 2].sum()) for o in known)
            if gold:
                counts = {kind: sum(o.kinds[kind] for o in known) for kind in ERROR_KINDS if kind != "right"}
                bars.setdefault(system, {})[format] = {kind: count / gold for kind, count in counts.items()}
                entities.add(round(gold / len(known)))
                if bounds := source.estimates.error_rate([id for id in group.cells if source.estimates.outcome(id)]):
                    totals[system, format] = bounds
                rows += [
                    (system.title, format, decoding, kind, count, count / gold, None, None, " ".join(group.cells))
                    for kind, count in counts.items()
                ]
                total = sum(counts.values())
                low, high = totals.get((system, format), (None, None))
                rows.append(
                    (system.title, format, decoding, "all", total, total / gold, low, high, " ".join(group.cells))
                )
    if not bars:
        return None

    def draw(drawing: Any) -> None:
        axes = panels(drawing, [s.title for s in bars])
        handles: dict[str, Any] = {}
        for a, (system, found) in zip(axes, bars.items(), strict=True):
            a.grid(axis="x")
            for format, shares in found.items():
                if bounds := totals.get((system, format)):
                    y = formats.index(format)
                    a.plot([100 * x for x in bounds], [y, y], color=INK, linewidth=1, zorder=3)
                left = 0.0
                for k, (kind, share) in enumerate(shares.items()):
                    drawn = a.barh(formats.index(format), 100 * share, 0.7, left=left, color=colour(k))
                    handles.setdefault(kind, drawn)
                    left += 100 * share
            name_rows(a, [label(f) for f in formats])
            a.set_xlabel("errors for 100 gold entities")
        legend(drawing, list(handles.values()), list(handles))

    return Figure(
        f"kinds-{n}",
        f"Kinds of errors: {source.collection.title(test)}",
        ("system", "format", "decoding", "kind", "errors", "share of gold", "low", "high", "cells"),
        tuple(rows),
        draw,
        size(len(bars), height=0.32 * len(formats) + 0.9),
        f"{source.collection.about(test)}, {', '.join(f'{n:,}' for n in sorted(entities))} gold entities; decoded "
        f"{decoded(decoding)}.{'' if decoding == GRAMMAR else f' {REPAIRED}'} "
        "Lines: 95 % interval of all errors together.",
        "Errors of each format by kind",
    )


def examples(source: Source) -> list[ErrorExamples]:
    """For each test set, kind, format and decoding: one error from each of up to `source.examples` cells.

    The error that a cell shows for a kind is chosen by a hash of the document id when the answers are read; cells take
    turns in the order of the tables. Nothing is picked by hand.
    """
    each = source.examples
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
                    kept = [s for o in source.estimates.outcomes(group.cells[:1]) for s in o.sightings.get(kind, ())]
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
    about = f"{k.system.title}, {k.format}, {decoding_title(k.decoding)}"
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
    """The text between two offsets with the entities inside it; an ellipsis marks a cut."""
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
