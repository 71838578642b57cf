"""The report's outline: which tables and figures, in which order, under which question."""

from collections.abc import Callable, Sequence
from pathlib import Path

from genner.evaluation.intervals import FEW
from genner.report.abilities import ability_section
from genner.report.basis import with_basis
from genner.report.breakdowns import breakdowns_section
from genner.report.contamination import contamination_section
from genner.report.cost import cost_section
from genner.report.errors import errors_section
from genner.report.estimates import Estimates
from genner.report.formats import formats_section
from genner.report.lead import lead
from genner.report.main_tables import main_section
from genner.report.measures import Source
from genner.report.outcomes import MEANINGS, read_outcomes
from genner.report.paper import PAPER_CITATION
from genner.report.probes import probes_section
from genner.report.results import Collection
from genner.report.runs import entrances, runs_section
from genner.report.table import Listing, Section, StudyReport

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
"""The questions in the order shown, each a module."""


def build(folders: Sequence[Path], *, title: str = "", each: int = 2) -> StudyReport:
    """Read runs folders and make the report of them; `each` is how many examples of an error are shown.

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
    """The report of what was read."""
    outcomes, problems = read_outcomes(collection, max(each, 1))
    trained = {id: str(t) for id, item in collection.items.items() if (t := item.description.get("trained"))}
    source = Source(collection, Estimates(outcomes, trained), tuple(problems), each)
    cells, environments = entrances(collection)
    sections = [with_basis(source, section) for section in (*(make(source) for make in SECTIONS), _method_section())]
    names = ", ".join(folder.resolve().name for folder in folders)
    return StudyReport(title or f"Assessment: {names}", lead(source), tuple(sections), cells, environments)


def _method_section() -> Section:
    return Section(
        "method",
        "How the numbers are made",
        (
            Listing(
                (
                    "An entity is right if its start, its end and its label are those of a gold entity; counts are "
                    "summed over documents, and micro-F1 is a property of the sum.",
                    "The paper's rule: the counts that the paper's published scripts give, one rule a format, with "
                    "their known faults; grouped JSON is matched by text there, not by position.",
                    "A free answer is read in three ways: " + "; ".join(MEANINGS.values()) + ". Where nothing "
                    "else is said, scores are strict. What lies between the last two is mended by a reader, without a "
                    "grammar. What is told of single entities of free answers (labels, lengths, kinds of errors, "
                    "probes' measures) is of those found: repaired.",
                    "Intervals: at 95 %, by the jackknife over what was sampled: groups (articles, abstracts, books) "
                    "where the documents tell them, else documents; with t quantiles for the effective number of "
                    "units (MacKinnon, Nielsen and Webb, 2023; Kish, 1965), a score on the logit scale. Scores on the "
                    f"same documents are compared unit by unit. With fewer than {FEW} units they are rough.",
                    "Marks: a difference is marked if and only if its interval does not hold 0. Several comparisons: "
                    "the intervals of differences, and so the marks, are at 95 % for all comparisons of the column, "
                    "row or table together that the note names (Bonferroni; Dunn, 1961). A p value is the level at "
                    "which the interval begins to hold 0, two-sided, times the number of comparisons.",
                    "A sentence that something is better, or is decoding, needs an interval that does not hold 0; "
                    "else it says that this cannot be told, and from how many documents.",
                    "Several seeds: the number is their mean, sd the standard deviation over them, and the interval "
                    "is over documents and seeds together: the variances of both are added (Owen, 2007), which is "
                    "rather too wide. Of 1 seed, intervals say what other documents would change, and nothing of other "
                    "seeds. Two systems by the same trainings are compared seed by seed.",
                    "A test against the best of a column takes the best as given, though it was chosen after the fact.",
                    "Missing numbers: their place names the reason, and leads to the cell.",
                    f"The paper: {PAPER_CITATION}. Its figures are shipped with genner (paper_results.csv), micro-F1 "
                    "in percent as printed in its two main tables.",
                )
            ),
        ),
    )
