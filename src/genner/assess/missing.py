"""What a study needs but is missing, found before anything runs: models, files, packages, disk space."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from genner.assess.corpora import MissingError, is_there, must_be_there, path_of
from genner.assess.forecast import size_of
from genner.assess.records import Cell
from genner.assess.rival_cells import require_encoder
from genner.data.catalog import named_label_set
from genner.engines import engine_class
from genner.errors import GennerError, ModelError, UnknownNameError
from genner.extras import install_command, is_installed
from genner.extras import missing as missing_part
from genner.model_source import ModelSource
from genner.model_store import MODELS, is_hub_id, locate, preset_of
from genner.presets import HubSource
from genner.rivals.tools import tool_class


def missing(cells: Sequence[Cell], data: Path) -> dict[str, list[Cell]]:
    """What is missing, as messages that say where to get it, with the cells that will be skipped or fail without it."""
    found: dict[str, list[Cell]] = {}
    said: dict[str, str] = {}  # one message per thing: for a corpus without files, the first file is named
    for cell in cells:
        things = set()
        for thing, why in _lacks(cell, data):
            if thing not in things:
                things.add(thing)
                found.setdefault(said.setdefault(thing, why), []).append(cell)
    return found


def unfetched(cells: Iterable[Cell]) -> list[str]:
    """Presets and hub models that the cells need and that are not in the store; a study fetches them itself."""
    bases = dict.fromkeys(_base(cell) for cell in cells if "rival" not in cell.description and not _on_server(cell))
    return [base for base in bases if _can_be_fetched(base) and not _here(base)]


def _can_be_fetched(base: str) -> bool:
    return preset_of(base) is not None or is_hub_id(base)


def _lacks(cell: Cell, data: Path) -> Iterator[tuple[str, str]]:
    """Each thing that a cell lacks, and its message."""
    about = cell.description
    if "rival" in about:
        yield from _rival(cell)
    elif not _on_server(cell):
        yield from ((_base(cell), why) for why in _model(_base(cell)))
    packages = ["peft", "accelerate", "matplotlib"] if cell.kind == "train" else []
    if (
        "rival" in about
        or not _on_server(cell)
        or Path(cell.places.get("encoder", "")).parts[:1] not in ((), ("http:",), ("https:",))
    ):
        packages.insert(0, "torch")
    if "tool" in about:
        packages = [tool_class(about["rival"]).package]
    if about.get("system", {}).get("search") == "faiss" and not is_installed("faiss"):
        yield "faiss", str(missing_part("faiss", extra="retrieval"))
    for package in packages:
        if not is_installed(package):
            yield package, str(missing_part(package, extra="train" if cell.kind == "train" else ""))
    if cell.kind == "ability":
        if not is_installed("lm_eval"):
            yield "lm_eval", f"lm-evaluation-harness is not installed: {install_command('ability')}"
        if about["data"] and not (data / about["data"]).is_dir():
            yield "bench", f"there is no folder {data / about['data']} with the tasks' files (docs/ability.md)"
        return
    corpora: list[tuple[str, list[str], str]] = []
    if cell.kind == "train":
        recipe = about["recipe"]
        corpora += [(s["name"], [*s["train"], *([s["dev"]] if s["dev"] else [])], s["labels"]) for s in recipe["sets"]]
        for path in (path_of(name, data) for talk in recipe.get("chat") or () for name in talk["train"]):
            if not path.is_file():
                yield "chat", f"there is no {path} of general conversations; docs/mixing.md says where to get some"
        if recipe["method"] == "qlora" and not is_installed("bitsandbytes"):
            yield "bitsandbytes", f"bitsandbytes is not installed: {install_command('qlora')}"
    elif cell.kind == "fit":
        files = [*about["train"], *([about["dev"]] if about["dev"] else [])]
        corpora.append((about["corpus"], files, about["labels"]))
    else:
        files = [about["file"], *(about.get("train") or ()), *([about["lexicon"]] if about.get("lexicon") else [])]
        corpora.append((about["corpus"], files, about["labels"]))
    for name, files, labels in corpora:
        for file in files:
            try:
                must_be_there(name, [file], data)
            except (MissingError, GennerError) as error:
                yield f"corpus {name}", str(error)
        if all(_is_file(file, data) for file in files):
            try:
                named_label_set(labels, data)
            except GennerError as error:
                yield f"labels {name}", f"corpus {name!r}: label set {error}"


def _rival(cell: Cell) -> Iterator[tuple[str, str]]:
    """What a rival lacks: its encoder, or, if it is trained already, its folder."""
    places = cell.places
    if "encoder" in places:
        try:
            require_encoder(places["encoder"])
        except MissingError as error:
            yield places["encoder"], str(error)
    if "folder" in places and not Path(places["folder"]).is_dir():
        yield places["folder"], f"there is no folder {places['folder']!r} of a trained rival; see: genner rival fit"


def _is_file(name: str, data: Path) -> bool:
    try:
        return is_there(path_of(name, data))
    except GennerError:
        return False


def _on_server(cell: Cell) -> bool:
    """Whether a server has the model of a cell."""
    system = cell.description.get("system")
    return system is not None and not engine_class(system["engine"]).capabilities.weights


def _base(cell: Cell) -> str:
    """The model whose weights a cell needs."""
    about = cell.description
    model: str = about["recipe"]["base"] if cell.kind == "train" else about["model"]
    try:
        source = ModelSource.find(model)
    except ModelError:
        return model
    return source.base if source else model


def _here(base: str) -> bool:
    try:
        locate(base)
    except (ModelError, UnknownNameError):
        return False
    return True


def _model(base: str) -> Iterator[str]:
    if _here(base):
        return
    if base not in MODELS:
        if _can_be_fetched(base):
            yield f"model {base!r} is not fetched from the hub: `genner models fetch {base}`, or the study does so"
            return
        try:
            locate(base)
        except (ModelError, UnknownNameError) as error:
            yield str(error)
        return
    source, size = MODELS[base].source, size_of(base)
    room = f", about {2 * size.parameters / 1e9:.1f} GB" if size else ""
    gated = (
        f" after its licence was accepted at {source.page}" if isinstance(source, HubSource) and source.gated else ""
    )
    fetches = "" if gated else ", or the study does so when it comes to it"
    yield f"model {base!r} is not fetched{room}: `genner models fetch {base}`{gated}{fetches}"


def room(folder: Path) -> float:
    """Free MB on the disk of a folder that exists or will be created."""
    there = folder.resolve()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free / 1e6


def memory() -> float | None:
    """MB of memory that are available now; None if the system does not report it."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024 / 1e6
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    except (OSError, ValueError):
        return None
