"""A system's errors as one HTML page: the kinds, the confusion matrix, and examples that expand to show context.

Self-contained like `page.py`, and in its style. A short script filters the examples by kind or matrix cell; without
script the page lists all of them, and its buttons do nothing. The markup is in `assets/pages/errors.html.j2`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from markupsafe import Markup

from genner.document import Document, Entity
from genner.render.layout import colour_indices, excerpt
from genner.render.page import marked, page, text_html
from genner.render.templates import asset, environment

PAGE_CONTEXT_CHARS = 240  # code points of context on either side of an error
PER_CELL = 20  # examples of each kind in each cell of the matrix


class ShownVerdict(Protocol):
    """The verdict on a gold entity and the predicted one that matches it; see `genner.evaluation.taxonomy`."""

    @property
    def kind(self) -> str: ...
    @property
    def gold(self) -> Entity | None: ...
    @property
    def pred(self) -> Entity | None: ...


DocumentVerdicts = tuple[Document, Document, Sequence[ShownVerdict]]
"""A gold document, the prediction on the same text, and the verdicts on their entities."""


@dataclass(frozen=True, slots=True)
class _Example:
    """An error of a prediction, as the template shows it."""

    gold: Document
    pred: Document
    verdict: ShownVerdict

    @property
    def cell(self) -> tuple[str, str]:
        """Its cell of the matrix: the gold and the predicted label, each empty if there is none."""
        return _cell(self.verdict)

    def marked(self, document: Document, colours: Mapping[str, int]) -> Markup:
        """The context of the error in one of its documents, with the entities marked."""
        spans = [e.span for e in (self.verdict.gold, self.verdict.pred) if e]
        begin, end = min(s for s, _ in spans) - PAGE_CONTEXT_CHARS, max(e for _, e in spans) + PAGE_CONTEXT_CHARS
        return Markup("".join(marked(excerpt(document, begin, end), colours)))


def error_page(
    cases: Iterable[DocumentVerdicts], *, title: str, notes: str = "", kinds: dict[str, str], per_cell: int = PER_CELL
) -> str:
    """One HTML page of the errors in `cases`; those of kind "right" are counted, not shown.

    `kinds` describes each kind of verdict, in display order. The first `per_cell` examples of each kind and pair of
    labels are shown, and the page gives their total. `notes` is shown unchanged, in monospace. Everything is escaped.
    """
    cases = list(cases)
    colours = colour_indices((), [document for gold, pred, _ in cases for document in (gold, pred)])
    order = {label: i for i, label in enumerate(colours)}
    counts: Counter[str] = Counter()
    cells: Counter[tuple[str, str]] = Counter()
    taken: Counter[tuple[str, str, str]] = Counter()
    shown: list[_Example] = []
    for gold, pred, found in cases:
        for verdict in found:
            cell = _cell(verdict)
            counts[verdict.kind] += 1
            cells[cell] += 1
            if verdict.kind != "right":
                taken[verdict.kind, *cell] += 1
                if taken[verdict.kind, *cell] <= per_cell:
                    shown.append(_Example(gold, pred, verdict))
    total = counts.total() - counts["right"]
    limit = f", the first {per_cell} of each kind and pair of labels" if len(shown) < total else ""
    template: Any = environment(text_html).get_template("pages/errors.html.j2").module
    return page(
        title,
        template.header(notes, kinds, counts, [*order, ""], cells, order, colours),
        template.main(shown, total, limit, order, colours),
        style=asset("pages/errors.css"),
        script=asset("pages/errors.js"),
    )


def _cell(verdict: ShownVerdict) -> tuple[str, str]:
    return verdict.gold.label if verdict.gold else "", verdict.pred.label if verdict.pred else ""
