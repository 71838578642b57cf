"""The report as one HTML page that needs nothing else: no script, no font, no request. Right in light, dark and
print."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from genner.render.layout import colour_indices, visible_line
from genner.render.page import attribute, marked, page, text_html
from genner.report.plots import FIGURE_CSS as COLOURS
from genner.report.plots import inline
from genner.report.table import (
    Block,
    Column,
    Entrance,
    Entry,
    ErrorExample,
    ErrorExamples,
    Figure,
    Listing,
    Missing,
    Section,
    Sources,
    StudyReport,
    Table,
    TableRow,
    TableText,
    Value,
    anchor,
    detail,
    shown,
    versus,
)

FOLD_ROWS = 24  # rows: a supporting table with more is folded away

_STYLE = """\
body { max-width: 76rem; }
section { margin-top: 3rem; }
section > h2 { font-size: 1.25rem; color: var(--ink); border-bottom: 2px solid var(--ink); padding-bottom: .3rem; }
h3 { font-size: 1rem; line-height: 1.3; margin: 2.25rem 0 .25rem; overflow-wrap: anywhere; }
p, ul { max-width: 46rem; margin: .5rem 0; }
ul { padding-inline-start: 1.2rem; }
li { margin: .2rem 0; overflow-wrap: anywhere; }
a { color: inherit; text-decoration: underline; text-decoration-color: var(--rule); text-underline-offset: .2em; }
a:hover, a:focus-visible { text-decoration-color: currentColor; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .875rem; margin-top: 1.25rem; }
.lead { font-size: 1.0625rem; max-width: 52rem; }
.caption, .legendary, figcaption { color: var(--faint); font-size: .8125rem; line-height: 1.45; max-width: 60rem; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table.data { width: auto; margin: 0; font-size: .875rem; line-height: 1.35; border-bottom: 1.5px solid var(--ink); }
table.data th, table.data td { padding: .22rem .9rem .22rem 0; white-space: nowrap; text-align: start; }
table.data td:first-child { width: auto; padding-inline-start: 0; }
table.data td:last-child { padding-inline-end: 0; }
table.data thead { border-top: 1.5px solid var(--ink); border-bottom: 1px solid var(--ink); }
table.data thead th { color: var(--ink); vertical-align: bottom; }
table.data thead .group { text-align: center; }
table.data thead .group span { display: block; border-bottom: 1px solid var(--rule); }
table.data tbody th { font-weight: 400; color: var(--ink); white-space: normal; min-width: 7rem; }
table.data tbody tr + tr > * { border-top: 0; }
table.data thead + tbody td { border-top: 0; }
table.data .block th { font-weight: 600; padding-top: .7rem; color: var(--faint); }
table.data .total > * { border-top: 1px solid var(--rule); font-style: italic; }
table.data .number { text-align: end; padding-inline-end: 0; }
table.data .number.alone { padding-inline-end: .9rem; }
table.data .beside { color: var(--faint); font-size: .8em; padding-inline-start: .3em; }
table.data .beside sup {
  display: inline-block; min-width: 1.6em; font-size: 1.1em; vertical-align: baseline; position: relative; top: -.2em;
}
table.data td.words { white-space: normal; min-width: 14rem; max-width: 46rem; overflow-wrap: anywhere; }
table.data tbody tr:not(.block):hover > * { background: color-mix(in srgb, var(--ink) 5%, transparent); }
.missing { color: var(--faint); }
.missing.loud { color: var(--wrong); }
figure { margin: .5rem 0 1.5rem; }
figure svg { max-width: 100%; height: auto; display: block; overflow: visible; }
.fold > summary { font-size: 1rem; padding: .15rem 0; }
.fold > .example { margin-inline-start: 1.2rem; }
.example { border-top: 1px solid var(--rule); padding: .4rem 0; }
.example > summary { color: var(--ink); overflow-wrap: anywhere; }
.kind { color: var(--wrong); font-weight: 600; font-size: .8125rem; }
.side { font-size: .8125rem; color: var(--faint); margin: .75rem 0 0; }
pre, code { font: .8125rem/1.45 ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; padding: .5rem .7rem; border-radius: .35em;
  background: color-mix(in srgb, var(--ink) 6%, transparent); }
.cell { margin-top: 0; padding: .8rem 0; }
.cell h3 { margin: 0; }
.cell:target, .from:target { outline: 2px solid var(--s0); outline-offset: .3rem; border-radius: .2rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .1rem 1.5rem;
  margin: .4rem 0; font-size: .8125rem; }
.facts div { display: flex; gap: .6em; }
.facts div.long { grid-column: 1 / -1; }
.facts dt { color: var(--faint); flex: none; }
.facts dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
@page { size: A4 landscape; margin: 13mm; }
@media print {
  :root { font-size: 10pt; }
  section { margin-top: 1.5rem; }
  .scroll { overflow: visible; }
  table.data { font-size: 7.5pt; }
  table.data th, table.data td { padding-inline-end: .6rem; }
  figure, .example, .cell { break-inside: avoid; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  .block, .caption { break-after: avoid; }
  h3 { break-after: avoid; }
  nav { display: none; }
  .fold:not([open])::details-content { content-visibility: hidden; block-size: 0; } /* hundreds of pages */
  a { text-decoration: none; }
}
"""


def html(report: StudyReport) -> str:
    """The page."""
    sources = Sources()
    main = "".join(_section(section, sources) for section in report.sections)
    parts = [(s.anchor, s.title) for s in report.sections] + [("provenance", "Cells")]
    links = "".join(f'<a href="#{name}">{text_html(title)}</a>\n' for name, title in parts)
    lead = "".join(f'<li dir="auto">{text_html(visible_line(line))}</li>\n' for line in report.lead)
    header = f'<ul class="lead">\n{lead}</ul>\n<nav aria-label="Contents">\n{links}</nav>\n'
    return page(report.title, header, main + _cells(report, sources), style=_STYLE + COLOURS)


def _section(section: Section, sources: Sources) -> str:
    blocks = "".join(_block(block, sources) for block in section.blocks)
    return f'<section id="{section.anchor}">\n<h2>{text_html(section.title)}</h2>\n{blocks}</section>\n'


def _block(block: Block, sources: Sources) -> str:
    match block:
        case str():
            return f'<p dir="auto">{text_html(block)}</p>\n'
        case Listing(items):
            rows = "".join(f'<li dir="auto">{text_html(visible_line(item))}</li>\n' for item in items)
            return f"<ul>\n{rows}</ul>\n"
        case Table():
            return _table(block, sources)
        case Figure():
            return _figure(block)
        case ErrorExamples():
            return _examples(block)


# -- tables


def _table(table: Table, sources: Sources) -> str:
    body, block = [], None
    wide = [any(_beside(row.entries[i]) for row in table.rows) for i in range(len(table.columns))]
    for row in table.rows:
        if row.block != block and row.block:
            width = len(table.heads) + len(table.columns) + sum(wide)
            body.append(f'<tr class="block"><th colspan="{width}" scope="rowgroup">{_words(row.block)}</th></tr>\n')
        block = row.block
        body.append(_row(row, table.columns, wide, sources))
    caption = f'<p class="caption" dir="auto">{text_html(table.caption)}</p>\n' if table.caption else ""
    notes = "".join(f'<p class="legendary" dir="auto">{text_html(note)}</p>\n' for note in table.legend())
    grid = (
        f'<div class="scroll" tabindex="0"><table class="data">\n<thead>\n{_head(table, wide)}</thead>\n'
        f"<tbody>\n{''.join(body)}</tbody>\n</table></div>\n"
    )
    if table.supporting and len(table.rows) > FOLD_ROWS:
        grid = f"<details>\n<summary>{len(table.rows)} rows</summary>\n{grid}</details>\n"
    return f'<h3 id="table-{table.name}" dir="auto">{text_html(visible_line(table.title))}</h3>\n{caption}{grid}{notes}'


def _beside(entry: Entry) -> bool:
    """Whether something stands beside the number."""
    return isinstance(entry, Value) and bool(detail(entry) or entry.part or entry.mark)


def _head(table: Table, wide: Sequence[bool]) -> str:
    grouped = any(column.group for column in table.columns)
    span = ' rowspan="2"' if grouped else ""
    heads = "".join(f'<th scope="col"{span}>{_words(head)}</th>' for head in table.heads)
    if not grouped:
        return f"<tr>{heads}{''.join(_column(column, w) for column, w in zip(table.columns, wide, strict=True))}</tr>\n"
    upper, lower = [], []
    for group, columns in groupby(zip(table.columns, wide, strict=True), key=lambda pair: pair[0].group):
        found = list(columns)
        if group:
            width = len(found) + sum(w for _, w in found)
            upper.append(f'<th class="group" scope="colgroup" colspan="{width}"><span>{_words(group)}</span></th>')
            lower += [_column(column, w) for column, w in found]
        else:
            upper += [_column(column, w, span) for column, w in found]
    return f"<tr>{heads}{''.join(upper)}</tr>\n<tr>{''.join(lower)}</tr>\n"


def _column(column: Column, wide: bool, span: str = "") -> str:
    kind = ' colspan="2"' if wide else "" if column.text else ' class="number alone"'
    return f'<th scope="col"{kind}{span}>{_words(column.title)}</th>'


def _row(row: TableRow, columns: Sequence[Column], wide: Sequence[bool], sources: Sources) -> str:
    heads = "".join(f'<th scope="row">{_words(head)}</th>' for head in row.heads)
    entries = "".join(_entry(e, c, w, sources) for e, c, w in zip(row.entries, columns, wide, strict=True))
    kind = ' class="total"' if row.total else ""
    return f"<tr{kind}>{heads}{entries}</tr>\n"


def _entry(entry: Entry, column: Column, wide: bool, sources: Sources) -> str:
    """In a `wide` column two places: the number, and what stands beside it, so that the numbers stand in line."""
    target = sources.target(entry.cells)
    text = text_html(visible_line(shown(entry)))

    def linked(inner: str) -> str:
        return f'<a href="#{target}">{inner}</a>' if target else inner

    match entry:
        case TableText(_, code):
            inner = linked(f"<code>{text}</code>" if code else f"<bdi>{text}</bdi>")
            return f'<td class="words">{inner}</td>'
        case Missing(why, _, note):
            loud = " loud" if why in ("failed", "skipped") else ""
            title = f' title="{attribute(note)}"' if note else ""
            if column.text:
                return f'<td class="words missing{loud}"{title}>{linked(text)}</td>'
            beside = '<td class="beside"></td>' if wide else ""
            side = "number" if wide else "number alone"
            return f'<td class="{side} missing{loud}"{title}>{linked(text)}</td>{beside}'
        case Value():
            number = linked(f"<b>{text}</b>" if entry.best else text)
            beside_it = "; ".join(part for part in (detail(entry), entry.part) if part)
            mark = f"<sup>{text_html(entry.mark)}</sup>" if entry.mark else ""
            p = f' title="{attribute(about)}"' if (about := versus(entry)) else ""
            beside = f'<td class="beside">{mark}{text_html(beside_it)}</td>' if wide else ""
            return f'<td class="number{"" if wide else " alone"}"{p}>{number}</td>{beside}'


def _words(text: str) -> str:
    return f"<bdi>{text_html(visible_line(text))}</bdi>"


# -- figures and examples


def _figure(figure: Figure) -> str:
    svg = inline(figure).replace("<svg ", f'<svg role="img" aria-label="{attribute(figure.alt or figure.title)}" ', 1)
    caption = f'<figcaption dir="auto">{text_html(figure.caption)}</figcaption>\n' if figure.caption else ""
    title = text_html(visible_line(figure.title))
    return f'<figure id="figure-{figure.name}">\n<h3 dir="auto">{title}</h3>\n{svg}\n{caption}</figure>\n'


def _examples(examples: ErrorExamples) -> str:
    """Folded away by kind, which the items are in order of."""
    colours = colour_indices((), [d for e in examples.items for d in (e.gold, e.pred)])
    folds = []
    for kind, group in groupby(examples.items, key=lambda example: example.kind):
        found = [_example(example, colours) for example in group]
        summary = f'<summary><span class="kind">{text_html(kind)}</span> {len(found)}</summary>'
        folds.append(f'<details class="fold">\n{summary}\n{"".join(found)}</details>\n')
    return (
        f'<h3 dir="auto">Examples: {text_html(visible_line(examples.title))}</h3>\n'
        f'<p class="caption" dir="auto">{text_html(examples.caption)}</p>\n{"".join(folds)}'
    )


def _example(example: ErrorExample, colours: Mapping[str, int]) -> str:
    """A line that says what is wrong, and behind it both sides in their context and the answer as it was written."""
    sides = "".join(
        f'<p class="side">{side}</p>\n<div class="text" dir="auto" style="--tracks: 2">'
        f"{''.join(marked(document, colours))}</div>\n"
        for side, document in (("gold", example.gold), ("predicted", example.pred))
    )
    raw = "".join(f'<pre dir="auto">{text_html(text)}</pre>\n' for text in example.raw)
    answer = f'<p class="side">answer, as written</p>\n{raw}' if raw else '<p class="side">no answer was kept</p>\n'
    problems = "".join(f"<li>{text_html(visible_line(problem))}</li>\n" for problem in example.problems)
    return (
        f'<details class="example">\n<summary><bdi>{text_html(visible_line(example.about))}</bdi></summary>\n'
        f"{sides}{answer}"
        + (f'<ul class="problems">\n{problems}</ul>\n' if problems else "")
        + f'<p class="side">document {_words(example.gold.id)}, '
        f'<a href="#{anchor(example.cell)}">{_words(example.cell)}</a></p>\n</details>\n'
    )


# -- cells


def _cells(report: StudyReport, sources: Sources) -> str:
    environments = "".join(
        f'<article class="cell" id="environment-{name}">\n<h3>Environment {name}</h3>\n'
        f"{_facts(list(versions.items()))}</article>\n"
        for name, versions in report.environments.items()
    )
    cells = "".join(_cell(cell) for cell in report.cells)
    known = {cell.id: cell.name for cell in report.cells}
    lists = "".join(
        f'<li class="from" id="{name}">{len(ids)} cells: '
        + ", ".join(f'<a href="#{anchor(id)}">{_words(known.get(id) or id)}</a>' for id in ids)
        + "</li>\n"
        for ids, name in sources.lists.items()
    )
    several = f"<h3>Numbers made of several cells</h3>\n<ul>\n{lists}</ul>\n" if lists else ""
    return (
        '<section id="provenance">\n<h2>Cells</h2>\n<p>Where each number comes from: what was asked of the cell, what '
        f"it took, and the command that runs it again.</p>\n{environments}{cells}{several}</section>\n"
    )


def _cell(cell: Entrance) -> str:
    facts = _facts([("id", cell.id), ("state", cell.state), *cell.facts])
    environment = f'<p class="side">ran in <a href="#environment-{cell.environment}">{cell.environment}</a></p>\n'
    command = (
        f"<pre>{text_html(cell.command)}</pre>\n" if cell.command else '<p class="side">no command is recorded</p>\n'
    )
    return (
        f'<article class="cell" id="{anchor(cell.id)}">\n<h3>{_words(cell.name or cell.id)}</h3>\n{facts}'
        f"{environment if cell.environment else ''}{command}</article>\n"
    )


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f'<div class="{"long" if len(value) > 40 else "short"}"><dt>{_words(name)}</dt>'
        f'<dd dir="auto">{text_html(visible_line(value))}</dd></div>\n'
        for name, value in facts
    )
    return f'<dl class="facts">\n{rows}</dl>\n'
