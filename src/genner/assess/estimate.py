"""Estimates the time of cells from finished cells of the same kind, in seconds per unit of work.

A unit is a document for `score`, `probe` and `contamination`, a sentence in an epoch for `train` and `fit`, a question
for `ability`. The rate is that of the most similar finished cells: of the same model, decoding, format and corpus, if
there are any; else with fewer of these in common. It is a rough guess, since a cell's time includes loading its model.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from genner.assess.corpora import path_of, syntax_of
from genner.assess.records import Cell, CellResult, Json
from genner.data import read_corpus
from genner.data.base import ReadLog
from genner.data.catalog import catalog
from genner.errors import GennerError

# What a cell shares with a finished one, most informative first. Across kinds, only scores and probes are comparable.
_LIKENESS: dict[str, tuple[tuple[str, ...], ...]] = {
    "score": (
        ("model", "trained", "decoding", "format", "corpus"),
        ("model", "decoding", "format", "corpus"),
        ("model", "decoding", "format"),
        ("model", "decoding"),
        ("decoding",),
        (),
    ),
    "train": (("model", "format", "corpus"), ("model", "corpus"), ("model",), ()),
    "fit": (("rival", "encoder", "corpus"), ("rival", "encoder"), ("rival",), ()),
    "ability": (("model", "task", "shots"), ("model", "task"), ("task", "shots"), ("task",), ()),
    "contamination": (("model", "signals", "corpus"), ("model", "signals"), ("signals",)),
}
_LIKENESS["probe"] = _LIKENESS["score"]
_LIKENESS["score of a rival"] = _LIKENESS["fit"]


def estimate(cell: Cell, results: Iterable[CellResult], data: Path) -> float | None:
    """Estimated seconds of a cell; None when no cell of its kind has been run, or its size is unknown."""
    size = units(cell, data)
    done = [(result, units_done(result)) for result in results if _family(result) == _family(cell)]
    for keys in _LIKENESS[_family(cell)] if size else ():
        like = [(r.seconds, n) for r, n in done if n and _same(r.description, cell.description, keys)]
        if like and size:
            return size * sum(seconds for seconds, _ in like) / sum(n for _, n in like)
    return None


def _family(cell: Cell | CellResult) -> str:
    """The kind of a cell; one for all that are comparable."""
    if cell.kind == "score" and "rival" in cell.description:
        return "score of a rival"
    return "score" if cell.kind == "probe" else cell.kind


def _same(one: Json, other: Json, keys: Iterable[str]) -> bool:
    return all(one.get(key) == other.get(key) for key in keys)


def units(cell: Cell, data: Path) -> float | None:
    """The size of a cell; None when it is unknown, for example because a file is missing."""
    about = cell.description
    if cell.kind == "train":
        sizes = [s["fraction"] * s["weight"] * n for s, n in _sets(about["recipe"], data) if n and not s["shots"]]
        return about["recipe"]["optim"]["epochs"] * sum(sizes) or None
    if cell.kind == "fit":
        counted = [_count(name, data, about.get("from")) for name in about["train"]]
        sentences = sum(n for n in counted if n is not None)
        return about["fit"]["epochs"] * about["fraction"] * sentences or None
    if cell.kind == "ability":
        limit: int | None = about["limit"]
        return limit
    there = _count(about["file"], data, about.get("from")) or _published(about["corpus"])
    wanted = about["sentences"]
    return there if wanted is None else wanted if there is None else min(there, wanted)


def units_done(result: CellResult) -> float | None:
    """The size of a finished cell, in the same units."""
    found = result.metrics
    if result.kind == "train":
        epoch = sum(found["data"]["sentences"].values())
        return float(epoch * result.description["recipe"]["optim"]["epochs"]) or None
    if result.kind == "fit":
        return float(result.description["fit"]["epochs"] * found["documents"]) or None
    return float(found["examples" if result.kind == "ability" else "documents"]) or None


def _sets(recipe: Json, data: Path) -> Iterator[tuple[Json, int | None]]:
    """Each corpus of a recipe, with its number of training sentences."""
    for spec in recipe["sets"]:
        sizes = [_count(name, data, spec.get("from")) for name in spec["train"]]
        yield spec, None if None in sizes else sum(n for n in sizes if n is not None)


@cache
def _count(name: str, data: Path, syntax: str | None) -> int | None:
    """The number of documents of a file; None when it cannot be read. Of JSON Lines, only the lines are counted."""
    try:
        path, given = path_of(name, data), syntax_of(name, syntax)
        if given is None and path.suffix == ".jsonl":
            with path.open("rb") as file:
                return sum(1 for line in file if line.strip())
        return sum(1 for _ in read_corpus(path, given, ReadLog(lenient=True)))
    except (OSError, GennerError):
        return None


def _published(corpus: str) -> int | None:
    known = catalog().get(corpus)
    return next((split.sentences for split in known.splits if split.name == "test"), None) if known else None
