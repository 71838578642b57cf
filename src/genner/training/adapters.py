"""What is trained: a LoRA adapter over a plain or a 4-bit base, or all weights; optionally tags as added tokens.

`load_base` and `prepare` build the model of a recipe. The trainer sees only which weights require a gradient, not the
method.
"""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from genner.document import LabelSet
from genner.engines.fast_loading.weights import attention_of, quiet_libraries
from genner.engines.transformers_engine import fast_dtype
from genner.errors import TrainingError
from genner.extras import install_command
from genner.formats import Format
from genner.presets import ALL_LINEAR
from genner.training.recipe import LoraSpec, Recipe


def load_base(folder: Path, method: str, device: torch.device, *, put: torch.device | None = None) -> Any:
    """The base model for a device: in 4 bits for `qlora`, else in the device's fast dtype.

    It is placed on `put` if given (a temporary place), else on `device`.

    Raises `TrainingError` where 4-bit quantization is not available.
    """
    from transformers import AutoModelForCausalLM

    dtype = fast_dtype(device)
    options: dict[str, Any] = {}
    if method == "qlora":
        options = {"quantization_config": _four_bits(device, dtype), "device_map": {"": device}}
    causal = AutoModelForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        dtype=dtype,
        # SDPA's backward pass on a CPU takes a quarter of the whole step; plain attention is faster there.
        attn_implementation=attention_of(folder, "eager" if device.type == "cpu" else "sdpa"),
        **options,
    )
    return causal if options else causal.to(put or device)


def _four_bits(device: torch.device, dtype: torch.dtype) -> Any:
    """The settings of the QLoRA paper (arXiv 2305.14314): NormalFloat, double quantization, products in `dtype`."""
    if device.type != "cuda":
        raise TrainingError(f"method 'qlora' needs a CUDA GPU, and this is {device.type}; use method = 'lora'")
    if find_spec("bitsandbytes") is None:
        raise TrainingError(f"method 'qlora' needs bitsandbytes, which is not installed; {install_command('qlora')}")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def prepare(causal: Any, recipe: Recipe, tags: Sequence[str] = (), tokenizer: Any = None) -> Any:
    """The model of a recipe, with an adapter or, for `full`, without; weights to train have `requires_grad` set.

    `tags` are tokens that `add_tags` has added to the tokenizer; their embeddings are trained.
    """
    ids = grow(causal, tokenizer, tags) if tags else []
    if recipe.method == "full":
        return causal.requires_grad_(True)
    return add_adapter(causal, recipe.lora, ids)


def add_adapter(model: Any, spec: LoraSpec, tokens: Sequence[int] = ()) -> Any:
    """Wrap the model with a fresh adapter, in the model's own dtype. `tokens`: ids whose embeddings are trained too.

    Raises `TrainingError`, which lists the model's layers, when none of the recipe's targets is among them.
    """
    from peft import LoraConfig, get_peft_model

    rows: dict[str, list[int]] | None = None
    if tokens:
        rows = {_name(model, model.get_input_embeddings()): list(tokens)}
        if model.get_output_embeddings().weight is not model.get_input_embeddings().weight:  # if tied, peft ties rows
            rows[_name(model, model.get_output_embeddings())] = list(tokens)
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        use_rslora=spec.rslora,
        use_dora=spec.dora,
        target_modules=spec.targets if spec.targets == ALL_LINEAR else _targets(model, spec.targets),
        trainable_token_indices=rows,
        task_type="CAUSAL_LM",
    )
    with quiet_libraries():
        return get_peft_model(model, config, autocast_adapter_dtype=False)


def _targets(model: Any, wanted: Sequence[str]) -> list[str]:
    head = model.get_output_embeddings()
    linear = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear) and layer is not head]
    for target in wanted:
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
            raise TrainingError(f"[lora] targets: the base has no linear layer {target!r}; it has: {known}")
    return list(wanted)


def _name(model: Any, part: Any) -> str:
    name: str = next(name for name, module in model.named_modules() if module is part)
    return name


def add_tags(tokenizer: Any, forms: Iterable[Format], labels: LabelSet) -> list[str]:
    """Add the tags that the formats use for these labels to a tokenizer, one token each. Returns the tags.

    They are not special tokens: each decodes to its own spelling, so grammars and decoders treat it as any other.
    """
    from tokenizers import AddedToken

    tags = list(dict.fromkeys(tag for form in forms for tag in form.added_tokens(labels)))
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in tags])
    return tags


def grow(causal: Any, tokenizer: Any, tags: Sequence[str]) -> list[int]:
    """Give the model an embedding for each added tag: the mean embedding of the tokens of its characters.

    Returns the tags' ids. The embedding matrix is enlarged only if it has no spare rows (many models have some).
    """
    ids: list[int] = tokenizer.convert_tokens_to_ids(list(tags))
    if len(tokenizer) > causal.get_input_embeddings().weight.shape[0]:
        causal.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    both = (causal.get_input_embeddings(), causal.get_output_embeddings())
    weights = {id(layer.weight): layer.weight for layer in both}  # a single entry if they are tied
    with torch.no_grad():
        for token, tag in zip(ids, tags, strict=True):
            # The tokenizer now maps the tag to its own token, so its spelling is encoded character by character.
            pieces = [tokenizer(c, add_special_tokens=False)["input_ids"] for c in tag]
            flat = [piece for some in pieces for piece in some]
            for weight in weights.values():
                weight[token] = weight[flat].float().mean(0).to(weight.dtype)
    return ids
