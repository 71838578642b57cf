"""The plug-in for vLLM, without vLLM: its interfaces are imitated as its model runners use them."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum, auto
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny

from genner.document import LabelSet
from genner.engines.base import Request
from genner.engines.chat import Chat
from genner.engines.decoding import choose
from genner.engines.vllm_args import grammar_args
from genner.engines.vocabulary import Vocabulary
from genner.errors import UsageError
from genner.formats import FORMATS
from genner.formats.grammar_source import FormatGrammarSource
from genner.grammar import Constraints, accepts
from genner.vllm_plugin import KEY
from genner.vllm_plugin.request import MAX_LABELS, MAX_TEXT, requested_grammar
from genner.vllm_plugin.rows import AnswerRow, LegalLogits

LABELS = LabelSet.of("PER", "LOC", "DNA")
SIZE = 700
CHAT = Chat(tiny.tokenizer("bytes"))
VOCABULARY = Vocabulary(tiny.tokenizer("bytes"), CHAT.end_id, SIZE)
TEXTS = ["John Smith reported from New York.", "a < b", "NF-kappa B binds DNA", "", "Köln"]
FORMS = ["inline_xml", "occurrence_json", "grouped_json", "inline_xml", "gpt_ner"]
SOURCES = [
    FormatGrammarSource(FORMATS[form], text, LABELS, Constraints("word", 2))
    for text, form in zip(TEXTS, FORMS, strict=True)
]


def args(source: FormatGrammarSource, *, as_string: bool = True) -> dict[str, Any]:
    return {KEY: json.dumps(source.to_json()) if as_string else source.to_json()}


def logits_of(generator: torch.Generator, rows: int) -> torch.Tensor:
    return torch.randn(rows, SIZE, generator=generator)


def by_hand(source: FormatGrammarSource, written: list[int], logits: torch.Tensor) -> tuple[int, float]:
    """The choice after `written`, by the slow walk over bytes."""
    grammar = source.grammar()
    state: Any = grammar.start()
    for token in written:
        state = VOCABULARY.legal(grammar, state)[token]
    tokens = sorted(VOCABULARY.legal(grammar, state))
    return choose(logits[tokens], tokens)


# -- what a request says


def test_a_request_without_a_grammar_has_none() -> None:
    assert requested_grammar(None) is None
    assert requested_grammar({}) is None
    assert requested_grammar({"other": 1}) is None


@pytest.mark.parametrize("as_string", [True, False])
def test_a_grammar_comes_back_as_it_was(as_string: bool) -> None:
    for source in SOURCES:
        assert requested_grammar(args(source, as_string=as_string)) == source


def test_the_engines_and_the_plugin_agree_on_the_key() -> None:
    request = Request("Tag:\n", TEXTS[0], SOURCES[0].grammar(), grammar_source=SOURCES[0])
    assert requested_grammar(grammar_args(request.grammar_source)) == SOURCES[0]
    with pytest.raises(UsageError, match="grammar_source"):
        grammar_args(Request("Tag:\n", TEXTS[0], SOURCES[0].grammar()).grammar_source)


GOOD = SOURCES[0].to_json()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "refused"),
        (1, "not 1"),
        ([], "not \\[\\]"),
        ({}, "lacks"),
        (GOOD | {"format": "inline_yaml"}, "inline_yaml"),
        (GOOD | {"format": []}, "refused"),
        (GOOD | {"text": 1}, "text 1"),
        (GOOD | {"text": "\ud800"}, "refused"),
        (GOOD | {"text": "a" * (MAX_TEXT + 1)}, f"at most {MAX_TEXT}"),
        (GOOD | {"labels": [f"L{number}" for number in range(MAX_LABELS + 1)]}, f"at most {MAX_LABELS}"),
        ({"choices": [str(number) for number in range(MAX_LABELS + 1)]}, f"at most {MAX_LABELS}"),
        ({"choices": ["a" * (MAX_TEXT + 1)]}, f"at most {MAX_TEXT}"),
        (GOOD | {"labels": []}, "labels"),
        (GOOD | {"labels": ["PER", "PER"]}, "PER"),
        (GOOD | {"constraints": asdict(Constraints()) | {"depth": 0}}, "depth 0"),
        (GOOD | {"constraints": asdict(Constraints()) | {"depth": 1.5}}, "depth 1.5"),
        (GOOD | {"constraints": asdict(Constraints()) | {"boundaries": []}}, "boundaries"),
        (GOOD | {"more": 1}, "more"),
    ],
)
def test_what_is_no_grammar_is_refused_with_a_message(raw: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        requested_grammar({KEY: raw})


# -- rows and logits


@given(seed=st.integers(0, 999), chosen=st.lists(st.sampled_from(SOURCES), min_size=1, max_size=4), own=st.booleans())
@settings(max_examples=15, deadline=None)
def test_restricted_logits_are_those_of_the_legal_tokens(
    seed: int, chosen: list[FormatGrammarSource], own: bool
) -> None:
    generator, restrictor = torch.Generator().manual_seed(seed), LegalLogits(own=own)
    rows = [AnswerRow(source.grammar(), VOCABULARY) for source in chosen]
    written: list[list[int]] = [[] for _ in rows]
    for _ in range(8):
        logits = logits_of(generator, len(rows))
        found = restrictor.restrict(logits.clone(), dict(enumerate(rows)))
        for index, (row, source) in enumerate(zip(rows, chosen, strict=True)):
            if CHAT.end_id in written[index]:
                assert torch.isfinite(found[index]).nonzero().flatten().tolist() == [CHAT.end_id]
                continue
            token, logprob = by_hand(source, written[index], logits[index])
            assert int(found[index].argmax()) == token
            assert float(found[index].log_softmax(0)[token]) == pytest.approx(logprob, abs=1e-5)
            written[index].append(token)
            row.take([token])


def test_rows_without_a_grammar_keep_their_logits() -> None:
    restrictor, generator = LegalLogits(), torch.Generator().manual_seed(0)
    row = AnswerRow(SOURCES[0].grammar(), VOCABULARY)
    for count in (1, 3, 2, 5):  # a batch of one is restricted whole, the others in part
        logits = logits_of(generator, count)
        found = restrictor.restrict(logits.clone(), {0: row})
        finite = torch.isfinite(found[0]).nonzero().flatten().tolist()
        assert finite == sorted(row.legal)
        assert torch.equal(found[0][finite], logits[0][finite])
        assert torch.equal(found[1:], logits[1:])
    logits = logits_of(generator, 2)
    assert restrictor.restrict(logits, {}) is logits


def test_logits_may_be_a_part_of_wider_ones() -> None:
    """As those of a vocabulary that vLLM has padded."""
    wide = torch.randn(2, SIZE + 10, generator=torch.Generator().manual_seed(4))
    row = AnswerRow(SOURCES[0].grammar(), VOCABULARY)
    found = LegalLogits().restrict(wide[:, :SIZE], {1: row})
    assert len(finite(found[0])) == SIZE
    assert finite(found[1]) == sorted(row.legal)
    assert torch.equal(wide[:, SIZE:], torch.randn(2, SIZE + 10, generator=torch.Generator().manual_seed(4))[:, SIZE:])


def test_a_token_that_is_not_legal_ends_the_answer() -> None:
    row = AnswerRow(SOURCES[0].grammar(), VOCABULARY)
    row.take([row.legal[0], 1, 2])
    assert (row.legal, row.count) == ([CHAT.end_id], 3)


def test_a_vocabulary_that_cannot_spell_the_text_ends_the_answer() -> None:
    class Mute:
        def start(self) -> int:
            return 0

        def edges(self, state: Any) -> list[tuple[int, Any]]:
            return [(0xFF, 1)]

        def final(self, state: Any) -> bool:
            return False

    vocabulary = Vocabulary(tiny.tokenizer("bytes"), CHAT.end_id, 10)
    assert AnswerRow(Mute(), vocabulary).legal == [CHAT.end_id]  # type: ignore[arg-type]


# -- the processor, driven as the model runners of vLLM do


class Direction(Enum):
    UNIDIRECTIONAL = auto()
    SWAP = auto()


@pytest.fixture
def processor_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`genner.vllm_plugin.processor` with imitations of vLLM's modules."""
    names = ["vllm", "vllm.v1", "vllm.v1.sample", "vllm.v1.sample.logits_processor"]
    names += ["vllm.v1.worker", "vllm.v1.worker.gpu", "vllm.v1.worker.gpu.sample"]
    names += ["vllm.v1.worker.gpu.sample.logits_processor"]
    for name in names:
        module = ModuleType(name)
        module.LogitsProcessor = type(f"Base{name.count('.')}", (), {})  # type: ignore[attr-defined]
        module.MoveDirectionality = Direction  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "genner.vllm_plugin.processor", raising=False)
    yield import_module("genner.vllm_plugin.processor")
    sys.modules.pop("genner.vllm_plugin.processor", None)


