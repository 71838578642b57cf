"""The cells of runs folders as a report reads them: each with its state, and its result or why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genner.assess.folders import CellFolder
from genner.assess.records import RECORDS_SCHEMA, Cell, CellResult, CellState, Numbers
from genner.assess.scoring import scores, strict_anew
from genner.errors import GennerError
from genner.report.table import Missing, Why

CELL_GAPS: tuple[Why, ...] = ("failed", "skipped", "running", "waiting")
"""The states of a cell without a result, the most severe first."""


@dataclass(frozen=True, slots=True)
class CellItem:
    """A cell, its state, and its result or the reason why there is none. `strict` has the strict counts of each answer
    if they were recounted because the record is of an earlier version."""

    run: CellFolder
    state: CellState
    result: CellResult | None
    reason: str = ""
    strict: tuple[Numbers, ...] | None = None

    @property
    def cell(self) -> Cell:
        return self.run.cell

    @property
    def id(self) -> str:
        return self.run.cell.id

    @property
    def description(self) -> dict[str, Any]:
        return self.run.cell.description

    def metric(self, *path: str) -> float | None:
        """A number in the result's metrics; None if it is missing."""
        found: Any = self.result.metrics if self.result else None
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    def metrics(self, key: str) -> Mapping[str, Any]:
        """A table in the result's metrics; empty if it is missing."""
        found = self.result.metrics.get(key) if self.result else None
        return found if isinstance(found, Mapping) else {}


def absence(items: Sequence[CellItem]) -> Missing:
    """Why there is no number: the most severe state among its cells."""
    for why in CELL_GAPS:
        found = [item for item in items if item.state == why]
        if found:
            return Missing(why, tuple(item.id for item in found), found[0].reason)
    return Missing("absent")


def read_item(run: CellFolder) -> CellItem:
    """The cell of a folder. A damaged result counts as a failure."""
    try:
        state, result = run.state, run.result
        if state == "done":
            return _up_to_date(CellItem(run, state, result))
        reason = ""
        if state == "failed" and (failure := run.failure):
            reason = f"{failure.error}: {failure.message}"
        elif state == "skipped":
            reason = run.skipped or ""
        return CellItem(run, state, None, reason)
    except GennerError as error:
        return CellItem(run, "failed", None, str(error))


def _up_to_date(item: CellItem) -> CellItem:
    """The item with the strict score of its answers, which records of free answers by an earlier version lack."""
    result = item.result
    if result is None or result.schema >= RECORDS_SCHEMA or result.kind not in ("score", "probe"):
        return item
    try:
        anew = strict_anew(item.run)
    except GennerError:  # the answers are damaged; the report says so where it reads them
        return item
    if not anew or result.metrics.get("strict"):
        return replace(item, strict=tuple(anew) if anew else None)
    return replace(item, result=replace(result, metrics=result.metrics | {"strict": scores(anew)}), strict=tuple(anew))
