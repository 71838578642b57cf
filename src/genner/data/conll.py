"""CoNLL columns: a token a line with its entity tag in one of the columns, a blank line after each sentence.

    # id = 7
    # text = Ada Lovelace, London.
    Ada	B-PER
    Lovelace	I-PER
    ,	O
    London	B-LOC
    .	O

Lines that begin with `#` are comments, unless they have the columns of a token line (`#` is also a token). `# id = `
(or `# sent_id = `, or `# id ` and a word) names the document; `# text = ` gives the text as it was spaced, and
`# text-json = `, which is genner's own, the same in JSON, for a text with line breaks or tabs. Other comments are
losses. A line with `-DOCSTART-` in one of its columns begins a new document of the corpus, and so do the comments
`# newdoc` and `# newdoc id = `: it is the group of its sentences. The other columns are not read.

Sources: the shared tasks of CoNLL-2002 and 2003 (the columns, `-DOCSTART-`, conlleval), Universal Dependencies (the
comments).

What is open in a file is looked up in the whole of it before it is read, see `survey.py`: a first column that counts
the tokens is not taken for the words, and which column holds the tags is decided, or else asked for.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from itertools import accumulate, chain, groupby
from pathlib import Path
from typing import ClassVar, Literal

from genner.data import tags
from genner.data.base import Journal, Syntax, open_binary, read_lines
from genner.data.records import DOCSTART, Intake, Span, stem, unkept
from genner.data.survey import Found, Layout, survey, tagged
from genner.data.tokens import locate, tokenize
from genner.data.writing import atomic
from genner.document import Document, Entity
from genner.errors import UsageError

_COMMENT = re.compile(r"# ?([\w.:-]+) =(?: (.*))?", re.DOTALL)
_BARE_ID = re.compile(r"# (?:sent_)?id\s+([^\s=]\S*).*")
_NEWDOC = re.compile(r"#\s*newdoc(?:\s+id\s*=(?: (.*)|\s*)|\s*)", re.DOTALL)
_CELLS = re.compile(r"[ \t]+")
_NO_NAMES = ("O", "-X-", "_", "-", "*", DOCSTART)
_BREAKS = re.compile(r"[\t\n\r\ud800-\udfff]")


@dataclass(frozen=True)
class Conll(Syntax):
    """Token and tag columns. A document is a sentence, or with `whole` all sentences of a document of the corpus.

    A sentence's id is the one in its comments, or `<file stem>-<document>-<sentence>`, counted from 1 (without the
    document when it is in none); a whole document's is `<file stem>-<document>`. Its group is what `-DOCSTART-` or
    `# newdoc` names, else `<file stem>-<document>` (0 before the first `-DOCSTART-`); empty when neither is there, or
    `# newdoc id =` names none. A tag sequence that breaks the scheme is a fault; a lenient journal counts it and takes
    the entities that conlleval would see. A line with another number of columns than the first is a fault; a lenient
    journal leaves its token out.

    Writing: words and single marks are tokens, cut further where an entity begins or ends. Tags are flat: of entities
    that overlap, the one that begins first is kept, of these the longest; the others are losses, as are blanks at the
    edges of an entity. Groups are written as `# newdoc id = `.
    """

    column: int | None = None
    """The column of the tags, from 0; a negative number counts from the end. The last, if that has any."""
    token: int | None = None
    """The column of the tokens, from 0. The first, or the second if the first counts them."""
    inner: int | None = None
    """A second column of tags, those of inner entities, as GermEval has. It is only read."""
    scheme: Literal["auto", "iob2", "iob1", "bioes", "io", "bare"] = "auto"
    """How tags are meant, see `tags.py`. `auto` decides from the whole file, and writes iob2; io and bare only read."""
    label: str = ""
    """The label of tags that have none (`B`, `I`, `O`); `ENTITY` if it is not given."""
    outside: str = "O"
    """The tag of tokens that are in no entity."""
    separator: Literal["auto", "tab", "space"] = "auto"
    """A tab, or any run of blanks and tabs. `auto` reads tabs if the first token line has one, and writes them."""
    joiner: str = " "
    """What is between tokens in the text of a sentence without a `# text` comment."""
    text: bool = True
    """Whether `# text` comments are written, and read for the spacing. Without them the spacing is lost."""
    whole: bool = False
    """Whether the sentences of a document are read as one text, a line each."""

    name: ClassVar[str] = "conll"
    suffixes: ClassVar[tuple[str, ...]] = (".conll", ".iob", ".iob2", ".bio", ".bioes")

    def __post_init__(self) -> None:
        if self.token is not None and self.token < 0:
            raise UsageError(f"token={self.token} is not legal; legal: the number of a column, 0 for the first")

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        rows = [
            line.split()
            for line in head.decode("utf-8", "replace").split("\n")[:-1]
            if not _is_break(line) and not line.startswith("#")
        ]
        width = min(map(len, rows), default=0)
        columns = [{row[at] for row in rows} for at in range(1, width)] + [{row[-1] for row in rows}] * (width > 1)
        return any(tagged(column) for column in columns)

    # Reading

    def read(self, source: Traversable, journal: Journal) -> Iterator[Document]:
        intake = Intake(source, journal)
        for _, group in groupby(self._sentences(source, journal), lambda s: s.part if self.whole else s):
            first, text, spans = None, "", []
            for sentence in group:
                text += "\n" if first else ""
                spans += [Span(s + len(text), e + len(text), label) for s, e, label in sentence.entities]
                text += sentence.text
                first = first or sentence
            assert first is not None  # a group holds one at least
            counted = [first.part] * (first.part > 0) + [first.number] * (not self.whole)
            id = "-".join(map(str, [stem(source), *counted]))
            document = intake.document(first.line, text, spans, id if self.whole else first.id or id, first.group)
            if document is not None:
                yield document

    def _sentences(self, source: Traversable, journal: Journal) -> Iterator["_Sentence"]:
        columns = self._columns(source)
        layout = survey(self._rows_of(source, columns), self._layout(), source, journal)
        scheme = self._guess_scheme(source, columns, layout) if self.scheme == "auto" else self.scheme
        read = [layout.token, layout.column, *([] if layout.inner is None else [layout.inner])]
        part = number = 0
        corpus_document = f"{stem(source)}-0" if _marked(source) else ""
        sentence = _Sentence()
        for line_number, line in chain(read_lines(source, journal), [(0, "")]):
            if _is_break(line):
                if _is_docstart(line) and not sentence.rows:
                    sentence.spaced = None  # the text of the mark itself
                if sentence.rows or sentence.spaced is not None:
                    number += 1
                    sentence.part, sentence.number, sentence.group = part, number, corpus_document
                    self._interpret(sentence, scheme, layout, source, journal)
                    yield sentence
                if _is_docstart(line) and not sentence.begins:
                    part, number = part + 1, 0
                    corpus_document = _named(line, columns) or f"{stem(source)}-{part}"
                sentence = _Sentence()
                continue
            sentence.line = sentence.line or line_number
            row = columns.split(line)
            if newdoc := _NEWDOC.fullmatch(line):
                part, number, sentence.begins = part + 1, 0, True
                corpus_document = f"{stem(source)}-{part}" if newdoc[0].endswith("newdoc") else newdoc[1] or ""
            elif self._is_comment(line, row, columns):
                self._comment(sentence, line, line_number, source, journal)
            elif len(row) != columns.width or not _has(row, read):
                journal.fault("number of columns", source, _misfit(row, columns, layout), line_number)
            elif not row[layout.token].strip():
                journal.fault("empty token", source, f"column {layout.token} holds no token", line_number)
            elif layout.counted and not row[0].isdigit():
                journal.loss("row of a token that is split or left out (as 3-4 or 8.1)", f"{source}:{line_number}")
            else:
                sentence.rows.append((line_number, row[layout.token], [row[at] for at in read[1:]]))

    def _layout(self) -> Layout:
        return Layout(self.token, self.column, self.inner, self.scheme, self.outside, self.label)

    def _rows_of(self, source: Traversable, columns: "_Columns") -> Iterator[list[str]]:
        """The rows of all token lines that are as wide as the first; an empty one for each break."""
        for line in _raw_lines(source):
            row = columns.split(line) if line else []
            if not line:
                yield []
            elif len(row) == columns.width and not self._is_comment(line, row, columns):
                yield row

    def _comment(self, sentence: "_Sentence", line: str, number: int, source: Traversable, journal: Journal) -> None:
        found, bare = _COMMENT.fullmatch(line), _BARE_ID.fullmatch(line)
        key, value = (found[1], found[2] or "") if found else ("id", bare[1]) if bare else ("", "")
        if key in ("id", "sent_id"):
            sentence.id = value
        elif key == "text" and self.text:
            sentence.spaced = value
        elif key == "text-json" and self.text:
            try:
                sentence.spaced = str(json.loads(value))
            except ValueError:
                journal.fault("bad comment", source, "text-json is followed by a string in JSON", number)
        elif key not in ("text", "text-json"):
            journal.loss("comment", line)

    def _interpret(
        self, sentence: "_Sentence", scheme: tags.Scheme, layout: Found, source: Traversable, journal: Journal
    ) -> None:
        """Fill in the text and the entities, in code points."""
        given_tags = zip(*(row[2] for row in sentence.rows), strict=True)
        levels = [[layout.spelling.normal(tag) for tag in level] for level in given_tags]
        for given in levels:
            for index, what in tags.faults(given, scheme):
                if "malformed" in what:
                    what += "; --from conll:scheme=bare reads every tag as a label, outside=TAG says which is none"
                journal.fault("tag sequence", source, what, sentence.rows[min(index, len(given) - 1)][0])
        words = [word for _, word, _ in sentence.rows]
        places = None
        if sentence.spaced is not None:
            sentence.text, places = sentence.spaced, locate(words, sentence.spaced)
            if places is None:
                what = f"the tokens are not those of the text {sentence.spaced!r}"
                what += "; --from conll:text=false reads it without"
                journal.fault("text comment", source, what, sentence.line)
        if places is None:
            sentence.text = self.joiner.join(words)
            ends = list(accumulate((len(word) + len(self.joiner) for word in words), initial=0))
            places = [(start, start + len(word)) for start, word in zip(ends, words, strict=False)]
        sentence.entities = [
            (places[first][0], places[behind - 1][1], label)
            for given in levels
            for first, behind, label in tags.spans(given, scheme)
        ]

    def _columns(self, source: Traversable) -> "_Columns":
        """How token lines look: as the first line that does not begin with `#`, or else as the last that does."""
        found = _Columns(self.separator == "tab", 0)
        for line in _raw_lines(source):
            if not line:
                continue
            tab = "\t" in line if self.separator == "auto" else self.separator == "tab"
            row = _Columns(tab, 0).split(line)
            if line.startswith("#") and (_is_known(line) or not self._is_row(row)):
                continue
            found = _Columns(tab, len(row))
            if not line.startswith("#"):
                break
        return found

    def _guess_scheme(self, source: Traversable, columns: "_Columns", layout: Found) -> tags.Scheme:
        if layout.spelling.form == "bare":
            return "bare"
        guess = tags.SchemeGuess()
        sequence: list[str] = []
        for row in chain(self._rows_of(source, columns), [[]]):
            if _has(row, [layout.column]):
                sequence.append(layout.spelling.normal(row[layout.column]))
            elif not row:
                guess.add(sequence)
                sequence.clear()
        return guess.scheme

    def _is_row(self, row: list[str]) -> bool:
        token, column = self.token or 0, -1 if self.column is None else self.column
        bare = self.scheme == "bare"
        return _has(row, [token, column]) and (bare or tags.parse(row[column]) is not None)

    def _is_comment(self, line: str, row: list[str], columns: "_Columns") -> bool:
        if not line.startswith("#"):
            return False
        # With blanks for separators a comment may have as many columns as a token line by chance.
        looks_so = not columns.tab and (_is_known(line) or not self._is_row(row))
        return looks_so or len(row) != columns.width

    # Writing

    def write(self, documents: Iterable[Document], target: Path, journal: Journal) -> int:
        scheme: tags.Scheme = "iob2" if self.scheme == "auto" else self.scheme
        if scheme in ("io", "bare"):
            raise UsageError(f"scheme={scheme} merges entities that touch and is only read; write iob2, iob1 or bioes")
        if self.inner is not None:
            raise UsageError(f"inner={self.inner}: inner entities are only read; write without it, or another syntax")
        count = 0
        group = ""
        with atomic(target) as file:
            for document in documents:
                unkept(document, journal, group=bool(_BREAKS.search(document.group)))
                named = "" if _BREAKS.search(document.group) else document.group
                begins = [f"# newdoc id = {named}" if named else "# newdoc id ="] * (named != group)
                group = named
                block = "\n".join(
                    [*begins, *self._comments(document, journal), *self._rows(document, scheme, journal), "", ""]
                )
                if not block.strip():
                    journal.loss("document without tokens", document.id)
                # A byte order mark that is a token must not be taken for the file's.
                file.write(("\n" * (not count and block.startswith("\ufeff")) + block).encode("utf-8"))
                count += 1
        return count

    def _comments(self, document: Document, journal: Journal) -> Iterator[str]:
        if _BREAKS.search(document.id):
            journal.loss("id", repr(document.id))
        elif document.id:
            yield f"# id = {document.id}"
        if self.text and _BREAKS.search(document.text):
            yield f"# text-json = {json.dumps(document.text, ensure_ascii=False)}"
        elif self.text:
            yield f"# text = {document.text}"

    def _rows(self, document: Document, scheme: tags.Scheme, journal: Journal) -> Iterator[str]:
        separator = " " if self.separator == "space" else "\t"
        flat: list[Entity] = []
        for e in document.entities:
            if _BREAKS.search(e.label) or (separator == " " and " " in e.label):
                journal.loss("label with a separator in it", repr(e.label))
            elif flat and e.start < flat[-1].end:
                journal.loss("nested or crossing entity", f"{document.id}: {document.mention(e)!r}")
            else:
                flat.append(e)
        places = tokenize(document.text, flat)
        words = [document.text[start:end] for start, end in places]
        if not self.text and document.text != self.joiner.join(words):
            journal.loss("spacing", document.id)
        starts = [start for start, _ in places]
        spans = []
        for e in flat:
            first, behind = bisect_left(starts, e.start), bisect_left(starts, e.end)
            if first == behind:
                journal.loss("entity of blanks", f"{document.id}: {document.mention(e)!r}")
                continue
            if (places[first][0], places[behind - 1][1]) != e.span:
                journal.loss("blanks at the edge of an entity", f"{document.id}: {document.mention(e)!r}")
            spans.append((first, behind, e.label))
        token, column = self.token or 0, -1 if self.column is None else self.column
        width = max(column, token) + 1 if column >= 0 else token + 1 - column
        for word, tag in zip(words, tags.spell(spans, len(words), scheme), strict=True):
            row = ["_"] * width
            row[token], row[column] = word, tag
            yield separator.join(row)


@dataclass(frozen=True)
class _Columns:
    tab: bool
    width: int

    def split(self, line: str) -> list[str]:
        # Not at other white space: it occurs in tokens.
        return line.split("\t") if self.tab else re.split(r"[ \t]+", line.strip(" \t"))


@dataclass
class _Sentence:
    line: int = 0
    part: int = 0
    number: int = 0
    id: str = ""
    group: str = ""
    begins: bool = False
    """Whether it is the first of a document of the corpus, by its comments."""
    spaced: str | None = None
    rows: list[tuple[int, str, list[str]]] = field(default_factory=list)
    """Line, token, tag; the inner tag behind it if there is one."""
    text: str = ""
    entities: list[tuple[int, int, str]] = field(default_factory=list)


def _marked(source: Traversable) -> bool:
    """Whether a `-DOCSTART-` parts the documents of a file. What is before the first is a document too."""
    mark = DOCSTART.encode()
    with open_binary(source) as file:
        return any(mark in raw and _is_docstart(raw.decode("utf-8", "replace").strip()) for raw in file)


def _raw_lines(source: Traversable) -> Iterator[str]:
    """The lines, faults passed over, since those are for the reading itself; an empty one for each break."""
    with open_binary(source) as file:
        for raw in file:
            line = raw.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
            if "\r" in line:
                continue
            yield "" if _is_break(line) else line


def _has(row: list[str], columns: list[int]) -> bool:
    """Whether the row has all these columns, no two of them the same."""
    return all(-len(row) <= at < len(row) for at in columns) and len({at % len(row) for at in columns}) == len(columns)


def _misfit(row: list[str], columns: "_Columns", layout: Found) -> str:
    """What is wrong with a row that has not the columns that it should."""
    parted = "tabs" if columns.tab else "blanks"
    if columns.width == 1 and len(row) == 1:
        return (
            f"has one column; two are needed at least, a token and its tag, parted by {parted} (--from "
            f"conll:separator={'space' if columns.tab else 'tab'} reads {'blanks' if columns.tab else 'tabs'})"
        )
    where = f"with the token in {layout.token} and the tag in {layout.column}"
    fix = "say where they are with --from conll:token=0,column=-1 (separator=tab, separator=space)"
    if len(row) == columns.width:
        return f"has {len(row)} columns; it is to be read, counted from 0, {where}; {fix}"
    return f"has {len(row)} columns; legal: {columns.width}, as the first line, parted by {parted}, {where}; {fix}"


def _is_break(line: str) -> bool:
    return not line.strip() or _is_docstart(line)


def _is_docstart(line: str) -> bool:
    """Whether the line marks the beginning of a document, by its first column or another one (behind a number, say)."""
    if DOCSTART not in line or line.startswith("#"):
        return False
    return line.startswith(DOCSTART) or DOCSTART in _CELLS.split(line)


def _named(line: str, columns: "_Columns") -> str:
    """The document that a `-DOCSTART-` line names: in brackets, as AIDA has it, or as the one thing behind the mark.

    A line with the columns of a token line names none: what is behind the mark is that line's tags.
    """
    behind = line.partition(DOCSTART)[2].strip()
    if behind.startswith("(") and behind.endswith(")"):
        return behind[1:-1].strip()
    given = _CELLS.split(behind)
    return given[0] if len(given) == 1 and given[0] not in _NO_NAMES and columns.width != 2 else ""


def _is_known(line: str) -> bool:
    """Whether a line is a comment of a kind that is known, whatever its columns."""
    return bool(_COMMENT.fullmatch(line) or _NEWDOC.fullmatch(line))
