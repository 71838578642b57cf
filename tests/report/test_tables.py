"""Every number of a report is what the records say; what is missing is named, with its reason."""

import csv
import io
import re
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.report_runs import LABELS, Study, corpus, fail, finish, full, questions

from genner.assess.folders import CellFolder
from genner.errors import DataError
from genner.generations.readings import ReadingName
from genner.report import StudyReport, assemble, build
from genner.report.csv_tables import csv_files
from genner.report.deficits import format_deficits
from genner.report.estimates import Estimates
from genner.report.findings import decoding_findings
from genner.report.number_text import shown
from genner.report.outcomes import read_outcomes
from genner.report.paper import GROUPS, PAPER_FORMATS, figure, published, system_of, systems
from genner.report.results import Collection
from genner.report.source import Source
from genner.report.table import Listing, Missing, Value
from genner.report.terms import RULES

DECODINGS = ("greedy", "sampled", "grammar")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    full(root, 30, formats=("inline_bracketed", "inline_xml", "offset_json"))
    return root


@pytest.fixture(scope="module")
def report(folder: Path) -> StudyReport:
    return build([folder])


def lines(report: StudyReport, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_files(report)[f"{name}.csv"], newline="")))


def metric(run: CellFolder, *path: str) -> Any:
    assert run.result
    found: Any = run.result.metrics
    for key in path:
        found = found[key]
    return found


# -- the paper


def test_the_shipped_figures_are_the_papers() -> None:
    """Its averages, which it reports on their own, are those of the figures shipped."""
    reported = {"flat": (91.91, 91.71, 90.78, 91.17, 53.91), "nested": (82.85, 82.67, 81.69, 80.07, 34.53)}
    assert len(published()) == 190
    for name, corpora in GROUPS.items():
        for format, expected in zip(PAPER_FORMATS, reported[name], strict=True):
            found = [f for s in systems("llm") for c in corpora if (f := figure(s, format, c)) is not None]
            assert len(found) == 16
            assert 100 * sum(found) / 16 == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(
    ("model", "system"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "LLaMA3.1-8B"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "LLaMA3.1-8B"),
        ("meta-llama/Llama-3.2-3B-Instruct", "LLaMA3.2-3B"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5-7B"),
        ("Qwen/Qwen3-4B", "Qwen3-4B"),
        ("ibm-granite/granite-3.3-8b-instruct", "Granite3.3-8B"),
        ("ibm-granite/granite-4.0-micro", "Granite4-3B"),
        ("google/gemma-2-9b-it", "Gemma2-9B"),
        ("google/gemma-3-4b-it", "Gemma3-4B"),
        ("smollm2-135m-instruct", None),
        ("google/gemma-3-4b-pt", None),
        ("runs/mine", None),
    ],
)
def test_models_are_found_in_the_paper(model: str, system: str | None) -> None:
    assert system_of(model) == system


# -- any records


keys = st.tuples(
    st.sampled_from(["smollm2-135m-instruct", "google/gemma-2-9b-it"]),
    st.sampled_from(["inline_xml", "offset_json", "compact"]),
    st.sampled_from(["conll2003", "ontonotes5", "genia", "mine"]),
    st.sampled_from(DECODINGS),
    st.integers(0, 1),
)
states = st.one_of(st.floats(0, 1), st.sampled_from(["failed", "skipped", "waiting"]))


