"""Packed weights: the same products, of the layers that they are meant for and no others."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tiny
from genner.engines import packing
from genner.engines.cache import RowCache
from genner.engines.local import LocalEngine
from genner.engines.network import Network
from genner.engines.packing import Packed, pack

DTYPES = sorted(packing.dtypes(), key=str)
needs_packing = pytest.mark.skipif(not DTYPES, reason="nothing is packed on this processor")
# How far a sum may be off: bf16 has eight bits, float32 twenty-four.
CLOSE = {torch.bfloat16: 2**-7, torch.float32: 1e-5}


@needs_packing
@given(
    st.sampled_from(DTYPES or [torch.float32]),
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
    with torch.inference_mode():
        found = Packed(layer)(hidden)
    exact = hidden.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0)
    assert found.dtype == dtype
    assert found.shape == (*before, outs)
    torch.testing.assert_close(found.double(), exact, rtol=CLOSE[dtype], atol=CLOSE[dtype])


@needs_packing
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_packed_model_has_the_hidden_states_of_the_model(family: str, dtype: torch.dtype) -> None:
    causal = copy.deepcopy(tiny.model(family)).to(dtype)
    states = []
    for packed in (False, True):
        if packed:
            assert pack(causal) > 0
        network, cache = Network(causal), RowCache(2)
        some = [network.forward([[5, 6, 7, 8], [9]], cache, [0, 1])]
        cache.lengths = [2, 1]  # two tokens are taken back
        some.append(network.forward([[10], [11, 12, 13]], cache, [0, 1]))
        states.append(torch.cat(some).float())
    assert isinstance(causal.get_output_embeddings(), nn.Linear)
    assert not any(isinstance(layer, nn.Linear) for layer in causal.model.modules())
    close = 0.05 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(states[1], states[0], rtol=close, atol=close)


def test_only_plain_layers_of_fast_dtypes_are_packed() -> None:
    class Other(nn.Linear):
        def forward(self, hidden: Any) -> Any:
            return super().forward(hidden) + 1

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.half, self.wide = nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4)
            self.exact, self.other = nn.Linear(4, 4).double(), Other(4, 4)
            self.head = nn.Linear(4, 9)

        def get_output_embeddings(self) -> nn.Linear:
            return self.head

    model = Model()
    assert pack(model) == len(DTYPES)
    assert isinstance(model.half, Packed) == (torch.bfloat16 in DTYPES)
    assert isinstance(model.wide, Packed) == (torch.float32 in DTYPES)
    assert [type(layer) for layer in (model.exact, model.other, model.head)] == [nn.Linear, Other, nn.Linear]


@needs_packing
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loaded_engine_is_packed_and_the_reference_is_not(tmp_path: Path, dtype: torch.dtype) -> None:
    copy.deepcopy(tiny.model("llama")).bfloat16().save_pretrained(tmp_path)
    tiny.tokenizer("bytes").save_pretrained(tmp_path)
    for decoder, packed in (("speculative", True), ("reference", False)):
        engine = LocalEngine.load(tmp_path, decoder=decoder, dtype=dtype)  # type: ignore[arg-type]
        layers = [type(layer) for layer in engine.network.causal.modules()]
        assert (Packed in layers) == packed
    exact = LocalEngine.load(tmp_path, dtype=torch.float64)
    assert Packed not in [type(layer) for layer in exact.network.causal.modules()]
