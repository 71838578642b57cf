"""vLLM itself, on tiny models: answers equal those of the reference decoder. Runs in vLLM's own environment
(`make test-vllm`)."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

vllm = pytest.importorskip("vllm", reason="vLLM is not installed here; its tests: make test-vllm")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tests import tiny  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from genner.document import LabelSet  # noqa: E402
from genner.engines.base import Generation, Request  # noqa: E402
from genner.engines.transformers_engine import LocalEngine  # noqa: E402
from genner.engines.vllm import VllmEngine, VllmOptions  # noqa: E402
from genner.errors import ModelError, UsageError  # noqa: E402
from genner.formats import FORMATS  # noqa: E402
from genner.formats.grammar_source import FormatGrammarSource  # noqa: E402
from genner.grammar import Constraints, accepts  # noqa: E402

LABELS = LabelSet.of("PER", "LOC", "DNA")
TEXTS = [
    "John Smith reported from New York.",
    "The protein NF-kappa B binds DNA in T cells.",
    "a < b, <PER>John</PER> [a | b]",
    "Die Stadt Köln liegt am Rhein; 東京 is in Japan.",
    "x",
]
RANK = 4


@pytest.fixture(autouse=True, scope="module")
def in_this_process() -> Iterator[None]:
    """vLLM's engine in this process and on one thread: a tiny model loads in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", str(min(os.sched_getaffinity(0))))
        yield


def saved(family: str, kind: str, place: Path) -> Path:
    """A tiny model whose heads are as large as vLLM's kernels want them."""
    kind_of_config, extra = tiny.FAMILIES[family]
    torch.manual_seed(0)
    sizes = {"head_dim": 32} if "head_dim" in extra else {}
    config = kind_of_config(
        vocab_size=704,
        hidden_size=128,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.15,
        **(extra | sizes),
    )
    AutoModelForCausalLM.from_config(config).float().save_pretrained(place)
    tiny.tokenizer(kind).save_pretrained(place)
    return place


def adapter(place: Path, seed: int) -> Path:
    """A random LoRA adapter for the query projections of a tiny model."""
    place.mkdir()
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, 128, generator=generator)
        tensors[f"{name}.lora_B.weight"] = torch.randn(128, RANK, generator=generator) * 0.3
    save_file(tensors, place / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": ["q_proj"],
    }
    (place / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "", "bias": "none"}))
    return place


@contextmanager
def engine(folder: Path, adapter: Path | None = None, **options: Any) -> Iterator[VllmEngine]:
    from vllm.distributed import cleanup_dist_env_and_memory

    given = VllmOptions(**({"dtype": "float32", "window": 1024, "batch": 4, "adapters": 0, "cpu_memory": 1} | options))
    made = VllmEngine.load(folder, adapter, name="tiny", device=torch.device("cpu"), options=given)
    try:
        yield made
    finally:
        made._engine.engine_core.shutdown()
        cleanup_dist_env_and_memory()


def requests(adapter: str = "", constrained: bool = True) -> list[Request]:
    """Each text in each format; constraints differ."""
    found = []
    for number, form in enumerate(FORMATS.values()):
        for text in TEXTS:
            limits = Constraints("word", 1 + number % 3, number % 2 == 0, number % 3 > 0)
            source = FormatGrammarSource(form, text, LABELS, limits)
            instruction = f"Tag {number % 2}:\n"
            found.append(
                Request(instruction, text, source.grammar(), constrained, adapter=adapter, grammar_source=source)
            )
    return found


def answers(some: Any, asked: list[Request]) -> list[Generation]:
    found = list(some.generate(iter(asked)))
    assert [request for request, _ in found] == asked
    return [generation for _, generation in found]


def assert_equal(fast: list[Generation], slow: list[Generation]) -> None:
    for one, other in zip(fast, slow, strict=True):
        assert one.answer == other.answer
        assert (one.ends, one.complete, one.problems) == (other.ends, other.complete, ())
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-3)


@cache
def reference(folder: Path, adapter: Path | None = None) -> LocalEngine:
    return LocalEngine.load(folder, adapter, device=torch.device("cpu"), dtype=torch.float32, decoder="reference")


