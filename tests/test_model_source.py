"""What a name means, on folders that hold no more than the files that say it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from genner.assess.forecast import size_of
from genner.errors import ModelError, UnknownNameError, UsageError
from genner.manifest import FetchedManifest, schema_of
from genner.model_source import ModelSource, called_in_signatures, shipped

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


@pytest.mark.parametrize(
    "name", ["a" * 300, f"{'a' * 300}/b", "~no-such-user", "~no-such-user/b", "a\0b", "ö/model", "-a/b"]
)
def test_what_no_path_and_no_hub_id_can_be_is_an_unknown_name(name: str) -> None:
    assert ModelSource.find(name) is None
    with pytest.raises((UnknownNameError, ModelError)):
        ModelSource.resolve(name, fetch=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": 5}, {"base": ["x"]}, {"formats": None}, {"formats": "compact"}, {"formats": [5]}, {"labels": 5},
        {"labels": {"PER": 5}}, {"depth": "x"}, {"depth": 1.5}, {"depth": -1}, {"trained": {"a": 1}}, {"trained": [5]},
    ],
)  # fmt: skip
def test_a_manifest_with_a_wrong_value_is_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    right = {"base": "some-base", "formats": ["compact"], **LABELS}
    damaged = {**right, **wrong}
    for name, files in {
        "adapter": {"adapter_config": {}, "genner": damaged},
        "tuned": {"config": CONFIG, "training": damaged},
        "exported": {"config": CONFIG, "genner": {**EXPORT, **damaged, "base": {"name": damaged["base"]}}},
    }.items():
        with pytest.raises(ModelError, match=r"(genner|training)\.json is damaged: .*; restore the file"):
            ModelSource.resolve(folder(tmp_path / name, **files))


@pytest.mark.parametrize(
    "wrong", [{"kind": 5}, {"base": 5}, {"base": {}}, {"adapter": 5}, {"widen": "yes"}, {"formats": 5}]
)
def test_an_exported_manifest_with_a_wrong_value_is_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    made = {**EXPORT, "formats": ["compact"], **wrong}
    with pytest.raises(ModelError, match=r"genner\.json is damaged"):
        ModelSource.resolve(folder(tmp_path / "x", config=CONFIG, genner=made))


@pytest.mark.parametrize("content", [[], None, "x"])
@pytest.mark.parametrize("stem", ["adapter_config", "genner"])
def test_a_file_of_an_adapter_that_holds_no_object_is_named(tmp_path: Path, stem: str, content: Any) -> None:
    files = {"adapter_config": {"base_model_name_or_path": "b"}, stem: content}
    with pytest.raises(ModelError, match=rf"is corrupt: .*{stem}\.json holds no JSON object"):
        ModelSource.resolve(folder(tmp_path / "x", **files))


def test_an_error_about_the_base_of_an_adapter_names_the_adapter(tmp_path: Path) -> None:
    for base in ("nowhere/at/all", "nowhere", folder(tmp_path / "empty")):
        place = tmp_path / f"of-{Path(base).name}"
        adapter = ModelSource.resolve(folder(place, adapter_config={"base_model_name_or_path": base}))
        with pytest.raises(ModelError, match=f"adapter {place} belongs to {base!r}: "):
            _ = adapter.weights
        with pytest.raises(ModelError, match=f"adapter {place} belongs to {base!r}: "):
            _ = adapter.located


def test_missing_weights_and_damaged_configs_are_found_before_anything_is_loaded(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", config=CONFIG)
    adapter = ModelSource.resolve(folder(tmp_path / "a", adapter_config={"base_model_name_or_path": base}))
    with pytest.raises(ModelError, match=r"lacks adapter_model\.safetensors"):
        _ = adapter.weights
    with pytest.raises(ModelError, match=r"config\.json holds no JSON object"):
        _ = ModelSource.resolve(folder(tmp_path / "list", config=[])).weights


def test_a_format_that_this_version_does_not_know_is_named(tmp_path: Path) -> None:
    told = {"base": "some-base", "formats": ["later"]}
    source = ModelSource.resolve(folder(tmp_path / "x", config=CONFIG, training=told))
    with pytest.raises(ModelError, match=r"trained on the format 'later', .* name another \(inline_xml, "):
        _ = source.format


def test_signatures_name_a_folder_by_what_is_in_it(tmp_path: Path) -> None:
    places = [tmp_path / user / "model" for user in ("ann", "bob", "cy")]
    for place, weights in zip(places, (b"same", b"same", b"other"), strict=True):
        folder(place, config=CONFIG)
        (place / "model.safetensors").write_bytes(weights)
    names = [ModelSource.resolve(place).signature["model"] for place in places]
    assert names[0] == names[1] != names[2]
    assert all(re.fullmatch("model@[0-9a-f]{12}", name) for name in names)
    for name in ("smollm2-135m-instruct", "default", "o/n", "served-by-somebody", ""):
        assert called_in_signatures(name) == name
    assert called_in_signatures("/home/somebody/gone") == "gone"
