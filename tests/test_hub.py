"""Names of the Hugging Face hub: a stand-in of its client serves local folders; without a network, words that help."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genner
from genner.errors import ModelError, UnknownNameError
from genner.export.about import ModelFacts
from genner.export.folder import to_transformers
from genner.manifest import FETCHED
from genner.model_source import ModelSource
from genner.model_store import MODELS, fetch, is_hub_id, preset_of
from genner.presets import HubSource
from tests.conftest import Run
from tests.export.test_folder import a_base, an_adapter

Serve = Callable[[str, Path], None]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "models"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Folders that the hub's client finds under the names of repositories; commits are `<revision>-commit`."""
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    served: dict[str, Path] = {}

    class Api:
        def model_info(self, repo: str, revision: str) -> Any:
            if repo not in served:
                answer = httpx.Response(404, request=httpx.Request("GET", "http://x"))
                raise RepositoryNotFoundError("404: not found", response=answer)
            card = type("Card", (), {"license": "mit"})
            return type("Info", (), {"sha": f"{revision}-commit", "card_data": card})

    def download(
        repo: str, revision: str, local_dir: Path, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        from huggingface_hub.utils import filter_repo_objects

        every = [str(path.relative_to(served[repo])) for path in served[repo].rglob("*") if path.is_file()]
        for name in filter_repo_objects(every, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            shutil.copyfile(served[repo] / name, local_dir / name)
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return served.__setitem__


def test_a_model_of_the_hub_is_one_by_its_name(tmp_path: Path, store: Path, hub: Serve, run: Run) -> None:
    there = a_base(tmp_path / "there")
    (there / "modeling.py").write_text("raise SystemExit('code of the repository was run')")
    (there / "pytorch_model.bin").write_bytes(b"a pickle")
    (there / "original").mkdir()
    (there / "original" / "params.json").write_text("{}")
    hub("org/tiny", there)
    here = ModelSource.resolve("org/tiny", fetch=False)
    assert (here.kind, here.preset, here.digest) == ("hub", None, "none")
    with pytest.raises(ModelError, match=r"no folder here, and .* not fetched; run `genner models fetch org/tiny`"):
        _ = here.located
    ner = genner.load("org/tiny", ["PER"], device="cpu")
    folder = store / "org--tiny"
    assert not {"modeling.py", "pytorch_model.bin", "original"} & {path.name for path in folder.iterdir()}
    told = json.loads((folder / FETCHED).read_text())
    assert told["source"] == {"repo": "org/tiny", "revision": "main-commit", "gated": False}
    assert ner.signature["model"] == "org/tiny"
    assert ner.extract("Ada met Bob.").text == "Ada met Bob."
    found = ModelSource.resolve("org/tiny", fetch=False)
    assert (found.kind, found.base, found.weights, found.located) == ("folder", "org/tiny", folder, folder)
    assert found.weights_digest == ModelSource.resolve(str(folder)).weights_digest
    facts = ModelFacts.of("org/tiny")
    assert (facts.base.hub, facts.base.licence) == ("org/tiny", "mit")
    code, out, _ = run("models", "list")
    assert (code, f"org/tiny\tmodel of the Hugging Face hub\t\t{folder}" in out) == (0, True)
    assert run("models", "where", "org/tiny")[:2] == (0, f"{folder}\n")
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"is corrupt: config\.json .*; run `genner models fetch org/tiny --force`"):
        _ = ModelSource.resolve("org/tiny").weights
    assert run("models", "fetch", "org/tiny", "--force")[:2] == (0, f"{folder}\n")
    assert ModelSource.resolve("org/tiny").weights == folder


def test_an_adapter_of_the_hub_brings_its_base(tmp_path: Path, store: Path, hub: Serve) -> None:
    base = a_base(tmp_path / "there")
    hub("org/tiny", base)
    made = an_adapter(tmp_path / "lora", base)
    (made / "genner.json").write_text(json.dumps({"base": "org/tiny", "formats": ["compact"]}))
    hub("me/lora", made)
    bare = shutil.copytree(made, tmp_path / "bare")  # as peft alone writes it
    (bare / "genner.json").unlink()
    config = json.loads((bare / "adapter_config.json").read_text())
    (bare / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "org/tiny"}))
    hub("me/bare", bare)
    found = ModelSource.resolve("me/lora")
    assert (found.kind, found.base, found.format) == ("adapter", "org/tiny", "compact")
    assert found.weights == store / "org--tiny"
    assert found.digest == ModelSource.resolve(str(made)).digest
    signature = genner.load("me/lora", ["PER"], device="cpu").signature
    assert (signature["model"], signature["adapter"]) == ("org/tiny", found.digest)
    assert ModelSource.resolve("me/bare").base == "org/tiny"
    # Exported, it is told from what the store wrote about it.
    to_transformers("me/lora", tmp_path / "merged")
    hub("me/merged", tmp_path / "merged")
    merged = ModelSource.resolve("me/merged@v1")
    assert (merged.kind, merged.base, merged.origin) == ("exported", "me/merged@v1", "org/tiny")
    assert merged.format == "compact"
    assert merged.signature == {"model": "org/tiny", "adapter": f"{found.digest}-merged"}
    told = json.loads((merged.weights / FETCHED).read_text())
    assert told["source"]["revision"] == "v1-commit"


