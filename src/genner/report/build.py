"""The outline of the report: its tables and figures, in order, by question."""

from collections.abc import Callable, Sequence
from pathlib import Path

from genner.evaluation.intervals import FEW
from genner.render.templates import asset
from genner.report.abilities import ability_section
from genner.report.breakdowns import breakdowns_section
from genner.report.contamination import contamination_section
from genner.report.cost import cost_section
from genner.report.errors import errors_section
from genner.report.estimates import Estimates
from genner.report.findings import lead
from genner.report.formats import formats_section
from genner.report.main_tables import main_section
from genner.report.outcomes import read_outcomes
from genner.report.paper import PAPER_CITATION
from genner.report.probes import probes_section
from genner.report.results import Collection
from genner.report.runs import cell_entries, runs_section
from genner.report.sample_sizes import with_sample_sizes
from genner.report.source import Source
from genner.report.table import Listing, Section, StudyReport
from genner.report.terms import MEANINGS

SECTIONS: tuple[Callable[[Source], Section], ...] = (
    runs_section,
    main_section,
    formats_section,
    breakdowns_section,
    probes_section,
    contamination_section,
    ability_section,
    errors_section,
    cost_section,
)
"""The questions in display order, one module each."""


def build(folders: Sequence[Path], *, title: str = "", each: int = 2) -> StudyReport:
    """Read runs folders and build their report; `each` is the number of examples shown of each error.

    Raises `DataError` when a folder holds no cells or one of them is damaged, `UsageError` for numbers out of range.
    """
    return assemble(Collection.open(folders), folders, title=title, each=each)


def assemble(
    collection: Collection,
    folders: Sequence[Path],
    *,
    title: str = "",
    each: int = 2,
) -> StudyReport:
    """The report of a collection."""
    outcomes, problems = read_outcomes(collection, max(each, 1))
    trained = {id: str(t) for id, item in collection.items.items() if (t := item.description.get("trained"))}
    source = Source(collection, Estimates(outcomes, trained), tuple(problems), each)
    cells, environments = cell_entries(collection)
    sections = [with_sample_sizes(source, make(source)) for make in SECTIONS] + [_method_section()]
    names = ", ".join(folder.resolve().name for folder in folders)
    return StudyReport(title or f"Assessment: {names}", lead(source), tuple(sections), cells, environments)


def _method_section() -> Section:
    text = asset("report/method.txt").format(readings="; ".join(MEANINGS.values()), few=FEW, paper=PAPER_CITATION)
    items = tuple(" ".join(item.split()) for item in text.split("\n\n"))
    return Section("method", "How the numbers are made", (Listing(items),))
