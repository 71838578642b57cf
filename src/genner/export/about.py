"""Facts about a model, collected from the files of an adapter, of its training run, or of an exported folder.

Nothing is guessed. What no file states is None or empty, and no local path is kept.
"""

import hashlib
import json
import pickle
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genner.calibration import Calibration
from genner.errors import ModelError
from genner.export.scores import ModelScore
from genner.manifest import MANIFEST, TUNED, FetchedManifest, list_files, read_json, schema_of, write_manifest
from genner.model_source import ModelSource
from genner.model_store import MODELS, hub_folder, is_hub_id
from genner.presets import HubSource
from genner.recipe_keys import with_new_keys

MODEL_KINDS = {
    "adapter": "A LoRA adapter",
    "merged": "A language model, a LoRA adapter merged into its weights,",
    "tuned": "A language model, all of its weights trained,",
    "gguf": "A language model for llama.cpp",
    "model": "A language model",
}

PARTS = ("best", "adapter", "model")
"""The folders of a training run that hold weights."""

FOUR_BITS = {"q4_0", "q4_1"}
"""Types of GGUF weights that can lose what an adapter has learned."""

# By preset, the hub's name of the model from which its weights were made.
_HUB = {"smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct"}


@dataclass(frozen=True)
class Base:
    """A base model: its name (for a folder, without the path), its description, its licence, its name on the hub."""

    name: str
    description: str | None = None
    licence: str | None = None
    hub: str | None = None

    @classmethod
    def of(cls, name: str) -> "Base":
        """A preset, a hub model, or the model in a folder, which need not exist."""
        if name in MODELS:
            spec = MODELS[name]
            hub = spec.source.repo if isinstance(spec.source, HubSource) else _HUB.get(name)
            return cls(name, spec.description, spec.licence, hub)
        if is_hub_id(name):
            return cls(name, None, _hub_licence(name), name.partition("@")[0])
        # The hub's own cache has the name in the path: models--OWNER--NAME/snapshots/REVISION.
        cached = re.search(r"models--([^/]+)--([^/]+)/snapshots/", f"{Path(name).expanduser()}/")
        hub = f"{cached[1]}/{cached[2]}" if cached else None
        return cls(hub or Path(name).name or name, None, _licence(Path(name).expanduser() / "README.md"), hub)


@dataclass(frozen=True)
class TrainingFacts:
    """A training run: `recipe` and `data` as in recipe.json and data.json, and the progress at these weights.

    `steps`, `tokens` and `seconds` (spent in steps) are None if no file says from which step the weights are.
    """

    recipe: dict[str, Any]
    data: dict[str, Any]
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ModelFacts:
    """The facts about a model.

    Args:
        kind: one of `MODEL_KINDS`.
        adapter: SHA-256 of the adapter's weights, if there is one.
        formats: answer formats that it was trained on, the most used first; empty if it was not trained.
        prompt_full_label_set: whether it was trained on the shipped label sets, whole (see `Extractor`).
        dtype: of the exported weights.
        gguf: GGUF files and the types of their weights.
        results: scores of these weights, or of their adapter, each a complete result (see `genner.export.scores`).
        dev: scores of exactly these weights on samples of dev data during training: `f1`, the mean over sets, by which
            they were chosen, and `results`, the scores that it averages; empty if there was no evaluation.
        bare: whether a file has numbers from training that are not complete results, as earlier versions wrote.
        calibration: by format, the expected calibration error of its scores on dev data before and after calibration;
            empty if they are not calibrated.
        labels: the label set that it was trained on, if there was only one, as JSON.
        trained: all label sets that it was trained on, as `genner.trained` writes them; None if unknown.
        start: the adapter that training started from: its `name` without a path and the `sha256` of its weights.
    """

    kind: str
    base: Base
    adapter: str | None = None
    formats: tuple[str, ...] = ()
    prompt_full_label_set: bool = False
    dtype: str | None = None
    gguf: dict[str, str] = field(default_factory=dict)
    results: tuple[ModelScore, ...] = ()
    dev: dict[str, Any] = field(default_factory=dict)
    bare: bool = False
    training: TrainingFacts | None = None
    start: dict[str, str] | None = None
    calibration: dict[str, list[float]] = field(default_factory=dict)
    labels: dict[str, Any] | None = None
    depth: int | None = None
    trained: list[dict[str, Any]] | None = None

    @classmethod
    def of(cls, model: str) -> "ModelFacts":
        """The model that `genner.load(model)` would load. Raises `ModelError` and `UnknownNameError` as it does."""
        source = ModelSource.resolve(model)
        if source.adapter:
            return _of_adapter(source, source.adapter)
        if source.kind == "tuned" and source.folder:
            raw = read_json(source.folder / TUNED)
            more = {**_run(source.folder, raw), "calibration": _calibration(source.folder, "")}
            more |= {key: raw.get(key) for key in ("labels", "depth", "trained")}
            return cls("tuned", Base.of(raw["base"]), None, source.formats, **more)
        if source.kind == "exported" and source.folder and (known := cls.read(source.folder)):
            return known
        _ = source.located  # raises if the model is not present
        return cls("model", Base.of(source.base))

    @classmethod
    def read(cls, folder: Path) -> "ModelFacts | None":
        """The facts recorded in an exported folder; None for any other folder. Raises `ModelError` when damaged."""
        raw = read_json(folder / MANIFEST)
        if not raw or schema_of(raw) != "exported":
            return None
        try:
            raw = {key: value for key, value in raw.items() if key not in ("name", "files")}
            if "widen" in raw:  # the older name
                raw["prompt_full_label_set"] = raw.pop("widen")
            training = raw["training"] and _training(**raw["training"])
            scores = _scores(folder, raw) | {"bare": raw.get("bare", False) or bool(raw.pop("scores", None))}
            more = {"base": Base(**raw["base"]), "formats": tuple(raw["formats"]), "training": training}
            return cls(**{**raw, **more, **scores})
        except (TypeError, KeyError) as error:
            raise ModelError(f"{folder / MANIFEST} is damaged ({error}); export the model again") from None

    def write(self, folder: Path, name: str) -> None:
        """Write the facts into an exported folder, with sizes and hashes of its files, as `genner.model_store.verify`
        reads them; cards may change."""
        paths = sorted(folder.iterdir()) if not self.gguf else []
        files = list_files(p for p in paths if p.is_file() and p.suffix != ".md" and p.name != MANIFEST)
        write_manifest(folder / MANIFEST, {"name": name, **asdict(self), "files": files})