def test_a_repository_that_genner_cannot_run_is_refused(tmp_path: Path, store: Path, hub: Serve) -> None:
    own = a_base(tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    code = {"auto_map": {"AutoConfig": "configuration_own.Own"}}
    (own / "config.json").write_text(json.dumps(config | code | {"model_type": "own_kind"}))
    hub("org/own", own)
    with pytest.raises(ModelError, match=r"needs code of its own: .*'own_kind', and genner never runs the code"):
        fetch("org/own")
    (own / "config.json").write_text(json.dumps(config | code))  # transformers knows it: the code is not needed
    assert "auto_map" not in json.loads((fetch("org/own") / "config.json").read_text())
    pickled = a_base(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    hub("org/pickled", pickled)
    with pytest.raises(ModelError, match=r"no \*\.safetensors; .* pickled ones run code"):
        fetch("org/pickled")
    (tmp_path / "nothing").mkdir()
    hub("org/nothing", tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"neither config\.json nor adapter_config\.json"):
        fetch("org/nothing")
    with pytest.raises(ModelError, match=r"the hub has no repository 'org/typo', or only for its members"):
        genner.load("org/typo")
    assert [path.name for path in store.iterdir() if path.is_dir() and path.name[0] != "."] == ["org--own"]


def test_without_a_network_the_command_says_what_to_do(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint="http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    (tmp_path / "x.txt").write_text("Ada")
    code, out, err = run("extract", "x.txt", "--model", "org/tiny")
    assert (code, out) == (1, "")
    assert "cannot download model 'org/tiny' from https://huggingface.co/org/tiny" in err
    assert f"copy the model's folder from another machine to {tmp_path}/home/models/org--tiny" in err
    assert "Traceback" not in err


def test_which_names_are_of_the_hub(tmp_path: Path) -> None:
    assert is_hub_id("org/name")
    assert is_hub_id("org/name@v1.0")
    for name in ("default", "./name", "../name", "a/b/c", "/abs/path", "org/", "org/na me"):
        assert not is_hub_id(name)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert not is_hub_id("org/name")  # a folder wins
    with pytest.raises(ModelError, match=r"not a folder with a config\.json"):
        ModelSource.resolve("org/name")
    with pytest.raises(UnknownNameError, match="OWNER/NAME on the hub"):
        ModelSource.resolve("nowhere")
    for name, spec in MODELS.items():  # a preset is not fetched a second time by its other name
        if isinstance(spec.source, HubSource):
            assert preset_of(spec.source.repo) == name == ModelSource.resolve(spec.source.repo).base


def test_an_adapter_for_a_preset_by_its_name_on_the_hub(tmp_path: Path) -> None:
    made = an_adapter(tmp_path / "lora", tmp_path)
    (made / "genner.json").write_text(json.dumps({"base": "Qwen/Qwen3-4B"}))
    source = ModelSource.resolve(str(made))
    assert source.base == "qwen3-4b"
    with pytest.raises(ModelError, match=r"belongs to 'qwen3-4b', not to 'granite-4\.0-micro'"):
        source.check_base("granite-4.0-micro", tmp_path)
