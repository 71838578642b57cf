"""The files that say what a folder of weights is; this module alone knows their fields.

Four kinds of file, each with its class here; their keys tell them apart, since three of them share a name:

fetched   `genner.json` of a preset in the store, `fetched.json` of a repository of the Hugging Face hub: where the
          model comes from, and the hash of each file
adapter   `genner.json` beside the weights of an adapter: its base, its formats, the labels that it was trained on
tuned     `training.json` beside a model all of whose weights were trained: the same fields
exported  `genner.json` of an exported folder: what it was made of, how it was trained, and the hash of each file
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from genner.document import LabelSet
from genner.errors import DataError, LabelError, ModelError
from genner.formats import FORMATS
from genner.labels import enclosing_label_set
from genner.trained import TRAINED_KEY, Trained
from genner.writing import replacing

Schema = Literal["fetched", "adapter", "exported"]  # of a `genner.json`

MANIFEST = "genner.json"
FETCHED = "fetched.json"
"""The name of the `fetched` file where `genner.json` may be one that the repository itself brings."""
TUNED = "training.json"


def schema_of(raw: Mapping[str, Any]) -> Schema:
    """Which of the schemas the content of a `genner.json` has."""
    return "exported" if "kind" in raw else "fetched" if "files" in raw else "adapter"


def write_manifest(path: Path, values: Mapping[str, Any]) -> None:
    """Write one of these files: beside its place, then renamed. Raises `OSError`."""
    with replacing(path, alone=True) as file:
        file.write((json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no such file. Raises `ModelError` when it is damaged."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}; restore it, or delete it") from None
    if not isinstance(raw, dict):
        raise ModelError(f"{path} holds no JSON object; restore it, or delete it")
    return raw


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and hash of each file, by its name, as `fetched` and `exported` files hold them."""
    return {path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}


@dataclass(frozen=True)
class FetchedManifest:
    """Name, origin and files of a model in the store; an `exported` folder lists its files in the same way.

    `files` has size and SHA-256 by file name; `source` is a `WheelSource` or `HubSource` as JSON, None in an export.
    """

    path: Path
    name: str
    files: dict[str, dict[str, Any]]
    source: dict[str, Any] | None = None
    licence: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """What a folder says of its files; None where it has no such file.

        Raises `OSError`, `ValueError`, `KeyError`, `TypeError` or `AttributeError` for a damaged one.
        """
        path = next((folder / name for name in (FETCHED, MANIFEST) if (folder / name).is_file()), None)
        if path is None:
            return None
        raw = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): dict(item) for name, item in raw["files"].items()}
        return cls(path, raw["name"], files, raw.get("source"), raw.get("licence"))


@dataclass(frozen=True)
class TrainingManifest:
    """What training wrote beside weights: of an adapter (`genner.json`), of a whole model (`training.json`).

    Attributes:
        base: the model that training began with; empty where nobody said it.
        formats: answer formats of the recipe, the most used first.
        fingerprint: of the base (see `genner.model_source.fingerprint`); empty where nobody took it.
        labels: the label set of the recipe, where it has one only.
        trained: all label sets of the recipe; None where that is not known.
        raw: the file as it is.
    """

    path: Path
    base: str
    formats: tuple[str, ...]
    fingerprint: dict[str, str] = field(default_factory=dict)
    labels: LabelSet | None = None
    trained: Trained | None = None
    raw: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_adapter(cls, folder: Path) -> Self:
        """What is known of the adapter in `folder`, whoever made it. Raises `ModelError`."""
        path, config_path = folder / MANIFEST, folder / "adapter_config.json"
        try:
            raw, config = read_json(path), read_json(config_path)
        except ModelError as error:
            raise ModelError(f"adapter {folder} is corrupt: {error}") from None
        base = _string(raw, "base", path) or _string(config, "base_model_name_or_path", config_path)
        if not base:
            raise ModelError(f"adapter {folder} does not say which model it belongs to; add genner.json with 'base'")
        formats = _formats(raw, path) if "formats" in raw else tuple(FORMATS)
        fingerprint = _strings_by_name(raw, "fingerprint", path)
        return cls(path, base, formats, fingerprint, _labels(raw, path), _trained(raw, path), raw)

    @classmethod
    def of_tuned(cls, folder: Path) -> Self | None:
        """What training wrote beside the whole model in `folder`; None where that has no such file. Raises
        `ModelError`."""
        path = folder / TUNED
        if not path.is_file() or not (folder / "config.json").is_file():
            return None
        raw = read_json(path)
        base = _string(raw, "base", path) or ""
        return cls(path, base, _formats(raw, path), {}, _labels(raw, path), _trained(raw, path), raw)


