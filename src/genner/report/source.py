"""The input of a report's sections: all cells, and the view of one test set with the words that name it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from genner.assess.scoring import GRAMMAR
from genner.report.estimates import Estimates
from genner.report.results import CellGroup, Collection, GroupKey, System, TestSet
from genner.report.table import Block, Column, Entry, Section, Table, TableRow, is_empty
from genner.report.terms import DECODING_TITLES, FREE, in_order

EMPTY_SECTION = "These runs hold nothing of this."


@dataclass(frozen=True, slots=True)
class Source:
    """The input of tables. `problems` lists faults of the records; `examples` is the number of errors shown per kind,
    format and decoding."""

    collection: Collection
    estimates: Estimates
    problems: tuple[str, ...] = ()
    examples: int = 2

    def tests(self) -> list["ScoredTest"]:
        """The test sets of plain scores, in display order."""
        return [ScoredTest(self, test, n) for n, test in enumerate(self.collection.tests(), 1)]


@dataclass(frozen=True)
class ScoredTest:
    """A test set with its plain scores, and the words that name it. `number` is its place in the report, from 1; its
    tables and figures have it in their names."""

    source: Source
    test: TestSet
    number: int

    @cached_property
    def title(self) -> str:
        """The name of the test set: the corpus, and what distinguishes it from other test sets of that corpus."""
        test = self.test
        rivals = [t for t in self.source.collection.tests() if t.corpus == test.corpus and t != test]
        about = test.about if all(t.about != test.about for t in rivals) else f"{test.about}, {test.file}"
        return f"{test.title} ({about})" if rivals else test.title

    @cached_property
    def count(self) -> str:
        """How many documents were scored, plain or probed: `n = 60 documents`."""
        groups = self.source.collection.groups.values()
        found = [item.metric("documents") for g in groups if g.key.test == self.test for item in g.items]
        n = round(max((n for n in found if n is not None), default=0))
        return f"n = {n:,} document{'s' * (n != 1)}"

    @property
    def about(self) -> str:
        """What is scored, and the number of documents."""
        return f"{self.test.about}; {self.count}"

    @property
    def heading(self) -> str:
        """The heading of the rows of a test set: its name and its size."""
        return f"{self.title}, {self.count}"

    @cached_property
    def groups(self) -> list[CellGroup]:
        """The plain scores, by system, format and decoding."""
        return [g for g in self.source.collection.ordered() if g.key.test == self.test]

    @property
    def systems(self) -> list[System]:
        return sorted({g.key.system for g in self.groups})

    @property
    def formats(self) -> list[str]:
        return in_order(g.key.format for g in self.groups)

    @property
    def decodings(self) -> list[str]:
        """The known decodings of the scores, in display order."""
        return [d for d in DECODING_TITLES if any(g.key.decoding == d for g in self.groups)]

    @property
    def main_decoding(self) -> str:
        """The decoding shown in figures that show only one: under the grammar, if that was run."""
        return next((d for d in (GRAMMAR, *FREE) if d in self.decodings), "")

    @property
    def main_groups(self) -> list[CellGroup]:
        """The scores under the main decoding, and those of rivals."""
        return [g for g in self.groups if g.key.decoding == self.main_decoding or g.key.system.rival]

    def get(self, system: System, format: str, decoding: str) -> CellGroup:
        """A plain score; an empty group if there is none."""
        key = GroupKey(system, format, self.test, "" if system.rival else decoding)
        return self.source.collection.get(key)


def group_table(
    source: Source,
    name: str,
    title: str,
    columns: Mapping[Column, Callable[[CellGroup], Entry]],
    caption: str,
    groups: Sequence[CellGroup] | None = None,
) -> Table:
    """A supporting table with a row for each of `groups` (default: all plain scores): the entries that the functions of
    the columns make of it."""
    headings = {test.test: test.heading for test in source.tests()}
    rows = [
        TableRow(g.key.heads, tuple(entry(g) for entry in columns.values()), headings[g.key.test])
        for g in (source.collection.ordered() if groups is None else groups)
    ]
    heads = ("System", "Format", "Decoding")
    return Table(name, title, heads, tuple(columns), tuple(rows), caption, supporting=True)


def section(anchor: str, title: str, blocks: Iterable[Block | None], intro: str = "") -> Section:
    """A section with the blocks that have anything to show; a section without blocks says so."""
    found = [block for block in blocks if block is not None and not is_empty(block)]
    return Section(anchor, title, ((intro, *found) if intro else tuple(found)) if found else (EMPTY_SECTION,))
