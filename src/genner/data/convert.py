"""Conversion from one file syntax to another, one document at a time."""

from collections.abc import Callable, Iterable
from pathlib import Path

from genner.data.base import ReadLog, Syntax
from genner.data.corpus import corpus_files, read_corpus
from genner.data.detokenize import PAPER_CONLL, PAPER_DETOKENIZE, PAPER_LISTS, RUNNING_TEXT_DETOKENIZE
from genner.data.paper_case import PaperCase
from genner.data.registry import guess_target, syntax
from genner.data.rewrite import Chain, Rewrite
from genner.data.truecase import Truecase
from genner.document import Document
from genner.errors import UnknownNameError, UsageError

# Each rewrite is made from a function that iterates over the documents again; some rewrites learn from them.
REWRITES: dict[str, Callable[[Callable[[], Iterable[Document]]], Rewrite]] = {
    "running": lambda documents: RUNNING_TEXT_DETOKENIZE,
    "paper": lambda documents: PAPER_DETOKENIZE,
    "paper_conll": lambda documents: Chain((PaperCase(), PAPER_CONLL)),
    "paper_lists": lambda documents: PAPER_LISTS,
    "truecase": lambda documents: Truecase.learn(documents()),
}


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

    One document is in memory at a time, plus 8 bytes per id, unless a syntax says otherwise. `target` appears, or
    replaces the existing file, only when all documents are written; an input file is never overwritten. `rewrites` are
    names in `REWRITES`, applied in this order. `watch` wraps the documents, as a progress bar does.

    Raises `UsageError` on a syntax that cannot be guessed or cannot write, and on a target that is an input;
    `DataError` as readers and writers do.
    """
    to = syntax(writer) if isinstance(writer, str) else writer or guess_target(target)
    if not to.writes:
        raise UsageError(f"{to.name} can be read but not written; choose another syntax to write")
    _refuse_sources(corpus_files(source), (target, *to.companions(target)))
    read_log = read_log or ReadLog()
    documents = read_corpus(source, reader, read_log)
    steps: list[Rewrite] = []
    for name in rewrites:
        if name not in REWRITES:
            raise UnknownNameError("rewrite", name, REWRITES)
        before = Chain(tuple(steps))
        quiet = ReadLog(lenient=read_log.lenient)  # the documents are read, and reported, again below
        steps.append(REWRITES[name](lambda: (before.apply(d)[0] for d in read_corpus(source, reader, quiet))))  # noqa: B023
    if steps:
        chain = Chain(tuple(steps))
        documents = (chain.apply(d)[0] for d in documents)
    return to.write(watch(documents), target, read_log)


def _refuse_sources(read: list[Path], targets: tuple[Path, ...]) -> None:
    """Raise `UsageError` for a target that is an input file (links resolved) or lies in an input folder."""
    for target in targets:
        if not target.is_file():  # writers refuse any other existing target, such as a folder
            continue
        for path in read:
            if path.samefile(target) or path.resolve() in target.resolve().parents:
                what = f"{str(target)!r} is read, so it cannot be written; choose another name for the target"
                raise UsageError(what)
