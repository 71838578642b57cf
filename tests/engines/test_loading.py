"""What is imported, read and merged when a model is loaded: the short ways end where the libraries' long ones do."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from tests import tiny
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from genner import model_store
from genner.engines.base import Request
from genner.engines.chat import Chat
from genner.engines.fast_loading import llama, lora
from genner.engines.fast_loading.tokens import FastTokenizer, read_tokenizer
from genner.engines.fast_loading.weights import load_weights
from genner.engines.transformers_engine import LocalEngine
from genner.engines.vocabulary import Vocabulary
from genner.errors import ModelError
from genner.formats import get_format
from genner.grammar import Constraints
from genner.labels import label_set
from genner.model_store import DEFAULT_BASE, locate, ready, verify

CPU = torch.device("cpu")
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
HEAVY = {"transformers", "peft", "accelerate", "scipy", "sklearn", "pandas", "sympy", "torch._dynamo", "matplotlib"}


def modules_after(*arguments: str, before: str = "") -> set[str]:
    """Names in sys.modules when this genner command is done, in a process of its own."""
    code = (
        f"import atexit, sys; {before}\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['genner', *{arguments!r}]\n"
        "from genner.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["extract", "--help"],
        ["formats"],
        ["data"],
        ["models", "list"],
        ["models", "where"],
        ["grammar", "--text", "Ada left."],
    ],
    ids=" ".join,
)
def test_torch_is_imported_only_where_a_model_runs(command: list[str]) -> None:
    assert not modules_after(*command) & {*HEAVY, "torch", "tokenizers", "safetensors", "gguf"}


def test_evaluate_and_convert_need_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": "1", "text": "Ada left.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}\n')
    for command in (["evaluate", str(file), str(file)], ["convert", str(file), str(tmp_path / "b.conll")]):
        assert not modules_after(*command) & {*HEAVY, "torch"}


def test_extraction_imports_no_more_than_torch_and_opens_no_socket() -> None:
    closed = "import socket\ndef closed(*a, **k): raise AssertionError('network')\nsocket.socket.connect = closed"
    found = modules_after("extract", "--text", "Ada left.", before=f"exec({closed!r})")
    assert "torch" in found
    assert not found & HEAVY


# --- LoRA -----------------------------------------------------------------------------------------------------------


def adapter(folder: Path, family: str = "llama", dtype: torch.dtype = torch.float32, **settings: Any) -> Path:
    """A trained-looking adapter of a tiny model, as peft writes it."""
    settings = {"r": 4, "target_modules": ALL, "init_lora_weights": True, **settings}
    wrapped = get_peft_model(fresh(family), LoraConfig(task_type="CAUSAL_LM", **settings))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn_like(weight) * 0.1)
    wrapped.to(dtype).save_pretrained(folder)
    return folder


def fresh(family: str, dtype: torch.dtype = torch.float32) -> Any:
    from copy import deepcopy

    return deepcopy(tiny.model(family)).to(dtype)


PLAIN = [
    {},
    {"r": 3, "lora_alpha": 5},
    {"lora_alpha": 32, "use_rslora": True},
    {"target_modules": ["q_proj", "down_proj"], "lora_dropout": 0.1},
    {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 7}, "alpha_pattern": {"q_proj": 3, "k_proj": 11}},
    {"rank_pattern": {"q_proj": 2}, "use_rslora": True, "init_lora_weights": "gaussian"},
]
SPECIAL = [
    {"use_dora": True},
    {"bias": "lora_only"},
    {"target_modules": ["q_proj", "embed_tokens"]},
    {"target_modules": r".*\.(q|k)_proj"},
    {"rank_pattern": {r".*\.[qk]_proj": 2}},
    {"modules_to_save": ["norm"]},
    {"layers_to_transform": [0], "layers_pattern": "layers"},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("settings", PLAIN, ids=str)
def test_our_merge_is_that_of_peft_to_the_bit(tmp_path: Path, settings: dict[str, Any], dtype: torch.dtype) -> None:
    for family, stored in (("llama", torch.float32), ("qwen2", torch.bfloat16)):
        folder = adapter(tmp_path / family, family, stored, **settings)
        ours, theirs = fresh(family, dtype), fresh(family, dtype)
        before = {name: weight.clone() for name, weight in ours.state_dict().items()}
        assert lora.merge(ours, folder)
        theirs = PeftModel.from_pretrained(theirs, folder).merge_and_unload()
        assert equal(ours.state_dict(), theirs.state_dict())
        assert not equal(ours.state_dict(), before)


@pytest.mark.parametrize("settings", SPECIAL, ids=str)
def test_what_is_not_plain_is_left_to_peft(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder, ours = adapter(tmp_path, **settings), fresh("llama")
    before = {name: weight.clone() for name, weight in ours.state_dict().items()}
    assert not lora.merge(ours, folder)
    assert equal(ours.state_dict(), before)


def test_an_adapter_that_does_not_fit_is_left_to_peft_too(tmp_path: Path) -> None:
    folder = adapter(tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"r": 5}))
    assert not lora.merge(fresh("llama"), folder)
    (folder / "adapter_config.json").write_text(json.dumps(config | {"a_setting_of_tomorrow": 1}))
    assert not lora.merge(fresh("llama"), folder)


# --- A model from files -----------------------------------------------------------------------------------------------


def saved(folder: Path, **settings: Any) -> Path:
    """A tiny Llama with its tokenizer, as transformers writes them."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=700, num_key_value_heads=2, initializer_range=0.3, **sizes, **settings)
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny.tokenizer("bytes").save_pretrained(folder)
    return folder