@given(st.dictionaries(keys, states, max_size=9))
@settings(max_examples=25, deadline=None)
def test_every_number_is_that_of_the_records_and_every_gap_is_named(
    tmp_path_factory: pytest.TempPathFactory, cells: dict[tuple[str, str, str, str, int], float | str]
) -> None:
    study = Study(tmp_path_factory.mktemp("any"))
    (study.root / "cells").mkdir()
    runs: dict[str, CellFolder] = {}
    groups: defaultdict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for (model, format, name, decoding, seed), state in cells.items():
        run = study.cell("score", "x", study.describe(model, None, format, name, decoding, seed))
        runs[run.cell.id] = run
        if isinstance(state, float):
            scores = {"f1": state}
            finish(
                run,
                {
                    "strict": scores,
                    "repaired": {"f1": state / 3},
                    "paper": {"f1": state / 2},
                    "invalid": state / 4,
                    "documents": 7,
                },
            )
            groups[model, format, name, decoding].append(state)
        elif state == "failed":
            fail(run)
        elif state == "skipped":
            run.skip("no such corpus here")
    report = build([study.root])

    files = {name: lines(report, name.removesuffix(".csv")) for name in csv_files(report) if "figure" not in name}
    for name, found in files.items():
        for line in found:
            if not name.startswith("main") or not line["cells"] or line["System"] == "average":
                continue
            if line["state"] == "number" and "Average" not in line["group"]:
                rule = line.get("Counted by") or line["column"]
                path = ("paper" if "paper" in rule else rule, "f1")
                expected = [metric(runs[id], *path) for id in line["cells"].split()]
                assert float(line["value"]) == pytest.approx(sum(expected) / len(expected), rel=1e-12)
    # Each group is in a main table once by each rule, with the mean of its seeds.
    strict = [
        float(line["value"])
        for name, found in files.items()
        for line in found
        if name.startswith("main") and line["cells"] and line["System"] != "average" and line["state"] == "number"
        and "Average" not in line["group"] and "strict" in (line.get("Counted by"), line["column"])
    ]  # fmt: skip
    assert sorted(strict) == pytest.approx(sorted(sum(g) / len(g) for g in groups.values()))
    gaps = {line["value"]: line["block"] for line in files.get("gaps.csv", []) if line["column"] == "id"}
    assert gaps == {run.cell.id: run.state for run in runs.values() if run.state != "done"}
    text = " ".join(line["cells"] for found in files.values() for line in found)
    assert all(id in text for id in runs)
    assert {cell.id for cell in report.cells} == set(runs)


def test_bold_is_the_best_and_only_what_is_worse_is_marked(report: StudyReport) -> None:
    for table in report.tables():
        if not table.name.startswith("main-nested"):
            continue
        at = next(i for i, c in enumerate(table.columns) if c.title == "strict")
        rows = [row for row in table.rows if not row.total and isinstance(row.entries[at], Value)]
        values = [row.entries[at] for row in rows]
        found = [v for v in values if isinstance(v, Value)]
        top = max(float(shown(v)) for v in found)
        assert [v.best for v in found] == [float(shown(v)) == top for v in found]
        assert not any(v.mark for v in found if v.best)
        assert all(v.p is not None for v in found if not v.best)
        # Far worse in every resample: no doubt is left.
        assert table.name != "main-nested-greedy" or [v.mark for v in found].count("**") == 1


def test_a_test_that_cannot_be_made_is_marked(tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(8, LABELS["genia"])})
    one = study.score("a", None, "inline_xml", "genia", "greedy", 0.9)
    two = study.score("a", None, "offset_json", "genia", "greedy", 0.2)
    (two.folder / "predictions.jsonl").unlink()
    report = build([tmp_path])
    found = [line for line in lines(report, "main-nested-greedy") if line["System"] == "a"]
    rows = {line["cells"]: line for line in found if line["column"] == "strict"}
    assert rows[two.cell.id]["mark"] == "?"
    assert rows[one.cell.id]["mark"] == ""
    assert any(two.cell.id in str(block) for s in report.sections for block in s.blocks if s.anchor == "runs")


def test_a_record_that_disagrees_with_its_answers_is_told(tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(8, LABELS["genia"])})
    run = study.score("a", None, "inline_xml", "genia", "greedy", 0.9)
    assert run.result
    finish(run, run.result.metrics | {"strict": {"f1": 0.123}, "documents": 9})
    (section,) = [s for s in build([tmp_path]).sections if s.anchor == "runs"]
    text = str(section.blocks)
    assert "strict F1 is 12.30 in its record" in text
    assert "9 documents, and there are answers to 8" in text


