"""The law of a format (see `genner.formats.base`), tested for every format alike."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.strategies import LABELS, PIECES, documents, texts

from genner.boundaries import Boundaries, boundaries, first_ends
from genner.document import Document, Entity, LabelSet
from genner.errors import FormatError
from genner.formats import FORMATS, Format
from genner.formats.inline import InlineFormat
from genner.formats.json_list import JsonList
from genner.grammar import Constraints, accepts

formats = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())


@formats
@given(document=documents())
@settings(max_examples=300, deadline=None)
def test_round_trip(form: Format, document: Document) -> None:
    sayable, _ = form.encodable_part(document)
    back = form.decode(document.text, form.encode(sayable, LABELS), LABELS, document.id)
    assert (back.entities, back.problems) == (sayable.entities, ())


@formats
@given(document=documents())
@settings(max_examples=150, deadline=None)
def test_grammar_accepts_every_encoding(form: Format, document: Document) -> None:
    sayable, _ = form.encodable_part(document)
    answer = form.encode(sayable, LABELS).encode()
    grammar = form.grammar(document.text, LABELS)
    assert accepts(grammar, answer)
    written = grammar.read(answer)
    assert written is not None
    assert {Entity(w.start, w.end, w.label) for w in written} == set(sayable.entities)
    for w in written:  # each byte of an entity decides one thing
        assert all(0 <= d.begin < d.end <= len(answer) for d in w.decisions)
        assert {d.kind for d in w.decisions} <= set(form.decision_kinds.kinds)
        in_order = sorted(w.decisions, key=lambda d: d.begin)
        assert all(one.end <= other.begin for one, other in pairwise(in_order))


@formats
@given(document=documents())
@settings(max_examples=60, deadline=None)
def test_only_its_label_tells_an_entity_from_one_of_another_label(form: Format, document: Document) -> None:
    """What differs between the answers for the same entity under two labels are the bytes that decided its label."""
    encodable, _ = form.encodable_part(document)
    for entity in encodable.entities[:1]:
        answers = [
            form.encode(Document(document.text, (replace(entity, label=tag),)), LABELS).encode() for tag in LABELS.tags
        ]
        for answer, other in permutations(answers, 2):
            (written,) = form.grammar(document.text, LABELS).read(answer) or ()
            decided = [answer[d.begin : d.end] for d in written.decisions if d.kind == "label"]
            if form.independent_labels or "label" not in form.decision_kinds.kinds:
                assert not decided  # the label is said by the place of the copy or list
            else:
                assert sum(map(len, decided))
                same = next(i for i, (one, two) in enumerate(zip(answer, other, strict=False)) if one != two)
                first = min(d.begin for d in written.decisions if d.kind == "label")
                assert first <= same < max(d.end for d in written.decisions if d.kind == "label")


@pytest.mark.parametrize("form", [f for f in FORMATS.values() if isinstance(f, InlineFormat)], ids=lambda f: f.name)
@given(document=documents())
@settings(max_examples=60, deadline=None)
def test_an_answer_without_what_decided_an_entity_is_that_without_the_entity(form: Format, document: Document) -> None:
    encodable, _ = form.encodable_part(document)
    answer = form.encode(encodable, LABELS).encode()
    for written in form.grammar(document.text, LABELS).read(answer) or ():
        rest, at = b"", 0
        for begin, end in written.marks(form.decision_kinds):
            rest, at = rest + answer[at:begin], end
        left = tuple(e for e in encodable.entities if e != Entity(written.start, written.end, written.label))
        assert rest + answer[at:] == form.encode(Document(document.text, left), LABELS).encode()


@formats
@given(document=documents())
@settings(max_examples=150, deadline=None)
def test_word_grammar_accepts_what_lies_at_word_boundaries(form: Format, document: Document) -> None:
    sayable, _ = form.encodable_part(document, "word")
    assert accepts(form.grammar(document.text, LABELS, Constraints("word")), form.encode(sayable, LABELS).encode())


@formats
@given(document=documents())
@settings(max_examples=150, deadline=None)
def test_a_grammar_without_twins_accepts_all_but_second_labels(form: Format, document: Document) -> None:
    sayable, _ = form.encodable_part(document)
    single = len({e.span for e in sayable.entities}) == len(sayable.entities)
    single_label = Constraints(same_span_labels=False)
    grammar = form.grammar(document.text, LABELS, single_label)
    legal = single or form.enforced(single_label).same_span_labels
    assert accepts(grammar, form.encode(sayable, LABELS).encode()) == legal


@formats
@given(
    text=texts, seed=st.integers(0, 10**6), where=st.sampled_from(["any", "word", "strict"]), twins=st.booleans(),
    depth=st.sampled_from([1, 3, None]), repeats=st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_every_legal_path_decodes_without_problems(form, text, seed, where, depth, twins, repeats) -> None:  # type: ignore[no-untyped-def]
    rng = random.Random(seed)
    constraints = Constraints(where, depth, same_span_labels=twins, allow_trailing_repeat=repeats)
    grammar, holds = form.grammar(text, LABELS, constraints), form.enforced(constraints)
    state, answer = grammar.start(), bytearray()
    while not (grammar.final(state) and (rng.random() < 0.5 or not grammar.edges(state))):
        edges = grammar.edges(state)
        assert edges, f"dead end after {bytes(answer)!r}"
        assert len({b for b, _ in edges}) == len(edges)
        # After many random steps, follow the draft instead: it has to be legal, and comes to an end.
        drafted = grammar.draft(state, 10**6)[:1] if len(answer) > 300 else b""
        byte, state = (drafted[0], dict(edges)[drafted[0]]) if drafted else rng.choice(edges)
        answer.append(byte)
    prediction = form.decode(text, answer.decode(), LABELS)
    assert prediction.problems == ()
    written = grammar.read(bytes(answer))
    assert written is not None
    assert Counter((w.start, w.end, w.label) for w in written) == Counter(
        (e.start, e.end, e.label) for e in prediction.entities
    )
    starts, ends = boundaries(text, holds.boundaries, form.forbidden_start_chars)
    first = first_ends(text, holds.boundaries, ends)
    assert all(starts[e.start] and ends[e.end] and first[e.start] <= e.end for e in prediction.entities)
    spans = [e.span for e in prediction.entities]
    assert holds.same_span_labels or len(set(spans)) == len(spans)
    assert holds.depth is None or all(
        sum(e.start <= place < e.end for e in prediction.entities if e.label == label or not form.independent_labels)
        <= holds.depth
        for label in LABELS.tags
        for place in range(len(text))
    )


@formats
@given(text=texts, answer=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=15).map("".join))
@settings(max_examples=300, deadline=None)
def test_decode_takes_any_string(form: Format, text: str, answer: str) -> None:
    prediction = form.decode(text, answer, LABELS)
    assert prediction.text == text
    assert all(e.label in LABELS for e in prediction.entities)
    legal = (
        form.grammar(text, LABELS, Constraints(allow_trailing_repeat=True)).read(answer.encode("utf-8", "replace"))
        is not None
    )
    assert prediction.invalid != legal
    said = form.decode_strictly(text, answer, LABELS)
    Document(text, said.entities)  # raises if one is not in the text
    assert all(n > 0 for n in said.wrong.values())


@pytest.mark.parametrize("form", [f for f in FORMATS.values() if isinstance(f, JsonList)], ids=lambda f: f.name)
@given(document=documents(crossing=True), seed=st.integers(0, 10**6), where=st.sampled_from(["any", "word", "strict"]))
@settings(max_examples=100, deadline=None)
def test_a_list_may_end_in_what_it_has(form: Format, document: Document, seed: int, where: Boundaries) -> None:
    """The repetition is legal where asked for, ends the list, and is read as nothing."""
    document, _ = form.encodable_part(
        replace(document, text=document.text + " zz"), where
    )  # so that something could follow
    items = json.loads(form.encode(document, LABELS))
    assume(items)
    answer = json.dumps([*items, random.Random(seed).choice(items)], ensure_ascii=False).encode()
    lax = form.grammar(document.text, LABELS, Constraints(where, allow_trailing_repeat=True))
    assert not accepts(form.grammar(document.text, LABELS, Constraints(where)), answer)
    assert len(lax.read(answer) or ()) == len(items)
    assert form.decode(document.text, answer.decode(), LABELS).entities == document.entities
    assert not accepts(lax, answer[:-1] + b", " + answer[1:])


def test_a_group_may_end_in_what_it_has() -> None:
    form, labels, text = FORMATS["grouped_json"], LabelSet.of("PER", "LOC"), "Ann saw Bob in Rome."
    lax = form.grammar(text, labels, Constraints("word", allow_trailing_repeat=True))
    answer = b'{"PER": ["Ann", "Bob", "Ann"], "LOC": ["Rome"]}'
    assert [(w.start, w.label) for w in lax.read(answer) or ()] == [(0, "PER"), (8, "PER"), (15, "LOC")]
    assert form.decode(text, answer.decode(), labels).problems == ()
    assert not accepts(form.grammar(text, labels, Constraints("word")), answer)
    assert not accepts(lax, b'{"PER": ["Ann", "Bob", "Ann", "Bob"], "LOC": []}')


def test_a_group_may_have_what_another_has() -> None:
    form, labels = FORMATS["grouped_json"], LabelSet.of("PER", "LOC")
    grammar = form.grammar(
        "Ann saw Bob in Rome.", labels, Constraints("word", same_span_labels=False, allow_trailing_repeat=True)
    )
    read = grammar.read(b'{"PER": ["Ann"], "LOC": ["Ann", "Rome"]}') or ()
    assert [(w.start, w.label) for w in read] == [(0, "PER"), (0, "LOC"), (15, "LOC")]


@pytest.mark.parametrize(
    ("name", "text", "only"),
    [
        ("inline_bracketed", "[The role of NF-kappa B]", b"\\"),
        ("inline_xml", "<PER>Ann", b"<"),
        ("compact", "<b>Ann", b"<"),
        ("gpt_ner", "@@ann met @bob", b"\\"),
    ],
)
def test_no_entity_starts_at_what_the_markup_starts_with(name: str, text: str, only: bytes) -> None:
    """Two ways on at the mark itself, copying it and opening an entity: `strict` leaves the first."""
    form, labels = FORMATS[name], LabelSet.of("PER")
    strict, word = form.grammar(text, labels, Constraints("strict")), form.grammar(text, labels, Constraints("word"))
    whole = Entity(0, len(text), "PER")
    answer = form.encode(Document(text, (whole,)), labels).encode()
    assert accepts(word, answer)
    assert not accepts(strict, answer)
    assert [byte for byte, _ in strict.edges(strict.start())] == list(only)
    word_of = re.search(r"\w+\W*$", text)
    assert word_of
    document = Document(text, (whole, Entity(word_of.start(), len(text), "PER")))
    assert form.encodable_part(document, "strict") == (Document(text, document.entities[1:]), (whole,))
    assert form.encodable_part(document, "word")[0] == document


def test_a_single_mark_of_gpt_ner_may_start_an_entity() -> None:
    form, document = FORMATS["gpt_ner"], Document("@ann met #bob", (Entity(0, 4, "PER"), Entity(9, 13, "PER")))
    assert form.encodable_part(document, "strict") == (document, ())


@formats
@pytest.mark.parametrize("text", ["- a", "<> <", "...", "a -- b", "( % )", "5 °C, 3 €; $", "* x *"])
def test_no_entity_is_punctuation_alone(form: Format, text: str) -> None:
    starts, ends = boundaries(text, "word")
    pairs = [(s, e) for s in range(len(text)) for e in range(s + 1, len(text) + 1) if starts[s] and ends[e]]
    for start, end in pairs:
        document = Document(text, (Entity(start, end, "PER"),))
        named = any(c.isalnum() or c in "%°€$" for c in text[start:end])
        sealed = any(text.startswith(mark, start) for mark in form.forbidden_start_chars)
        sayable, _ = form.encodable_part(document)
        if sayable.entities:
            answer = form.encode(sayable, LABELS).encode()
            assert accepts(form.grammar(text, LABELS, Constraints("strict")), answer) == (named and not sealed)
        assert bool(form.encodable_part(document, "strict")[0].entities) == (
            named and not sealed and sayable == document
        )


@formats
@given(document=documents(), cut=st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_a_truncated_answer_is_never_silent(form: Format, document: Document, cut: int) -> None:
    sayable, _ = form.encodable_part(document)
    answer = form.encode(sayable, LABELS)
    short = answer[: max(0, len(answer) - 1 - cut)]
    if short != answer:
        prediction = form.decode(document.text, short, LABELS)
        assert (
            prediction.problems
            or form.grammar(document.text, LABELS, Constraints(allow_trailing_repeat=True)).read(short.encode())
            is not None
        )


@formats
@given(document=documents(crossing=True))
@settings(max_examples=100, deadline=None)
def test_what_cannot_be_said_is_declared(form: Format, document: Document) -> None:
    sayable, left_out = form.encodable_part(document)
    assert set(sayable.entities) | set(left_out) == set(document.entities)
    assert form.decode(document.text, form.encode(sayable, LABELS), LABELS).entities == sayable.entities
    if left_out:
        with pytest.raises(FormatError, match="cannot be written"):
            form.encode(document, LABELS)


@formats
def test_example(form: Format) -> None:
    labels = LabelSet.of("PER", "LOC")
    document = Document("John Smith reported from New York.", (Entity(0, 10, "PER"), Entity(25, 33, "LOC")))
    assert form.encode(document, labels) == form.example


@formats
def test_unknown_label_is_refused(form: Format) -> None:
    with pytest.raises(FormatError, match="legal: PER, LOC"):
        form.encode(Document("a", (Entity(0, 1, "ORG"),)), LabelSet.of("PER", "LOC"))


@pytest.mark.parametrize(
    ("name", "answer", "entities", "kinds"),
    [
        ("inline_xml", "<PER>Ann Lee</PER> left Rome", [(0, 7, "PER")], {"invalid", "truncated"}),  # the end is lost
        ("inline_xml", "Sure! <PER>Ann  Lee</PER> left Rome.", [(0, 7, "PER")], {"invalid", "realigned"}),
        ("inline_xml", "<PER>Ann Lee left <LOC>Rome</LOC>.", [(13, 17, "LOC")], {"invalid", "malformed"}),
        ("inline_xml", "<ORG>Ann Lee</ORG> left <LOC>Rome</LOC>.", [(13, 17, "LOC")], {"invalid", "dropped"}),
        ("inline_xml", "Ann Lee left <LOC>Paris</LOC>.", [], {"invalid", "dropped"}),
        ("inline_xml", "<PER><PER>Ann Lee</PER></PER> left Rome.", [(0, 7, "PER")], {"invalid", "duplicate"}),
        ("inline_bracketed", "[Ann Lee|PER] left [Rome | LOC].", [(0, 7, "PER"), (13, 17, "LOC")], {"invalid"}),
        ("inline_bracketed", "[Ann Lee left [Rome | LOC].", [(13, 17, "LOC")], {"invalid", "realigned"}),
        ("inline_bracketed", "[Ann Lee | ORG] left Rome.", [], {"invalid", "dropped"}),
        ("compact", "<1>Ann Lee left <2>Rome</>.", [(13, 17, "LOC")], {"invalid", "malformed"}),
        ("compact", "<1>Ann Lee</> left <3>Rome</>.", [(0, 7, "PER")], {"invalid", "dropped"}),
        (
            "gpt_ner",
            "@@Ann Lee## left Rome.\nAnn left @@Rome##.",
            [(0, 7, "PER"), (13, 17, "LOC")],
            {"invalid", "realigned"},
        ),
        ("gpt_ner", "@@Ann Lee## left Rome.", [(0, 7, "PER")], {"invalid", "truncated"}),
        ("grouped_json", '{"PER": ["Ann Lee"], "LOC": ["Rome"]', [(0, 7, "PER"), (13, 17, "LOC")], {"truncated"}),
        (
            "grouped_json",
            '{"LOC": ["Rome"], "PER": ["Ann  lee"], "ORG": ["left"]}',
            [(0, 7, "PER"), (13, 17, "LOC")],
            {"invalid", "realigned", "dropped"},
        ),
        (
            "occurrence_json",
            '```json\n[{"text": "Rome", "label": "LOC", "occurrence_index": 1}]\n```',
            [(13, 17, "LOC")],
            {"invalid"},
        ),
        (
            "occurrence_json",
            '[{"text": "Rome", "label": "LOC", "occurrence_index": 9}, {"text": "e", "label": "LOC", '
            '"occurrence_index": 1}]',
            [(13, 17, "LOC")],
            {"invalid", "realigned", "dropped"},
        ),
        (
            "offset_json",
            '[{"text": "Ann Lee", "label": "PER", "start": 3, "end": 9}, {"text": "Rome", "la',
            [(0, 7, "PER")],
            {"truncated", "realigned"},
        ),
        (
            "offset_json",
            '[{"text": "Ann Lee", "label": "PER", "start": 0, "end": 7}, {"text": 3}, {"text": "Bonn", '
            '"label": "LOC", "start": 1, "end": 5}]',
            [(0, 7, "PER")],
            {"invalid", "malformed", "dropped"},
        ),
    ],
)
def test_repairs(name: str, answer: str, entities: list[tuple[int, int, str]], kinds: set[str]) -> None:
    prediction = FORMATS[name].decode("Ann Lee left Rome.", answer, LabelSet.of("PER", "LOC"))
    assert [(e.start, e.end, e.label) for e in prediction.entities] == entities
    assert {p.kind for p in prediction.problems} == kinds