class Config(SimpleNamespace):
    """What the processor reads of vLLM's configuration."""


def config(**changed: Any) -> Config:
    model = SimpleNamespace(
        logits_processors=["genner.vllm_plugin.processor:GrammarProcessor"],
        hf_text_config=SimpleNamespace(eos_token_id=[CHAT.end_id, 5]),
        get_vocab_size=lambda: SIZE,
    )
    made = Config(
        model_config=model,
        speculative_config=None,
        reasoning_config=None,
        scheduler_config=SimpleNamespace(async_scheduling=False),
    )
    made.__dict__.update(changed)
    return made


def made(module: Any, some: Config, where: Any = "cpu") -> Any:
    processor = module.GrammarProcessor(some, where, False)
    processor._vocabulary = VOCABULARY
    return processor


def params(source: FormatGrammarSource | None) -> Any:
    return SimpleNamespace(extra_args=None if source is None else args(source))


def update(size: int, removed: Any = (), added: Any = (), moved: Any = ()) -> Any:
    return SimpleNamespace(batch_size=size, removed=removed, added=added, moved=moved)


def finite(row: torch.Tensor) -> list[int]:
    return torch.isfinite(row).nonzero().flatten().tolist()


def legal_after(source: FormatGrammarSource, written: list[int]) -> list[int]:
    row = AnswerRow(source.grammar(), VOCABULARY)
    row.take(written)
    return sorted(row.legal)


