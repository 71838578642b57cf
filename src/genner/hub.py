"""From a repository of the Hugging Face hub to a plain transformers folder that causal models are loaded from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from genner.errors import ModelError
from genner.presets import HubSource, ModelSpec

FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "LICENSE*", "NOTICE*", "USE_POLICY*")
_SEES = "language_model."  # in the names of the weights that a model that can see does not see with


def download(spec: ModelSpec, source: HubSource, folder: Path, fix: str) -> HubSource:
    """Download a repository; returns the source with the very commit as its revision.

    An interrupted download is gone on with. A model that can see becomes its language model alone. Raises `ModelError`
    when it cannot be had; `fix` says what to do where the hub cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError

    try:
        commit = HfApi().model_info(source.repo, revision=source.revision).sha or source.revision
        folder.mkdir(parents=True, exist_ok=True)
        snapshot_download(source.repo, revision=commit, local_dir=folder, allow_patterns=list(FILES))
    except Exception as error:  # of the hub's client, of httpx, of the system: there is no common one
        if isinstance(error, GatedRepoError):
            fix = f"accept its licence ({spec.licence}) on {source.page}, then `hf auth login`, or set HF_TOKEN"
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"cannot download model {spec.name!r} ({spec.licence}) from {source.page}: {said[0]}\n{fix}"
        ) from error
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "text_config" in config:
        language_model(folder, config)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # of the download
    return replace(source, revision=commit)


def language_model(folder: Path, config: dict[str, Any]) -> None:
    """Make a model that can see, in place, one that cannot: a causal model, as transformers has it.

    The weights of the language model lose the prefix of their names; all others go.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as file:
            names = {name: _own_name(name) for name in file.keys() if _SEES in name}  # noqa: SIM118 (it is no mapping)
            kept = {own: file.get_tensor(name) for name, own in names.items()}
        shard.unlink()
        if kept:
            save_file(kept, shard, metadata={"format": "pt"})
            places |= dict.fromkeys(kept, shard.name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in config}
    dtype = config.get("dtype") or config.get("torch_dtype") or "bfloat16"
    family = config["architectures"][0].removesuffix("ForConditionalGeneration")
    text = {"dtype": dtype, **config["text_config"], **ids, "architectures": [f"{family}ForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")


def _own_name(name: str) -> str:
    """Older files have `language_model.model.layers`, newer ones `model.language_model.layers`."""
    own = name[name.index(_SEES) + len(_SEES) :]
    return own if own.startswith(("model.", "lm_head.")) else f"model.{own}"
