"""From a GGUF file of a Llama to a plain transformers folder: weights, configs, tokenizer, chat template."""

import json
from pathlib import Path
from typing import Any

GGUF_PARTS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF's names for the parts of a Llama, and those of transformers."""

# The special tokens, by transformers' name and by GGUF's.
_SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding"}
_CONTROL = 3  # GGUF's type for a token that text never produces by itself


def convert_gguf(gguf_file: Path, folder: Path) -> None:
    """Write a GGUF Llama with a GPT-2 style BPE as a transformers folder with bfloat16 weights.

    transformers reads GGUF too, and arrives at the same bits, but it takes three times as long, leaves the config
    marked as quantized, and drops the digit splitting of the pre-tokenizer.
    """
    import gguf
    import torch
    from safetensors.torch import save_file
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    reader = gguf.GGUFReader(gguf_file)

    def field(key: str) -> Any:
        return reader.fields[key].contents()

    assert (field("general.architecture"), field("tokenizer.ggml.pre")) == ("llama", "smollm")
    heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    tensors = {}
    for tensor in reader.tensors:
        *block, part, kind = tensor.name.split(".")  # "blk.3.attn_q.weight", "token_embd.weight"
        weight = torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        if part in ("attn_q", "attn_k"):
            # llama.cpp rotates neighbouring dimensions, transformers the two halves of a head: undo its permutation.
            n = heads if part == "attn_q" else kv_heads
            weight = weight.view(n, -1, 2, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)
        layer = f"model.layers.{block[1]}." if block else ""
        tensors[f"{layer}{GGUF_PARTS[part]}.{kind}"] = weight.to(torch.bfloat16).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # written for its owner alone, and a store may be shared

    special_ids = {f"{k}_token_id": field(f"tokenizer.ggml.{v}_token_id") for k, v in _SPECIAL.items()}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": field("llama.vocab_size"),
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": field("llama.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": field("llama.rope.freq_base")},
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        **special_ids,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", special_ids)

    tokens = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    # What llama.cpp means by "smollm": every digit stands alone, so a run of spaces before a number is one token.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = zip(tokens, field("tokenizer.ggml.token_type"), strict=True)
    control = [AddedToken(token, special=True, normalized=False) for token, kind in types if kind == _CONTROL]
    tokenizer.add_special_tokens(control)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,  # it would move offsets
            **{key.removesuffix("_id"): tokens[i] for key, i in special_ids.items()},
            "unk_token": tokens[field("tokenizer.ggml.unknown_token_id")],
        },
    )
    (folder / "chat_template.jinja").write_text(field("tokenizer.chat_template"), encoding="utf-8")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