def test_cells_of_two_folders_are_one_report_and_done_wins(tmp_path: Path) -> None:
    documents = {"genia": corpus(6, LABELS["genia"])}
    one, two = Study(tmp_path / "one", documents), Study(tmp_path / "two", documents)
    fail(one.cell("score", "x", one.describe("a", None, "inline_xml", "genia", "greedy")))
    done = two.score("a", None, "inline_xml", "genia", "greedy", 0.9)
    for order in ((one, two), (two, one)):
        collection = Collection.open([s.root for s in order])
        assert [(item.id, item.state) for item in collection.items.values()] == [(done.cell.id, "done")]


def test_recipes_that_differ_are_not_averaged_and_seeds_are(tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(6, LABELS["genia"])})
    for rank in (8, 256):
        for seed in (1, 2):
            trained = study.train("a", "inline_xml", "genia", seed, lora={"rank": rank})
            study.score("a", trained, "inline_xml", "genia", "greedy", 0.5, seed)
    groups = Collection.open([tmp_path]).scores()
    assert sorted((g.key.system.title, len(g.items)) for g in groups) == [
        ("a, trained (lora.rank=256)", 2),
        ("a, trained (lora.rank=8)", 2),
    ]


def test_conversations_that_are_mixed_in_are_named(tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(4, LABELS["genia"])})

    def titles(*recipes: dict[str, Any]) -> list[str]:
        for recipe in recipes:
            trained = study.train("a", "inline_xml", "genia", **recipe)
            study.score("a", trained, "inline_xml", "genia", "greedy", 0.5)
        return sorted(g.key.system.title for g in Collection.open([tmp_path]).scores())

    assert titles({}, {"chat": [{"name": "talk", "weight": 0.1}]}) == ["a, trained", "a, trained (chat=talk)"]
    # Others of that name stay apart.
    found = titles({"chat": [{"name": "talk", "weight": 0.5}]})
    assert len(set(found)) == len(found) == 3


def test_a_model_keeps_its_name(tmp_path: Path) -> None:
    """A folder that a study gives a name stands under it in every table and figure; so does one of the paper's models,
    which is still found in the paper."""
    documents = {"genia": corpus(6, LABELS["genia"])}
    folder, llama = "/home/me/runs/17/best", "llama-3.1-8b-instruct"
    study = Study(tmp_path / "one", documents, {folder: "mine", llama: "big"})
    study.score(folder, None, "inline_xml", "genia", "greedy", 0.9)
    study.score(llama, study.train(llama, "inline_xml", "genia"), "inline_xml", "genia", "greedy", 0.9)
    report = build([study.root])
    names = {line["System"] for line in lines(report, "main-nested-greedy") if line["cells"]}
    assert {"mine", "big, trained"} <= names
    (row,) = [
        row for t in report.tables() if t.name.startswith("main") for row in t.rows if row.heads[0] == "big, trained"
    ]
    assert isinstance(row.entries[0], Value)  # the paper's figure of LLaMA3.1-8B beside it
    shown_words = " ".join(str(block) for section in report.sections for block in section.blocks)
    assert folder not in shown_words
    # One name for two models, in two studies, would mix them up.
    other = Study(tmp_path / "two", documents, {"/elsewhere": "mine"})
    other.score("/elsewhere", None, "inline_xml", "genia", "greedy", 0.1)
    collection = Collection.open([study.root, other.root])
    assert {collection.name(folder), collection.name("/elsewhere")} == {folder, "/elsewhere"}


def test_a_damaged_result_loses_no_other(folder: Path, tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(6, LABELS["genia"])})
    bad = study.score("a", None, "inline_xml", "genia", "greedy", 0.9)
    study.score("a", None, "offset_json", "genia", "greedy", 0.9)
    (bad.folder / "result.json").write_text("{")
    report = build([tmp_path])
    (gap,) = [line for line in lines(report, "gaps") if line["column"] == "why"]
    assert "cannot be read" in gap["value"]
    with pytest.raises(DataError, match="holds no cells"):
        build([tmp_path / "cells"])


