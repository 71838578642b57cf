"""Few-shot prompting and self-verification through an `Extractor`, on engines without weights."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.few_shot.made_up import POOL, HashEncoder, tagged

from genner.calibration import Calibration
from genner.document import Document, Entity, Label, LabelSet
from genner.engines.base import Capabilities, Generation, Request
from genner.engines.scripted import ScriptedEngine
from genner.errors import UnknownNameError, UsageError
from genner.extract import Extractor
from genner.few_shot import FewShot, SelfVerification
from genner.few_shot.verification import QuestionContext, verdict
from genner.formats import FORMATS
from genner.formats.choice import ChoiceGrammar, ChoiceGrammarSource
from genner.formats.grammar_source import grammar_source_from_json
from genner.grammar import accepts
from genner.pending import ChunkContext
from genner.prompts import instruction

LABELS = LabelSet((Label("PER", "person"), Label("LOC", "location", "a place")))
SENTENCE = "Ann saw Rome."
FOUND = (Entity(0, 3, "PER"), Entity(8, 12, "LOC"))


def is_question(request: Request) -> bool:
    return isinstance(request.context, QuestionContext)


def finding(form: str = "gpt_ner", denied: tuple[str, ...] = (), said: str = "Yes") -> ScriptedEngine:
    """Finds Ann and Rome, and denies these mentions when it is asked."""

    def script(request: Request) -> str:
        if is_question(request):
            return "No" if request.context.entity.text in denied else said
        asked = request.context.labels
        entities = tuple(
            Entity(*m.span(), tag)
            for tag, name in (("PER", "Ann"), ("LOC", "Rome"))
            for m in re.finditer(name, request.text)
            if tag in asked
        )
        return FORMATS[form].encode(Document(request.text, entities), asked)

    return ScriptedEngine(script)


def heard(ner: Extractor, *texts: str) -> list[Request]:
    requests: list[Request] = []
    list(ner.pipe(texts, on_generation=lambda request, _: requests.append(request)))
    return requests


def test_without_demonstrations_the_prompt_is_as_in_training() -> None:
    for form in FORMATS.values():
        for request in heard(Extractor(ScriptedEngine(), form, LABELS), SENTENCE):
            assert request.instruction == instruction(request.context.labels, form)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("wording", ["genner", "gpt_ner"])
@pytest.mark.parametrize("per_label", [True, False])
def test_every_format_in_every_wording(form: str, wording: str, per_label: bool) -> None:
    pool = FewShot([tagged("Ann left.", PER="Ann")])
    ner = Extractor(finding(form), FORMATS[form], LABELS, wording=wording, few_shot=pool, prompt_per_label=per_label)
    assert ner.extract(SENTENCE).entities == FOUND
    requests = heard(ner, SENTENCE)
    assert len(requests) == (2 if per_label else 1)
    for request in requests:
        asked = request.context.labels
        answer = FORMATS[form].encode(Document("Ann left.", FOUND[:1] if "PER" in asked else ()), asked)
        shown = {"genner": f"Text:\nAnn left.\nAnswer:\n{answer}\n", "gpt_ner": f"Input: Ann left.\nOutput: {answer}\n"}
        assert request.instruction.endswith(shown[wording] + {"genner": "Text:\n", "gpt_ner": "Input: "}[wording])


def test_the_papers_words() -> None:
    pool = FewShot(POOL[:1], shots=1)
    ner = Extractor(
        finding(), FORMATS["gpt_ner"], LABELS, wording="gpt_ner", few_shot=pool, verification=SelfVerification(pool)
    )
    requests = heard(ner, SENTENCE)
    assert requests[1].instruction + requests[1].text == (
        "I am an excellent linguist. The task is to label location (LOC) entities in the given sentence. LOC: a place. "
        "Copy the text with each entity as @@mention##.\nBelow are some examples.\n"
        "Input: Rome is far away.\nOutput: @@Rome## is far away.\nInput: Ann saw Rome."
    )
    assert requests[3].instruction + requests[3].text == (
        "I am an excellent linguist. The task is to verify whether the word is a location entity extracted from the "
        "given sentence. LOC: a place.\nThe given sentence: Rome is far away.\n"
        'Question: Is the word "Rome" in the given sentence a location entity? Please answer with yes or no.\nYes\n'
        "The given sentence: Ann saw Rome.\n"
        'Question: Is the word "Rome" in the given sentence a location entity? Please answer with yes or no.'
    )


@pytest.mark.parametrize("window", [600, 900, 1300, 5000])
@pytest.mark.parametrize("form", ["gpt_ner", "inline_xml", "occurrence_json"])
def test_demonstrations_fit_the_window_and_those_that_do_not_are_counted(window: int, form: str) -> None:
    stories = [tagged(f"{'very ' * n}far from Rome, number {n}.", LOC="Rome") for n in range(12)]
    pool = FewShot(stories, shots=8)
    engine = finding(form)
    engine._window = window
    ner = Extractor(engine, FORMATS[form], LABELS, few_shot=pool, verification=SelfVerification(pool))
    requests = heard(ner, SENTENCE, "Rome.")
    assert requests
    for request in requests:
        assert engine.measure(request.instruction, request.text) < window
    shown = sum(r.instruction.count("Answer:\n") + r.instruction.count("Question: ") for r in requests)
    assert pool.counts["shown"] == shown > 0
    assert (pool.counts["dropped"] > 0) == (window < 5000)
    assert any("did not fit" in note for note in pool.notes()) == (window < 5000)


short = st.text('ab <>@#[]|{}"\\\né', max_size=12)


@settings(max_examples=25, deadline=None)
@given(short, st.lists(short, min_size=1, max_size=3), st.sampled_from(list(FORMATS)))
def test_demonstrations_cannot_leak_into_answers(text: str, shown: list[str], form: str) -> None:
    """An engine that copies the demonstrations, byte after byte, as far as that is legal."""
    pool = FewShot([Document(f"Berlin {other}", (Entity(0, 6, "LOC"),)) for other in shown], shots=3)

    def copying(request: Request) -> str:
        if not request.constrained:
            return request.instruction
        wish, state, out = request.instruction.encode(), request.grammar.start(), bytearray()
        at = wish.find(b"Berlin") if b"Berlin" in wish else 0
        for _ in range(300):
            legal = dict(request.grammar.edges(state))
            if not legal:
                break
            found = next((i for i in range(at, len(wish)) if wish[i] in legal), None)
            byte = next(iter(legal)) if found is None else wish[found]
            at = at if found is None else found + 1
            out.append(byte)
            state = legal[byte]
        return (out + request.grammar.draft(state, 1 << 30)).decode()

    ner = Extractor(ScriptedEngine(copying), FORMATS[form], LABELS, few_shot=pool, verification=SelfVerification(pool))
    answers: list[tuple[Request, Generation]] = []
    for prediction in ner.pipe([text], on_generation=lambda *each: answers.append(each)):
        assert not prediction.invalid
        assert all(text[e.start : e.end] == e.text and e.label in LABELS for e in prediction.entities)
    assert all("Berlin" in request.instruction and "Berlin" not in answer.text for request, answer in answers)
    # The same engine without the grammar: what it copied is in its answers, and not among the entities.
    for prediction in ner.replace(constrained=False).pipe([text], on_generation=lambda *each: answers.append(each)):
        assert all(text[e.start : e.end] == e.text for e in prediction.entities)
    assert not text.strip() or any("Berlin" in answer.text for _, answer in answers)


def test_entities_that_the_model_denies_are_dropped_and_counted() -> None:
    ner = Extractor(finding(denied=("Ann",)), FORMATS["gpt_ner"], LABELS, verification=SelfVerification())
    prediction = ner.extract(SENTENCE)
    assert prediction.entities == FOUND[1:]
    assert prediction.entities[0].verified == 1.0
    assert (prediction.refuted, prediction.unverified) == (1, 0)
    record = prediction.to_dict()
    assert record["refuted"] == 1
    assert record["entities"][0]["verified"] == 1.0
    assert Document.from_dict(record).entities[0].verified == 1.0
    again = next(iter(ner.pipe([Document.from_dict(record)])))
    assert "refuted" not in again.extra  # of the earlier prediction


def test_verification_does_not_ask_about_what_is_left_out_by_its_score() -> None:
    class Unsure(ScriptedEngine):
        def generate(self, requests: Any, *, batch_size: int | None = None) -> Iterator[Any]:
            for request, generation in super().generate(requests, batch_size=batch_size):
                yield request, replace(generation, logprobs=(-2.0,))

    ner = Extractor(Unsure(finding()._script), FORMATS["gpt_ner"], LABELS, verification=SelfVerification())
    assert sum(map(is_question, heard(ner, SENTENCE))) == 2
    assert sum(map(is_question, heard(ner.replace(min_score=0.5), SENTENCE))) == 0
    assert [round(e.verified or 0, 4) for e in ner.extract(SENTENCE).entities] == [0.1353, 0.1353]


def test_a_free_answer_that_is_neither_yes_nor_no_keeps_the_entity() -> None:
    ner = Extractor(
        finding(said="I cannot tell."), FORMATS["gpt_ner"], LABELS, constrained=False, verification=SelfVerification()
    )
    prediction = ner.extract(SENTENCE)
    assert prediction.entities == FOUND
    assert (prediction.refuted, prediction.unverified) == (0, 2)
    assert [entity.verified for entity in prediction.entities] == [None, None]


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("Yes", "Yes"),
        (" yes, it is.", "Yes"),
        ("**NO**", "No"),
        ("<think>No? Yes! No.</think>\n\nYes.", "Yes"),
        ("Nothing of it is known", None),
        ("", None),
    ],
)
def test_what_a_free_answer_means(said: str, means: str | None) -> None:
    assert verdict(Generation(said.encode())) == means


def test_a_question_without_an_answer_keeps_the_entity_and_says_why() -> None:
    class Failing(ScriptedEngine):
        def generate(self, requests: Any, *, batch_size: int | None = None) -> Iterator[Any]:
            for request, generation in super().generate(requests, batch_size=batch_size):
                yield request, Generation(b"", failure="the server is gone") if is_question(request) else generation

    engine = Failing(finding()._script)
    prediction = Extractor(engine, FORMATS["gpt_ner"], LABELS, verification=SelfVerification()).extract(SENTENCE)
    assert prediction.entities == FOUND
    assert prediction.unverified == 2
    assert {(p.kind, p.detail.partition(":")[2]) for p in prediction.problems} == {("failed", " the server is gone")}


def test_a_stream_without_end_is_verified_in_bounded_memory() -> None:
    pulled = 0

    def texts() -> Iterator[str]:
        nonlocal pulled
        for pulled in count(1):
            yield SENTENCE if pulled % 3 else ""

    pool = FewShot(POOL, shots=2)
    ner = Extractor(
        finding("inline_xml", denied=("Rome",)),
        FORMATS["inline_xml"],
        LABELS,
        few_shot=pool,
        verification=SelfVerification(pool),
    )
    predictions = list(islice(ner.pipe(texts()), 200))
    assert [p.text for p in predictions] == [SENTENCE if i % 3 else "" for i in range(1, 201)]
    assert {p.entities for p in predictions if p.text} == {FOUND[:1]}
    assert pulled < 200 + 200


def test_labels_of_a_call_that_no_demonstration_has_are_refused() -> None:
    ner = Extractor(ScriptedEngine(), FORMATS["inline_xml"], LABELS, few_shot=FewShot(POOL))
    with pytest.raises(UsageError, match=r"no label of those asked for \(DNA\); they have: LOC, PER"):
        ner.extract(SENTENCE, ["DNA"])


def test_labels_that_no_demonstration_has_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """With others that some have; not where all are shown, nor to a caller that has asked."""
    ner = Extractor(ScriptedEngine(), FORMATS["inline_xml"], LABELS, few_shot=FewShot(POOL))
    assert ner.caution() == ner.replace(few_shot=None).caution(["PER", "DNA"]) == ""
    list(ner.pipe([SENTENCE], ["PER", "DNA", "RNA"]))
    list(ner.pipe([SENTENCE], ["PER", "DNA", "RNA"]))
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "no demonstration has an entity of: DNA, RNA (2 of 3 labels)"
    ]
    assert "no demonstration has an entity of: DNA" in ner.caution(["PER", "DNA"])
    assert ner.caution(["PER", "DNA"]) == ""


def test_sentences_without_a_word_are_counted(tmp_path: Path) -> None:
    shots = FewShot(POOL, encoder=HashEncoder(), cache=tmp_path / "vectors")
    ner = Extractor(ScriptedEngine(), FORMATS["inline_xml"], LABELS, few_shot=shots)
    list(ner.pipe(["?!", SENTENCE]))
    assert shots.counts["wordless"] == 1
    assert "without a word, so that nothing is near to them by entity: 1 sentences" in shots.notes()


def test_contexts_tell_requests_from_questions() -> None:
    ner = Extractor(finding("inline_xml"), FORMATS["inline_xml"], LABELS, verification=SelfVerification())
    first, *questions = heard(ner, "No one. Ann saw Rome.")[1:]
    assert isinstance(first.context, ChunkContext)
    assert [q.context.entity.text for q in questions] == ["Ann", "Rome"]
    assert {q.context.chunk.start for q in questions} == {8}
    assert all("No one" not in q.text for q in questions)


def test_the_signature_tells_all_of_it() -> None:
    plain = Extractor(finding("inline_xml"), FORMATS["inline_xml"], LABELS)
    pool = FewShot(POOL, shots=3, seed=5)
    told = plain.replace(
        few_shot=pool, verification=SelfVerification(pool), prompt_per_label=True, wording="gpt_ner"
    ).signature
    more = {key: value for key, value in told.items() if plain.signature.get(key) != value}
    assert more == {
        "prompts": "one label",
        "wording": "gpt_ner",
        "demonstrations": pool.pool.digest,
        "shots": "3",
        "retrieval": "random seed 5",
        "verification": "3 shots",
    }
    assert plain.replace(verification=SelfVerification()).signature["verification"] == "zero-shot"


def test_a_calibration_holds_for_prompts_as_in_training_only() -> None:
    form = FORMATS["inline_xml"]
    calibration = next(iter(_calibrations()))
    plain = Extractor(finding("inline_xml"), form, LABELS, calibration=calibration)
    assert plain.replace(wording="gpt_ner").standing() == "uncalibrated"
    assert plain.replace(few_shot=FewShot(POOL)).standing() == "uncalibrated"
    assert plain.replace(prompt_per_label=True).threshold() is None


def _calibrations() -> Iterator[Calibration]:
    from genner.model_source import ModelSource

    yield ModelSource.resolve("default", fetch=False).calibration


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4), st.text(max_size=5))
def test_the_grammar_of_choices(choices: list[str], other: str) -> None:
    grammar = ChoiceGrammar(choices)
    for said in (*choices, other):
        assert accepts(grammar, said.encode()) == (said in choices)
        assert (grammar.read(said.encode()) is not None) == (said in choices)
    assert accepts(grammar, grammar.draft(grammar.start(), 1 << 30))
    source = ChoiceGrammarSource(tuple(choices))
    again = grammar_source_from_json(json.loads(json.dumps(source.to_json()))).grammar()
    assert isinstance(again, ChoiceGrammar)
    assert again.choices == tuple(choices)


def test_choices_for_other_engines() -> None:
    source = ChoiceGrammarSource(("Yes", "No"))
    assert source.gbnf() == 'root ::= "Yes" | "No"\n'
    assert source.json_schema() is None
    for wrong in ({"choices": "Yes"}, {"choices": []}, {"choices": [""]}, {"choices": [1]}, {"choice": ["Yes"]}):
        with pytest.raises(UsageError):
            grammar_source_from_json(wrong)


def test_what_is_not_legal() -> None:
    with pytest.raises(UnknownNameError, match="wording"):
        Extractor(finding(), FORMATS["gpt_ner"], LABELS, wording="poetic")
    with pytest.raises(UsageError, match="no label of those"):
        Extractor(finding(), FORMATS["gpt_ner"], LabelSet.of("DNA"), few_shot=FewShot(POOL))
    with pytest.raises(UsageError, match="shots"):
        SelfVerification(shots=2)


def test_from_python(tmp_path: Path) -> None:
    import genner

    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in POOL))
    ner = genner.load(engine="scripted", labels=LABELS, demonstrations=corpus, verify=True, wording="gpt_ner")
    assert ner.signature["verification"] == "8 shots"
    assert ner.signature["retrieval"] == "random seed 1"
    assert Capabilities().constrains is False
    assert ner.extract(SENTENCE).text == SENTENCE
