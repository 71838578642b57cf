"""The traversal of a report that all targets share: sections, their blocks, and the entries of their tables.

`ReportWriter` calls a method for each kind of block. `TemplateWriter` implements them as macros of a Jinja template;
the HTML, Markdown and LaTeX writers derive from it. A target without a form for a kind of block omits it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from markupsafe import Markup

from genner.render.templates import environment
from genner.report.number_text import difference_text, interval_text, shown
from genner.report.table import (
    Block,
    Entry,
    ErrorExamples,
    Figure,
    Listing,
    Missing,
    Section,
    StudyReport,
    Table,
    TableText,
    Value,
    anchor,
)


class LinkTargets:
    """Link targets of numbers: the cell, or a list of cells if there are several."""

    def __init__(self) -> None:
        self.lists: dict[tuple[str, ...], str] = {}

    def target(self, cells: tuple[str, ...]) -> str:
        """The name of the entry; empty without cells."""
        if len(cells) < 2:
            return anchor(cells[0]) if cells else ""
        return self.lists.setdefault(cells, f"from-{len(self.lists) + 1}")


class ReportWriter:
    """Turns a report into one target. The methods for blocks return the text that the target prints."""

    def __init__(self) -> None:
        self.link_targets = LinkTargets()

    def sections(self, report: StudyReport) -> list[tuple[Section, list[str]]]:
        """Each section with its blocks as the target prints them, in order."""
        return [(section, [self.block(block) for block in section.blocks]) for section in report.sections]

    def block(self, block: Block) -> str:
        """The block as the target prints it."""
        match block:
            case str():
                return self.paragraph(block)
            case Listing():
                return self.listing(block)
            case Table():
                return self.table(block)
            case Figure():
                return self.figure(block)
            case ErrorExamples():
                return self.examples(block)

    def paragraph(self, text: str) -> str:
        return ""

    def listing(self, listing: Listing) -> str:
        return ""

    def table(self, table: Table) -> str:
        return ""

    def figure(self, figure: Figure) -> str:
        return ""

    def examples(self, examples: ErrorExamples) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class PrintedEntry:
    """An entry as a template prints it. `target` is the anchor that it links to, `beside` the text beside the number,
    `hover` the text shown on hover; each is empty if there is none."""

    kind: Literal["text", "missing", "value"]
    text: str
    target: str
    code: bool = False
    best: bool = False
    loud: bool = False
    mark: str = ""
    beside: str = ""
    hover: str = ""


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """Adjacent columns under one heading (empty: none); `places` are their indices."""

    title: str
    places: tuple[int, ...]

    def width(self, wide: Sequence[bool]) -> int:
        """The number of columns on the page; a wide column takes two."""
        return sum(1 + wide[i] for i in self.places)


class TemplateWriter(ReportWriter):
    """A writer whose blocks are macros of `template`, a file in `assets/report/`.

    Values are escaped by `escape`; `filters` are additional template filters, `brackets` the brackets of its tags.
    """

    def __init__(
        self,
        template: str,
        escape: Callable[[str], str],
        filters: Mapping[str, Callable[[str], str]] | None = None,
        brackets: tuple[str, str] = ("{", "}"),
    ) -> None:
        super().__init__()
        made = environment(escape, brackets)
        made.filters.update({"anchor": anchor, **(filters or {})})
        self.macros: Any = made.get_template(f"report/{template}").module

    def paragraph(self, text: str) -> str:
        return self._written("paragraph", text)

    def listing(self, listing: Listing) -> str:
        return self._written("listing", listing.items)

    def _written(self, macro: str, *values: Any) -> Markup:
        """What a macro prints; nothing if the template does not have it."""
        found = getattr(self.macros, macro, None)
        return Markup(found(*values) if found else "")

    def lists(self) -> list[tuple[str, tuple[str, ...]]]:
        """The lists of cells that numbers link to, by name; complete once all tables are written."""
        return [(name, ids) for ids, name in self.link_targets.lists.items()]

    def place(self, entry: Entry) -> PrintedEntry:
        """An entry in printable form."""
        target = self.link_targets.target(entry.cells)
        match entry:
            case TableText(text, code):
                return PrintedEntry("text", text, target, code=code)
            case Missing(why, _, note):
                return PrintedEntry("missing", shown(entry), target, loud=why in ("failed", "skipped"), hover=note)
            case Value():
                return PrintedEntry(
                    "value",
                    shown(entry),
                    target,
                    best=entry.best,
                    mark=entry.mark,
                    beside=beside(entry),
                    hover=difference_text(entry),
                )


def beside(value: Value) -> str:
    """The text beside a number: its interval or error, and the number of its cells."""
    return "; ".join(part for part in (interval_text(value), value.part) if part)


def column_groups(table: Table) -> list[ColumnGroup]:
    """The columns, adjacent ones of one heading grouped together."""
    columns = list(enumerate(table.columns))
    return [
        ColumnGroup(title, tuple(i for i, _ in found)) for title, found in groupby(columns, key=lambda c: c[1].group)
    ]
