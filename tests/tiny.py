"""Tiny random models of every supported family, and tokenizers of both kinds, made on the spot."""

from functools import cache
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    GraniteMoeHybridConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

TEXT = """The protein NF-kappa B binds DNA in T cells. John Smith reported from New York. <PER>John</PER> [a | b]
Die Stadt Köln liegt am Rhein; 東京 is in Japan. Copy the text with each entity as <LABEL>mention</LABEL>. Labels:
PER person LOC location. a < b, C:\\x and so on: 0123456789 (abc) {def} 'ghi' "jkl" """

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


@cache
def tokenizer(kind: str) -> Any:
    """`bytes`: byte-level BPE, as in GPT-2, Llama 3, Qwen; `pieces`: SentencePiece-style with byte fallback (Gemma)."""
    specials = ["<pad>", "<|start|>", "<|end|>"]
    if kind == "bytes":
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=specials, initial_alphabet=alphabet)
    else:
        raw = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<pad>"))
        raw.normalizer = normalizers.Replace(" ", "\u2581")
        raw.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
        raw.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
        fallback = [f"<0x{b:02X}>" for b in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials + fallback)
    raw.train_from_iterator([TEXT] * 3, trainer)
    if kind == "pieces":
        # The trainer can only reserve byte tokens as special ones; real vocabularies hold them as plain entries.
        import json

        state = json.loads(raw.to_str())
        state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
        raw = Tokenizer.from_str(json.dumps(state))
        raw.add_tokens([AddedToken("\u2581\u2581", normalized=False)])
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<|end|>")
    fast.chat_template = TEMPLATE
    return fast


FAMILIES = {
    "llama": (LlamaConfig, {}),
    "qwen2": (Qwen2Config, {}),
    "qwen2_sliding": (Qwen2Config, {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "qwen3": (Qwen3Config, {"head_dim": 8}),
    "gemma2": (Gemma2Config, {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}),
    "gemma3": (Gemma3TextConfig, {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}),
    "granite": (
        GraniteConfig,
        {"logits_scaling": 4.0, "embedding_multiplier": 6.0, "residual_multiplier": 0.5, "attention_multiplier": 0.2},
    ),
}


@cache
def model(family: str, vocabulary: int = 700) -> Any:
    """A random float32 model of this family: 3 layers (of both kinds where there are two), 32 wide."""
    kind, extra = FAMILIES[family]
    torch.manual_seed(0)
    config = kind(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.3,  # far enough from zero that logits differ clearly
        **extra,
    )
    causal = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return causal.float().eval()


@cache
def hybrid(vocabulary: int = 700) -> Any:
    """A random float32 model with state-space layers among those of attention (Granite 4's form)."""
    torch.manual_seed(0)
    config = GraniteMoeHybridConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        shared_intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=0,
        layers_block_type=["mamba", "attention", "mamba"],
        layer_types=["mamba", "attention", "mamba"],
        mamba_n_heads=8,
        mamba_d_head=8,
        mamba_d_state=8,
        mamba_expand=2,
        mamba_chunk_size=16,
        max_position_embeddings=4096,
        initializer_range=0.3,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
