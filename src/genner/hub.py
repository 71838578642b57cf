"""Converts a repository of the Hugging Face hub to a plain transformers folder of a causal model or adapter."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from genner.errors import ModelError
from genner.presets import HubSource, ModelSpec

FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "LICENSE*", "NOTICE*", "USE_POLICY*")
SUBFOLDERS = "*/*"  # the same model in other forms (`original/`, `onnx/`), or checkpoints
_TEXT = "language_model."  # prefix part in the weight names of a vision-language checkpoint's text model


def download(spec: ModelSpec, source: HubSource, folder: Path, fix: str) -> ModelSpec:
    """Download a repository; returns the preset with the exact commit as its revision, and the repository's licence.

    An interrupted download resumes with the files that it left. Only safetensors weights and no code are downloaded: a
    model that needs code of its repository is refused. A vision-language model is stripped to its text model.

    Raises `ModelError` when the repository is unavailable or holds no such model; `fix` is the advice for when the hub
    cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    licence = f" ({spec.licence})" if spec.licence else ""
    try:
        info = HfApi().model_info(source.repo, revision=source.revision)
        commit = info.sha or source.revision
        folder.mkdir(parents=True, exist_ok=True)
        snapshot_download(
            source.repo, revision=commit, local_dir=folder, allow_patterns=list(FILES), ignore_patterns=[SUBFOLDERS]
        )
    except Exception as error:  # errors of the hub's client, of httpx, of the system: they have no common base
        if isinstance(error, GatedRepoError):
            terms = spec.licence or "see there"
            fix = f"accept its licence ({terms}) on {source.page}, then `hf auth login`, or set HF_TOKEN"
        elif isinstance(error, RepositoryNotFoundError):
            fix = (
                f"the hub has no repository {source.repo!r}, or only for its members; see the spelling (a folder "
                f"{spec.name!r} is not here either), or `hf auth login`, or set HF_TOKEN"
            )
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"cannot download model {spec.name!r}{licence} from {source.page}: {said[0]}\n{fix}"
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # of the download
    _check(folder, source)
    _without_code(folder, source)
    config = _json(folder / "config.json")
    if "text_config" in config:
        language_model(folder, config)
    card = getattr(info, "card_data", None)
    named = spec.licence or str(getattr(card, "license", None) or "")
    return replace(spec, licence=named, source=replace(source, revision=commit))


def _check(folder: Path, source: HubSource) -> None:
    """Raise `ModelError` unless a repository holds a model or an adapter, with weights as safetensors."""
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        lacks = "neither config.json nor adapter_config.json, so it holds no transformers model and no adapter"
    elif not any(folder.glob("*.safetensors")):
        lacks = "no *.safetensors; genner loads weights in no other form from the hub, since pickled ones run code"
    else:
        return
    raise ModelError(f"{source.page} has {lacks}; give another repository, or convert it and give its folder")


def _without_code(folder: Path, source: HubSource) -> None:
    """Remove the references to code (`auto_map`) from the configs. Raises `ModelError` if the model needs the code."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    for path in folder.glob("*config.json"):
        config = _json(path)
        if "auto_map" not in config:
            continue
        kind = config.get("model_type")
        if path.name == "config.json" and kind not in CONFIG_MAPPING_NAMES:
            raise ModelError(
                f"{source.page} needs code of its own: transformers has no model of the type {kind!r}, and genner "
                "never runs the code of a repository; give a model that transformers knows"
            )
        del config["auto_map"]
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def language_model(folder: Path, config: dict[str, Any]) -> None:
    """Strip a vision-language checkpoint to its text model, in place: a causal model, as transformers has it.

    The prefix of the text model's weight names is removed; all other weights are dropped. A checkpoint without such
    names stays unchanged.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    names: dict[Path, dict[str, str]] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as file:
            names[shard] = {name: _own_name(name) for name in file.keys() if _TEXT in name}  # noqa: SIM118 (no mapping)
    if not any(names.values()):
        return
    places: dict[str, str] = {}
    for shard, some in names.items():
        with safe_open(shard, framework="pt") as file:
            kept = {own: file.get_tensor(name) for name, own in some.items()}
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
    own = name[name.index(_TEXT) + len(_TEXT) :]
    return own if own.startswith(("model.", "lm_head.")) else f"model.{own}"
