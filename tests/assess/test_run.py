"""Cells are run once each, after what they need; whatever dies, all that was finished stays, and the rest goes on."""

import json
import os
import signal
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests import tiny

from genner.assess import answer_cells, worker
from genner.assess.answer_cells import run_probe, run_score
from genner.assess.cell_context import CellContext, CellFindings
from genner.assess.cells import plan
from genner.assess.corpora import MissingError, documents_of, drawn, must_be_there
from genner.assess.environment import machine, peak_memory_mb, versions
from genner.assess.estimate import _count, estimate, units
from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.forecast import Cost, Machine, forecast, size_of
from genner.assess.missing import missing, unfetched
from genner.assess.records import Cell, CellResult, CellState, PredictionRecord
from genner.assess.run import _KINDS, execute
from genner.assess.scheduler import Scheduler, places
from genner.assess.scoring import metrics, paper, said
from genner.assess.study import Study
from genner.assess.worker import BUSY, INTERRUPTED, perform
from genner.data.catalog import named_label_set
from genner.document import Document, Entity, LabelSet
from genner.engines.base import Request
from genner.engines.scripted import ScriptedEngine
from genner.errors import DataError, UnknownNameError, UsageError
from genner.evaluation import evaluate
from genner.extract import Extractor
from genner.extras import install_command
from genner.formats import FORMATS
from genner.generations import READINGS, score_generations
from genner.generations.paper import PAPER_RULES

SAMPLE = "sample:uner_en_ewt"


# -- the scheduler, on a worker that does what a cell's description says

FAKE = """
import os, signal, sys, time
from pathlib import Path
from genner.assess import worker
from genner.assess.corpora import MissingError
from genner.assess.cell_context import CellFindings
from genner.generations.paper import PAPER_RULES

def execute(work):
    about = work.about
    with open(work.runs.root / "ran.txt", "a") as file:
        file.write(work.run.cell.id + "\\n")
    for need in work.run.cell.needs:
        assert work.runs.run(need).state == "done"
    time.sleep(about.get("sleep", 0))
    once = work.run.folder / "once"
    if about.get("dies") and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if about.get("fails"):
        raise ValueError("it cannot be")
    if about.get("missing"):
        raise MissingError("get it there")
    return CellFindings({"documents": 1}, "sign", 1, 1)

worker.execute = execute
worker._end_with_parent()
sys.exit(worker.main())
"""


class Seen:
    """A watch that remembers."""

    def __init__(self) -> None:
        self.started_, self.ended_ = list[str](), dict[str, CellState]()

    def started(self, cell: Cell, device: str | None) -> None:
        self.started_.append(cell.id)

    def elsewhere(self, run: CellFolder, holder: str) -> None:
        pass

    def ended(self, run: CellFolder, state: CellState) -> None:
        assert run.cell.id not in self.ended_
        self.ended_[run.cell.id] = state

    def tick(self, running: Sequence[CellFolder]) -> None:
        pass


def cell(name: str, *needs: str, **about: Any) -> Cell:
    kind = "train" if name.startswith("train") else "score"
    return Cell(kind, f"{kind}-{name}", name, needs, about, "genner assess")


@pytest.fixture
def fake(tmp_path: Path) -> Any:
    path = tmp_path / "fake.py"
    path.write_text(FAKE)

    def scheduler(cells: list[Cell], jobs: int = 2, watch: Seen | None = None) -> Scheduler:
        command = (sys.executable, str(path))
        return Scheduler(StudyFolder(tmp_path / "runs"), cells, tmp_path, [None] * jobs, watch or Seen(), command)

    return scheduler


