"""Drafts and guesses: whatever is guessed, drafts are legal and answers are the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from tests import tiny
from tests.strategies import texts

from genner.boundaries import boundaries
from genner.document import Document, Entity, LabelSet
from genner.drafting.proposals import ProposesSpans, SpanProposals
from genner.drafting.span_drafter import DrafterShape, SpanDrafter, pack, proposals_of, tokens_of_words
from genner.engines.base import DrafterInput, Request
from genner.engines.cache import KVCache
from genner.engines.prefix_state import PrefixState
from genner.engines.transformers_engine import LocalEngine
from genner.formats import FORMATS
from genner.grammar import Constraints, walk
from genner.labels import label_set
from genner.prompts import instruction, label_ends

LABELS = LabelSet.of("PER", "LOC", "DNA")
relaxed = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
forms = pytest.mark.parametrize("form", list(FORMATS))


@st.composite
def guesses(draw: st.DrawFn, text: str) -> SpanProposals:
    """Any spans at all, legal or not: a guess may be wrong in every way."""
    places = st.integers(0, len(text) + 2)
    spans = draw(st.lists(st.tuples(places, places, st.integers(0, 2)), max_size=6))
    others = draw(st.dictionaries(places, st.lists(st.tuples(places, st.integers(0, 2)), max_size=3), max_size=4))
    return SpanProposals(spans, others)


@forms
@given(text=texts, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_draft_is_legal_whatever_is_guessed(form: str, text: str, data: st.DataObject) -> None:
    grammar = FORMATS[form].grammar(text, LABELS, Constraints("word", 2))
    guess = data.draw(guesses(text))
    state = grammar.start()
    for _ in range(data.draw(st.integers(0, 30))):  # from the start, or from anywhere
        if not (edges := grammar.edges(state)):
            break
        state = data.draw(st.sampled_from(edges))[1]
    drafted = grammar.draft(state, 1 << 20, guess)
    end = walk(grammar, state, drafted)
    assert end is not None
    assert grammar.final(end)
    short = grammar.draft(state, 5, guess)
    assert drafted.startswith(short)


def spans_of(grammar: Any, answer: bytes) -> set[tuple[int, int, str]]:
    return {(w.start, w.end, w.label) for w in grammar.read(answer)}


@forms
@given(text=texts, data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_can_be_said_is_drafted(form: str, text: str, data: st.DataObject) -> None:
    """The draft of a guess that is a legal set of entities is the answer that says just them."""
    starts, ends = boundaries(text, "word")
    places = [(s, e) for s in range(len(text)) if starts[s] for e in range(s + 1, len(text) + 1) if ends[e]]
    if not places:
        return
    drawn = data.draw(
        st.lists(st.tuples(st.sampled_from(places), st.integers(0, 2)), max_size=4, unique_by=lambda p: p[0])
    )
    entities = tuple(Entity(s, e, LABELS.tags[rank]) for (s, e), rank in drawn)
    document, _ = FORMATS[form].encodable_part(Document(text, entities), "word")
    rank = {tag: i for i, tag in enumerate(LABELS.tags)}
    grammar = FORMATS[form].grammar(text, LABELS, Constraints("word", 8))
    guess = SpanProposals((e.start, e.end, rank[e.label]) for e in document.entities)
    drafted = grammar.draft(grammar.start(), 1 << 20, guess)
    assert spans_of(grammar, drafted) == {(e.start, e.end, e.label) for e in document.entities}


class Scripted(ProposesSpans):
    """Guesses what it is told, and counts how often it is asked."""

    probe_layers = (1,)

    def __init__(self, guesses: Iterator[SpanProposals]) -> None:
        self.guesses, self.asked = guesses, 0

    def read_labels(self, states: list[torch.Tensor]) -> int:
        assert states[0].shape[1] == 32
        return len(states[0])

    def propose(self, inputs: list[DrafterInput]) -> list[SpanProposals]:
        self.asked += len(inputs)
        for read in inputs:
            assert read.labels == len(LABELS)
            assert len(read.states[0]) == len(read.ends)
            assert read.ends[-1] == len(read.text)
        return [next(self.guesses) for _ in inputs]


def requests(some_texts: list[str], form: str) -> list[Request]:
    words = instruction(LABELS, FORMATS[form])
    ends = label_ends(words, LABELS)
    return [
        Request(words, t, FORMATS[form].grammar(t, LABELS, Constraints("word", 3)), label_positions=ends)
        for t in some_texts
    ]


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("family", ["llama", "qwen2_sliding", "gemma3"])
@given(
    some_texts=st.lists(texts, min_size=1, max_size=4),
    form=st.sampled_from(list(FORMATS)),
    size=st.integers(1, 3),
    data=st.data(),
)
@relaxed
def test_answers_do_not_depend_on_the_drafter(
    kind: str, family: str, some_texts: list[str], form: str, size: int, data: st.DataObject
) -> None:
    made = [data.draw(guesses(text)) for text in some_texts]
    drafter = Scripted(iter(made * 2))
    causal, tokenizer = tiny.model(family), tiny.tokenizer(kind)
    plain = LocalEngine(causal, tokenizer).generate(requests(some_texts, form), batch_size=1)
    drafted = LocalEngine(causal, tokenizer, drafter=drafter).generate(requests(some_texts, form), batch_size=size)
    for (_, a), (_, b) in zip(plain, drafted, strict=True):
        assert (a.answer, a.ends) == (b.answer, b.ends)
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-3)
    assert drafter.asked <= len(some_texts)


def test_a_right_guess_saves_passes_and_a_wrong_one_is_not_asked_for_again() -> None:
    text = "John Smith met Ann in New York and in Rome."
    causal, tokenizer = tiny.model("llama"), tiny.tokenizer("bytes")
    some = requests([text] * 40, "inline_xml")
    ((_, first),) = LocalEngine(causal, tokenizer).generate(some[:1], batch_size=1)
    grammar = some[0].grammar
    rank = {tag: i for i, tag in enumerate(LABELS.tags)}
    right = SpanProposals((w.start, w.end, rank[w.label]) for w in grammar.read(first.answer) or ())
    assert right.spans
    told = LocalEngine(causal, tokenizer, drafter=Scripted(iter([right])))
    ((_, guessed),) = told.generate(some[:1], batch_size=1)
    assert guessed.answer == first.answer
    assert guessed.passes < first.passes
    taken = {start for start, _, _ in right.spans}
    wrong = SpanProposals([(s, s + 1, 0) for s in range(len(text)) if s not in taken])
    liar = Scripted(iter([wrong] * 40))
    answers = list(LocalEngine(causal, tokenizer, drafter=liar).generate(some, batch_size=1))
    assert {a.answer for _, a in answers} == {first.answer}
    assert liar.asked <= 6  # at first, and now and then


# -- the network


def drafter(width: int = 16) -> SpanDrafter:
    torch.manual_seed(0)
    return SpanDrafter(DrafterShape((1, 2), 8, width=width, longest=4)).eval()


@given(some_texts=st.lists(texts.filter(bool), min_size=1, max_size=3))
@relaxed
def test_texts_are_guessed_together_as_alone(some_texts: list[str]) -> None:
    made = drafter()
    torch.manual_seed(1)
    options = made.read_labels([torch.randn(3, 8), torch.randn(3, 8)])
    reads = []
    for text in some_texts:
        ends = list(range(1, len(text) + 1))
        reads.append(DrafterInput(text, ends, [torch.randn(len(ends), 8), torch.randn(len(ends), 8)], options))
    together = made.propose(reads)
    for read, guess in zip(reads, together, strict=True):
        (alone,) = made.propose([read])
        assert alone.spans == guess.spans
        starts, ends_ = boundaries(read.text, "word")
        assert all(starts[s] and ends_[e] and 0 <= rank < 3 for s, e, rank in guess.spans)


def test_scores_against_the_obvious_loops() -> None:
    made = drafter()
    states = torch.randn(9, 16)
    packed, inside, (begin,) = pack([states])
    mixed = made.mix(packed, inside)[begin : begin + 9]
    options = made.read_labels([torch.randn(2, 8), torch.randn(2, 8)])
    firsts, lasts = torch.tensor([0, 2, 3, 6]), torch.tensor([1, 2, 5, 8])
    scores = made.scores(mixed, firsts, lasts, options)
    by_first, by_last, by_both, by_length = options
    for w in range(4):
        for length in range(4 - w):
            a = torch.tanh(made.first(mixed[firsts[w]]))
            b = torch.tanh(made.last(mixed[lasts[w + length]]))
            for label in range(2):
                expected = a @ by_first[label] + b @ by_last[label] + (a * by_both[label]) @ b / 8
                expected = expected + by_length[length, label] + made.bias
                torch.testing.assert_close(scores[w, length, label], expected)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_guessed_spans_do_not_cross(count: int, longest: int, seed: int) -> None:
    logits = torch.randn(count, longest, 2, generator=torch.Generator().manual_seed(seed))
    words = [(3 * w, 3 * w + 2) for w in range(count)]
    guess = proposals_of(logits, words, 0.5)
    spans = [(s, e) for s, e, _ in guess.spans]
    assert not any(a < c < b < d for a, b in spans for c, d in spans)
    assert all(end <= words[-1][1] for _, end in spans)
    best = logits[0, : min(longest, count)]
    place = int(best.argmax())
    expected = (words[place // 2][1], place % 2)
    assert guess.likeliest(0, 0) in (expected, *guess.starting(0))


def test_a_drafter_is_kept_with_its_adapter(tmp_path: Any) -> None:
    made = drafter()
    made.save(tmp_path)
    again = SpanDrafter.load(tmp_path)
    assert again is not None
    assert again.shape == made.shape
    for name, tensor in made.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=1e-2, rtol=1e-2)
    assert SpanDrafter.load(tmp_path / "nowhere") is None
    with safe_open(tmp_path / "drafter.safetensors", framework="pt") as file:
        shape = json.loads(file.metadata()["shape"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    shape["taps"] = shape.pop("probe_layers")  # as shipped files name it
    save_file(tensors, tmp_path / "drafter.safetensors", metadata={"shape": json.dumps(shape)})
    old = SpanDrafter.load(tmp_path)
    assert old is not None
    assert old.shape == made.shape
    (tmp_path / "drafter.safetensors").write_bytes(b"{}")
    with pytest.raises(Exception, match=r"drafter\.safetensors is damaged"):
        SpanDrafter.load(tmp_path)


def test_words_and_their_tokens() -> None:
    text = "Köln, U937 cells"
    ends = [1, 4, 5, 7, 10, 16]  # K|öln|,| U|937| cells
    words, firsts, lasts = tokens_of_words(text, ends)
    assert [text[a:b] for a, b in words] == ["Köln", ",", "U937", "cells"]
    assert (firsts, lasts) == ([0, 2, 3, 5], [1, 2, 4, 5])


def test_where_labels_end() -> None:
    for name, form in (("genia", "inline_xml"), ("core", "compact")):
        labels = label_set(name)
        words = instruction(labels, FORMATS[form])
        lines = [words[:end].rsplit("\n", 1)[1] for end in label_ends(words, labels)]
        assert len(lines) == len(labels)
        assert all(label.tag in line for label, line in zip(labels, lines, strict=True))


@pytest.mark.parametrize(("copied", "trusted"), [(True, False), (False, True)])
def test_a_guess_is_worth_more_where_only_entities_are_written(copied: bool, trusted: bool) -> None:
    """One right guess for four wrong ones: too few for a copy, enough for a list."""
    task = PrefixState(KVCache(1), labels=True)
    for _ in range(200):
        task.record_proposals(1, 4, copied)
    asked = [task.use_drafter() for _ in range(2 * PrefixState.PROBE)]
    assert sum(asked) == (len(asked) if trusted else 2)
