"""The single entry point for corpora: every command reads annotated texts, in any file syntax, by `read_corpus`."""

import zipfile
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

from genner.data.base import ReadLog, Syntax
from genner.data.file_opening import open_sources, visible
from genner.data.files import own_ids
from genner.data.hf import hub
from genner.data.registry import guess, recognized, syntax
from genner.document import Document

HUB = "hub:"


def read_corpus(
    source: str | Path, reader: str | Syntax | None = None, read_log: ReadLog | None = None
) -> Iterator[Document]:
    """Yield the documents of a file, a folder, (a file in) a zip archive, or a hub data set (`hub:OWNER/NAME`).

    Args:
        source: where the documents are. A pattern (`corpus/*.conll`) stands for all files that match, sorted by name.
        reader: the file syntax with its options, as `conll:column=3`. It is guessed from the content when left out.
        read_log: counts errors and dropped things. Without it, the first error raises.

    Files may be gzipped and may begin with a byte order mark. One document is in memory at a time, unless the syntax
    says otherwise. Scores, problems and extra fields of predictions are kept if the syntax has them.

    Raises at once: `UnreadableError` when `source` does not exist, `UsageError` when no syntax recognizes the file or
    an option is wrong. Raises `DataError` for an error in the file when it is reached.
    """
    read_log = read_log or ReadLog()
    places = corpus_places(source)
    asked = syntax(reader) if isinstance(reader, str) else reader
    kinds = [(asked or guess(place), place) for place in places]
    if len(kinds) == 1:
        return kinds[0][0].read(places[0], read_log)
    return own_ids((document for kind, place in kinds for document in kind.read(place, read_log)), source, read_log)


def corpus_places(source: str | Path) -> list[Traversable]:
    """The files or folders that `source` stands for. Raises `UnreadableError` when there are none."""
    return open_sources(hub(str(source).removeprefix(HUB)) if str(source).startswith(HUB) else Path(source))


def corpus_files(source: str | Path) -> list[Path]:
    """The files and folders on disk that reading `source` opens; for one in a zip archive, the archive.

    Raises `UnreadableError` when there are none.
    """
    places = corpus_places(source)
    found = [Path(str(p.root.filename)) if isinstance(p, zipfile.Path) else p for p in places]
    return [path for path in found if isinstance(path, Path)]


def expand(source: str) -> list[str]:
    """`source` itself, or the files that it stands for: those that match a pattern, or that a folder holds.

    A folder that one syntax reads as a whole stands for itself. So does one in which no syntax recognizes a file.
    """
    if source.startswith(HUB):
        return [source]
    places = open_sources(Path(source))
    if len(places) == 1 and places[0].is_dir() and recognized(places[0]) is None:
        files = [f for f in visible(places[0]) if f.is_file() and recognized(f) is not None]
        return [str(f) for f in files] or [source]
    return [source] if len(places) == 1 else [str(place) for place in places]
