"""GGUF files of merged weights: what they hold, to the precision of their type, and what is refused."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genner.errors import ModelError, UnknownNameError, UsageError
from genner.export import gguf_file

HEADS, KV_HEADS, WIDTH = 4, 2, 64
PROJECTIONS = {"attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "ffn_down": (64, 96), "ffn_gate": (96, 64)}


def weights() -> dict[str, torch.Tensor]:
    """One layer of a Llama by transformers' names."""
    torch.manual_seed(0)
    made = {f"model.layers.0.{gguf_file.GGUF_PARTS[p]}.weight": torch.randn(shape) for p, shape in PROJECTIONS.items()}
    return {**made, "model.embed_tokens.weight": torch.randn(32, WIDTH), "model.norm.weight": torch.randn(WIDTH)}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A file of a base model: matrices of zeros in 4 bits, the embedding in 8, the norm in 32."""
    writer = gguf.GGUFWriter(tmp_path / "base.gguf", "llama")
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_token_list(["a", "é"])
    writer.add_token_types([1, 3])
    writer.add_rope_freq_base(1e5)
    shapes = {f"blk.0.{part}.weight": (shape, gguf_file.GGUF_TYPES["q4_1"]) for part, shape in PROJECTIONS.items()}
    shapes["token_embd.weight"] = (32, WIDTH), gguf_file.GGUF_TYPES["q8_0"]
    shapes["output_norm.weight"] = (WIDTH,), gguf.GGMLQuantizationType.F32
    for name, (shape, kind) in shapes.items():
        writer.add_tensor(name, gguf.quants.quantize(np.zeros(shape, dtype=np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "base.gguf"


# The farthest that a value may be from its quantized one, in parts of its block's largest magnitude (Q4_1: its range):
# half a step, or a whole one where the grid ends short of the largest. Its scale is rounded too.
FARTHEST = {"q4_0": 1 / 8, "q4_1": 1 / 30, "q8_0": 1 / 254, "bf16": 1 / 256, "f16": 1 / 2048}


@pytest.mark.parametrize("kind", gguf_file.GGUF_TYPES)
def test_a_file_holds_the_merged_weights(base: Path, tmp_path: Path, kind: str) -> None:
    gguf_file.write(base, weights(), kind, tmp_path / "out.gguf")
    old, new = gguf.GGUFReader(base), gguf.GGUFReader(tmp_path / "out.gguf")
    assert [t.name for t in new.tensors] == [t.name for t in old.tensors]
    for tensor in new.tensors:
        found = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        wanted = gguf_file.weight_of(tensor.name, weights(), HEADS, KV_HEADS).numpy()
        if tensor.name == "output_norm.weight":
            assert (found == wanted).all()
            continue
        is_embedding = tensor.name == "token_embd.weight" and kind.startswith("q")
        assert tensor.tensor_type == (gguf_file.GGUF_TYPES["q8_0"] if is_embedding else gguf_file.GGUF_TYPES[kind])
        blocks = wanted.reshape(-1, 32)
        size = np.ptp(blocks, axis=1) if kind == "q4_1" and not is_embedding else abs(blocks).max(axis=1)
        allowed = (FARTHEST["q8_0" if is_embedding else kind] + 2e-3) * size
        assert (abs(found.reshape(-1, 32) - blocks) <= allowed[:, None]).all(), tensor.name


def test_a_file_keeps_the_metadata_but_its_type(base: Path, tmp_path: Path) -> None:
    gguf_file.write(base, weights(), "q8_0", tmp_path / "out.gguf")

    def contents(path: Path) -> dict[str, tuple[Any, Any]]:
        fields = gguf.GGUFReader(path).fields.values()
        return {f.name: (f.types, f.contents()) for f in fields if not f.name.startswith("GGUF.")}

    old, new = contents(base), contents(tmp_path / "out.gguf")
    assert new.pop("general.file_type")[1] == gguf.LlamaFileType.MOSTLY_Q8_0
    assert old.pop("general.file_type")[1] == gguf.LlamaFileType.MOSTLY_Q4_1
    assert new == old


def test_unknown_types_and_other_architectures_are_refused(tmp_path: Path, base: Path) -> None:
    with pytest.raises(UnknownNameError, match="q9"):
        gguf_file.write(base, weights(), "q9", tmp_path / "out.gguf")
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "gemma")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UsageError, match="'gemma'"):
        gguf_file.write(tmp_path / "other.gguf", weights(), "q8_0", tmp_path / "out.gguf")


@given(heads=st.integers(1, 4), half=st.integers(1, 4), columns=st.integers(1, 3))
def test_rows_are_permuted_head_by_head_and_back(heads: int, half: int, columns: int) -> None:
    weight = torch.arange(heads * 2 * half * columns).view(-1, columns)
    found = gguf_file.permuted(weight, heads)
    # The slow way: dimension i of a head's first half goes to 2i, that of its second half to 2i + 1.
    for head in range(heads):
        for i in range(half):
            for side in range(2):
                row = weight[head * 2 * half + side * half + i]
                assert (found[head * 2 * half + 2 * i + side] == row).all()
    back = found.view(heads, -1, 2, columns).transpose(1, 2).reshape(weight.shape)  # as in genner.model_store
    assert (back == weight).all()


def test_another_model_and_another_file_are_refused(base: Path, tmp_path: Path) -> None:
    wider = weights() | {"model.layers.0.mlp.down_proj.weight": torch.randn(64, 128)}
    fewer = {name: weight for name, weight in weights().items() if "q_proj" not in name}
    odd = weights() | {"model.layers.0.self_attn.q_proj.weight": torch.randn(63, 64)}
    for wrong, named in ((wider, "ffn_down"), (fewer, "attn_q"), (odd, "attn_q")):
        with pytest.raises(ModelError, match=rf"blk\.0\.{named}\.weight .* is not in the model.*--base-gguf"):
            gguf_file.write(base, wrong, "q8_0", tmp_path / "out.gguf")
    (tmp_path / "no.gguf").write_bytes(b"no GGUF")
    for path in (tmp_path / "no.gguf", tmp_path / "nowhere.gguf"):
        with pytest.raises(ModelError, match=r"cannot be read as a GGUF file"):
            gguf_file.write(path, weights(), "q8_0", tmp_path / "out.gguf")
    with pytest.raises(ModelError, match="cannot be written"):
        gguf_file.write(base, weights(), "q8_0", tmp_path / "nowhere" / "out.gguf")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".gguf"] == []
    assert not (tmp_path / "out.gguf").exists()
