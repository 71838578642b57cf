"""`genner.load`: from the name of a model to an `Extractor`."""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from genner.errors import ModelError, UnknownNameError, UsageError
from genner.extract import Extractor, Labels
from genner.formats import FORMATS, get_format
from genner.labels import as_label_set
from genner.models import MANIFEST, MODELS, locate, ready, verify

DEFAULT_MODEL = "default"


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: its folder, the base it belongs to, the formats it was trained on (the first is preferred)."""

    name: str
    folder: Path
    base: str
    formats: tuple[str, ...]


def shipped() -> dict[str, Path]:
    """The adapters inside the package, by name."""
    root = Path(str(files("genner") / "assets" / "adapters"))
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir()} if root.is_dir() else {}


def find_adapter(name: str) -> Adapter | None:
    """The adapter that `name` means: a shipped one, the folder of one, or of a training run. None for a plain model."""
    folder = shipped().get(name)
    if folder is None:
        for candidate in (Path(name), Path(name) / "best", Path(name) / "adapter"):
            if (candidate / "adapter_config.json").is_file():
                folder = candidate
                break
    if folder is None:
        return None
    about = folder / "genner.json"
    try:
        raw = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"adapter {folder} is corrupt: {error}; install genner again, or train it anew") from None
    base = raw.get("base") or config.get("base_model_name_or_path")
    if not base:
        raise ModelError(f"adapter {folder} does not say which model it belongs to; add genner.json with 'base'")
    return Adapter(name, folder, base, tuple(raw.get("formats", FORMATS)))


@dataclass(frozen=True)
class Exported:
    """What an exported folder says of itself (see `genner.export`): its base, the adapter merged into it (SHA-256),
    the formats it was trained on, and whether it is to be asked for whole shipped label sets."""

    base: str
    adapter: str | None
    formats: tuple[str, ...]
    widen: bool


def find_exported(folder: Path) -> Exported | None:
    """What an exported folder says of itself; None for any other folder. Raises `ModelError`."""
    about = folder / MANIFEST
    try:
        raw = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
        if "kind" not in raw:
            return None
        return Exported(raw["base"]["name"], raw["adapter"], tuple(raw["formats"]), raw["widen"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{about} is damaged ({error!r}); export the model again") from None


def load(
    model: str = DEFAULT_MODEL,
    labels: Labels = None,
    *,
    format: str | None = None,
    constrained: bool = True,
    min_score: float = 0.0,
    device: str | None = None,
    decoder: str = "speculative",
) -> Extractor:
    """Load a model and return what extracts entities with it.

    Args:
        model: `default`; or the folder of an adapter, of a training run, or of a plain transformers model; or a preset
            (`genner models list`).
        labels: what to ask for when a call does not say: a label set, its name, or tags; PER, LOC, ORG by default.
        format: how the model writes its answers; by default, the one that its adapter was trained on most.
        constrained: decode under the grammar.
        min_score: leave out entities that score less.
        device: `cpu`, `cuda` ...; by default the GPU, if there is one.
        decoder: `speculative`, or the slow `reference` that it equals.

    Raises `UnknownNameError`, `ModelError`, `LabelError`. The default model is fetched if it is not there yet.
    """
    adapter = find_adapter(model)
    if adapter is None and model not in MODELS and not Path(model).exists():
        raise UnknownNameError("model", model, [*shipped(), *MODELS, "or a folder"])
    base = adapter.base if adapter else model
    folder = ready(base) if base in MODELS else locate(base)
    exported = find_exported(folder) if adapter is None and base not in MODELS else None
    if base not in MODELS:
        verify(folder, trust=True)
    if decoder not in ("speculative", "reference"):
        raise UsageError(f"unknown decoder {decoder!r}; known: speculative, reference")
    formats = adapter.formats if adapter else exported.formats if exported else ()
    form = get_format(format or next(iter(formats), "inline_xml"))

    import torch

    from genner.engines.local import LocalEngine

    engine = LocalEngine.load(
        folder,
        adapter.folder if adapter else None,
        name=model,
        device=torch.device(device) if device else None,
        decoder=decoder,  # type: ignore[arg-type]
    )
    signature = {"model": base.replace("|", "_"), "adapter": _digest(adapter)}
    if exported and exported.adapter:
        signature = {"model": exported.base.replace("|", "_"), "adapter": f"{exported.adapter[:12]}-merged"}
    # The shipped adapters were trained on the shipped label sets, mostly whole.
    widen = model in shipped() or (exported is not None and exported.widen)
    return Extractor(
        engine,
        form,
        as_label_set(labels),
        constrained=constrained,
        widen=widen,
        min_score=min_score,
        signature=signature,
    )


def _digest(adapter: Adapter | None) -> str:
    """The first digits of the adapter's hash, so that a score names exactly what it belongs to."""
    if adapter is None:
        return "none"
    weights: Any = adapter.folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise ModelError(f"adapter {adapter.folder} lacks adapter_model.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
