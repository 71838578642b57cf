"""The report's outline: which tables and figures, in which order, under which question."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from genner.evaluation.intervals import FEW
from genner.generations.readings import ReadingName
from genner.report.abilities import ability_figures, ability_findings, ability_tables, families
from genner.report.answers import cost_table, kinds_table, validity_table
from genner.report.basis import with_basis
from genner.report.breakdowns import BY_LABEL, BY_LENGTH, bucket_figure, bucket_table
from genner.report.collect import DECODED, CellGroup, Collection, System, TestSet
from genner.report.contamination import contamination_section
from genner.report.decoding import Closing, closings, decoding_findings, decoding_tables, pairs, rule_findings
from genner.report.estimates import Estimates, together
from genner.report.figures import closing_figure, cost_figure, format_figure, kinds_figure
from genner.report.main_tables import main_tables
from genner.report.measures import Source, score, tested
from genner.report.mistakes import examples
from genner.report.outcomes import MEANINGS, RULES, CellOutcome, read_outcomes
from genner.report.paper import GROUPS, PAPER_CITATION, TITLES
from genner.report.probing import meanings, measure_table, probe_figure, probe_table, probe_tests
from genner.report.provenance import complaints, entrances, gaps_table, states_table
from genner.report.table import Block, Listing, Section, StudyReport, Value, detail, shown

EMPTY_SECTION = "These runs hold nothing of this."


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
    source = Source(collection, Estimates(outcomes, trained))
    cells, environments = entrances(collection)
    sections = [
        _run_section(collection, problems),
        _main_section(source),
        _format_section(source),
        _breakdown_section(source),
        _probe_section(source),
        contamination_section(collection),
        _ability_section(collection),
        _error_section(source, outcomes, each),
        _cost_section(source),
        _method_section(),
    ]
    sections = [with_basis(source, section) for section in sections]
    names = ", ".join(folder.resolve().name for folder in folders)
    return StudyReport(title or f"Assessment: {names}", _lead(source), tuple(sections), cells, environments)


def _tests(source: Source) -> list[tuple[int, TestSet]]:
    return list(enumerate(source.collection.tests(), 1))


def _section(anchor: str, title: str, blocks: Sequence[Block | None], intro: str = "") -> Section:
    """A section; one without contents says so."""
    found = [block for block in blocks if block is not None]
    return Section(anchor, title, ((intro, *found) if intro else tuple(found)) if found else (EMPTY_SECTION,))


def _run_section(collection: Collection, problems: Sequence[str]) -> Section:
    blocks: list[Block | None] = [states_table(collection), gaps_table(collection) or "Every cell has a result."]
    if checks := complaints(problems):
        blocks += ["Found when the records were compared with their own answers:", checks]
    return _section("runs", "What was run", blocks)


def _main_section(source: Source) -> Section:
    tables = main_tables(source)
    corpora = {t.corpus for t in source.collection.tests()}
    blocks: list[Block | None] = [*tables]
    for name, members in GROUPS.items():
        if tables and not corpora & set(members):
            names = " nor ".join(TITLES[c] for c in members)
            blocks.append(f"The paper's table of {name} corpora is left out: neither {names} is in these runs.")
    return _section(
        "main",
        "Main results",
        blocks,
        f"Is generative NER with open models as good as the paper says? Its figures are those of {PAPER_CITATION}. It "
        "decodes by sampling (its tool's default) and counts by a rule of its own; so each way of decoding has its "
        "table, and each score is given by its rule and by ours.",
    )


def _format_section(source: Source) -> Section:
    blocks: list[Block | None] = [decoding_findings(source), *decoding_tables(source)]
    for n, test in _tests(source):
        blocks += [format_figure(source, test, n), closing_figure(source, test, n)]
    blocks.append(validity_table(source))
    return _section(
        "formats",
        "Formats and decoding",
        blocks,
        "What does the format of the answer change, and how much of what a format lacks is only that its answers were "
        "not held to it? The same adapters are decoded freely and under the grammar.",
    )


def _breakdown_section(source: Source) -> Section:
    blocks: list[Block | None] = []
    for n, test in _tests(source):
        for kind in (BY_LABEL, BY_LENGTH):
            blocks += [bucket_figure(source, test, kind, n), bucket_table(source, test, kind, n)]
    return _section("breakdowns", "By label and by length", blocks)


def _probe_section(source: Source) -> Section:
    blocks: list[Block | None] = [meanings(source)]
    for n, test in enumerate(probe_tests(source), 1):
        blocks += [probe_figure(source, test, n), probe_table(source, test, n), measure_table(source, test, n)]
    return _section(
        "probes",
        "Recognition or memorization",
        blocks,
        "What is left of a score when the labels, the mentions, their context or their case are changed?",
    )


def _ability_section(collection: Collection) -> Section:
    found = families(collection)
    return _section(
        "ability",
        "General ability",
        [ability_findings(found), *ability_figures(found), *ability_tables(found)],
        "Do general abilities survive the training, and where a score rises: is it knowledge, or the form of the "
        "answers? The paper finds little change, but that F1 on DROP rises by 25.50 to 45.32 points.",
    )


def _error_section(source: Source, outcomes: Mapping[str, CellOutcome], each: int) -> Section:
    blocks: list[Block | None] = [kinds_figure(source, outcomes, test, n) for n, test in _tests(source)]
    return _section("errors", "Errors", [*blocks, kinds_table(source, outcomes), *examples(source, outcomes, each)])


def _cost_section(source: Source) -> Section:
    blocks: list[Block | None] = [cost_figure(source, test, n) for n, test in _tests(source)]
    return _section("cost", "Cost", [*blocks, cost_table(source)])


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


def _lead(source: Source) -> tuple[str, ...]:
    """What there is, and the findings that fit a sentence each."""
    items = source.collection.items.values()
    done = sum(item.result is not None for item in items)
    lines = [f"{done:,} of {len(items):,} cells have a result."]
    for test in source.collection.tests():
        scored = [
            (entry, g)
            for g in source.collection.scores()
            if g.key.test == test and isinstance(entry := score(source, g), Value)
        ]
        if scored:
            lines.append(_best(source, test, scored))
            lines += _closing(source, test, max(scored, key=lambda pair: pair[0].number)[1].key.system)
    return tuple(lines)


def _best(source: Source, test: TestSet, scored: Sequence[tuple[Value, CellGroup]]) -> str:
    """The best strict score of a test set, and how many others it cannot be told from."""
    best, group = max(scored, key=lambda pair: pair[0].number)
    others = [(entry, g) for entry, g in scored if g is not group]
    test_of = tested(source)
    judged = together([test_of(best, entry) for entry, _ in others])
    even = [g for (_, g), d in zip(others, judged, strict=True) if d is None or not d.sure]
    interval = f" ({detail(best)})" if detail(best) else ""
    said = (
        f"{source.collection.title(test)} ({source.collection.count(test)}): the best strict F1 is "
        f"{shown(best)}{interval}, by {_named(group)}"
    )
    if not others:
        return f"{said}; nothing else was scored."
    if not even:
        return f"{said}; the intervals of its differences to all {len(others)} others lie above 0."
    some = ", ".join(_named(g) for g in even[:2]) + (", ..." if len(even) > 2 else "")
    return f"{said}; that it is better than {len(even)} of the {len(others)} others cannot be told ({some})."


def _named(group: CellGroup) -> str:
    k = group.key
    return f"“{k.system.title}”, {k.format}, decoded {DECODED.get(k.decoding, k.decoding)}"


def _closing(source: Source, test: TestSet, system: System) -> list[str]:
    """The format of a system that lacks most when free, in each reading of its answers, and what the grammar closes of
    that; then what the grammar costs and gains, against what answers say and against what repair makes of them."""
    for free in ("greedy", "sampled"):
        read: dict[ReadingName, tuple[str, list[Closing]]] = {
            rule: closings(source, pairs(source, system, test, free, rule)) for rule in RULES
        }
        lacking = any(c.free and c.free.low > 0 for _, found in read.values() for c in found)
        first = next((rule for rule in RULES if any(c.free for c in read[rule][1])), None)
        if first is None:
            continue
        worst = max((c for c in read[first][1] if c.free), key=lambda c: c.free.value if c.free else 0.0).pair.format
        parts = []
        for rule, (best, found) in read.items():
            c = next((c for c in found if c.pair.format == worst and c.free and c.closed), None)
            if c and c.free and c.closed:
                parts.append(f"{RULES[rule]}, {_lack(c, best)}")
        head = f"{source.collection.title(test)}, {system.title} ({source.collection.count(test)})"
        headline = [f"{head}: decoded {DECODED[free]}, {worst} is, {'; '.join(parts)}."] if parts and lacking else []
        told = [line for rule in ("strict", "repaired") for line in rule_findings(source, test, system, free, rule)]
        return headline + [line for line in told if "the grammar costs F1" in line or "the grammar gains F1" in line]
    return []


def _lack(c: Closing, best: str) -> str:
    """A format's free deficit, and what the grammar does about it."""
    assert c.free
    assert c.closed
    if c.free.low <= 0:
        return f"not certain to lack anything against {best}"
    lack = f"{100 * c.free.value:.1f} points below {best}"
    if c.share is None:
        return f"{lack}, and whether the grammar closes any of that cannot be told"
    d = c.closed
    low, high = sorted((abs(d.low), abs(d.high)))
    verb = "closes" if d.value > 0 else "widens that by"
    of = " of that" if d.value > 0 else ""
    return (
        f"{lack}, and the grammar {verb} {100 * abs(d.value):.1f}{of} ({100 * low:.1f} to {100 * high:.1f}), "
        f"{100 * abs(c.share):.0f} %"
    )
