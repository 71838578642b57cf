"""ACE 2005 (LDC2006T06): pairs of `X.sgm`, the source text, and `X.apf.xml`, its annotation.

    <source_file URI="X.sgm" ...><document DOCID="X">
    <entity ID="E1" TYPE="PER" SUBTYPE="Individual" CLASS="SPC">
    <entity_mention ID="E1-2" TYPE="NOM" LDCTYPE="NOM">
    <extent><charseq START="52" END="70">the mayor of Ghent</charseq></extent>
    <head><charseq START="56" END="60">mayor</charseq></head> ...

`START` and `END` (inclusive) count the characters of the `.sgm` without its tags. Line breaks and text outside `<TEXT>`
count. A character reference counts as it is written: `&amp;` counts as five. The document's text holds the decoded
`&`, and the offsets are adjusted. Every mention is compared with the text at its offsets. Source: the APF DTD (version
5.1.1) and the annotation guidelines of ACE 2005.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from importlib.resources.abc import Traversable
from itertools import accumulate
from typing import ClassVar, Literal

from genner.data.base import ReadLog, Syntax, open_binary
from genner.data.files import decode, distinct, own_ids, read_ids, refuse_entities, sibling, walk
from genner.document import Document, Entity
from genner.errors import UsageError

_SUFFIX = ".apf.xml"
_FINAL = "timex2norm"
_TAG = re.compile(r"<[^>]*>")
_REFERENCE = re.compile(r"&(?:amp|lt|gt|quot|apos);")
_OTHERS = ("timex2_mention", "value_mention", "relation_mention", "event_mention")
_KINDS = ("NAM", "NOM", "PRO")


@dataclass(frozen=True)
class Ace2005(Syntax):
    """A folder that holds pairs at any depth, or one `.apf.xml` with its `.sgm` beside it. A document is a source
    text, and is its own group.

    If there are folders `timex2norm`, which hold the final annotation, only they are read. The label is the type of
    the entity: PER, ORG, GPE, LOC, FAC, VEH or WEA. Mentions of kinds that are not selected are dropped, and so are
    those of times, values, relations and events. A mention that differs from the text at its offsets is an error.
    """

    mention: Literal["extent", "head"] = "extent"
    """Which part of a mention is the entity: the whole phrase, or its head."""
    kinds: tuple[str, ...] = _KINDS
    """The kinds of mentions to read: names, nominals, pronouns."""
    split: str = ""
    """Path of a list of document ids, one per line, leading folders ignored; if empty, all documents are read."""

    name: ClassVar[str] = "ace2005"
    suffixes: ClassVar[tuple[str, ...]] = (_SUFFIX,)
    writes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(_KINDS):
            raise UsageError(f"kinds={','.join(self.kinds)} is not legal; legal: some of {','.join(_KINDS)}")

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        if source.is_dir():
            return any(child.name.endswith(_SUFFIX) for child in source.iterdir())
        return source.name.endswith(_SUFFIX)

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        wanted = {_id(line) for line in read_ids(self.split, read_log)} if self.split else None
        yield from own_ids(self._documents(source, wanted, read_log), source, read_log)
        if wanted:
            what = f"documents listed here that are not in {source}: {len(wanted)}, {min(wanted)!r} among them"
            read_log.error("listed document missing", self.split, what)

    def _documents(self, source: Traversable, wanted: set[str] | None, read_log: ReadLog) -> Iterator[Document]:
        files = list(walk(source, self.suffixes))
        final = [file for file in files if f"/{_FINAL}/" in str(file).replace("\\", "/")]
        for file in final or files:
            id = _id(file.name)
            if wanted is not None and id not in wanted:
                continue
            if wanted is not None:
                wanted.discard(id)
            text_file = sibling(file, f"{id}.sgm")
            if not text_file.is_file():
                read_log.error("file missing", file, f"{text_file.name} is not beside it; both are needed")
                continue
            raw = decode(text_file, read_log)
            if raw is not None:
                yield self._document(id, file, raw, read_log)

    def _document(self, id: str, source: Traversable, raw: str, read_log: ReadLog) -> Document:
        last = raw.rfind(">") + 1  # no tag ends after this, though many may begin
        counted = _TAG.sub("", raw[:last]) + raw[last:]
        pieces = re.split(f"({_REFERENCE.pattern})", counted)
        # The text offset of each counted character; all characters of a reference map to its one decoded character.
        lengths = [[0] * (len(p) - 1) + [1] if odd % 2 else [1] * len(p) for odd, p in enumerate(pieces)]
        where = list(accumulate((n for piece in lengths for n in piece), initial=0))
        entities = []
        for entity, mention in self._mentions(source, read_log):
            kind = mention.get("TYPE", "")
            if kind not in self.kinds:
                read_log.drop(f"mention of kind {kind}", f"{id}: {mention.get('ID')}")
                continue
            sequence = mention.find(f"{self.mention}/charseq")
            start, end = _offsets(sequence)
            cut = counted[start:end]
            label = entity.get("TYPE", "")
            if sequence is None or not label or not 0 <= start < end <= len(counted):
                what = f"mention {mention.get('ID')} has no {self.mention} with legal offsets, or its entity no TYPE"
                read_log.error("offsets", source, what)
            elif sequence.text not in (cut, unescape(cut)):
                what = (
                    f"mention {mention.get('ID')} is {sequence.text!r}, but the text from {start} to {end} is {cut!r}; "
                    "the .sgm must be as published, its line ends not converted"
                )
                read_log.error("offsets", source, what)
            else:
                entities.append(Entity(where[start], where[end], label))
        text = "".join(unescape(p) if odd % 2 else p for odd, p in enumerate(pieces))
        return Document(text, distinct(entities, read_log, id), id, group=id)

    def _mentions(self, source: Traversable, read_log: ReadLog) -> Iterator[tuple[ET.Element, ET.Element]]:
        """Each entity with each of its mentions."""
        try:
            with open_binary(source) as file:
                refuse_entities(file, source)
                root = ET.parse(file).getroot()
        except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: unknown encoding
            line = error.position[0] if isinstance(error, ET.ParseError) else None
            read_log.error("broken XML", source, f"is not well-formed: {error}", line)
            return
        for tag in _OTHERS:
            if n := sum(1 for _ in root.iter(tag)):
                read_log.drop(tag.replace("_", " "), source.name, n)
        for entity in root.iter("entity"):
            for mention in entity.findall("entity_mention"):
                yield entity, mention


def _id(name: str) -> str:
    """The id of a document from the name of one of its files, or from a line of a list."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".sgm").removesuffix(_SUFFIX)


def _offsets(sequence: ET.Element | None) -> tuple[int, int]:
    """Half-open; (-1, 0), which is illegal, when they are not given."""
    try:
        return (int(sequence.get("START", "")), int(sequence.get("END", "")) + 1) if sequence is not None else (-1, 0)
    except ValueError:
        return -1, 0
