"""What the name of a model means: `ModelSource.resolve(name)`, which everything that takes a model asks.

A name is one of these, looked for in this order:

preset    a name in `genner.presets.MODELS`, or the hub name of such a preset
adapter   a shipped adapter; the folder of one, or of the training run that made it
tuned     the folder of a model all of whose weights were trained, or of the training run that made it
exported  a folder that `genner export` wrote
folder    the folder of any other transformers model
hub       OWNER/NAME or OWNER/NAME@REVISION, a repository of the Hugging Face hub: fetched into the store, and then
          whichever of the others it holds
server    a model of a server, of which only the name is known; never looked for
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from genner.document import LabelSet
from genner.errors import ModelError, UnknownNameError, UsageError
from genner.formats import FORMATS
from genner.manifest import ExportedManifest, FetchedManifest, TrainingManifest, read_json, sha256_of
from genner.model_store import MODELS, hub_folder, is_hub_id, locate, preset_of, ready
from genner.paths import expanded, is_path
from genner.presets import ModelSpec
from genner.trained import Trained

if TYPE_CHECKING:
    from genner.calibration import Calibration

ModelKind = Literal["preset", "adapter", "tuned", "exported", "folder", "hub", "server"]

ADAPTER_WEIGHTS = "adapter_model.safetensors"
SAMPLE_STEP = 1 << 20  # bytes between two samples of a file of weights
_WEIGHTS = ("*.safetensors", "*.bin")
_WRITTEN_BY_LIBRARIES = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache"}


@dataclass(frozen=True)
class ModelSource:
    """A model, as its files describe it; nothing is fetched or loaded before it is asked for.

    Attributes:
        name: what its user calls it.
        kind: see the module. A fetched repository of the hub has the kind of what it holds.
        base: what its weights are: a preset, a folder, a hub id; for an adapter, the model that it belongs to.
        folder: where its own files are: an adapter's, a model's; None for a preset and for what is not fetched.
        formats: answer formats that it was trained on, the most used first; empty where that is not known.
        labels: the label set that it was trained on, where that was one.
        trained: all label sets that it was trained on; None where that is not known.
        origin: the model that training began with, or that an adapter was merged into; None for a base model.
        merged: SHA-256 of the adapter that an exported folder has in its weights.
        prompt_full_label_set: whether it was trained on the shipped label sets, mostly whole (see `Extractor`).
        fingerprint: of the base that an adapter was trained on (see `fingerprint`); empty where nobody took it.
    """

    name: str
    kind: ModelKind
    base: str
    folder: Path | None = None
    formats: tuple[str, ...] = ()
    labels: LabelSet | None = None
    trained: Trained | None = None
    origin: str | None = None
    merged: str | None = None
    prompt_full_label_set: bool = False
    fingerprint: dict[str, str] = field(default_factory=dict)

    @classmethod
    def resolve(cls, name: str | os.PathLike[str], *, fetch: bool = True) -> Self:
        """The model that a name means.

        A repository of the hub is fetched to tell what it holds; with `fetch=False` it is of the kind `hub` as long
        as it is not in the store. Presets are never fetched here.

        Raises `UsageError` for what is no name, `UnknownNameError` for a name that means nothing, and `ModelError` for
        a folder that holds no model or a damaged one, and for a repository that cannot be fetched.
        """
        if found := cls.find(name, fetch=fetch):
            return found
        if is_path(str(name)):
            locate(str(name))  # says what the folder lacks
        raise UnknownNameError("model", name, [*shipped(), *MODELS], "or the folder of one, or OWNER/NAME on the hub")

    @classmethod
    def find(cls, name: str | os.PathLike[str], *, fetch: bool = False) -> Self | None:
        """As `resolve`, but None for a name that means nothing, and for a folder that holds no model."""
        if not isinstance(name, str | os.PathLike) or not str(name):
            raise UsageError(
                f"model {name!r}; legal: a name, as 'default' (see `genner models list`), a folder, or OWNER/NAME on "
                "the Hugging Face hub"
            )
        name = str(name)
        if folder := shipped().get(name):
            return replace(cls._adapter(name, folder), prompt_full_label_set=True)
        if preset := preset_of(name):
            return cls(name, "preset", preset)
        if is_hub_id(name):
            if fetch:
                return cls._in_folder(name, ready(name), name)
            return cls._in_folder(name, hub_folder(name), name) or cls(name, "hub", name)
        return cls._in_folder(name, expanded(name), name) if is_path(name) else None

    @classmethod
    def _in_folder(cls, name: str, root: Path, base: str) -> Self | None:
        for folder in (root, root / "best", root / "adapter"):
            if (folder / "adapter_config.json").is_file():
                return cls._adapter(name, folder)
        for folder in (root, root / "best", root / "model"):
            if told := TrainingManifest.of_tuned(folder):
                own = base if folder == hub_folder(name) else str(folder)
                return cls(name, "tuned", own, folder, told.formats, told.labels, told.trained, told.base or None)
        if exported := ExportedManifest.read(root):
            origin = exported.base if exported.adapter else None
            known = (exported.formats, exported.labels, exported.trained, origin, exported.adapter)
            return cls(name, "exported", base, root, *known, exported.prompt_full_label_set)
        return cls(name, "folder", base, root) if (root / "config.json").is_file() else None

    @classmethod
    def _adapter(cls, name: str, folder: Path) -> Self:
        told = TrainingManifest.of_adapter(folder)
        base = preset_of(told.base) or told.base
        known = (told.formats, told.labels, told.trained, base)
        return cls(name, "adapter", base, folder, *known, fingerprint=told.fingerprint)

    # -- its parts

    @property
    def adapter(self) -> Path | None:
        """The folder of the adapter; None for a model without one."""
        return self.folder if self.kind == "adapter" else None

    @property
    def preset(self) -> ModelSpec | None:
        """The preset that its weights are; None for others."""
        return MODELS.get(self.base)

    @property
    def format(self) -> str:
        """The name of the answer format to use when none is asked for: the one it was trained on most.

        Raises `ModelError` for one that is not in `FORMATS`.
        """
        name = next(iter(self.formats), "inline_xml")
        if name not in FORMATS:
            raise ModelError(
                f"model {self.name!r} was trained on the format {name!r}, which this genner does not know; name "
                f"another ({', '.join(FORMATS)}), or install the genner that trained it"
            )
        return name

    @property
    def located(self) -> Path:
        """The folder of its weights, without fetching or checking any. Raises `ModelError` when they are not here."""
        return self._base_in(locate)

    @cached_property
    def weights(self) -> Path:
        """The folder of its weights: fetched where need be, checked against what was fetched, and, under an adapter,
        against the base that this was trained on. Raises `ModelError`."""
        folder = self._base_in(ready)
        read_json(folder / "config.json")
        if self.adapter:
            self.check_base(self.base, folder)
            _ = self.adapter_weights
        return folder

    def _base_in(self, look: Callable[[str], Path]) -> Path:
        """The folder of the base as `look` finds it. For an adapter, an error says whose base it is."""
        try:
            return look(self.base)
        except (ModelError, UnknownNameError) as error:
            if not self.adapter:
                raise
            raise ModelError(f"adapter {self.folder} belongs to {self.base!r}: {error}") from error

    @property
    def tokenizer(self) -> Path:
        """The folder of its tokenizer: an adapter with tokens of its own brings one. Raises `ModelError`."""
        own = self.adapter
        return own if own and (own / "tokenizer_config.json").is_file() else self.weights

    @cached_property
    def digest(self) -> str:
        """The first 12 digits of the hash of the adapter, `none` without one. Raises `ModelError`."""
        return self.adapter_sha256[:12] if self.adapter else "none"

    @property
    def adapter_weights(self) -> Path:
        """The file of the adapter's weights. Raises `ModelError` when it is missing."""
        assert self.adapter
        weights = self.adapter / ADAPTER_WEIGHTS
        if not weights.is_file():
            raise ModelError(f"adapter {self.adapter} lacks {ADAPTER_WEIGHTS}; train it again, or restore the file")
        return weights

    @cached_property
    def adapter_sha256(self) -> str:
        """SHA-256 of the adapter's weights. Raises `ModelError` when they are missing."""
        return sha256_of(self.adapter_weights)

    @property
    def signature(self) -> dict[str, str]:
        """`model` and `adapter` in the signature of a score (without `|`, which divides its fields)."""
        if self.merged:
            return {"model": called_in_signatures(self.origin or ""), "adapter": f"{self.merged[:12]}-merged"}
        return {"model": called_in_signatures(self.base), "adapter": self.digest}

    @cached_property
    def calibration(self) -> "Calibration":
        """The calibration that lies beside its weights; the identity if there is none. Raises `ModelError`."""
        from genner.calibration import Calibration

        known = self.digest if self.adapter else (self.merged or "")[:12]
        found = Calibration.read(self.adapter or self.weights, known)
        return found if self.kind == "folder" else replace(found, trained=self.trained)

    @property
    def weights_digest(self) -> str | None:
        """What tells its weights from others of the same shape: a hash of samples of them, 4 KiB of each MiB or so.

        None where the name of a preset tells it. Raises `ModelError`.
        """
        if self.preset:
            return None
        return sampled_weights(self.located)

    def check_base(self, base: str, folder: Path) -> None:
        """Raise `ModelError` when `base`, in `folder`, is not the model that this adapter was trained on.

        The names of presets must agree; a folder may have another path than then. What it holds must be the same.
        """
        base = preset_of(base) or base
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


