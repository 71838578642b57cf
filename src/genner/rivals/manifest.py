"""The manifest in the folder of a saved rival or tool: its name, its options, its labels."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genner.errors import ModelError
from genner.evaluation.pairing import genner_version
from genner.writing import write_atomic

RIVAL_MANIFEST = "rival.json"


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
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest, with genner's version, into a folder."""
    content = {**manifest, "genner": genner_version()}
    write_atomic(folder / RIVAL_MANIFEST, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
