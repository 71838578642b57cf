"""The pipeline, on an engine without weights wherever weights do not matter."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count, islice
from math import exp, log, prod
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genner.boundaries import worded
from genner.calibration import IDENTITY
from genner.chunks import chunks
from genner.data.describe import nesting
from genner.decoding_constraints import DEFAULT_DEPTH, decoding_constraints
from genner.document import Document, Entity, Label, LabelSet, Prediction
from genner.engines.base import Answered, Generation, Request
from genner.engines.scripted import ScriptedEngine
from genner.engines.transformers_engine import LocalEngine
from genner.errors import LabelError, UsageError
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.grammar import Constraints, GrammarEntity, decisions_of
from genner.labels import label_set
from genner.model_source import ModelSource
from genner.prompts import instruction
from genner.request_stream import MAX_CHUNK_CHARS
from genner.training.dev import ANSWER_RATES
from tests import tiny
from tests.strategies import texts
from tests.unsure import Unsure

LABELS = LabelSet.of("PER", "LOC")
XML = FORMATS["inline_xml"]
NAMES = {"Ann": "PER", "Bob Lee": "PER", "Rome": "LOC"}
NAME = re.compile(r"\b(?:Ann|Bob Lee|Rome)\b")

forms = pytest.mark.parametrize("form", FORMATS)
blanks = st.sampled_from(["", " ", "\n\n", "\u3000\t"])
sentences = st.sampled_from(
    ["Ann saw Bob Lee.", "Is Rome far?", "Nobody left!", "Rome", "🙂 Dr. Ann, e\u0301 <PER> [Ann | PER]."]
)
stories = st.lists(st.tuples(sentences, st.sampled_from([" ", "\n", "\n\n"])).map("".join), max_size=6).map("".join)


def named(text: str) -> tuple[Entity, ...]:
    """What the scripted model finds."""
    return tuple(Entity(*m.span(), NAMES[m.group()]) for m in NAME.finditer(text))


def scripted(form: str = "inline_xml", window: int | None = None, **options: bool) -> Extractor:
    """An extractor whose model knows three names."""

    def answer(request: Request) -> str:
        asked = LABELS.subset(
            tag for tag in LABELS.tags if re.search(rf"^(?:-|\d\.) {tag}$", request.instruction, re.M)
        )
        found = tuple(e for e in named(request.text) if e.label in asked)
        return FORMATS[form].encode(Document(request.text, found), asked)

    return Extractor(
        ScriptedEngine(answer, window),
        FORMATS[form],
        LABELS,
        **options,
    )


def saying(script: Callable[[Request], str | None], **options: bool) -> Extractor:
    return Extractor(ScriptedEngine(script), XML, LABELS, **options)


def random_model(form: str = "inline_xml", kind: str = "bytes") -> Extractor:
    engine = LocalEngine(tiny.model("llama"), tiny.tokenizer(kind))
    return Extractor(engine, FORMATS[form], LABELS)


def kinds(prediction: Prediction) -> list[str]:
    return [problem.kind for problem in prediction.problems]


# -- offsets


@forms
@given(text=st.one_of(texts, stories))
@settings(max_examples=150, deadline=None)
def test_entities_of_chunks_lie_where_they_lie_in_the_text(form: str, text: str) -> None:
    prediction = scripted(form).extract(text)
    assert prediction.text == text
    assert prediction.problems == ()
    pieces = list(chunks(text, lambda _: True, MAX_CHUNK_CHARS))
    alone = [(c.start, scripted(form).extract(text[c.start : c.end])) for c in pieces]
    assert prediction.entities == tuple(e.shifted(start) for start, found in alone for e in found.entities)
    assert {prediction.mention(e) for e in prediction.entities} <= set(NAMES)


@forms
@given(text=stories, split=st.booleans())
@settings(deadline=None)
def test_sentences_are_stitched(form: str, text: str, split: bool) -> None:
    prediction = scripted(form, split=split).extract(text)
    assert prediction.entities == named(text)
    assert all(e.score == 1.0 for e in prediction.entities)


def test_nested_entities() -> None:
    prediction = saying(lambda r: "The <PER>King of <LOC>Rome</LOC></PER>.").extract("  The King of Rome.\n")
    assert prediction.entities == (Entity(6, 18, "PER"), Entity(14, 18, "LOC"))


@pytest.mark.parametrize("window", [None, 400])
def test_thousands_of_chunks(window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Ann saw Bob Lee. Rome is far!\n" * 3000
    extractor, measured = scripted(window=window), 0
    measure = extractor.engine.measure

    def counting(asked: str, piece: str) -> int:
        nonlocal measured
        measured += 1
        return measure(asked, piece)

    monkeypatch.setattr(extractor.engine, "measure", counting)
    prediction = extractor.extract(text)
    assert prediction.entities == named(text)
    assert prediction.problems == ()
    assert measured <= (6002 if window else 0)  # each sentence once, the instruction, and nothing at all


# -- streams


@forms
@given(some=st.lists(st.one_of(blanks, texts, stories), max_size=8), documents=st.booleans(), split=st.booleans())
@settings(max_examples=100, deadline=None)
def test_documents_come_in_order_and_keep_their_ids(form: str, some: list[str], documents: bool, split: bool) -> None:
    given_ = [Document(text, (), f"d{i}") for i, text in enumerate(some)] if documents else some
    found = list(scripted(form, split=split).pipe(given_))
    assert [p.text for p in found] == some
    assert [p.id for p in found] == [f"d{i}" if documents else "" for i in range(len(some))]
    assert found == [replace(scripted(form, split=split).extract(p.text), id=p.id) for p in found]


def test_the_entities_of_a_document_are_not_looked_at() -> None:
    gold = Document("Ann left.", (Entity(4, 8, "LOC"),), "d")
    assert next(scripted().pipe([gold])).entities == (Entity(0, 3, "PER"),)


def test_a_prediction_carries_what_else_the_record_of_its_document_says() -> None:
    record: dict[str, Any] = {"id": 7, "text": "Ann left.", "entities": [], "source": "wire"}
    (found,) = scripted().pipe([Document.from_dict(record)])
    (entity,) = found.to_dict()["entities"]
    assert found.to_dict() == {**record, "entities": [entity], "problems": [], "uncalibrated_scores": True}


def test_a_stream_need_not_end() -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for taken in count(1):
            yield f"Ann is number {taken}. " * (taken % 4)

    for n, prediction in enumerate(islice(scripted().pipe(endless()), 500), 1):
        assert prediction.text == f"Ann is number {n}. " * (n % 4)
        assert taken <= n + 2


@pytest.mark.parametrize("size", [1, 3])
def test_a_model_reads_a_bounded_number_ahead(size: int) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for taken in count(1):
            yield f"a{taken}" * (taken % 3)

    found = random_model().pipe(endless(), batch_size=size)
    assert [p.text for p in islice(found, 7)] == [f"a{n}" * (n % 3) for n in range(1, 8)]
    assert taken <= 100


# -- answers that are not legal


def test_invalid_answers_are_repaired_and_counted() -> None:
    def script(request: Request) -> str:
        answer = XML.encode(Document(request.text, named(request.text)), LABELS)
        return answer.replace("saw", "sees") if "saw" in request.text else answer

    text = "Rome is far. Ann saw Rome. Ann left. Bob Lee saw Ann."
    prediction = saying(script, constrained=False).extract(text)
    assert prediction.entities == named(text)
    assert kinds(prediction).count("invalid") == 2
    assert prediction.invalid
    assert set(kinds(prediction)) <= {"invalid", "realigned"}
    assert [e.score for e in prediction.entities] == [1.0, None, None, 1.0, None, None]


@given(text=stories, answer=texts)
@settings(deadline=None)
def test_any_answer_will_do(text: str, answer: str) -> None:
    prediction = saying(lambda r: answer, constrained=False).extract(text)
    pieces = [text[c.start : c.end] for c in chunks(text, lambda _: True, MAX_CHUNK_CHARS)]
    assert prediction.text == text
    legal = [XML.grammar(piece, LABELS).read(answer.encode()) is not None for piece in pieces]
    assert prediction.invalid == (not all(legal))


def test_entities_that_are_not_in_the_text_are_dropped() -> None:
    prediction = saying(lambda r: "<PER>Zoe</PER> and <PER>Ann</PER> left.").extract("Ann left.")
    assert prediction.entities == (Entity(0, 3, "PER"),)
    assert kinds(prediction).count("dropped") == 1


def test_an_answer_that_ran_out_of_tokens_is_reported() -> None:
    class Short(ScriptedEngine):
        def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
            for request, made in super().generate(requests, batch_size=batch_size):
                yield request, replace(made, complete=b"Rome" not in made.answer)

    prediction = Extractor(Short(), XML, LABELS).extract("Ann left. Rome is far.")
    assert kinds(prediction) == ["truncated"]
    assert "[10, 22)" in prediction.problems[0].detail
    assert prediction.invalid


def test_a_model_that_runs_out_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.engines.decoding.budget", lambda *_: 3)
    prediction = random_model().extract("one two three four five")
    assert kinds(prediction) == ["truncated"]
    assert prediction.text == "one two three four five"


# -- what decoding allows


def opening(request: Request) -> str | None:
    """A model that marks all that it may, as early, as often and as late to end as it may."""
    grammar, answer = request.grammar, bytearray()
    state = grammar.start()
    while not grammar.final(state):
        edges = dict(grammar.edges(state))
        marks = [byte for byte in (*b"<[@{", *b",") if byte in edges and len(edges) > 1]
        copied = grammar.draft(state, 1)[0]
        byte = marks[0] if marks else next((b for b in edges if b not in b"</ |#]}" and b != copied), copied)
        answer.append(byte)
        state = edges[byte]
    return answer.decode()


@forms
@pytest.mark.parametrize(("labels", "nested", "deepest"), [
    (label_set("core"), None, 1), (label_set("core").subset(["PER", "LOC"]), None, 1), (label_set("genia"), None, 4),
    (label_set("genia"), False, 1), (label_set("genia"), True, 4), (label_set("core"), True, DEFAULT_DEPTH),
    (LabelSet.of("mine", "yours"), None, DEFAULT_DEPTH), (LabelSet.of("mine", "yours"), False, 1),
    (LabelSet.of("mine", "yours"), True, DEFAULT_DEPTH), (LabelSet((Label("mine"),), depth=2), None, 2),
])  # fmt: skip
def test_no_answer_nests_deeper_than_its_labels_do(
    form: str, labels: LabelSet, nested: bool | None, deepest: int
) -> None:
    text = "one two three four five six seven eight nine ten"
    found = Extractor(ScriptedEngine(opening), FORMATS[form], labels, nested=nested).extract(text)
    assert found.entities
    assert nesting(found.entities)[2] <= deepest
    assert not found.invalid


def test_an_adapter_of_a_shipped_label_set_nests_as_that_does() -> None:
    """The shipped one was trained before adapters said it."""
    adapter = ModelSource.find("bio")
    assert adapter
    assert adapter.labels
    assert adapter.labels.depth == label_set("genia").depth == 4


def test_labels_that_are_asked_for_one_by_one_share_a_flat_text() -> None:
    form = FORMATS["gpt_ner"]

    class Scored(ScriptedEngine):
        def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
            answers = iter([("@@Ann Lee## left.", 0.5), ("@@Ann## @@Lee## left.", 0.6)])
            for request in requests:
                said, probability = next(answers)
                yield request, Generation(said.encode(), (len(said),), (log(probability),))

    labels = LabelSet(LABELS.labels, depth=1)
    flat = Extractor(Scored(), form, labels).extract("Ann Lee left.")
    assert flat.entities == (Entity(0, 3, "LOC"), Entity(4, 7, "LOC"))
    assert kinds(flat) == ["overlap"]
    assert "PER at [0, 7)" in flat.problems[0].detail
    assert not ANSWER_RATES["hallucinated"](flat)  # it was said, and is in the text
    assert len(Extractor(Scored(), form, labels, nested=True).extract("Ann Lee left.").entities) == 3


def test_what_decoding_allows_is_in_the_signature_where_it_is_not_the_usual() -> None:
    plain = saying(lambda r: None).signature
    assert {"nesting", "symbols"}.isdisjoint(plain)
    assert saying(lambda r: None, nested=False, symbols=True).signature == plain | {
        "nesting": "flat",
        "symbols": "allowed",
    }


@given(text=texts)
@settings(max_examples=25, deadline=None)
def test_markup_of_a_text_is_no_entity_unless_it_is_allowed(text: str) -> None:
    """A model that marks whatever it may."""
    text = f"<b {text} <"
    strict = saying(opening).extract(text)
    assert not any(strict.mention(e).startswith("<") for e in strict.entities)
    assert all(any(map(worded, strict.mention(e))) for e in strict.entities)
    answer = XML.encode(Document(text, (Entity(0, 2, "PER"),)), LABELS).encode()
    assert XML.grammar(text, LABELS, decoding_constraints(LABELS)).read(answer) is None
    assert XML.grammar(text, LABELS, decoding_constraints(LABELS, symbols=True)).read(answer) is not None


# -- what is too long


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("window", [None, 300])
def test_a_sentence_that_is_too_long_is_cut_and_nothing_lost(split: bool, window: int | None) -> None:
    text = "Ann, Rome, " * 300
    extractor = scripted(window=window, split=split)
    prediction = extractor.extract(text)
    assert prediction.entities == named(text)
    assert prediction.problems
    assert set(kinds(prediction)) == {"split"}
    assert not prediction.invalid


@given(text=texts, room=st.integers(0, 300))
@settings(deadline=None)
def test_every_request_leaves_room_for_its_answer(text: str, room: int) -> None:
    asked = instruction(LABELS, XML)
    seen: list[str] = []
    window = 2 * len(asked) + room
    engine = ScriptedEngine(lambda r: seen.append(r.text), window)  # type: ignore[func-returns-value]
    assert Extractor(engine, XML, LABELS, symbols=True).extract(text).text == text  # tags are asked about, too
    assert all(len(piece) == 1 or len(asked) + 4 * len(piece) + 64 <= window for piece in seen)
    assert "".join("".join(seen).split()) == "".join(text.split())


def test_an_instruction_that_fills_the_window_is_refused() -> None:
    with pytest.raises(UsageError, match="of the model's 100 tokens; ask for fewer labels"):
        scripted(window=100).extract("Ann left.")


# -- labels


def test_labels_can_be_given_in_three_ways() -> None:
    asked: list[str] = []
    extractor = saying(lambda r: asked.append(r.instruction))  # type: ignore[func-returns-value]
    for labels in (None, "core", "PER,gene", ["PER", "gene"], LabelSet.of("x")):
        extractor.extract("Ann", labels)
    assert asked[:2] == [instruction(LABELS, XML), instruction(label_set("core"), XML)]
    assert asked[2] == asked[3]
    assert "- gene" in asked[2]
    assert asked[4] == instruction(LabelSet.of("x"), XML)


@pytest.mark.parametrize("labels", ["", "<b>", "PER,PER", ["a|b"], []])
def test_illegal_labels_are_refused(labels: str | list[str]) -> None:
    with pytest.raises(LabelError):
        scripted().extract("Ann left.", labels)


# -- scores


@forms
@given(some=st.lists(stories, min_size=1, max_size=2))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_scores_are_probabilities(form: str, some: list[str]) -> None:
    for text, prediction in zip(some, random_model(form).pipe(some), strict=True):
        assert prediction.text == text
        assert set(kinds(prediction)) <= ({"overlap"} if FORMATS[form].independent_labels else set())
        assert all(e.score is not None and 0.0 <= e.score <= 1.0 for e in prediction.entities)


def score(written: GrammarEntity, made: Generation) -> float | None:
    return IDENTITY.score(written, made, LABELS, XML.decision_kinds)


def test_a_score_is_the_probability_of_the_tokens_that_write_the_tags() -> None:
    # One token a line; those that touch a tag count, whether they hold more than the tag or not.
    tokens = [
        ("<PER", 0.5),
        (">A", 0.8),
        ("nn", 0.1),
        ("</", 0.9),
        ("PER", 1.0),
        ("> is", 0.7),
        (" here", 0.2),
        ("", 0.3),
    ]
    ends = [len("".join(t for t, _ in tokens[: i + 1])) for i in range(len(tokens))]
    answer = "".join(t for t, _ in tokens).encode()
    made = Generation(answer, tuple(ends), tuple(log(p) for _, p in tokens))
    (written,) = XML.grammar("Ann is here", LABELS).read(answer) or ()
    assert score(written, made) == pytest.approx(0.5 * 0.8 * 0.9 * 1.0 * 0.7)
    assert score(written, Generation(answer)) is None


def test_a_certain_entity_scores_one() -> None:
    entity = GrammarEntity(0, 1, "PER", decisions_of(("open", 0, 3)))
    assert score(entity, Generation(b"abc", (3,), (1e-9,))) == 1.0


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_scores_of_a_model_by_hand(kind: str) -> None:
    """Tags found by a regular expression, matched by a stack; probabilities multiplied token by token."""
    extractor, text = random_model(kind=kind), "John Smith reported from New York"
    grammar = XML.grammar(text, LABELS, Constraints("word", 8, same_span_labels=False))
    request = Request(instruction(LABELS, XML), text, grammar)
    ((_, made),) = extractor.engine.generate([request])
    begins = [0, *made.ends[:-1]]

    def tokens(tag: re.Match[bytes]) -> set[int]:
        return {i for i, (b, e) in enumerate(zip(begins, made.ends, strict=True)) if b < tag.end() and tag.start() < e}

    by_hand, stack = [], []
    for tag in re.finditer(rb"<(/?)(?:PER|LOC)>", made.answer):
        if tag[1]:
            by_hand.append(prod(exp(made.logprobs[i]) for i in tokens(stack.pop()) | tokens(tag)))
        else:
            stack.append(tag)
    assert by_hand
    assert sorted(e.score or 0.0 for e in extractor.extract(text).entities) == pytest.approx(sorted(by_hand), rel=1e-3)


def test_predict_entities() -> None:
    found = scripted().predict_entities("Ann left Rome.")
    assert found == [
        {"start": 0, "end": 3, "label": "PER", "text": "Ann", "score": 1.0},
        {"start": 9, "end": 13, "label": "LOC", "text": "Rome", "score": 1.0},
    ]
    extractor = random_model()
    text = "John Smith reported from New York. The Rhine is in Köln."
    every = extractor.predict_entities(text)
    middle = sorted(e["score"] for e in every)[len(every) // 2]
    assert extractor.predict_entities(text, threshold=middle) == [e for e in every if e["score"] >= middle]
    assert extractor.predict_entities(text, "PER") == extractor.predict_entities(text, ["PER"])


def test_the_signature_names_format_and_decoding() -> None:
    assert scripted().signature == {"format": "inline_xml", "decoding": "greedy-grammar", "scores": "uncalibrated"}
    free = Extractor(ScriptedEngine(), XML, LABELS, constrained=False, signature={"model": "m"})
    assert free.signature == {
        "format": "inline_xml",
        "decoding": "greedy-free",
        "model": "m",
        "scores": "uncalibrated",
    }


def test_an_extractor_is_replaced_not_changed() -> None:
    """`replace` changes the arguments that it names, and what is computed from them."""
    ner = Extractor(ScriptedEngine(), XML, LABELS, min_score=0.5, symbols=True, signature={"model": "m"})
    with pytest.raises(AttributeError, match=r"make another with replace\(split=\.\.\.\)"):
        ner.split = False
    with pytest.raises(UsageError, match=r"unknown argument 'widen'.*known: .*prompt_full_label_set"):
        ner.replace(widen=True)
    other = ner.replace(form=FORMATS["compact"], split=False)
    assert (other.engine, other.labels, other.min_score, other.symbols) == (ner.engine, LABELS, 0.5, True)
    assert (other.form.name, other.split, ner.split) == ("compact", False, True)
    assert other.signature == ner.signature | {"format": "compact"}
    assert ner.replace().signature == ner.signature


def test_requests_say_what_they_are_about() -> None:
    """Whoever listens gets each request of a document, of each chunk, with the labels that are asked for."""
    document, heard = Document("Ann left. Rome is far.", id="d"), list[tuple[Document, str, tuple[str, ...]]]()

    def listen(request: Request, generation: Generation) -> None:
        context = request.context
        assert request.text == document.text[context.chunk.start : context.chunk.end]
        heard.append((context.document, request.text, context.labels.tags))

    list(scripted("gpt_ner").pipe([document], on_generation=listen))
    texts_ = dict.fromkeys(text for _, text, _ in heard)
    assert "".join(texts_).replace(" ", "") == document.text.replace(" ", "")
    assert heard == [(document, text, (tag,)) for text in texts_ for tag in LABELS.tags]


def test_wanted_labels_are_asked_for_with_their_family() -> None:
    """`prompt_full_label_set`: the prompt names the whole shipped set, the result holds what was wanted."""
    asked: list[str] = []

    def script(request: Request) -> str:
        asked.append(request.instruction)
        return "<PER>Ann</PER> in <LOC>Rome</LOC>"

    form = FORMATS["inline_xml"]
    for whole in (True, False):
        extractor = Extractor(ScriptedEngine(script), form, label_set("core"), prompt_full_label_set=whole)
        found = extractor.extract("Ann in Rome", "LOC").entities
        assert [(e.start, e.end, e.label) for e in found] == [(7, 11, "LOC")]
    assert "- PER" in asked[0]
    assert "- PER" not in asked[1]


def test_min_score_leaves_out_what_scores_less() -> None:
    text = "Ann met Bob"
    for least, found in ((0.0, ["Ann", "Bob"]), (0.5, ["Ann", "Bob"]), (0.6, ["Ann"]), (0.9, [])):
        prediction = Extractor(Unsure(), FORMATS["inline_xml"], label_set("core"), min_score=least).extract(text)
        assert [prediction.mention(e) for e in prediction.entities] == found


def test_nothing_of_an_extractor_can_be_deleted() -> None:
    ner = Extractor(ScriptedEngine(), FORMATS["inline_xml"], LabelSet.of("PER"))
    for name in ("labels", "_is_made"):
        with pytest.raises(AttributeError, match="is not changed once it is made"):
            delattr(ner, name)
    with pytest.raises(AttributeError, match=r"make another with replace\(labels="):
        ner.labels = LabelSet.of("LOC")


def test_the_labels_of_an_extractor_may_be_given_as_those_of_a_call() -> None:
    ner = Extractor(ScriptedEngine(), FORMATS["inline_xml"], "PER,LOC")
    assert ner.labels.tags == ("PER", "LOC")
    assert ner.replace(labels=["ORG"]).labels.tags == ("ORG",)
    with pytest.raises(LabelError):
        ner.replace(labels=5)


@pytest.mark.parametrize("wrong", [{"nested": 5}, {"constrained": "no"}])
def test_an_argument_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(UsageError, match=f"{name} {value!r}; legal: True, False, None"):
        Extractor(ScriptedEngine(), XML, LABELS, **wrong)
