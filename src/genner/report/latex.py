r"""The tables in LaTeX: one file per table for \input, and `report.tex`, which holds all tables and then the cells.

A table needs only `booktabs`. Each number is `\cellnumber{CELL}{NUMBER}`, which prints the number; `report.tex` links
it to the cell. Everything is ASCII, so that any LaTeX compiles it: characters without a command here are written as
their code points. The templates are in `assets/report/report.tex.j2`."""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from genner.report.table import StudyReport, Table, TableRow
from genner.report.writer import TemplateWriter, column_groups

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # an active character in some language packages
    "\u2212": "$-$",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "ß": r"\ss{}",
    "\u00a0": "~",
}
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030a": "r", "\u0327": "c"}

_LIGATURES = {"--", ",,", "''", "``", "!`", "?`"}  # these become other characters

PROVIDE = "\\providecommand{\\cellnumber}[2]{#2}% {cell}{number}: where a number comes from\n"
MAX_PAGE_ROWS = 40  # rows of a table that fit on one page of report.tex


def escaped(text: str) -> str:
    """`text` as one line of LaTeX source that prints it; ASCII only."""
    line = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(
        _character(char) + ("{}" if char + after in _LIGATURES else "") for char, after in pairwise(line + " ")
    )


def _character(char: str) -> str:
    if char in _COMMANDS:
        return _COMMANDS[char]
    if " " <= char <= "~":
        return char
    parts = unicodedata.normalize("NFD", char)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        letter = {"i": r"\i", "j": r"\j"}.get(parts[0], parts[0])
        return f"\\{_ACCENTS[parts[1]]}{{{letter}}}"
    return f"\\texttt{{U+{ord(char):04X}}}"


def latex(report: StudyReport) -> dict[str, str]:
    """The files by name: `NAME.tex` for each table, and `report.tex`."""
    writer = LatexWriter()
    tables = [block for _, blocks in writer.sections(report) for block in blocks if block]
    return {**writer.files, "report.tex": str(writer.macros.document(report, tables, writer.lists()))}


class LatexWriter(TemplateWriter):
    """Tables as LaTeX; `files` collects them. The template has no macro for other blocks."""

    def __init__(self) -> None:
        super().__init__("report.tex.j2", escaped, brackets=("<", ">"))
        self.files: dict[str, str] = {}

    def table(self, table: Table) -> str:
        """The table in `report.tex`: read from its own file if it fits on a page, else split into parts."""
        self.files[f"{table.name}.tex"] = PROVIDE + self.tabular(table, table.rows)
        if len(table.rows) <= MAX_PAGE_ROWS:
            parts = [Markup(f"\\input{{{table.name}.tex}}")]
        else:
            starts = range(0, len(table.rows), MAX_PAGE_ROWS)
            parts = [Markup(" ") + self.tabular(table, table.rows[at : at + MAX_PAGE_ROWS]) for at in starts]
        return Markup(self.macros.placed(table, parts))

    def tabular(self, table: Table, rows: Sequence[TableRow]) -> Markup:
        """Some rows of a table. A column of numbers takes two LaTeX columns: the number, and the text beside it."""
        wide = [not column.text for column in table.columns]
        grouped = any(column.group for column in table.columns)
        return Markup(self.macros.tabular(table, rows, self, column_groups(table), grouped, wide))