@dataclass(frozen=True)
class ExportedManifest:
    """What an exported folder says of itself (see `genner.export`).

    Attributes:
        kind: one of `genner.export.about.MODEL_KINDS`.
        base: the name of the model that it was made of.
        adapter: SHA-256 of the adapter that is merged into its weights; None without one.
        formats: answer formats that it was trained on, the most used first.
        prompt_full_label_set: whether it is to be asked for whole shipped label sets (see `Extractor`).
        labels, trained: as in `TrainingManifest`.
    """

    kind: str
    base: str
    adapter: str | None
    formats: tuple[str, ...]
    prompt_full_label_set: bool
    labels: LabelSet | None
    trained: Trained | None

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """What an exported folder says of itself; None for any other folder. Raises `ModelError`."""
        path = folder / MANIFEST
        raw = read_json(path)
        if schema_of(raw) != "exported":
            return None
        kind, adapter, made_of = (_string(raw, "kind", path), _string(raw, "adapter", path), raw.get("base"))
        base = _string(made_of, "name", path) if isinstance(made_of, dict) else None
        whole = raw["widen"] if "widen" in raw else raw.get("prompt_full_label_set")  # the older name first
        if kind is None or base is None or not isinstance(whole, bool):
            raise _damaged(path, "lacks 'kind', 'base' with a 'name', or 'prompt_full_label_set' (true or false)")
        return cls(kind, base, adapter, _formats(raw, path), whole, _labels(raw, path), _trained(raw, path))


def record_trained(folder: Path, trained: Trained) -> Path:
    """Write what an adapter or a model was trained on into the file that training wrote; the rest of it stays.

    Returns the file. Raises `ModelError` when there is none, or it cannot be read or written.
    """
    path = next((folder / name for name in (TUNED, MANIFEST) if (folder / name).is_file()), None)
    if path is None:
        raise ModelError(f"{folder} has neither genner.json nor training.json beside its weights; train it again")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        write_manifest(path, {**raw, TRAINED_KEY: trained.to_json()})
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} cannot be changed: {error}; mend it, or the rights of its folder") from None
    return path


def _damaged(path: Path, what: object) -> ModelError:
    return ModelError(f"{path} is damaged: {what}; restore the file, or train or export the model again")


def _string(raw: Mapping[str, Any], key: str, path: Path) -> str | None:
    """The text that `raw` has under `key`; None if it has none. Raises `ModelError` for anything else."""
    value = raw.get(key)
    if value is None or isinstance(value, str):
        return value
    raise _damaged(path, f"{key!r} is {value!r}; legal: a string")


def _formats(raw: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The names of formats in a file; a later genner may know others than this one. Raises `ModelError`."""
    value = raw.get("formats")
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise _damaged(path, f"'formats' is {value!r}; legal: a list of names, as {list(FORMATS)[:2]}")


def _strings_by_name(raw: Mapping[str, Any], key: str, path: Path) -> dict[str, str]:
    value = raw.get(key) or {}
    if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
        return value
    raise _damaged(path, f"{key!r} is {value!r}; legal: an object of strings")


def _labels(raw: dict[str, Any], path: Path) -> LabelSet | None:
    """The label set in a file; the shipped set of the same tags says what it nests where the file does not."""
    if not raw.get("labels"):
        return None
    try:
        found, depth = LabelSet.from_json(raw["labels"], "labels"), raw.get("depth")
        if depth is not None and type(depth) is not int:
            raise _damaged(path, f"'depth' is {depth!r}; legal: a number from 1 on")
        return replace(found, depth=depth or enclosing_label_set(found).depth)
    except (DataError, LabelError) as error:
        raise _damaged(path, error) from None


def _trained(raw: dict[str, Any], path: Path) -> Trained | None:
    try:
        return Trained.from_json(raw[TRAINED_KEY], path.name) if raw.get(TRAINED_KEY) else None
    except (DataError, LabelError) as error:
        raise _damaged(path, error) from None