def test_v1_batches_whose_rows_come_go_and_move(processor_module: Any) -> None:
    """A random course of a batch, as vLLM's: removals, additions (also of preempted requests, with their tokens), then
    moves; after each step every row has the legal tokens of its own answer."""
    processor = made(processor_module, config())
    random = np.random.default_rng(3)
    batch: list[tuple[FormatGrammarSource | None, list[int]]] = []
    preempted: list[tuple[FormatGrammarSource | None, list[int]]] = []
    for step in range(60):
        removed, added, moved = [], [], []
        if batch and random.random() < 0.4:  # one leaves; the last takes its place
            index = int(random.integers(len(batch)))
            preempted.append(batch[index])
            removed.append(index)
            last = len(batch) - 1
            if index < last:
                batch[index] = batch[last]
                moved.append((last, index, Direction.UNIDIRECTIONAL))
            batch.pop()
        if len(batch) < 5 and random.random() < 0.6:
            if preempted and random.random() < 0.5:
                source, written = preempted.pop(0)
                new = source, list(written)
            else:
                new = [*SOURCES, None][int(random.integers(len(SOURCES) + 1))], []
            if not moved:
                added.append((len(batch), params(new[0]), [1, 2], new[1]))
                batch.append(new)
        if len(batch) > 1 and not moved and random.random() < 0.4:
            a, b = (int(i) for i in random.choice(len(batch), 2, replace=False))
            batch[a], batch[b] = batch[b], batch[a]
            moved.append((a, b, Direction.SWAP))
        changed = removed or added or moved
        processor.update_state(update(len(batch), removed, added, moved) if changed else None)
        if not batch:
            continue
        logits = torch.randn(len(batch), SIZE, generator=torch.Generator().manual_seed(step))
        found = processor.apply(logits.clone())
        for row, (source, written) in zip(found, batch, strict=True):
            if source is None:
                assert len(finite(row)) == SIZE
            else:
                assert finite(row) == legal_after(source, written)
            if random.random() < 0.8:  # a prompt that is read in parts writes nothing yet
                written.append(int(row.argmax()))


def test_v1_answers_are_legal_and_end(processor_module: Any) -> None:
    processor = made(processor_module, config())
    outputs: list[list[int]] = [[] for _ in SOURCES]
    processor.update_state(update(5, (), [(i, params(s), [], outputs[i]) for i, s in enumerate(SOURCES)]))
    generator = torch.Generator().manual_seed(1)
    for _ in range(400):
        for output, row in zip(outputs, processor.apply(logits_of(generator, 5)), strict=True):
            output.append(int(row.argmax()))
        processor.update_state(None)
    for source, output in zip(SOURCES, outputs, strict=True):
        written = output[: output.index(CHAT.end_id)]
        assert accepts(source.grammar(), b"".join(VOCABULARY.bytes[token] or b"" for token in written))


class Buffer(SimpleNamespace):
    """A buffer of model runner V2 on the CPU."""