def equal(some: dict[str, Any], others: dict[str, Any]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "settings", [{}, {"tie_word_embeddings": True}, {"head_dim": 12}, {"rms_norm_eps": 1e-3}], ids=str
)
def test_a_plain_llama_answers_as_that_of_transformers(
    tmp_path: Path, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    folder, lora_folder = saved(tmp_path / "model", **settings), None
    if "head_dim" not in settings:  # else the adapter's shapes are others
        lora_folder = adapter(tmp_path / "adapter")
    engines = []
    for plain in (True, False):
        causal, tokenizer = load_weights(folder, lora_folder, CPU, dtype, "eager", plain=plain)
        assert isinstance(causal, llama.Llama) == plain
        engines.append(LocalEngine(causal, tokenizer))
    ours, theirs = engines
    assert equal(ours.network.causal.state_dict(), theirs.network.causal.state_dict())
    form, asked = get_format("inline_xml"), label_set("core")
    texts = ["John Smith reported from New York.", "a < b", "Köln"]
    requests = [Request("Copy the text.", t, form.grammar(t, asked, Constraints("word", 2)), True, 3) for t in texts]
    for size in (1, 3):
        assert list(ours.generate(requests, batch_size=size)) == list(theirs.generate(requests, batch_size=size))


@pytest.mark.parametrize(
    "settings",
    [
        {"attention_bias": True},
        {"mlp_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
    ],
    ids=str,
)
def test_other_llamas_are_left_to_transformers(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = saved(tmp_path, **settings)
    assert llama.read(folder, torch.float32) is None
    assert isinstance(load_weights(folder, None, CPU, torch.float32, "eager")[0], LlamaForCausalLM)


def test_a_mapped_model_and_its_merge_leave_the_file_alone(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tie_word_embeddings=True)
    before = hashlib.sha256((folder / "model.safetensors").read_bytes()).digest()
    causal = llama.read(folder, torch.float32)
    assert causal is not None
    assert causal.lm_head.weight is causal.model.embed_tokens.weight
    assert lora.merge(causal, adapter(tmp_path / "adapter"))
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).digest() == before


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff" * 100], ids=["empty", "short", "noise"])
def test_broken_weights_are_a_model_error(tmp_path: Path, damage: bytes) -> None:
    folder = saved(tmp_path)
    (folder / "model.safetensors").write_bytes(damage)
    with pytest.raises(ModelError, match="cannot be loaded as a causal language model"):
        load_weights(folder, None, CPU, torch.float32, "eager")


# --- The tokenizer ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> tuple[FastTokenizer, Any]:
    folder = locate(DEFAULT_BASE)
    ours = read_tokenizer(folder)
    assert ours is not None
    return ours, AutoTokenizer.from_pretrained(folder, local_files_only=True)


@given(
    st.lists(st.text() | st.sampled_from(["<|im_end|>", "<|im_start|>user\n", " ", "\n\n", "2024", "é"])).map("".join)
)
def test_the_tokenizer_is_that_of_transformers(pair: tuple[FastTokenizer, Any], text: str) -> None:
    ours, theirs = map(Chat, pair)
    assert ours.prefix_ids(text) == theirs.prefix_ids(text)
    assert ours.body_ids(text) == theirs.body_ids(text)
    assert ours.answer_ids(text) == theirs.answer_ids(text)
    assert pair[0].decode(ours.encode(text)) == pair[1].decode(theirs.encode(text))


def test_the_vocabulary_is_that_of_transformers(pair: tuple[FastTokenizer, Any]) -> None:
    ours, theirs = (Vocabulary(tokenizer, Chat(tokenizer).end_id, 49152) for tokenizer in pair)
    assert (ours.bytes, ours.end_id) == (theirs.bytes, theirs.end_id)


@pytest.mark.parametrize(
    "change", [{"tokenizer_class": "LlamaTokenizer"}, {"bos_token": "<new>"}, {"add_bos_token": True}], ids=str
)
def test_other_tokenizers_are_left_to_transformers(tmp_path: Path, change: dict[str, Any]) -> None:
    tiny.tokenizer("bytes").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert read_tokenizer(tmp_path) is not None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | change))
    assert read_tokenizer(tmp_path) is None


