"""The parts of a report, independent of HTML, Markdown, LaTeX or CSV: tables, figures, examples, paragraphs.

A number keeps the cells that it comes from, so that each writer can link to them, and is rounded only when written. A
missing number is a `Missing` that gives the reason; there are no empty table cells.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from genner.document import Document
from genner.evaluation.intervals import Difference

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


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report; `anchor` is a name as in `Table`."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Entrance:
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
    cells: tuple[Entrance, ...]
    environments: Mapping[str, Mapping[str, str]]

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


class Sources:
    """Link targets of numbers: the cell, or a list of cells if there are several."""

    def __init__(self) -> None:
        self.lists: dict[tuple[str, ...], str] = {}

    def target(self, cells: tuple[str, ...]) -> str:
        """The name of the entry; empty without cells."""
        if len(cells) < 2:
            return anchor(cells[0]) if cells else ""
        return self.lists.setdefault(cells, f"from-{len(self.lists) + 1}")


def shown(entry: Entry) -> str:
    """An entry as plain text, rounded, without interval and mark; the minus sign is U+2212."""
    match entry:
        case TableText(text):
            return text
        case Missing(why):
            return MISSING_MARKS.get(why, why)
        case Value(number, kind):
            return _written(number, kind)


def detail(value: Value) -> str:
    """The interval and the standard deviation over seeds, `69.2 to 74.7; sd 0.3`; or the standard error, `± 0.3`."""
    spread = _bound(abs(value.spread), value.kind).lstrip("+") if value.spread is not None else ""
    if value.low is not None and value.high is not None:
        interval = f"{_bound(value.low, value.kind)} to {_bound(value.high, value.kind)}"
        return f"{interval}; sd {spread}" if spread else interval
    return f"{'sd' if 'seeds' in value.part else '±'} {spread}" if spread else ""


def versus(value: Value) -> str:
    """The test behind a mark, in words: the tested difference, its interval, and p; empty without a test."""
    p = f"p = {value.p:.4f}" if value.p is not None else ""
    if value.against is None:
        return p
    d = value.against
    points = Value(d.value, "points", d.low if d.known else None, d.high if d.known else None)
    interval = f" ({detail(points)})" if d.known else ""
    return f"{shown(points)} points against the best{interval}, {p}"


def _written(number: float, kind: ValueKind) -> str:
    match kind:
        case "f1" | "gap":
            text = _signed(f"{100 * number:.2f}")
        case "percent":
            text = _signed(f"{100 * number:.1f}")
        case "points":
            text = _signed(f"{100 * number:+.2f}")
        case "count":
            text = f"{number:,.0f}"
        case "seconds":
            text = f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.3f}"
        case "minutes":
            text = f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
        case "number":
            text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    return text.replace("-", "\u2212")


def _bound(number: float, kind: ValueKind) -> str:
    match kind:
        case "f1" | "percent" | "gap":
            text = _signed(f"{100 * number:.1f}")
        case "points":
            text = _signed(f"{100 * number:+.1f}")
        case _:
            return _written(number, kind)
    return text.replace("-", "\u2212")


def _signed(text: str) -> str:
    """The number without the sign of a rounded zero."""
    return text.lstrip("+-") if not text.strip("+-0.") else text


def best_of(values: Sequence[float | None]) -> set[int]:
    """The indices of the highest number, all if several share it; empty for an empty list.

    Numbers are equal if they are equal as printed, so that equal printed figures are treated alike.
    """
    rounded = [None if v is None else round(100 * v, 2) for v in values]
    top = max((v for v in rounded if v is not None), default=None)
    return {i for i, v in enumerate(rounded) if v is not None and v == top}
