"""The report as Markdown: tables of GitHub's kind, figures as pictures, and a page with the cells.

`report.md` holds everything but the cells, whose page is `cells.md`; numbers lead there. Texts are escaped so that they
read as they are: nothing of a model's output becomes a heading, a link or HTML.
"""

from collections.abc import Mapping, Sequence

from genner.render.markdown import code, escaped, fenced
from genner.report.table import (
    Block,
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
)

CELLS = "cells.md"


def markdown(report: StudyReport, figures: str = "figures") -> dict[str, str]:
    """The files by name: `report.md`, `cells.md`, and `NAME.md` for each table alone. Pictures are looked for as
    `FIGURES/NAME.png`."""
    sources = Sources()
    lead = "".join(f"- {escaped(line)}\n" for line in report.lead)
    body = "\n".join(_section(section, sources, figures) for section in report.sections)
    files = {
        "report.md": f"# {escaped(report.title)}\n\n{lead}\n{body}\nWhere each number comes from: [cells]({CELLS}).\n"
    }
    files |= {f"{table.name}.md": _table(table, sources) for table in report.tables()}
    return files | {CELLS: _cells(report, sources)}


def _section(section: Section, sources: Sources, figures: str) -> str:
    blocks = "\n".join(_block(block, sources, figures) for block in section.blocks)
    return f"## {escaped(section.title)}\n\n{blocks}"


def _block(block: Block, sources: Sources, figures: str) -> str:
    match block:
        case str():
            return f"{escaped(block)}\n"
        case Listing(items):
            return "".join(f"- {escaped(item)}\n" for item in items)
        case Table():
            return _table(block, sources)
        case Figure():
            alt = escaped(block.alt or block.title)
            return f"### {escaped(block.title)}\n\n![{alt}]({figures}/{block.name}.png)\n\n{escaped(block.caption)}\n"
        case ErrorExamples():
            drawn = "\n".join(_example(example) for example in block.items)
            return f"### Examples: {escaped(block.title)}\n\n{escaped(block.caption)}\n\n{drawn}"


def _table(table: Table, sources: Sources) -> str:
    """A table; its block headings become a first column, since a row cannot span here."""
    blocks = any(row.block for row in table.rows)
    titles = [*([""] if blocks else []), *map(escaped, table.heads)]
    titles += [escaped(": ".join(part for part in (column.group, column.title) if part)) for column in table.columns]
    rules = [":---"] * (blocks + len(table.heads)) + [":---" if column.text else "---:" for column in table.columns]
    lines = [titles, rules]
    before = None
    for row in table.rows:
        first = [escaped(row.block) if row.block != before else ""] if blocks else []
        before = row.block
        lines.append([*first, *_heads(row), *(_entry(entry, sources) for entry in row.entries)])
    grid = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    caption = f"{escaped(table.caption)}\n\n" if table.caption else ""
    notes = "".join(f"\n{escaped(note)}\n" for note in table.legend())
    return f"### {escaped(table.title)}\n\n{caption}{grid}{notes}"


def _heads(row: TableRow) -> list[str]:
    return [f"*{escaped(head)}*" if row.total and head else escaped(head) for head in row.heads]


def _entry(entry: Entry, sources: Sources) -> str:
    target = sources.target(entry.cells)

    def linked(text: str) -> str:
        return f"[{text}]({CELLS}#{target})" if target else text

    match entry:
        case TableText(text, as_code):
            return linked(code(text) if as_code else escaped(text))
        case Missing():
            return linked(escaped(shown(entry)))
        case Value():
            number = linked(f"**{shown(entry)}**" if entry.best else shown(entry))
            about = "; ".join(part for part in (detail(entry), entry.part) if part)
            return number + escaped(entry.mark) + (f" ({escaped(about)})" if about else "")


def _example(example: ErrorExample) -> str:
    def side(name: str, entities: Sequence[tuple[str, str]]) -> str:
        listed = ", ".join(f"{code(text)} {escaped(label)}" for text, label in entities)
        return f"- {name}: {listed or 'nothing'}\n"

    gold, pred = ([(d.mention(e), e.label) for e in d.entities] for d in (example.gold, example.pred))
    raw = "\n".join(fenced(text) for text in example.raw) or "no answer was kept\n"
    problems = "".join(f"- problem: {escaped(problem)}\n" for problem in example.problems)
    return (
        f"**{escaped(example.kind)}**: {escaped(example.about)} "
        f"([{escaped(example.cell)}]({CELLS}#{anchor(example.cell)}), document {escaped(example.gold.id)})\n\n"
        f"{fenced(example.gold.text)}\n{side('gold', gold)}{side('predicted', pred)}{problems}\n{raw}"
    )


def _cells(report: StudyReport, sources: Sources) -> str:
    known = {cell.id: cell.name for cell in report.cells}
    environments = "\n".join(
        f'## <a id="environment-{name}"></a>Environment {name}\n\n{_facts(versions)}'
        for name, versions in report.environments.items()
    )
    cells = "\n".join(_cell(cell) for cell in report.cells)
    lists = "".join(
        f'- <a id="{name}"></a>{len(ids)} cells: '
        + ", ".join(f"[{escaped(known.get(id) or id)}](#{anchor(id)})" for id in ids)
        + "\n"
        for ids, name in sources.lists.items()
    )
    several = f"\n## Numbers made of several cells\n\n{lists}" if lists else ""
    return f"# Cells of: {escaped(report.title)}\n\n{environments}\n{cells}{several}"


def _cell(cell: Entrance) -> str:
    facts = {"id": cell.id, "state": cell.state} | dict(cell.facts)
    environment = f"- ran in [{cell.environment}](#environment-{cell.environment})\n" if cell.environment else ""
    command = fenced(cell.command) if cell.command else "no command is recorded\n"
    title = escaped(cell.name or cell.id)
    return f'## <a id="{anchor(cell.id)}"></a>{title}\n\n{_facts(facts)}{environment}\n{command}'


def _facts(facts: Mapping[str, str]) -> str:
    return "".join(f"- {escaped(name)}: {escaped(value)}\n" for name, value in facts.items())
