"""What of an answer is read, and in which of three ways."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import LABELS, PIECES, documents, texts

from genner.document import Document, Entity, LabelSet
from genner.errors import UsageError
from genner.evaluation import Counts
from genner.formats import FORMATS, Format
from genner.formats.reply import reply
from genner.generations import read_answers, score_generations
from genner.generations.paper import PAPER_RULES

formats = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
PER_LOC = LabelSet.of("PER", "LOC")
TEXT = "Ann met Bo in Oslo."
GOLD = (Entity(0, 3, "PER"), Entity(8, 10, "PER"), Entity(14, 18, "LOC"))
WRONG = (Entity(14, 18, "PER"), Entity(4, 7, "LOC"))

AROUND = {
    "think": "<think>Perhaps {draft}?</think>\n\n{answer}",
    "thinking, in another case": "<Thinking>{draft}</Thinking>{answer}",
    "reasoning": "<reasoning>\n{draft}\n</reasoning>\n{answer}",
    "opened in the prompt": "Perhaps {draft}?\n</think>\n\n{answer}",
    "two blocks": "<think>{draft}</think><think>{draft} again</think>{answer}",
    "a block that names its end": "<think>{draft} and then </think> and {draft}</think>{answer}",
    "a block that names another": "<think>no <reasoning> here: {draft}</think>{answer}",
    "behind the reply": "{answer}\n<think>or {draft}",
    "Magistral": "[THINK]{draft}[/THINK]{answer}",
    "Kimi": "◁think▷{draft}◁/think▷{answer}",
    "open thoughts": "<|begin_of_thought|>{draft}<|end_of_thought|>{answer}",
    "harmony": "<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant"
    "<|channel|>final<|message|>{answer}<|return|>",
    "harmony, without its tokens": "analysis{draft}assistantfinal{answer}",
    "an answer tag": "<think>{draft}</think>\n<answer>\n{answer}\n</answer>",
    "a fence": "```json\n{answer}\n```",
    "a fence in prose": "Sure, here it is:\n```\n{answer}\n```\nAnything else?",
    "a fence that is cut off": "```xml\n{answer}",
}


@formats
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_what_stands_around_a_reply_is_no_part_of_it(form: Format, around: str) -> None:
    answer = form.encode(Document(TEXT, GOLD), PER_LOC)
    draft = form.encode(form.encodable_part(Document(TEXT, WRONG))[0], PER_LOC)
    written = around.replace("{answer}", answer).replace("{draft}", draft)
    found, said = form.decode(TEXT, written, PER_LOC), form.decode_strictly(TEXT, written, PER_LOC)
    assert found.entities == GOLD
    assert [p.kind for p in found.problems] == ["invalid"]
    assert (set(said.entities), said.wrong) == (set(GOLD), {})


@formats
@pytest.mark.parametrize(
    "written", ["<think>{draft}", "<think>{draft}</think>", "{draft}</think>", "<|channel|>analysis<|message|>{draft}"]
)
def test_reasoning_alone_is_no_answer(form: Format, written: str) -> None:
    draft = form.encode(form.encodable_part(Document(TEXT, WRONG))[0], PER_LOC)
    found = form.decode(TEXT, written.replace("{draft}", draft), PER_LOC)
    assert (found.entities, found.invalid) == ((), True)


@formats
@pytest.mark.parametrize("text", ["<think>Ann</think> met Bo.", "Ann met <think> and Bo.", "Ann </think> Bo."])
@pytest.mark.parametrize("damage", ["", " ."])
@pytest.mark.parametrize("thought", ["", "<think>Ann or Bo?</think>\n"])
def test_marks_of_the_text_are_text(form: Format, text: str, damage: str, thought: str) -> None:
    entities = tuple(Entity(text.index(m), text.index(m) + len(m), "PER") for m in ("Ann", "Bo"))
    answer = form.encode(Document(text, entities), PER_LOC)
    assert form.decode(text, thought + answer + damage, PER_LOC).entities == entities


def test_a_tag_of_the_label_set_marks_no_reasoning() -> None:
    labels, text = LabelSet.of("thought", "LOC"), "An idea came to Oslo"
    answer = "<thought>An idea</thought> came to <LOC>Oslo</LOC>!"
    found = FORMATS["inline_xml"].decode(text, answer, labels)
    assert [(e.start, e.label) for e in found.entities] == [(0, "thought"), (16, "LOC")]


def test_prose_and_markup_outside_a_fence_stay() -> None:
    for answer in ('{"PER": []}\n```\nx\n```', "```\na\n```\n```\nb\n```", "plain", ""):
        assert reply(answer, TEXT, PER_LOC) == answer
    fenced = "```\nAnn\n```"
    assert reply(fenced, fenced, PER_LOC) == fenced


MARKS = [
    "<think>", "</think>", "<reasoning>", "</reasoning>", "<answer>", "</answer>", "```", "\n", "[THINK]", "analysis",
    "<|channel|>final<|message|>", "<|channel|>analysis<|message|>", "assistantfinal",
]  # fmt: skip
pieces = st.lists(st.sampled_from([*MARKS, *PIECES]), max_size=12).map("".join)


@formats
@given(text=texts | pieces, answer=pieces)
@settings(max_examples=80, deadline=None)
def test_any_marks_in_any_order_are_read(form: Format, text: str, answer: str) -> None:
    said = form.reply(text, answer, LABELS)
    rest = iter(answer)
    assert all(char in rest for char in said), "a reply is the answer with stretches taken out"
    legal = form.legal(text, answer, LABELS) is not None
    assert form.decode(text, answer, LABELS).invalid != legal


@formats
@given(document=documents())
@settings(max_examples=60, deadline=None)
def test_the_reply_of_thinking_and_an_encoding_is_the_encoding(form: Format, document: Document) -> None:
    sayable, _ = form.encodable_part(document)
    answer = form.encode(sayable, LABELS)
    found = form.decode(document.text, f"<think>Hm, {answer}</think>{answer}", LABELS)
    if document.text.strip() == document.text != "":
        assert found.entities == sayable.entities


# Three readings of one answer.


def items(*given: dict[str, object]) -> str:
    return json.dumps(given)


ANN, OSLO = {"text": "Ann", "label": "PER"}, {"text": "Oslo", "label": "LOC"}


@pytest.mark.parametrize(
    ("name", "answer", "strict", "repaired"),
    [
        ("offset_json", items(ANN | {"start": 0, "end": 3}, OSLO | {"start": 13, "end": 17}), (1, 1, 2), (2, 0, 1)),
        ("offset_json", items(ANN | {"start": 0, "end": 4}, OSLO | {"start": 14, "end": 18}), (1, 1, 2), (2, 0, 1)),
        ("offset_json", items(ANN | {"start": 0}, OSLO | {"start": "14", "end": None}, {"label": "PER"}), (0, 2, 3),
         (2, 0, 1)),
        ("occurrence_json", items(ANN | {"occurrence_index": 2}, OSLO | {"occurrence_index": 1}), (1, 1, 2), (2, 0, 1)),
        ("occurrence_json", items(ANN | {"occurrence_index": 1}, {"text": "Kyoto", "label": "LOC"}), (1, 1, 2),
         (1, 0, 2)),
        ("grouped_json", '{"LOC": ["oslo"], "PER": ["Bo", "Ann"]}', (1, 2, 2), (3, 0, 0)),
        ("grouped_json", '{"LOC": ["Oslo"], "PER": ["Ann", "Ann", "Ann"]}', (2, 0, 1), (2, 0, 1)),
        ("inline_xml", "<PER>Ann</PER> met  <PER>Bo</PER> in <LOC>Oslo</LOC>.", (1, 2, 2), (3, 0, 0)),
        ("inline_bracketed", "[Ann | PER] met [Bo | PER] in [Oslo | LOC]", (3, 0, 0), (3, 0, 0)),
        ("compact", "So: <1>Ann</> met <1>Bo</> in <2>Oslo</>.", (0, 3, 3), (3, 0, 0)),
        ("gpt_ner", "@@Ann## met @@Bo## in Oslo.\nAnn met Bo at @@Oslo##.", (2, 1, 1), (3, 0, 0)),
        # A label that was not asked for is said, too.
        ("offset_json", items({"text": "Oslo", "label": "GPE", "start": 14, "end": 18}), (0, 1, 3), (0, 0, 3)),
        ("occurrence_json", items({"text": "Oslo", "label": "GPE", "occurrence_index": 1}), (0, 1, 3), (0, 0, 3)),
        ("grouped_json", '{"GPE": ["Oslo"]}', (0, 1, 3), (0, 0, 3)),
        ("inline_xml", "<PER>Ann</PER> met Bo in <GPE>Oslo</GPE>.", (1, 1, 2), (1, 0, 2)),
        ("inline_bracketed", "[Ann | PER] met Bo in [Oslo | GPE].", (1, 1, 2), (1, 0, 2)),
        ("compact", "<1>Ann</> met Bo in <9>Oslo</>.", (1, 1, 2), (1, 0, 2)),
    ],
)  # fmt: skip
def test_what_an_answer_says_and_what_repair_makes_of_it(
    name: str, answer: str, strict: tuple[int, ...], repaired: tuple[int, ...]
) -> None:
    read = read_answers(FORMATS[name], PER_LOC, Document(TEXT, GOLD), [answer])
    assert (read.strict, read.repaired) == (Counts(*strict), Counts(*repaired))
    assert (read.paper is None) == (name not in PAPER_RULES)


@formats
@given(document=documents(), answer=pieces)
@settings(max_examples=60, deadline=None)
def test_what_is_said_is_there(form: Format, document: Document, answer: str) -> None:
    """Strictly, an entity is where the text has it and the repaired reading finds it, too; but for grouped JSON, where
    a mention that was found elsewhere moves those listed behind it. Of a legal answer both readings are the same."""
    sayable, _ = form.encodable_part(document)
    legal = form.encode(sayable, LABELS)
    said = form.decode_strictly(document.text, legal, LABELS)
    assert (set(said.entities), said.wrong) == (set(sayable.entities), {})
    said, found = (read(document.text, answer + legal, LABELS) for read in (form.decode_strictly, form.decode))
    Document(document.text, said.entities)  # raises if one is outside the text
    assert len(set(said.entities)) == len(said.entities)
    if form.name != "grouped_json":
        assert {e for e in said.entities if e.label in LABELS} <= set(found.entities)


@pytest.mark.parametrize("name", ["inline_xml", "gpt_ner"])
def test_readings_of_chunks(name: str) -> None:
    form, text = FORMATS[name], "Ann left. Bo saw Oslo."
    gold = Document(text, (Entity(0, 3, "PER"), Entity(10, 12, "PER"), Entity(17, 21, "LOC")))
    chunks = [(0, 9), (10, 22)]
    inside = [Document(text[s:e], tuple(x.shifted(-s) for x in gold.entities if s <= x.start < e)) for s, e in chunks]
    answers = [form.encode(piece, PER_LOC) for piece in inside]
    assert read_answers(form, PER_LOC, gold, answers, chunks).strict == Counts(3, 0, 0)
    if form.prompt_per_label:  # each chunk asked for each label in turn
        answers = [line for answer in answers for line in answer.split("\n")]
        chunks = [chunk for chunk in chunks for _ in PER_LOC]
        assert read_answers(form, PER_LOC, gold, answers, chunks).repaired == Counts(3, 0, 0)
    with pytest.raises(UsageError, match="give the chunk of each answer"):
        read_answers(form, PER_LOC, gold, answers[:-1], chunks)


@pytest.mark.parametrize("known", [True, False], ids=["prompt", "no prompt"])
@pytest.mark.parametrize("name", PAPER_RULES)
def test_generations_with_reasoning(tmp_path, name: str, known: bool) -> None:  # type: ignore[no-untyped-def]
    form = FORMATS[name]
    answer, draft = (form.encode(form.encodable_part(Document(TEXT, some))[0], PER_LOC) for some in (GOLD, WRONG))
    record = {"predict": f"<think>{draft} or <b>so</b>?</think>\n{answer}", "label": f"<think>\n\n</think>\n\n{answer}"}
    if known:
        record["prompt"] = f"user\nLabels: PER, LOC\nText:\n{TEXT}\nassistant\n<think>\n"
    path = tmp_path / "g.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    report = score_generations(path, name, "strict")
    assert {report.readings[name].counts for name in ("strict", "repaired")} == {Counts(3, 0, 0)}
    assert report.labels == ("LOC", "PER")


@pytest.mark.parametrize("digits", [30, 5000])
@pytest.mark.parametrize("name", ["occurrence_json", "offset_json"])
def test_a_number_of_thousands_of_digits_is_a_wrong_place_and_no_broken_json(name: str, digits: int) -> None:
    form, big = FORMATS[name], "9" * digits
    place = {"occurrence_json": '"occurrence_index": ', "offset_json": '"start": 0, "end": '}[name]
    answer = f'[{{"text": "Ann", "label": "PER", {place}{big}}}]'
    found = form.decode(TEXT, answer, PER_LOC)
    assert found.entities == GOLD[:1]
    assert not any("not JSON" in p.detail for p in found.problems)
    assert form.decode_strictly(TEXT, answer, PER_LOC).wrong == {"PER": 1}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("grouped_json", '{"LOC": ["Oslo"], "PER": ["Ann", "Bo"]}'),
        ("inline_bracketed", "[Ann|PER] met [Bo | PER] in [Oslo | LOC]."),
    ],
)
def test_a_published_spelling_is_named_by_where_it_differs(name: str, answer: str) -> None:
    form = FORMATS[name]
    found = form.decode(TEXT, answer, PER_LOC)
    assert found.entities == GOLD
    (problem,) = found.problems
    legal = form.encode(Document(TEXT, GOLD), PER_LOC)
    at = next(i for i, (one, two) in enumerate(zip(answer, legal, strict=False)) if one != two)
    assert repr(answer[max(0, at - 10) : at + 30]) in problem.detail
    assert repr(legal[max(0, at - 10) : at + 30]) in problem.detail
