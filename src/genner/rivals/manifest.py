"""The manifest in the folder of a saved rival or tool: its name, its options, its labels."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genner.errors import DataError, ModelError
from genner.evaluation.pairing import genner_version
from genner.writing import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

RIVAL_MANIFEST = "rival.json"
_KINDS: dict[str, type] = {"rival": str, "options": dict, "encoder": str, "trained": dict}
_SAID: dict[type, str] = {str: "a string", dict: "an object"}


def read_manifest(folder: Path, *keys: str) -> dict[str, Any]:
    """The manifest of a saved rival; it has `rival`, `options`, `labels` and these keys.

    Raises `ModelError` if the folder has none.
    """
    try:
        manifest = json.loads((folder / RIVAL_MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder} holds no rival: it has no {RIVAL_MANIFEST}; train one with: genner rival fit"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / RIVAL_MANIFEST} cannot be read: {error}") from None
    wanted = {"rival", "options", "labels", *keys}
    if not isinstance(manifest, dict) or wanted - manifest.keys():
        raise ModelError(f"{folder / RIVAL_MANIFEST} is no manifest of a rival; it needs: {', '.join(sorted(wanted))}")
    for key, kind in _KINDS.items():
        if key in manifest and not isinstance(manifest[key], kind):
            raise ModelError(
                f"{folder / RIVAL_MANIFEST} is damaged: {key} is {manifest[key]!r}, not {_SAID[kind]}; train the rival "
                "again"
            )
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest, with genner's version, into a folder."""
    content = {**manifest, "genner": genner_version()}
    write_atomic(folder / RIVAL_MANIFEST, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_tensors(place: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Write tensors as safetensors. Raises `DataError` where they cannot be written."""
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), place)
    except Exception as error:  # of safetensors and the system: they have no common base
        raise DataError(str(place), f"cannot be written: {str(error).splitlines()[0]}") from error
