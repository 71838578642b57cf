"""Errors: their kinds, and a few examples of each kind for each format and decoding."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product, zip_longest
from typing import Any

from genner.document import Entity
from genner.evaluation.jackknife import Interval
from genner.evaluation.taxonomy import ERROR_KINDS
from genner.render.layout import excerpt
from genner.report.entries import mean_count
from genner.report.outcomes import INVALID, Sighting
from genner.report.plots import INK, colour, interval_line, label, legend, name_rows, panels, size
from genner.report.results import CellGroup, System
from genner.report.source import ScoredTest, Source, group_table, section
from genner.report.table import NO_INTERVAL, Column, Entry, ErrorExample, ErrorExamples, Figure, Section, Table, Value
from genner.report.terms import REPAIRED, decoded_and_read
from genner.report.verification import verification_table

ERROR_CONTEXT_CHARS = 160  # code points of the text on either side of an error
MAX_ANSWER_CHARS = 1_500  # code points of an answer
LEFT_OUT = {"for overlap": ("problems", "overlap"), "denied": ("refuted",)}
"""Entities that the model named and the system left out, with the metric that counts them."""
SHOWN_KINDS = (*(kind for kind in ERROR_KINDS if kind != "right"), INVALID)


def errors_section(source: Source) -> Section:
    """The kinds of errors, and examples."""
    tests = source.tests()
    shown = (examples(test, source.examples) for test in tests)
    tables = kinds_table(source), verification_table(source)
    return section("errors", "Errors", [*map(kinds_figure, tests), *tables, *shown])


def kinds_table(source: Source) -> Table:
    """The number of errors of each kind, by group, averaged over seeds; groups that kept no answers are left out."""

    def number(kind: str) -> Callable[[CellGroup], Entry]:
        def mean(group: CellGroup) -> Entry:
            known = source.estimates.outcomes(group.cells)
            return Value(sum(o.kinds.get(kind, 0) for o in known) / len(known), "number", cells=group.cells)

        return mean

    return group_table(
        source,
        "kinds",
        "Kinds of errors",
        {Column(kind): number(kind) for kind in ERROR_KINDS}
        | {Column(what, "Left out"): partial(mean_count, path=path, default=0.0) for what, path in LEFT_OUT.items()},
        "; ".join(f"{kind}: {meaning}" for kind, meaning in ERROR_KINDS.items()) + ". Left out: entities that the "
        "model named and that are no part of the prediction: for overlap, as they overlap surer ones of other labels; "
        "denied, by verification. What is left out though it is right counts as missed. "
        f"{REPAIRED} Means over seeds.",
        [g for g in source.collection.ordered() if source.estimates.outcomes(g.cells)],
    )


def kinds_figure(test: ScoredTest) -> Figure:
    """The errors of each format by kind, as shares of the gold entities; one panel per system."""
    estimates, formats = test.source.estimates, test.formats
    bars: dict[System, dict[str, dict[str, float]]] = {}
    totals: dict[tuple[System, str], Interval | None] = {}
    entities: set[int] = set()
    rows: list[tuple[str | float | None, ...]] = []
    for group in test.main_groups:
        system, format, cells = group.key.system, group.key.format, " ".join(group.cells)
        known = estimates.outcomes(group.cells)
        gold = sum(float(o.repaired[:, 0].sum() + o.repaired[:, 2].sum()) for o in known)
        if not gold:
            continue
        counts = {kind: sum(o.kinds[kind] for o in known) for kind in ERROR_KINDS if kind != "right"}
        bars.setdefault(system, {})[format] = {kind: count / gold for kind, count in counts.items()}
        entities.add(round(gold / len(known)))
        bounds = totals[system, format] = estimates.error_rate([id for id in group.cells if estimates.outcome(id)])
        about, total = (system.title, format, group.key.decoding), sum(counts.values())
        rows += [(*about, kind, count, count / gold, *NO_INTERVAL, cells) for kind, count in counts.items()]
        rows.append((*about, "all", total, total / gold, *(bounds or NO_INTERVAL), cells))

    def draw(drawing: Any) -> None:
        axes = panels(drawing, [s.title for s in bars])
        handles: dict[str, Any] = {}
        for a, (system, found) in zip(axes, bars.items(), strict=True):
            a.grid(axis="x")
            for format, shares in found.items():
                y, left = formats.index(format), 0.0
                interval_line(a, y, totals[system, format], "x", color=INK, linewidth=1, zorder=3)
                for k, (kind, share) in enumerate(shares.items()):
                    drawn = a.barh(y, 100 * share, 0.7, left=left, color=colour(k))
                    handles.setdefault(kind, drawn)
                    left += 100 * share
            name_rows(a, [label(f) for f in formats])
            a.set_xlabel("errors for 100 gold entities")
        legend(drawing, handles)

    return Figure(
        f"kinds-{test.number}",
        f"Kinds of errors: {test.title}",
        ("system", "format", "decoding", "kind", "errors", "share of gold", "low", "high", "cells"),
        tuple(rows),
        draw,
        size(len(bars), height=0.32 * len(formats) + 0.9),
        f"{test.about}, {', '.join(f'{n:,}' for n in sorted(entities))} gold entities; "
        f"{decoded_and_read(test.main_decoding)} Lines: 95 % interval of all errors together.",
        "Errors of each format by kind",
    )


def examples(test: ScoredTest, each: int) -> ErrorExamples:
    """For each kind, format and decoding: one error from each of up to `each` cells.

    The error that a cell shows for a kind is chosen by a hash of the document id when the answers are read; cells take
    turns in the order of the tables. Nothing is picked by hand.
    """
    items: list[ErrorExample] = []
    taken: Counter[tuple[str, str, str]] = Counter()
    for turn, group, kind in product(range(each), test.groups, SHOWN_KINDS):
        place = group.key.format, group.key.decoding, kind
        kept = [s for o in test.source.estimates.outcomes(group.cells[:1]) for s in o.sightings.get(kind, ())]
        if taken[place] < each and turn < len(kept):
            taken[place] += 1
            items.append(_example(group, kind, kept[turn]))
    items.sort(key=lambda e: SHOWN_KINDS.index(e.kind))
    caption = (
        f"{test.about}. Up to {each} for each kind, format and decoding, drawn by a hash of the document's id. "
        f"{REPAIRED}"
    )
    return ErrorExamples(test.title, caption, tuple(items))


def _example(group: CellGroup, kind: str, sighting: Sighting) -> ErrorExample:
    about = ", ".join(head for head in group.key.heads if head != "–")
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
        excerpt(gold, start, end),
        excerpt(pred, start, end),
        tuple(_cut(text) for text in raw),
        tuple(f"{p.kind}: {p.detail}" for p in answered.problems),
    )


def _cut(text: str) -> str:
    more = len(text) - MAX_ANSWER_CHARS
    return text if more <= 0 else f"{text[:MAX_ANSWER_CHARS]}… ({more:,} more characters)"


def _named(text: str, entity: Entity) -> str:
    return f"“{text if len(text) <= 60 else text[:59] + '…'}” {entity.label}"