# --- The check of a fetched model -------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a model of a few bytes in it, all of them checked."""
    monkeypatch.setenv("GENNER_HOME", str(tmp_path))
    monkeypatch.setattr(model_store, "SETTLED", 0)
    folder = tmp_path / "models" / DEFAULT_BASE
    folder.mkdir(parents=True)
    for name, content in (("config.json", b"{}"), ("model.safetensors", b"weights")):
        (folder / name).write_bytes(content)
    model_store._write_manifest(model_store.MODELS[DEFAULT_BASE], folder)
    verify(folder)
    return folder


def test_what_was_checked_is_not_hashed_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(model_store, "sha256_of", lambda path: hashed.append(path) or "")
    assert ready(DEFAULT_BASE) == store
    assert not hashed
    with pytest.raises(ModelError, match="is corrupt"):
        verify(store)  # without trust everything is hashed
    assert hashed


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_change_is_seen_all_the_same(store: Path, keep_times: bool) -> None:
    import os

    weights = store / "model.safetensors"
    stat = weights.stat()
    weights.write_bytes(b"Weights")
    if keep_times:
        os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ModelError, match=r"is corrupt: model\.safetensors is not what was fetched"):
        ready(DEFAULT_BASE)
    weights.unlink()
    with pytest.raises(ModelError, match=r"is corrupt: model\.safetensors is missing"):
        ready(DEFAULT_BASE)


def test_a_file_written_just_now_is_not_trusted(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_store, "SETTLED", 10**19)
    verify(store)
    assert json.loads((store / model_store.CHECKED).read_text()) == {}


@pytest.mark.parametrize("note", ["", "[]", '{"model.safetensors": 3}'])
def test_a_broken_note_only_costs_time(store: Path, note: str) -> None:
    (store / model_store.CHECKED).write_text(note)
    assert ready(DEFAULT_BASE) == store
