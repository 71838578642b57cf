"""From one file syntax to another, a document at a time."""

import zipfile
from collections.abc import Callable, Iterable, Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

from genner.data.base import ReadLog, Syntax
from genner.data.detokenize import PAPER_CONLL, PAPER_DETOKENIZE, PAPER_LISTS, RUNNING_TEXT_DETOKENIZE
from genner.data.file_opening import open_sources, visible
from genner.data.files import own_ids
from genner.data.hf import hub
from genner.data.paper_case import PaperCase
from genner.data.registry import guess, guess_target, recognized, syntax
from genner.data.rewrite import Chain, Rewrite
from genner.data.truecase import Truecase
from genner.document import Document
from genner.errors import UnknownNameError, UsageError

HUB = "hub:"

# Each rewrite is made from a function that goes through the documents anew, for those that learn from them.
REWRITES: dict[str, Callable[[Callable[[], Iterable[Document]]], Rewrite]] = {
    "running": lambda documents: RUNNING_TEXT_DETOKENIZE,
    "paper": lambda documents: PAPER_DETOKENIZE,
    "paper_conll": lambda documents: Chain((PaperCase(), PAPER_CONLL)),
    "paper_lists": lambda documents: PAPER_LISTS,
    "truecase": lambda documents: Truecase.learn(documents()),
}


def load(source: str | Path, reader: str | Syntax | None = None, read_log: ReadLog | None = None) -> Iterator[Document]:
    """The documents of a file, a folder, (a file in) a zip archive, or a data set of the hub (`hub:owner/name`).

    Args:
        source: where they are; of a pattern (`corpus/*.conll`), all files that match, in the order of their names.
        reader: how they are written down, as `conll:column=3`; guessed when left out.
        log: collects errors and dropped things; without it, an error raises.

    Raises at once when nothing is there or the syntax cannot be told, and `DataError` on an error when it is reached.
    """
    read_log = read_log or ReadLog()
    places = _places(source)
    asked = syntax(reader) if isinstance(reader, str) else reader
    kinds = [(asked or guess(place), place) for place in places]
    if len(kinds) == 1:
        return kinds[0][0].read(places[0], read_log)
    return own_ids((document for kind, place in kinds for document in kind.read(place, read_log)), source, read_log)


def _places(source: str | Path) -> list[Traversable]:
    return open_sources(hub(str(source).removeprefix(HUB)) if str(source).startswith(HUB) else Path(source))


def expand(source: str) -> list[str]:
    """`source` itself, or the files that it stands for: those that match a pattern, or that a folder holds.

    A folder that one syntax reads as a whole stands for itself, as does one without files that any syntax knows.
    """
    if source.startswith(HUB):
        return [source]
    places = open_sources(Path(source))
    if len(places) == 1 and places[0].is_dir() and recognized(places[0]) is None:
        files = [f for f in visible(places[0]) if f.is_file() and recognized(f) is not None]
        return [str(f) for f in files] or [source]
    return [source] if len(places) == 1 else [str(place) for place in places]


def convert(
    source: str | Path,
    target: Path,
    reader: str | Syntax | None = None,
    writer: str | Syntax | None = None,
    read_log: ReadLog | None = None,
    rewrites: Iterable[str] = (),
    watch: Callable[[Iterable[Document]], Iterable[Document]] = iter,
) -> int:
    """Read the documents of `source` and write them to `target`; returns how many.

    Memory does not grow with them, but for their ids and where a syntax says so. `target` comes to be when all is
    written; a file that is there is then replaced, one that is read never. `rewrites` are names in `REWRITES`, applied
    in this order; `watch` may look on, as a progress bar does.

    Raises `UsageError` on a syntax that cannot be told or cannot write, and on a target that is read;
    `DataError` as readers and writers do.
    """
    to = syntax(writer) if isinstance(writer, str) else writer or guess_target(target)
    if not to.writes:
        raise UsageError(f"{to.name} can be read but not written; choose another syntax to write")
    _refuse_sources(_places(source), (target, *to.companions(target)))
    read_log = read_log or ReadLog()
    documents = load(source, reader, read_log)
    steps: list[Rewrite] = []
    for name in rewrites:
        if name not in REWRITES:
            raise UnknownNameError("rewrite", name, REWRITES)
        before = Chain(tuple(steps))
        quiet = ReadLog(lenient=read_log.lenient)  # what is read to learn from is read, and reported, once more
        steps.append(REWRITES[name](lambda: (before.apply(d)[0] for d in load(source, reader, quiet))))  # noqa: B023
    if steps:
        chain = Chain(tuple(steps))
        documents = (chain.apply(d)[0] for d in documents)
    return to.write(watch(documents), target, read_log)


def _refuse_sources(places: list[Traversable], targets: tuple[Path, ...]) -> None:
    """Raise `UsageError` for a target that is a file that is read, through links too, or lies in a folder that is."""
    read = [Path(str(p.root.filename)) if isinstance(p, zipfile.Path) else p for p in places]
    for target in targets:
        if not target.is_file():  # what else may be there, such as a folder, writers refuse
            continue
        for path in read:
            if isinstance(path, Path) and (path.samefile(target) or path.resolve() in target.resolve().parents):
                what = f"{str(target)!r} is read, so it cannot be written; choose another name for the target"
                raise UsageError(what)
