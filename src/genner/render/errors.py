"""A system's errors as one HTML page: the kinds, the confusion matrix, and examples that expand to show context.

Self-contained like `page.py`, and in its style. A short script filters the examples by kind or matrix cell; without
script the page lists all of them, and its buttons do nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from genner.document import Document, Entity
from genner.render.layout import colour_indices, excerpt, visible_line
from genner.render.page import attribute, chip, marked, page, text_html
from genner.render.templates import asset

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
    gold: Document
    pred: Document
    verdict: ShownVerdict


_MAIN = """\
<p class="faint"><span id="shown">{shown}</span> of {total} errors{limit}. <button disabled>show all</button></p>
{examples}"""


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
    per_kind: Counter[str] = Counter()
    cells: Counter[tuple[str, str]] = Counter()
    taken: Counter[tuple[str, str, str]] = Counter()
    shown: list[_Example] = []
    for gold, pred, found in cases:
        for verdict in found:
            cell = _cell(verdict)
            per_kind[verdict.kind] += 1
            cells[cell] += 1
            if verdict.kind != "right":
                taken[verdict.kind, *cell] += 1
                if taken[verdict.kind, *cell] <= per_cell:
                    shown.append(_Example(gold, pred, verdict))
    total = sum(per_kind.values()) - per_kind["right"]
    limit = f", the first {per_cell} of each kind and pair of labels" if len(shown) < total else ""
    about = f"<pre>{text_html(notes)}</pre>\n" if notes else ""
    examples = "".join(_example(example, order, colours) for example in shown) or '<p class="faint">no errors</p>\n'
    return page(
        title,
        about + _kinds(per_kind, kinds) + _matrix(cells, order, colours),
        _MAIN.format(shown=len(shown), total=total, limit=limit, examples=examples),
        style=asset("pages/errors.css"),
        script=asset("pages/errors.js"),
    )


def _cell(verdict: ShownVerdict) -> tuple[str, str]:
    return verdict.gold.label if verdict.gold else "", verdict.pred.label if verdict.pred else ""


def _place(cell: tuple[str, str], order: dict[str, int]) -> str:
    """The data attributes of a cell. Labels are numbered, so that no label can be mistaken for another."""
    gold, pred = (str(order[label]) if label else "none" for label in cell)
    return f'data-gold="{gold}" data-pred="{pred}"'


def _kinds(counts: Counter[str], kinds: dict[str, str]) -> str:
    rows = []
    for kind, meaning in kinds.items():
        name = text_html(kind)
        button = f'<button data-kind="{attribute(kind)}" disabled>{name}</button>' if kind != "right" else name
        about = text_html(meaning)
        rows.append(f'<tr><td>{button}</td><td class="number">{counts[kind]}</td><td class="faint">{about}</td></tr>\n')
    return f'<table class="kinds">\n<tbody>\n{"".join(rows)}</tbody>\n</table>\n'


def _matrix(cells: Counter[tuple[str, str]], order: dict[str, int], colours: dict[str, int]) -> str:
    """Rows are gold, columns predicted labels. The diagonal holds correct entities and those with only a wrong
    boundary."""
    if not cells:
        return ""
    labels = [*order, ""]
    heads = [chip(label, colours[label]) if label else "none" for label in labels]
    rows = []
    for gold, head in zip(labels, heads, strict=True):
        row = [f"<th>{head}</th>"]
        for pred in labels:
            n = cells[gold, pred]
            button = f"<button {_place((gold, pred), order)} disabled>{n}</button>" if n else "·"
            row.append(f'<td class="number{" right" if gold == pred else ""}">{button}</td>')
        rows.append(f"<tr>{''.join(row)}</tr>\n")
    head = "".join(f"<th>{h}</th>" for h in heads)
    return (
        '<div class="scroll"><table class="matrix">\n'
        f'<thead><tr><th class="faint">gold \\ predicted</th>{head}</tr></thead>\n<tbody>\n{"".join(rows)}</tbody>\n'
        '</table></div>\n<p class="faint">Pairs whose spans overlap; the shaded diagonal holds what is right too.</p>\n'
    )


def _example(example: _Example, order: dict[str, int], colours: dict[str, int]) -> str:
    """One error: a summary line, which expands to both sides in context."""
    verdict, gold = example.verdict, example.gold
    sides = []
    for entity in (verdict.gold, verdict.pred):
        if entity is None:
            sides.append('<span class="faint">nothing</span>')
        else:
            mention = text_html(visible_line(gold.mention(entity)))
            sides.append(f"<bdi>{mention}</bdi> {chip(entity.label, colours[entity.label])}")
    spans = [e.span for e in (verdict.gold, verdict.pred) if e]
    begin, end = min(s for s, _ in spans) - PAGE_CONTEXT_CHARS, max(e for _, e in spans) + PAGE_CONTEXT_CHARS
    name = f' <span class="faint">{text_html(visible_line(gold.id))}</span>' if gold.id else ""
    drawn = "".join(
        f'<p class="side">{side}</p>\n<div class="text" dir="auto" style="--tracks: 2">'
        f"{''.join(marked(excerpt(document, begin, end), colours))}</div>\n"
        for side, document in (("gold", gold), ("predicted", example.pred))
    )
    return (
        f'<details class="example" data-kind="{attribute(verdict.kind)}" {_place(_cell(verdict), order)}>\n'
        f'<summary><span class="kind">{text_html(verdict.kind)}</span> {sides[0]} → {sides[1]}{name}</summary>\n'
        f"{drawn}</details>\n"
    )