def ran(folder: Path) -> Counter[str]:
    path = folder / "runs" / "ran.txt"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def test_one_cells_failure_takes_only_those_that_need_it_along(tmp_path: Path, fake: Any) -> None:
    cells = [
        cell("train-a"),
        cell("train-b", fails=True),
        cell("train-c", missing=True),
        cell("train-d", dies=True),
        *(cell(f"of-{x}", f"train-train-{x}") for x in "abcd"),
    ]
    cells = [Cell(c.kind, c.id, c.name, c.needs, c.description, c.command) for c in cells]
    seen = Seen()
    states = fake(cells, watch=seen).work()
    runs = StudyFolder.open(tmp_path / "runs")
    assert states == seen.ended_ == {run.cell.id: run.state for run in runs.runs()}
    assert {c.name: states[c.id] for c in cells} == {
        "train-a": "done",
        "train-b": "failed",
        "train-c": "skipped",
        "train-d": "failed",
        "of-a": "done",
        "of-b": "skipped",
        "of-c": "skipped",
        "of-d": "skipped",
    }
    failure, died = (runs.run(f"train-train-{x}").failure for x in "bd")
    assert failure is not None
    assert (failure.error, failure.message) == ("ValueError", "it cannot be")
    assert "it cannot be" in failure.traceback
    assert died is not None
    assert "SIGKILL" in died.message
    assert runs.run("score-of-b").skipped == "it needs train-train-b (train-b), which failed: it cannot be"
    assert runs.run("score-of-c").skipped == "it needs train-train-c (train-c), which was skipped: get it there"
    assert runs.run("train-train-c").skipped == "get it there"
    # Gone on with: what is done is not done again, all else is tried again.
    before = ran(tmp_path)
    again = fake(cells).work()
    assert (again["train-train-d"], again["score-of-d"]) == ("done", "done")
    assert runs.run("train-train-d").failure is None
    assert ran(tmp_path) - before == Counter({f"train-train-{x}": 1 for x in "bcd"} | {"score-of-d": 1})


