"""The paper's two main tables with our figures beside theirs, and a table of the corpora that the paper lacks.

The paper's tables have one row per system, in blocks (encoders, GPT-NER, then one block per format with eight models
and their average), and one column per corpus: CoNLL-2003 and OntoNotes (flat), ACE 2005 and GENIA (nested). Each corpus
shows the paper's figure, and ours by the paper's rule, strict, and, for free answers, repaired. The other corpora,
which may be many, share a table with one row per system and one column per format.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from genner.assess.scoring import GRAMMAR
from genner.generations.readings import ReadingName
from genner.report.common import DECODED, DECODING_TITLES, cells_of, in_order, section, without_interval
from genner.report.measures import BEST, Source, against_best, mean_of, score, tested, tested_means
from genner.report.paper import (
    GPT_NER_NOTE,
    GROUPS,
    PAPER_CITATION,
    PAPER_FORMATS,
    TITLES,
    SystemFamily,
    figure,
    system_of,
    systems,
)
from genner.report.results import CellGroup, GroupKey, System, TestSet
from genner.report.table import Block, Column, Entry, Missing, Section, Table, TableRow, Value, best_of

PAPER_SOURCE = "paper"
READING_TITLES: dict[ReadingName, str] = {"paper": "paper's rule", "strict": "strict", "repaired": "repaired"}


def readings(decoding: str) -> tuple[ReadingName, ...]:
    """The readings shown for a decoding; under the grammar, strict and repaired agree."""
    return ("paper", "strict") if decoding == GRAMMAR else ("paper", "strict", "repaired")


FAMILIES: dict[SystemFamily, str] = {
    "encoder": "Encoders, as the paper reports them",
    "gpt-ner": "GPT-3 in context (GPT-NER)",
}
AVERAGE = "average"

MAIN_TABLE_NOTE = (
    f"{PAPER_SOURCE}: micro-F1 as printed there; {READING_TITLES['paper']}: our answers counted as its scripts count "
    f"them; {READING_TITLES['strict']}: by exact spans and labels, an answer being what it says, with its 95 % "
    f"interval; {READING_TITLES['repaired']}: the same, after genner's reader has looked up in the text what a "
    "free answer puts in a wrong place; all in percent."
)
OWN_BEST = "Over all formats and systems. Strict: " + BEST.format(family="comparisons of the column")


def main_section(source: Source) -> Section:
    """Our scores beside the paper's."""
    tables = main_tables(source)
    corpora = {t.corpus for t in source.collection.tests()}
    blocks: list[Block | None] = [*tables]
    for name, members in GROUPS.items():
        if tables and not corpora & set(members):
            names = " nor ".join(TITLES[c] for c in members)
            blocks.append(f"The paper's table of {name} corpora is left out: neither {names} is in these runs.")
    return section(
        "main",
        "Main results",
        blocks,
        f"Is generative NER with open models as good as the paper says? Its figures are those of {PAPER_CITATION}. It "
        "decodes by sampling (its tool's default) and counts by a rule of its own; so each way of decoding has its "
        "table, and each score is given by its rule and by ours.",
    )


def main_tables(source: Source) -> list[Table]:
    """For each decoding: those of the paper's tables that have a corpus in the results, then the table of the other
    corpora.

    The paper's rows without a score of ours appear for one decoding only: the paper's own (sampled), or else the
    first."""
    tables = []
    told: set[str] = set()
    groups = source.collection.scores()
    for decoding in sorted(DECODING_TITLES, key=lambda d: d != "sampled"):
        here = [g for g in groups if g.key.decoding == decoding]
        for name, corpora in GROUPS.items():
            if any(g.key.test.corpus in corpora for g in here):
                tables.append(_PaperTable(source, name, corpora, decoding, here, whole=name not in told).table())
                told.add(name)
        rest = [g for g in here if g.key.test.corpus not in TITLES]
        if rest:
            tables.append(_own_table(source, decoding, rest))
    return tables


@dataclass(frozen=True, slots=True)
class _Line:
    """A planned row: the paper's system, ours, or both."""

    block: str
    head: str
    format: str
    published: str | None
    ours: System | None
    average: bool = False


