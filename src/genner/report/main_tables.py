"""The paper's two main tables with our figures beside theirs, and a table of the corpora that the paper lacks.

The paper's tables have one row per system, in blocks (encoders, GPT-NER, then one block per format with eight models
and their average), and one column per corpus: CoNLL-2003 and OntoNotes (flat), ACE 2005 and GENIA (nested). Each corpus
shows the paper's figure, and ours by the paper's rule, strict, and, for free answers, repaired. The other corpora,
which may be many, share a table with one row per system and one column per format.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from genner.assess.scoring import GRAMMAR
from genner.generations.readings import ReadingName
from genner.report.encoders import encoder_tables
from genner.report.entries import (
    BEST,
    against_best,
    best_in_bold,
    cells_of,
    mean_of,
    score,
    tested,
    tested_means,
    values_of,
    without_interval,
)
from genner.report.paper import (
    GPT_NER_NOTE,
    GROUPS,
    PAPER_CITATION,
    PAPER_FORMATS,
    TITLES,
    SystemFamily,
    figure,
    mean_of_models,
    system_of,
    systems,
)
from genner.report.results import CellGroup, System
from genner.report.source import ScoredTest, Source, section
from genner.report.table import Block, Column, Entry, Missing, Section, Table, TableRow, Value
from genner.report.terms import DECODED, DECODING_TITLES, ENCODER, READING_TITLES, TOOL, in_order


def readings(decoding: str) -> tuple[ReadingName, ...]:
    """The readings shown for a decoding; under the grammar, strict and repaired agree."""
    return ("paper", "strict") if decoding == GRAMMAR else ("paper", "strict", "repaired")


PAPER_SOURCE = "paper"
RUN_HERE = {ENCODER: "Encoders, run here", TOOL: "Tools, run here"}
BESIDE = "Encoders and tools, which have no format, stand in the tables of encoders beside generative models."
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
    blocks: list[Block | None] = [*tables, *encoder_tables(source)]
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
    every = source.collection.ordered()
    rivals, models = ([g for g in every if bool(g.key.system.rival) == is_rival] for is_rival in (True, False))
    for decoding in sorted(DECODING_TITLES, key=lambda d: d != "sampled"):
        groups = [g for g in models if g.key.decoding == decoding]
        for name, corpora in GROUPS.items():
            mine, encoders = ([g for g in some if g.key.test.corpus in corpora] for some in (groups, rivals))
            if mine:
                mine += encoders
                tables.append(_PaperTable(source, name, decoding, mine, whole=name not in told).table())
                told.add(name)
        rest = [g for g in groups if g.key.test.corpus not in TITLES]
        if rest:
            tables.append(_own_table(source, decoding, rest))
    return tables


def _tests_of(source: Source, groups: Sequence[CellGroup]) -> list[ScoredTest]:
    """The test sets of some scores, in display order."""
    found = {g.key.test for g in groups}
    return [test for test in source.tests() if test.test in found]


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
    """One of the paper's two tables, for one decoding; `whole` says whether it has the paper's rows without a score of
    ours."""

    def __init__(self, source: Source, name: str, decoding: str, groups: Sequence[CellGroup], whole: bool) -> None:
        self.source, self.name, self.decoding, self.groups, self.whole = source, name, decoding, groups, whole
        self.rules, self.corpora, tests = readings(decoding), GROUPS[name], _tests_of(source, groups)
        self.tests = {corpus: [t for t in tests if t.test.corpus == corpus] for corpus in self.corpora}
        self.lines = self._lines()
        self.single = [i for i, line in enumerate(self.lines) if not line.average]

    def _lines(self) -> list[_Line]:
        lines: list[_Line] = []
        for family, title in FAMILIES.items() if self.whole else ():
            named = [s for s in systems(family) if any(figure(s, "", c) is not None for c in self.corpora)]
            lines += [_Line(title, s, "", s, None) for s in named]
        rivals = sorted({(g.key.format, g.key.system) for g in self.groups if g.key.system.rival})
        lines += [_Line(RUN_HERE[format], s.title, format, None, s) for format, s in rivals]
        formats = in_order([*PAPER_FORMATS, *(g.key.format for g in self.groups)])
        for format in (f for f in formats if f not in RUN_HERE):
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
        columns: list[tuple[Column, list[Entry]]] = []
        published = [self._published(corpus) for corpus in self.corpora]
        for corpus, paper in zip(self.corpora, published, strict=True):
            columns.append((Column(PAPER_SOURCE, TITLES[corpus]), paper))
            for test in self.tests[corpus]:
                title = TITLES[corpus] if len(self.tests[corpus]) == 1 else test.title
                columns += [(Column(READING_TITLES[rule], title), self._ours([test], rule)) for rule in self.rules]
        columns.append((Column(PAPER_SOURCE, "Average"), _means(published)))
        if all(len(tests) == 1 for tests in self.tests.values()):
            one_each = [tests[0] for tests in self.tests.values()]
            columns += [(Column(READING_TITLES[rule], "Average"), self._ours(one_each, rule)) for rule in self.rules]
        entries = [
            best_in_bold(column, self.single) if head.title == PAPER_SOURCE else column for head, column in columns
        ]
        return Table(
            f"main-{self.name}-{self.decoding}",
            f"The paper's table of {self.name} corpora; ours decoded {DECODED[self.decoding]}",
            ("System",),
            tuple(head for head, _ in columns),
            tuple(
                TableRow((line.head,), tuple(row), line.block, line.average)
                for line, *row in zip(self.lines, *entries, strict=True)
            ),
            MAIN_TABLE_NOTE,
            (OWN_BEST, *self._notes()),
        )

    def _published(self, corpus: str) -> list[Entry]:
        # The paper's average is over its eight models, whether or not we have rows for them.
        values = [
            mean_of_models(line.format, corpus) if line.average
            else figure(line.published, line.format, corpus) if line.published else None
            for line in self.lines
        ]  # fmt: skip
        return [Missing("absent") if v is None else Value(v) for v in values]

    def _ours(self, tests: Sequence[ScoredTest], rule: ReadingName) -> list[Entry]:
        """Our scores on a test set, or their mean over several, with the mean of each format's systems."""
        column: list[Entry] = []
        parts: dict[tuple[str, ...], list[Value]] = {}
        for line in self.lines:
            if not line.ours:
                column.append(Missing("absent"))
                continue
            if line.ours.rival and rule == "paper":
                column.append(Missing("undefined", note="the paper's rule is for answers in a format"))
                continue
            scores = [score(self.source, t.get(line.ours, line.format, self.decoding), rule) for t in tests]
            entry = scores[0] if len(tests) == 1 else mean_of(self.source, scores, rule)
            column.append(entry)
            parts[entry.cells] = values_of(scores)
        column = self._averaged(column)
        if rule != "strict":
            return best_in_bold(map(without_interval, column), self.single)
        test = tested(self.source) if len(tests) == 1 else tested_means(self.source, parts)
        return against_best(column, test, self.single)

    def _averaged(self, column: list[Entry]) -> list[Entry]:
        """The rows with the mean of each format's systems filled in; the mean covers systems with a figure and gives
        their number."""
        result = list(column)
        for i, line in enumerate(self.lines):
            if line.average:
                lines = [(k, ours) for k, o in enumerate(self.lines) if (ours := o.ours) and o.format == line.format]
                # Untuned models are left out of the average of the tuned ones.
                mine = [column[k] for k, ours in lines if ours.trained] or [column[k] for k, _ in lines]
                values = values_of(mine)
                if values:
                    number = sum(v.number for v in values) / len(values)
                    some = f"{len(values)} of {len(mine)} systems" if len(values) < len(mine) else ""
                    result[i] = Value(number, cells=cells_of(values), part=some)
        return result

    def _notes(self) -> tuple[str, ...]:
        notes = [
            "The average of a format is the mean of its systems: the paper's eight models, and ours (the trained ones)."
        ]
        if not self.whole:
            notes.append("The paper's other systems stand in the table before.")
        for tests in self.tests.values():
            notes += [
                f"{t.test.title}: ours are of {t.about}"
                + ("." if t.test.whole else "; the paper's of the whole test split, so they do not compare.")
                for t in tests
            ]
        if "ontonotes5" in self.corpora:
            notes.append(GPT_NER_NOTE)
        return tuple(notes)


