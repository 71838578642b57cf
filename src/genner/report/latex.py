r"""The tables in LaTeX: one file a table for \input, and `report.tex`, which holds them all with the cells behind.

A table needs `booktabs` alone. Each number is `\cellnumber{CELL}{NUMBER}`, which prints the number; `report.tex` makes
it lead to the cell. Everything is ASCII, so that any LaTeX compiles it: characters that have no command here are
written out by their code point."""

import unicodedata
from itertools import groupby, pairwise

from genner.report.table import (
    Entry,
    Missing,
    Sources,
    StudyReport,
    Table,
    TableRow,
    TableText,
    Value,
    anchor,
    detail,
    shown,
)

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
    '"': r"\char34{}",  # a command of its own to some languages' packages
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
_HEAD = r"""\documentclass[a4paper,10pt]{article}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{textcomp}
\usepackage[landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage[hidelinks]{hyperref}
\newcommand{\cellnumber}[2]{\hyperlink{#1}{#2}}
\newsavebox{\tablebox}
% A table too wide for the page is made narrower.
\newcommand{\fitted}[1]{\sbox{\tablebox}{#1}\ifdim\wd\tablebox>\linewidth\resizebox{\linewidth}{!}{\usebox{\tablebox}}%
\else\usebox{\tablebox}\fi}
\setlength{\parindent}{0pt}
\sloppy
\begin{document}
"""
MAX_PAGE_ROWS = 40  # rows of a table that stand on one page of report.tex


def escaped(text: str) -> str:
    """`text` on one line, as LaTeX that prints it; ASCII alone."""
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
    sources = Sources()
    files = {f"{table.name}.tex": PROVIDE + tabular(table, sources) for table in report.tables()}
    inputs = "".join(_placed(table, sources) for table in report.tables())
    lead = "".join(f"\\item {escaped(line)}\n" for line in report.lead)
    opening = f"\\section*{{{escaped(report.title)}}}\n"
    opening += f"\\begin{{itemize}}\n{lead}\\end{{itemize}}\n" if lead else ""
    files["report.tex"] = f"{_HEAD}{opening}{inputs}{_cells(report, sources)}\\end{{document}}\n"
    return files


def _placed(table: Table, sources: Sources) -> str:
    """A table in `report.tex`: from its own file where it fits on a page, else cut into parts."""
    heading = f"\\subsection*{{{escaped(table.title)}}}\n"
    caption = f"{{\\small {escaped(table.caption)}}}\n\n" if table.caption else ""
    notes = "".join(f"\n{{\\footnotesize {escaped(note)}}}\n" for note in table.legend())
    if len(table.rows) <= MAX_PAGE_ROWS:
        parts = [f"\\fitted{{\\small\\input{{{table.name}.tex}}}}\n"]
    else:
        parts = [
            f"\\fitted{{\\small {tabular(table, sources, table.rows[at : at + MAX_PAGE_ROWS])}}}\n"
            for at in range(0, len(table.rows), MAX_PAGE_ROWS)
        ]
    return heading + caption + "\n\\bigskip\n".join(parts) + notes


def tabular(table: Table, sources: Sources, rows: tuple[TableRow, ...] | None = None) -> str:
    """The table, or some rows of it. A column of numbers is two: the number, and what stands beside it."""
    layout = "l" * len(table.heads) + "".join("l" if c.text else "r@{\\,}l" for c in table.columns)
    lines = [f"\\begin{{tabular}}{{{layout}}}", "\\toprule"]
    grouped = any(column.group for column in table.columns)
    if grouped:
        upper, rules, at = [""] * len(table.heads), [], len(table.heads) + 1
        for group, columns in groupby(table.columns, key=lambda column: column.group):
            width = sum(1 if c.text else 2 for c in columns)
            upper.append(f"\\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}")
            rules += [f"\\cmidrule(lr){{{at}-{at + width - 1}}}"] if group else []
            at += width
        lines += [" & ".join(upper) + " \\\\", *rules]
    titles = [escaped(head) for head in table.heads]
    titles += [
        escaped(column.title) if column.text else f"\\multicolumn{{2}}{{c}}{{{escaped(column.title)}}}"
        for column in table.columns
    ]
    lines += [" & ".join(titles) + " \\\\", "\\midrule"]
    width = len(table.heads) + sum(1 if c.text else 2 for c in table.columns)
    before = None
    for n, row in enumerate(table.rows if rows is None else rows):
        if row.block and row.block != before:
            space = ["\\addlinespace"] if n else []
            lines += [*space, f"\\multicolumn{{{width}}}{{l}}{{\\textbf{{{escaped(row.block)}}}}} \\\\"]
        before = row.block
        heads = [f"\\textit{{{escaped(head)}}}" if row.total else escaped(head) for head in row.heads]
        entries = [_entry(e, c.text, sources) for e, c in zip(row.entries, table.columns, strict=True)]
        # A bracket or star at the start of a row would be taken for an argument of the break before it.
        lines.append("{}" + " & ".join([*heads, *entries]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _entry(entry: Entry, text: bool, sources: Sources) -> str:
    target = sources.target(entry.cells)

    def linked(inner: str) -> str:
        return f"\\cellnumber{{{target}}}{{{inner}}}" if target else inner

    match entry:
        case TableText(words, as_code):
            return linked(f"\\texttt{{{escaped(words)}}}" if as_code else escaped(words)) + ("" if text else " &")
        case Missing():
            return linked(escaped(shown(entry))) + ("" if text else " &")
        case Value():
            number = escaped(shown(entry))
            about = "; ".join(part for part in (detail(entry), entry.part) if part)
            mark = f"$^{{{entry.mark.replace('*', chr(92) + 'ast ')}}}$" if entry.mark else ""
            beside = f"{mark}{{\\scriptsize {escaped(about)}}}" if about else mark
            number = linked(f"\\textbf{{{number}}}" if entry.best else number)
            return number + beside if text else f"{number} & {beside}"


def _cells(report: StudyReport, sources: Sources) -> str:
    """Where the links lead: each cell with its command."""
    parts = ["\\clearpage\n\\section*{Cells}\n\\footnotesize\n"]
    for cell in report.cells:
        facts = "; ".join(f"{escaped(name)}: {escaped(value)}" for name, value in (("state", cell.state), *cell.facts))
        environment = f"; ran in {escaped(cell.environment)}" if cell.environment else ""
        parts.append(
            f"\\hypertarget{{{anchor(cell.id)}}}{{\\textbf{{{escaped(cell.name or cell.id)}}}}} "
            f"\\texttt{{{escaped(cell.id)}}}. "
            f"{facts}{environment}.\n\n\\texttt{{{escaped(cell.command)}}}\n\n\\medskip\n"
        )
    for ids, name in sources.lists.items():
        links = ", ".join(f"\\hyperlink{{{anchor(id)}}}{{{escaped(id)}}}" for id in ids)
        parts.append(f"\\hypertarget{{{name}}}{{{len(ids)} cells}}: {links}.\n\n")
    for name, versions in report.environments.items():
        facts = "; ".join(f"{escaped(key)} {escaped(value)}" for key, value in versions.items())
        parts.append(f"\\textbf{{Environment {escaped(name)}}}: {facts}.\n\n")
    return "".join(parts)
