"""What a name means, on folders that hold no more than the files that say it."""

import json
from pathlib import Path
from typing import Any

import pytest

from genner.assess.forecast import size_of
from genner.errors import ModelError, UnknownNameError, UsageError
from genner.manifest import FetchedManifest, schema_of
from genner.model_source import ModelSource, shipped

CONFIG = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
LABELS = {"labels": {"PER": "people", "LOC": "places"}}
EXPORT = {"kind": "merged", "base": {"name": "some-base"}, "adapter": "0123456789abcdef", "widen": True}


def folder(path: Path, **contents: Any) -> str:
    """A folder of JSON files, by their stems."""
    path.mkdir(parents=True)
    for stem, value in contents.items():
        (path / f"{stem}.json").write_text(json.dumps(value))
    return str(path)


def test_each_kind_of_folder_is_told_from_the_others(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder(run / "best", config=CONFIG, training={"base": "some-base", "formats": ["compact"], **LABELS})
    tuned = ModelSource.resolve(run)
    assert (tuned.kind, tuned.base, tuned.folder) == ("tuned", str(run / "best"), run / "best")
    assert (tuned.origin, tuned.format, tuned.adapter, tuned.located) == ("some-base", "compact", None, run / "best")
    assert tuned.labels is not None
    assert tuned.labels.tags == ("PER", "LOC")
    size = size_of(str(run))  # a study may name the run
    assert size is not None
    assert size.layers == 2

    lora = folder(tmp_path / "lora" / "adapter", adapter_config={"base_model_name_or_path": "b"})
    adapter = ModelSource.resolve(tmp_path / "lora")
    assert (adapter.kind, adapter.base, str(adapter.adapter)) == ("adapter", "b", lora)
    with pytest.raises(ModelError, match=r"lacks adapter_model\.safetensors"):
        _ = adapter.digest

    made = {**EXPORT, "formats": ["inline_bracketed"], "name": "x", "files": {}}
    exported = ModelSource.resolve(folder(tmp_path / "exported", config=CONFIG, genner=made))
    assert (exported.kind, exported.origin, exported.format) == ("exported", "some-base", "inline_bracketed")
    assert exported.signature == {"model": "some-base", "adapter": "0123456789ab-merged"}

    store = {"name": "x", "source": {"repo": "o/n"}, "files": {}}
    plain = ModelSource.resolve(folder(tmp_path / "plain", config=CONFIG, genner=store))
    assert (plain.kind, plain.origin, plain.digest, plain.formats) == ("folder", None, "none", ())
    fetched = FetchedManifest.read(tmp_path / "plain")
    assert fetched is not None
    assert fetched.source == {"repo": "o/n"}
    assert [schema_of(raw) for raw in (made, store, {"base": "b"})] == ["exported", "fetched", "adapter"]


def test_a_preset_and_a_shipped_adapter_are_known_without_their_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path))
    preset = ModelSource.resolve("qwen3-4b")
    assert (preset.kind, preset.base, preset.folder, preset.weights_digest) == ("preset", "qwen3-4b", None, None)
    for name, place in shipped().items():
        adapter = ModelSource.resolve(name)
        assert (adapter.kind, adapter.adapter, len(adapter.digest)) == ("adapter", place, 12)
        assert adapter.preset is not None
        with pytest.raises(ModelError, match="run `genner models fetch"):
            _ = adapter.located


def test_what_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    empty = folder(tmp_path / "empty")
    assert ModelSource.find(empty) is None
    assert ModelSource.find("nowhere") is None
    with pytest.raises(ModelError, match=r"not a folder with a config\.json"):
        ModelSource.resolve(empty)
    with pytest.raises(UnknownNameError, match=r"unknown model 'defualt' .did you mean 'default'"):
        ModelSource.resolve("defualt")
    with pytest.raises(UsageError, match="model ''; legal: a name"):
        ModelSource.find("")
    broken = folder(tmp_path / "broken", adapter_config={})
    with pytest.raises(ModelError, match="does not say which model it belongs to"):
        ModelSource.find(broken)
    (tmp_path / "broken" / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match="is corrupt"):
        ModelSource.find(broken)
