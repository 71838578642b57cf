"""CoNLL columns: one token per line with its entity tag in one of the columns, a blank line after each sentence.

    # id = 7
    # text = Ada Lovelace, London.
    Ada	B-PER
    Lovelace	I-PER
    ,	O
    London	B-LOC
    .	O

Lines that begin with `#` are comments, unless they have the columns of a token line (`#` is also a token). `# id = `
(or `# sent_id = `, or `# id ` and a word) names the document; `# text = ` gives the text with its original spacing;
`# text-json = `, genner's own, gives it in JSON, for a text with line breaks or tabs. Other comments are dropped. A
line with `-DOCSTART-` in one of its columns begins a new document of the corpus, and so do the comments `# newdoc` and
`# newdoc id = `: that document is the group of its sentences. The other columns are not read.

Sources: the shared tasks of CoNLL-2002 and 2003 (the columns, `-DOCSTART-`, conlleval), Universal Dependencies (the
comments).

Ambiguities are resolved from the whole file before it is read, see `column_survey.py`: a first column that counts the
tokens is not taken for the words; the column of the tags is found, or else an error asks for it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from itertools import chain, groupby
from pathlib import Path
from typing import ClassVar, Literal

from genner.data import tags
from genner.data.base import ReadLog, Syntax, read_lines
from genner.data.column_survey import ColumnOptions, SurveyResult, survey, tagged
from genner.data.column_values import NO_WORD
from genner.data.conll_lines import (
    BARE_ID,
    COMMENT,
    EMPTY_NODE,
    MARKUP,
    NEWDOC,
    RANGE,
    SOURCE_COMMENT,
    Columns,
    document_name,
    find_columns,
    has,
    is_break,
    is_comment,
    is_docstart,
    is_header,
    is_row,
    marked,
    raw_lines,
)
from genner.data.conll_sentence import Sentence, SplitToken, interpret
from genner.data.conll_writing import Style, write_columns
from genner.data.records import DocumentBuilder, RecordSpan, stem
from genner.document import Document
from genner.errors import UsageError


@dataclass(frozen=True)
class Conll(Syntax):
    """Token and tag columns. A document is a sentence, or with `whole` all sentences of a corpus document.

    A sentence's id is the one in its comments, or `<file stem>-<document>-<sentence>`, counted from 1 (without
    `<document>` if it is in none); a whole document's is `<file stem>-<document>`. Its group is what `-DOCSTART-` or
    `# newdoc` names, else `<file stem>-<document>` (0 before the first `-DOCSTART-`); empty if the file has neither, or
    `# newdoc id =` names none. A tag sequence that breaks the scheme is an error; a lenient log counts it and takes
    the entities that conlleval would find. A line whose number of columns differs from the first line's is an error; a
    lenient log leaves its token out.

    Writing: words and single marks are tokens, split further where an entity begins or ends. Tags are flat: of
    overlapping entities, the one that begins first is kept, of several the longest. The others are dropped, and so are
    blanks at the edges of an entity. Groups are written as `# newdoc id = `.
    """

    column: int | None = None
    """The column of the tags, from 0; a negative number counts from the end. Default: the last, if it holds tags."""
    token: int | None = None
    """The column of the tokens, from 0. Default: the first, or the second if the first counts them."""
    inner: int | None = None
    """A second column of tags, for inner entities, as in GermEval. It is read, never written."""
    scheme: Literal["auto", "iob2", "iob1", "bioes", "io", "bare"] = "auto"
    """The tag scheme, see `tags.py`. `auto` decides from the whole file and writes iob2; io and bare are only read."""
    label: str = ""
    """The label of tags without one (`B`, `I`, `O`); `ENTITY` if not given."""
    outside: str = "O"
    """The tag of tokens outside entities."""
    separator: Literal["auto", "tab", "space"] = "auto"
    """A tab, or any run of blanks and tabs. `auto` reads tabs if the first token line has one, and writes tabs."""
    joiner: str = " "
    """The string between tokens in the text of a sentence without a `# text` comment."""
    text: bool = True
    """Whether `# text` comments are written, and read for the spacing. Without them the spacing is lost."""
    whole: bool = False
    """Whether the sentences of a document are read as one text, one line each."""

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
            if not is_break(line) and not line.startswith("#")
        ]
        width = min(map(len, rows), default=0)
        columns = [{row[at] for row in rows} for at in range(1, width)] + [{row[-1] for row in rows}] * (width > 1)
        return any(tagged(column) for column in columns)

    # Reading

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        for _, group in groupby(self._sentences(source, read_log), lambda s: s.part if self.whole else s):
            first, text, spans = None, "", []
            for sentence in group:
                text += "\n" if first else ""
                spans += [RecordSpan(s + len(text), e + len(text), label) for s, e, label in sentence.entities]
                text += sentence.text
                first = first or sentence
            assert first is not None  # a group has at least one
            counted = [first.part] * (first.part > 0) + [first.number] * (not self.whole)
            id = "-".join(map(str, [stem(source), *counted]))
            document = builder.build_row(first.line, text, spans, id if self.whole else first.id or id, first.group)
            if document is not None:
                yield document

    def _sentences(self, source: Traversable, read_log: ReadLog) -> Iterator[Sentence]:
        tab = None if self.separator == "auto" else self.separator == "tab"
        columns = find_columns(source, tab, *self._asked, self.scheme == "bare")
        layout = survey(
            self._rows_of(source, columns), self._layout(columns), source, read_log, columns.named("FORM", "TOKEN")
        )
        scheme = self._guess_scheme(source, columns, layout) if self.scheme == "auto" else self.scheme
        read = [layout.token, layout.column, *([] if layout.inner is None else [layout.inner])]
        part = number = rows = 0
        corpus_document = f"{stem(source)}-0" if marked(source) else ""
        sentence = Sentence()
        for line_number, line in chain(read_lines(source, read_log), [(0, "")]):
            markup = MARKUP.fullmatch(line)
            if markup:
                what = (
                    f"{line.strip()!r} is a tag of XML, and no token; take such lines out, with blank lines between "
                    "sentences: sed 's/^<[^>]*>$//' OLD > NEW"
                )
                read_log.error("markup", source, what, line_number, instead="read as the end of a sentence")
            if markup or is_break(line):
                if is_docstart(line) and not sentence.rows:
                    sentence.spaced = None  # the text of the mark itself
                if sentence.rows or sentence.spaced is not None:
                    number += 1
                    sentence.part, sentence.number, sentence.group = part, number, corpus_document
                    interpret(sentence, scheme, layout, source, read_log, joiner=self.joiner, outside=self.outside)
                    yield sentence
                if is_docstart(line) and not sentence.begins:
                    part, number = part + 1, 0
                    corpus_document = document_name(line, columns) or f"{stem(source)}-{part}"
                sentence = Sentence()
                continue
            sentence.line = sentence.line or line_number
            row = columns.split(line)
            if newdoc := NEWDOC.fullmatch(line):
                part, number, sentence.begins = part + 1, 0, True
                corpus_document = f"{stem(source)}-{part}" if newdoc[0].endswith("newdoc") else newdoc[1] or ""
                continue
            if self._is_comment(line, row, columns, layout):
                named = SOURCE_COMMENT.fullmatch(line)
                if named:
                    corpus_document = named[1]
                else:
                    self._comment(sentence, line, line_number, source, read_log)
                continue
            rows += 1
            if rows == 1 and is_header(row):
                read_log.note(source, f"line {line_number} names the columns, and is no token: {line.strip()!r}")
            elif len(row) != columns.width or not has(row, read):
                read_log.error("number of columns", source, _misfit(row, columns, layout), line_number)
            elif not row[layout.token].strip():
                read_log.error("empty token", source, f"column {layout.token} holds no token", line_number)
            elif layout.counted and (span := RANGE.fullmatch(row[0])):
                first, last = int(span[1]), int(span[2])
                tags_ = [row[at] for at in read[1:]]
                sentence.split_tokens.append(SplitToken(line_number, first, last, row[layout.token], tags_))
            elif layout.counted and EMPTY_NODE.fullmatch(row[0]):
                read_log.drop("empty node (as 8.1), which is no part of the text", f"{source}:{line_number}")
            else:
                count = int(row[0]) if layout.counted and row[0].isdigit() else 0
                sentence.rows.append((line_number, row[layout.token], [row[at] for at in read[1:]]))
                sentence.counts.append(count)

    @property
    def _asked(self) -> tuple[int, int]:
        return self.token or 0, -1 if self.column is None else self.column

    def _layout(self, columns: Columns) -> ColumnOptions:
        column = columns.named("NER", "NE", "ENTITY", "NER_TAG") if self.column is None else self.column
        return ColumnOptions(self.token, column, self.inner, self.scheme, self.outside, self.label)

    def _rows_of(self, source: Traversable, columns: Columns) -> Iterator[list[str]]:
        """The rows of all token lines of the usual width; an empty row for each break."""
        rows = 0
        for line in raw_lines(source):
            row = columns.split(line) if line else []
            if not line or MARKUP.fullmatch(line):
                yield []
            elif not NEWDOC.fullmatch(line) and not self._is_comment(line, row, columns):
                rows += 1
                if len(row) == columns.width and not (rows == 1 and is_header(row)):
                    yield row

    def _comment(self, sentence: Sentence, line: str, number: int, source: Traversable, read_log: ReadLog) -> None:
        found, bare = COMMENT.fullmatch(line), BARE_ID.fullmatch(line)
        key, value = (found[1], found[2] or "") if found else ("id", bare[1]) if bare else ("", "")
        if key in ("id", "sent_id"):
            sentence.id = value
        elif key == "text" and self.text:
            sentence.spaced = value
        elif key == "text-json" and self.text:
            try:
                sentence.spaced = str(json.loads(value))
            except ValueError:
                read_log.error("bad comment", source, "text-json is followed by a string in JSON", number)
        elif key not in ("text", "text-json", "global.columns"):
            read_log.drop("comment", line)

    def _guess_scheme(self, source: Traversable, columns: Columns, layout: SurveyResult) -> tags.Scheme:
        if layout.spelling.form == "bare":
            return "bare"
        guess = tags.SchemeGuess()
        sequence: list[list[str]] = []
        for row in chain(self._rows_of(source, columns), [[]]):
            if has(row, [layout.column]) and not (layout.counted and NO_WORD.fullmatch(row[0])):
                sequence.append(row[layout.column].split(layout.levels or None, -1 if layout.levels else 0))
            elif not row:
                for level in zip(*sequence, strict=False):
                    guess.add(layout.spelling.normal(tag) for tag in level)
                sequence.clear()
        return guess.scheme

    def _is_comment(self, line: str, row: list[str], columns: Columns, layout: SurveyResult | None = None) -> bool:
        if not line.startswith("#"):
            return False
        token, column = self._asked if layout is None else (layout.token, layout.column)
        tagged = is_row(row, token, column, self.scheme == "bare")
        if layout is not None and layout.spelling.form not in ("prefix", "bare") and has(row, [column]):
            tagged = layout.spelling.fits(row[column])
        return is_comment(line, row, columns, tagged)

    # Writing

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        if self.scheme in ("io", "bare"):
            what = f"scheme={self.scheme} merges entities that touch and is only read; write iob2, iob1 or bioes"
            raise UsageError(what)
        if self.inner is not None:
            raise UsageError(f"inner={self.inner}: inner entities are only read; write without it, or another syntax")
        style = Style(
            "iob2" if self.scheme == "auto" else self.scheme,
            *self._asked,
            " " if self.separator == "space" else "\t",
            self.joiner,
            self.text,
        )
        return write_columns(documents, target, style, read_log)


def _misfit(row: list[str], columns: Columns, layout: SurveyResult) -> str:
    """What is wrong with a row whose columns are not as expected."""
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
    if not row[0][:1].isalnum():
        fix = (
            f"comments begin with '#': if this is one, take it out with: grep -v '^{row[0][:1]}' OLD > NEW; else {fix}"
        )
    return f"has {len(row)} columns; legal: {columns.width}, as most lines, parted by {parted}, {where}; {fix}"
