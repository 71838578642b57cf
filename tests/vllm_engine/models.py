"""Tiny models as vLLM takes them, the requests that they are asked, and their reference."""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from tests import tiny
from transformers import AutoModelForCausalLM

from genner.document import LabelSet
from genner.engines.base import Request
from genner.engines.transformers_engine import LocalEngine
from genner.formats import FORMATS
from genner.formats.grammar_source import FormatGrammarSource
from genner.grammar import Constraints

LABELS = LabelSet.of("PER", "LOC", "DNA")
TEXTS = [
    "John Smith reported from New York.",
    "The protein NF-kappa B binds DNA in T cells.",
    "a < b, <PER>John</PER> [a | b]",
    "Die Stadt Köln liegt am Rhein; 東京 is in Japan.",
    "x",
]
RANK = 4


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


@cache
def reference(folder: Path, adapter: Path | None = None) -> LocalEngine:
    return LocalEngine.load(folder, adapter, device=torch.device("cpu"), dtype=torch.float32, decoder="reference")
