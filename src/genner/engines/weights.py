"""From files to a model: a causal model's weights, a LoRA adapter merged into them, and the tokenizer."""

import warnings
from pathlib import Path
from typing import Any

import torch

from genner.errors import ModelError


def load_weights(
    folder: Path, adapter: Path | None, device: torch.device, dtype: torch.dtype, attention: str
) -> tuple[Any, Any]:
    """A causal model, in evaluation mode and on its device, with `adapter` merged into it; and its tokenizer.

    Touches no network. `attention` is transformers' name of an implementation.

    Raises `ModelError` when a file is missing or does not fit.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        causal = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=dtype, attn_implementation=attention
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{folder} cannot be loaded as a causal language model: {error}") from error
    if adapter is not None:
        from peft import PeftModel

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the libraries', about each other
                causal = PeftModel.from_pretrained(causal, adapter).merge_and_unload()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"adapter {adapter} does not fit model {folder}: {error}") from error
    return causal.eval().to(device), tokenizer
