"""Model cards: exactly what the files say, and no path of this machine."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.conftest import Run
from tests.places import FILES, ROOT

from genner.calibration import Calibration
from genner.calibration_scales import Fit, Scale
from genner.errors import ModelError, UsageError
from genner.export.about import Base, ModelFacts, TrainingFacts
from genner.export.card import CARD, MARK, render, write_cards
from genner.export.card_training import sources
from genner.labels import label_set
from genner.model_source import shipped
from genner.token_groups import decision_families
from genner.training.recipe import Recipe

ASSETS = ROOT / "src" / "genner" / "assets"
GOLDEN = FILES / "card.md"
RECIPE: dict[str, Any] = {
    "base": "smollm2-135m-instruct",
    "sets": [
        {
            "name": "wnut17",
            "train": ["wnut17/train.jsonl"],
            "labels": "wnut17",
            "dev": "wnut17/dev.jsonl",
            "weight": 0.5,
        },
        {"name": "ours", "train": ["/home/me/ours.jsonl"], "labels": "ours.json", "dev": None, "weight": 2.0},
    ],
    "formats": {"inline_xml": 3.0, "compact": 1.0},
    "method": "lora",
    "seed": 7,
    "lora": {"rank": 16, "alpha": 32, "dropout": 0.0, "rslora": True, "targets": "all-linear", "tag_tokens": False},
    "optim": {
        "learning_rate": 0.0012,
        "warmup": 0.05,
        "weight_decay": 0.0,
        "clip": 1.0,
        "epochs": 5.0,
        "group_tokens": 1536,
        "groups_per_step": 1,
        "max_tokens": 2048,
    },
    "prompt": {"full_prompt": 0.5, "no_definitions": 0.6, "subset": 0.5},
}
DATA = {"steps": 66, "sentences": {"wnut17": 1697, "ours": 20}, "too_long": {"ours": 3}, "cannot_say": {"wnut17": 2}}
SIGNATURE = "match:strict|docs:{}|gold:0123456789ab|genner:0.1.0|bootstrap:10000|seed:0|format:inline_xml"
DEV = {
    "set": "wnut17",
    "split": "dev",
    "sentences": 40,
    "of": 1009,
    "tp": 10,
    "fp": 5,
    "fn": 15,
    "low": 0.3,
    "high": 0.7,
}
SCORES = {"f1": 0.5, "meaning": "a sample", "results": [DEV | {"signature": SIGNATURE.format(40)}]}
METRICS = [
    {"step": 10, "tokens": 15000, "seconds": 60.5, "loss": 0.8, "lr": 1e-3},
    {"step": 15, "tokens": 22000, "seconds": 90.0, "dev_f1": 0.3, "dev_f1_wnut17": 0.3, "dev_invalid": 0.0},
    {"step": 1300, "tokens": 2100000, "seconds": 5400.0, "dev_f1": 0.5, "dev_f1_wnut17": 0.5, "dev_invalid": 0.025},
    {"step": 1310, "tokens": 2115000, "seconds": 5460.0, "loss": 0.1, "lr": 1e-5},
]


@pytest.fixture
def a_run(tmp_path: Path) -> Path:
    """What a training run leaves, without weights that could run."""
    run = tmp_path / "mine"
    for name, scores in (("best", SCORES), ("adapter", {})):
        (run / name).mkdir(parents=True)
        recipe = hashlib.sha256(json.dumps(RECIPE, indent=1).encode()).hexdigest()
        about = {"base": RECIPE["base"], "formats": ["inline_xml", "compact"], "recipe": recipe}
        about |= {"dev": scores} if scores else {}
        (run / name / "genner.json").write_text(json.dumps(about))
        (run / name / "adapter_config.json").write_text("{}")
        (run / name / "adapter_model.safetensors").write_bytes(b"weights")
    (run / "recipe.json").write_text(json.dumps(RECIPE, indent=1))
    (run / "data.json").write_text(json.dumps(DATA))
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in METRICS))
    progress = {"step": 1320, "tokens": 2130000, "seconds": 5520.0, "best": 0.4}
    torch.save({"progress": progress, "masters": [torch.zeros(3)], "optimizer": {}}, run / "state.pt")
    return run


def matter(card: str) -> dict[str, Any]:
    found = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(found, dict)
    return found


def test_the_cards_of_a_run(a_run: Path) -> None:
    assert write_cards(a_run) == [a_run / "best" / CARD, a_run / "adapter" / CARD, a_run / CARD]
    best, newest, own = ((a_run / part / CARD).read_text() for part in ("best", "adapter", "."))
    assert own == best == GOLDEN.read_text()
    assert matter(best) == {
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "license": "apache-2.0",
        "tags": ["genner", "named-entity-recognition"],
        "datasets": ["wnut17", "ours"],
    }
    assert "1,320 steps, 2,130,000 tokens, 92 minutes in steps" in newest
    assert "None are recorded with these weights" in newest
    assert "/home/me" not in best + newest
    assert write_cards(a_run / "best") == [a_run / "best" / CARD]  # again, over its own
    assert (a_run / "best" / CARD).read_text() == best


def test_labels_are_listed_with_their_definitions(a_run: Path) -> None:
    own = {
        "ship": {"name": "vessel", "definition": "ships, | <b>boats</b> & *rafts*"},
        "port": {"name": "", "definition": ""},
    }
    (a_run / "data.json").write_text(json.dumps({**DATA, "labels": {"ours.json": own}}))
    card = _card(a_run / "best")
    assert "`ours.json`:\n\n| label | name | definition |\n|---|---|---|\n" in card
    assert "| `ship` | vessel | ships, \\| &lt;b>boats&lt;/b> &amp; \\*rafts\\* |\n| `port` |  |  |\n" in card
    # Without the run's records, an adapter of one label set still says which.
    (a_run / "recipe.json").unlink()
    about = json.loads((a_run / "best" / "genner.json").read_text())
    (a_run / "best" / "genner.json").write_text(json.dumps(about | {"labels": own}))
    assert "| `ship` | vessel | ships" in _card(a_run / "best")


@pytest.mark.parametrize("name", shipped())
def test_the_cards_of_the_shipped_adapters_list_their_labels(name: str) -> None:
    text = (shipped()[name] / CARD).read_text(encoding="utf-8")
    recipe = Recipe.from_file(ROOT / "recipes" / f"{name}.toml")
    for labels in {spec.labels for spec in recipe.sets}:
        for label in label_set(labels):
            assert f"| `{label.tag}` | {label.name} | {label.definition} |" in text


def test_what_is_not_known_is_not_said(a_run: Path) -> None:
    (a_run / "state.pt").unlink()
    assert "how many steps these weights are from is not recorded" in _card(a_run / "adapter")
    (a_run / "recipe.json").write_text(json.dumps(RECIPE | {"seed": 8}, indent=1))  # another recipe
    card = _card(a_run / "best")
    assert "With which data and settings it was trained is not recorded" in card
    assert not any(word in card for word in ("AdamW", "WNUT", "## Data", "datasets:"))
    assert "samples of the dev splits, 40 sentences a set at most" in card  # which lie beside the weights
    for name in ("recipe.json", "data.json", "metrics.jsonl"):
        (a_run / name).unlink()
    assert _card(a_run / "best") == card


def _card(folder: Path) -> str:
    return write_cards(folder)[-1].read_text()


@pytest.mark.parametrize("name", ["genner.json", "data.json", "metrics.jsonl", "state.pt"])
def test_damaged_records_are_named(a_run: Path, name: str) -> None:
    folder = a_run / ("adapter" if name == "state.pt" else "best")
    (folder / name if name == "genner.json" else a_run / name).write_text("{")
    with pytest.raises(ModelError, match=r"restore|corrupt|damaged"):
        write_cards(folder)


def test_a_card_by_hand_is_kept(a_run: Path, run: Run) -> None:
    (a_run / "adapter" / CARD).write_text("# Mine\n")
    code, out, err = run("card", str(a_run))
    assert (code, out) == (2, "")
    assert "adapter/README.md was not written by genner; overwrite it with --force" in err
    assert not (a_run / CARD).exists()
    assert run("card", str(a_run), "--force")[0] == 0
    assert MARK in (a_run / "adapter" / CARD).read_text()


def test_other_folders_have_no_card(tmp_path: Path, run: Run) -> None:
    with pytest.raises(UsageError, match="holds no model of genner"):
        write_cards(tmp_path)
    assert run("card", str(tmp_path / "nowhere"))[0] == 2


def test_a_base_in_a_folder_is_named_without_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "models--owner--Some-Model" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / CARD).write_text("---\nlanguage: en\nlicense: llama3.2\n---\n# Some\nlicense: mit\n")
    assert Base.of(str(folder)) == Base("owner/Some-Model", None, "llama3.2", "owner/Some-Model")
    unknown = Base.of(str(tmp_path / "other"))
    assert unknown == Base("other")
    card = render(ModelFacts("merged", unknown, "ab12", ("compact",), dtype="bfloat16"), "yes: no")
    assert matter(card)["license"] == "unknown"
    assert "base_model" not in matter(card)
    assert str(tmp_path) not in card
    assert "its licence: unknown to genner" in card
    assert 'genner.load("yes: no")' in card


@pytest.mark.parametrize("name", ["on", "12", "a: b", "- x", "", 'say "so"', "a #b", "null", "x/y.z-1", "Ä"])
def test_front_matter_is_yaml_whatever_the_names(name: str) -> None:
    training = TrainingFacts(RECIPE | {"sets": [RECIPE["sets"][1] | {"name": name}]}, {})
    about = ModelFacts("adapter", Base("b", hub=name or None), "ab", ("compact",), training=training)
    assert matter(render(about, "t"))["datasets"] == [name]
    assert matter(render(about, "t")).get("base_model", "") == name


def test_conversations_are_data_whose_licence_is_not_known(a_run: Path) -> None:
    chats = [{"name": "talk", "train": ["/home/me/talk.jsonl"], "weight": 0.5}]
    for data, count in (({**DATA, "conversations": {"talk": 1234}}, "1,234"), ({}, "some")):
        about = ModelFacts(
            "adapter", Base("b"), "ab", ("compact",), training=TrainingFacts(RECIPE | {"chat": chats}, data)
        )
        card = render(about, "t")
        assert (
            f"Mixed in were {count} general conversations an epoch, `talk` (weight 0.5); genner does not know" in card
        )
        assert matter(card)["datasets"] == ["wnut17", "ours", "talk"]
        assert "/home/me" not in card
        assert ("examples, which were too long" in card) == bool(data)


def test_what_a_recipe_does_to_its_data_is_told() -> None:
    unset = {"fraction": 1.0, "max_empty": 1.0, "shots": 0, "concat": 0.0, "typos": 0.0, "absent": [], "formats": {}}
    sets = [RECIPE["sets"][0] | unset, RECIPE["sets"][1] | unset | {"fraction": 0.1, "shots": 5, "absent": ["x:Y"]}]
    prompt = RECIPE["prompt"] | {"negatives": 0.25, "renamed": 0.0}
    card = render(
        ModelFacts(
            "adapter",
            Base("b"),
            "a",
            ("compact",),
            training=TrainingFacts(RECIPE | {"sets": sets, "prompt": prompt}, {}),
        ),
        "t",
    )
    assert "Of `ours`: `fraction` 0.1, `shots` 5, `absent` ['x:Y'].\n" in card
    assert "Of `wnut17`" not in card
    assert "60% without definitions; of all: `negatives` 0.25\n" in card


def test_the_card_says_whether_scores_are_calibrated(a_run: Path) -> None:
    plain = _card(a_run / "best")
    assert "It is not calibrated." in plain
    sha = hashlib.sha256(b"weights").hexdigest()[:12]
    scale = Scale.identity(decision_families()["inline"])
    one = {"sentences": 200, "entities": 90, "right": 60, "error_before": 0.1234, "error_after": 0.0456}
    fit = Fit("inline_xml", {"wnut17": one}, before=0.1234, after=0.0456, bins=10)
    Calibration({"inline": scale}, sha, {"inline": fit}).write(a_run / "best")
    card = _card(a_run / "best")
    assert "calibration error 0.123 before, 0.046 after, by cross-validation (`inline_xml`)" in card
    assert "not calibrated" not in card
    assert _card(a_run) == card  # the run's own card is that of the adapter that is loaded
    about = ModelFacts.of(str(a_run))
    assert "It is not calibrated." in render(replace(about, kind="gguf"), "t")  # llama.cpp knows nothing of it
    Calibration({"inline": scale}, "0123456789ab", {"inline": fit}).write(a_run / "best")
    with pytest.raises(ModelError, match=r"calibration\.json"):
        write_cards(a_run / "best")


def test_four_bits_are_a_limit() -> None:
    for kind, said in (("q4_1", True), ("q8_0", False)):
        about = ModelFacts("gguf", Base("b"), "ab", ("compact",), gguf={f"m-{kind}.gguf": kind})
        assert ("Weights in 4 bits are coarse" in render(about, "m")) == said


def test_licences_are_those_of_the_gold_samples_sources() -> None:
    told = (ASSETS / "gold" / "SOURCES.md").read_text(encoding="utf-8")
    for line in told.splitlines():
        if line.startswith("- **"):
            name = line.split("**")[1]
            licence = line.split(" Licence: ")[1].split(". Taken from")[0]
            kept = licence.replace(", as the BigBIO card states", "").replace("; ", ", ")
            assert sources()[name][1] == kept
    assert sources()["genia"][1].startswith("GENIA Project License")
