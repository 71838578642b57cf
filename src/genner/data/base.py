"""The base class of file syntaxes, and the `ReadLog`, which counts everything that is not kept.

A syntax reads files into documents and, if it supports writing, writes documents into files. It knows how entities are
written down, not which corpus they come from. Its options are the fields of its dataclass: `Conll(column=3)`, on the
command line `conll:column=3`. Tests hold each syntax that writes to this law: writing and reading again gives the same
document, or the log records what could not be kept.
"""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar

from genner.data.file_opening import open_binary as open_binary  # readers open files with it
from genner.document import Document
from genner.errors import DataError

log = logging.getLogger(__name__)

ALONE = r"lines end in carriage returns alone; convert the file with: tr '\r' '\n' < OLD > NEW"
WITHIN = r"a carriage return stands within the line; take it out with: tr -d '\r' < OLD > NEW"
PASSED_OVER = "passed over"
_NAMED = {b"\n": r"\n", b"\r\n": r"\r\n"}


@dataclass
class ReadLog:
    """Errors in the files that were read, and what could not be kept.

    An *error* is a fault of the file. It raises, unless the log is `lenient`: then it is counted, logged, and skipped
    or read as its message says. *Dropped* things are no errors: the syntax, or genner, cannot represent them (a
    discontinuous mention, a relation, a score). Both are counted by kind, with the first example of each. A *note* says
    how something ambiguous in a file was read.
    """

    lenient: bool = False
    errors: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)
    """How errors that were not skipped were read instead, by kind."""

    def error(
        self,
        kind: str,
        where: object,
        what: str,
        line: int | None = None,
        *,
        instead: str = PASSED_OVER,
        count: int = 1,
    ) -> None:
        """Record an error of this kind in file `where`. Raises `DataError` unless lenient.

        `instead` says how a lenient log treats the error if it does not skip it. `count`: number of errors, of which
        this is the first.
        """
        error = DataError(str(where), what, line)
        if not self.lenient:
            raise error
        self.errors[kind] += count
        self.examples.setdefault(kind, str(error))
        if instead != PASSED_OVER:
            self.instead.setdefault(kind, instead)
        log.warning("%s; %s", error, instead)

    def drop(self, kind: str, example: str = "", count: int = 1) -> None:
        """Record that `count` things of this kind were not kept."""
        self.dropped[kind] += count
        self.examples.setdefault(kind, example)

    def note(self, where: object, what: str) -> None:
        """Record how file `where` was read. A repeated note is kept once."""
        self.notes[f"{where}: {what}"] = None

    def lines(self) -> list[str]:
        """The log as readable lines: the notes, then one line per kind with its first example."""
        return [f"note: {note}" for note in self.notes] + [
            f"{what} {kind}: {n}"
            + (f", {self.instead[kind]}" if counts is self.errors and kind in self.instead else "")
            + (f" (first: {self.examples[kind]})" if self.examples.get(kind) else "")
            for what, counts in (("error", self.errors), ("not kept", self.dropped))
            for kind, n in counts.most_common()
        ]


class Syntax(ABC):
    """A file syntax. Subclasses are frozen dataclasses; their fields are the options, each with a default."""

    name: ClassVar[str]
    """The key in `SYNTAXES`."""

    suffixes: ClassVar[tuple[str, ...]]
    """Common file name suffixes, with the dot, without gzip's."""

    writes: ClassVar[bool] = True
    """Whether `write` is supported."""

    example: ClassVar[Mapping[str, str]] = {}
    """A small valid file, or folder of files, by path. Tests read it intact and damaged. A syntax that cannot write
    needs one; for a syntax that can, tests also use a file that it has written."""

    @classmethod
    @abstractmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        """Whether `source` looks like this syntax: from its name, its first bytes (unzipped), or a folder's content.

        True only when certain; syntaxes are asked in the order of `SYNTAXES`.
        """

    @abstractmethod
    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        """Yield the documents of a file or folder (or of one inside a zip archive), each with a unique id.

        One document, or one record, is in memory at a time. Raises `DataError` with file and line on an error, unless
        the log is lenient.
        """

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        """Write the documents to a new file or folder; returns how many.

        What cannot be kept is dropped and counted.

        The target appears only once everything is written. Raises `DataError` when it cannot be written.
        """
        raise NotImplementedError(f"{self.name} is read only")

    def companions(self, target: Path) -> tuple[Path, ...]:
        """Files beside `target` that `write` overwrites."""
        return ()


def read_lines(source: Traversable, read_log: ReadLog, *, returns_within: bool = False) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers, from 1, without `\\n` or `\\r\\n`.

    Lines end at `\\n` only, since other Unicode line separators occur in text. Errors: bytes that are not UTF-8; mixed
    `\\r\\n` and `\\n` line ends (blank lines are ignored); and a `\\r` within a line, unless `returns_within` is set.
    A lenient log skips such a line (a file whose lines end in `\\r` alone is one line) and reads mixed line ends as
    they are.
    """
    endings: set[bytes] = set()
    with open_binary(source) as file:
        for number, raw in enumerate(file, 1):
            line = raw.removesuffix(b"\n")
            if len(line) < len(raw):
                ending = b"\r\n" if line.endswith(b"\r") else b"\n"
                if endings and ending not in endings and line.strip():
                    what = f"ends in {_NAMED[ending]}, the lines before in {_NAMED[next(iter(endings))]}"
                    fix = "convert the file with dos2unix, or read it as it is with --lenient (ReadLog(lenient=True))"
                    read_log.error("mixed line endings", source, f"{what}; {fix}", number, instead="read as it is")
                endings |= {ending} if line.strip() else set()
            line = line.removesuffix(b"\r")
            if b"\r" in line and not returns_within:
                read_log.error("carriage returns", source, WITHIN if endings else ALONE, number)
                continue
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                what = f"invalid UTF-8 at byte {error.start} of the line; convert the file with iconv"
                read_log.error("invalid UTF-8", source, what, number)