def test_v2_reads_tokens_from_slots(processor_module: Any) -> None:
    """Slots in another order than rows, a prompt read in parts, a slot that is used again, a resumed answer."""
    tokens = torch.zeros(8, 64, dtype=torch.int32)
    prompts = np.full(8, 3, dtype=np.int32)
    states = SimpleNamespace(
        all_token_ids=Buffer(gpu=tokens), prompt_len=Buffer(np=prompts), device=torch.device("cpu")
    )
    processor = made(processor_module, config(), states)
    answers: dict[int, tuple[FormatGrammarSource | None, list[int]]] = {
        6: (SOURCES[0], []),
        2: (None, []),
        5: (SOURCES[2], []),
    }
    for slot, (source, _) in answers.items():
        assert processor.add_request(slot, params(source)) is (source is not None)
    generator = torch.Generator().manual_seed(2)
    for step in range(12):
        processor.apply_staged_writes()
        if step == 6:  # slot 6 gets another request; slot 5 is preempted and resumed
            answers[6] = SOURCES[1], []
            processor.add_request(6, params(SOURCES[1]))
            processor.add_request(5, params(SOURCES[2]))
        order = [5, 6, 2] if step % 2 else [2, 6, 5]
        partial = {6} if step in (0, 6) else set()  # its prompt is read in parts
        lengths = [2 if slot in partial else 3 + len(answers[slot][1]) for slot in order]
        ctx = SimpleNamespace(
            idx_mapping_np=np.array(order),
            seq_lens_upper_bound_np=np.array(lengths),
            expanded_idx_mapping=torch.tensor(order),
        )
        found = processor.apply(logits_of(generator, 3), ctx)
        for slot, row in zip(order, found, strict=True):
            source, written = answers[slot]
            if source is None:
                assert len(finite(row)) == SIZE
            else:
                assert finite(row) == legal_after(source, written)
            if slot not in partial:
                tokens[slot, 3 + len(written)] = int(row.argmax())
                written.append(int(row.argmax()))


def test_invalid_data_is_refused_before_it_is_scheduled_and_harmless_after(
    processor_module: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bad = SimpleNamespace(extra_args={KEY: "no JSON"})
    with pytest.raises(ValueError, match="refused"):
        processor_module.GrammarProcessor.validate_params(bad)
    processor_module.GrammarProcessor.validate_params(params(None))
    processor = made(processor_module, config())
    processor.update_state(update(2, (), [(0, bad, [], []), (1, params(SOURCES[0]), [], [])]))
    found = processor.apply(torch.zeros(2, SIZE))
    assert finite(found[0]) == [CHAT.end_id]
    assert finite(found[1]) == legal_after(SOURCES[0], [])
    assert "refused" in caplog.text


@pytest.mark.parametrize("kind", ["speculative", "asynchronous"])
def test_where_grammars_cannot_be_enforced_answers_are_empty_and_the_log_says_why(
    processor_module: Any, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    some = config()
    if kind == "speculative":
        some.speculative_config = object()
    else:
        some.scheduler_config.async_scheduling = True
        some.model_config.logits_processors = None
    processor = made(processor_module, some)
    processor.update_state(update(1, (), [(0, params(SOURCES[0]), [], [-1, -1])]))
    assert finite(processor.apply(torch.zeros(1, SIZE))[0]) == [CHAT.end_id]
    assert kind[:5] in caplog.text


def test_of_two_processors_of_one_vllm_the_second_is_idle(processor_module: Any) -> None:
    some = config()
    first, second = made(processor_module, some), made(processor_module, some)
    for processor in (first, second):
        processor.update_state(update(1, (), [(0, params(SOURCES[0]), [], [])]))
    logits = torch.zeros(1, SIZE)
    assert finite(first.apply(logits)[0]) == legal_after(SOURCES[0], [])
    assert second.apply(logits) is logits
    assert made(processor_module, config()).add_request(0, params(SOURCES[0]))


def test_another_processor_of_the_user_keeps_the_rows_in_place(processor_module: Any) -> None:
    some = config()
    some.model_config.logits_processors = ["mine:Processor", *some.model_config.logits_processors]
    processor = made(processor_module, some)
    processor.update_state(update(1, (), [(0, params(SOURCES[0]), [], [])]))
    logits = torch.zeros(1, SIZE)
    assert processor.apply(logits) is logits
    assert finite(logits[0]) == legal_after(SOURCES[0], [])
