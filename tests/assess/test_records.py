"""A runs folder: what is written is what is read, whatever dies in between, and whoever else looks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.strategies import documents

from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.records import CELL_KINDS, Cell, CellProgress, CellResult, Failure, PredictionRecord
from genner.document import Document, Entity, Problem
from genner.errors import DataError, UnknownNameError


def cell(id: str = "score-0123456789ab", **values: object) -> Cell:
    return Cell(
        "score", id, "smollm2 inline_xml genia", ("train-ffffffffffff",), {"model": "m", **values}, "genner ..."
    )


def result(of: Cell) -> CellResult:
    versions = {"python": "3.11.2", "genner": "0.1.0"}
    return CellResult(
        of.kind, of.id, of.description, "match:strict", versions, 1.5, 700.0, 12, 3, "2026-01-01", {"x": [1]}
    )


def new(folder: Path) -> CellFolder:
    return StudyFolder(folder).add(cell())


def answered(document: Document) -> PredictionRecord:
    found = tuple(Entity(e.start, e.end, e.label, 0.5) for e in document.entities)
    problems = (Problem("split", "cut"),)
    chunks = ((0, len(document.text)),)
    return PredictionRecord(
        document.id, document.text, document.entities, found, ("a\n\u2028",), problems, 9, 2, chunks, (1, 0, 2.5)
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = new(tmp_path)
    assert StudyFolder.open(tmp_path).run(run.cell.id).cell == run.cell
    assert run.state == "waiting"
    run.skip("there is no corpus")
    assert (run.state, run.skipped) == ("skipped", "there is no corpus")
    failure = Failure("ModelError", "no", "Traceback", "2026-01-01")
    run.fail(failure)
    assert (run.state, run.failure) == ("failed", failure)
    run.begin()
    assert (run.state, run.failure, run.skipped) == ("waiting", None, None)
    run.report(CellProgress(3, 9, "documents"))
    assert run.progress == CellProgress(3, 9, "documents")
    run.finish(result(run.cell))
    assert (run.state, run.result, run.progress) == ("done", result(run.cell), None)
    assert [r.cell for r in StudyFolder.open(tmp_path).runs()] == [run.cell]


def test_cells_come_by_kind_and_name(tmp_path: Path) -> None:
    runs = StudyFolder(tmp_path)
    for i, kind in enumerate(reversed(CELL_KINDS)):
        for name in ("b", "a"):
            runs.add(Cell(kind, f"{kind}-{i}{name}", name, (), {}))
    found = [(r.cell.kind, r.cell.name) for r in StudyFolder.open(tmp_path).runs()]
    assert found == [(kind, name) for kind in CELL_KINDS for name in ("a", "b")]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(documents(), max_size=4))
def test_answers_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, some: list[Document]) -> None:
    run = new(tmp_path_factory.mktemp("runs"))
    lines = [answered(document) for document in some]
    for line in lines:
        with run.appending() as append:
            append(line)
    found = list(run.predictions())
    assert found == lines
    assert [[e.score for e in a.entities] for a in found] == [[e.score for e in a.entities] for a in lines]
    assert [a.document() for a in found] == some
    assert [a.prediction().problems for a in found] == [a.problems for a in lines]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_line_that_was_left_unfinished_is_dropped_and_written_again(tmp_path: Path, cut: int) -> None:
    run = new(tmp_path)
    first, second = answered(Document("Ada.", (Entity(0, 3, "PER"),), "1")), answered(Document("Bob.", id="2"))
    with run.appending() as append:
        append(first)
        append(second)
    path = run.folder / "predictions.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(run.predictions()) == [first]
    with run.appending() as append:
        append(second)
    assert list(run.predictions()) == [first, second]
    run.clear_predictions()
    assert list(run.predictions()) == []


def test_only_one_holds_a_cell_and_the_kernel_frees_it(tmp_path: Path) -> None:
    run = new(tmp_path)
    code = f"""
import sys, time
from pathlib import Path
from genner.assess.folders import StudyFolder
with StudyFolder(Path({str(tmp_path)!r})).run({run.cell.id!r}).claim() as held:
    print(held, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        assert (run.locked, run.state) == (True, "running")
        with run.claim() as held:
            assert not held
        other.kill()
        other.wait()
    assert (run.locked, run.state) == (False, "waiting")
    with run.claim() as held:
        assert held
        assert run.locked


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no cells"):
        StudyFolder.open(tmp_path)
    run = new(tmp_path)
    with pytest.raises(UnknownNameError, match=run.cell.id):
        StudyFolder.open(tmp_path).run("score-x")
    path = run.folder / "predictions.jsonl"
    path.write_text('{"id": "1"}\n')
    with pytest.raises(DataError, match=r"predictions.jsonl:1: is not an answer"):
        list(run.predictions())
    (run.folder / "items.jsonl").write_text('{"em": 1}\nno\n{"half')
    with pytest.raises(DataError, match=r"items.jsonl:2"):
        list(run.items())
    for broken in ("[]", "{", '{"kind": "score"}'):
        (run.folder / "result.json").write_text(broken)
        with pytest.raises(DataError, match=r"result.json.*delete it"):
            _ = run.result
    (run.folder / "cell.json").write_text('{"kind": "other", "id": "", "name": "", "needs": [], "description": {}}')
    with pytest.raises(DataError, match="legal: train, fit, score, probe, ability"):
        StudyFolder.open(tmp_path).runs()


def test_keys_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    run = new(tmp_path)
    run.finish(result(run.cell))
    path = run.folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    assert run.result == result(run.cell)
