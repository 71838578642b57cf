"""The values in the columns of a file, collected in one pass and in constant memory."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_TAG_VALUES = 2000  # distinct values; a column with more holds words
NO_TAG = ("O", "o", "_", "-", "")
_FEW = 4  # fewer rows say nothing about a column
_NUMBER = re.compile(r"(.*?)([0-9]{1,8})", re.DOTALL)
NO_WORD = re.compile(r"[0-9]{1,8}[-.][0-9]{1,8}")
"""Row numbers in CoNLL-U that do not number words: of multiword tokens (3-4) and of empty nodes (8.1)."""


@dataclass
class Seen:
    """The values in the rows of a file, all of one width.

    `columns`: the distinct values of each column (None: too many). `marked`: how many cells of each are not `O` or the
    like. Rows of multiword tokens (3-4) and of empty nodes (8.1) are left out if the first column counts the others.
    """

    columns: list[set[str] | None]
    marked: list[int]
    counted: bool
    """Whether the first column counts the rows of each sentence."""
    numbers: bool
    """Whether the first column holds only numbers, ranges (3-4) and decimals (8.1)."""
    other: str
    """In words, any other reason why the first column does not hold words; else empty."""

    @classmethod
    def of(cls, rows: Iterable[list[str]]) -> "Seen":
        every, words, first = _Values(), _Values(), _FirstColumn()
        for row in rows:
            first.add(row[0] if row else None)
            if row:
                every.add(row)
                if not NO_WORD.fullmatch(row[0]):
                    words.add(row)
        counted = first.counts and first.whole > 0 and every.total > 1
        held = words if counted else every
        return cls(held.columns, held.marked, counted, first.numbers and first.whole > 0, first.described())


class _Values:
    def __init__(self) -> None:
        self.columns: list[set[str] | None] = []
        self.marked: list[int] = []
        self.total = 0

    def add(self, row: list[str]) -> None:
        if not self.columns:
            self.columns, self.marked = [set() for _ in row], [0] * len(row)
        self.total += 1
        for at, value in enumerate(row):
            self.marked[at] += value not in NO_TAG
            held = self.columns[at]
            if held is not None:
                held.add(value)
                if len(held) > MAX_TAG_VALUES:
                    self.columns[at] = None


class _FirstColumn:
    """Collects the first column, None at the end of a sentence, and describes it if it does not hold words."""

    def __init__(self) -> None:
        self.counts = self.numbers = True
        self.whole = 0
        self._rows = self._sentences = 0
        self._last: int | None = None  # the previous number and value in this sentence
        self._before: tuple[str, int] | None = None
        self._value: str | None = None
        self._numbered = self._constant = True

    def add(self, value: str | None) -> None:
        if value is None:
            self._last = self._before = self._value = None
            return
        number = _NUMBER.fullmatch(value)
        prefix, n = (number[1], int(number[2])) if number else ("", -1)
        whole = number is not None and not prefix
        is_word = not NO_WORD.fullmatch(value)
        self.numbers = self.numbers and (whole or not is_word)
        if is_word:
            self.whole += whole
            self.counts = self.counts and whole and (n in (0, 1) if self._last is None else n == self._last + 1)
            self._last = n
        goes_on = n in (0, 1) if self._before is None else (prefix, n - 1) == self._before
        self._numbered = self._numbered and bool(prefix) and goes_on
        self._before = prefix, n
        self._constant = self._constant and self._value in (None, value)
        self._sentences += self._value is None
        self._value = value
        self._rows += 1

    def described(self) -> str:
        """In words: the column numbers tokens (`w1`, `w2` or `1-1`, `1-2`), or has one value per sentence; or empty."""
        if self._rows >= _FEW and self._numbered:
            return "numbers the tokens"
        if self._rows >= _FEW and self._constant and self._sentences < self._rows:
            return "is the same for all tokens of a sentence"
        return ""
