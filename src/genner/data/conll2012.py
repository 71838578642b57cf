"""The columns of the CoNLL-2011 and 2012 shared tasks, the usual format of OntoNotes 5.0 (`*.v4_gold_conll`).

    #begin document (bc/cctv/00/cctv_0000); part 000
    bc/cctv/00/cctv_0000  0  0  Mary   NNP  (TOP(S(NP*)  -  -  -  Speaker#1  (PERSON)  (0)
    bc/cctv/00/cctv_0000  0  1  leads  VBZ  (VP*         -  -  -  Speaker#1  *         -
    bc/cctv/00/cctv_0000  0  2  the    DT   (NP*         -  -  -  Speaker#1  (ORG*     -
    bc/cctv/00/cctv_0000  0  3  UN     NNP  *)))         -  -  -  Speaker#1  *)        -

    #end document

Column 3 is the word, column 10 the names: `(ORG*` opens one, `*)` closes the innermost, `(GPE)` is a name of one word.
Any run of blanks separates columns. Source: the data format of the CoNLL-2012 shared task.

Read only: genner's sentences have neither parse nor part of speech, and the columns do not keep their spacing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import ClassVar

from genner.data.base import ReadLog, Syntax, read_lines
from genner.data.files import distinct, own_ids, walk
from genner.data.tokens import join
from genner.data.treebank import plain
from genner.document import Document, Entity

_WORD, _NAMES = 3, 10
_BEGIN = re.compile(r"#begin document \(?(.*?)\)?;(?: part (\d+))?\s*")
_BRACKETS = re.compile(r"(?:\([^()*|\s]+|\*|\))+")
_BRACKET = re.compile(r"\(([^()*|\s]+)|\*|\)")


@dataclass(frozen=True)
class Conll2012(Syntax):
    """A file, or all such files in a folder. A document is a sentence, its words separated by blanks.

    Its id is `<document>/<part>-<n>`, n from 0; its group is `<document>`. A bracket that does not close, or
    closes nothing, is an error; a lenient log drops it. A word that the licence masks (`[WORD]`) is an error.
    """

    plain: bool = True
    """Whether words that the treebank escapes (`-LRB-`, `/.`) are decoded, to `(` and `.`."""

    name: ClassVar[str] = "conll2012"
    suffixes: ClassVar[tuple[str, ...]] = ("gold_conll",)
    writes: ClassVar[bool] = False

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        return head.startswith(b"#begin document")

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        files = walk(source, (*self.suffixes, ".conll"))
        yield from own_ids((d for file in files for d in self._read_file(file, read_log)), source, read_log)

    def _read_file(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        document, number, last = "", 0, 0
        rows: list[tuple[int, list[str]]] = []
        for line_number, line in read_lines(source, read_log):
            last = line_number
            if line.strip() and not line.startswith("#"):
                row = line.split()
                if not document:
                    read_log.error("no document", source, "a word stands outside #begin and #end document", line_number)
                elif len(row) <= _NAMES:
                    what = f"has {len(row)} columns; the names are in the eleventh of twelve or more"
                    read_log.error("number of columns", source, what, line_number)
                elif row[_WORD] == "[WORD]":
                    what = "the words are masked; put them in from your copy of OntoNotes, with skeleton2conll"
                    read_log.error("masked word", source, what, line_number)
                else:
                    rows.append((line_number, row))
                continue
            if rows:
                yield self._document(rows, document, number, source, read_log)
                number += 1
                rows = []
            if line.startswith("#begin document"):
                found = _BEGIN.fullmatch(line)
                if document or not found:
                    what = (
                        "the document before has no #end document" if document else "is not like #begin document (ID);"
                    )
                    read_log.error("document mark", source, what, line_number)
                document, number = (f"{found[1]}/{int(found[2] or 0)}" if found else f"{source.name}:{line_number}"), 0
            elif line.startswith("#end document"):
                document = ""
            elif line.strip():
                read_log.drop("comment", line)
        if document:
            read_log.error("document mark", source, f"the file ends within {document!r}; fetch it again", last)
            if rows:
                yield self._document(rows, document, number, source, read_log)

    def _document(
        self, rows: list[tuple[int, list[str]]], document: str, number: int, source: Traversable, read_log: ReadLog
    ) -> Document:
        id = f"{document}-{number}"
        words = [row[_WORD] for _, row in rows]
        text, places = join([plain(word) for word in words] if self.plain else words)
        open_: list[tuple[int, str, int]] = []
        entities = []
        for (start, end), (line, row) in zip(places, rows, strict=True):
            cell = row[_NAMES]
            if not _BRACKETS.fullmatch(cell) and cell != "-":
                read_log.error("brackets", source, f"names {cell!r} are not like (ORG*, *, *) or (GPE)", line)
                continue
            for bracket in _BRACKET.finditer(cell):
                if bracket[1]:
                    open_.append((start, bracket[1], line))
                elif bracket[0] == ")" and open_:
                    begin, label, _ = open_.pop()
                    entities.append(Entity(begin, end, label))
                elif bracket[0] == ")":
                    read_log.error("brackets", source, f"{cell!r} closes a name that was not opened", line)
        for _, label, line in open_:
            read_log.error("brackets", source, f"the name ({label}* is not closed in its sentence", line)
        return Document(text, distinct(entities, read_log, id), id, group=document.rpartition("/")[0] or document)
