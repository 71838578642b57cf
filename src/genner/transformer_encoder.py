"""Loads an encoder of transformers, from a folder or the Hugging Face hub."""

from pathlib import Path
from typing import Any

from genner.errors import ModelError
from genner.extras import naming_parts
from genner.model_store import is_hub_id


@naming_parts()
def load_transformer(folder_or_id: str, *, fast: bool = False, more: str = "") -> tuple[Any, Any]:
    """Model, in float32 and evaluation mode, and tokenizer.

    `fast`: the tokenizer has to tell offsets. `more`: what else is legal as a name, for the error.

    Raises `ModelError` if there is none, or if it needs code of its own.
    """
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    here = Path(folder_or_id).expanduser()
    if not here.is_dir() and not is_hub_id(folder_or_id):
        raise ModelError(
            f"encoder {folder_or_id!r}: there is no such folder; legal: the folder of a transformers encoder, "
            f"OWNER/NAME on the Hugging Face hub{more}"
        )
    if here.is_dir() and not (here / "config.json").is_file():
        raise ModelError(
            f"encoder {folder_or_id!r}: this folder has no config.json; give the folder of a transformers encoder, "
            "with config.json, tokenizer.json and model.safetensors in it"
        )
    place = str(here) if here.is_dir() else folder_or_id
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, use_fast=True)
        # In float32 everywhere: what is kept of an encoder must be the same on another processor.
        model = AutoModel.from_pretrained(place, dtype="float32").eval()
    except Exception as error:  # of transformers, of the hub's client, of the system: they have no common base
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"encoder {folder_or_id!r} cannot be loaded: {said}") from error
    if fast and not tokenizer.is_fast:
        raise ModelError(f"encoder {folder_or_id!r} has no fast tokenizer, which tells where tokens are; take another")
    return model, tokenizer
