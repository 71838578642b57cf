"""A report to files."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from genner.errors import DataError
from genner.extras import require
from genner.report.csv_tables import csv_files
from genner.report.figure_files import png_file, svg_file
from genner.report.html import html
from genner.report.latex import latex as latex_files
from genner.report.markdown import markdown as markdown_files
from genner.report.table import Figure, StudyReport
from genner.writing import write_atomic


def write(
    report: StudyReport,
    *,
    out: Path | None = None,
    markdown: Path | None = None,
    latex: Path | None = None,
    figures: Path | None = None,
    csv: Path | None = None,
) -> list[Path]:
    """Write the page and the requested folders; returns the paths written, a folder standing for its contents.

    The Markdown folder gets its own pictures, in `figures/`. Files of an earlier report are replaced; other files are
    kept. Raises `DataError` if something cannot be written, and `MissingPartError` if figures cannot be drawn.
    """
    if (out or markdown or figures) and report.figures():
        require("matplotlib", more="--latex and --csv need none")

    def pictures(kind: str, draw: Callable[[Figure], str | bytes]) -> dict[str, str | bytes]:
        return {f"{figure.name}.{kind}": draw(figure) for figure in report.figures()}

    pngs = cache(lambda: pictures("png", png_file))  # two folders may want them
    if out:
        _folder(out.parent)
        write_atomic(out, html(report))
    if markdown:
        _write_all(markdown, markdown_files(report))
        _write_all(markdown / "figures", pngs())
    if latex:
        _write_all(latex, latex_files(report))
    if figures:
        _write_all(figures, pictures("svg", svg_file) | pngs())
    if csv:
        _write_all(csv, csv_files(report))
    return [path for path in (out, markdown, latex, figures, csv) if path]


def _write_all(folder: Path, contents: Mapping[str, str] | Mapping[str, str | bytes]) -> None:
    _folder(folder)
    for name, content in contents.items():
        write_atomic(folder / name, content)


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(str(path), f"cannot be made: {error.strerror}; give the path of a folder") from None
