"""A whole study on a tiny model, from the file to the records; and the command line around it."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.conftest import Run as Command
from tests.processors import pretend
from tests.training.test_trainer import corpus, weights, write

from genner.assess import scheduler, training_cells
from genner.assess.cells import plan
from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.forecast import Machine
from genner.assess.records import Cell, CellResult, PredictionRecord
from genner.assess.study import Study
from genner.assess.worker import INTERRUPTED, perform
from genner.document import Document, Entity
from genner.engines import decoding
from genner.evaluation import evaluate
from genner.training import progress
from genner.training import trainer as trainer_module


def a_study(folder: Path, model: str) -> Study:
    write(folder / "train.jsonl", corpus(12))
    write(folder / "dev.jsonl", corpus(3, "saw"))
    write(folder / "test.jsonl", corpus(5, "heard"))
    names = (Entity(0, 4, "PER"), Entity(9, 13, "LOC"))
    write(folder / "lexicon.jsonl", [Document("Emmy met Bonn", names), Document("Olga met Jena", names)])
    (folder / "labels.json").write_text('{"PER": {"name": "person", "definition": "a human"}, "LOC": "a place"}')
    path = folder / "study.toml"
    path.write_text(
        f"""
name = "tiny"
decodings = ["grammar", "greedy", "sampled"]
[[model]]
name = "tiny"
model = {json.dumps(model)}
recipes = ["short"]
bare = true
[[corpus]]
name = "names"
labels = "labels.json"
train = ["train.jsonl"]
dev = "dev.jsonl"
test = "test.jsonl"
lexicon = "lexicon.jsonl"
sentences = 3
[[recipe]]
name = "short"
eval_sentences = 1
lora = {{ rank = 2, alpha = 4 }}
optim = {{ epochs = 1, group_tokens = 400, groups_per_step = 1 }}
drafter = {{ sentences = 0 }}
[[probe]]
name = "symbols"
train = true
decodings = ["grammar"]
[[probe]]
name = "mentions_unseen"
recipes = ["short"]
decodings = ["grammar"]
"""
    )
    return Study.from_file(path)


@pytest.fixture(autouse=True, scope="module")
def in_float32() -> Iterator[None]:
    """Sentences that are answered again stand in other batches; in bf16 that can turn a near-tie of a random model."""
    with pytest.MonkeyPatch.context() as patch:
        pretend(patch, "float32")
        patch.setattr(decoding, "SPARE", 8)  # without a grammar a random model writes all that it may
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyFolder, list[Cell]]:
    """The study, every cell of it run in this process."""
    folder = tmp_path_factory.mktemp("study")
    tiny.model("llama").save_pretrained(folder / "model")
    tiny.tokenizer("bytes").save_pretrained(folder / "model")
    cells = plan(a_study(folder, str(folder / "model")), lambda id: f"genner assess study.toml --only {id}")
    runs = StudyFolder(folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "draw", lambda metrics, out: None)
        for cell in cells:
            perform(runs, runs.add(cell), folder, "cpu")
    return folder, runs, cells


def results(runs: StudyFolder) -> dict[str, CellResult]:
    found = {run.cell.name: (run.state, run.failure, run.skipped, run.result) for run in runs.runs()}
    assert {name: what[:3] for name, what in found.items()} == dict.fromkeys(found, ("done", None, None))
    return {name: what[3] for name, what in found.items() if what[3]}


def test_every_cell_is_done_and_says_what_it_found(done: tuple[Path, StudyFolder, list[Cell]]) -> None:
    _, runs, cells = done
    found = results(runs)
    assert len(found) == len(cells) == 2 + 3 + 3 + 2
    for run in runs.runs():
        result = run.result
        assert result is not None
        assert (result.id, result.description) == (run.cell.id, run.cell.description)
        assert result.tokens > 0
        assert result.passes > 0
        assert result.signature
        if run.cell.kind == "train":
            assert (run.folder / "adapter" / "adapter_config.json").is_file()
            assert result.metrics["steps"] > 0
            assert result.metrics["loss"] > 0
            assert set(result.metrics["dev"]) >= {"f1", "invalid"}
            continue
        lines = list(run.predictions())
        assert len(lines) == 3 == result.metrics["documents"]
        assert result.tokens == sum(line.tokens for line in lines)
        report = evaluate([line.document() for line in lines], [line.prediction() for line in lines])
        assert result.metrics["repaired"]["f1"] == report.micro.f1
        assert result.metrics["paper"]["gold"] == sum(line.paper[0] + line.paper[2] for line in lines)  # type: ignore[index]
        if run.cell.description["decoding"] == "grammar":
            assert (result.metrics["invalid"], result.metrics["hallucinated"]) == (0, 0)
            assert all(line.paper is not None for line in lines)
            assert result.metrics["strict"] == result.metrics["repaired"]
        # The raw answers say it all: read again, they give the same.
        for line in lines:
            assert len(line.raw) == len(line.chunks) == 1


def test_signatures_tell_cells_apart(done: tuple[Path, StudyFolder, list[Cell]]) -> None:
    _, runs, cells = done
    assert len({result.signature for result in results(runs).values()}) == len(cells)
    sampled = results(runs)["tiny inline_xml names sampled seed 1"].signature
    assert "decoding:sampled" in sampled
    assert "sampling:t0.95-p0.7-k50" in sampled


def test_a_probe_trains_and_asks_in_its_own_labels(done: tuple[Path, StudyFolder, list[Cell]]) -> None:
    _, runs, cells = done
    cell = next(c for c in cells if c.description.get("probe") == "symbols" and c.kind == "probe")
    labels = {e.label for line in runs.run(cell.id).predictions() for e in line.gold}
    assert labels == {"A", "B"}
    trained = runs.run(cell.needs[0]).folder
    rows = [json.loads(line) for line in (trained / "probed" / "train.jsonl").read_text().splitlines()]
    assert {e["label"] for row in rows for e in row["entities"]} == {"A", "B"}
    result = runs.run(cell.id).result
    assert result is not None
    assert set(result.metrics["labels"]) <= {"PER", "LOC"}
    assert "span_f1" in result.metrics["measures"]


def test_what_is_run_again_gives_the_same(
    done: tuple[Path, StudyFolder, list[Cell]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, runs, cells = done
    monkeypatch.setattr(trainer_module, "draw", lambda metrics, out: None)
    for cell in (c for c in cells if c.kind != "probe"):
        run = runs.run(cell.id)
        before = run.result
        assert before is not None
        (run.folder / "result.json").unlink()
        if cell.kind == "score":
            path = run.folder / "predictions.jsonl"
            path.write_bytes(path.read_bytes()[:-20] if cell.description["trained"] else b"")
        assert perform(runs, run, folder, "cpu") == 0
        after = run.result
        assert after is not None
        assert (after.metrics, after.signature) == (before.metrics, before.signature)


def test_training_that_is_told_to_stop_goes_on_from_where_it_was(
    done: tuple[Path, StudyFolder, list[Cell]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, runs, cells = done
    monkeypatch.setattr(trainer_module, "draw", lambda metrics, out: None)
    monkeypatch.setattr(progress, "LOG_STEPS", 1)
    tell, told = training_cells.StepTracker.log, list[int]()

    def stop_once(self: Any, values: dict[str, float], step: int) -> None:
        tell(self, values, step)
        told.append(step)
        if told == [0, 1]:  # as `kill` does
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(training_cells.StepTracker, "log", stop_once)
    again = StudyFolder(tmp_path)
    run = again.add(cells[0])
    assert perform(again, run, folder, "cpu") == INTERRUPTED
    assert (run.state, told[-1]) == ("waiting", 1)
    assert run.progress is not None
    assert (run.progress.done, run.progress.total, run.progress.unit) == (1, 2, "steps")
    assert perform(again, run, folder, "cpu") == 0
    expected, found = runs.run(cells[0].id).result, run.result
    assert expected is not None
    assert found is not None
    assert {**found.metrics, "loss": 0} == {**expected.metrics, "loss": 0}
    of = [weights(r.folder / "adapter") for r in (run, runs.run(cells[0].id))]
    assert all(torch.equal(of[0][name], of[1][name]) for name in of[0])


# -- the command


def test_dry_run_lists_what_would_run(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.assess.forecast.measure", lambda device: Machine(1e11, 1e10, 2))
    code, out, _ = run("assess", "quick", "--out", "runs", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    head = 2 if lines[0].startswith("missing: model 'smollm2-135m-instruct' is not fetched") else 0
    listed, (total, note) = lines[head : head + 14], lines[head + 14 :]
    assert all(line.split()[0].startswith("~") for line in listed)  # nothing like it has run, so from size and speed
    assert re.match(
        r"14 cells, 0 done; about [\d.]+ (s|min|h) to go, one after another; up to [\d.]+ .B of memory; ", total
    )
    assert re.search(r"\d .B on the disk, where [\d.]+ .B are free$", total)
    assert "factor of three" in note
    assert not (tmp_path / "runs").exists()
    id = next(word for word in listed[0].split() if word.startswith("score-"))
    runs = StudyFolder(tmp_path / "runs")
    made = next(c for c in plan(Study.from_file(_quick())) if c.id == id)
    runs.add(made)
    runs.run(id).finish(CellResult("score", id, made.description, "", {}, 100.0, 1, 1, 1, "", {"documents": 50}))
    _, out, _ = run("assess", "quick", "--out", "runs", "--dry-run", "--only", "inline_xml *grammar*")
    lines = [line.split() for line in out.splitlines() if "seed" in line]
    assert [line[0] for line in lines[:2]] == ["done", "50"]  # seconds, from the finished one
    assert not [line for line in lines if line[0] == "?"]


def _quick() -> Path:
    from genner.assess.study import find_study

    return find_study("quick")


def test_the_command_runs_cells_and_says_how_it_went(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "fake.py"
    fake.write_text(
        "import sys\nfrom genner.assess import worker\nfrom genner.assess.cell_context import CellFindings\n"
        "def execute(work):\n"
        "    if work.about['decoding'] == 'greedy': raise ValueError('no')\n"
        "    return CellFindings({'documents': 1, 'strict': {'f1': 0.5}}, 's', 1, 1)\n"
        "worker.execute = execute\nsys.exit(worker.main())\n"
    )
    monkeypatch.setattr(scheduler, "WORKER", (sys.executable, str(fake)))
    code, _, err = run(
        "assess", "quick", "--out", "runs", "--devices", "cpu", "--jobs", "2", "--only", "litbank inline_xml"
    )
    assert code == 2
    assert "matches no cell" in err
    code, _, err = run("assess", "quick", "--out", "runs", "--devices", "cpu", "--only", "offset_json litbank")
    assert code == 1
    assert "1 done, 1 failed" in err
    assert "ValueError: no" in err
    assert "F1 50.0" in err
    assert (tmp_path / "runs" / "study.toml").read_bytes() == _quick().read_bytes()
    code, out, _ = run("assess", "status", "runs")
    assert code == 0
    assert out.splitlines()[0].split() == ["done", "failed", "skipped", "running", "waiting"]
    assert out.splitlines()[1].split() == ["score", "1", "1", "6"]
    assert "ValueError: no" in out
    command = json.loads(next((tmp_path / "runs" / "cells").glob("score-*/cell.json")).read_text())["command"]
    assert command.startswith("genner assess quick --out runs --data . --only score-")


def test_dry_run_names_first_what_is_missing(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("genner.assess.missing.room", lambda folder: 1.0)
    monkeypatch.setattr("genner.assess.missing.memory", lambda: 100.0)
    monkeypatch.setattr("genner.assess.forecast.measure", lambda device: Machine(1e11, 1e10, 2))
    code, out, _ = run("assess", "default", "--out", "runs", "--dry-run", "--only", "genia*greedy")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("missing: model 'smollm2-135m-instruct' is not fetched, about 0.3 GB")
    assert lines[1].startswith("missing: corpus 'genia': there is no genia/test.jsonl. GENIA")
    assert "(5 of 5 cells need it)" in lines[1]
    assert "about" in lines[-4]
    assert lines[-2].startswith("missing: room on the disk, ")
    assert lines[-1].startswith("missing: memory; 100 MB can be had now")


@pytest.mark.parametrize(
    ("skipped", "code", "said"),
    [
        (
            "'greedy', 'grammar'",
            1,
            ("skipped, 2 cells: get it", "2 skipped", "nothing was found: no cell has a result"),
        ),
        ("'greedy'", 0, ("skipped, 1 cell: get it", "1 done, 1 skipped", "shows what was found")),
    ],
)
def test_skipped_cells_are_told_and_nothing_found_is_no_success(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skipped: str, code: int, said: tuple[str, ...]
) -> None:
    fake = tmp_path / "fake.py"
    fake.write_text(
        "import sys\nfrom genner.assess import worker\nfrom genner.assess.cell_context import CellFindings\n"
        "from genner.assess.corpora import MissingError\n"
        "def execute(work):\n"
        f"    if work.about['decoding'] in ({skipped},): raise MissingError('get it')\n"
        "    return CellFindings({'documents': 1, 'strict': {'f1': 0.5}}, 's', 1, 1)\n"
        "worker.execute = execute\nsys.exit(worker.main())\n"
    )
    monkeypatch.setattr(scheduler, "WORKER", (sys.executable, str(fake)))
    found, _, err = run("assess", "quick", "--out", "runs", "--devices", "cpu", "--only", "offset_json litbank")
    assert found == code
    assert [part for part in said if part not in err] == []


def test_a_wrong_call_says_what_is_right(run: Command) -> None:
    code, _, err = run("assess", "nowhere.toml", "--out", "runs")
    assert (
        code,
        "unknown study 'nowhere.toml'; known: default, few_shot, paper, quick, small, tuning, or a TOML file" in err,
    ) == (
        2,
        True,
    )
    code, _, err = run("assess", "status", "nowhere")
    assert (code, "holds no cells" in err) == (1, True)
    code, _, err = run("assess", "quick", "--out", "runs", "--data", "nowhere")
    assert (code, "there is no 'nowhere'" in err) == (2, True)
    code, out, _ = run("assess", "--help")
    assert (code, "status" in out) == (0, True)


def test_status_tells_how_far_a_cell_is(run: Command, tmp_path: Path) -> None:
    from genner.assess.records import CellProgress

    runs = StudyFolder(tmp_path / "runs")
    one: CellFolder = runs.add(Cell("score", "score-1", "one", (), {}))
    with one.claim():
        one.report(CellProgress(25, 100, "documents", 50.0))
        with one.appending() as append:
            append(PredictionRecord("1", "Ada", (Entity(0, 3, "PER"),), ()))
        _, out, _ = run("assess", "status", "runs")
    assert "running: score-1 (one): 25 of 100 documents, about 2 min to go" in out
    assert [a.document() for a in one.predictions()] == [Document("Ada", (Entity(0, 3, "PER"),), "1")]
