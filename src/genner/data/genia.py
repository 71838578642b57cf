"""The GENIA corpus (version 3.02) as published: `GENIAcorpus3.02.xml`, plain or gzipped, or its original archive.

    <article><articleinfo><bibliomisc>MEDLINE:0</bibliomisc></articleinfo><title><sentence>
    <cons lex="A_gene" sem="G#DNA_domain_or_region"><cons lex="A" sem="G#protein_molecule">A</cons> gene</cons> ...

How it becomes the data set with five labels and nested entities:

- A document is a sentence; the title's sentences come before the abstract's. Its text is all character data in
  `<sentence>`, unchanged. Its id is `<MEDLINE id>-<n>`, n from 0 within the article; its group is the article.
- A `<cons>` is an entity if its `sem` is `G#protein_*`, `G#DNA_*` or `G#RNA_*` (so every subclass, including `N/A`, is
  merged into its family), `G#cell_line` or `G#cell_type`. The other classes are dropped, counted by class.
- Coordinated terms, `sem="(AND G#a G#b)"` (AND, OR, BUT_NOT, ...; "T and B cells"), are not entities, whatever their
  classes; nor are their fragments (`<cons>` with a `lex` but without a `sem`) mentions by themselves. Both are
  dropped. A `<cons>` with its own class within a fragment is an entity.
- The same span and label, marked twice, is one entity.
- Of an article that occurs twice (one does, its second annotation revised), the last occurrence counts.
"""

import re
import tarfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import BinaryIO, ClassVar, cast

from genner.data.base import ReadLog, Syntax, open_binary
from genner.data.files import distinct, read_ids, refuse_entities
from genner.document import Document, Entity
from genner.errors import DataError

_CLASS = re.compile(r"G#(?:(protein|DNA|RNA)_.+|(cell_line|cell_type))")


@dataclass(frozen=True)
class Genia(Syntax):
    """Sentences of GENIA with protein, DNA, RNA, cell_line and cell_type; the rule is in the module's docstring."""

    split: str = ""
    """Path of a list of MEDLINE ids, one per line: only their articles are read; if empty, all are."""

    name: ClassVar[str] = "genia"
    suffixes: ClassVar[tuple[str, ...]] = ("corpus3.02.xml", "corpus3.02.tgz")
    writes: ClassVar[bool] = False

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        return b"gpml.dtd" in head or source.name.removesuffix(".gz").endswith(cls.suffixes)

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        wanted = read_ids(self.split, read_log) if self.split else None
        left = Counter(_medline(article) for article in _articles(source, None))
        if not left:
            read_log.error("no article", source, "holds no whole <article>; legal: GENIA's XML or its archive")
        for number, article in enumerate(_articles(source, read_log), 1):
            id = _medline(article)
            if not id:
                read_log.error("article without id", source, f"article {number} has no <bibliomisc>")
                continue
            left[id] -= 1
            if left[id]:
                read_log.drop("earlier version of an article", id)
            elif wanted is None or id in wanted:
                for n, sentence in enumerate(article.iter("sentence")):
                    try:
                        document = _document(sentence, id, n, read_log)
                    except RecursionError:
                        read_log.error(
                            "nested too deep", source, f"sentence {id}-{n}: elements in elements without end"
                        )
                        continue
                    yield document
        missing = sorted(wanted - left.keys()) if wanted else []
        if missing:
            what = f"articles listed here that are not in {source}: {len(missing)}, {missing[0]!r} among them"
            read_log.error("listed article missing", self.split, what)


def _document(sentence: ET.Element, article: str, number: int, read_log: ReadLog) -> Document:
    id = f"{article}-{number}"
    text: list[str] = []
    entities: list[Entity] = []
    length = 0

    def walk(element: ET.Element) -> None:
        nonlocal length
        start = length
        for child in (element, *element):
            if child is not element:
                walk(child)
            piece = (child.text if child is element else child.tail) or ""
            text.append(piece)
            length += len(piece)
        if element.tag != "cons":
            return
        sem = element.get("sem", "")
        found = _CLASS.fullmatch(sem)
        if found and start == length:
            read_log.error("empty mention", id, f"<cons sem={sem!r}> holds no text")
        elif found:
            entities.append(Entity(start, length, found[1] or found[2]))
        elif sem.startswith("("):
            read_log.drop("coordination", id)
        else:
            read_log.drop(f"class {sem}" if sem else "fragment of a coordination", id)

    walk(sentence)
    return Document("".join(text), distinct(entities, read_log, id), id, group=article)


def _medline(article: ET.Element) -> str:
    return (article.findtext("articleinfo/bibliomisc") or "").strip()


def _articles(source: Traversable, read_log: ReadLog | None) -> Iterator[ET.Element]:
    """The `<article>` elements, each cleared once the next is requested. Broken XML ends them; the log records it."""
    with _open_xml(source) as file:
        refuse_entities(file, source)
        try:
            events = ET.iterparse(file, events=("start", "end"))
            _, root = next(events)
            for event, element in events:
                if event == "end" and element.tag == "article":
                    yield element
                    root.clear()
        except (ET.ParseError, StopIteration, ValueError, LookupError) as error:  # LookupError: unknown encoding
            if read_log:
                line = error.position[0] if isinstance(error, ET.ParseError) else None
                read_log.error("broken XML", source, f"is not well-formed: {error or 'no element'}", line)


@contextmanager
def _open_xml(source: Traversable) -> Iterator[BinaryIO]:
    """Open the XML file, or the first one in a tar archive."""
    with open_binary(source) as file:
        start = file.tell()
        packed = file.read(262)[-5:] == b"ustar"
        file.seek(start)
        if not packed:
            yield file
            return
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:  # gzip is already unpacked
                member = next((m for m in archive if m.isfile() and m.name.endswith(".xml")), None)
                if member is None:
                    raise DataError(str(source), "holds no .xml file; fetch the archive again")
                if member.issparse():
                    raise DataError(
                        str(source), f"holds {member.name!r} with holes, as only a bomb has; fetch it again"
                    )
                yield cast(BinaryIO, archive.extractfile(member))
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
            first = str(error).partition("\n")[0]
            raise DataError(str(source), f"is a broken archive: {first}; fetch it again") from None