def test_two_processes_on_one_study_run_each_cell_once(tmp_path: Path, fake: Any) -> None:
    cells = [cell("train-x", sleep=0.2), *(cell(f"s{i}", "train-train-x", sleep=0.1) for i in range(3))]
    cells.append(cell("wrong", fails=True))
    for one in cells:
        StudyFolder(tmp_path / "runs").add(one)
    found: list[dict[str, CellState]] = []
    both = [threading.Thread(target=lambda: found.append(fake(cells, 1).work())) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert found[0] == found[1] == {c.id: "failed" if c.name == "wrong" else "done" for c in cells}
    assert ran(tmp_path) == Counter(c.id for c in cells)


def test_an_interrupt_stops_what_runs_and_loses_nothing(tmp_path: Path, fake: Any) -> None:
    cells = [cell("fast"), cell("slow", sleep=600)]

    class Impatient(Seen):
        def tick(self, running: Sequence[CellFolder]) -> None:
            if [run.cell.name for run in running] == ["slow"] and ran(tmp_path)["score-slow"]:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake(cells, watch=Impatient()).work()
    runs = StudyFolder.open(tmp_path / "runs")
    assert [runs.run(c.id).state for c in cells] == ["done", "waiting"]


def test_a_worker_ends_with_the_process_that_started_it(tmp_path: Path, fake: Any) -> None:
    runs = StudyFolder(tmp_path / "runs")
    run = runs.add(cell("slow", sleep=600))
    scheduler = fake([])
    scheduler._start(run, 0)
    process = scheduler._running[0].process
    while not ran(tmp_path):
        assert process.poll() is None, run.failure
        time.sleep(0.02)
    assert run.state == "running"
    process.stdin.close()  # as the kernel does when its holder dies
    assert process.wait(20) == -signal.SIGTERM
    assert run.state == "waiting"
    scheduler._reap()


def test_a_place_for_each_device_or_as_many_as_are_asked_for() -> None:
    assert places(["cuda:0", "cuda:1"], None) == ["cuda:0", "cuda:1"]
    assert places(["cuda:0", "cuda:1"], 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert places(["cpu"], 2) == ["cpu", "cpu"]


# -- a worker's record


def of(runs: StudyFolder, **about: Any) -> CellFolder:
    description = {
        "model": "m",
        "trained": None,
        "format": "inline_xml",
        "corpus": "ewt",
        "file": SAMPLE,
        "split": "test",
        "sentences": 7,
        "labels": "core",
        "decoding": "grammar",
        "seed": 0,
    }
    return runs.add(Cell("score", "score-x", "x", (), description | about, "genner assess"))


@pytest.fixture
def capitals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A system that marks each text's first word, wrongly closed now and then; returns the texts it was asked."""
    asked: list[str] = []

    def answer(request: Request) -> str:
        asked.append(request.text)
        first, _, rest = request.text.partition(" ")
        return f"<PER>{first}</PER> {rest}" if len(asked) % 3 else f"<PER>{first} {rest}"

    def extractor(work: CellContext, labels: LabelSet) -> Extractor:
        return Extractor(ScriptedEngine(answer), FORMATS[work.about["format"]], labels, split=False)

    monkeypatch.setattr(answer_cells, "extractor", extractor)
    monkeypatch.setattr(
        answer_cells, "_counted", lambda work, lines, settings: CellFindings(metrics(lines, settings)[0], "s", 1, 1)
    )
    return asked


def test_a_result_says_what_was_found_with_what(tmp_path: Path, capitals: list[str]) -> None:
    runs = StudyFolder(tmp_path)
    run = of(runs)
    assert perform(runs, run, tmp_path, "cpu") == 0
    result = run.result
    assert result is not None
    assert (result.kind, result.id, result.description) == ("score", "score-x", run.cell.description)
    assert result.versions["machine"] == machine()
    assert {"python", "genner", "torch", "transformers"} <= result.versions.keys()
    assert result.seconds > 0
    assert 10 < result.peak_memory_mb < peak_memory_mb() + 1
    lines = list(run.predictions())
    assert [line.raw for line in lines] == [(line.raw[0],) for line in lines]
    assert result.metrics["documents"] == len(lines) == 7
    gold, found = [line.document() for line in lines], [line.prediction() for line in lines]
    report = evaluate(gold, found)
    repaired, strict = result.metrics["repaired"], result.metrics["strict"]
    assert (repaired["f1"], repaired["low"], repaired["high"]) == (report.micro.f1, *report.interval)
    assert (repaired["correct"], repaired["gold"]) == (report.micro.tp, report.micro.support)
    assert repaired["predicted"] == sum(len(d.entities) for d in found)
    assert strict["correct"] == sum(line.strict[0] for line in lines if line.strict) <= repaired["correct"]
    assert strict["gold"] == repaired["gold"]
    assert result.metrics["invalid"] == sum(d.invalid for d in found) / 7 > 0
    assert sum(v["gold"] for v in result.metrics["labels"].values()) == repaired["gold"]
    assert sum(v["predicted"] for v in result.metrics["lengths"].values()) == repaired["predicted"]
    kinds = Counter(problem.kind for d in found for problem in d.problems)
    assert result.metrics["problems"] == kinds
    assert kinds["malformed"] > 0  # the answers leave tags open, which is no hallucination
    assert result.metrics["hallucinated"] == sum(any(p.kind == "dropped" for p in d.problems) for d in found) / 7


@pytest.mark.parametrize("after", range(0, 8, 3))
def test_a_killed_cell_goes_on_behind_its_last_whole_line(
    tmp_path: Path, capitals: list[str], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole, cut = StudyFolder(tmp_path / "whole"), StudyFolder(tmp_path / "cut")
    perform(whole, of(whole), tmp_path, None)
    expected = (tmp_path / "whole" / "cells" / "score-x" / "predictions.jsonl").read_bytes()
    capitals.clear()
    run = of(cut)
    lines = expected.splitlines(keepends=True)
    (run.folder / "predictions.jsonl").write_bytes(b"".join(lines[:after]) + (lines[after][:9] if after < 7 else b""))
    capitals += ["asked before"] * after
    perform(cut, run, tmp_path, None)
    assert (run.folder / "predictions.jsonl").read_bytes() == expected
    assert len(capitals) == 7
    assert run.result is not None
    assert run.result.metrics == whole.run("score-x").result.metrics  # type: ignore[union-attr]


def test_answers_about_other_documents_are_not_gone_on_with(tmp_path: Path, capitals: list[str]) -> None:
    runs = StudyFolder(tmp_path)
    perform(runs, of(runs, file="sample:wnut17", labels="wnut17"), tmp_path, None)
    run = of(runs)
    (run.folder / "result.json").unlink()
    perform(runs, run, tmp_path, None)
    assert [line.text for line in run.predictions()] == [
        d.text for d in drawn(documents_of(SAMPLE, tmp_path, named_label_set("core", tmp_path)), 7)
    ]


def test_what_is_done_or_held_is_left_alone(tmp_path: Path, capitals: list[str]) -> None:
    runs = StudyFolder(tmp_path)
    run = of(runs)
    with run.claim() as held:
        assert held
        assert perform(runs, run, tmp_path, None) == BUSY
    assert perform(runs, run, tmp_path, None) == 0
    at = (run.folder / "result.json").stat().st_mtime_ns
    assert worker.main([str(tmp_path), "score-x", "--data", str(tmp_path)]) == 0
    assert (run.folder / "result.json").stat().st_mtime_ns == at
    assert len(capitals) == 7


def test_what_goes_wrong_is_recorded_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = StudyFolder(tmp_path)
    run = of(runs, model="nowhere")
    since = time.time()
    assert perform(runs, run, tmp_path, None) == 0
    assert run.state == "skipped"
    assert "nowhere" in (run.skipped or "")
    assert run.is_finished(since)
    assert not run.is_finished(time.time() + 10)
    run = of(runs, labels="core,none")
    assert perform(runs, run, tmp_path, None) == 0
    assert run.failure is not None
    assert (run.failure.error, run.state) == ("DataError", "failed")
    assert "neither a known label set" in run.failure.message
    assert perform(runs, run, tmp_path, None, since) == 0  # another process has seen it fail: not again

    def stop(work: CellContext) -> CellFindings:
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "execute", stop)
    assert perform(runs, run, tmp_path, None) == INTERRUPTED
    assert run.state == "waiting"


# -- corpora


def test_a_missing_corpus_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no .*ace2005/test.jsonl.*LDC2006T06.*genner convert .* --from ace2005"):
        must_be_there("ace2005", ["ace2005/test.jsonl"], tmp_path)
    with pytest.raises(MissingError, match="--data"):
        must_be_there("mine", ["mine.jsonl"], tmp_path)
    with pytest.raises(UnknownNameError, match=r"unknown sample 'x'; known: .*wnut17"):
        must_be_there("mine", ["sample:x"], tmp_path)
    must_be_there("mine", [SAMPLE], tmp_path)
    labels = named_label_set("conll2003", tmp_path)
    assert labels.tags == ("PER", "ORG", "LOC", "MISC")
    (tmp_path / "own.json").write_text('["DNA"]')
    assert named_label_set("own.json", tmp_path).tags == ("DNA",)
    with pytest.raises(DataError, match=r"has label .*, which the label set lacks; it has: DNA"):
        documents_of(SAMPLE, tmp_path, named_label_set("own.json", tmp_path))


def test_a_corpus_of_a_study_may_be_in_any_syntax(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('["PER"]')
    (tmp_path / "x.conll").write_text("Ada B-PER O\nmet O O\n")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "x.conll", "x.conll")
        archive.writestr("readme.txt", "")
    study = Study.from_dict(
        {
            "name": "s",
            "model": [{"name": "default"}],
            "corpus": [{"name": "c", "labels": "own.json", "test": "x.conll", "from": "conll:column=1"}],
        }
    )
    [cell] = plan(study)
    assert (cell.description["from"], study.corpora[0].training.from_) == ("conll:column=1", "conll:column=1")
    labels = named_label_set("own.json", tmp_path)
    for name in ("x.conll", "all.zip/x.conll"):
        must_be_there("c", [name], tmp_path)
        [document] = documents_of(name, tmp_path, labels, "conll:column=1")
        assert (document.text, [e.label for e in document.entities]) == ("Ada met", ["PER"])
    (tmp_path / "t.jsonl").write_text('{"text": "Ada", "source": 1}\n')
    with pytest.raises(UsageError, match=r"its first record has: text, source; .*in the study: from = 'SYNTAX'"):
        documents_of("t.jsonl", tmp_path, labels)
    with pytest.raises(MissingError, match="there is no"):
        must_be_there("c", ["all.zip/none.conll"], tmp_path)


@pytest.mark.parametrize("content", ["", '{"id": "1", "text": "Ada", "entities": []}\n'])
@pytest.mark.parametrize("kind", [run_score, run_probe])
def test_a_test_file_without_entities_is_no_score_of_zero(tmp_path: Path, kind: Any, content: str) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    corpus = {"name": "c", "labels": "core", "test": "x.jsonl"}
    study = Study.from_dict({"name": "s", "model": [{"name": "default"}], "corpus": [corpus]})
    runs = StudyFolder(tmp_path / "runs")
    work = CellContext(runs.add(plan(study)[0]), runs, tmp_path, None)
    with pytest.raises(DataError, match=r"x\.jsonl: has no entity in [01] documents: nothing can be scored"):
        kind(work)


def test_missing_conversations_say_where_some_are(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("")
    recipe = {"name": "r", "chat": [{"name": "talk", "train": ["talk.jsonl"], "weight": 0.1}]}
    runs = StudyFolder(tmp_path / "runs")
    run = runs.add(plan(Study.from_dict({**_TRAINED, "recipe": [recipe]}))[0])
    assert perform(runs, run, tmp_path, "cpu") == 0
    assert run.state == "skipped"
    assert (
        run.skipped
        == f"there is no {tmp_path / 'talk.jsonl'} of general conversations; docs/mixing.md says where to get some"
    )


def test_sentences_are_drawn_evenly() -> None:
    some = [Document(str(i)) for i in range(10)]
    for n in range(11):
        places_ = [int(d.text) for d in drawn(some, n)]
        assert len(places_) == n
        gaps = [b - a for a, b in pairwise(places_)]
        assert not gaps or max(gaps) - min(gaps) <= 1
    assert drawn(some, None) == drawn(some, 99) == some


# -- the three readings


@pytest.mark.parametrize("name", PAPER_RULES)
def test_paper_counts_are_those_of_the_file_of_the_papers_tool(tmp_path: Path, name: str) -> None:
    form, labels = FORMATS[name], LabelSet.of("PER", "LOC", "ORG")
    gold = documents_of(SAMPLE, tmp_path, named_label_set("core", tmp_path))
    answers = [form.encode(form.encodable_part(d)[0], labels) for d in gold]
    answers = [*answers[1:], answers[0]]  # each about another text
    answers[::2] = [form.encode(form.encodable_part(d)[0], labels) for d in gold[::2]]
    answers[5] = answers[5][:-1]
    path = tmp_path / "generated_predictions.jsonl"
    with path.open("w") as file:
        for document, answer in zip(gold, answers, strict=True):
            file.write(
                json.dumps({"predict": answer, "label": form.encode(form.encodable_part(document)[0], labels)}) + "\n"
            )
    report = score_generations(path, name, "paper", labels)
    counts = [paper(form, labels, d, [(0, len(d.text))], [a]) for d, a in zip(gold, answers, strict=True)]
    totals = [sum(c[i] for c in counts if c is not None) for i in range(3)]
    assert totals == [report.micro.tp, report.micro.fp, report.micro.fn]
    assert 0 < totals[0] < report.micro.support


def test_an_answer_is_read_in_three_ways() -> None:
    """Wrong offsets cost the entity by the paper's rule and strictly; repaired, the mention is looked up."""
    form, labels = FORMATS["offset_json"], LabelSet.of("PER", "LOC")
    gold = Document("Ada met Bob in Rome.", (Entity(0, 3, "PER"), Entity(8, 11, "PER"), Entity(15, 19, "LOC")), "a")
    raw = form.encode(gold, labels).replace('"start": 8, "end": 11', '"start": 7, "end": 10')
    chunks = [(0, len(gold.text))]
    line = PredictionRecord(
        "a",
        gold.text,
        gold.entities,
        form.decode(gold.text, raw, labels).entities,
        (raw,),
        chunks=((0, len(gold.text)),),
        paper=paper(form, labels, gold, chunks, [raw]),
        strict=said(form, labels, gold, chunks, [raw]),
    )
    found, _ = metrics([line], {})
    numbers = {name: tuple(found[name][key] for key in ("correct", "predicted", "gold")) for name in READINGS}
    assert numbers == {"paper": (2, 3, 3), "strict": (2, 3, 3), "repaired": (3, 3, 3)}
    assert PredictionRecord.from_dict(json.loads(json.dumps(line.to_dict()))) == line
    assert metrics([replace(line, strict=None)], {})[0]["strict"] is None  # of an earlier version


def test_a_text_in_chunks_is_so_many_answers() -> None:
    labels, form = LabelSet.of("PER"), FORMATS["inline_xml"]
    document = Document("Ada met. Bob met.", (Entity(0, 3, "PER"), Entity(9, 12, "PER")))
    raw = ["<PER>Ada</PER> met.", "Bob <PER>met</PER>."]
    assert paper(form, labels, document, [(0, 8), (9, 17)], raw) == (1, 1, 1)
    assert paper(FORMATS["compact"], labels, document, [(0, 17)], ["x"]) is None
    assert paper(form, labels, Document(""), [], []) == (0, 0, 0)


# -- before anything has run

BOX = Machine(flops=1e11, bandwidth=1e10, weight=2)


def test_the_size_of_a_model_is_read_from_its_config_or_its_name(tmp_path: Path) -> None:
    model = tiny.model("llama")
    model.config.save_pretrained(tmp_path / "model")
    found = size_of(str(tmp_path / "model"))
    assert found is not None
    # Norms are left out.
    assert found.parameters == pytest.approx(sum(p.numel() for p in model.parameters()), rel=0.02)
    for name, billions in (("qwen2.5-7b-instruct", 7), ("granite-4.0-micro", 3), ("a/Some-Model-1.5B", 1.5)):
        size = size_of(name)
        assert size is not None
        assert size.parameters == pytest.approx(billions * 1e9, rel=0.2)
    assert size_of("nobody/knows") is None


def test_a_forecast_grows_with_the_model_the_data_and_what_is_written_freely(tmp_path: Path) -> None:
    def cost(**about: Any) -> Cost:
        found = forecast(
            of(StudyFolder(tmp_path), **{"model": "qwen3-4b", "sentences": 10} | about).cell, tmp_path, BOX
        )
        assert found is not None
        assert found.rough
        return found

    base = cost()
    assert cost(sentences=20).seconds > base.seconds
    assert cost(sentences=20).disk_mb == pytest.approx(2 * base.disk_mb)
    bigger = cost(model="qwen2.5-7b-instruct")
    assert bigger.seconds > base.seconds
    assert bigger.memory_mb > base.memory_mb > 8000  # two bytes for each of 4 billion
    for format in ("offset_json", "grouped_json"):
        assert cost(format=format, decoding="greedy").seconds > 2 * cost(format=format).seconds
    faster = forecast(of(StudyFolder(tmp_path), model="qwen3-4b").cell, tmp_path, Machine(1e13, 1e12, 2))
    assert faster is not None
    assert faster.seconds < base.seconds
    assert forecast(of(StudyFolder(tmp_path), model="nobody/knows").cell, tmp_path, BOX) is None
    (tmp_path / "t.jsonl").write_text("{}\n" * 50)
    train = plan(Study.from_dict({**_TRAINED, "model": [{"name": "qwen3-4b", "recipes": ["r"]}]}))[0]
    _count.cache_clear()
    trained = forecast(train, tmp_path, BOX)
    assert trained is not None
    assert trained.seconds > base.seconds
    assert trained.memory_mb > base.memory_mb


def test_what_is_missing_is_found_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "empty"))
    lacking = ("bitsandbytes", "lm_eval")
    monkeypatch.setattr("genner.assess.missing.is_installed", lambda name: name not in lacking)
    study = Study.from_dict(
        {
            "name": "s",
            "model": [{"name": "qwen3-4b", "recipes": ["r"]}, {"name": "nobody/knows"}],
            "recipe": [{"name": "r", "method": "qlora", "chat": [{"name": "talk", "train": ["talk.jsonl"]}]}],
            "corpus": [
                {"name": "genia", "labels": "genia", "train": ["t.jsonl"], "test": "x.jsonl"},
                {"name": "here", "labels": "unheard", "train": ["u.jsonl"], "test": SAMPLE},
            ],
            "ability": [{"task": "squad", "data": "bench", "models": ["qwen3-4b"]}],
        }
    )
    cells = plan(study)
    (tmp_path / "u.jsonl").write_text("{}\n")
    found = missing(cells, tmp_path)
    said = {why: len(of) for why, of in found.items()}
    for part in (
        "model 'qwen3-4b' is not fetched, about 8.0 GB: `genner models fetch qwen3-4b`",
        "nobody/knows",
        "corpus 'genia': there is no",
        "t.jsonl. GENIA",
        "corpus 'here': label set unheard",
        "talk.jsonl of general conversations",
        f"bitsandbytes is not installed: {install_command('qlora')}",
        "lm-evaluation-harness is not installed",
        f"no folder {tmp_path / 'bench'}",
    ):
        assert [why for why in said if part in why], (part, said)
    assert len([why for why in said if "corpus 'genia'" in why]) == 1  # named once, whatever file of it a cell needs
    assert unfetched(cells) == ["qwen3-4b", "nobody/knows"]  # which may be on the hub
    write_folder = tmp_path / "model"
    write_folder.mkdir()
    (write_folder / "config.json").write_text("{}")
    corpus = {"name": "c", "labels": "core", "test": SAMPLE}
    there = Study.from_dict({"name": "s", "model": [{"name": str(write_folder)}], "corpus": [corpus]})
    assert not missing(plan(there), tmp_path)


# -- estimates


def test_estimates_come_from_what_is_most_like_it(tmp_path: Path) -> None:
    def done(seconds: float, documents: int, **about: Any) -> CellResult:
        made = of(StudyFolder(tmp_path), **about).cell
        return CellResult("score", "x", made.description, "", {}, seconds, 0, 0, 0, "", {"documents": documents})

    cell = of(StudyFolder(tmp_path), sentences=10).cell
    assert units(cell, tmp_path) == 10
    assert units(of(StudyFolder(tmp_path), sentences=None).cell, tmp_path) == 120
    assert units(of(StudyFolder(tmp_path), sentences=None, file="none", corpus="genia").cell, tmp_path) == 1732
    assert units(of(StudyFolder(tmp_path), sentences=None, file="none").cell, tmp_path) is None
    assert estimate(cell, [], tmp_path) is None
    other = done(30.0, 10, model="other", format="compact")
    assert estimate(cell, [other], tmp_path) == 30.0
    assert estimate(cell, [other, done(8.0, 8), done(4.0, 4)], tmp_path) == 10.0
    assert estimate(cell, [done(1.0, 1, decoding="greedy")], tmp_path) == 10.0  # better than nothing
    probe = Cell("probe", "probe-x", "x", (), {**cell.description, "probe": "lower", "seed": 3})
    assert estimate(probe, [other, done(8.0, 8)], tmp_path) == 10.0
    train = plan(Study.from_dict(_TRAINED))[0]
    assert estimate(train, [other], tmp_path) is None
    assert units(train, tmp_path) is None
    (tmp_path / "t.jsonl").write_text("{}\n" * 50)
    _count.cache_clear()
    assert units(train, tmp_path) == 2 * 0.5 * 50


_TRAINED: dict[str, Any] = {
    "name": "s",
    "model": [{"name": "m", "recipes": ["r"]}],
    "recipe": [{"name": "r", "optim": {"epochs": 2}}],
    "corpus": [{"name": "c", "labels": "core", "train": ["t.jsonl"], "test": SAMPLE, "fraction": 0.5}],
}


def test_versions_name_the_commit_of_a_repository() -> None:
    found = versions()
    assert found["python"].count(".") == 2
    assert os.cpu_count()
    assert "cores" in found["machine"]


def test_every_kind_of_cell_is_known() -> None:
    from genner.assess.records import CELL_KINDS

    assert set(_KINDS) == set(CELL_KINDS)
    assert worker.execute is execute
