"""The lines of column files: which are comments, marks of documents, headers; how rows are parted into columns."""

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
"""Where a sentence is from, as GermEval has it: `#`, a tab, an address or a name, a date in brackets."""
MARKUP = re.compile(r"\s*</?[A-Za-z][^<>\t]*>\s*")
RANGE, EMPTY_NODE = re.compile(r"(\d{1,8})-(\d{1,8})"), re.compile(r"\d{1,8}\.\d{1,8}")
"""What CoNLL-U numbers rows with that are no words: a token that is split into words, a node without a place."""

_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.*?)\s*")
_CELLS = re.compile(r"[ \t]+")
_NO_NAMES = ("O", "-X-", "_", "-", "*", DOCSTART)
_HEADERS = frozenset(
    ["token", "tokens", "word", "words", "form", "text", "id", "index", "idx", "sentence", "sentence_id"]
)
_MOST = 1000  # rows that the width is told from


@dataclass(frozen=True)
class Columns:
    """How token lines look: parted by tabs, or else by blanks and tabs, into so many columns.

    `names` are those of the columns, if a comment `# global.columns` gives them (CoNLL-U Plus).
    """

    tab: bool
    width: int
    names: tuple[str, ...] = ()

    def split(self, line: str) -> list[str]:
        # Not at other white space: it occurs in tokens.
        return line.split("\t") if self.tab else _CELLS.split(line.strip(" \t"))

    def named(self, *wanted: str) -> int | None:
        """The first column with one of these names, whatever corpus it belongs to (`GUM:ENTITY`)."""
        last = [name.rpartition(":")[2].upper() for name in self.names]
        return next((last.index(name) for name in wanted if name in last), None)


def raw_lines(source: Traversable) -> Iterator[str]:
    """The lines, errors passed over, since those are for the reading itself; an empty one for each break."""
    with open_binary(source) as file:
        for raw in file:
            line = raw.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
            if "\r" in line:
                continue
            yield "" if is_break(line) else line


def find_columns(source: Traversable, tab: bool | None, token: int, column: int, bare: bool) -> Columns:
    """The columns of most of the first token lines; `tab` None: not said.

    Lines that begin with `#` count only if there are no others, and if tags stand in `column`.
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
    """Whether a row has a tag in `column`, from its form."""
    return has(row, [token, column]) and (bare or parse(row[column]) is not None)


def has(row: list[str], columns: list[int]) -> bool:
    """Whether the row has all these columns, no two of them the same."""
    return all(-len(row) <= at < len(row) for at in columns) and len({at % len(row) for at in columns}) == len(columns)


def is_comment(line: str, row: list[str], columns: Columns, tagged: bool) -> bool:
    """Whether a line is a comment; `tagged`: there is a tag where the tags are."""
    if not line.startswith("#"):
        return False
    if len(row) != columns.width or not (columns.tab or tagged) or (not columns.tab and is_known(line)):
        return True
    if row[0] == "#" and "://" in row[1]:  # GermEval's
        return True
    # A cell with a blank is part of a sentence about the text; a token row has none but in its token.
    return not tagged and (is_known(line) or any("://" in cell or " " in cell for cell in row) or _dated(row))


def _dated(row: list[str]) -> bool:
    return bool(SOURCE_COMMENT.fullmatch(f"# x {row[-1]}"))


def is_known(line: str) -> bool:
    """Whether a line is a comment of a kind that is known, whatever its columns."""
    return bool(COMMENT.fullmatch(line) or NEWDOC.fullmatch(line))


def is_header(row: list[str]) -> bool:
    """Whether the first row of a file names the columns: it has a name for the tokens, and no tag."""
    named = any(cell.strip().casefold() in _HEADERS for cell in row)
    return named and len(row) > 1 and all(parse(cell) is None and cell != "o" for cell in row)


def is_break(line: str) -> bool:
    """Whether a line ends a sentence. `EOS` alone does in what taggers of Japanese write."""
    return line.strip() in ("", "EOS") or is_docstart(line)


def is_docstart(line: str) -> bool:
    """Whether the line marks the beginning of a document, by its first column or another one (behind a number, say)."""
    upper = line.upper() if "-" in line else ""  # corpora without capitals have it in small letters
    if DOCSTART not in upper or line.startswith("#"):
        return False
    return upper.startswith(DOCSTART) or DOCSTART in _CELLS.split(upper)


def marked(source: Traversable) -> bool:
    """Whether `-DOCSTART-` parts the documents of a file. What is before the first is a document too."""
    mark = DOCSTART.encode()
    with open_binary(source) as file:
        return any(mark in raw.upper() and is_docstart(raw.decode("utf-8", "replace").strip()) for raw in file)


def document_name(line: str, columns: Columns) -> str:
    """The document that a `-DOCSTART-` line names: in brackets, as AIDA has it, or as the one thing behind the mark.

    A line with the columns of a token line names none: what is behind the mark is that line's tags.
    """
    behind = line[line.upper().index(DOCSTART) + len(DOCSTART) :].strip()
    if behind.startswith("(") and behind.endswith(")"):
        return behind[1:-1].strip()
    given = _CELLS.split(behind)
    return given[0] if len(given) == 1 and given[0].upper() not in _NO_NAMES and columns.width != 2 else ""
