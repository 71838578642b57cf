"""Encoders of several families, read word by word."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import tiny
from tests.encoders import MADE_UP
from tokenizers.processors import TemplateProcessing
from transformers import RobertaConfig, RobertaModel

from genner.errors import ModelError
from genner.rivals.encoder import WordEncoder
from genner.rivals.words import Window, words


def window(text: str) -> Window:
    return Window(text, words(text))


def byte_tokenizer() -> Any:
    """A byte-level tokenizer, whose pieces hold the spaces before words, with special tokens around a text."""
    tokenizer = deepcopy(tiny.tokenizer("bytes"))  # tests share it
    tokenizer.add_special_tokens({"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})
    around = [("<s>", tokenizer.cls_token_id), ("</s>", tokenizer.sep_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=around
    )
    tokenizer.model_max_length = 64
    return tokenizer


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> WordEncoder:
    folder = tmp_path_factory.mktemp("roberta")
    tokenizer = byte_tokenizer()
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=66,
        pad_token_id=tokenizer.pad_token_id,
    )
    RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return WordEncoder.load(str(folder))


@pytest.mark.parametrize("text", ["Ada met  Bob, in\nNew York.", " naïve 東京", "a-b"])
def test_spaces_before_words_belong_to_their_pieces(roberta: WordEncoder, text: str) -> None:
    found = words(text)
    said = [roberta.tokenizer.decode(ids) for ids in roberta.pieces(text, found)]
    assert said == [(" " if s and text[s - 1].isspace() else "") + text[s:e] for s, e in found]
    encoded = roberta([window(text), window("Bob")], ["who", "which place"])
    assert encoded.words.sum(1).tolist() == [len(found), 1]
    assert encoded.pool("mean").isfinite().all()


def test_pieces_are_those_of_the_whole_text(tiny_encoder: WordEncoder) -> None:
    for text in MADE_UP:
        flat = [piece for word in tiny_encoder.pieces(text, words(text)) for piece in word]
        assert flat == tiny_encoder.tokenizer(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30))
def test_every_word_has_a_piece_and_a_state(tiny_encoder: WordEncoder, text: str) -> None:
    found = words(text)
    pieces = tiny_encoder.pieces(text, found)
    assert len(pieces) == len(found)
    assert all(pieces)
    if found and sum(map(len, pieces)) <= tiny_encoder.limit:
        encoded = tiny_encoder([window(text), window("Ada")])
        assert encoded.words.sum(1).tolist() == [len(found), 1]


@pytest.mark.parametrize("how", ["first", "last", "max", "mean"])
def test_pooling_is_that_of_a_slow_loop(tiny_encoder: WordEncoder, how: str) -> None:
    windows = [window("Ada xyzzy met"), window("Bob"), window("unknown words , many")]
    encoded = tiny_encoder(windows)
    pooled = encoded.pool(how)  # type: ignore[arg-type]
    for row, one in enumerate(windows):
        at = 1
        for i, ids in enumerate(tiny_encoder.pieces(one.text, one.words)):
            states = encoded.states[row, at : at + len(ids)]
            slow = {"first": states[0], "last": states[-1], "max": states.amax(0), "mean": states.mean(0)}[how]
            torch.testing.assert_close(pooled[row, i], slow)
            at += len(ids)
        assert not pooled[row, len(one.words) :].any()


def test_queries_stand_before_texts_as_the_tokenizer_pairs_them(tiny_encoder: WordEncoder) -> None:
    seen = []
    run = tiny_encoder._run
    tiny_encoder._run = lambda ids, types: (seen.append((ids, types)), run(ids, types))[1]  # type: ignore[method-assign]
    encoded = tiny_encoder([window("Ada met Bob")], ["who is"])
    whole = tiny_encoder.tokenizer("who is", "Ada met Bob")
    assert seen[0][0][0] == whole["input_ids"]
    assert seen[0][1][0] == whole["token_type_ids"]
    assert encoded.words.tolist() == [[True] * 3]
    assert tiny_encoder.query_cost("who is") == len(whole["input_ids"]) - len(
        tiny_encoder.tokenizer("Ada met Bob")["input_ids"]
    )


def test_windows_that_are_too_long_keep_all_words(tiny_encoder: WordEncoder) -> None:
    one = window("Ada " + "x" * 300 + " Bob")
    assert tiny_encoder([one]).words.tolist() == [[True] * 3]


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    causal = tiny.model("llama").model
    causal.save_pretrained(tmp_path)
    tiny.tokenizer("bytes").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no special token"):
        WordEncoder.load(str(tmp_path))
    with pytest.raises(ModelError, match="it is a decoder"):
        WordEncoder(causal, byte_tokenizer(), "llama")
    with pytest.raises(ModelError, match="no such folder"):
        WordEncoder.load(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        WordEncoder.load(str(tmp_path / "empty"))
