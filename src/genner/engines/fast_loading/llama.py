"""The Llama architecture, read straight from its files, without transformers.

transformers supports hundreds of architectures, and its import takes two seconds. This is the plain form of one of
them, with the module names and the order of operations of transformers' `LlamaForCausalLM`, and so with the same bits;
the tests compare the two. Whatever differs from the plain form (scaled rotary positions, biases, quantized or sharded
weights) is left to transformers.

The weights are mapped into memory, not read: pages that are never used (most of the embeddings) are never read, and
pages that are written to, when an adapter is merged, become the process's own copy.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn


@dataclass
class Config:
    """The settings of a plain Llama in a config.json; the names are those of transformers.

    `_attn_implementation`, a key of `ATTENTION`, is looked up in each pass, as transformers does.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    head_dim: int
    tie_word_embeddings: bool
    model_type: str = "llama"
    _attn_implementation: str = ""

    def get_text_config(self) -> "Config":
        return self


# Settings that may be in the config of a Llama, with their values in the plain form.
_PLAIN = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "rope_scaling": None,
    "pretraining_tp": 1,
}
# Settings that have no effect on inference.
_IGNORED = {
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "initializer_range",
    "is_llama_config",
    "pad_token_id",
    "rope_interleaved",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}


def read_config(folder: Path) -> Config | None:
    """The config in this folder; None if it is not of a plain Llama, or has a setting that is not known here."""
    try:
        raw: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        rope = raw.pop("rope_parameters", None) or {"rope_type": "default", "rope_theta": raw.pop("rope_theta", 1e4)}
        if rope.keys() != {"rope_type", "rope_theta"} or rope["rope_type"] != "default":
            return None
        raw["rope_theta"] = rope["rope_theta"]
        raw["head_dim"] = raw.get("head_dim") or raw["hidden_size"] // raw["num_attention_heads"]
        raw.setdefault("tie_word_embeddings", False)
        known = {field.name for field in fields(Config) if not field.name.startswith("_")}
        others = {name: value for name, value in raw.items() if name not in known | _IGNORED}
        if raw.get("architectures") != _PLAIN["architectures"] or any(
            name not in _PLAIN or value != _PLAIN[name] for name, value in others.items()
        ):
            return None
        return Config(**{name: value for name, value in raw.items() if name in known})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # transformers says what is wrong with it


def read(folder: Path, dtype: torch.dtype) -> "Llama | None":
    """The model in this folder, in evaluation mode, on the CPU; None if transformers has to load it."""
    config, weights = read_config(folder), folder / "model.safetensors"
    if config is None or not weights.is_file():
        return None
    with torch.device("meta"):
        model = Llama(config)
    expected = model.state_dict()
    if config.tie_word_embeddings:
        del expected["lm_head.weight"]
    with safe_open(weights, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    if shapes != {name: tuple(tensor.shape) for name, tensor in expected.items()}:
        return None
    tensors: dict[str, Tensor] = {}
    # One mapping for each layer: it is freed, with all that was written into it, when its matrices are replaced
    # (`weight_prepacking`). Vectors are copied out of it, since they stay.
    for _, names in groupby(sorted(shapes), key=lambda name: name.split(".")[:3]):
        with safe_open(weights, framework="pt") as file:
            for name in names:
                tensor = file.get_tensor(name).to(dtype)
                tensors[name] = tensor.clone() if tensor.dim() == 1 else tensor
    if config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    model.load_state_dict(tensors, assign=True)
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.requires_grad_(False).eval()


# Implementations of attention by name. They are called as in transformers: module, queries [N, heads, T, D], the two
# results of the cache's `update`, None for a mask, and `scaling`; they return [N, T, heads, D] and something that is
# ignored. Whoever runs a model registers one.
ATTENTION: dict[str, Callable[..., tuple[Tensor, Any]]] = {}


class _Linear(nn.Linear):
    def reset_parameters(self) -> None:
        """Do nothing, since the weights are assigned later. Drawing random ones, even without storage, imports torch's
        compiler, which takes as long as importing torch."""


class _Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        """Do nothing, for the same reason."""


class _Norm(nn.Module):
    """RMSNorm, in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.variance_epsilon = eps

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * wide.to(hidden.dtype)


class _Attention(nn.Module):
    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        size, head = config.hidden_size, config.head_dim
        self.q_proj = _Linear(size, config.num_attention_heads * head, bias=False)
        self.k_proj = _Linear(size, config.num_key_value_heads * head, bias=False)
        self.v_proj = _Linear(size, config.num_key_value_heads * head, bias=False)
        self.o_proj = _Linear(config.num_attention_heads * head, size, bias=False)
        self.layer_idx, self.head_dim, self.scaling = layer, head, head**-0.5
        self.config = config

    def forward(self, hidden: Tensor, rotary: tuple[Tensor, Tensor], cache: Any) -> Tensor:
        def heads(flat: Tensor) -> Tensor:  # [N, T, heads * D] -> [N, heads, T, D]
            return flat.view(*flat.shape[:-1], -1, self.head_dim).transpose(1, 2)

        query, key = (rotate(heads(projection(hidden)), *rotary) for projection in (self.q_proj, self.k_proj))
        key, value = cache.update(key, heads(self.v_proj(hidden)), self.layer_idx)
        attend = ATTENTION[self.config._attn_implementation]
        attended, _ = attend(self, query, key, value, None, scaling=self.scaling)
        out: Tensor = self.o_proj(attended.flatten(2))
        return out


def rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions: [N, heads, T, D] with angles of [N, 1, T, D]; dimension i turns with i + D/2."""
    first, second = heads.chunk(2, -1)
    return heads * cosine + torch.cat((-second, first), -1) * sine


class _Mlp(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_proj = _Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = _Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = _Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return out


class _Layer(nn.Module):
    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.self_attn = _Attention(config, layer)
        self.mlp = _Mlp(config)
        self.input_layernorm = _Norm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = _Norm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden: Tensor, rotary: tuple[Tensor, Tensor], cache: Any) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), rotary, cache)
        out: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return out


class Output(NamedTuple):
    last_hidden_state: Tensor  # [N, T, H]


class _Body(nn.Module):
    """The model below its head."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed_tokens = _Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = _Norm(config.hidden_size, config.rms_norm_eps)
        # Made on the CPU whatever the default device is, since it is computed, not loaded; it moves with the model.
        even = torch.arange(0, config.head_dim, 2, dtype=torch.float, device="cpu")
        self.register_buffer("frequencies", 1.0 / config.rope_theta ** (even / config.head_dim), persistent=False)

    def forward(
        self,
        *,
        input_ids: Tensor,
        position_ids: Tensor,
        past_key_values: Any,
        attention_mask: None = None,
        use_cache: bool = True,
    ) -> Output:
        """`input_ids` and `position_ids` are [N, T]; the attention in use reads the cache, and masks what it has to."""
        assert use_cache
        assert attention_mask is None
        hidden: Tensor = self.embed_tokens(input_ids)
        angles = (position_ids[..., None].float() * self.get_buffer("frequencies")).repeat(1, 1, 2)[:, None]
        rotary = angles.cos().to(hidden.dtype), angles.sin().to(hidden.dtype)
        for layer in self.layers:
            hidden = layer(hidden, rotary, past_key_values)
        return Output(self.norm(hidden))


class Llama(nn.Module):
    """The parts of a causal model that the decoders need: `model`, its body, and `lm_head`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = _Body(config)
        self.lm_head = _Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head
