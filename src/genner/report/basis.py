"""The sample size behind the intervals of a table or figure: units of each test set, and seeds."""

from collections.abc import Iterable
from dataclasses import replace

from genner.evaluation.intervals import FEW
from genner.report.measures import Source
from genner.report.table import Block, Figure, Section, Table


def with_basis(source: Source, section: Section) -> Section:
    """The section with the number of units and seeds added to each table and figure."""
    return replace(section, blocks=tuple(_noted(source, block) for block in section.blocks))


def _noted(source: Source, block: Block) -> Block:
    if isinstance(block, Table):
        cells = dict.fromkeys(id for row in block.rows for e in row.entries for id in e.cells)
        return replace(block, notes=(*block.notes, *basis(source, cells)))
    if isinstance(block, Figure) and "cells" in block.columns:
        at = block.columns.index("cells")
        cells = dict.fromkeys(id for row in block.rows for id in str(row[at] or "").split())
        return replace(block, caption=" ".join((block.caption, *basis(source, cells))).strip())
    return block


def basis(source: Source, cells: Iterable[str]) -> list[str]:
    """Sentences that give the seeds, then the units of each test set; empty for cells without a score."""
    collection = source.collection
    groups = {}
    units: dict[str, None] = {}
    few = asked = False
    for id in cells:
        item = collection.items.get(id)
        asked |= item is not None and item.cell.kind == "ability" and item.result is not None
        if item is None or item.cell.kind not in ("score", "probe") or not item.result:
            continue
        key = collection.key(item)
        groups[key] = len(collection.get(key).done)
        outcome = source.estimates.outcome(id)
        if outcome and (n := source.estimates.units(id)):
            documents = len(outcome.ids)
            several = f"{n:,} {outcome.unit}{'s' * (n != 1)}"
            whole = f" of {documents:,} documents" if outcome.unit != "document" else ""
            units[f"{several}{whole} ({collection.title(key.test)})"] = None
            few |= n < FEW
    if not groups:  # each side is run once; its cells are never averaged
        return ["1 seed: intervals are over questions alone."] if asked else []
    least, most = min(groups.values()), max(groups.values())
    if most == 1:
        seeds = "1 seed: intervals are over documents alone."
    elif least == most:
        seeds = f"{most} seeds: numbers are means, intervals are over documents and seeds together."
    else:
        seeds = (
            f"{least} to {most} seeds: where there are several, numbers are means, and intervals are over documents "
            "and seeds together; of 1 seed they are over documents alone."
        )
    said = [seeds]
    if units:
        rough = f" Of fewer than {FEW} an interval is rough." if few else ""
        said.append(f"Intervals are over {'; '.join(units)}.{rough}")
    return said
