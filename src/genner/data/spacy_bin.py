"""spaCy's `DocBin` (`.spacy`), the input of `spacy train`. Needs the extra `spacy`.

`doc.ents` cannot hold overlapping entities; span groups can. So the span group `spans_key` holds all entities, and
`doc.ents` the outermost: spaCy's components `ner` and `spancat` both find what they can learn. Tokens are spaCy's own
for the language, split further where an entity starts or ends within one. A `DocBin` is one compressed block: it is
read and written as a whole, so a large corpus needs memory. It is read in another process (`guarded_process.py`), as a
damaged one may crash spaCy.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources.abc import Traversable
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from genner.data.base import ReadLog, Syntax
from genner.data.file_opening import LIMIT, RATIO, max_unpacked
from genner.data.guarded_process import STALLED, GuardError, StallError, guarded, on_disk
from genner.data.records import DocumentBuilder, RecordSpan, optional, record_losses
from genner.document import Document, Entity, group_of
from genner.errors import DataError, UsageError
from genner.writing import atomic

DOCS_PER_MESSAGE = 200  # documents passed on at a time


@dataclass(frozen=True)
class SpacyDocBin(Syntax):
    """A `DocBin`. Options: `spans_key`, the span group of all entities; `lang`, the language that tokenizes.

    A document without that span group, in which tokens lack entity annotation (spaCy's missing values), is left out:
    missing does not mean that there are no entities.
    """

    name: ClassVar[str] = "spacy"
    suffixes: ClassVar[tuple[str, ...]] = (".spacy",)

    spans_key: str = "sc"
    lang: str = "en"

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        return source.name.endswith(".spacy") and head[:1] == b"\x78"  # zlib's mark

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        number = 0
        try:
            with on_disk(source) as path:
                for batch in guarded(
                    "genner.data.spacy_bin:docs", str(path), self.lang, self.spans_key, max_unpacked(0)
                ):
                    for found in batch:
                        number += 1
                        for key, count in found.other_groups:
                            read_log.drop(f"span group {key!r}", f"{source}:{number}", count)
                        if found.missing:
                            read_log.drop("document with missing entity annotation", f"{source}:{number}")
                            continue
                        spans = (RecordSpan(*span) for span in found.spans)
                        document = builder.build_row(number, found.text, spans, found.id, found.group)
                        if document is not None:
                            yield document
        except StallError as error:
            read_log.error("broken DocBin", source, f"{error}; {STALLED}, or write it again with spaCy")
        except GuardError as error:
            read_log.error("broken DocBin", source, f"is not a whole DocBin: {error}; write it again with spaCy")

    def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
        nlp = _nlp(self.lang)
        docs = optional("spacy.tokens", "spacy").DocBin(store_user_data=True)
        for document in documents:
            record_losses(document, read_log, group=False)
            docs.add(self._doc(document, nlp))
        with atomic(target) as file:
            file.write(docs.to_bytes())
        return len(docs)

    def _doc(self, document: Document, nlp: Any) -> Any:
        words, spaces, ends = _words(document, [t.idx + at for t in nlp.make_doc(document.text) for at in (0, len(t))])
        doc = optional("spacy.tokens", "spacy").Doc(nlp.vocab, words=words, spaces=spaces)
        doc.user_data["id"] = document.id
        if document.group:
            doc.user_data["group"] = document.group
        starts = {end - len(word): i for i, (word, end) in enumerate(zip(words, ends, strict=True))}
        stops = {end: i + 1 for i, end in enumerate(ends)}
        span = optional("spacy.tokens", "spacy").Span
        made = {e: span(doc, starts[e.start], stops[e.end], label=e.label) for e in document.entities}
        doc.spans[self.spans_key] = list(made.values())
        doc.set_ents([made[e] for e in _outermost(document.entities)])
        return doc


class SpacyDocument(NamedTuple):
    """The content of a spaCy `Doc`, in types that can be pickled."""

    text: str
    spans: list[tuple[int, int, str]]
    """Start, end and label, in code points."""
    id: Any
    missing: bool
    """Whether tokens lack entity annotation and there is no span group."""
    group: str
    other_groups: list[tuple[str, int]]
    """Names and sizes of span groups that are not read."""


def docs(path: str, lang: str, spans_key: str, limit: int) -> Iterator[list[SpacyDocument]]:
    """The documents of a `DocBin` in lists. `guarded` runs this in its process; raises spaCy's errors on a broken file.

    Raises `DataError` when it unpacks to more than `limit` bytes, or than `RATIO` times its size if that is more.
    """
    vocab = _nlp(lang).vocab
    data = Path(path).read_bytes()
    limit = max(limit, RATIO * len(data))
    unpacking = zlib.decompressobj()
    if len(unpacking.decompress(data, limit)) == limit and unpacking.unconsumed_tail:
        raise DataError(path, f"unpacks to over {limit:,} bytes; if it is sound, set {LIMIT} to what it may have")
    held: list[SpacyDocument] = []
    for doc in optional("spacy.tokens", "spacy").DocBin().from_bytes(data).get_docs(vocab):
        spans = {(s.start_char, s.end_char, s.label_): None for s in (*doc.ents, *doc.spans.get(spans_key, ()))}
        others = [(key, len(doc.spans[key])) for key in doc.spans if key != spans_key]
        missing = spans_key not in doc.spans and any(token.ent_iob == 0 for token in doc)
        held.append(
            SpacyDocument(doc.text, list(spans), doc.user_data.get("id"), missing, group_of(doc.user_data), others)
        )
        if len(held) == DOCS_PER_MESSAGE:
            yield held
            held = []
    if held:
        yield held


@cache
def _nlp(lang: str) -> Any:
    """The tokenizer of a language. Raises `UsageError` when spaCy has none."""
    spacy = optional("spacy", "spacy")
    try:
        return spacy.blank(lang)
    except ImportError as error:
        raise UsageError(f"spacy:lang={lang!r} is no language that spaCy can tokenize here: {error}") from None


def _words(document: Document, token_edges: Iterable[int]) -> tuple[list[str], list[bool], list[int]]:
    """Words, whether a blank follows each, and where each ends; together they give exactly the text.

    The blank after a word belongs to no word, unless an entity starts or ends with it: then it is a word.
    """
    text = document.text
    starts, stops = {e.start for e in document.entities}, {e.end for e in document.entities}
    edges = sorted({0, len(text), *token_edges, *(at for e in document.entities for at in e.span)})
    words: list[str] = []
    spaces: list[bool] = []
    ends: list[int] = []
    for start, end in pairwise(edges):
        held = start in starts or end in stops
        if text[start:end] == " " and words and not spaces[-1] and not held:
            spaces[-1] = True
            continue
        words.append(text[start:end])
        spaces.append(False)
        ends.append(end)
    return words, spaces, ends


def _outermost(entities: Iterable[Entity]) -> list[Entity]:
    """Entities in reading order, without those that overlap an earlier one that is kept."""
    kept: list[Entity] = []
    for entity in entities:
        if not kept or kept[-1].end <= entity.start:
            kept.append(entity)
    return kept
