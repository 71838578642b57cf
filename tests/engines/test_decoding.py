"""The speculative decoder equals the token-by-token one, for every family, tokenizer and format."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import tiny
from tests.strategies import texts

from genner.document import Document, Entity, LabelSet
from genner.engines import decoding
from genner.engines.base import Generation, Request
from genner.engines.cache import KVCache
from genner.engines.chat import Chat
from genner.engines.decoding import SpeculativeDecoder, choose, reference
from genner.engines.transformers_engine import LocalEngine
from genner.engines.vocabulary import Vocabulary, token_bytes
from genner.formats import FORMATS
from genner.formats.compact import Compact
from genner.grammar import Constraints

LABELS = LabelSet.of("PER", "LOC", "DNA")
relaxed = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
families = pytest.mark.parametrize("family", tiny.FAMILIES)
kinds = pytest.mark.parametrize("kind", ["bytes", "pieces"])


def engine(family: str, kind: str, decoder: str = "speculative") -> LocalEngine:
    return LocalEngine(tiny.model(family), tiny.tokenizer(kind), decoder=decoder)  # type: ignore[arg-type]


def answers(some: LocalEngine, asked: list[Request], size: int | None = None) -> list[Generation]:
    return [generation for _, generation in some.generate(asked, batch_size=size)]


def requests(some_texts: list[str], form: str, constrained: bool = True) -> list[Request]:
    return [
        Request(f"Tag {i % 2}:\n", t, grammar, constrained)
        for i, t in enumerate(some_texts)
        for grammar in [
            FORMATS[form].grammar(
                t, LABELS, Constraints("word", 3, same_span_labels=i % 2 == 0, allow_trailing_repeat=i % 3 > 0)
            )
        ]
    ]


@kinds
def test_added_tags_cost_a_token_each(kind: str) -> None:
    tokenizer, form, labels = deepcopy(tiny.tokenizer(kind)), Compact(), LabelSet.of("PER", "LOC")
    assert tokenizer.add_tokens(form.added_tokens(labels)) == 3
    text = "John Smith reported from New York."
    answer = form.encode(Document(text, (Entity(0, 10, "PER"), Entity(0, 4, "PER"), Entity(25, 33, "LOC"))), labels)
    chat = Chat(tokenizer)
    vocabulary, grammar = (
        Vocabulary(tokenizer, chat.end_id, len(tokenizer)),
        form.grammar(text, labels, Constraints("word")),
    )
    ids, state = chat.answer_ids(answer), grammar.start()
    assert [vocabulary.bytes[i] for i in ids].count(b"</>") == 3
    assert sum(tokenizer.convert_ids_to_tokens(i) in form.added_tokens(labels) for i in ids) == 6
    for token in ids:
        legal = vocabulary.legal(grammar, state)
        assert token in legal
        state = legal[token]


@families
@kinds
@given(some_texts=st.lists(texts, min_size=1, max_size=5), form=st.sampled_from(list(FORMATS)), size=st.integers(1, 3))
@relaxed
def test_speculative_equals_reference(family: str, kind: str, some_texts: list[str], form: str, size: int) -> None:
    fast = answers(engine(family, kind), requests(some_texts, form), size)
    slow = answers(engine(family, kind, "reference"), requests(some_texts, form))
    for text, a, b in zip(some_texts, fast, slow, strict=True):
        assert a.answer == b.answer
        assert a.ends == b.ends
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-3)
        prediction = FORMATS[form].decode(text, a.text, LABELS)
        assert prediction.problems == ()
        assert a.passes <= b.passes


@kinds
@given(some_texts=st.lists(texts, min_size=1, max_size=3))
@relaxed
def test_free_decoding_equals_reference(kind: str, some_texts: list[str]) -> None:
    asked = requests(some_texts, "inline_xml", constrained=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "SPARE", 8)  # a random model writes all that it may
        fast = answers(engine("llama", kind), asked, 2)
        slow = answers(engine("llama", kind, "reference"), asked)
    assert [a.answer for a in fast] == [b.answer for b in slow]


@kinds
@given(text=texts, data=st.data())
@settings(max_examples=40, deadline=None)
def test_legal_tokens_are_those_whose_bytes_the_grammar_allows(kind: str, text: str, data: st.DataObject) -> None:
    """The walk over the trie against trying every token of the vocabulary."""
    tokenizer = tiny.tokenizer(kind)
    vocabulary = Vocabulary(tokenizer, Chat(tokenizer).end_id, 700)
    grammar = FORMATS["inline_xml"].grammar(text, LABELS)
    state = grammar.start()
    for _ in range(data.draw(st.integers(0, 12))):
        legal = vocabulary.legal(grammar, state)
        slow = {t: s for t in range(700) if (s := vocabulary.advance(grammar, state, t)) is not None}
        assert legal == slow
        assert legal
        token = data.draw(st.sampled_from(sorted(legal)))
        if token == vocabulary.end_id:
            break
        state = legal[token]


@kinds
@pytest.mark.parametrize("form", FORMATS)
@given(
    text=texts, depth=st.sampled_from([1, 2, None]), where=st.sampled_from(["any", "word", "strict"]), data=st.data()
)
@settings(max_examples=6, deadline=None)
def test_next_tokens_equal_legal_tokens(
    kind: str, form: str, text: str, depth: int | None, where: Any, data: st.DataObject
) -> None:
    """The walk over strings against the walk over bytes, with the states that the tokens lead to."""
    tokenizer = tiny.tokenizer(kind)
    vocabulary = Vocabulary(tokenizer, Chat(tokenizer).end_id, 700)
    constraints = Constraints(where, depth, data.draw(st.booleans()), data.draw(st.booleans()))
    grammar = FORMATS[form].grammar(text, LABELS, constraints)
    state = grammar.start()
    for _ in range(data.draw(st.integers(1, 25))):
        legal, found = vocabulary.legal(grammar, state), vocabulary.next_tokens(grammar, state)
        assert len(found.tokens) == len(set(found.tokens))
        assert {token: found.after(token) for token in found.tokens} == legal
        token = data.draw(st.sampled_from(sorted(legal)))
        if token == vocabulary.end_id:
            break
        state = legal[token]
    with pytest.raises(ValueError, match="is not in list"):
        found.after(1)  # a special token


@kinds
@given(text=texts)
@settings(max_examples=60, deadline=None)
def test_token_bytes_spell_the_text(kind: str, text: str) -> None:
    tokenizer = tiny.tokenizer(kind)
    table = token_bytes(tokenizer)
    written = [table[t] for t in Chat(tokenizer).encode(text)]
    # To SentencePiece, its sign for a space is a space.
    spelled = text.replace("\u2581", " ") if kind == "pieces" else text
    assert b"".join(w or b"" for w in written).decode("utf-8", "replace") == spelled


@families
def test_gathered_logits_are_the_models_own(family: str) -> None:
    causal = tiny.model(family)
    network = LocalEngine(causal, tiny.tokenizer("bytes")).network
    ids = torch.arange(5, 15)[None]
    with torch.inference_mode():
        hidden = causal.model(input_ids=ids).last_hidden_state[0]
        expected = causal(input_ids=ids).logits[0].float()
    tokens = [[1, 2, 3 + i] for i in range(10)]
    for i, (token, logprob) in enumerate(network.choose(hidden, tokens)):
        assert (token, logprob) == pytest.approx(choose(expected[i, tokens[i]], tokens[i]), abs=1e-4)
    for i, (token, logprob) in enumerate(network.choose(hidden, [[]] * 10)):
        assert (token, logprob) == pytest.approx(choose(expected[i], list(range(700))), abs=1e-4)
    torch.testing.assert_close(network.logits(hidden), expected, atol=1e-4, rtol=1e-4)


def test_a_model_that_cannot_be_cut_back_is_decoded_token_by_token_and_says_so() -> None:
    causal = tiny.hybrid()
    with pytest.warns(UserWarning, match="granitemoehybrid.*cannot be cut back"):
        some = LocalEngine(causal, tiny.tokenizer("bytes"))
    assert some.decoder == "reference"
    text = "John Smith reported from New York."
    (made,) = answers(some, requests([text], "inline_xml"))
    assert FORMATS["inline_xml"].decode(text, made.text, LABELS).problems == ()
    assert made.passes == len(made.ends)


def test_answers_come_in_order_and_a_stream_is_not_read_whole() -> None:
    taken = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal taken
        while True:
            taken += 1
            yield requests([f"word {taken}" * (taken % 3 + 1)], "inline_xml")[0]

    stream = engine("llama", "bytes").generate(endless(), batch_size=2)
    for n in range(1, 6):
        text = f"word {n}" * (n % 3 + 1)
        assert FORMATS["inline_xml"].decode(text, next(stream)[1].text, LABELS).problems == ()
    assert taken <= 64


def test_the_instruction_is_run_once() -> None:
    tokenizer = tiny.tokenizer("bytes")
    some = engine("llama", "bytes")
    asked = [Request("Tag:\n", t, FORMATS["inline_xml"].grammar(t, LABELS)) for t in ("a b", "c d", "e f")]
    speculator = SpeculativeDecoder(some.network, Chat(tokenizer), some.vocabulary)
    runs: list[list[int]] = []
    inner = some.network.forward
    some.network.forward = lambda rows, cache, slots: (runs.extend(map(list, rows)), inner(rows, cache, slots))[1]  # type: ignore[method-assign]
    list(speculator.decode(asked, 1))
    prefix = Chat(tokenizer).prefix_ids("Tag:\n")
    assert runs.count(prefix) == 1
    assert not any(run[: len(prefix)] == prefix for run in runs[1:])


def test_reference_and_speculator_keep_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.engines.decoding.budget", lambda *_: 3)
    for decoder in ("speculative", "reference"):
        (made,) = answers(engine("llama", "bytes", decoder), requests(["one two three four five"], "inline_xml"))
        assert not made.complete
        assert FORMATS["inline_xml"].decode("one two three four five", made.text, LABELS).problems == ()
    assert reference.__doc__


@given(lengths=st.lists(st.integers(0, 60), min_size=1, max_size=8), batch=st.integers(1, 4), most=st.integers(1, 120))
@settings(max_examples=6, deadline=None)
def test_no_more_text_is_answered_at_once_than_may_be(lengths: list[int], batch: int, most: int) -> None:
    """Whatever the bound is, answers are the same, and a text beyond it is answered alone."""
    some_texts = [("Ann saw Bob. " * 9)[:n] for n in lengths]
    asked = requests(some_texts, "inline_xml")
    some = engine("llama", "bytes")
    expected = [g.answer for g in answers(some, asked, batch)]
    speculator = some._decoder
    seen: list[list[int]] = []
    inner = speculator._pass

    def watched(rows: list[Any], cache: KVCache) -> None:
        seen.append([len(row.request.text) for row in rows])
        inner(rows, cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SpeculativeDecoder, "MAX_TEXT", most)
        patch.setattr(speculator, "_pass", watched)
        assert [g.answer for g in answers(some, asked, batch)] == expected
    assert all(len(row) <= batch and (len(row) == 1 or sum(row) <= most) for row in seen)


def test_caches_grow_while_rows_are_replaced() -> None:
    some_texts = ["John Smith reported from New York. " * n for n in (1, 5, 2, 6, 3)]
    alone = [answers(engine("llama", "bytes"), [r], 1)[0] for r in requests(some_texts, "inline_xml")]
    grown: list[int] = []
    grow = KVCache._grow
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KVCache.__init__, "__defaults__", (16,))
        patch.setattr(KVCache, "_grow", lambda cache, capacity: (grown.append(capacity), grow(cache, capacity)))
        fast = answers(engine("llama", "bytes"), requests(some_texts, "inline_xml"), 2)
    assert len(grown) > 3
    assert [a.answer for a in fast] == [b.answer for b in alone]