def _means(columns: Sequence[Sequence[Entry]]) -> list[Entry]:
    """The mean of each row; missing unless every column has it."""
    rows = [values_of(row) for row in zip(*columns, strict=True)]
    return [
        Value(sum(v.number for v in row) / len(row)) if len(row) == len(columns) else Missing("absent") for row in rows
    ]


def _has_rivals(source: Source, groups: Sequence[CellGroup]) -> bool:
    """Whether rivals were scored on a test set of these groups."""
    return any(g.key.system.rival for test in _tests_of(source, groups) for g in test.groups)


def _own_table(source: Source, decoding: str, groups: Sequence[CellGroup]) -> Table:
    """One row per corpus, system and rule; one column per format. Tests compare the entries of a row."""
    formats = in_order(g.key.format for g in groups)
    rows = []
    for test in _tests_of(source, groups):
        block = f"{test.test.title} ({test.about})" if "(" not in test.title else test.heading
        for system in sorted({g.key.system for g in groups if g.key.test == test.test}):
            mine = [test.get(system, format, decoding) for format in formats]
            for rule in sorted(readings(decoding), key=lambda r: r != "strict"):
                row = [score(source, group, rule) for group in mine]
                strict = rule == "strict"
                row = against_best(row, tested(source)) if strict else best_in_bold(map(without_interval, row))
                rows.append(TableRow((system.title, READING_TITLES[rule]), tuple(row), block))
    return Table(
        f"main-other-{decoding}",
        f"Corpora that the paper does not have; decoded {DECODED[decoding]}",
        ("System", "Counted by"),
        tuple(Column(format) for format in formats),
        tuple(rows),
        MAIN_TABLE_NOTE.partition("; ")[2],
        (BEST.format(family="comparisons of the row"), *([BESIDE] if _has_rivals(source, groups) else [])),
    )
