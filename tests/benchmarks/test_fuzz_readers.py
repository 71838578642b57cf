"""Some damaged inputs of each reader: `benchmarks/fuzz_readers.py` reads more of them."""

import logging
import sys
from pathlib import Path

import pytest
from tests.places import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import fuzz_readers
from genner.data.registry import SYNTAXES

EACH = 12


@pytest.mark.parametrize("name", fuzz_readers.readers())
def test_damage_gives_errors_of_genners_own(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    for module in {"hf": ["pyarrow"], "spacy": ["spacy"]}.get(name, []):
        pytest.importorskip(module)
    caplog.set_level(logging.CRITICAL)
    seeds = fuzz_readers.readers()[name]()
    for number, seed in enumerate(seeds):
        assert fuzz_readers.warm_up(seed, tmp_path / f"s{number}") > 0
    for index in range(EACH):
        folder = tmp_path / str(index)
        folder.mkdir()
        found = fuzz_readers.outcome(seeds, name, index, 0, folder)
        assert found in fuzz_readers.GOOD, f"python benchmarks/fuzz_readers.py --only {name} --at {index} --seed 0"


def test_every_syntax_has_a_seed() -> None:
    assert set(SYNTAXES) <= set(fuzz_readers.readers())


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    """The harness itself: an error that is not genner's, a message of many lines, a crash and a start that fails."""

    def bad(path: Path, read_log: object) -> list[fuzz_readers.Document]:
        raise ValueError("no error of genner's own")

    def long(path: Path, read_log: object) -> list[fuzz_readers.Document]:
        raise fuzz_readers.GennerError("one\ntwo")

    for read, found in ((bad, "ValueError"), (long, "many lines")):
        assert fuzz_readers.outcome([fuzz_readers.Seed({"x": b"data"}, "x", read)], "x", 0, 0, tmp_path) == found
    with pytest.raises(SystemExit, match="cannot start"):
        list(fuzz_readers.fuzz("none", 0, 1, 0))
