"""The sample size behind the intervals of a table or figure: units of each test set, and seeds."""

from collections.abc import Iterable
from dataclasses import replace

from genner.evaluation.intervals import FEW
from genner.report.source import ScoredTest, Source
from genner.report.table import Block, Figure, Section, Table


def with_sample_sizes(source: Source, section: Section) -> Section:
    """The section with the number of units and seeds added to each table and figure."""
    return replace(section, blocks=tuple(_noted(source, block) for block in section.blocks))


def _noted(source: Source, block: Block) -> Block:
    if isinstance(block, Table):
        found = sample_sizes(source, (id for row in block.rows for e in row.entries for id in e.cells))
        return replace(block, notes=(*block.notes, *found))
    if isinstance(block, Figure) and "cells" in block.columns:
        at = block.columns.index("cells")
        found = sample_sizes(source, (id for row in block.rows for id in str(row[at] or "").split()))
        return replace(block, caption=" ".join((block.caption, *found)).strip())
    return block


def sample_sizes(source: Source, cells: Iterable[str]) -> list[str]:
    """Sentences that give the seeds, then the units of each test set; empty for cells without a score."""
    collection = source.collection
    items = [item for id in dict.fromkeys(cells) if (item := collection.items.get(id)) and item.result]
    keys = {item.id: collection.key(item) for item in items if item.cell.kind in ("score", "probe")}
    if not keys:  # each side is run once; its cells are never averaged
        asked = any(item.cell.kind == "ability" for item in items)
        return ["1 seed: intervals are over questions alone."] if asked else []
    units: dict[str, None] = {}
    few = False
    for id, key in keys.items():
        outcome = source.estimates.outcome(id)
        if outcome and (n := source.estimates.units(id)):
            several = f"{n:,} {outcome.unit}{'s' * (n != 1)}"
            whole = f", {len(outcome.ids):,} documents in all" if outcome.unit != "document" else ""
            units[f"{several} ({ScoredTest(source, key.test, 0).title}{whole})"] = None
            few |= n < FEW
    rough = f" Of fewer than {FEW} an interval is rough." if few else ""
    over = [f"Intervals are over {'; '.join(units)}.{rough}"] if units else []
    return [_seeds({len(collection.get(key).done) for key in keys.values()}), *over]


def _seeds(numbers: set[int]) -> str:
    least, most = min(numbers), max(numbers)
    if most == 1:
        return "1 seed: intervals are over documents alone."
    if least == most:
        return f"{most} seeds: numbers are means, intervals are over documents and seeds together."
    return (
        f"{least} to {most} seeds: where there are several, numbers are means, and intervals are over documents "
        "and seeds together; of 1 seed they are over documents alone."
    )
