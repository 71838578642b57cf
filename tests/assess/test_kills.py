"""Real processes on one study: two at a time run each cell once, and SIGKILL at any moment loses no answer.

What is killed is in turn the process that schedules, the one that answers, and both. The system that answers marks each
text's first word, and takes its time; all else is what a study runs. `GENNER_KILLS=30 pytest tests/test_assess_kills.py
-s` kills 30 times, and counts.
"""

import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from genner.assess.folders import StudyFolder
from genner.assess.records import Cell

KILLS = int(os.environ.get("GENNER_KILLS", "3"))
CORPORA = ("uner_en_ewt", "uner_en_pud")
SEEDS = max(1, KILLS // 2)
CELLS = SEEDS * len(CORPORA)
SENTENCES = 12
ALL = SENTENCES * CELLS

WORKER = """
import json, os, sys, time
from pathlib import Path
from genner.assess import answer_cells, worker
from genner.assess.cell_context import CellFindings
from genner.engines.scripted import ScriptedEngine
from genner.extract import Extractor
from genner.formats import FORMATS

def extractor(work, labels):
    def answer(request):
        with open(work.runs.root / "asked.txt", "a") as file:
            file.write(json.dumps([work.run.cell.id, request.text, os.getpid()]) + "\\n")
        time.sleep(0.02)
        first, _, rest = request.text.partition(" ")
        return f"<PER>{first}</PER> {rest}"
    return Extractor(ScriptedEngine(answer), FORMATS["inline_xml"], labels, split=False)

answer_cells.extractor = extractor
answer_cells._counted = lambda work, lines, settings: CellFindings({"documents": len(lines)}, "s", 1, 1)
worker._end_with_parent()
sys.exit(worker.main())
"""

STUDY = """
import sys
from pathlib import Path
from genner.assess.folders import StudyFolder
from genner.assess.scheduler import Scheduler

class Watch:
    def started(self, cell, device): pass
    def elsewhere(self, run, holder): print(holder, run.cell.id, flush=True)
    def ended(self, run, state): pass
    def tick(self, running): pass

runs = StudyFolder(Path(sys.argv[1]))
cells = [run.cell for run in runs.runs()]
states = Scheduler(runs, cells, runs.root, [None], Watch(), (sys.executable, sys.argv[2])).work()
sys.exit(set(states.values()) != {"done"})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A runs folder with a cell for each corpus to be done, and the two programs."""
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "study.py").write_text(STUDY)
    for seed, name in ((seed, name) for seed in range(SEEDS) for name in CORPORA):
        about = {
            "model": "m",
            "trained": None,
            "format": "inline_xml",
            "corpus": name,
            "file": f"sample:{name}",
            "split": "test",
            "sentences": SENTENCES,
            "labels": "core",
            "decoding": "grammar",
            "seed": seed,
        }
        StudyFolder(tmp_path).add(Cell("score", f"score-{name}-{seed}", f"{name} {seed}", (), about))
    return tmp_path


def start(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, folder / "study.py", folder, folder / "worker.py"])


def asked(folder: Path) -> list[tuple[str, str, int]]:
    """Cell, text and process of every question so far."""
    path = folder / "asked.txt"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(cell, text, pid) for cell, text, pid in map(json.loads, lines)]


def answers(folder: Path) -> Iterator[tuple[str, str]]:
    """Cell and text of every answer that is kept."""
    for run in StudyFolder(folder).runs():
        yield from ((run.cell.id, line.text) for line in run.predictions())


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_two_processes_share_a_study_and_run_each_cell_once(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    both = [start(folder) for _ in range(2)]
    assert [process.wait(60 * CELLS) for process in both] == [0, 0]
    found = asked(folder)
    # What another process has is named, with its process, and not asked for again.
    told = capfd.readouterr().out.splitlines()
    assert {tuple(line.split()[1:4:2]) for line in told} <= {(str(pid), platform.node()) for _, _, pid in found}
    assert all(line.split()[4] in {run.cell.id for run in StudyFolder(folder).runs()} for line in told)
    assert len({pid for _, _, pid in found}) == CELLS  # a process for each cell
    assert Counter((cell, text) for cell, text, _ in found) == Counter(answers(folder))
    assert len(found) == ALL


def whole(folder: Path) -> None:
    """Every record is one: nothing half-written stands under the name of a whole file."""
    for path in folder.glob("cells/*/*.json"):
        assert isinstance(json.loads(path.read_text()), dict), path
    for path in folder.glob("cells/*/predictions.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            assert isinstance(json.loads(line), dict), path


def test_killed_at_any_moment_a_study_goes_on_behind_what_it_has(folder: Path) -> None:
    rng = random.Random(3)
    kept: Counter[tuple[str, str]] = Counter()
    killed: Counter[str] = Counter()
    for turn in range(KILLS):
        before = len(asked(folder))
        process = start(folder)
        wanted, end = before + rng.randint(1, SENTENCES // 2), time.monotonic() + 60
        while len(asked(folder)) < wanted and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        time.sleep(rng.random() * 0.03)
        workers = [*dict.fromkeys(pid for _, _, pid in asked(folder)[before:])]
        victims = {
            "both": rng.sample([process.pid, *workers], 1 + len(workers)),
            "scheduler": [process.pid],
            "worker": workers[-1:],
        }
        which = list(victims)[turn % len(victims)]
        for pid in victims[which]:
            kill(pid)
        killed[which] += 1
        if which == "worker" and process.poll() is None:  # which the other one says
            while not any(run.failure for run in StudyFolder(folder).runs()):
                assert time.monotonic() < end
                time.sleep(0.02)
            (failure,) = [run.failure for run in StudyFolder(folder).runs() if run.failure]
            assert "ended by SIGKILL" in failure.message
            kill(process.pid)
        process.wait()
        while any(run.locked for run in StudyFolder(folder).runs()):  # until the kernel has cleared them away
            assert time.monotonic() < end
            time.sleep(0.002)
        whole(folder)
        again = Counter((cell, text) for cell, text, _ in asked(folder)[before:])
        assert not again & kept  # what was answered is not asked again
        kept = Counter(answers(folder))
    print(f"killed: {dict(killed)}, kept {len(kept)} of {ALL} answers")
    assert set(killed) == {"both", "scheduler", "worker"}
    assert 0 < len(kept) < ALL
    assert start(folder).wait(60 * CELLS) == 0
    assert [run.state for run in StudyFolder(folder).runs()] == ["done"] * CELLS
    # Every text is answered once, in its order, as if nothing had been.
    found = list(answers(folder))
    assert len(found) == ALL == len(set(found))
    for run in StudyFolder(folder).runs():
        result = run.result
        assert result is not None
        assert result.metrics == {"documents": SENTENCES}
        for line in run.predictions():
            assert [(e.start, e.end) for e in line.entities] == [(0, len(line.text.partition(" ")[0]))]


def test_a_cell_that_another_process_runs_is_named(folder: Path) -> None:
    """The lock says who has it, as long as he has."""
    (run, *_) = StudyFolder(folder).runs()
    assert run.holder == ""
    with run.claim() as held:
        assert held
        assert run.holder == f"process {os.getpid()} on {platform.node()}"
        assert run.state == "running"
    assert run.holder == ""