class _PaperTable:
    """One of the paper's two tables, for one decoding."""

    def __init__(
        self, source: Source, name: str, corpora: Sequence[str], decoding: str, groups: Sequence[CellGroup], whole: bool
    ) -> None:
        self.source, self.name, self.corpora, self.decoding, self.whole = source, name, corpora, decoding, whole
        self.rules = readings(decoding)
        self.groups = [g for g in groups if g.key.test.corpus in corpora]
        self.tests: dict[str, list[TestSet]] = {
            corpus: [t for t in source.collection.tests() if t.corpus == corpus and self._has(t)] for corpus in corpora
        }
        self.lines = self._lines()

    def _has(self, test: TestSet) -> bool:
        return any(g.key.test == test for g in self.groups)

    def _lines(self) -> list[_Line]:
        lines = []
        for family, title in FAMILIES.items() if self.whole else ():
            named = [s for s in systems(family) if any(figure(s, "", c) is not None for c in self.corpora)]
            lines += [_Line(title, s, "", s, None) for s in named]
        formats = in_order([*PAPER_FORMATS, *(g.key.format for g in self.groups)])
        for format in formats:
            ours = sorted({g.key.system for g in self.groups if g.key.format == format})
            # The paper's models were tuned on the corpus, so an untuned model does not compare with its figure.
            twins = {s: system_of(s.source or s.model) for s in ours if s.trained}
            found = []
            for system in systems("llm") if format in PAPER_FORMATS else ():
                same = [s for s, twin in twins.items() if twin == system]
                found += [_Line(format, s.title, format, system, s) for s in same]
                found += [_Line(format, system, format, system, None)] if self.whole and not same else []
            found += [_Line(format, s.title, format, None, s) for s in ours if not twins.get(s)]
            lines += [*found, _Line(format, AVERAGE, format, None, None, average=True)] if found else []
        return lines

    def table(self) -> Table:
        columns: list[Column] = []
        cells: list[list[Entry]] = []
        published = {c: self._paper(c) for c in self.corpora}
        for corpus in self.corpora:
            columns.append(Column(PAPER_SOURCE, TITLES[corpus]))
            cells.append(_bold(published[corpus], self._single()))
            for test in self.tests[corpus]:
                group = TITLES[corpus] if len(self.tests[corpus]) == 1 else self.source.collection.title(test)
                columns += [Column(READING_TITLES[rule], group) for rule in self.rules]
                cells += [self._ours(test, rule) for rule in self.rules]
        columns.append(Column(PAPER_SOURCE, "Average"))
        average = self._across([published[c] for c in self.corpora])
        cells.append(_bold(average, self._single()))
        if all(len(self.tests[c]) == 1 for c in self.corpora):
            columns += [Column(READING_TITLES[rule], "Average") for rule in self.rules]
            cells += [self._ours_across(rule) for rule in self.rules]
        rows = [
            TableRow((line.head,), tuple(column[i] for column in cells), line.block, line.average)
            for i, line in enumerate(self.lines)
        ]
        return Table(
            f"main-{self.name}-{self.decoding}",
            f"The paper's table of {self.name} corpora; ours decoded {DECODED[self.decoding]}",
            ("System",),
            tuple(columns),
            tuple(rows),
            MAIN_TABLE_NOTE,
            (OWN_BEST, *self._notes()),
        )

    def _single(self) -> list[int]:
        """The indices of the rows that are not averages."""
        return [i for i, line in enumerate(self.lines) if not line.average]

    def _paper(self, corpus: str) -> list[Entry]:
        values = [figure(line.published, line.format, corpus) if line.published else None for line in self.lines]
        column: list[Entry] = [Missing("absent") if v is None else Value(v) for v in values]
        for i, line in enumerate(self.lines):
            if line.average:
                # The paper's average is over its eight models, whether or not we have rows for them.
                mean = [f for s in systems("llm") if (f := figure(s, line.format, corpus)) is not None]
                column[i] = Value(sum(mean) / len(mean)) if mean else Missing("absent")
        return column

    def _across(self, columns: Sequence[Sequence[Entry]]) -> list[Entry]:
        rows = [[e for e in row if isinstance(e, Value)] for row in zip(*columns, strict=True)]
        return [
            Value(sum(v.number for v in row) / len(row)) if len(row) == len(columns) else Missing("absent")
            for row in rows
        ]

    def _group(self, line: _Line, test: TestSet) -> CellGroup:
        assert line.ours
        return self.source.collection.get(GroupKey(line.ours, line.format, test, self.decoding))

    def _ours(self, test: TestSet, rule: ReadingName) -> list[Entry]:
        column: list[Entry] = [
            score(self.source, self._group(line, test), rule) if line.ours else Missing("absent") for line in self.lines
        ]
        column = self._averaged(column)
        if rule != "strict":
            return _bold([without_interval(e) for e in column], self._single())
        return against_best(column, tested(self.source), self._single())

    def _ours_across(self, rule: ReadingName) -> list[Entry]:
        tests = [self.tests[c][0] for c in self.corpora]
        column: list[Entry] = []
        parts: dict[tuple[str, ...], list[Value]] = {}
        for line in self.lines:
            if not line.ours:
                column.append(Missing("absent"))
                continue
            scores = [score(self.source, self._group(line, t), rule) for t in tests]
            column.append(mean := mean_of(self.source, scores, rule))
            if isinstance(mean, Value):
                parts[mean.cells] = [s for s in scores if isinstance(s, Value)]
        column = self._averaged(column)
        if rule != "strict":
            return _bold([without_interval(e) for e in column], self._single())
        return against_best(column, tested_means(self.source, parts), self._single())

    def _averaged(self, column: list[Entry]) -> list[Entry]:
        """The rows with the mean of each format's systems filled in; the mean covers systems with a figure and gives
        their number."""
        result = list(column)
        for i, line in enumerate(self.lines):
            if line.average:
                lines = [k for k, other in enumerate(self.lines) if other.ours and other.format == line.format]
                # Untuned models are left out of the average of the tuned ones.
                tuned = [k for k in lines if (ours := self.lines[k].ours) and ours.trained]
                mine = [column[k] for k in tuned or lines]
                values = [e for e in mine if isinstance(e, Value)]
                if values:
                    cells = cells_of(values)
                    number = sum(v.number for v in values) / len(values)
                    some = f"{len(values)} of {len(mine)} systems" if len(values) < len(mine) else ""
                    result[i] = Value(number, cells=cells, part=some)
        return result

    def _notes(self) -> tuple[str, ...]:
        notes = [
            "The average of a format is the mean of its systems: the paper's eight models, and ours (the trained ones)."
        ]
        if not self.whole:
            notes.append("The paper's other systems stand in the table before.")
        for tests in self.tests.values():
            notes += [
                f"{t.title}: ours are of {self.source.collection.about(t)}"
                + ("." if t.whole else "; the paper's of the whole test split, so they do not compare.")
                for t in tests
            ]
        if "ontonotes5" in self.corpora:
            notes.append(GPT_NER_NOTE)
        return tuple(notes)