def test_a_format_that_the_paper_does_not_have_has_no_score_by_its_rule_and_this_is_said(tmp_path: Path) -> None:
    study = Study(tmp_path)
    cell = study.cell("score", "s", study.describe("a", None, "gpt_ner", "genia", "grammar"))
    finish(cell, {"strict": {"f1": 0.9}, "repaired": {"f1": 0.9}, "paper": None, "documents": 7})
    (table,) = [t for t in build([tmp_path]).tables() if t.name == "main-nested-grammar"]
    (row,) = [row for row in table.rows if row.heads[0] == "a"]
    assert any(isinstance(entry, Missing) and entry.why == "undefined" for entry in row.entries)
    assert any("n/a: not defined here (the paper has no script for the format gpt_ner)" in n for n in table.legend())


def test_a_cell_that_waits_says_for_what(tmp_path: Path) -> None:
    study = Study(tmp_path)
    train = study.cell("train", "t", {"model": "a", "format": "inline_xml", "corpus": "genia", "seed": 1})
    fail(train, "no memory left")
    study.cell("score", "s", study.describe("a", train, "inline_xml", "genia", "greedy"), (train.cell.id,))
    report = build([tmp_path])
    why = {line["block"]: line["value"] for line in lines(report, "gaps") if line["column"] == "why"}
    assert why == {"failed": "RuntimeError: no memory left", "waiting": f"needs {train.cell.id}, which failed"}


# -- what it is over


def test_every_table_of_scores_says_its_seeds_and_units(tmp_path: Path) -> None:
    texts = [replace(d, group=f"article {i // 4}") for i, d in enumerate(corpus(40, LABELS["genia"]))]
    study = Study(tmp_path, {"genia": texts})
    for seed in range(3):
        trained = study.train("m", "inline_xml", "genia", seed=seed)
        study.score("m", trained, "inline_xml", "genia", "greedy", 0.6 + 0.1 * seed)
        study.score("m", trained, "inline_xml", "genia", "grammar", 0.7 + 0.1 * seed)
    study.score("n", None, "inline_xml", "genia", "grammar", 0.5)
    study.ability("m", None, "squad", questions(20, 0.3, 6))
    study.ability("m", trained, "squad", questions(20, 0.3, 6))
    said = {t.name: t.notes for t in build([tmp_path]).tables() if t.name not in ("states", "gaps")}
    for name, notes in said.items():
        (seeds,) = [note for note in notes if re.match(r"\d+( to \d+)? seeds?: ", note)]
        if name.startswith("ability"):
            assert seeds == "1 seed: intervals are over questions alone."
            continue
        over = "Intervals are over 10 groups (GENIA, 40 documents in all)."
        assert f"{over} Of fewer than 30 an interval is rough." in notes
        assert "documents and seeds together" in seeds
    assert said["main-nested-greedy"][-2].startswith("3 seeds: numbers are means")
    assert said["main-nested-grammar"][-2].startswith("1 to 3 seeds: ")


# -- what is worked out


def source_of(folder: Path) -> Source:
    collection = Collection.open([folder])
    return Source(collection, Estimates(read_outcomes(collection, 1)[0]))


@pytest.mark.parametrize("rule", RULES)
def test_what_the_grammar_closes_adds_up(folder: Path, rule: ReadingName) -> None:
    source = source_of(folder)
    seen = 0
    for test in source.tests():
        for system in {g.key.system for g in test.groups if g.key.system.trained}:
            best, found = format_deficits(test, system, "greedy", rule)
            scores = {c.pair.format: (c.pair.free, c.pair.grammar) for c in found}
            for c in found:
                free, grammar = scores[c.pair.format]
                assert isinstance(free, Value)
                assert isinstance(grammar, Value)
                assert c.gain
                assert c.gain.value == pytest.approx(grammar.number - free.number)
                if c.pair.format == best:
                    assert c.free is None
                    continue
                top = scores[best]
                assert isinstance(top[0], Value)
                assert isinstance(top[1], Value)
                assert c.free
                assert c.grammar
                assert c.closed
                assert c.free.value == pytest.approx(top[0].number - free.number)
                assert c.grammar.value == pytest.approx(top[1].number - grammar.number)
                assert c.closed.value == pytest.approx(c.free.value - c.grammar.value)
                assert (c.share is not None) == (c.free.low > 0 and c.closed.sure)
                assert c.share is None or c.share == pytest.approx(c.closed.value / c.free.value)
                seen += 1
    assert seen == 4


