"""Packed weights: the same products, of the layers that they are meant for and no others, on every processor."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny
from tests.processors import PROCESSORS, pretend, stand_in
from torch import nn

from genner.engines import transformers_engine, weight_prepacking
from genner.engines.cache import KVCache
from genner.engines.fast_loading import lora
from genner.engines.network import Network
from genner.engines.transformers_engine import LocalEngine, fast_dtype
from genner.engines.weight_prepacking import Packed, pack

BOTH = (torch.bfloat16, torch.float32)
# How far a sum may be off: bf16 has eight bits, float32 twenty-four.
CLOSE = {torch.bfloat16: 2**-7, torch.float32: 1e-5}


@given(
    st.sampled_from(BOTH),
    st.lists(st.integers(1, 5), min_size=1, max_size=2),
    st.integers(1, 70),
    st.integers(1, 90),
    st.booleans(),
    st.integers(0, 1000),
)
def test_a_packed_layer_is_the_layer(
    dtype: torch.dtype, before: list[int], ins: int, outs: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(ins, outs, bias=bias).to(dtype).requires_grad_(False)
    hidden = torch.randn(*before, ins).to(dtype)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        pretend(patch, "bf16")
        found = Packed(layer)(hidden)
    exact = hidden.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0)
    assert found.dtype == dtype
    assert found.shape == (*before, outs)
    torch.testing.assert_close(found.double(), exact, rtol=CLOSE[dtype], atol=CLOSE[dtype])


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_packed_model_has_the_hidden_states_of_the_model(
    family: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "bf16")
    causal = copy.deepcopy(tiny.model(family)).to(dtype)
    states = []
    for packed in (False, True):
        if packed:
            assert pack(causal) > 0
        network, cache = Network(causal), KVCache(2)
        some = [network.forward([[5, 6, 7, 8], [9]], cache, [0, 1])]
        cache.lengths = [2, 1]  # two tokens are taken back
        some.append(network.forward([[10], [11, 12, 13]], cache, [0, 1]))
        states.append(torch.cat(some).float())
    assert isinstance(causal.get_output_embeddings(), nn.Linear)
    assert not any(isinstance(layer, nn.Linear) for layer in causal.model.modules())
    close = 0.05 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(states[1], states[0], rtol=close, atol=close)


class Other(nn.Linear):
    def forward(self, hidden: Any) -> Any:
        return super().forward(hidden) + 1


class Model(nn.Module):
    """Layers of each kind, some of them under names of methods that every module has."""

    def __init__(self) -> None:
        super().__init__()
        self.half, self.float = nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4)  # type: ignore[assignment]
        self.exact, self.other = nn.Linear(4, 4).double(), Other(4, 4)
        self.eval = nn.Sequential(nn.Linear(4, 4), nn.ReLU())  # type: ignore[assignment]
        self.register_module("nothing", None)
        self.head = nn.Linear(4, 9)

    def get_output_embeddings(self) -> nn.Linear:
        return self.head


def test_only_plain_layers_of_fast_dtypes_are_packed(processor: str) -> None:
    model, kinds = Model(), PROCESSORS[processor][1]
    layers = dict(model.named_modules())
    small, wide = torch.bfloat16 in kinds, torch.float32 in kinds
    assert pack(model) == small + 2 * wide
    after = dict(model.named_modules())
    assert isinstance(after["half"], Packed) == small
    assert isinstance(after["float"], Packed) == isinstance(after["eval.0"], Packed) == wide
    assert [after[name] for name in ("exact", "other", "head")] == [layers[n] for n in ("exact", "other", "head")]
    assert list(after) == list(layers)


def test_a_layer_may_be_named_as_any_method_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in dir(nn.Module) if not name.startswith("_") and callable(getattr(nn.Module, name))]
    assert {"half", "eval", "children", "type"} < {*names}
    model = Model()
    model._modules |= {name: nn.Linear(4, 4) for name in names}
    parts = {f"base_model.model.{name}.lora_{part}.weight": part for name in names for part in "AB"}
    tensors = {key: torch.ones((1, 4) if part == "A" else (4, 1)) for key, part in parts.items()}
    pairs = lora._pairs(model, tensors, {"r": 1, "target_modules": names})
    assert pairs is not None
    assert {name: layer for name, (layer, _, _) in pairs.items()} == {name: model._modules[name] for name in names}
    pretend(monkeypatch, "float32")
    pack(model)
    assert {name for name in names if isinstance(model._modules[name], Packed)} == {*names}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("machine", "wide"), [("x86_64", True), ("AMD64", True), ("arm64", False), ("aarch64", False)])
def test_what_can_be_packed_follows_from_the_processor(
    bf16: bool, machine: str, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_prepacking, "operators", lambda: stand_in(bf16=bf16))
    assert weight_prepacking.dtypes(machine) == {d for d, has in ((torch.float32, wide), (torch.bfloat16, bf16)) if has}
    monkeypatch.setattr(weight_prepacking, "operators", lambda: None)
    assert weight_prepacking.dtypes(machine) == set()


def test_a_pytorch_without_the_operators_packs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert weight_prepacking.operators() is None
    model = Model()
    assert pack(model) == 0


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (False, True), (True, False), (True, True)])
def test_models_are_loaded_in_what_the_processor_multiplies(
    avx512: bool, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert transformers_engine.multiplies_bf16() == (avx512 or amx)
    assert fast_dtype(torch.device("cpu")) == (torch.bfloat16 if avx512 or amx else torch.float32)
    assert fast_dtype(torch.device("mps")) == torch.float16


def test_a_loaded_engine_is_packed_and_the_reference_is_not(tmp_path: Path, processor: str) -> None:
    copy.deepcopy(tiny.model("llama")).bfloat16().save_pretrained(tmp_path)
    tiny.tokenizer("bytes").save_pretrained(tmp_path)
    fast, kinds = PROCESSORS[processor]
    for decoder in ("speculative", "reference"):
        causal = LocalEngine.load(tmp_path, decoder=decoder).network.causal  # type: ignore[arg-type]
        layers = [type(layer) for layer in causal.modules()]
        assert (Packed in layers) == (decoder == "speculative" and bool(kinds))
        assert causal.get_output_embeddings().weight.dtype == (torch.bfloat16 if fast else torch.float32)
    exact = LocalEngine.load(tmp_path, dtype=torch.float64)
    assert Packed not in [type(layer) for layer in exact.network.causal.modules()]