# vLLM refuses models that have sliding windows in some layers only, but for those that it knows to be so.
@pytest.mark.parametrize("family", [family for family in tiny.FAMILIES if family != "qwen2_sliding"])
def test_answers_equal_those_of_the_reference_decoder(family: str, tmp_path: Path) -> None:
    folder = saved(family, "pieces" if "gemma" in family else "bytes", tmp_path / "model")
    asked = requests()
    with engine(folder) as some:
        found = answers(some, asked)
        assert_equal(found, answers(reference(folder), asked))
        # Free decoding in the same engine is not touched.
        free = requests(constrained=False)[:6]
        assert_equal(answers(some, free), answers(reference(folder), free))


def test_adapters_are_chosen_by_request(tmp_path: Path) -> None:
    folder = saved("llama", "bytes", tmp_path / "model")
    places = {name: adapter(tmp_path / name, seed) for seed, name in enumerate(["one", "two"])}
    asked = requests()[:5]
    with engine(folder, adapters=2, rank=RANK) as some:
        for name, place in places.items():
            assert some.add_adapter(name, place) == name
        assert some.add_adapter("one", places["one"]) == "one"
        mixed = [
            request for three in zip(asked, requests("one")[:5], requests("two")[:5], strict=True) for request in three
        ]
        found = answers(some, mixed)
        for first, place in enumerate([None, *places.values()]):
            assert_equal(found[first::3], answers(reference(folder, place), asked))
        assert len({tuple(g.logprobs for g in found[i::3]) for i in range(3)}) == 3
        with pytest.raises(UsageError, match=r"holds 2 adapters already.*adapters=3"):
            some.add_adapter("three", places["one"])
        with pytest.raises(UsageError, match="another adapter of the name 'two'"):
            some.add_adapter("two", places["one"])


def test_an_adapter_is_merged_where_there_is_no_room_for_several(tmp_path: Path) -> None:
    folder, place = saved("llama", "bytes", tmp_path / "model"), adapter(tmp_path / "one", 1)
    asked = requests()[:5]
    with engine(folder, place) as some:
        assert_equal(answers(some, asked), answers(reference(folder, place), asked))
        with pytest.raises(UsageError, match="without room for one"):
            some.add_adapter("one", place)


def test_a_drafter_beside_the_weights_is_not_read_as_weights(tmp_path: Path) -> None:
    folder = saved("llama", "bytes", tmp_path / "model")
    save_file({"bias": torch.zeros(3)}, folder / "drafter.safetensors")
    with engine(folder) as some:
        assert some.folder == folder
        assert_equal(answers(some, requests()[:2]), answers(reference(folder), requests()[:2]))


def test_requests_that_vllm_refuses_and_answers_that_are_cut_off(tmp_path: Path) -> None:
    """Each has its reason or its legal rest, and the others go on; a stream that is left gives its places back."""
    folder = saved("llama", "bytes", tmp_path / "model")
    asked = requests()[:3]
    long = "John Smith. " * 60
    source = FormatGrammarSource(FORMATS["inline_xml"], long, LABELS, Constraints("word", 1))
    asked.insert(1, Request("Tag:\n", long, source.grammar(), grammar_source=source))
    with engine(folder, window=120) as some:
        assert some.window == 120
        found = answers(some, asked)
        assert "vLLM refused the request" in found[1].failure
        assert [bool(g.failure) for g in found] == [False, True, False, False]
        for request, generation in zip(asked, found, strict=True):
            if not generation.failure:
                assert accepts(request.grammar, generation.answer)
        stream = some.generate(iter(requests()))
        next(stream)
        stream.close()
        assert not some._engine.has_unfinished_requests()
        assert_equal(answers(some, asked[2:]), found[2:])
        without = Request("Tag:\n", "x", asked[0].grammar)
        with pytest.raises(UsageError, match="grammar_source"):
            list(some.generate([without]))


def test_what_vllm_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    with pytest.raises(ModelError, match="vLLM cannot load"), engine(tmp_path):
        pass
    sliding = saved("qwen2_sliding", "bytes", tmp_path / "sliding")
    with pytest.raises(ModelError, match="Sliding window for some"), engine(sliding):
        pass