def test_the_deficits_are_told_by_both_rules_with_what_was_wrong(folder: Path, report: StudyReport) -> None:
    runs = {run.id: run for run in Collection.open([folder]).of("score")}
    seen = set()
    for n in (1, 2):
        found = lines(report, f"decoding-{n}")
        for line in found:
            rule = next(rule for rule, name in RULES.items() if line["block"].endswith(f", {name}"))
            ids = line["cells"].split()
            of, column = line["group"], line["column"]
            seen.add((rule, column))
            if of == "F1":
                (run,) = (runs[id] for id in ids)
                assert run.description["decoding"] == {"free": "greedy"}.get(column, column)
                assert float(line["value"]) == pytest.approx(metric(run.run, rule, "f1"))
            elif column == "gain":
                free, grammar = (metric(runs[id].run, rule, "f1") for id in ids)
                assert float(line["value"]) == pytest.approx(grammar - free)
            elif of == "Of 30 free answers":
                (run,) = (runs[id] for id in ids)
                assert run.description["decoding"] == "greedy"
                expected = metric(run.run, "problems", "realigned" if column == "misplaced" else "invalid")
                wrong = expected if column in ("invalid", "misplaced") else 0
                assert float(line["value"]) == pytest.approx(wrong)
        assert {line["Format"] for line in found} == {"inline_bracketed", "inline_xml", "offset_json"}
    columns = {"free", "grammar", "gain", "points", "share, %", "invalid", "hallucinated", "truncated", "misplaced"}
    assert seen == {(rule, column) for rule in RULES for column in columns}


def test_the_finding_is_the_table_in_words(folder: Path, report: StudyReport) -> None:
    """Each reading has its sentences, and each format of the table is in one, told surely only where it is."""
    collection = Collection.open([folder])
    listing = decoding_findings(Source(collection, Estimates(read_outcomes(collection, 1)[0])))
    assert listing.items
    for (n, title), (rule, name) in product(((1, "GENIA"), (2, "uner")), RULES.items()):
        found = [line for line in lines(report, f"decoding-{n}") if line["block"].endswith(f", {name}")]
        said = [x for x in listing.items if x.startswith(f"{title}, ") and f", {name} (n = 30 documents): " in x]
        assert said, rule
        free = {line["Format"]: float(line["value"]) for line in found if (line["group"], line["column"]) == FREE}
        assert f"against {max(free, key=lambda f: free[f])} when decoded freely (greedy)" in said[0]
        assert "offset_json" in said[0]
        closed = {line["Format"]: line for line in found if line["column"] == "points"}
        for line in found:
            if line["column"] == "share, %" and line["state"] == "number":
                points = 100 * float(closed[line["Format"]]["value"])
                assert re.search(f"{points:.2f} of [0-9.]+ points of {line['Format']} ", said[0])
                assert f"{100 * float(line['value']):.1f} %" in said[0]
            if line["column"] == "gain":
                low, high = float(line["low"]), float(line["high"])
                (sentence,) = [x for x in said[1:] if re.search(rf"\b{line['Format']}\b", x)]
                assert ("gains F1 in" in sentence) == (low > 0) == (line["mark"] != "" and float(line["value"]) > 0)
                assert ("cannot be told" in sentence) == (low <= 0 <= high) == (line["mark"] == "")


def test_where_the_grammar_costs_f1_it_is_said_as_loudly(tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(60, LABELS["genia"])})
    for format, free, grammar in (("inline_xml", 0.9, 0.5), ("offset_json", 0.2, 0.8), ("grouped_json", 0.7, 0.7)):
        study.score("m", None, format, "genia", "greedy", free)
        study.score("m", None, format, "genia", "grammar", grammar)
    report = build([tmp_path])
    told = [line for line in report.lead if "the grammar costs F1" in line or "the grammar gains F1" in line]
    assert [re.findall(r"grammar (\w+) F1 in (\w+) by", line) for line in told] == [
        [("costs", "inline_xml")],
        [("gains", "offset_json")],
    ] * 2
    assert [rule for line in told for rule in ("strict", "repaired") if f"{rule} (n = 60 documents)" in line] == [
        *["strict"] * 2, *["repaired"] * 2,
    ]  # fmt: skip
    # The three readings of a free answer stand in one sentence.
    (headline,) = [line for line in report.lead if "offset_json is," in line]
    places = [headline.index(f" {name}") for name in RULES.values()]
    assert places == sorted(places)
    marks = {line["Format"]: line["mark"] for line in lines(report, "decoding-1")
             if line["column"] == "gain" and line["block"].endswith("strict")}  # fmt: skip
    assert marks["inline_xml"]
    assert marks["offset_json"]


