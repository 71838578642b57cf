"""Model answers, or training targets, in records: decoded against their text, in any of genner's answer formats.

The text is given, or follows `Text:` in the task, as in genner's prompts; without either, the text is the inline answer
with its tags removed. Labels are those given, or listed in the task, or used in the file's answers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import NamedTuple

from genner.data.base import ReadLog
from genner.data.json_stream import records
from genner.data.records import DocumentBuilder, JsonRecord, RecordSpan
from genner.document import Document, Entity, LabelSet
from genner.errors import DocumentError
from genner.formats import FORMATS, Format, get_format
from genner.formats.inline import is_tag
from genner.labels import of_tags, parse_labels
from genner.prompts import labels_listed


class Exchange(NamedTuple):
    """A task and its answer; a text that is not `certain` is used only if the answer fits it."""

    task: str
    text: str | None
    answer: str
    certain: bool = True


def decoded(
    source: Traversable,
    read_log: ReadLog,
    exchange: Callable[[JsonRecord], Exchange | None],
    format: str,
    labels: str,
    fields: frozenset[str],
) -> Iterator[Document]:
    """The documents of a file of records.

    `exchange` gives a record's task and answer, or None where it has no answer (the record is dropped and
    counted), or raises `DocumentError`; the `fields` of a record are not kept.
    """
    form = get_format(format)
    given = parse_labels(labels) if labels else None
    used: LabelSet | None = None
    builder = DocumentBuilder(source, read_log)
    for record in builder.records():
        try:
            found = exchange(record)
            for said in (found.text, found.answer) if found is not None else ():
                Document(said or "")  # only a string can be decoded
        except DocumentError as error:
            builder.error("bad record", str(error))
            continue
        if found is None:
            builder.drop("record without an answer")
            continue
        own = _asked(found.task)
        asked = given or own or used
        if asked is None:
            asked = used = _used(source, exchange)
        answered = _read(form, found, asked, own=own is not None)
        if answered is None:
            other = next((name for name in FORMATS if name != form.name and _reads(name, found, asked)), None)
            how = f"format={other} reads the answer" if other else "format=..."
            what = f"no text is given, in 'input' or behind 'Text:', and {form.name} does not repeat it ({how})"
            builder.error("no text", what)
            continue
        if answered.problem:
            what = f"the answer does not fit its text: {answered.problem}; is it {form.name}? (format=...)"
            builder.error("answer that does not fit its text", what)
            continue
        for kind, n in answered.left_open.items():
            builder.drop(kind, n)
        spans = (RecordSpan(e.start, e.end, e.label) for e in answered.entities)
        extra = {key: value for key, value in record.items() if key not in fields}
        document = builder.build(answered.text, spans, record.get("id"), extra)
        if document is not None:
            yield document


class _Answered(NamedTuple):
    """A decoded answer: its text, its entities with repetitions, a problem, and counts of what it leaves open."""

    text: str
    entities: Sequence[Entity]
    problem: str = ""
    left_open: Mapping[str, int] = MappingProxyType({})


def _read(form: Format, found: Exchange, labels: LabelSet, *, own: bool = False) -> _Answered | None:
    """The answer's entities in its text, or if that is unknown in the text that it copies; None if it copies none.

    Lists are read by the rule of genner's format only if the task is genner's `own`: other tools do not know the rule.
    """
    text, answer = found.text, found.answer
    if text is not None:
        legal = form.legal(text, answer, labels)
        if legal is not None and (own or form.copies_in(labels)):
            return _Answered(text, legal)
        published = None
        if found.certain or form.copies_in(labels):  # a copy reveals its text
            published = form.read_published(text, answer, labels)
        if published is not None:
            return _Answered(text, published.entities, left_open=published.left_open)
        decoded = form.decode(text, answer, labels)
        if found.certain or not decoded.problems:
            return _Answered(text, decoded.entities, decoded.problems[0].detail if decoded.problems else "")
    copied = form.copied(answer, labels)
    if copied is None:
        return None
    # Without an entity, a copy differs from an answer in another format only in that the task contains the text.
    if not copied.entities and copied.text.strip() not in f"{found.task}\n{text or ''}":
        return None
    return _Answered(copied.text, copied.entities, copied.problems[0].detail if copied.problems else "")


def _reads(name: str, found: Exchange, labels: LabelSet) -> bool:
    """Whether the format of this name finds an entity in the answer."""
    answered = _read(get_format(name), found, labels)
    return answered is not None and bool(answered.entities)


@lru_cache(maxsize=8)
def _asked(task: str) -> LabelSet | None:
    """The labels that a genner instruction lists, in its order; None for other instructions."""
    tags = [tag for tag in dict.fromkeys(labels_listed(task)) if is_tag(tag)]
    return label_set(tags) if tags else None


def _used(source: Traversable, exchange: Callable[[JsonRecord], Exchange | None]) -> LabelSet:
    """The labels that the answers of a file use, in whatever format they are."""
    seen: set[str] = set()
    for _, record in records(source, ReadLog(lenient=True)):  # the actual reading reports errors
        with suppress(DocumentError):
            if (found := exchange(record)) is not None:
                answer = Document(found.answer).text
                seen.update(name for form in FORMATS.values() for name in form.labels_in(answer, found.text or ""))
    return label_set([tag for tag in sorted(seen) if is_tag(tag)])


def label_set(tags: list[str]) -> LabelSet:
    """The label set of these tags. A label set cannot be empty: without tags it is `ENTITY` alone."""
    return of_tags(tags) if tags else LabelSet.of("ENTITY")
