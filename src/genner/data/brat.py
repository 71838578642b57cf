"""The standoff files of brat: `X.txt` and, beside it, `X.ann`.

    T1	PER 0 12	Ada Lovelace
    T2	LOC 22 28;33 40	London Chelsea

A `T` line has a type, one or more `start end` separated by `;`, and the text at these offsets: fragments joined by a
blank, line breaks written as blanks. brat splits a mention at line breaks, so fragments with only blanks between them
are one mention. Offsets are half-open and count the code points of the `.txt`, including every `\\r` and a byte order
mark. Other lines are dropped (R relations, E events, A and M attributes, N normalizations, # notes, * equivalences).
Source: brat's documentation of its standoff format (brat.nlplab.org/standoff.html).

brat displays written files whose labels consist of letters, digits, `_` and `-`; only genner reads other labels.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

from genner.data.base import ReadLog, Syntax, read_lines
from genner.data.files import decode, distinct, new_folder, sibling
from genner.data.records import record_losses
from genner.document import Document, Entity

_T = re.compile(r"T[^\t]*\t([^\t]+) (N N(?:;N N)*)(?:\t(.*))?".replace("N", "-?[0-9]{1,18}"), re.DOTALL)
_OTHERS = {
    "R": "relation",
    "E": "event",
    "A": "attribute",
    "M": "attribute",
    "N": "normalization",
    "#": "note",
    "*": "equivalence",
}
_BLANK = re.compile(r"[\t\n\r]")
_UNWRITABLE = re.compile(r"[\t\n\r\ud800-\udfff]")
_UNSAFE = re.compile(r"[%/\\:*?\"<>|\x00-\x1f\x7f\ud800-\udfff]|^\.")
_ESCAPE = re.compile(r"%([0-9A-F]+);")


@dataclass(frozen=True)
class Brat(Syntax):
    """A folder of pairs at any depth, or one file of a pair. A document is a `.txt`, and is its own group.

    Its id, and group, is the path in the folder without suffix. Writing makes a folder with the `annotation.conf` that
    brat needs; characters of ids that are illegal in file names are escaped as `%2F;`, and reading decodes them.
    Errors: a `.txt` without `.ann` or the reverse, a span outside the text, and one whose text differs from its line.
    """

    discontinuous: Literal["drop", "hull"] = "drop"
    """Leave out a discontinuous mention, or take it from first to last fragment; either way it counts as dropped."""

    name: ClassVar[str] = "brat"
    suffixes: ClassVar[tuple[str, ...]] = (".ann",)

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        if source.is_dir():
            names = {child.name for child in source.iterdir()}
            return any(name.endswith(".ann") and f"{name[:-4]}.txt" in names for name in names)
        other = {".ann": ".txt", ".txt": ".ann"}.get(source.name[-4:])
        return other is not None and sibling(source, source.name[:-4] + other).is_file()

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        for id, text_file, notes_file in _pairs(source, ""):
            if not text_file.is_file() or not notes_file.is_file():
                missing = text_file if notes_file.is_file() else notes_file
                what = "a .txt and an .ann make a pair: move the other one away, or leave it out with --lenient"
                read_log.error("file missing", source, f"{missing.name} is missing; {what}")
                continue  # an unannotated text, such as a README, is not a text without entities
            text = decode(text_file, read_log, keep_mark=True)
            if text is not None:
                yield Document(text, distinct(self._entities(text, notes_file, read_log), read_log, id), id, group=id)

    def _entities(self, text: str, source: Traversable, read_log: ReadLog) -> Iterator[Entity]:
        for number, line in read_lines(source, read_log, returns_within=True):  # as in the texts
            if not line.strip():
                continue
            if line[0] in _OTHERS:
                read_log.drop(_OTHERS[line[0]], f"{source.name}:{number}: {line}")
                continue
            found = _T.fullmatch(line)
            if not found:
                what = f"{line!r} is not like T1, tab, LABEL START END, tab, TEXT"
                read_log.error("annotation line", source, what, number)
                continue
            pairs = [tuple(map(int, pair.split(" "))) for pair in found[2].split(";")]
            if not all(0 <= start < end <= len(text) for start, end in pairs):
                what = f"span {found[2]} is empty or outside of the text, which has {len(text)} code points"
                read_log.error("offsets", source, what, number)
                continue
            mention = " ".join(text[start:end] for start, end in pairs)
            if found[3] is not None and _flat(found[3]) != _flat(mention):
                what = f"span {found[2]} cuts out {mention!r}, not {found[3]!r}; offsets count code points"
                read_log.error("offsets", source, what, number)
                continue
            gaps = (text[end:start] for (_, end), (start, _) in pairwise(sorted(pairs)))
            if any(gap.strip() for gap in gaps):  # brat splits a mention at line breaks; it stays one
                read_log.drop("discontinuous mention", f"{source.name}:{number}: {mention!r}")
                if self.discontinuous == "drop":
                    continue
            yield Entity(min(start for start, _ in pairs), max(end for _, end in pairs), found[1])

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        count = 0
        labels: dict[str, None] = {}
        with new_folder(target) as folder:
            for count, document in enumerate(documents, 1):
                record_losses(document, read_log, group=False)
                name = _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X};", document.id) or f"document-{count}"
                if (folder / f"{name}.txt").exists():
                    read_log.drop("id given twice", document.id)
                    name = f"{name}-{count}"
                if document.group not in ("", _id(name)):
                    read_log.drop("group", f"{document.group!r} of document {document.id!r}: a file is a group")
                lines: list[str] = []
                for e in document.entities:
                    if _UNWRITABLE.search(e.label):
                        read_log.drop("label with a separator in it", repr(e.label))
                        continue
                    labels[e.label] = None
                    lines.append(f"T{len(lines) + 1}\t{e.label} {e.start} {e.end}\t{_flat(document.mention(e))}\n")
                (folder / f"{name}.txt").write_bytes(document.text.encode("utf-8"))
                (folder / f"{name}.ann").write_bytes("".join(lines).encode("utf-8"))
            conf = ["[entities]", *sorted(labels), "[relations]", "[events]", "[attributes]", ""]
            (folder / "annotation.conf").write_bytes("\n".join(conf).encode("utf-8"))
        return count


def _flat(mention: str) -> str:
    return _BLANK.sub(" ", mention)


def _pairs(source: Traversable, within: str) -> Iterator[tuple[str, Traversable, Traversable]]:
    """Id, text and annotation of each document, a folder's own before its subfolders'; either file may be missing."""
    if source.is_dir():
        children = sorted(source.iterdir(), key=lambda child: child.name)
        for name in sorted({child.name[:-4] for child in children if child.name.endswith((".txt", ".ann"))}):
            yield _id(within + name), source.joinpath(f"{name}.txt"), source.joinpath(f"{name}.ann")
        for child in children:
            if child.is_dir():
                yield from _pairs(child, f"{within}{child.name}/")
    else:
        name = source.name.removesuffix(".txt").removesuffix(".ann")
        yield _id(name), sibling(source, f"{name}.txt"), sibling(source, f"{name}.ann")


def _id(name: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)