def _bold(column: Sequence[Entry], places: Sequence[int]) -> list[Entry]:
    result = list(column)
    top = best_of([e.number if isinstance(e := column[i], Value) else None for i in places])
    for k in top:
        entry = result[places[k]]
        assert isinstance(entry, Value)
        result[places[k]] = replace(entry, best=True)
    return result


def _own_table(source: Source, decoding: str, groups: Sequence[CellGroup]) -> Table:
    """One row per corpus, system and rule; one column per format. Tests compare the entries of a row."""
    collection = source.collection
    formats = in_order(g.key.format for g in groups)
    rows = []
    for test in [t for t in collection.tests() if any(g.key.test == t for g in groups)]:
        for system in sorted({g.key.system for g in groups if g.key.test == test}):
            keys = [GroupKey(system, format, test, decoding) for format in formats]
            strict = against_best([score(source, collection.get(key)) for key in keys], tested(source))
            title = collection.title(test)
            block = (
                f"{test.title} ({collection.about(test)})" if "(" not in title else f"{title}, {collection.count(test)}"
            )
            rows.append(TableRow((system.title, READING_TITLES["strict"]), tuple(strict), block))
            for rule in (r for r in readings(decoding) if r != "strict"):
                loose = [without_interval(score(source, collection.get(key), rule)) for key in keys]
                rows.append(
                    TableRow((system.title, READING_TITLES[rule]), tuple(_bold(loose, range(len(loose)))), block)
                )
    return Table(
        f"main-other-{decoding}",
        f"Corpora that the paper does not have; decoded {DECODED[decoding]}",
        ("System", "Counted by"),
        tuple(Column(format) for format in formats),
        tuple(rows),
        MAIN_TABLE_NOTE.partition("; ")[2],
        (BEST.format(family="comparisons of the row"),),
    )