def _training(recipe: dict[str, Any], data: dict[str, Any], **progress: Any) -> TrainingFacts:
    return TrainingFacts(with_new_keys(recipe), data, **progress)


def _of_adapter(source: ModelSource, folder: Path) -> ModelFacts:
    raw, sha256 = read_json(folder / MANIFEST), source.adapter_sha256
    more = {**_run(folder, raw), "calibration": _calibration(folder, sha256[:12])}
    if start := raw.get("start"):
        more["start"] = {"name": _title(start["name"]), "sha256": start["sha256"]}
    more |= {key: raw.get(key) for key in ("labels", "depth", "trained")}
    more |= {"formats": tuple(raw.get("formats", ())), "prompt_full_label_set": source.prompt_full_label_set}
    return ModelFacts("adapter", Base.of(source.base), sha256, **more)


def _calibration(folder: Path, adapter: str) -> dict[str, list[float]]:
    found = Calibration.read(folder, adapter)
    return {fit.format: [fit.before, fit.after] for fit in found.fits.values()}


def _title(name: str) -> str:
    """The name of an adapter: its folder's, or its run's if it is a part of a training run; without the path."""
    path = Path(name)
    return path.parent.name if path.name in PARTS and path.parent.name else path.name or name


def _scores(folder: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """`results`, `dev` and `bare` from `raw`, the file beside the weights. Raises `ModelError`."""
    try:
        results = tuple(map(ModelScore.of_json, raw.get("results", ())))
        for one in (dev := raw.get("dev", {})).get("results", ()):
            ModelScore.of_json(one)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder}: its scores are damaged ({error}); restore its files, or train again") from None
    return {"results": results, "dev": dev, "bare": bool(raw.get("scores"))}


def _run(folder: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Scores, and `training` if the run that wrote this folder is present; `raw`: the file beside the weights."""
    scores, run = _scores(folder, raw), folder.resolve().parent
    if not raw.get("recipe") or not (run / "recipe.json").is_file():
        return scores
    text = (run / "recipe.json").read_text(encoding="utf-8")
    if hashlib.sha256(text.encode()).hexdigest() != raw["recipe"]:
        return scores  # of another run, or changed since: not the recipe of these weights
    try:
        progress = _progress(folder.resolve(), raw)
        return scores | {"training": _training(json.loads(text), read_json(run / "data.json"), **progress)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the records of the run in {run} are damaged: {error!r}; restore or delete them") from error


def _progress(folder: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """A run's progress when it wrote this folder: `steps`, `tokens`, `seconds`; empty if unknown."""
    run, scores = folder.parent, raw.get("scores", {})  # written by earlier versions
    if dev := raw.get("dev"):
        scores = {"f1": dev["f1"]} | {f"f1_{one['set']}": ModelScore.of_json(one).f1 for one in dev.get("results", ())}
    found: dict[str, Any] = {}
    metrics = run / "metrics.jsonl"
    for line in metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() and scores else ():
        record = json.loads(line)
        if all(record.get(f"dev_{key}") == value for key, value in scores.items()):
            found = record
    if not found and folder.name in ("adapter", "model") and (run / "state.pt").is_file():
        import torch

        # Written together with the newest weights; memory-mapped, since only a few numbers of it are needed.
        try:
            found = torch.load(run / "state.pt", map_location="cpu", weights_only=True, mmap=True)["progress"]
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ModelError(f"{run / 'state.pt'} cannot be read: {error}; restore or delete it") from error
    return {key: found[name] for key, name in _PROGRESS.items() if found}


_PROGRESS = {"steps": "step", "tokens": "tokens", "seconds": "seconds"}


def _hub_licence(name: str) -> str | None:
    """The licence of a hub repository, as recorded when it was fetched into the store."""
    try:
        found = FetchedManifest.read(hub_folder(name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (found and found.licence) or None


def _licence(readme: Path) -> str | None:
    """The licence in a model card's front matter."""
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    matter = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    named = matter and re.search(r"^license: *([\w.+-]+) *$", matter[1], re.MULTILINE)
    return named[1] if named else None
