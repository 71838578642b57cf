"""Writing column files: words and single marks are tokens, tags are flat, comments keep ids, groups and spacing."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genner.data import tags
from genner.data.base import ReadLog
from genner.data.records import record_losses
from genner.data.tokens import tokenize
from genner.document import Document, Entity
from genner.writing import atomic

_BREAKS = re.compile(r"[\t\n\r\ud800-\udfff]")


@dataclass(frozen=True)
class Style:
    """How rows are written: the tag scheme, the columns of token and tag, the separator.

    `text` writes the spacing as a comment; without it, it is lost where it differs from `joiner` between tokens.
    """

    scheme: tags.Scheme
    token: int
    column: int
    separator: str
    joiner: str
    text: bool


def write_columns(documents: Iterable[Document], target: Path, style: Style, read_log: ReadLog) -> int:
    """Write the documents to a file; return how many. What cannot be kept is dropped and counted."""
    count = 0
    group = ""
    with atomic(target) as file:
        for document in documents:
            record_losses(document, read_log, group=bool(_BREAKS.search(document.group)))
            named = "" if _BREAKS.search(document.group) else document.group
            begins = [f"# newdoc id = {named}" if named else "# newdoc id ="] * (named != group)
            group = named
            lines = [*begins, *_comments(document, style, read_log), *_rows(document, style, read_log), "", ""]
            block = "\n".join(lines)
            if not block.strip():
                read_log.drop("document without tokens", document.id)
            # A token that is a byte order mark must not be read as the file's.
            file.write(("\n" * (not count and block.startswith("\ufeff")) + block).encode("utf-8"))
            count += 1
    return count


def _comments(document: Document, style: Style, read_log: ReadLog) -> Iterator[str]:
    if _BREAKS.search(document.id):
        read_log.drop("id", repr(document.id))
    elif document.id:
        yield f"# id = {document.id}"
    if style.text and _BREAKS.search(document.text):
        yield f"# text-json = {json.dumps(document.text, ensure_ascii=False)}"
    elif style.text:
        yield f"# text = {document.text}"


def _rows(document: Document, style: Style, read_log: ReadLog) -> Iterator[str]:
    flat: list[Entity] = []
    for e in document.entities:
        if _BREAKS.search(e.label) or (style.separator == " " and " " in e.label):
            read_log.drop("label with a separator in it", repr(e.label))
        elif flat and e.start < flat[-1].end:
            read_log.drop("nested or crossing entity", f"{document.id}: {document.mention(e)!r}")
        else:
            flat.append(e)
    places = tokenize(document.text, flat)
    words = [document.text[start:end] for start, end in places]
    if not style.text and document.text != style.joiner.join(words):
        read_log.drop("spacing", document.id)
    starts = [start for start, _ in places]
    spans = []
    for e in flat:
        first, behind = bisect_left(starts, e.start), bisect_left(starts, e.end)
        if first == behind:
            read_log.drop("entity of blanks", f"{document.id}: {document.mention(e)!r}")
            continue
        if (places[first][0], places[behind - 1][1]) != e.span:
            read_log.drop("blanks at the edge of an entity", f"{document.id}: {document.mention(e)!r}")
        spans.append((first, behind, e.label))
    token, column = style.token, style.column
    width = max(column, token) + 1 if column >= 0 else token + 1 - column
    for word, tag in zip(words, tags.spell(spans, len(words), style.scheme), strict=True):
        row = ["_"] * width
        row[token], row[column] = word, tag
        yield style.separator.join(row)