def test_what_cannot_be_told_is_not_claimed(tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(5, LABELS["genia"])})
    for format in ("inline_xml", "offset_json"):
        for decoding in ("greedy", "grammar"):
            study.score("m", None, format, "genia", decoding, 0.6)
    report = build([tmp_path])
    text = " ".join(report.lead)
    assert "n = 5 documents" in text
    assert "cannot be told (" in text
    assert not re.search(r"the grammar (closes|gains|costs|widens)|lie above 0", text)


def test_numbers_of_several_seeds_are_means_with_standard_deviations(tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(12, LABELS["genia"])})
    runs = [study.score("m", None, "inline_xml", "genia", "sampled", 0.6, seed) for seed in (1, 2, 3)]
    report = build([tmp_path])
    found = [metric(run, "strict", "f1") for run in runs]
    (line,) = [
        x
        for x in lines(report, "main-nested-sampled")
        if x["column"] == "strict" and x["System"] == "m" and x["state"] == "number" and x["group"] == "GENIA"
    ]
    assert float(line["value"]) == pytest.approx(mean(found))
    assert float(line["spread"]) == pytest.approx(stdev(found))
    assert line["note"] == "3 seeds"
    drawn = next(f for f in report.figures() if f.name == "formats-1")
    (row,) = [row for row in drawn.rows if row[0] == "m"]
    assert dict(zip(drawn.columns, row, strict=True))["standard deviation"] == pytest.approx(stdev(found))
    assert "Means of 3 seeds; thick lines: one standard deviation" in drawn.caption


def test_every_figure_names_its_corpus_and_says_of_how_many_and_how_sure(report: StudyReport) -> None:
    for drawn in report.figures():
        if drawn.name.startswith("ability"):
            assert all("n = 30" in str(row[0]) for row in drawn.rows)
        else:
            assert any(title in drawn.title for title in ("GENIA", "uner"))
            assert "n = 30 documents" in drawn.caption
        assert "nterval" in drawn.caption
        at = [drawn.columns.index(name) for name in ("low", "high")]
        assert any(isinstance(row[at[0]], float) and isinstance(row[at[1]], float) for row in drawn.rows)


def test_every_table_of_scores_says_of_how_many_documents(report: StudyReport) -> None:
    for table in report.tables():
        if table.name not in ("states", "gaps") and not table.name.startswith("ability"):
            text = f"{table.caption} {table.notes} {[row.block for row in table.rows]}"
            assert "n = 30 documents" in text, table.name


FREE = ("F1", "free")


def test_where_there_is_nothing_to_find_no_score_is_given(tmp_path: Path) -> None:
    study = Study(tmp_path, {"genia": corpus(9, ["protein"])})
    run = study.score("m", None, "inline_xml", "genia", "grammar", 1.0)
    assert run.result
    found = run.result.metrics
    lengths = {**found["lengths"], "5+": dict.fromkeys(("precision", "recall", "f1", "gold", "predicted"), 0)}
    finish(run, {**found, "lengths": lengths})
    line = next(line for line in lines(build([tmp_path]), "lengths-1") if line["column"] == "5+")
    assert (line["state"], line["value"]) == ("undefined", "")


