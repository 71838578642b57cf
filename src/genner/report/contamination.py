"""Contamination: a table of the signals for each model and corpus, and what the signals mean."""

from collections.abc import Mapping, Sequence
from typing import Any

from genner.report.cell_items import CELL_GAPS, CellItem
from genner.report.paper import TITLES
from genner.report.results import Collection
from genner.report.source import Source, section
from genner.report.table import (
    Column,
    Entry,
    Listing,
    Missing,
    Section,
    Table,
    TableRow,
    TableText,
    Value,
    ValueKind,
    Why,
)

# The number shown for a signal: its measure and number format; for likelihood signals, the highest AUC.
HEADLINES: dict[str, tuple[str, ValueKind]] = {
    "exact": ("verbatim", "percent"),
    "ngrams": ("any_13", "percent"),
    "mentions": ("seen", "percent"),
    "order": ("order", "number"),
    "completion": ("exact", "percent"),
    "name_recall": ("labels", "percent"),
}


def contamination_section(source: Source) -> Section:
    """A table for each model and corpus that was tested, and an explanation of each signal and verdict."""
    collection = source.collection
    items = sorted(collection.of("contamination"), key=lambda item: (item.cell.name, item.id))
    intro = (
        "Has a model seen the test set? Only “nothing found” says that a signal could have been seen and is not there; "
        "“unknown” and “no power” never do. docs/contamination.md tells more."
    )
    tables = [contamination_table(collection, item, n) for n, item in enumerate(items, 1)]
    return section("contamination", "Contamination", (meanings(items), *tables), intro)


def meanings(items: Sequence[CellItem]) -> Listing:
    """What each signal in the results tests, and what each verdict means."""
    from genner.contamination import SIGNAL_VERDICTS
    from genner.contamination.table import meaning

    found = [(name, finding) for item in items for name, findings in _signals(item) for finding in findings]
    signals = [f"{name}: {meaning(name)}" for name in dict.fromkeys(name for name, _ in found)]
    verdicts = {finding.get("verdict") for _, finding in found}
    lines = [*signals, *(f"{verdict}: {about}." for verdict, about in SIGNAL_VERDICTS.items() if verdict in verdicts)]
    return Listing(tuple(lines))


def contamination_table(collection: Collection, item: CellItem, n: int) -> Table:
    """One row per signal and side: the verdict, its number, the number for known training texts, and a sentence."""
    rows = []
    for name, findings in _signals(item):
        for finding in findings:
            entries = (
                TableText(str(finding.get("verdict", "")), cells=(item.id,)),
                _number(item, name, finding, "test"),
                _number(item, name, finding, "members"),
                TableText(str(finding.get("said", ""))),
            )
            rows.append(TableRow((name, str(finding.get("side", ""))), entries))
    if not rows:
        why: Why = next((state for state in CELL_GAPS if state == item.state), "absent")
        rows.append(TableRow(("all signals", ""), (Missing(why, (item.id,), item.reason),) * 4))
    corpus = str(item.description.get("corpus", ""))
    sentences = item.metric("documents")
    count = f"{sentences:,.0f}" if sentences is not None else str(item.description.get("sentences"))
    notes = item.result.metrics.get("notes", ()) if item.result else ()
    return Table(
        f"contamination-{n}",
        f"Contamination: {collection.system(item).title} by {TITLES.get(corpus, corpus)}",
        ("Signal", "Side"),
        (
            Column("verdict", text=True),
            Column("test set"),
            Column("trained-on texts"),
            Column("what was found", text=True),
        ),
        tuple(rows),
        f"{count} test documents were put to the model; files are compared whole. Numbers: shares of the test set "
        "(exact, ngrams, mentions, completion) or of other names outranked (name_recall); nats (order); areas under "
        "the curve against unseen texts, 50 being none, with intervals at 95 % (of likelihoods the highest score's).",
        tuple(f"{note}." for note in notes),
    )


def _signals(item: CellItem) -> list[tuple[str, list[Mapping[str, Any]]]]:
    return list(item.metrics("signals").items())


def _number(item: CellItem, signal: str, finding: Mapping[str, Any], group: str) -> Entry:
    """The number of a finding for the test set, or for the known training texts."""
    measures = finding.get("measures") or {}
    name, kind = HEADLINES.get(signal, ("", "percent"))
    if name and group == "members":
        name = f"{name}_members"
    if not name:
        areas = [key for key in measures if key.endswith(f"_{group}")]
        name = max(areas, key=lambda key: float(measures[key]["value"]), default="")
    measure = measures.get(name)
    if measure is None:
        return Missing("undefined", (item.id,), "the signal has no such number, or what it needs is not known")
    return Value(measure["value"], kind, measure["low"], measure["high"], p=measure["p"], cells=(item.id,))
