"""The HTTP engine against a real llama.cpp server, which has a tiny model: started and stopped here.

Needs `llama-server` on the PATH, or the wheel xllamacpp (34 MB, so not among genner's own requirements): in this
environment, or in the one whose interpreter the variable LLAMA_PYTHON names.
"""

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import httpx2
import pytest
from tests import tiny

from genner.document import LabelSet, Prediction
from genner.engines.base import Generation, Request
from genner.engines.chat import Chat
from genner.engines.decoding import reference
from genner.engines.http import HttpEngine, HttpOptions
from genner.engines.vocabulary import Vocabulary
from genner.export import gguf_file
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.grammar import Constraints, accepts

PYTHON = os.environ.get("LLAMA_PYTHON") or (sys.executable if importlib.util.find_spec("xllamacpp") else "")
PROGRAM = shutil.which("llama-server")

pytestmark = pytest.mark.skipif(
    not (PYTHON or PROGRAM),
    reason="needs llama-server on the PATH, or pip install xllamacpp (LLAMA_PYTHON: where it is)",
)

SERVE = """
import sys, xllamacpp as x
p = x.CommonParams()
p.model.path, p.port, p.n_ctx, p.n_parallel = sys.argv[1], int(sys.argv[2]), 4096, 1
p.cache_type_k = p.cache_type_v = x.ggml_type.GGML_TYPE_F32
p.fit_params, p.warmup, p.verbosity = False, False, 0
server = x.Server(p)
sys.stdin.read()
"""
LABELS = LabelSet.of("PER", "LOC")
TEXTS = [
    "John Smith reported from New York.",
    "Köln liegt am Rhein; 東京 is in Japan.",
    "<PER>Bo</PER> saw Ann [a | b].",
]


def write_tiny(path: Path) -> Any:
    """A tiny random Llama in float32 as a GGUF file; returns the model."""
    tokens = tiny.tokenizer("bytes")
    causal, vocabulary = tiny.model("llama", len(tokens)), tokens.get_vocab()
    config, weights = causal.config, causal.state_dict()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    listed = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_token_list(listed)
    writer.add_token_types([3 if token in tokens.all_special_tokens or token == "<|start|>" else 1 for token in listed])
    merges = json.loads(tokens.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(vocabulary["<|start|>"])
    writer.add_eos_token_id(vocabulary["<|end|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(tiny.TEMPLATE)
    parts = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]
    blocks = [f"blk.{layer}.{part}" for layer in range(config.num_hidden_layers) for part in parts]
    for name in ["token_embd", "output_norm", "output", *blocks]:
        tensor = gguf_file.weight_of(f"{name}.weight", weights, config.num_attention_heads, config.num_key_value_heads)
        writer.add_tensor(f"{name}.weight", tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return causal


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    path = tmp_path_factory.mktemp("llama") / "tiny-f32.gguf"
    return path, write_tiny(path)


@pytest.fixture(scope="module")
def address(model: tuple[Path, Any]) -> Iterator[str]:
    """The address of a server that runs while the tests of this file do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-c", SERVE, str(model[0]), str(port)]
    if not PYTHON:
        cache = ["--cache-type-k", "f32", "--cache-type-v", "f32"]
        command = [str(PROGRAM), "-m", str(model[0]), "--port", str(port), "-c", "4096", "-np", "1", *cache]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    ) as server:
        try:
            deadline = time.monotonic() + 60
            while not _ready(f"http://127.0.0.1:{port}/health"):
                assert server.poll() is None, server.stderr and server.stderr.read()
                assert time.monotonic() < deadline, "the server did not start in a minute"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()


def _ready(address: str) -> bool:
    try:
        return httpx2.get(address, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def asked(
    address: str, form: str, texts: list[str], **options: Any
) -> tuple[list[Prediction], list[tuple[Request, Generation]]]:
    """The predictions for flat entities, and what was sent and came back."""
    engine = HttpEngine.load(options=HttpOptions(address, cache="none", **options))
    seen: list[tuple[Request, Generation]] = []
    constrained = options.get("structured") != "none"
    ner = Extractor(engine, FORMATS[form], LABELS, constrained=constrained, split=False, nested=False)
    found = list(ner.pipe(texts, on_generation=lambda request, made: seen.append((request, made))))
    return found, seen


@pytest.mark.parametrize("form", ["inline_xml", "compact"])
def test_the_server_writes_what_the_reference_decoder_does(address: str, model: tuple[Path, Any], form: str) -> None:
    """The same weights in float32, the same prompt, and a grammar that is exact for flat entities."""
    tokens = tiny.tokenizer("bytes")
    chat = Chat(tokens)
    vocabulary = Vocabulary(tokens, chat.end_id, len(tokens))
    predictions, seen = asked(address, form, TEXTS)
    assert [p.text for p in predictions] == TEXTS
    assert sum(len(p.entities) for p in predictions) > 0
    assert not any(p.invalid for p in predictions)
    for request, made in seen:
        assert made.text == reference(model[1], chat, vocabulary, request).text


@pytest.mark.parametrize("form", FORMATS)
def test_answers_under_the_exported_grammar_are_whole_and_about_the_text(address: str, form: str) -> None:
    predictions, seen = asked(address, form, TEXTS[:2])
    for prediction, text in zip(predictions, TEXTS, strict=False):
        assert prediction.text == text
        assert not prediction.invalid
    for request, made in seen:
        assert made.complete
        assert not made.failure
        if form in ("inline_xml", "inline_bracketed", "compact"):
            limits = Constraints("strict", 1)
            assert accepts(FORMATS[form].grammar(request.text, LABELS, limits), made.answer)


def test_free_answers_are_repaired_and_counted(address: str) -> None:
    """A random model writes no copy of the text; the job goes on."""
    predictions, seen = asked(address, "inline_xml", TEXTS[:1], structured="none")
    assert [p.text for p in predictions] == TEXTS[:1]
    assert len(seen) == 1
    assert all(p.problems for p in predictions)
    assert not any(re.search("grammar", problem.detail) for p in predictions for problem in p.problems)
