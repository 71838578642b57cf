"""Shared fixtures."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import RLock

import pytest
from hypothesis import HealthCheck, settings
from tqdm import tqdm

from tests.places import ROOT

# A run is to say something about the code, not about chance: the same code is tried on the same examples.
# HYPOTHESIS_PROFILE=default looks for new ones. A busy machine is no failure, so nothing has a deadline.
settings.register_profile("fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# Tiny models gain nothing from threads, and spinning threads slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Forks share the lock of tqdm's bars: one that is killed while it has it would stop all bars of this process for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: tqdm.set_lock(RLock()))

Run = Callable[..., tuple[int, str, str]]
Corpora = Callable[[str], Path]


@pytest.fixture
def corpora() -> Corpora:
    """Paths in the folder of public corpora: `$GENNER_DATA`, or `shared/data` beside the repository.

    The only way from a test to a file outside the repository. A test that needs one that is missing is skipped.
    """
    folder = Path(os.environ.get("GENNER_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        if not (path := folder / name).exists():
            pytest.skip(f"needs {path}; GENNER_DATA names another folder of corpora")
        return path

    return find


@pytest.fixture(params=["bf16", "float32", "unpacked"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kind of processor in turn, whatever this one is: with bf16, without, and without packed weights."""
    from tests.processors import pretend

    pretend(monkeypatch, request.param)
    return str(request.param)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Call the command line in a fresh folder: (exit code, standard output, standard error)."""
    from genner import cli  # once the variables above are set

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def call(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genner", *args])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call
