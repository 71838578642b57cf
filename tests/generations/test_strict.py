"""Strict is what an answer says, wherever the text comes from (gold, prompt, nowhere); repaired is a second number."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.strategies import LABELS, PIECES, documents

from genner.document import Document, Entity, LabelSet
from genner.evaluation import Counts
from genner.formats import FORMATS
from genner.generations import PAPER_RULES, GenerationsReport, score_generations
from genner.generations.records import GenerationRecord
from genner.generations.sources import find_source
from genner.generations.strict import StrictResult, score_strict

Numbers = tuple[float, float, float]

# As the paper's files have them: lists of items with offsets.
TEXTS = [
    "Thyroid hormone receptors form distinct complexes with a thyroid hormone response element.",
    "IL-2 gene expression and NF-kappa B activation through CD28 requires oxygen production by 5-lipoxygenase.",
    "In Jurkat T cells, the IL-2 gene is silent; in activated T cells it is not.",
    "No entity stands in this sentence.",
]
MENTIONS = [
    (("Thyroid hormone receptors", "protein"), ("thyroid hormone response element", "DNA")),
    (("IL-2 gene", "DNA"), ("IL-2", "protein"), ("NF-kappa B", "protein"), ("CD28", "protein"),
     ("5-lipoxygenase", "protein")),
    (("Jurkat T cells", "cell_line"), ("IL-2 gene", "DNA"), ("activated T cells", "cell_type")),
    (),
]  # fmt: skip


def paper_gold(text: str, mentions: tuple[tuple[str, str], ...], by: int = 0) -> str:
    items = [
        {"text": m, "label": label, "start": text.index(m) + by, "end": text.index(m) + len(m) + by}
        for m, label in mentions
    ]
    return json.dumps(items, ensure_ascii=False)


GOLD = [
    Document(text, tuple(Entity(text.index(m), text.index(m) + len(m), label) for m, label in mentions), f"s{i}")
    for i, (text, mentions) in enumerate(zip(TEXTS, MENTIONS, strict=True))
]


def prompt(text: str) -> str:
    return f"user\nFind the entities. Answer with a JSON list.\nText:\n{text}\nassistant\n"


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., GenerationsReport]:
    def call(form: str, rows: list[tuple[str, ...]], rule: str = "strict", **options: object) -> GenerationsReport:
        path = tmp_path / "g.jsonl"
        records = [dict(zip(("predict", "label", "prompt"), row, strict=False)) for row in rows]
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return score_generations(path, form, rule, **options)  # type: ignore[arg-type]

    return call


def numbers(report: GenerationsReport, name: str) -> Numbers:
    counts = report.readings[name].counts  # type: ignore[index]
    return counts.tp, counts.fp, counts.fn


@pytest.mark.parametrize("by", range(-3, 8))
def test_shifted_offsets_are_wrong_with_gold_documents_and_without(
    score: Callable[..., GenerationsReport], by: int
) -> None:
    rows = [(paper_gold(t, m, by), paper_gold(t, m), prompt(t)) for t, m in zip(TEXTS, MENTIONS, strict=True)]
    total = sum(map(len, MENTIONS))
    said = (total, 0, 0) if by == 0 else (0, total, total)
    for rule in ("paper", "strict", "repaired"):
        found = [
            score("offset_json", rows, rule, gold=GOLD),
            score("offset_json", rows, rule),
            score("offset_json", [row[:2] for row in rows], rule, gold=GOLD),
        ]
        assert [numbers(report, "paper") for report in found] == [said] * 3
        assert [numbers(report, "strict") for report in found] == [said] * 3
        assert [numbers(report, "repaired") for report in found] == [(total, 0, 0)] * 3
        assert [report.micro for report in found] == [report.readings[report.rule].counts for report in found]
    # Without any text nothing can be repaired, and what is said is the same.
    alone = score("offset_json", [row[:2] for row in rows])
    assert [numbers(alone, name) for name in ("paper", "strict", "repaired")] == [said] * 3
    assert "strict" in alone.table()
    assert ("where the answer puts them" in alone.table()) == (by < 0)


@pytest.mark.parametrize("source", ["gold", "prompt", "none"])
def test_a_mention_elsewhere_is_a_false_positive_and_a_false_negative(
    score: Callable[..., GenerationsReport], source: str
) -> None:
    text = "At the meeting on Monday last week in Oslo, Bob spoke."
    at = text.index("Bob")
    gold = Document(text, (Entity(at, at + 3, "PER"),))
    answers = [
        json.dumps([{"text": "Bob", "label": "PER", "start": start, "end": start + 3}]) for start in (at - 8, at)
    ]
    row = (answers[0], answers[1], *([prompt(text)] if source == "prompt" else []))
    report = score("offset_json", [row], gold=[gold] if source == "gold" else None)
    assert numbers(report, "strict") == (0, 1, 1)
    assert numbers(report, "repaired") == ((0, 1, 1) if source == "none" else (1, 0, 0))
    assert report.misplaced == (source != "none")


# Whatever is wrong with an answer, of any kind, costs the same wherever the text comes from.

damages = st.lists(
    st.tuples(
        st.sampled_from(["cut", "put", "swap", "twice", "digit", "label"]), st.integers(0, 400), st.sampled_from(PIECES)
    ),
    max_size=4,
)


def damaged(answer: str, how: list[tuple[str, int, str]]) -> str:
    for what, at, piece in how:
        at %= len(answer) + 1
        digits = [i for i, c in enumerate(answer) if c in "0123456789"]
        if what == "cut":
            answer = answer[:at] + answer[at + 1 :]
        elif what == "put":
            answer = answer[:at] + piece + answer[at:]
        elif what == "swap":
            answer = answer[at:] + answer[:at]
        elif what == "twice":
            answer = answer.replace("}]", "}, " + answer.removeprefix("["), 1)
        elif what == "digit" and digits:
            i = digits[at % len(digits)]
            answer = answer[:i] + str(at % 10) + answer[i + 1 :]
        else:
            answer = answer.replace("PER", "ORG", 1)
    return answer


def counted(result: StrictResult) -> tuple[Counts, Counts]:
    return sum(result.strict.values(), Counts()), sum(result.repaired.values(), Counts())


@pytest.mark.parametrize("name", PAPER_RULES)
@given(document=documents(crossing=True), other=documents(crossing=True), how=damages)
@settings(max_examples=60, deadline=None)
def test_the_same_text_gives_the_same_score(
    name: str, document: Document, other: Document, how: list[tuple[str, int, str]]
) -> None:
    form = FORMATS[name]
    gold, _ = form.encodable_part(document)
    entities = tuple(e for e in other.entities if e.end <= len(gold.text))
    said, _ = form.encodable_part(Document(gold.text, entities))
    label, answer = form.encode(gold, LABELS), damaged(form.encode(said, LABELS), how)
    record = GenerationRecord(1, answer, label, prompt(gold.text))
    assume(find_source(record, form, LABELS) == gold.text)
    (with_gold,), (without,) = (score_strict([record], name, LABELS, some) for some in ([gold], None))
    assert with_gold.strict == without.strict
    assert with_gold.repaired == without.repaired
    strict, repaired = counted(with_gold)
    assert strict.tp + strict.fn == repaired.tp + repaired.fn == len(gold.entities)
    assert strict.tp + strict.fp == with_gold.found
    if name != "grouped_json":
        assert strict.tp <= repaired.tp
    if form.legal(gold.text, answer, LABELS) is not None:
        assert (with_gold.strict, with_gold.misplaced) == (with_gold.repaired, 0)
    if name in ("occurrence_json", "offset_json") and "<" not in answer + label:  # no marks of reasoning
        (alone,) = score_strict([GenerationRecord(1, answer, label, None)], name, LABELS)
        assert (alone.strict, alone.basis) == (with_gold.strict, "items")


@pytest.mark.parametrize("name", PAPER_RULES)
def test_labels_beyond_those_given_count_wherever_the_text_comes_from(name: str) -> None:
    form, labels = FORMATS[name], LabelSet.of("PER", "GPE")
    gold = Document("Ann left Oslo.", (Entity(0, 3, "PER"), Entity(9, 13, "GPE")))
    answer = form.encode(gold, labels)
    for some in ([gold], None):
        (found,) = score_strict(
            [GenerationRecord(1, answer, answer, prompt(gold.text))], name, LabelSet.of("PER"), some
        )
        assert found.strict == {"PER": Counts(1, 0, 0), "GPE": Counts(1, 0, 0)}
        assert found.repaired == {"PER": Counts(1, 0, 0), "GPE": Counts(0, 0, 1)}


WORDS = "Ann saw Ann and Bob in Oslo; Oslo saw Bob."
numbers_said = st.integers(-2, 45) | st.sampled_from([None, "8", 1.0, True, 8.5])
items_said = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["Ann", "Bob", "Oslo", "an", "Ann saw", "Kyoto", "", None]),
            "label": st.sampled_from(["PER", "LOC", "ORG", "", 3]),
            "occurrence_index": st.integers(-1, 4) | numbers_said,
            "start": numbers_said,
            "end": numbers_said,
        }
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", ["occurrence_json", "offset_json"])
@given(said=items_said, right=st.lists(st.sampled_from([(0, 3), (8, 11), (16, 19), (23, 27), (29, 33)]), unique=True))
def test_strict_counts_are_those_of_a_plain_count(
    name: str, said: list[dict[str, object]], right: list[tuple[int, int]]
) -> None:
    gold = Document(WORDS, tuple(Entity(*span, "PER") for span in right))
    found = set[tuple[object, ...]]()
    for item in said:
        text, label, start, end = (item[key] for key in ("text", "label", "start", "end"))
        if name == "occurrence_json":
            index, places = item["occurrence_index"], [i for i in range(len(WORDS)) if WORDS.startswith(str(text), i)]
            possible = type(index) is int and 1 <= index <= len(places)
            start, end = (places[index - 1], places[index - 1] + len(str(text))) if possible else (None, repr(index))  # type: ignore[operator]
        elif type(start) is not int or type(end) is not int or start < 0 or WORDS[start:end] != text:
            start, end = None, repr((start, end))
        if text and label and isinstance(label, str):
            found.add((label, start, end) if start is not None else (label, text, start, end))
    wanted = {(e.label, e.start, e.end) for e in gold.entities}
    answer = json.dumps([{key: item[key] for key in item if key in _KEYS[name]} for item in said])
    (result,) = score_strict([GenerationRecord(1, answer, "[]", None)], name, LabelSet.of("PER", "LOC"), [gold])
    right_ones = len(found & wanted)
    assert counted(result)[0] == Counts(right_ones, len(found) - right_ones, len(wanted) - right_ones)


_KEYS = {
    "occurrence_json": ("text", "label", "occurrence_index"),
    "offset_json": ("text", "label", "start", "end"),
}
