"""The results of an assessment as tables and figures. Every number links to the cell that it comes from.

`build` reads runs folders into a `StudyReport`, `write` writes it as HTML, Markdown, LaTeX, pictures and CSV. To add a
table or figure: write a function that makes it and a line in the section of its question; all writers then show it."""

from genner.report.build import assemble, build
from genner.report.table import StudyReport
from genner.report.write import write

__all__ = ["StudyReport", "assemble", "build", "write"]
