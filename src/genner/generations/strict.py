"""Reads the records of a file strictly and with repairs, and scores them by spans.

Gold and prediction are read over the same source text, so that a match is a match of positions. In the strict reading,
every mention with a label in an answer is one prediction: correct if text and gold have it at exactly the stated place,
else a false positive. The repaired reading is the result of genner's own decoder. Unreadable items are dropped one by
one, never a whole sentence, and counted by kind (see `genner.document.ProblemKind`).

If the source is unknown, which happens only in the JSON formats without a `prompt`, the items themselves are matched,
each by its stated place, and nothing can be repaired:

- offsets: label, start and end form a span even without the text, so the score is still that of strict spans;
- occurrences: text, label and index identify one place of the text, so the same holds;
- grouped: there is no place; label and text are matched as multisets. This is *not* the strict score, and the report
  says so; give the gold documents, or let LLaMA-Factory keep its prompts.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genner.document import DROPPED_KINDS, Document, Label, LabelSet
from genner.errors import UsageError
from genner.evaluation import Counts, count
from genner.formats import Format, get_format
from genner.formats.inline import InlineFormat, is_tag
from genner.formats.json_answer import find_lists, find_objects
from genner.formats.json_list import JsonList
from genner.generations.labels import infer_labels
from genner.generations.readings import count_strictly
from genner.generations.records import GenerationRecord
from genner.generations.sources import as_text, find_source

Basis = Literal["spans", "items", "texts"]

IN_GOLD = " in gold"
"""The end of the kind of a problem that the gold answer has."""


@dataclass(frozen=True, slots=True)
class StrictResult:
    """One record scored.

    `strict` and `repaired` are counts by label; `basis` is what was matched; `misplaced` the number of mentions that
    the text does not have at the stated place; `problems` what the decoder had to repair or drop; `gold` and `found`
    the number of entities of each side in the strict reading; `texts` are label and text of the gold entities, which
    show whether the paper's parser reads the same gold.
    """

    strict: dict[str, Counts]
    repaired: dict[str, Counts]
    basis: Basis
    misplaced: int
    problems: Counter[str]
    gold: int
    found: int
    texts: Counter[tuple[str, str]]


def score_strict(
    records: Sequence[GenerationRecord], name: str, labels: LabelSet, gold: Sequence[Document] | None = None
) -> list[StrictResult]:
    """Score each record by spans; `name` is a format of the paper, `gold` the documents, if available.

    Raises `UsageError` when gold documents and records do not pair up, `UnknownNameError` when there is no such format.
    """
    if gold is not None and len(gold) != len(records):
        raise UsageError(f"gold documents: {len(gold)}, records: {len(records)}; give the documents of the very file")
    form = get_format(name)
    given: Iterable[Document | None] = gold if gold is not None else [None] * len(records)
    return [_score(record, form, labels, document) for record, document in zip(records, given, strict=True)]


def _score(record: GenerationRecord, form: Format, labels: LabelSet, gold: Document | None) -> StrictResult:
    problems = Counter[str]()
    if gold is None:
        known = _with_labels_of_gold(record, form, labels)
        source = find_source(record, form, known)
        if source is None:
            return _score_items(record, form, labels)
        decoded = form.decode(source, as_text(record.label), known)
        # Other spellings of a gold answer do not matter, but lost or moved entities do.
        problems.update(
            f"{p.kind}{IN_GOLD}" for p in decoded.problems if p.kind in (*DROPPED_KINDS, "realigned", "truncated")
        )
        gold = Document(source, decoded.entities)
    answer = as_text(record.predict)
    said, repaired = form.decode_strictly(gold.text, answer, labels), form.decode(gold.text, answer, labels)
    problems.update(p.kind for p in repaired.problems)
    misplaced = said.wrong.total()
    return StrictResult(
        strict=count_strictly(gold, said),
        repaired=count(gold, repaired),
        basis="spans",
        misplaced=misplaced,
        problems=problems,
        gold=len(gold.entities),
        found=len(said.entities) + misplaced,
        texts=Counter((e.label, gold.mention(e)) for e in gold.entities),
    )


def _with_labels_of_gold(record: GenerationRecord, form: Format, labels: LabelSet) -> LabelSet:
    """The label set plus all other labels of the gold answer, which count as gold. In a copy, a tag that the prompt
    lacks is not text; without a prompt it may be.
    """
    if not isinstance(form, InlineFormat):
        found = infer_labels([GenerationRecord(record.line, "", record.label, record.prompt)], form.name)
        others = found.tags if found else ()
    elif record.prompt is not None:
        answer = form.reply(record.prompt, as_text(record.label), labels)
        others = tuple(filter(is_tag, form.unasked(record.prompt, answer, labels)))
    else:
        others = ()
    return LabelSet((*labels.labels, *(Label(tag) for tag in dict.fromkeys(others) if tag not in labels)))


_Item = tuple[str, str, Hashable]


def _score_items(record: GenerationRecord, form: Format, labels: LabelSet) -> StrictResult:
    expected, found = (_items(as_text(answer), form, labels) for answer in (record.label, record.predict))
    problems = Counter({"malformed": found.pop(None, 0), "malformed in gold": expected.pop(None, 0)})
    find = find_objects if isinstance(form, JsonList) else find_lists
    faults = find(form.reply("", as_text(record.label), labels))[1]
    problems["truncated in gold"] = sum(p.kind == "truncated" for p in faults)
    basis: Basis = "texts"
    misplaced = 0
    if isinstance(form, JsonList):  # an entity that is written twice is one entity
        basis = "items"
        expected, found = Counter(set(expected)), Counter(set(found))
        for item in [item for item in expected if _nowhere(item)]:
            problems["unplaced in gold"] += expected.pop(item)
        misplaced = sum(n for item, n in found.items() if _nowhere(item))
    counts: dict[str, Counts] = {}
    for item in expected | found:
        assert item is not None
        right = min(expected[item], found[item])
        one = Counts.of(right, found=found[item], expected=expected[item])
        counts[item[0]] = counts.get(item[0], Counts()) + one
    texts = Counter((item[0], item[1]) for item in expected.elements() if item is not None)
    return StrictResult(counts, counts, basis, misplaced, +problems, expected.total(), found.total(), texts)


def _items(answer: str, form: Format, labels: LabelSet) -> Counter[_Item | None]:
    """`(label, text, place)` of each item, the place as text if it is invalid; None for an item without an entity."""
    said = form.reply("", answer, labels)
    if isinstance(form, JsonList):
        return Counter(_item(item, form) for item in find_objects(said)[0])
    return Counter(
        (label, text, None) if isinstance(text, str) and text and label else None
        for label, texts in find_lists(said)[0]
        for text in texts
    )


def _item(item: dict[str, Any], form: JsonList) -> _Item | None:
    text, label = item.get("text"), item.get("label")
    if not (isinstance(text, str) and text and isinstance(label, str) and label):
        return None
    place = form.place_said(text, item)
    return label, text, form.numbers_written(item) if place is None else place


def _nowhere(item: _Item | None) -> bool:
    return item is not None and isinstance(item[2], str)
