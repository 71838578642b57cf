"""Every table and the data of every figure as CSV: one unrounded number per line, with its interval and cells.

Floats are written so that they read back exactly. A missing number also gets a line, with its reason.
Text is quoted, and text that a spreadsheet would take for a formula (`=cmd|' /C calc'!A0`) is prefixed with an
apostrophe, which marks it as text there.
"""

import csv
import io
from collections.abc import Iterable, Sequence

from genner.render.layout import visible
from genner.report.table import Figure, Missing, StudyReport, Table, TableText, Value
from genner.report.writer import ReportWriter

NUMBERS = ("value", "kind", "low", "high", "spread", "p", "mark", "best", "against", "against_low", "against_high")
CSV_FIELDS = ("group", "column", *NUMBERS, "state", "note", "cells")
"""The columns after the row heads; `against` is the difference to the best, which `p` and `mark` test."""


def csv_files(report: StudyReport) -> dict[str, str]:
    """The files by name: `NAME.csv` for each table, `figure-NAME.csv` for each figure."""
    writer = CsvWriter()
    writer.sections(report)
    return writer.tables | writer.figures


class CsvWriter(ReportWriter):
    """Writes the numbers of tables and figures, by file; other blocks are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, str] = {}
        self.figures: dict[str, str] = {}

    def table(self, table: Table) -> str:
        self.tables[f"{table.name}.csv"] = table_csv(table)
        return ""

    def figure(self, figure: Figure) -> str:
        self.figures[f"figure-{figure.name}.csv"] = figure_csv(figure)
        return ""


def table_csv(table: Table) -> str:
    """A line for each cell of the table: row heads, column heading, number. `state` is `text`, `number`, or why the
    number is missing."""
    lines: list[Sequence[object]] = []
    for row in table.rows:
        for column, entry in zip(table.columns, row.entries, strict=True):
            place = (row.block, *row.heads, column.group, column.title)
            cells = " ".join(entry.cells)
            match entry:
                case Value(number, kind, low, high, spread, p, mark, best):
                    d = entry.against
                    against = (d.value, *((d.low, d.high) if d.known else (None, None))) if d else (None,) * 3
                    numbers = (number, kind, low, high, spread, p, mark, int(best), *against)
                    lines.append((*place, *numbers, "number", entry.part, cells))
                case Missing(why, _, note):
                    lines.append((*place, *(None,) * len(NUMBERS), why, note, cells))
                case TableText(text):
                    lines.append((*place, text, *(None,) * (len(NUMBERS) - 1), "text", None, cells))
    return _csv(("block", *table.heads, *CSV_FIELDS), lines)


def figure_csv(figure: Figure) -> str:
    """The data of a figure."""
    return _csv(figure.columns, figure.rows)


def _csv(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    # Quote all text: where semicolons separate fields, `a;=1+1` would be two fields, the second a formula.
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([_plain(x) for x in head])
    writer.writerows([[_plain(x) for x in line] for line in lines])
    return out.getvalue()


FORMULA = ("=", "+", "-", "@", "\t", "\n", "\u2212", "＝", "＋", "－", "＠")
"""First characters that make some spreadsheet read a formula. A carriage return is already a control picture here."""


def _plain(value: object) -> object:
    """Control characters and lone surrogates become pictures, so that the file is valid text. Floats are written in
    full."""
    if isinstance(value, float):
        return float(value)  # a numpy float would be written with its type
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
