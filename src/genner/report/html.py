"""The report as one self-contained HTML page: no script, no font, no request. It supports light, dark and print. The
markup is in `assets/report/report.html.j2`, the style sheet in `report.css`."""

from itertools import groupby

from markupsafe import Markup

from genner.document import Document
from genner.render.layout import colour_indices
from genner.render.page import marked, page, text_html
from genner.render.templates import asset
from genner.report.figure_files import FIGURE_CSS, inline
from genner.report.table import Entry, ErrorExamples, Figure, StudyReport, Table, Value
from genner.report.writer import TemplateWriter, beside, column_groups

FOLD_ROWS = 24  # rows: a supporting table with more is folded away


def html(report: StudyReport) -> str:
    """The page."""
    writer = HtmlWriter()
    parts = [writer.macros.section(section, blocks) for section, blocks in writer.sections(report)]
    links = [*((s.anchor, s.title) for s in report.sections), ("provenance", "Cells")]
    main = "".join([*parts, writer.macros.cells(report, writer.lists(), report.cell_names())])
    header = str(writer.macros.header(report, links))
    return page(report.title, header, main, style=asset("report/report.css") + FIGURE_CSS)


class HtmlWriter(TemplateWriter):
    """Blocks as HTML."""

    def __init__(self) -> None:
        super().__init__("report.html.j2", text_html)

    def table(self, table: Table) -> str:
        wide = [any(_has_beside(row.entries[i]) for row in table.rows) for i in range(len(table.columns))]
        fold = table.supporting and len(table.rows) > FOLD_ROWS
        grouped = any(column.group for column in table.columns)
        return Markup(self.macros.table(table, self, column_groups(table), grouped, wide, fold))

    def figure(self, figure: Figure) -> str:
        # The template opens the element, to name it.
        return Markup(self.macros.figure(figure, Markup(inline(figure).removeprefix("<svg "))))

    def examples(self, examples: ErrorExamples) -> str:
        colours = colour_indices((), [d for e in examples.items for d in (e.gold, e.pred)])
        kinds = [(kind, list(found)) for kind, found in groupby(examples.items, key=lambda example: example.kind)]

        def text(document: Document) -> Markup:
            return Markup("".join(marked(document, colours)))

        return Markup(self.macros.examples(examples, kinds, text))


def _has_beside(entry: Entry) -> bool:
    return isinstance(entry, Value) and bool(beside(entry) or entry.mark)
