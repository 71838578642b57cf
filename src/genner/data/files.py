"""Helpers of several syntaxes: walking folders, lists of ids, repeated entities, folders written and then renamed."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import BinaryIO, cast
from xml.parsers import expat

from genner.data.base import ReadLog, open_binary, read_lines
from genner.data.ids import IdSet
from genner.document import Document, Entity
from genner.errors import DataError


def walk(source: Traversable, suffixes: tuple[str, ...]) -> Iterator[Traversable]:
    """`source` itself, or for a folder all files in it, at any depth, that end in one of `suffixes`, sorted by name.

    Raises `DataError` when the folder has none.
    """
    if not source.is_dir():
        yield source
        return
    found = False
    for file in _files_in(source):
        if file.name.removesuffix(".gz").endswith(suffixes):
            found = True
            yield file
    if not found:
        raise DataError(str(source), f"holds no file that ends in {' or '.join(suffixes)}; name another folder")


def _files_in(folder: Traversable) -> Iterator[Traversable]:
    for child in sorted(folder.iterdir(), key=lambda child: child.name):
        if child.is_dir():
            yield from _files_in(child)
        else:
            yield child


def sibling(source: Traversable, name: str) -> Traversable:
    """The file of this name in the folder that `source` is in."""
    return cast(Path, source).parent / name  # paths in a zip archive have a parent too


def decode(source: Traversable, read_log: ReadLog, *, keep_mark: bool = False) -> str | None:
    """The text of a whole UTF-8 file, or None after recording the error that it is not UTF-8.

    With `keep_mark` a byte order mark is part of the text. Raises `DataError` when the file cannot be read.
    """
    with open_binary(source) as file:
        if keep_mark:
            file.seek(0)
        try:
            return file.read().decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"invalid UTF-8 at byte {error.start}; convert the file with iconv"
            read_log.error("invalid UTF-8", source, what)
            return None


def refuse_entities(file: BinaryIO, source: Traversable) -> None:
    """Raise `DataError` when the XML in `file` declares entities, which may grow without bound; nothing is read of it.

    They can be declared only before the first element, so parsing stops there.
    """

    class Begins(Exception):  # noqa: N818 - no error
        pass

    def declared(name: str, *_: object) -> None:
        raise DataError(str(source), f"declares the entity {name!r}; expand entities with: xmllint --noent OLD > NEW")

    def begins(*_: object) -> None:
        raise Begins

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = declared
    parser.StartElementHandler = begins
    start = file.tell()
    # The actual parsing reports what is not well-formed.
    with suppress(Begins, expat.ExpatError, ValueError, LookupError):
        while data := file.read(1 << 16):
            parser.Parse(data)
    file.seek(start)


def read_ids(path: str, read_log: ReadLog) -> frozenset[str]:
    """The ids in a file with one per line; blank lines are skipped."""
    return frozenset(line.strip() for _, line in read_lines(Path(path), read_log) if line.strip())


def distinct(entities: Iterable[Entity], read_log: ReadLog, where: object) -> tuple[Entity, ...]:
    """`entities` without repetitions, which are counted as dropped: a `Document` holds a span and label once."""
    given = list(entities)
    kept = tuple(dict.fromkeys(given))
    if len(kept) < len(given):
        read_log.drop("entity given twice", str(where), len(given) - len(kept))
    return kept


def own_ids(documents: Iterable[Document], source: object, read_log: ReadLog) -> Iterator[Document]:
    """The documents; a repeated id is an error."""
    ids = IdSet()
    for document in documents:
        if ids.add(document.id):
            yield document
        else:
            read_log.error("duplicate id", source, f"document {document.id!r} is there twice; keep one")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` on a clean exit and is removed on an exception.

    Raises `DataError` when it cannot be written, or `target` exists and is not empty.
    """
    # The process id keeps the drafts of two writers of one folder apart.
    draft = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise DataError(str(target), "is there already and is no empty folder; delete it or choose another name")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        draft.replace(target)
    except OSError as error:
        raise DataError(str(target), f"cannot be written: {error.strerror or error}") from None
    except UnicodeEncodeError as error:  # if the locale is ASCII-only and Python's UTF-8 mode is off
        what = f"a file's name cannot be written: {error.object!r} in {error.encoding}; set LC_ALL=C.UTF-8"
        raise DataError(str(target), what) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
