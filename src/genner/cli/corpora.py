"""How commands read their corpora: one option for the syntax, one for leniency, one report at the end."""

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genner.cli.app import must_exist, tell
from genner.errors import GennerError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genner.document import Document

LenientOption = Annotated[bool, typer.Option(help="Count what is wrong in a file and go on, instead of stopping.")]
FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="[FILE=]SYNTAX",
        help="Syntax of the first file, as conll:column=3; of another one as in train=conll. Guessed if left out.",
    ),
]


class CorpusFiles:
    """Reads the corpora of one command.

    Args:
        given: the values of `--from`: `SYNTAX` for the first of `names`, `NAME=SYNTAX` for any of them.
        names: the names of this command's files, such as `gold`, `pred`, `train`.
        lenient: errors in files are counted and skipped.

    Raises `UsageError` for a value of `--from` that names a file twice.
    """

    def __init__(self, given: "Sequence[str] | None", names: "Sequence[str]", *, lenient: bool = False) -> None:
        from genner.data.base import ReadLog

        self.read_log: ReadLog = ReadLog(lenient=lenient)
        self._names = names
        self.syntaxes: dict[str, str] = {}
        """The given file syntaxes, by the file's name."""
        for value in given or ():
            before, sign, after = value.partition("=")
            name, syntax = (before, after) if sign and before in names else (names[0], value)
            if sign and name != before and ":" not in before:
                raise UnknownNameError("file in --from", before, names, f"as in --from {names[-1]}=jsonl")
            if name in self.syntaxes:
                raise UsageError(f"--from gives the syntax of {name} twice, the second time as {value!r}; give one")
            self.syntaxes[name] = syntax

    def syntax(self, name: str) -> str | None:
        """The syntax that `--from` gives for a file; None if it must be guessed."""
        return self.syntaxes.get(name)

    def read(self, name: str, path: Path) -> "list[Document]":
        """The documents of the file called `name`. Raises as `read_corpus`; what it advises to write after `--from` is
        for this file."""
        from genner.data import read_corpus

        try:
            return list(read_corpus(path, self.syntax(name), self.read_log))
        except GennerError as error:
            if name != self._names[0]:
                error.args = (re.sub(r"--from (?=\w)", f"--from {name}=", str(error)),)
            raise

    def check(self, **paths: "Path | Sequence[Path] | None") -> list[Path]:
        """The files on disk that reading `paths` opens. Raises `UsageError` for the first that does not exist, and for
        a syntax of a file that is not among them.

        `hub:` data sets are left out: they are fetched when they are read.
        """
        from genner.data.corpus import HUB, corpus_files

        if unused := [name for name in self.syntaxes if not paths.get(name)]:
            raise UsageError(
                f"--from {unused[0]}={self.syntaxes[unused[0]]}: {unused[0]} is not given; leave this --from out"
            )
        named = [path for some in paths.values() for path in ([some] if isinstance(some, Path) else some or ())]
        given = [path for path in named if not str(path).startswith(HUB)]
        # Neither a pattern nor a file in an archive: the path itself must exist.
        must_exist(*(p for p in given if not glob.has_magic(str(p)) and not any(up.is_file() for up in p.parents)))
        return [file for path in given for file in corpus_files(path)]

    def tell(self) -> None:
        """Report on standard error how files were read, their errors, and what was dropped."""
        for line in self.read_log.lines():
            tell(line)
