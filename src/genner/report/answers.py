"""What the answers were like (broken, cut off, made up), what they cost, and which kinds of errors they hold."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from genner.evaluation.taxonomy import ERROR_KINDS
from genner.report.collect import DECODING_TITLES, CellGroup, absence
from genner.report.measures import Source, part, rates, score
from genner.report.outcomes import MEANINGS, REPAIRED, RULES, CellOutcome
from genner.report.paper import PAPER_FORMATS
from genner.report.table import Column, Entry, Missing, Table, TableRow, Value

RATE_TITLES = {"invalid": "invalid", "hallucinated": "hallucinated", "truncated": "truncated"}


def ordered(source: Source) -> list[CellGroup]:
    """All plain scores: by test set, system, format, decoding."""
    tests, formats, decodings = source.collection.tests(), list(PAPER_FORMATS), list(DECODING_TITLES)

    def place(group: CellGroup) -> tuple[object, ...]:
        k = group.key
        format = (formats.index(k.format) if k.format in formats else len(formats), k.format)
        decoding = (decodings.index(k.decoding) if k.decoding in decodings else len(decodings), k.decoding)
        return tests.index(k.test), k.system, format, decoding

    return sorted(source.collection.scores(), key=place)


def heads(group: CellGroup) -> tuple[str, str, str]:
    return group.key.system.title, group.key.format, DECODING_TITLES.get(group.key.decoding, group.key.decoding)


def validity_table(source: Source) -> Table | None:
    """How many answers broke their format, were cut off, or named what is not in the text."""
    groups = ordered(source)
    if not groups:
        return None
    rows = [
        TableRow(
            heads(g),
            (
                *(_plain(score(source, g, rule)) for rule in RULES),
                *(rates(g, key) for key in RATE_TITLES),
                _mean(g, "problems", "realigned", unless=0.0),
                _mean(g, "strict", "predicted"),
            ),
            f"{source.collection.title(g.key.test)}, {source.collection.count(g.key.test)}",
        )
        for g in groups
    ]
    return Table(
        "validity",
        "The answers by their form",
        ("System", "Format", "Decoding"),
        (
            *(Column(name.removeprefix("by the "), "F1") for name in RULES.values()),
            *(Column(f"{title}, %", "Answers") for title in RATE_TITLES.values()),
            Column("misplaced", "Mentions"),
            Column("named", "Mentions"),
        ),
        tuple(rows),
        "Invalid: answers that break their format; hallucinated: answers that mark or list something that nothing "
        "in the text, or no label asked for, answers to; truncated: answers that end before the text does; misplaced: "
        "mentions that an answer puts in a wrong place (offsets, occurrence, a copy that differs) and that the "
        "repaired reading has put where they stand in the text; named: all mentions in the answers. "
        "Means over seeds. F1 in three readings: " + "; ".join(MEANINGS.values()) + ".",
        supporting=True,
    )


def _plain(entry: Entry) -> Entry:
    """Without its interval, which stands in the main tables."""
    return replace(entry, low=None, high=None) if isinstance(entry, Value) else entry


def _mean(group: CellGroup, *path: str, unless: float | None = None) -> Entry:
    """The mean of a count over the seeds; `unless` stands for one that is not recorded."""
    found = [item.metric(*path) for item in group.done]
    values = [value if value is not None else unless for value in found]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return Missing("undefined", group.cells, "the record has no such figure") if found else absence(group.items)
    return Value(sum(known) / len(known), "number", cells=group.cells)


def cost_table(source: Source) -> Table | None:
    """What a document costs: tokens computed, forward passes, seconds; and the memory at its peak."""
    groups = ordered(source)
    if not groups:
        return None
    rows = []
    for g in groups:
        entries = (score(source, g), *(cost(g, what) for what in ("tokens", "passes", "seconds")), _memory(g))
        rows.append(
            TableRow(heads(g), entries, f"{source.collection.title(g.key.test)}, {source.collection.count(g.key.test)}")
        )
    return Table(
        "cost",
        "Cost against quality",
        ("System", "Format", "Decoding"),
        (
            Column("strict F1"),
            Column("tokens", "A document"),
            Column("passes", "A document"),
            Column("seconds", "A document"),
            Column("peak memory, MB"),
        ),
        tuple(rows),
        "Tokens computed and forward passes, summed over a cell and divided by its documents; they do not depend on "
        "the machine. Seconds are of the whole cell, loading included, and of its machine (see the cell). Means "
        "over seeds.",
        supporting=True,
    )


def cost(group: CellGroup, what: str) -> Entry:
    """`tokens`, `passes` or `seconds` a document, the mean over the seeds."""
    found = []
    for item in group.done:
        documents = item.metric("documents")
        if item.result and documents:
            found.append(float(getattr(item.result, what)) / documents)
    if not found:
        return _none(group)
    return Value(
        sum(found) / len(found), "seconds" if what == "seconds" else "number", cells=group.cells, part=part(group)
    )


def _memory(group: CellGroup) -> Entry:
    found = [item.result.peak_memory_mb for item in group.done if item.result]
    return Value(max(found), "count", cells=group.cells) if found else _none(group)


def _none(group: CellGroup) -> Entry:
    return Missing("undefined", group.cells, "no documents") if group.done else absence(group.items)


def kinds_table(source: Source, outcomes: Mapping[str, CellOutcome]) -> Table | None:
    """The kinds of errors of each group, the mean over its seeds."""
    rows = []
    for g in ordered(source):
        known = [outcomes[id] for id in g.cells if id in outcomes]
        if not known:
            continue
        counts: Counter[str] = Counter()
        for outcome in known:
            counts.update(outcome.kinds)
        entries = tuple(Value(counts[kind] / len(known), "number", cells=g.cells) for kind in ERROR_KINDS)
        rows.append(
            TableRow(heads(g), entries, f"{source.collection.title(g.key.test)}, {source.collection.count(g.key.test)}")
        )
    if not rows:
        return None
    return Table(
        "kinds",
        "Kinds of errors",
        ("System", "Format", "Decoding"),
        tuple(Column(kind) for kind in ERROR_KINDS),
        tuple(rows),
        "; ".join(f"{kind}: {meaning}" for kind, meaning in ERROR_KINDS.items()) + f". {REPAIRED} Means over seeds.",
        supporting=True,
    )