def shipped() -> dict[str, Path]:
    """The adapters inside the package, by name."""
    root = Path(str(files("genner") / "assets" / "adapters"))
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir()} if root.is_dir() else {}


def called_in_signatures(name: str) -> str:
    """What signatures call the model that a name means: the name itself, but `NAME@DIGEST` of a folder, by its last
    name and a hash of its weights. So they tell neither where it lies nor who its user is. Never has a `|`.

    Raises `ModelError` for a damaged folder.
    """
    place = expanded(name)
    if not name or name in MODELS or is_hub_id(name) or not (place.is_absolute() or is_path(name)):
        return name.replace("|", "_")
    called = place.resolve().name.replace("|", "_")
    source = ModelSource.find(name)
    if source is None:  # it has gone
        return called
    return f"{called}@{source.digest if source.adapter else (source.weights_digest or '')[:12]}"


def fingerprint(folder: Path) -> dict[str, str]:
    """What tells a base model from another without reading its weights.

    `hash` is there for a fetched or an exported model: of its origin as its manifest has it, else of the hashes of
    config and weights in that. `sizes` is of the config, without what libraries write into it about themselves, and of
    the sizes of the files of weights: two sets of weights of one shape have the same. Raises `ModelError` when the
    config cannot be read.
    """
    found = {}
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        facts = {key: value for key, value in config.items() if key not in _WRITTEN_BY_LIBRARIES}
        weights = {path.name: path.stat().st_size for end in _WEIGHTS for path in sorted(folder.glob(end))}
        found["sizes"] = _short([facts, weights])
        if manifest := FetchedManifest.read(folder):
            listed = {name: file["sha256"] for name, file in manifest.files.items() if _counts(name)}
            found["hash"] = _short(manifest.source or listed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder} cannot be identified: {error}; is it the folder of a transformers model?") from None
    return found


def sampled_weights(folder: Path) -> str:
    """A hash of samples of the files of weights in a folder, 4 KiB of each MiB or so. Raises `ModelError`."""
    digest = hashlib.sha256()
    try:
        for path in sorted(path for end in _WEIGHTS for path in folder.glob(end)):
            with path.open("rb") as file:
                size = file.seek(0, 2)
                digest.update(f"{path.name}:{size}".encode())
                for at in range(0, size, max(SAMPLE_STEP, size // 1000)):
                    file.seek(at)
                    digest.update(file.read(4096))
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror}") from None
    return digest.hexdigest()[:16]


def _counts(name: str) -> bool:
    return name == "config.json" or name.endswith((".safetensors", ".bin"))


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
