"""Where a cell's documents come from, and the messages when they are missing."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from genner.assess.study import SAMPLE
from genner.data import read_corpus
from genner.data.base import ReadLog
from genner.data.catalog import catalog
from genner.data.corpus import corpus_places
from genner.document import Document, LabelSet
from genner.errors import DataError, UnknownNameError, UnreadableError, UsageError
from genner.groups import with_groups


class MissingError(Exception):
    """Something that a cell needs is missing; the message says where to get it. Such a cell is skipped."""


def path_of(name: str, data: Path) -> Path:
    """The path of a file of a study: below the data root, or a shipped sample's. Raises `UnknownNameError`."""
    if not name.startswith(SAMPLE):
        return data / name
    sample = name.removeprefix(SAMPLE)
    root = Path(str(files("genner") / "assets" / "gold"))
    known = {path.stem: path for path in sorted(root.glob("*.jsonl"))}
    if sample not in known:
        raise UnknownNameError("sample", sample, known)
    return known[sample]


def is_there(path: Path) -> bool:
    """Whether `path` exists in a form that `read_corpus` can read: a file, a folder, a file in a zip archive, ..."""
    try:
        return bool(corpus_places(path))
    except DataError:
        return False


def must_be_there(corpus: str, names: Sequence[str], data: Path) -> None:
    """Raise `MissingError` for the first missing file of a corpus."""
    for name in names:
        path = path_of(name, data)
        if not is_there(path):
            raise MissingError(f"corpus {corpus!r}: there is no {path}. {_get(corpus, path)}")


def _get(corpus: str, path: Path) -> str:
    known = catalog().get(corpus)
    if known is None:
        return (
            "Give the folder that holds it as --data; `genner convert ORIGINAL FILE.jsonl` makes it from an annotated "
            "file of another kind"
        )
    return (
        f"{known.title} is to be had from {known.get} ({known.licence}); then `genner convert ORIGINAL {path} --from "
        f"{known.syntax}` for each split, and `genner data` compares its counts with the published ones"
    )


def syntax_of(name: str, given: str | None) -> str | None:
    """The file syntax of a corpus file, if it is given; None when it must be guessed, as for samples."""
    return None if name.startswith(SAMPLE) else given


def documents_of(
    name: str, data: Path, labels: LabelSet, syntax: str | None = None, read_log: ReadLog | None = None
) -> list[Document]:
    """The documents of a file; its syntax is guessed if it is not given.

    Raises `DataError` when one has a label that the label set lacks, and as `read_corpus`.
    """
    read = list(documents_in(name, data, syntax, read_log))
    for document in read:
        for entity in document.entities:
            if entity.label not in labels:
                raise DataError(str(path_of(name, data)), label_not_in(labels, [entity.label], document.id))
    return with_groups(read)  # before sampling: ids identify groups only in whole files


def documents_in(
    name: str, data: Path, syntax: str | None = None, read_log: ReadLog | None = None
) -> Iterator[Document]:
    """The documents of a file as they are read; its syntax is guessed if it is not given. Raises as `read_corpus`."""
    try:
        return read_corpus(path_of(name, data), syntax_of(name, syntax), read_log)
    except UnreadableError:
        raise
    except UsageError as error:
        raise UsageError(f"{error}; in the study: from = 'SYNTAX' in the [[corpus]], as in from = 'conll'") from None


def label_not_in(labels: LabelSet, found: Sequence[str], document: str) -> str:
    """What to say about labels of a file that its label set lacks; `document` is the id of one that has the first."""
    some = ", ".join(repr(tag) for tag in found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    return (
        f"document {document!r} has label {found[0]!r}, which the label set lacks; it has: {', '.join(labels.tags)}"
        + (f"; the file has also {some.partition(', ')[2]}" if len(found) > 1 else "")
    )


def drawn(documents: Sequence[Document], sentences: int | None) -> list[Document]:
    """So many of the documents, evenly spaced and in order; all of them without a number."""
    total = len(documents)
    if sentences is None or sentences >= total:
        return list(documents)
    return [documents[i * total // sentences] for i in range(sentences)]