def test_probes_stand_beside_the_original_of_the_same_training(folder: Path, report: StudyReport) -> None:
    runs = {run.cell.id: run for run in Collection.open([folder]).items.values()}
    found = [line for n in (1, 2) for line in lines(report, f"probes-{n}")]
    assert {line["Probe"] for line in found} == {"symbols", "mentions_unseen", "lower", "neutral (keep: 2)"}
    for line in found:
        ids = line["cells"].split()
        if line["column"] == "probe":
            assert float(line["value"]) == pytest.approx(metric(runs[ids[0]].run, "strict", "f1"))
        elif line["column"] == "difference":
            original, probe = ids
            assert runs[original].description["trained"] == runs[probe].description["trained"]
            if not line["Probe"].startswith("neutral"):
                expected = metric(runs[probe].run, "strict", "f1") - metric(runs[original].run, "strict", "f1")
                assert float(line["value"]) == pytest.approx(expected)
        elif line["column"] == "documents":
            assert float(line["value"]) == (10 if line["Probe"].startswith("neutral") else 30)


def test_abilities_are_compared_with_their_base(folder: Path, report: StudyReport) -> None:
    runs = {run.id: run for run in Collection.open([folder]).of("ability")}
    found = lines(report, "ability-1")
    base, other = sorted(runs.values(), key=lambda item: item.description["trained"] is not None)
    changes = [line for line in found if line["column"] == "change"]
    assert {line["Measure"] for line in changes} >= {"em", "f1", "empty answers", "tokens an answer"}
    for line in changes:
        if line["Measure"] in ("em", "f1"):
            path = ("scores", line["Measure"], "value")
            assert float(line["value"]) == pytest.approx(metric(other.run, *path) - metric(base.run, *path))
            assert line["cells"].split() == [base.id, other.id]
            assert line["p"]
    parts = lines(report, "ability-parts-1")
    for cut in ("short", "same_length", "window"):
        values = {line["column"]: float(line["value"]) for line in parts if line["Answers cut"] == cut}
        total = values["empty answers"] + values["form"] + values["content"]
        assert values["change of F1"] == pytest.approx(total)
    # What it comes to is said in words.
    blocks = next(section.blocks for section in report.sections if section.anchor == "ability")
    (said,) = next(block.items for block in blocks if isinstance(block, Listing))
    change = 100 * values["change of F1"]
    assert said.startswith("squad, zero-shot, ")
    assert re.search(rf"F1 (rises|falls) by {abs(change):.1f} points|F1 changes by {change:+.1f} .*chance", said)


def test_abilities_of_several_trainings_stand_side_by_side(tmp_path: Path) -> None:
    """They are not averaged, so each has its columns, named by the seed of its training."""
    study = Study(tmp_path)
    study.ability("m", None, "squad", questions(20, 0.3, 6))
    runs = [study.train("m", "inline_xml", "genia", seed=seed) for seed in (1, 2)]
    cells = {study.ability("m", run, "squad", questions(20, 0.3 + 0.2 * n, 2)).cell.id for n, run in enumerate(runs)}
    report = build([tmp_path])
    found = {(line["group"], line["cells"]) for line in lines(report, "ability-1") if line["column"] == "score"}
    assert {group for group, _ in found} == {
        "m, trained (on genia, inline_xml, seed 1)",
        "m, trained (on genia, inline_xml, seed 2)",
    }
    assert {id for _, id in found} == cells
    (drawn,) = [f for f in report.figures() if f.name == "ability-1"]
    assert len({row[1] for row in drawn.rows}) == 2


def test_every_cell_of_a_report_has_its_command_and_versions(report: StudyReport) -> None:
    for cell in report.cells:
        assert cell.id in cell.command
        assert (cell.environment != "") == (cell.state == "done")
    (versions,) = report.environments.values()
    assert versions["torch"] == "2.13.0"


def test_examples_show_the_very_answer(report: StudyReport) -> None:
    from genner.report.table import ErrorExamples

    found = [e for s in report.sections for b in s.blocks if isinstance(b, ErrorExamples) for e in b.items]
    assert {e.kind for e in found} >= {"missed", "wrong boundary", "invalid answer"}
    for example in found:
        assert example.raw == (f"<answer>{example.gold.text}</answer>",)
        assert example.kind == "invalid answer" or set(example.gold.entities) != set(example.pred.entities)


def test_an_empty_study_is_a_report(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    report = assemble(Collection.open([tmp_path]), [tmp_path])
    assert report.lead == ("0 of 0 cells have a result.",)
