"""The sound number: what genner's own decoder makes of the answers, scored by strict spans.

Gold and prediction are decoded over one and the same source text, so that a match is a match of positions. What cannot
be read is lost item by item, never a whole sentence, and is counted by kind (see `genner.document.ProblemKind`).

Where the source is not known, which happens only in the JSON formats without a `prompt`, the items themselves are
matched, each by what it says of its place:

- offsets: label, start and end are a span without any text, so the number is still that of strict spans;
- occurrences: text, label and index name one place of the text, whichever it is, so again it is;
- grouped: there is no place, and label and text are matched as multisets. This is *not* the strict number, and the
  report says so; give the gold documents, or let LLaMA-Factory keep its prompts.
"""

import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genner.document import Document, LabelSet
from genner.errors import UsageError
from genner.evaluation import Counts, count
from genner.formats import Format, get_format
from genner.generations.records import Record
from genner.generations.sources import as_text, find_source

Basis = Literal["spans", "items", "texts"]


@dataclass(frozen=True, slots=True)
class Sound:
    """One record scored: counts by label, what was matched, what went wrong, and how many entities each side has.

    `as_said` are the counts over all labels if no mention that was found is looked up (`genner.generations.readings`).
    """

    counts: dict[str, Counts]
    as_said: Counts
    basis: Basis
    problems: Counter[str]
    gold: int
    pred: int
    texts: Counter[tuple[str, str]]
    """Label and text of the gold entities: to tell whether the paper's parser reads the same gold."""


def judge(
    records: Sequence[Record], name: str, labels: LabelSet, gold: Sequence[Document] | None = None
) -> list[Sound]:
    """Score each record by the sound rule; `name` is a format of the paper, `gold` the documents, if they are at hand.

    Raises `UsageError` when gold documents and records do not pair up, `UnknownNameError` when there is no such format.
    """
    if gold is not None and len(gold) != len(records):
        raise UsageError(f"gold documents: {len(gold)}, records: {len(records)}; give the documents of the very file")
    form = get_format(name)
    given: Iterable[Document | None] = gold if gold is not None else [None] * len(records)
    return [_judge(record, form, labels, document) for record, document in zip(records, given, strict=True)]


def _judge(record: Record, form: Format, labels: LabelSet, gold: Document | None) -> Sound:
    source = gold.text if gold is not None else find_source(record, form, labels)
    if source is None:
        return _judge_items(record, form, labels)
    pred = form.decode(source, as_text(record.predict), labels)
    problems = Counter[str](p.kind for p in pred.problems)
    if gold is None:
        decoded = form.decode(source, as_text(record.label), labels)
        # Other spellings of a gold answer are no matter, but what is lost or moved is.
        problems.update(f"{p.kind} in gold" for p in decoded.problems if p.kind in ("dropped", "realigned"))
        gold = Document(source, decoded.entities)
    said = form.decode(source, as_text(record.predict), labels, look_up=False)
    return Sound(
        count(gold, pred),
        sum(count(gold, said).values(), Counts()),
        "spans",
        problems,
        len(gold.entities),
        len(pred.entities),
        Counter((e.label, gold.mention(e)) for e in gold.entities),
    )


def _judge_items(record: Record, form: Format, labels: LabelSet) -> Sound:
    name = form.name
    expected, found = (
        _items(form.reply("", answer, labels) if isinstance(answer, str) else answer, name)
        for answer in (record.label, record.predict)
    )
    problems = Counter({"dropped": found.pop(None, 0), "dropped in gold": expected.pop(None, 0)})
    if name != "grouped_json":  # an entity that is written twice is one entity
        expected, found = Counter(set(expected)), Counter(set(found))
    counts: dict[str, Counts] = {}
    for item in expected | found:
        assert item is not None
        right = min(expected[item], found[item])
        one = Counts.of(right, found=found[item], expected=expected[item])
        counts[item[0]] = counts.get(item[0], Counts()) + one
    basis: Basis = "texts" if name == "grouped_json" else "items"
    texts = Counter((item[0], item[1]) for item in expected.elements() if item is not None)
    return Sound(counts, sum(counts.values(), Counts()), basis, +problems, expected.total(), found.total(), texts)


_Item = tuple[str, str, Hashable]


def _items(answer: Any, name: str) -> Counter[_Item | None]:
    """`(label, text, place)` of each item; an item that is not what the format prescribes is None."""
    data = _value(answer)
    if name == "grouped_json":
        groups = data.items() if isinstance(data, dict) else ()
        return Counter(
            (label, text, None) if isinstance(text, str) and text else None
            for label, texts in groups
            for text in (texts if isinstance(texts, list) else [None])
        )
    return Counter(_item(item, name) for item in (data if isinstance(data, list) else ()))


def _item(item: Any, name: str) -> _Item | None:
    if not isinstance(item, dict):
        return None
    text, label = item.get("text"), item.get("label")
    if not isinstance(text, str) or not isinstance(label, str) or not text or not label:
        return None
    if name == "occurrence_json":
        index = item.get("occurrence_index")
        return (label, text, index) if type(index) is int and index >= 1 else None
    start, end = item.get("start"), item.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start < end or end - start != len(text):
        return None
    return label, text, (start, end)


def _value(answer: Any) -> Any:
    """The JSON value of an answer, with prose or code fences around it or not; None where there is none."""
    if not isinstance(answer, str):
        return answer
    begin = re.search(r"[\[{]", answer)
    try:
        return json.JSONDecoder().raw_decode(answer, begin.start())[0] if begin else None
    except (ValueError, RecursionError):
        return None
