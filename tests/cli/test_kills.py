"""`kill -9` at any moment loses nothing and doubles nothing: with `--resume`, the output is that of one run.

`GENNER_KILLS=30 pytest tests/test_kills.py` kills `extract` 30 times instead of 3, `models fetch` 10 times, and also a
run of the default model.
"""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from genner import cli, loading, model_store
from genner.engines.base import Request
from genner.engines.scripted import ScriptedEngine
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.labels import parse_labels
from genner.model_store import DEFAULT_BASE
from genner.paths import home

KILLS = int(os.environ.get("GENNER_KILLS", "3"))
FORK = multiprocessing.get_context("fork")
SENTENCES = [f"Ada the {'I' * (n % 7)} met Bob in {'Rome' if n % 3 else 'Oslo'} on day {n}." for n in range(80)]
RECORDS = [{"id": n, "text": f"Note {n} is by Ann.", "source": "wire"} for n in range(15)]


def test_a_fork_that_is_killed_leaves_progress_bars_usable() -> None:
    ours = tqdm.get_lock()  # made before the fork, as by any bar
    if not (child := os.fork()):
        tqdm.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    free = [lock.acquire(timeout=1) for lock in ours.locks]
    for lock, held in zip(ours.locks, free, strict=True):
        if held:
            lock.release()
    assert all(free)


def texts(folder: Path) -> list[str]:
    """Short documents around a long one."""
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    (folder / "book.txt").write_text(" ".join(SENTENCES))
    (folder / "c.txt").write_text("Ann slept.")
    return ["a.jsonl", "book.txt", "c.txt"]


def scripted(folder: Path) -> Any:
    """An engine that takes its time, and writes down what it was asked."""

    def answer(request: Request) -> str:
        time.sleep(0.002)
        with (folder / "asked").open("a") as asked:
            asked.write(request.text + "\n")
        return re.sub(r"\b(Ada|Ann|Bob)\b", r"<PER>\1</PER>", request.text)

    return lambda *_, **__: Extractor(ScriptedEngine(answer), FORMATS["inline_xml"], parse_labels("PER"))


def command(folder: Path, arguments: list[str], load: Any = None) -> None:
    """In a process of its own, which ends with it."""
    os.chdir(folder)
    with Path(os.devnull).open("r+") as null:
        for descriptor in (0, 1, 2):
            os.dup2(null.fileno(), descriptor)
    if load:
        loading.load = load
    sys.argv = ["genner", *arguments]
    cli.main()


def run(folder: Path, arguments: list[str], load: Any = None, seconds: float | None = None) -> int | None:
    """Its exit code, or None when it was killed after `seconds`."""
    process = FORK.Process(target=command, args=(folder, arguments, load))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def killed_again_and_again(folder: Path, arguments: list[str], load: Any, longest: float, kills: int) -> int:
    """How often a run was killed until it came to its end."""
    dice, times = random.Random(0), 0
    while (code := run(folder, arguments, load, dice.uniform(0, longest) if times < kills else None)) is None:
        times += 1
    assert code == 0
    return times


def test_extract_is_killed(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    outputs = []
    arguments = ["extract", *texts(tmp_path / "whole"), "--out", "out.jsonl", "--resume"]
    texts(tmp_path / "killed")
    begun = time.monotonic()
    assert run(tmp_path / "whole", arguments, scripted(tmp_path / "whole")) == 0
    longest = time.monotonic() - begun
    times = 0
    while times < KILLS:
        for path in (tmp_path / "killed").glob("out.*"):
            path.unlink()
        (tmp_path / "killed" / "asked").unlink(missing_ok=True)
        load = scripted(tmp_path / "killed")
        now = killed_again_and_again(tmp_path / "killed", arguments, load, longest, KILLS - times)
        times += now
        outputs.append((tmp_path / "killed" / "out.jsonl").read_bytes())
        asked = [(tmp_path / name / "asked").read_text().splitlines() for name in ("whole", "killed")]
        assert set(asked[0]) == set(asked[1])
        assert len(asked[1]) <= len(asked[0]) + now  # of what was answered, one answer at most is lost to a kill
    assert set(outputs) == {(tmp_path / "whole" / "out.jsonl").read_bytes()}
    assert {path.name for path in (tmp_path / "killed").glob("out.*")} == {"out.jsonl", "out.jsonl.meta"}


@pytest.mark.skipif("GENNER_KILLS" not in os.environ, reason="takes minutes; asked for with GENNER_KILLS")
@pytest.mark.skipif(not (home() / "models" / DEFAULT_BASE).is_dir(), reason="the default model is not fetched")
def test_the_default_model_is_killed(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS[:5]))
        (tmp_path / name / "book.txt").write_text(" ".join(SENTENCES[:60]))
    program = "from genner import cli; cli.main()"
    arguments = ["extract", "a.jsonl", "book.txt", "--out", "out.jsonl", "--batch-size", "1", "--resume"]

    def once(name: str, seconds: float | None) -> int | None:
        process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=tmp_path / name)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    begun = time.monotonic()
    assert once("whole", None) == 0
    longest = time.monotonic() - begun
    dice, times = random.Random(1), 0
    while once("killed", dice.uniform(0, longest) if times < KILLS // 3 else None) is None:
        times += 1
    found = [
        [json.loads(line) for line in (tmp_path / name / "out.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    ]
    assert [record["text"] for record in found[0]] == [record["text"] for record in found[1]]
    # Which sentences share a pass differs after a kill, and in bf16 that moves scores a little and turns near-ties.
    scores = [
        {(n, e["start"], e["end"], e["label"]): e["score"] for n, r in enumerate(records) for e in r["entities"]}
        for records in found
    ]
    both = scores[0].keys() & scores[1].keys()
    print(f"{times} kills; entities {len(scores[0])}, {len(scores[1])}, of which the same: {len(both)}")
    assert len(both) >= 0.95 * max(map(len, scores))
    assert all(abs(scores[0][key] - scores[1][key]) < 0.05 for key in both)


def fetched(store: Path) -> None:
    """Fetch the default model from a source of its own, slowly, in a process that ends with it."""
    os.environ["GENNER_HOME"] = str(store)

    def slowly(path: Path) -> Path:
        with path.open("wb") as file:
            for number in range(20):
                file.write(bytes([number]) * 100)
                file.flush()
                time.sleep(0.002)
        return path

    def convert(gguf: Path, folder: Path) -> None:
        slowly(folder / "model.safetensors")
        slowly(folder / "config.json")

    model_store.download_gguf = lambda spec, into, progress: slowly(into / "m.gguf")
    model_store.convert_gguf = convert
    model_store.fetch(DEFAULT_BASE, progress=False)


def test_fetch_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path))
    folder, dice = tmp_path / "models" / DEFAULT_BASE, random.Random(2)
    for number in range(min(KILLS, 10) + 1):
        if folder.exists() and number < KILLS:
            shutil.rmtree(folder)
        process = FORK.Process(target=fetched, args=(tmp_path,))
        process.start()
        process.join(dice.uniform(0, 0.25) if number < min(KILLS, 10) else None)
        process.kill()
        process.join()
        if model_store._holds_model(folder):  # what is there is whole
            model_store.verify(folder)
            assert (folder / "config.json").stat().st_size == 2000
    assert model_store.locate(DEFAULT_BASE) == folder
    assert {path.name for path in folder.parent.iterdir()} == {DEFAULT_BASE, f".{DEFAULT_BASE}.lock"}
