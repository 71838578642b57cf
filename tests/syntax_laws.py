"""The laws of file syntaxes. `data/test_syntaxes.py` holds all of `SYNTAXES` to them, others, syntaxes of their own.

A syntax that cannot be written needs a seed: its `example`, or one in `benchmarks/fuzz_readers.py`.
"""

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from genner.data import read_corpus
from genner.data.base import ReadLog, Syntax
from genner.data.records import RecordSyntax
from genner.data.registry import SYNTAXES, describe_options, guess, syntax
from genner.document import Document
from genner.errors import DataError
from tests.places import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import fuzz_readers

NEEDS = {"hf": "pyarrow", "spacy": "spacy"}
UNANNOTATED = {"label_studio_min", "prodigy", "spacy_json"}
"""Their exports have texts that nobody annotated, which are left out and counted."""


def seeds(name: str) -> list[fuzz_readers.Seed]:
    """Small valid inputs of a syntax. Skips the test when the package that reads it is not installed."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    return fuzz_readers.readers()[name]()


def laid(seed: fuzz_readers.Seed, folder: Path) -> Path:
    """Write the files of a seed into a folder; returns what to read."""
    for path, data in seed.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder / seed.path


def round_trip(kind: Syntax, given: Sequence[Document], target: Path) -> ReadLog:
    """What is written and read again is the documents, or what could not be kept is in the log, which is returned."""
    read_log, reading = ReadLog(), ReadLog()
    count = kind.write(iter(given), target, read_log)
    found = list(kind.read(target, reading))
    assert not reading.lines() or not (reading.errors or reading.dropped)
    if not read_log.dropped:
        assert count == len(given)
        assert found == list(given)
    return read_log


def guessed_and_read_alike(name: str, folder: Path) -> None:
    """Each seed is told by its content, and reads the same whether its syntax is named, guessed, or it is gzipped."""
    for number, seed in enumerate(seeds(name)):
        place = laid(seed, folder / str(number))
        assert type(guess(place)) is SYNTAXES[name]
        documents = list(read_corpus(place, name))
        assert documents
        assert len({d.id for d in documents}) == len(documents)
        assert list(read_corpus(place)) == documents
        if place.is_file() and len(seed.files) == 1 and name not in ("hf", "spacy"):
            packed = place.with_name(f"{place.name}.gz")
            packed.write_bytes(gzip.compress(place.read_bytes()))
            assert list(read_corpus(packed, name)) == documents
            assert type(guess(packed)) is SYNTAXES[name]


def refuses_a_foreign_record(name: str, folder: Path) -> None:
    """A record of another kind is an error that names file, line and the keys it has; a lenient log counts it."""
    if not issubclass(SYNTAXES[name], RecordSyntax):
        return
    foreign: list[dict[str, object]] = [{"foo": 1, "bar": "x"}, {"text": "x", "foo": 1, "bar": []}]
    for record in foreign:
        (folder / "x.jsonl").write_text(json.dumps(record) + "\n")
        read_log = ReadLog(lenient=True)
        assert list(read_corpus(folder / "x.jsonl", name, read_log)) == []
        assert read_log.errors.total() + read_log.dropped.total() == 1
        if "text" in record and name in UNANNOTATED:
            continue
        assert read_log.errors.total() == 1
        with pytest.raises(DataError, match=r"x\.jsonl:1: .*foo.*bar"):
            list(read_corpus(folder / "x.jsonl", name))


def survives_damage(name: str, folder: Path, inputs: int) -> None:
    """Damaged copies of the seeds give documents or errors of genner's own."""
    of = seeds(name)
    for index in range(inputs):
        place = folder / f"damaged{index}"
        place.mkdir()
        found = fuzz_readers.outcome(of, name, index, 0, place)
        assert found in fuzz_readers.GOOD, f"python benchmarks/fuzz_readers.py --only {name} --at {index} --seed 0"


def has_typed_options(name: str) -> None:
    """Every option has a default and a description, and the name on the command line makes the syntax."""
    assert SYNTAXES[name].name == name
    assert "<class" not in describe_options(SYNTAXES[name])
    assert syntax(name) == SYNTAXES[name]()
