"""Files of a study that are there and cannot be used, found by reading them before anything runs."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from genner.assess.corpora import documents_in, is_there, label_not_in, path_of
from genner.assess.records import Cell
from genner.data.base import ReadLog
from genner.data.catalog import named_label_set
from genner.errors import GennerError, ModelError
from genner.few_shot.encoders import ADDRESSES
from genner.transformer_encoder import check_encoder

MAX_READ = 20_000
"""Documents of a file that are read; a fault further on is found when a cell reaches it."""


class FileUse(NamedTuple):
    """A file that a cell reads. `labels` names its label set, empty where any label is legal; `scored`: it has to have
    an entity; `lenient`: faults of the file are passed over."""

    name: str
    labels: str = ""
    syntax: str | None = None
    scored: bool = False
    lenient: bool = False


def unreadable(cells: Sequence[Cell], data: Path) -> dict[str, list[Cell]]:
    """What is wrong with the files and encoders of cells, as messages, with the cells that will fail by it.

    What is not there at all is told by `genner.assess.missing`.
    """
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        for why in dict.fromkeys(_faults(cell, data)):
            found.setdefault(why, []).append(cell)
    return found


def _faults(cell: Cell, data: Path) -> Iterator[str]:
    about = cell.description
    for use in _files(cell):
        yield from _of_file(use, data)
    for talk in about.get("recipe", {}).get("chat") or ():
        for name in talk["train"]:
            yield from _of_conversations(name, data)
    encoders = cell.places.get("encoder", "") if cell.kind == "fit" or "system" in about else ""
    for place in filter(None, encoders.split(",")):
        # An encoder of a rival that is not there is told as missing.
        if Path(place).is_dir() or ("system" in about and not place.startswith(ADDRESSES)):
            try:
                check_encoder(place, ", or one below the data root")
            except ModelError as error:
                yield str(error)


def _files(cell: Cell) -> Iterator[FileUse]:
    """The corpora that a cell reads."""
    about = cell.description
    if cell.kind == "ability":
        return
    if cell.kind == "train":
        for spec in about["recipe"]["sets"]:
            for name in (*spec["train"], *([spec["dev"]] if spec["dev"] else [])):
                yield FileUse(name, spec["labels"], spec.get("from"), lenient=bool(spec.get("lenient")))
    elif cell.kind == "fit":
        for name in (*about["train"], *([about["dev"]] if about["dev"] else [])):
            yield FileUse(name, about["labels"], about.get("from"), lenient=about["lenient"])
    else:
        scored = cell.kind != "contamination"
        yield FileUse(about["file"], about["labels"], about.get("from"), scored)
        for name in (*(about.get("train") or ()), *([about["dev"]] if about.get("dev") else [])):
            yield FileUse(name, about["labels"], about.get("from"))
    if about.get("lexicon"):
        yield FileUse(about["lexicon"], "", about.get("from"))


@cache
def _of_file(use: FileUse, data: Path) -> tuple[str, ...]:
    """What is wrong with a corpus: the first fault of the file, and the labels before it that the label set lacks."""
    try:
        path = path_of(use.name, data)
        labels = named_label_set(use.labels, data) if use.labels else None
        if not is_there(path):
            return ()
    except GennerError:  # told as missing
        return ()
    foreign: dict[str, str] = {}  # by label, the first document that has it
    entities = documents = 0
    faults: list[str] = []
    try:
        for document in islice(documents_in(use.name, data, use.syntax, ReadLog(lenient=use.lenient)), MAX_READ):
            documents, entities = documents + 1, entities + len(document.entities)
            for entity in document.entities:
                if labels is not None and entity.label not in labels:
                    foreign.setdefault(entity.label, document.id)
    except (GennerError, OSError) as error:
        faults.append(str(error))
    if foreign and labels is not None:
        told = label_not_in(labels, list(foreign), next(iter(foreign.values())))
        faults.append(f"{path}: {told}")
    if not faults and not documents:
        faults.append(f"{path} has no document")
    elif not faults and use.scored and not entities:
        faults.append(f"{path} has no entity in {documents:,} documents: nothing can be scored")
    return tuple(faults)


@cache
def _of_conversations(name: str, data: Path) -> tuple[str, ...]:
    from genner.training.conversations import read_conversations  # torch comes with it

    path = path_of(name, data)
    if not path.is_file():  # told as missing
        return ()
    try:
        found = sum(1 for _ in islice(read_conversations(path), MAX_READ))
    except (GennerError, OSError) as error:
        return (str(error),)
    return () if found else (f"{path} has no conversation to train on",)
