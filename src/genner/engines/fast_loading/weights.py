"""From files to a model: a causal model's weights, a LoRA adapter merged into them, and the tokenizer.

Each of the three is loaded in one of two ways: directly if it is plain (`llama`, `lora`, `tokens`), as the default
model is, and by transformers and peft otherwise. Both give the same numbers, which is tested. The libraries are
imported only when they are needed.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from genner.engines.fast_loading import llama
from genner.engines.fast_loading.lora import merge
from genner.engines.fast_loading.tokens import read_tokenizer
from genner.errors import ModelError

_FAULTS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


def load_weights(
    folder: Path,
    adapter: Path | None,
    device: torch.device,
    dtype: torch.dtype,
    attention: str,
    *,
    plain: bool = True,
) -> tuple[Any, Any]:
    """A causal model, in evaluation mode and on its device, with `adapter` merged into it; and its tokenizer.

    Uses no network. An adapter with its own tokenizer was trained with tokens that the base lacks: the model is then
    enlarged by them. `attention` is the implementation that a transformers model uses outside `Network`. With
    `plain=False` model and tokenizer are always those of transformers, with all their methods.

    Raises `ModelError` when a file is missing or does not fit.
    """
    own = adapter if adapter is not None and (adapter / "tokenizer_config.json").is_file() else folder
    try:
        tokenizer = load_tokenizer(own) if plain else _tokenizer(own)
        causal: Any = llama.read(folder, dtype) if plain else None
        merged = causal is not None and adapter is not None and merge(causal, adapter)
        if causal is None or (adapter is not None and not merged):  # peft needs a transformers model
            causal = _model(folder, dtype, attention)
    except _FAULTS as error:
        raise ModelError(f"{folder} cannot be loaded as a causal language model: {error}") from error
    if own is adapter and len(tokenizer) > causal.get_input_embeddings().weight.shape[0]:
        causal.resize_token_embeddings(len(tokenizer), mean_resizing=False)  # the adapter holds the new rows
    if adapter is not None and not merged and not merge(causal, adapter):
        causal = _merged_by_peft(causal, folder, adapter)
    return causal.eval().to(device), tokenizer


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a model's folder, without transformers if possible."""
    return read_tokenizer(folder) or _tokenizer(folder)


def _tokenizer(folder: Path) -> Any:
    _quiet()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _model(folder: Path, dtype: torch.dtype, attention: str) -> Any:
    _quiet()
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, dtype=dtype, attn_implementation=attention_of(folder, attention)
    )


def attention_of(folder: Path, wanted: str) -> str:
    """The wanted implementation of attention, or the plain one if transformers has no other for the model: Gemma 2 caps
    its scores, which `sdpa` cannot do."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return wanted if getattr(kind, f"_supports_{wanted}", True) else "eager"


def _merged_by_peft(causal: Any, folder: Path, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        with quiet_libraries():
            return PeftModel.from_pretrained(causal, adapter).merge_and_unload()
    except _FAULTS as error:
        raise ModelError(f"adapter {adapter} does not fit model {folder}: {error}") from error


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No warnings of peft and transformers about names of each other that will change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _quiet() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
