"""The report's outline: which tables and figures, in which order, under which question."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from genner.report.abilities import ability_figures, ability_findings, ability_tables, families
from genner.report.answers import cost_table, kinds_table, validity_table
from genner.report.breakdowns import LABELS, WORDS, bucket_figure, bucket_table
from genner.report.collect import DECODED, Collection, System, TestSet
from genner.report.decoding import RULES, closings, decoding_findings, decoding_tables, pairs
from genner.report.draws import Draws
from genner.report.figures import closing_figure, cost_figure, format_figure, kinds_figure
from genner.report.main_tables import main_tables
from genner.report.measures import Source, score
from genner.report.mistakes import examples
from genner.report.outcomes import Outcome, read_outcomes
from genner.report.paper import GROUPS, SOURCE, TITLES
from genner.report.probing import meanings, measure_table, probe_figure, probe_table, probe_tests
from genner.report.provenance import complaints, entrances, gaps_table, states_table
from genner.report.table import Block, Listing, Report, Section, Value

NOTHING = "These runs hold nothing of this."


def build(folders: Sequence[Path], *, title: str = "", resamples: int = 10_000, seed: int = 0, each: int = 2) -> Report:
    """Read runs folders and make the report of them; `each` is how many examples of an error are shown.

    Raises `DataError` when a folder holds no cells or one of them is damaged, `UsageError` for numbers out of range.
    """
    return assemble(Collection.open(folders), folders, title=title, resamples=resamples, seed=seed, each=each)


def assemble(
    collection: Collection,
    folders: Sequence[Path],
    *,
    title: str = "",
    resamples: int = 10_000,
    seed: int = 0,
    each: int = 2,
) -> Report:
    """The report of what was read."""
    outcomes, problems = read_outcomes(collection, max(each, 1))
    source = Source(collection, Draws(outcomes, resamples, seed))
    cells, environments = entrances(collection)
    sections = [
        _run_section(collection, problems),
        _main_section(source),
        _format_section(source),
        _breakdown_section(source),
        _probe_section(source),
        _ability_section(collection),
        _error_section(source, outcomes, each),
        _cost_section(source),
        _method_section(resamples, seed),
    ]
    names = ", ".join(folder.resolve().name for folder in folders)
    return Report(title or f"Assessment: {names}", _lead(source), tuple(sections), cells, environments)


def _tests(source: Source) -> list[tuple[int, TestSet]]:
    return list(enumerate(source.collection.tests(), 1))


def _section(anchor: str, title: str, blocks: Sequence[Block | None], intro: str = "") -> Section:
    """A section; one without contents says so."""
    found = [block for block in blocks if block is not None]
    return Section(anchor, title, ((intro, *found) if intro else tuple(found)) if found else (NOTHING,))


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
        f"Is generative NER with open models as good as the paper says? Its figures are those of {SOURCE}. It "
        "decodes by sampling (its tool's default) and counts by a rule of its own; so each way of decoding has its "
        "table, and each score is given by both rules.",
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
        for kind in (LABELS, WORDS):
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


def _error_section(source: Source, outcomes: Mapping[str, Outcome], each: int) -> Section:
    blocks: list[Block | None] = [kinds_figure(source, outcomes, test, n) for n, test in _tests(source)]
    return _section("errors", "Errors", [*blocks, kinds_table(source, outcomes), *examples(source, outcomes, each)])


def _cost_section(source: Source) -> Section:
    blocks: list[Block | None] = [cost_figure(source, test, n) for n, test in _tests(source)]
    return _section("cost", "Cost", [*blocks, cost_table(source)])


def _method_section(resamples: int, seed: int) -> Section:
    return Section(
        "method",
        "How the numbers are made",
        (
            Listing(
                (
                    "Strict: an entity is right if its start, its end and its label are those of a gold entity; "
                    "counts are summed over documents, and micro-F1 is a property of the sum.",
                    "The paper's rule: the counts that the paper's published scripts give, one rule a format, with "
                    "their known faults; grouped JSON is matched by text there, not by position.",
                    f"Intervals: percentile bootstrap over documents, {resamples:,} resamples, seed {seed} (Efron "
                    "and Tibshirani, 1993, ch. 13). Scores on the same documents are resampled together, so their "
                    "differences are paired; p values are two-sided, (1 + hits) / (1 + resamples).",
                    "Several seeds: the number is their mean, and so is the score of each resample. Intervals say what "
                    "other documents would change; other seeds are not in them.",
                    "Several comparisons: p values are adjusted by Holm's method (1979) within the column, row or "
                    "table that the note names.",
                    "A test against the best of a column takes the best as given, though it was chosen after the fact.",
                    "Missing numbers: their place names the reason, and leads to the cell.",
                    f"The paper: {SOURCE}. Its figures are shipped with genner (paper_results.csv), micro-F1 in "
                    "percent as printed in its two main tables.",
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
            best, group = max(scored, key=lambda pair: pair[0].number)
            interval = (
                f" ({100 * best.low:.1f} to {100 * best.high:.1f})"
                if best.low is not None and best.high is not None
                else ""
            )
            k = group.key
            lines.append(
                f"{source.collection.title(test)}: the best strict F1 is {100 * best.number:.2f}{interval}, by "
                f"“{k.system.title}”, {k.format}, decoded {DECODED.get(k.decoding, k.decoding)}."
            )
            lines += _closing(source, test, k.system)
    return tuple(lines)


def _closing(source: Source, test: TestSet, system: System) -> list[str]:
    """The format of a system that lacks most when free, by each rule, and what the grammar closes of that."""
    said = []
    for published, rule in RULES.items():
        for free in ("greedy", "sampled"):
            best, found = closings(source, pairs(source, system, test, free, published))
            known = [(c.free.value, c) for c in found if c.share and c.free]
            if known:
                gap, worst = max(known, key=lambda pair: pair[0])
                share, low, high = (100 * x for x in worst.share or (0.0, 0.0, 0.0))
                closes = f"closes {share:.0f} % of that ({low:.0f} to {high:.0f})"
                if share < 0:
                    closes = f"widens that by {-share:.0f} % ({-high:.0f} to {-low:.0f})"
                said.append(
                    f"{source.collection.title(test)}, {system.title}, {rule}: decoded {DECODED[free]}, "
                    f"{worst.pair.format} is {100 * gap:.1f} points below {best}; the grammar {closes}."
                )
                break
    return said
