"""The parts of a report, independent of HTML, Markdown, LaTeX or CSV: tables, figures, examples, paragraphs.

A number keeps the cells that it comes from, so that each writer can link to them, and is rounded only when written. A
missing number is a `Missing` that gives the reason; there are no empty table cells.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from genner.document import Document
from genner.evaluation.jackknife import Difference, Interval

ValueKind = Literal["f1", "percent", "points", "gap", "count", "seconds", "minutes", "number"]
"""How a number is written: F1 in percent with two decimals, percent with one, a difference in percentage points with
its sign, a gap of points that has none unless it is negative, a whole number, seconds, minutes, anything else to
three digits."""

Why = Literal["absent", "failed", "skipped", "running", "waiting", "undefined"]

REASONS: dict[Why, str] = {
    "absent": "not in these runs",
    "failed": "the cell failed",
    "skipped": "the cell was skipped",
    "running": "the cell is running",
    "waiting": "the cell has not been run yet",
    "undefined": "not defined here",
}

MISSING_MARKS: dict[Why, str] = {"absent": "–", "undefined": "n/a"}
"""Short forms shown in the table; other reasons are written out."""

NO_INTERVAL = (None, None)
"""The bounds of an unknown interval."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number of a table.

    `number`, `low` and `high` (the interval at 95 %) and `spread` are in one unit: shares in [0, 1] for `f1`,
    `percent`, `points` and `gap`. `spread` is a standard deviation over seeds, or, beside no interval, a standard
    error. `p` is the p-value of the test described in the table's notes, `mark` its mark beside the number, and
    `against` the tested difference, unless that is the number itself. `cells` are the ids of the cells that the number
    comes from, and `part` gives their number (`2 of 3 seeds`) unless there is only one."""

    number: float
    kind: ValueKind = "f1"
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    p: float | None = None
    mark: str = ""
    best: bool = False
    cells: tuple[str, ...] = ()
    part: str = ""
    against: Difference | None = None

    @classmethod
    def of(
        cls,
        number: float,
        kind: ValueKind,
        interval: Interval | tuple[None, None] | None = None,
        *,
        spread: float | None = None,
        cells: tuple[str, ...] = (),
        part: str = "",
    ) -> "Value":
        """A number with its interval, if that is known."""
        low, high = interval or NO_INTERVAL
        return cls(number, kind, low, high, spread, cells=cells, part=part)

    @property
    def interval(self) -> Interval | None:
        """The interval at 95 %; None if it is unknown."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Missing:
    """A missing number and the reason; `note` gives details."""

    why: Why
    cells: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class TableText:
    """Text in a table; `code` marks input and output of programs."""

    text: str
    code: bool = False
    cells: tuple[str, ...] = ()


Entry = Value | Missing | TableText


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values; adjacent columns of one `group` share a heading above their own. `text` columns are
    left-aligned."""

    title: str
    group: str = ""
    text: bool = False


@dataclass(frozen=True, slots=True)
class TableRow:
    """`heads` name the row; `block` is a heading above the first of the rows that share it."""

    heads: tuple[str, ...]
    entries: tuple[Entry, ...]
    block: str = ""
    total: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `name` is the name of its file and anchor: lower case, digits and hyphens. `supporting` tables may be
    folded on a page when they are long."""

    name: str
    title: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    caption: str = ""
    notes: tuple[str, ...] = ()
    supporting: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row.heads) == len(self.heads), (self.name, row.heads)
            assert len(row.entries) == len(self.columns), (self.name, row.heads)

    def legend(self) -> tuple[str, ...]:
        """The notes, and the meaning of each kind of missing number in the table."""
        found = [e for row in self.rows for e in row.entries if isinstance(e, Missing) and e.why in MISSING_MARKS]
        about: dict[Why, dict[str, None]] = {}
        for e in found:
            about.setdefault(e.why, {}).update({e.note: None} if e.note else {})
        reasons = [
            f"{MISSING_MARKS[why]}: {REASONS[why]}" + (f" ({'; or '.join(about[why])})" if about[why] else "")
            for why in MISSING_MARKS
            if why in about
        ]
        return (*self.notes, *([f"{'; '.join(reasons)}."] if reasons else []))


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing and its data, `columns` and `rows`: `draw(figure)` fills a matplotlib figure.

    `size` is its width and height in inches. `alt` is the alternative text.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    draw: Callable[[Any], None] = field(compare=False, repr=False)
    size: tuple[float, float] = (7.0, 3.5)
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """An error with the model's original answer. `gold` and `pred` are the same text with the entities of each side;
    `raw` are the answers, one per chunk of the text."""

    kind: str
    about: str
    cell: str
    gold: Document
    pred: Document
    raw: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorExamples:
    """Errors beside the gold entities."""

    title: str
    caption: str
    items: tuple[ErrorExample, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of sentences."""

    items: tuple[str, ...]


Block = str | Listing | Table | Figure | ErrorExamples
"""A paragraph of plain text, or one of the other blocks."""


def is_empty(block: Block) -> bool:
    """Whether a block has nothing to show."""
    match block:
        case Table() | Figure():
            return not block.rows
        case Listing() | ErrorExamples():
            return not block.items
    return False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report; `anchor` is a name as in `Table`."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class CellEntry:
    """The entry of one cell: the target of links from numbers."""

    id: str
    name: str
    state: str
    facts: tuple[tuple[str, str], ...]
    command: str
    environment: str = ""

    def all_facts(self) -> tuple[tuple[str, str], ...]:
        """The id and the state, then `facts`."""
        return (("id", self.id), ("state", self.state), *self.facts)


@dataclass(frozen=True, slots=True)
class StudyReport:
    """The whole report. `environments` are the software versions under which cells ran, by the names used in cells."""

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    cells: tuple[CellEntry, ...]
    environments: Mapping[str, Mapping[str, str]]

    def cell_names(self) -> dict[str, str]:
        """The names of the cells by id."""
        return {cell.id: cell.name for cell in self.cells}

    def tables(self) -> list[Table]:
        return [block for block in self._blocks() if isinstance(block, Table)]

    def figures(self) -> list[Figure]:
        return [block for block in self._blocks() if isinstance(block, Figure)]

    def _blocks(self) -> Iterable[Block]:
        return (block for section in self.sections for block in section.blocks)


def anchor(cell: str) -> str:
    """The anchor of a cell's entry: `cell-` and its id, or a hash of an id that is not a valid anchor."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", cell)
    return f"cell-{cell if plain else 'x' + hashlib.sha256(cell.encode('utf-8', 'replace')).hexdigest()[:12]}"
