"""The lines of column files: which are comments, document marks or headers; how rows are split into columns."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from itertools import islice

from genner.data.base import open_binary
from genner.data.records import DOCSTART
from genner.data.tags import parse

COMMENT = re.compile(r"# ?([\w.:-]+) =(?: (.*))?", re.DOTALL)
BARE_ID = re.compile(r"# (?:sent_)?id\s+([^\s=]\S*).*")
NEWDOC = re.compile(r"#\s*newdoc(?:\s+id\s*=(?: (.*)|\s*)|\s*)", re.DOTALL)
SOURCE_COMMENT = re.compile(r"#\s+(\S.*?)\s*\[\d{4}(?:-\d\d-\d\d)?\]\s*")
"""The source of a sentence, as in GermEval: `#`, a tab, an address or a name, a date in brackets."""
MARKUP = re.compile(r"\s*</?[A-Za-z][^<>\t]*>\s*")
RANGE, EMPTY_NODE = re.compile(r"(\d{1,8})-(\d{1,8})"), re.compile(r"\d{1,8}\.\d{1,8}")
"""Row numbers in CoNLL-U that do not number words: of multiword tokens (3-4) and of empty nodes (8.1)."""

_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.*?)\s*")
_CELLS = re.compile(r"[ \t]+")
_NO_NAMES = ("O", "-X-", "_", "-", "*", DOCSTART)
_HEADERS = frozenset(
    ["token", "tokens", "word", "words", "form", "text", "id", "index", "idx", "sentence", "sentence_id"]
)
_MOST = 1000  # rows from which the width is determined


@dataclass(frozen=True)
class Columns:
    """The layout of token lines: split at tabs, or else at blanks and tabs, into `width` columns.

    `names`: the column names, if a comment `# global.columns` gives them (CoNLL-U Plus).
    """

    tab: bool
    width: int
    names: tuple[str, ...] = ()

    def split(self, line: str) -> list[str]:
        # Not at other white space, which occurs in tokens.
        return line.split("\t") if self.tab else _CELLS.split(line.strip(" \t"))

    def named(self, *wanted: str) -> int | None:
        """The first column with one of these names, with or without a corpus prefix (`GUM:ENTITY`)."""
        last = [name.rpartition(":")[2].upper() for name in self.names]
        return next((last.index(name) for name in wanted if name in last), None)


def raw_lines(source: Traversable) -> Iterator[str]:
    """The lines, errors skipped (the actual reading reports them); an empty line for each break."""
    with open_binary(source) as file:
        for raw in file:
            line = raw.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
            if "\r" in line:
                continue
            yield "" if is_break(line) else line


def find_columns(source: Traversable, tab: bool | None, token: int, column: int, bare: bool) -> Columns:
    """The most frequent layout of the first token lines; `tab` None: not given.

    Lines that begin with `#` count only if there are no others and `column` holds tags.
    """
    counts = Counter[Columns]()
    hashed = Columns(bool(tab), 0)
    names: tuple[str, ...] = ()
    for line in islice((line for line in raw_lines(source) if line), _MOST):
        parted = Columns("\t" in line if tab is None else tab, 0)
        row = parted.split(line)
        if found := _COLUMNS.fullmatch(line):
            names = tuple(found[1].split())
        elif MARKUP.fullmatch(line):
            continue
        elif not line.startswith("#"):
            counts[Columns(parted.tab, len(row))] += 1
        elif not is_known(line) and is_row(row, token, column, bare):
            hashed = Columns(parted.tab, len(row))
    most = counts.most_common(1)[0][0] if counts else hashed
    return Columns(most.tab, most.width, names if len(names) == most.width else ())


def is_row(row: list[str], token: int, column: int, bare: bool = False) -> bool:
    """Whether the cell in `column` has the form of a tag."""
    return has(row, [token, column]) and (bare or parse(row[column]) is not None)


def has(row: list[str], columns: list[int]) -> bool:
    """Whether the row has all these columns, and they are distinct."""
    return all(-len(row) <= at < len(row) for at in columns) and len({at % len(row) for at in columns}) == len(columns)


def is_comment(line: str, row: list[str], columns: Columns, tagged: bool) -> bool:
    """Whether a line is a comment; `tagged`: its tag column holds a tag."""
    if not line.startswith("#"):
        return False
    if len(row) != columns.width or not (columns.tab or tagged) or (not columns.tab and is_known(line)):
        return True
    if row[0] == "#" and "://" in row[1]:  # GermEval's
        return True
    # A cell with a blank is part of a sentence about the text; in a token row only the token may hold a blank.
    return not tagged and (is_known(line) or any("://" in cell or " " in cell for cell in row) or _dated(row))


def _dated(row: list[str]) -> bool:
    return bool(SOURCE_COMMENT.fullmatch(f"# x {row[-1]}"))


def is_known(line: str) -> bool:
    """Whether a line is a known kind of comment, whatever its columns."""
    return bool(COMMENT.fullmatch(line) or NEWDOC.fullmatch(line))


def is_header(row: list[str]) -> bool:
    """Whether the first row of a file names the columns: it has a name for the tokens, and no tag."""
    named = any(cell.strip().casefold() in _HEADERS for cell in row)
    return named and len(row) > 1 and all(parse(cell) is None and cell != "o" for cell in row)


def is_break(line: str) -> bool:
    """Whether a line ends a sentence. A lone `EOS` does, as Japanese taggers write it."""
    return line.strip() in ("", "EOS") or is_docstart(line)


def is_docstart(line: str) -> bool:
    """Whether the line marks the beginning of a document, in its first column or another one (as after a number)."""
    upper = line.upper() if "-" in line else ""  # lowercased corpora have it in lower case
    if DOCSTART not in upper or line.startswith("#"):
        return False
    return upper.startswith(DOCSTART) or DOCSTART in _CELLS.split(upper)


def marked(source: Traversable) -> bool:
    """Whether `-DOCSTART-` separates the documents of a file. Text before the first mark is a document too."""
    mark = DOCSTART.encode()
    with open_binary(source) as file:
        return any(mark in raw.upper() and is_docstart(raw.decode("utf-8", "replace").strip()) for raw in file)


def document_name(line: str, columns: Columns) -> str:
    """The document that a `-DOCSTART-` line names: in brackets, as in AIDA, or as the only word after the mark.

    A line with the columns of a token line names none: its tags follow the mark.
    """
    behind = line[line.upper().index(DOCSTART) + len(DOCSTART) :].strip()
    if behind.startswith("(") and behind.endswith(")"):
        return behind[1:-1].strip()
    given = _CELLS.split(behind)
    return given[0] if len(given) == 1 and given[0].upper() not in _NO_NAMES and columns.width != 2 else ""
