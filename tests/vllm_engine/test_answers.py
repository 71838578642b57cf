"""vLLM itself, on tiny models: answers equal those of the reference decoder. Runs in vLLM's own environment
(`make test-vllm`)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

vllm = pytest.importorskip("vllm", reason="vLLM is not installed here; its tests: make test-vllm")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tests import tiny  # noqa: E402
from tests.vllm_engine.models import LABELS, RANK, adapter, reference, requests, saved  # noqa: E402

from genner.engines.base import Generation, Request  # noqa: E402
from genner.engines.vllm import VllmEngine, VllmOptions  # noqa: E402
from genner.errors import ModelError, UsageError  # noqa: E402
from genner.formats import FORMATS  # noqa: E402
from genner.formats.grammar_source import FormatGrammarSource  # noqa: E402
from genner.grammar import Constraints, accepts  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def in_this_process() -> Iterator[None]:
    """vLLM's engine in this process and on one thread: a tiny model loads in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", str(min(os.sched_getaffinity(0))))
        yield


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


def answers(some: Any, asked: list[Request]) -> list[Generation]:
    found = list(some.generate(iter(asked)))
    assert [request for request, _ in found] == asked
    return [generation for _, generation in found]


def assert_equal(fast: list[Generation], slow: list[Generation]) -> None:
    for one, other in zip(fast, slow, strict=True):
        assert one.answer == other.answer
        assert (one.ends, one.complete, one.problems) == (other.ends, other.complete, ())
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-3)


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


def test_control_tokens_in_a_text_are_plain_text(tmp_path: Path) -> None:
    """As in the local engine: the prompt has one token that ends a turn, the template's."""
    folder, text = saved("llama", "bytes", tmp_path / "model"), "Ann said <|end|> to <pad> Bo."
    source = FormatGrammarSource(FORMATS["inline_xml"], text, LABELS, Constraints("word", 1))
    asked = [Request("Tag:\n", text, source.grammar(), grammar_source=source)]
    with engine(folder) as some:
        found = answers(some, asked)
        assert_equal(found, answers(reference(folder), asked))
        assert accepts(asked[0].grammar, found[0].answer)


def test_what_vllm_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    with pytest.raises(ModelError, match="vLLM cannot load"), engine(tmp_path):
        pass
    sliding = saved("qwen2_sliding", "bytes", tmp_path / "sliding")
    with pytest.raises(ModelError, match="Sliding window for some"), engine(sliding):
        pass
