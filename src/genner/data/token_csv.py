"""Tables with one token per row, as in Kaggle's NER corpora: CSV, TSV or with semicolons, with a header.

    Sentence #,Word,POS,Tag
    Sentence: 1,Mina,NNP,B-per
    ,left,VBD,O
    Sentence: 2,Bo,NNP,B-per

A sentence begins where its column has a new value, or after an empty row. Tags may be spelt in any way that `conll`
reads. A table with one text per row has another syntax: `genner extract` reads its texts.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import ClassVar, Literal, NamedTuple

from genner.data import tags
from genner.data.base import ReadLog, Syntax, read_lines
from genner.data.column_survey import tag_spelling
from genner.data.column_values import MAX_TAG_VALUES
from genner.data.records import DocumentBuilder, RecordSpan, stem
from genner.data.tokens import join
from genner.document import Document
from genner.errors import DataError

_TOKEN = ("word", "token", "words", "tokens", "form")
_TAG = ("tag", "ner_tag", "ner", "ner_tags", "tags", "iob", "bio", "label", "labels", "entity")
_SENTENCE = ("sentence #", "sentence", "sentence_id", "sentence_idx", "sent_id", "sentence id", "sentence_no", "sent")


class _Row(NamedTuple):
    line: int
    sentence: str
    token: str
    tag: str


@dataclass(frozen=True)
class TokenCsv(Syntax):
    """A table with one token per row. A document is a sentence, its words joined by blanks; its id `<file stem>-<n>`.

    Options: `token`, `tag` and `sentence` are the names of columns, by default the usual names; `scheme`, `outside` and
    `label` say how tags are read, as for `conll`.
    """

    token: str = ""
    tag: str = ""
    sentence: str = ""
    scheme: Literal["auto", "iob2", "iob1", "bioes", "io", "bare"] = "auto"
    outside: str = "O"
    label: str = ""

    name: ClassVar[str] = "token_csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    writes: ClassVar[bool] = False

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        line = head.partition(b"\n")[0].decode("utf-8", "replace").strip().casefold()
        names = [name.strip(' "') for name in line.split(_delimiter(line))]
        return bool({*_TOKEN} & {*names}) and bool({*_TAG} & {*names}) and len(names) > 1

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        quiet = ReadLog(lenient=True)  # the actual reading reports errors
        given: set[str] = set()
        parted = False
        for row in self._rows(source, quiet):
            parted = parted or row is None or bool(row.sentence)
            if row is not None and len(given) <= MAX_TAG_VALUES:
                given.add(row.tag)
        if given and not parted:
            what = (
                "no column says where a sentence begins, and no row is empty; name it: --from token_csv:sentence=NAME"
            )
            raise DataError(str(source), what)
        spelling = tag_spelling(given, self.scheme, self.outside, self.label, source, read_log, self.name)
        scheme = self.scheme
        if scheme == "auto":
            guess = tags.SchemeGuess()
            for rows in _sentences(self._rows(source, quiet)):
                guess.add(spelling.normal(row.tag) for row in rows)
            scheme = "bare" if spelling.form == "bare" else guess.scheme
        builder = DocumentBuilder(source, read_log)
        for number, rows in enumerate(_sentences(self._rows(source, read_log)), 1):
            if builder.starts_group([row.token for row in rows]):
                continue
            normal = [spelling.normal(row.tag) for row in rows]
            for index, what in tags.scheme_errors(normal, scheme):
                if "malformed" in what:
                    what += (
                        f"; --from token_csv:scheme=bare reads every tag as a label, outside={normal[index]} says that "
                        "this one is none"
                    )
                    kind, instead = "malformed tag", tags.AS_NONE
                else:
                    kind, instead = "tag sequence", tags.AS_CONLLEVAL
                read_log.error(kind, source, what, rows[min(index, len(rows) - 1)].line, instead=instead)
            text, places = join([row.token for row in rows])
            spans = [RecordSpan(places[a][0], places[b - 1][1], label) for a, b, label in tags.spans(normal, scheme)]
            document = builder.build_row(rows[0].line, text, spans, f"{stem(source)}-{number}")
            if document is not None:
                yield document

    def _rows(self, source: Traversable, read_log: ReadLog) -> Iterator[_Row | None]:
        """The rows, None for an empty row."""
        lines = iter(read_lines(source, read_log))
        first = next(lines, None)
        if first is None:
            return
        delimiter = _delimiter(first[1])
        head = next(csv.reader([first[1]], delimiter=delimiter), [])
        token, tag = self._column(head, "token", _TOKEN, source), self._column(head, "tag", _TAG, source)
        sentence = self._column(head, "sentence", _SENTENCE, source)
        assert token is not None
        assert tag is not None
        number = first[0]

        def numbered() -> Iterator[str]:
            nonlocal number
            for line_number, line in lines:
                number = line_number
                yield line + "\n"

        try:
            for row in csv.reader(numbered(), delimiter=delimiter, strict=True):
                if not any(cell.strip() for cell in row):
                    yield None
                elif len(row) != len(head):
                    what = f"has {len(row)} cells; legal: {len(head)}, as the header has"
                    read_log.error("number of cells", source, what, number)
                elif not row[token].strip():
                    what = f"column {head[token]!r} holds no token; a program may have taken 'NA' or 'null' for none"
                    read_log.error("empty token", source, what, number)
                else:
                    yield _Row(
                        number, row[sentence].strip() if sentence is not None else "", row[token], row[tag].strip()
                    )
        except csv.Error as error:
            read_log.error("broken table", source, f"is no table from here on: {error}", number)

    def _column(self, head: list[str], what: str, usual: tuple[str, ...], source: Traversable) -> int | None:
        """The column that holds this; None for a missing sentence column. Raises `DataError` if another is missing."""
        names = [name.strip().casefold() for name in head]
        asked = getattr(self, what)
        found = [names.index(name) for name in ((asked.casefold(),) if asked else usual) if name in names]
        if found or (what == "sentence" and not asked):
            return found[0] if found else None
        raise DataError(
            str(source),
            f"has no column of {asked or what!r}; it has: {', '.join(head)}; say which: --from token_csv:{what}=NAME "
            "(columns without a header are read with --from conll; texts, one a row, by genner extract)",
            1,
        )


def _delimiter(head: str) -> str:
    return max("\t;,", key=head.count)


def _sentences(rows: Iterable[_Row | None]) -> Iterator[list[_Row]]:
    """The rows of each sentence."""
    held: list[_Row] = []
    last = ""
    for row in rows:
        if held and (row is None or (row.sentence and row.sentence != last)):
            yield held
            held = []
        if row is not None:
            last = row.sentence or last
            held.append(row)
    if held:
        yield held
