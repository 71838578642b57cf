"""Training that goes on from an adapter: it begins with its very weights, and what does not fit is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.test_adapters import base, logits, noisy, quick, recipe_file
from tests.training.test_trainer import interrupt, weights

from genner.assess.cells import plan
from genner.assess.records import Cell
from genner.assess.study import Study
from genner.engines.transformers_engine import LocalEngine
from genner.errors import DataError, ModelError, TrainingError, UsageError
from genner.export.about import ModelFacts
from genner.export.card import write_cards
from genner.model_source import ModelSource, shipped
from genner.training import RunOptions, run
from genner.training.adapters import load_base, prepare
from genner.training.checkpoint import check_recipe
from genner.training.recipe import LoraSpec, Recipe
from genner.training.trainer import Trainer
from genner.training.warm_start import WarmStart

__all__ = ["quick"]  # a fixture that is used by all tests here too

CPU = torch.device("cpu")
STILL = "\n[optim]\nlearning_rate = 0\nepochs = 1\ngroup_tokens = 300\n"  # steps that change nothing
TRAINED = "\n[optim]\nlearning_rate = 0.01\nwarmup = 0\nepochs = 1\ngroup_tokens = 300\n"


def an_adapter(folder: Path, spec: LoraSpec, model: Path) -> Path:
    """An adapter of this making for the model, its weights as if trained."""
    made = noisy(prepare(load_base(model, "lora", CPU), Recipe(str(model), (), {}, lora=spec)))
    made.save_pretrained(folder, save_embedding_layers=False)
    (folder / "genner.json").write_text(json.dumps({"base": str(model), "formats": ["inline_xml"]}))
    return folder


def lora(spec: LoraSpec) -> str:
    keys = {"rank": spec.rank, "alpha": spec.alpha, "rslora": spec.rslora, "dora": spec.dora}
    targets = spec.targets if isinstance(spec.targets, str) else list(spec.targets)
    return "[lora]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in {**keys, "targets": targets}.items())


def train(
    folder: Path, more: str, out: str = "out", start: str | None = "before", form: str = "inline_xml", **options: Any
) -> Path:
    """A run after a recipe that begins with what lies in `start`; without evaluations, which take longest."""
    path = recipe_file(folder, (f"start = '{folder / start}'\n" if start else "") + more, f"{form} = 1.0")
    path.write_text(path.read_text().replace("dev = 'dev.jsonl'\n", ""))
    run(path, folder, folder / out, RunOptions(device="cpu", **options))
    return folder / out


SPECS = {
    "plain": LoraSpec(rank=4, alpha=8),
    "rslora": LoraSpec(rank=2, alpha=8, rslora=True),
    "dora": LoraSpec(rank=4, alpha=8, dora=True),
    "targets": LoraSpec(rank=4, alpha=8, targets=("v_proj", "q_proj")),
}


@pytest.mark.parametrize("name", SPECS)
def test_without_a_change_it_is_the_adapter_that_it_began_with(tmp_path: Path, name: str) -> None:
    model = base(tmp_path / "base")
    before = an_adapter(tmp_path / "before", SPECS[name], model)
    out = train(tmp_path, lora(SPECS[name]) + STILL)
    expected, found = weights(before), weights(out / "adapter")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    ids = torch.arange(3, 40)[None]
    both = [
        LocalEngine.load(model, place, decoder="reference", dtype=torch.float32) for place in (before, out / "adapter")
    ]
    assert torch.equal(*(logits(engine.network.causal, ids) for engine in both))


def test_a_run_goes_on_from_another_and_says_so(tmp_path: Path) -> None:
    base(tmp_path / "base")
    more = lora(SPECS["plain"]) + TRAINED
    first = train(tmp_path, more, "first", None)
    out = train(tmp_path, more, start="first")
    before, after = weights(first / "adapter"), weights(out / "adapter")
    change = max(float((after[key] - before[key]).abs().max()) for key in before)
    assert 0 < change < 0.05  # two steps of at most 0.01 a weight: it did not begin anew
    sha = ModelFacts.of(str(first)).adapter
    told = json.loads((out / "adapter" / "genner.json").read_text())["start"]
    assert told == {"name": str(first), "sha256": sha}
    assert "start" not in json.loads((first / "adapter" / "genner.json").read_text())
    card = write_cards(out)[-1].read_text()
    assert f"went on from the adapter `first`, SHA-256 `{sha}`" in card
    assert str(tmp_path) not in card
    assert ModelSource.find(str(out)) is not None


def test_a_resumed_run_does_not_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = an_adapter(tmp_path / "before", SPECS["plain"], base(tmp_path / "base"))
    more = lora(SPECS["plain"]) + TRAINED
    whole = train(tmp_path, more, "whole", epochs=3)
    step = Trainer._step

    def spy(self: Trainer, *arguments: Any) -> float:
        if self.progress.step == 1:
            interrupt()
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", spy)
        cut = train(tmp_path, more, "cut", epochs=3)
    assert not all(torch.equal(tensor, weights(whole / "adapter")[k]) for k, tensor in weights(cut / "adapter").items())
    shutil.rmtree(before)
    train(tmp_path, more, "cut", epochs=3, resume=True)
    expected, found = weights(whole / "adapter"), weights(cut / "adapter")
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    told = [json.loads((out / "adapter" / "genner.json").read_text()) for out in (whole, cut)]
    assert told[0] == told[1]
    assert "start" in told[0]
    with pytest.raises(TrainingError, match=r"another recipe: 'start' was .*before.* and is None"):
        train(tmp_path, more, "cut", None, epochs=3, resume=True)
    with pytest.raises(ModelError, match="is no adapter"):
        train(tmp_path, more, "anew")


def test_resuming_begins_where_nothing_was_saved(tmp_path: Path) -> None:
    before = an_adapter(tmp_path / "before", SPECS["plain"], base(tmp_path / "base"))
    out = train(tmp_path, lora(SPECS["plain"]) + STILL, resume=True)
    found = weights(out / "adapter")
    assert all(torch.equal(tensor, found[key]) for key, tensor in weights(before).items())


def config(key: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return change


def without_a_layer(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({key: tensor for key, tensor in load_file(path).items() if "layers.0.self_attn.q_proj" not in key}, path)


def damaged(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"\0" * 40)


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "more", "error", "message"),
    [
        (
            nothing,
            "rank = 8\nalpha = 8",
            TrainingError,
            r"has rank = 4, and .* rank = 8; write rank = 4 under \[lora\]",
        ),
        (nothing, "rank = 4\nalpha = 16", TrainingError, "has alpha = 8, and .* alpha = 16"),
        (nothing, "rank = 4\nalpha = 8\nrslora = true", TrainingError, "has rslora = false, and .* rslora = true"),
        (nothing, "rank = 4\nalpha = 8\ndora = true", TrainingError, "has dora = false, and .* dora = true"),
        (
            nothing,
            "rank = 4\nalpha = 8\ntargets = ['q_proj']",
            TrainingError,
            r'has targets = \["down_proj".*"v_proj"\], and .* targets = \["q_proj"\]; write targets = \["down_proj"',
        ),
        (
            config("alpha_pattern", {"q_proj": 2}),
            "rank = 4\nalpha = 8",
            TrainingError,
            '{"alpha_pattern": .*genner merge',
        ),
        (config("init_lora_weights", "pissa"), "rank = 4\nalpha = 8", TrainingError, '"init_lora_weights": "pissa"'),
        (without_a_layer, "rank = 4\nalpha = 8", TrainingError, r"has 20 layers, and the recipe's .* are 21 of this"),
        (damaged, "rank = 4\nalpha = 8", ModelError, "before is corrupt.*train it again"),
    ],
)
def test_another_making_is_refused(
    tmp_path: Path, change: Callable[[Path], None], more: str, error: type[Exception], message: str
) -> None:
    change(an_adapter(tmp_path / "before", SPECS["plain"], base(tmp_path / "base")))
    with pytest.raises(error, match=message):
        train(tmp_path, f"[lora]\n{more}\n{STILL}")
    assert not (tmp_path / "out").exists()


def test_tags_that_are_tokens_come_along_or_are_refused(tmp_path: Path) -> None:
    base(tmp_path / "base", tie_word_embeddings=True)
    plain = "[lora]\nrank = 4\nalpha = 8\n"
    tags = f"{plain}tag_tokens = true\n"
    first = train(tmp_path, tags + TRAINED, "first", None, "compact")
    out = train(tmp_path, tags + STILL, "out", "first", "compact")
    expected, found = weights(first / "adapter"), weights(out / "adapter")
    assert any("trainable_tokens" in key for key in expected)
    assert all(torch.equal(tensor, found[key]) for key, tensor in expected.items())
    with pytest.raises(TrainingError, match="has 3 tag tokens, and the recipe 0; tag_tokens must be the same"):
        train(tmp_path, plain + STILL, "other", "first")


def test_another_base_or_method_is_refused(tmp_path: Path) -> None:
    model = base(tmp_path / "base")
    before = an_adapter(tmp_path / "before", SPECS["plain"], model)
    recipe = Recipe(str(model), (), {}, lora=SPECS["plain"], start=str(before))
    found = WarmStart.of(recipe, model)
    assert found is not None
    assert found.record == {"name": str(before), "sha256": ModelFacts.of(str(before)).adapter}
    about = json.loads((before / "genner.json").read_text())
    (before / "genner.json").write_text(json.dumps(about | {"fingerprint": {"sizes": "0123456789abcdef"}}))
    with pytest.raises(ModelError, match=r"another model than the one in .*base.*differ \(.*, then 0123456789abcdef\)"):
        WarmStart.of(recipe, model)
    (before / "genner.json").write_text(json.dumps(about | {"base": "smollm2-135m-instruct"}))
    with pytest.raises(ModelError, match="belongs to 'smollm2-135m-instruct', not to"):
        WarmStart.of(recipe, model)
    with pytest.raises(ModelError, match=r"start = 'nowhere' is no adapter; give a shipped one \(.*default"):
        WarmStart.of(Recipe(str(model), (), {}, start="nowhere"), model)
    (before / "adapter_model.safetensors").unlink()
    (before / "genner.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match=r"lacks adapter_model\.safetensors"):
        WarmStart.of(recipe, model)
    with pytest.raises(UsageError, match=r"start = 'default' is an adapter, and method = 'full'.*genner merge default"):
        Recipe("b", (), {}, method="full", start="default")
    with pytest.raises(DataError, match=r"recipe\.toml.*start = 3 is not of type"):
        Recipe.from_file(recipe_file(tmp_path, "start = 3"))


def test_a_recipe_without_it_is_written_as_before(tmp_path: Path) -> None:
    recipe = Recipe("b", (), {"inline_xml": 1.0})
    assert "start" not in recipe.to_dict()
    going = Recipe("b", (), {"inline_xml": 1.0}, start="default")
    assert Recipe.from_dict(json.loads(json.dumps(going.to_dict()))) == going
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    check_recipe(tmp_path / "recipe.json", recipe)
    with pytest.raises(TrainingError, match="'start' was None and is 'default'"):
        check_recipe(tmp_path / "recipe.json", going)


def test_the_shipped_adapter_can_be_gone_on_from() -> None:
    """All but the base itself, which need not be here."""
    start = WarmStart("default", shipped()["default"], "")
    start._check(LoraSpec(rank=16, alpha=32))
    with pytest.raises(TrainingError, match=r"rank = 16.*rank = 32"):
        start._check(LoraSpec(rank=32, alpha=32))


STUDY: dict[str, Any] = {
    "name": "s",
    "model": [{"name": "m", "recipes": ["r"]}],
    "corpus": [{"name": "c", "labels": "core", "train": ["c.jsonl"], "test": "sample:genia"}],
    "recipe": [{"name": "r"}],
}


def trained_cell(start: str | None) -> Cell:
    recipe = {"name": "r", **({"start": start} if start else {})}
    (cell,) = [c for c in plan(Study.from_dict(STUDY | {"recipe": [recipe]})) if c.kind == "train"]
    return cell


def test_a_cell_of_a_study_is_what_it_begins_with(tmp_path: Path) -> None:
    before = an_adapter(tmp_path / "before", SPECS["plain"], base(tmp_path / "base"))
    bare, going = trained_cell(None), trained_cell(str(before))
    assert "start" not in {**bare.description, **bare.description["recipe"]}
    assert going.description["recipe"]["start"] == str(before)
    assert going.id == trained_cell(str(before)).id != bare.id
    tensors = weights(before)
    save_file({key: tensor + 1 for key, tensor in tensors.items()}, before / "adapter_model.safetensors")
    assert trained_cell(str(before)).id != going.id  # another adapter in its place
