"""The report as GitHub-flavoured Markdown: tables, figures as pictures, and a page with the cells.

`report.md` holds everything but the cells, which are in `cells.md`; numbers link there. Texts are escaped so that they
appear literally: no part of a model's output becomes a heading, a link or HTML. The templates are in
`assets/report/report.md.j2`.
"""

from markupsafe import Markup

from genner.render.markdown import code, escaped, fenced
from genner.report.table import ErrorExamples, Figure, StudyReport, Table
from genner.report.writer import TemplateWriter


def markdown(report: StudyReport, figures: str = "figures") -> dict[str, str]:
    """The files by name: `report.md`, `cells.md`, and `NAME.md` for each single table. Pictures are linked as
    `FIGURES/NAME.png`."""
    writer = MarkdownWriter(figures)
    body = str(writer.macros.document(report, writer.sections(report)))
    cells = str(writer.macros.cells(report, writer.lists(), report.cell_names()))
    return {"report.md": body, **writer.files, "cells.md": cells}


class MarkdownWriter(TemplateWriter):
    """Blocks as Markdown; `files` collects the tables."""

    def __init__(self, figures: str) -> None:
        filters = {"code": lambda text: Markup(code(text)), "fenced": lambda text: Markup(fenced(text))}
        super().__init__("report.md.j2", escaped, filters)
        self.figures, self.files = figures, dict[str, str]()

    def table(self, table: Table) -> str:
        written = Markup(self.macros.table(table, self))
        self.files[f"{table.name}.md"] = str(written)
        return written

    def figure(self, figure: Figure) -> str:
        return Markup(self.macros.figure(figure, self.figures))

    def examples(self, examples: ErrorExamples) -> str:
        return Markup(self.macros.examples(examples))
