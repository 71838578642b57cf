"""Provenance: which cells ran, which did not and why, and an entry for each cell."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from genner.assess.records import CELL_KINDS, CELL_STATES, CellResult
from genner.engines import shown_options
from genner.errors import GennerError
from genner.report.cell_items import CELL_GAPS, CellItem
from genner.report.results import Collection
from genner.report.source import Source
from genner.report.system_names import flat
from genner.report.table import Block, CellEntry, Column, Entry, Listing, Section, Table, TableRow, TableText, Value

_NAMES = {
    "train": "trainings",
    "fit": "trainings of encoders",
    "score": "scores",
    "probe": "probes",
    "ability": "measurements of ability",
    "contamination": "looks for contamination",
}

_STATES = {"failed": "failed", "skipped": "was skipped", "waiting": "has not been run"}


def runs_section(source: Source) -> Section:
    """How many cells have a result, which have none and why, and the problems of the records."""
    collection = source.collection
    blocks: list[Block] = [states_table(collection), gaps_table(collection) or "Every cell has a result."]
    if source.problems:
        blocks += ["Found when the records were compared with their own answers:", Listing(source.problems)]
    return Section("runs", "What was run", tuple(blocks))


def states_table(collection: Collection) -> Table:
    """How many cells of each kind are in each state."""
    counts = Counter((item.cell.kind, item.state) for item in collection.items.values())
    kinds = [kind for kind in CELL_KINDS if any(k == kind for k, _ in counts)]
    rows = []
    for kind in kinds:
        seconds = sum(item.result.seconds for item in collection.of(kind) if item.result)
        entries: tuple[Entry, ...] = tuple(Value(counts[kind, state], "count") for state in CELL_STATES)
        rows.append(TableRow((_NAMES[kind],), (*entries, Value(seconds / 60, "minutes"))))
    return Table(
        "states",
        "Cells by kind and state",
        ("Cells",),
        (*(Column(state) for state in CELL_STATES), Column("minutes, all in all")),
        tuple(rows),
    )


def gaps_table(collection: Collection) -> Table | None:
    """Every cell without a result, and why."""
    gaps = [item for item in collection.items.values() if item.result is None]
    if not gaps:
        return None
    gaps.sort(key=lambda item: ([*CELL_GAPS, item.state].index(item.state), item.cell.name, item.id))
    rows = tuple(
        TableRow(
            (item.cell.name or item.id,),
            (TableText(item.id, code=True, cells=(item.id,)), TableText(_reason(item, collection))),
            item.state,
        )
        for item in gaps
    )
    return Table(
        "gaps",
        "Cells without a result",
        ("Cell",),
        (Column("id", text=True), Column("why", text=True)),
        rows,
        "Numbers of these cells are missing from the tables; there, their places name the state and lead to the cell.",
    )


def _reason(item: CellItem, collection: Collection) -> str:
    if item.reason:
        return item.reason
    if item.state == "running":
        progress = item.run.progress
        return f"{progress.done:,} of {progress.total:,} {progress.unit}" if progress else "running"
    held = [need for id in item.cell.needs if (need := collection.items.get(id)) and need.result is None]
    if held:
        return "; ".join(f"needs {need.id}, which {_STATES.get(need.state, 'is ' + need.state)}" for need in held)
    return "not run yet; its command is in its entry"


def cell_entries(collection: Collection) -> tuple[tuple[CellEntry, ...], dict[str, dict[str, str]]]:
    """An entry for each cell, and the environments in which cells ran, by name (`E1`, ...)."""
    environments: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    found = []
    for item in collection.items.values():
        environment = ""
        if item.result:
            versions = {str(k): _text(v) for k, v in item.result.versions.items()}
            key = json.dumps(versions, sort_keys=True)
            if key not in names:
                names[key] = f"E{len(names) + 1}"
                environments[names[key]] = versions
            environment = names[key]
        facts = tuple(_facts(item, collection))
        found.append(CellEntry(item.id, item.cell.name, item.state, facts, item.cell.command, environment))
    return tuple(found), environments


def _facts(item: CellItem, collection: Collection) -> list[tuple[str, str]]:
    """Settings, costs and signature as pairs of name and text."""
    facts = [("needs", ", ".join(item.cell.needs))] if item.cell.needs else []
    facts += [(key, _text(value)) for key, value in flat(_told(item.description)).items()]
    if result := item.result:
        facts += [
            ("seconds", f"{result.seconds:,.1f}"),
            ("peak memory", f"{result.peak_memory_mb:,.0f} MB"),
            *(() if "rival" in item.description else _work(result)),
            ("finished", result.finished_at),
            ("signature", result.signature),
        ]
        facts += [
            (key, _text(result.metrics[key]))
            for key in ("loss", "steps", "examples", "documents", "dev_f1", "parameters", "unseen", "unencodable")
            if key in result.metrics
        ]
    else:
        facts.append(("why there is no result", _reason(item, collection)))
    facts.append(("folder", str(item.run.folder)))
    return facts


def _told(description: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's description without what may be a secret: a report is shown to others."""
    system = description.get("system")
    if not isinstance(system, Mapping) or not isinstance(options := system.get("options"), Mapping):
        return {**description}
    try:
        options = shown_options(str(system.get("engine", "")), options)
    except GennerError:  # an engine that is not installed here
        options = dict.fromkeys(options, "not shown: the engine is not installed here")
    return {**description, "system": {**system, "options": options}}


def _work(result: CellResult) -> tuple[tuple[str, str], ...]:
    """Tokens and passes, which are not counted for rivals."""
    return ("tokens", f"{result.tokens:,}"), ("forward passes", f"{result.passes:,}")


def _text(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
