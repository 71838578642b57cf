"""The name annotation of OntoNotes 5.0, files `*.name`: one sentence per line, names in `ENAMEX` elements.

    <DOC DOCNO="nw/wsj/00/wsj_0001@0001@wsj@nw@en@on">
    <ENAMEX TYPE="PERSON">Mary Smith</ENAMEX> , <ENAMEX TYPE="DATE">61 years old</ENAMEX> , left .
    The <ENAMEX TYPE="NORP" S_OFF="4">anti-British</ENAMEX> mood -LRB- new -RRB- grew .
    </DOC>

An element holds whole tokens, which blanks separate. The first `S_OFF` and last `E_OFF` characters of an element are
outside the name: the name above is "British". Characters are counted in the decoded token, `(`, not in its spelling,
`-LRB-`. `TIMEX` and `NUMEX` elements, of earlier releases, are read alike. OntoNotes does not nest names, but the
syntax, the reader and the writer can. Source: the name annotation in the documentation of OntoNotes 5.0 (LDC2013T19).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape, unescape

from genner.data.base import ReadLog, Syntax, read_lines
from genner.data.files import distinct, own_ids, walk
from genner.data.records import record_losses
from genner.data.treebank import plain, spelt
from genner.document import Document, Entity
from genner.writing import atomic

_DOC = re.compile(r"<DOC\b(?:[^>]*?\bDOCNO=\"([^\"]*)\")?[^>]*>", re.IGNORECASE)
_END = re.compile(r"</DOC>", re.IGNORECASE)
_TAG = re.compile(r"<(/?)(ENAMEX|TIMEX|NUMEX)\b((?:\s+\w+=\"[^\"]*\")*)\s*>")
_ATTRIBUTE = re.compile(r"(\w+)=\"([^\"]*)\"")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_IN_ATTRIBUTE = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;"}
_OUT_OF_ATTRIBUTE = {escaped: char for char, escaped in _IN_ATTRIBUTE.items()}


@dataclass(frozen=True)
class OntoNotesName(Syntax):
    """A `.name` file, or all such files in a folder. A document is a line, with its spacing.

    Its id is `<DOCNO>-<n>`, n from 1, or the `DOCNO` alone if that has one line only. Its group is the `DOCNO` up to
    its first `@`: the file that it belongs to. Writing puts consecutive documents with ids `X-1`, `X-2`, ... into one
    `DOC`, and every other document into its own, so that ids are kept. Three losses are counted as dropped: line
    breaks, which become blanks; entities that cross another one within their tokens, which are left out; and spellings
    such as `-LRB-` in a text, which are decoded when read again.
    """

    name: ClassVar[str] = "ontonotes"
    suffixes: ClassVar[tuple[str, ...]] = (".name",)

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        return head.startswith(b"<DOC DOCNO=") and (b"<ENAMEX" in head or source.name.endswith(cls.suffixes))

    # Reading

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        files = walk(source, self.suffixes)
        yield from own_ids((d for file in files for d in self._read_file(file, read_log)), source, read_log)

    def _read_file(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        docno: str | None = None
        number = last = 0
        held: tuple[int, str] | None = None  # the first line, until it is known whether there is a second
        for line_number, line in read_lines(source, read_log):
            last = line_number
            begins, ends = _DOC.fullmatch(line.strip()), _END.fullmatch(line.strip())
            if begins or ends:
                if held and docno is not None:
                    yield _parse(held[1], docno, docno, source, held[0], read_log)
                if (docno is None) != bool(begins):
                    what = "a DOC begins within another" if begins else "</DOC> ends no DOC"
                    read_log.error("document mark", source, what, line_number)
                docno = None
                if begins:
                    docno = unescape(begins[1] or f"{source.name}:{line_number}", _OUT_OF_ATTRIBUTE)
                held, number = None, 0
            elif not line.strip(" "):
                continue
            elif docno is None:
                read_log.error("no document", source, "a line stands outside <DOC> and </DOC>", line_number)
            else:
                number += 1
                if number == 1:
                    held = line_number, line
                    continue
                if held:
                    yield _parse(held[1], docno, f"{docno}-1", source, held[0], read_log)
                    held = None
                yield _parse(line, docno, f"{docno}-{number}", source, line_number, read_log)
        if docno is not None:
            if held:
                yield _parse(held[1], docno, docno, source, held[0], read_log)
            read_log.error("document mark", source, f"the file ends within {docno!r}; fetch it again", last)

    # Writing

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        count = 0
        with atomic(target) as file:
            for docno, held in _docs(_spell(document, read_log) for document in documents):
                lines = [line for _, line, _ in held]
                for id, _, group in held:
                    if group not in ("", _file(docno)):
                        read_log.drop("group", f"{group!r} of document {id!r}: it is written in DOC {docno!r}")
                head = f'<DOC DOCNO="{escape(docno, _IN_ATTRIBUTE)}">'
                file.write("\n".join([head, *lines, "</DOC>", ""]).encode("utf-8", "backslashreplace"))
                count += len(lines)
        return count


def _parse(line: str, docno: str, id: str, source: Traversable, number: int, read_log: ReadLog) -> Document:
    text = ""
    open_: list[tuple[int, str, dict[str, str]]] = []
    entities: list[Entity] = []
    pieces = _TAG.split(line)
    # Escapes span whole tokens, so decoding works on the text between elements, which begin and end at token edges.
    for at in range(0, len(pieces), 4):
        text += "".join(plain(token) for token in re.split("( )", pieces[at]))
        if at + 1 == len(pieces):
            break
        closing, kind, attributes = pieces[at + 1 : at + 4]
        if not closing:
            open_.append((len(text), kind, dict(_ATTRIBUTE.findall(attributes))))
            continue
        if not open_ or open_[-1][1] != kind:
            read_log.error("markup", source, f"</{kind}> closes nothing that is open", number)
            continue
        start, _, given = open_.pop()
        label = unescape(given.get("TYPE", ""), _OUT_OF_ATTRIBUTE)
        inset = given.get("S_OFF", "0"), given.get("E_OFF", "0")
        end = len(text)
        if all(n.isascii() and n.isdigit() for n in inset):
            start, end = start + int(inset[0]), end - int(inset[1])
        else:
            read_log.error("markup", source, f"S_OFF and E_OFF are {inset}; legal: numbers of characters", number)
        if not label or start >= end:
            read_log.error("markup", source, f"{kind} {given} has no TYPE, or nothing in it is the name", number)
        else:
            entities.append(Entity(start, end, label))
    for _, kind, _ in open_:
        read_log.error("markup", source, f"{kind} is not closed on its line", number)
    if "<" in "".join(pieces[::4]):
        read_log.error("markup", source, "a '<' begins no ENAMEX, TIMEX or NUMEX; spell it -LAB-", number)
    return Document(text, distinct(entities, read_log, id), id, group=_file(docno))


def _file(docno: str) -> str:
    """The file that a `DOCNO` belongs to: `nw/wsj/00/wsj_0001` for `nw/wsj/00/wsj_0001@0001@wsj@nw@en@on`."""
    return docno.partition("@")[0] or docno


_Line = tuple[str, str, str]
"""Id, line and group of a document."""


def _docs(lines: Iterable[_Line]) -> Iterator[tuple[str, list[_Line]]]:
    """The lines of each `DOC`, with its `DOCNO`."""
    first, held = "", list[_Line]()
    for line in lines:
        if not line[1].strip(" "):
            continue
        base = first.removesuffix("-1")
        if held and (base in ("", first) or line[0] != f"{base}-{len(held) + 1}"):
            yield first if len(held) == 1 else base, held
            held = []
        first = first if held else line[0]
        held.append(line)
    if held:
        yield first if len(held) == 1 else first.removesuffix("-1"), held


def _spell(document: Document, read_log: ReadLog) -> _Line:
    """The id, the line and the group of a document."""
    record_losses(document, read_log, group=False)
    text = re.sub(r"[\n\r]", " ", document.text)
    if text != document.text:
        read_log.drop("line break", document.id)
    if "".join(plain(spelt(token)) for token in re.split("( )", text)) != text:
        read_log.drop("treebank spelling in the text", document.id)
    if _SURROGATE.search("".join([document.id, *(e.label for e in document.entities)])):
        read_log.drop("lone surrogate in an id or label", document.id)
    elements: list[tuple[int, int, Entity | None]] = []
    for e in document.entities:
        # Extend the span to the edges of its first and last token.
        start = e.start if text[e.start] == " " else text.rfind(" ", 0, e.start) + 1
        end = e.end if text[e.end - 1] == " " else (text + " ").find(" ", e.end)
        if any(s < start < t < end or start < s < end < t for s, t, _ in elements):
            read_log.drop("crossing entity", f"{document.id}: {document.mention(e)!r}")
        else:
            elements.append((start, end, e))
    elements.sort(key=lambda bounds: (bounds[0], -bounds[1]))
    line, at = "", 0
    open_: list[int] = []
    elements.append((len(text), len(text), None))
    for start, end, element in elements:
        while open_ and open_[-1] <= start:
            line += spelt(text[at : open_[-1]]) + "</ENAMEX>"
            at = open_.pop()
        line += spelt(text[at:start])
        at = start
        if element is not None:
            line += f'<ENAMEX TYPE="{escape(element.label, _IN_ATTRIBUTE)}"'
            line += f' S_OFF="{element.start - start}"' if element.start > start else ""
            line += f' E_OFF="{end - element.end}">' if end > element.end else ">"
            open_.append(end)
    if not line.strip(" "):
        read_log.drop("document of blanks", document.id)
    return document.id, line, document.group
