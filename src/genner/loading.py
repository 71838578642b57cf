"""`genner.load`: from the name of a model to an `Extractor`."""

import hashlib
import json
import os
import re
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from genner.calibration import Calibration
from genner.document import LabelSet
from genner.engines import engine_class
from genner.errors import ModelError, UnknownNameError, UsageError
from genner.extract import Extractor
from genner.extras import naming_parts
from genner.formats import FORMATS, get_format
from genner.inputs import checked_score
from genner.labels import DEFAULT, Labels, as_label_set, family, label_set
from genner.model_store import MANIFEST, MODELS, locate, ready, verify
from genner.trained import KEY, Trained

DEFAULT_MODEL = "default"


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: its folder, the base it belongs to, the formats it was trained on (the first is preferred).

    `fingerprint` is that of the base it was trained on; empty where nobody took it. `labels` is the label set that it
    was trained on, where that was one; `trained` all of them, None where it does not say.
    """

    name: str
    folder: Path
    base: str
    formats: tuple[str, ...]
    fingerprint: dict[str, str] = field(default_factory=dict)
    labels: LabelSet | None = None
    trained: Trained | None = None

    def check_base(self, base: str, folder: Path) -> None:
        """Raise `ModelError` when `base`, in `folder`, is not the model that the adapter was trained on.

        A preset has to have the same name; what lies in a folder may have moved. What it holds has to be the same.
        """
        if base != self.base and (base in MODELS or self.base in MODELS):
            raise ModelError(
                f"adapter {self.folder} belongs to {self.base!r}, not to {base!r}; use it with its own base"
            )
        now = fingerprint(folder)
        both = [kind for kind in ("hash", "sizes") if kind in now and kind in self.fingerprint]
        if both and now[both[0]] != self.fingerprint[both[0]]:
            raise ModelError(
                f"adapter {self.folder} was trained on another model than the one in {folder} (base {base!r}): the "
                f"{'weights or their config' if both[0] == 'hash' else 'config or the sizes of the weights'} differ "
                f"({now[both[0]]}, then {self.fingerprint[both[0]]}); put the old base back, or train the adapter anew"
            )


def fingerprint(folder: Path) -> dict[str, str]:
    """What tells a base model from another, cheaply: no weights are read.

    `hash` is of what the manifest of a fetched model says about its origin and, where that is not said, of the hashes
    that it lists of config and weights; only there where there is a manifest. `sizes` is of the config, leaving out
    what a library writes into it about itself, and of the sizes of the files of weights: so it does not tell apart two
    sets of weights of one shape. Raises `ModelError` when the config cannot be read.
    """
    found = {}
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        facts = {key: value for key, value in config.items() if key not in _LIBRARYS}
        weights = {path.name: path.stat().st_size for end in _WEIGHTS for path in sorted(folder.glob(end))}
        found["sizes"] = _short([facts, weights])
        if (folder / MANIFEST).is_file():
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            listed = {name: file["sha256"] for name, file in manifest["files"].items() if _counts(name)}
            found["hash"] = _short(manifest.get("source") or listed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder} cannot be identified: {error}; is it the folder of a transformers model?") from None
    return found


_WEIGHTS = ("*.safetensors", "*.bin")
_LIBRARYS = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache"}


def weights_of(model: str) -> str | None:
    """What tells the weights of a folder from others of the same shape: a hash of samples of them, 4 KiB of each MiB or
    so. None for a preset, whose name tells it, and for an adapter of one. Raises `ModelError`."""
    adapter = find_adapter(model)
    tuned = find_tuned(model) if adapter is None and model not in MODELS else None
    base = adapter.base if adapter else str(tuned.folder) if tuned else model
    if base in MODELS or not Path(base).is_dir():
        return None
    digest = hashlib.sha256()
    try:
        for path in sorted(path for end in _WEIGHTS for path in Path(base).glob(end)):
            with path.open("rb") as file:
                size = file.seek(0, 2)
                digest.update(f"{path.name}:{size}".encode())
                for at in range(0, size, max(SAMPLED, size // 1000)):
                    file.seek(at)
                    digest.update(file.read(4096))
    except OSError as error:
        raise ModelError(f"{base} cannot be read: {error.strerror}") from None
    return digest.hexdigest()[:16]


SAMPLED = 1 << 20


def _counts(name: str) -> bool:
    return name == "config.json" or name.endswith((".safetensors", ".bin"))


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


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
    formats = tuple(raw.get("formats", FORMATS))
    return Adapter(name, folder, base, formats, raw.get("fingerprint", {}), _labels(raw, about), _trained(raw, about))


def _labels(raw: dict[str, Any], about: Path) -> LabelSet | None:
    """The label set of an adapter or a model; what it nests it says itself, or the shipped set does that it is of."""
    if not raw.get("labels"):
        return None
    found = LabelSet.from_json(raw["labels"], str(about))
    return replace(found, depth=raw.get("depth") or family(found).depth)


def _trained(raw: dict[str, Any], about: Path) -> Trained | None:
    """What an adapter or a model was trained on; None where it does not say."""
    return Trained.from_json(raw[KEY], str(about)) if raw.get(KEY) else None


class Tuned(NamedTuple):
    """A model all of whose weights were trained: its folder, its formats, the label set that it was trained on, where
    that was one, and all of them."""

    folder: Path
    formats: tuple[str, ...]
    labels: LabelSet | None
    trained: Trained | None


def find_tuned(name: str) -> Tuned | None:
    """The model all of whose weights were trained, in its folder or that of the run that did it."""
    for folder in (Path(name), Path(name) / "best", Path(name) / "model"):
        about = folder / "training.json"
        if about.is_file() and (folder / "config.json").is_file():
            try:
                raw = json.loads(about.read_text(encoding="utf-8"))
                return Tuned(folder, tuple(raw["formats"]), _labels(raw, about), _trained(raw, about))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ModelError(f"{about} is corrupt: {error!r}; train the model anew, or delete the file") from None
    return None


@dataclass(frozen=True)
class Exported:
    """What an exported folder says of itself (see `genner.export`): its base, the adapter merged into it (SHA-256),
    the formats it was trained on, whether it is to be asked for whole shipped label sets, the label set that it was
    trained on, where that was one, and all of them."""

    base: str
    adapter: str | None
    formats: tuple[str, ...]
    widen: bool
    labels: LabelSet | None
    trained: Trained | None


def find_exported(folder: Path) -> Exported | None:
    """What an exported folder says of itself; None for any other folder. Raises `ModelError`."""
    about = folder / MANIFEST
    try:
        raw = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
        if "kind" not in raw:
            return None
        base, formats = raw["base"]["name"], tuple(raw["formats"])
        return Exported(base, raw["adapter"], formats, raw["widen"], _labels(raw, about), _trained(raw, about))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{about} is damaged ({error!r}); export the model again") from None


@naming_parts()
def load(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    labels: Labels = None,
    *,
    format: str | None = None,
    constrained: bool = True,
    min_score: float | None = None,
    device: str | None = None,
    decoder: str = "speculative",
    engine: str = "local",
    nested: bool | None = None,
    symbols: bool = False,
) -> Extractor:
    """Load a model and return what extracts entities with it.

    Args:
        model: `default`; or the folder of an adapter, of a training run, or of a plain transformers model; or a preset
            (`genner models list`). An adapter is refused when its base is not the one that it was trained on.
        labels: what to ask for when a call does not say: a label set, its name, or tags. By default the label set that
            the model was trained on, if that was one; else PER, LOC, ORG.
        format: how the model writes its answers; by default, the one that its adapter was trained on most.
        constrained: decode under the grammar.
        min_score: leave out entities that score less; 0 leaves out none. By default the threshold that the model's
            calibration has for the labels of a call, which was chosen on dev data; 0 where it has none.
        device: `cpu`, `cuda` ...; by default the GPU, if there is one.
        decoder: `speculative`, or the slow `reference` that it equals.
        engine: what runs the model, a name of `genner.engines.ENGINES`. `free` needs `constrained=False`.
        nested: whether entities may lie within each other; None: as the label set says (see `Extractor`).
        symbols: allow entities that start at markup or consist of punctuation (see `Extractor`).

    Raises `UnknownNameError`, `ModelError`, `LabelError`, `MissingPartError` where what runs models is not installed,
    and `UsageError` for any other argument. The default model is fetched if it is not there yet.
    """
    # All that can be wrong with the call is found out before a model is fetched or loaded.
    model = _name(model)
    given = None if labels is None else as_label_set(labels)
    if min_score is not None:
        checked_score(min_score)
    if decoder not in ("speculative", "reference"):
        raise UnknownNameError("decoder", decoder, ["speculative", "reference"])
    runs = engine_class(engine)
    if constrained and not runs.constrains:
        raise UsageError(f"engine {engine!r} cannot decode under a grammar; give constrained=False, or engine='local'")
    if format is not None:
        get_format(format)
    adapter = find_adapter(model)
    if adapter is None and model not in MODELS and not Path(model).exists():
        raise UnknownNameError("model", model, [*shipped(), *MODELS], _elsewhere(model))

    from genner.drafting.span_drafter import SpanDrafter
    from genner.engines.transformers_engine import device_of

    place = device_of(device)
    tuned = find_tuned(model) if adapter is None and model not in MODELS else None
    base = adapter.base if adapter else str(tuned.folder) if tuned else model
    folder = ready(base) if base in MODELS else locate(base)
    exported = find_exported(folder) if adapter is None and base not in MODELS else None
    if base not in MODELS:
        verify(folder, trust=True)
    if adapter:
        adapter.check_base(base, folder)
    known_as = adapter or tuned or exported
    form = get_format(format or next(iter(known_as.formats if known_as else ()), "inline_xml"))
    made = runs.load(
        folder,
        adapter.folder if adapter else None,
        name=model,
        device=place,
        decoder=decoder,
        drafter=SpanDrafter.load(adapter.folder if adapter else folder, place) if decoder != "reference" else None,
    )
    if base in MODELS and (chat := getattr(made, "chat", None)) is not None:
        MODELS[base].check_chat(chat)
    signature = {"model": base.replace("|", "_"), "adapter": _digest(adapter)}
    if exported and exported.adapter:
        signature = {"model": exported.base.replace("|", "_"), "adapter": f"{exported.adapter[:12]}-merged"}
    known = signature["adapter"] if adapter else exported.adapter if exported else ""
    calibration = Calibration.read(adapter.folder if adapter else folder, (known or "")[:12])
    if calibration and known_as:
        calibration = replace(calibration, trained=known_as.trained)
    # The shipped adapters were trained on the shipped label sets, mostly whole.
    widen = model in shipped() or (exported is not None and exported.widen)
    return Extractor(
        made,
        form,
        given or (known_as and known_as.labels) or label_set(DEFAULT),
        constrained=constrained,
        widen=widen,
        min_score=min_score,
        signature=signature,
        calibration=calibration,
        nested=nested,
        symbols=symbols,
        trained=known_as.trained if known_as else None,
    )


def _name(model: object) -> str:
    if not isinstance(model, str | os.PathLike) or not str(model):
        raise UsageError(f"model {model!r}; legal: a name, as 'default' (see `genner models list`), or a folder")
    return str(model)


def _elsewhere(model: str) -> str:
    """What to give for a model that is none here."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return (
            "or the folder of one; for a model of the Hugging Face hub, fetch it first "
            f"(hf download {model} --local-dir FOLDER) and give the folder"
        )
    return "or the folder of one"


def _digest(adapter: Adapter | None) -> str:
    """The first digits of the adapter's hash, so that a score names exactly what it belongs to."""
    if adapter is None:
        return "none"
    weights: Any = adapter.folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise ModelError(f"adapter {adapter.folder} lacks adapter_model.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
