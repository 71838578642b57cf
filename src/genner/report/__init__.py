"""An assessment's results, put together: tables and figures whose every number leads to the cell that it comes from.

`build` reads runs folders into a `StudyReport`, `write` writes it as HTML, Markdown, LaTeX, pictures and CSV. To add a
table or figure: a function that makes it, and a line in the section of its question; all writers know it then."""

from genner.report.build import assemble, build
from genner.report.table import StudyReport
from genner.report.write import write

__all__ = ["StudyReport", "assemble", "build", "write"]
