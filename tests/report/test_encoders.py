"""Encoders beside generative models in a report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report_runs import Study, answer, corpus, finish

from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.records import CellKind
from genner.evaluation import count
from genner.report.build import assemble
from genner.report.results import Collection
from genner.report.table import Missing, StudyReport, Table, TableText, Value

LABELS = ("protein", "DNA")
SKILLS = {"weak": 0.3, "strong": 0.9}


def rival(study: Study, name: str, skill: float, corpus: str, seeds: int = 1, depth: int = 1) -> None:
    """A rival of this skill, fitted and scored once for each seed."""
    folder = StudyFolder(study.root)

    def cell(kind: CellKind, about: dict[str, Any], needs: tuple[str, ...] = ()) -> CellFolder:
        return folder.add(replace(study.cell(kind, name, about, needs).cell, model=name))

    for seed in range(seeds):
        about = {"rival": "biaffine", "encoder": "mini@12345678", "corpus": corpus, "seed": seed}
        fitted = cell("fit", about | {"hyperparameters": {"depth": depth}, "name": name})
        finish(fitted, {"steps": 3, "documents": 40, "unseen": ["DNA"] if skill < 0.5 else []})
        test = {"split": "test", "sentences": None, "labels": corpus, "trained": fitted.cell.id}
        run = cell("score", about | test, (fitted.cell.id,))
        answer(run, study.documents[corpus], skill, seed)
        result = run.result
        assert result is not None
        more = {"paper": None, "unencodable": {"crosses another entity": 7}, "parameters": 22_000_000}
        finish(run, result.metrics | more)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    root = tmp_path_factory.mktemp("runs")
    study = Study(root, {name: corpus(60, LABELS, 3) for name in ("genia", "own")}, {"m": "m"})
    for name in study.documents:
        for skill, number in SKILLS.items():
            rival(study, skill, number, name, seeds=2 if skill == "strong" else 1)
        study.score("m", None, "inline_xml", name, "grammar", 0.6)
        study.score("m", None, "inline_xml", name, "greedy", 0.5)
    return Collection.open([root])


@pytest.fixture(scope="module")
def report(collection: Collection) -> StudyReport:
    return assemble(collection, [])


@pytest.fixture(scope="module")
def tables(report: StudyReport) -> dict[str, Table]:
    return {table.name: table for table in report.tables()}


def value(entry: object) -> Value:
    assert isinstance(entry, Value)
    return entry


def test_encoders_stand_beside_models_on_each_test_set(tables: dict[str, Table]) -> None:
    for name in ("encoders-1", "encoders-2"):
        table = tables[name]
        assert [(row.block, *row.heads) for row in table.rows] == [
            ("Encoders", "strong", "encoder", "–"),
            ("Encoders", "weak", "encoder", "–"),
            ("Generative models", "m", "inline_xml", "free, greedy"),
            ("Generative models", "m", "inline_xml", "under the grammar"),
        ]
        strong, weak, greedy, grammar = (row.entries for row in table.rows)
        best = value(strong[0])
        assert (best.best, best.mark, best.part) == (True, "", "2 seeds")
        assert best.interval is not None
        for row in (weak, greedy, grammar):
            assert value(row[0]).mark == "**"
        # Differences: encoders against the best model, models against the best encoder.
        for row, other in ((strong, grammar), (weak, grammar), (greedy, strong), (grammar, strong)):
            d = value(row[1])
            assert d.number == pytest.approx(value(row[0]).number - value(other[0]).number)
            assert d.interval is not None
            assert d.cells == (*value(row[0]).cells, *value(other[0]).cells)
        assert (value(strong[1]).mark, value(weak[1]).mark) == ("**", "**")
        assert value(strong[5]).number == 22
        assert value(strong[6]).number == 40
        assert value(strong[7]).number == pytest.approx(12.5 / 60)
        assert "weak: no entity in its training data of DNA." in table.notes
        assert not any(note.startswith("strong:") for note in table.notes)
        assert strong[8] == TableText("biaffine, mini@12345678")
        assert isinstance(grammar[7], Missing)


def test_what_cannot_be_expressed_is_a_share_of_the_gold(tables: dict[str, Table]) -> None:
    gold = sum(sum((c.tp + c.fn) for c in count(d, d).values()) for d in corpus(60, LABELS, 3))
    weak, model = tables["encoders-1"].rows[1].entries, tables["encoders-1"].rows[3].entries
    assert value(weak[4]).number == pytest.approx(7 / gold)
    assert isinstance(model[4], Missing)  # of an earlier version


def test_encoders_are_rows_of_the_papers_table_in_each_decoding(tables: dict[str, Table]) -> None:
    for decoding in ("greedy", "grammar"):
        table = tables[f"main-nested-{decoding}"]
        rows = {row.heads[0]: row for row in table.rows if row.block == "Encoders, run here"}
        assert list(rows) == ["strong", "weak"]
        columns = [(column.group, column.title) for column in table.columns]
        strict, paper = columns.index(("GENIA", "strict")), columns.index(("GENIA", "paper's rule"))
        assert value(rows["strong"].entries[strict]).best
        assert value(rows["weak"].entries[strict]).mark == "**"
        gap = rows["strong"].entries[paper]
        assert isinstance(gap, Missing)
        assert "answers in a format" in gap.note
    own = tables["main-other-grammar"]
    assert {row.heads[0] for row in own.rows} == {"m"}
    assert any("encoders beside generative models" in note for note in own.notes)


def test_the_lead_compares_the_best_of_both(report: StudyReport) -> None:
    lead = " ".join(report.lead)
    assert "GENIA (n = 60 documents): the best encoder, “strong” (" in lead
    assert ", trained on 40 documents), and the best generative model, “m” (" in lead
    assert ", not trained here)" in lead
    assert "points above it (" in lead
    assert "by “strong”, an encoder" in lead


def test_encoders_have_no_form_and_no_counted_passes(tables: dict[str, Table]) -> None:
    assert {row.heads[0] for row in tables["validity"].rows} == {"m"}
    cost = tables["cost"]
    at = [column.title for column in cost.columns].index(next(c.title for c in cost.columns if c.title == "passes"))
    passes = [row.entries[at] for row in cost.rows if row.heads[0] == "weak"]
    assert all(isinstance(entry, Missing) and entry.note == "not counted for encoders and tools" for entry in passes)
    assert any(row.heads == ("encoder",) for row in tables["labels-1"].rows)


def test_rivals_of_one_name_with_other_hyperparameters_are_told_apart(tmp_path: Path) -> None:
    for number in (1, 2):
        study = Study(tmp_path / str(number), {"own": corpus(5, LABELS, 3)})
        rival(study, "one", 0.5, "own", depth=number)
    collection = Collection.open([tmp_path / "1", tmp_path / "2"])
    assert {key.system.title for key in collection.groups} == {
        "one (hyperparameters.depth=1)",
        "one (hyperparameters.depth=2)",
    }


def test_tools_are_a_block_of_their_own(tmp_path: Path) -> None:
    study = Study(tmp_path, {"own": corpus(20, LABELS, 3)})
    rival(study, "weak", 0.3, "own")
    test = {"corpus": "own", "split": "test", "sentences": None, "labels": "own", "trained": None, "seed": 0}
    made = study.cell("score", "spaCy", {"rival": "spacy", "tool": {"model": "ruler@1234"}} | test)
    run = StudyFolder(tmp_path).add(replace(made.cell, model="spaCy"))
    answer(run, study.documents["own"], 0.9, 1)
    report = assemble(Collection.open([tmp_path]), [])
    (table,) = (found for found in report.tables() if found.name == "encoders-1")
    assert table.title == "Encoders and tools beside generative models: own"
    assert [(row.block, *row.heads, row.entries[8]) for row in table.rows] == [
        ("Encoders", "weak", "encoder", "–", TableText("biaffine, mini@12345678")),
        ("Tools", "spaCy", "tool", "–", TableText("spacy, ruler@1234")),
    ]
    assert "by “spaCy”, a tool" in report.lead[1]
