"""A run that cannot have learned anything says so, before and after, with what to change and its own numbers; and data
come in through the one way in for corpora."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.conftest import Run
from tests.processors import pretend
from tests.training.test_trainer import corpus, recipe, write

from genner.document import Document, LabelSet
from genner.engines.chat import Chat
from genner.errors import DataError, UsageError
from genner.training.mixture import Mixture
from genner.training.progress import Limits, TrainingProgress
from genner.training.recipe import DrafterSpec, OptimSpec, Recipe, SetSpec
from genner.training.verdict import FEW_STARTED, FEW_STEPS, beforehand, few, judge, too_slow

RECIPE = Recipe("base", (SetSpec("a", ("a.jsonl",), "core"),), {"inline_xml": 1.0}, optim=OptimSpec(epochs=3.0))


def done(steps: int, best: float, **more: Any) -> TrainingProgress:
    return TrainingProgress(step=steps, best=best, finished=True, **more)


def said(*args: Any, **options: Any) -> str:
    return "\n".join(judge(*args, **options).advice)


# -- what is said


@pytest.mark.parametrize(
    ("steps", "best", "learned"),
    [(3, 0.0, False), (3, -1.0, False), (3, 0.4, True), (500, 0.0, False), (500, -1.0, True), (500, 0.1, True)],
)
def test_whether_a_run_has_learned(steps: int, best: float, learned: bool) -> None:
    found = judge(RECIPE, Limits(), done(steps, best), steps, 44)
    assert found.learned == learned
    assert bool(found.advice) == (steps < FEW_STEPS or best <= 0)
    assert found.learned or found.advice


def test_advice_names_the_numbers_of_the_run_and_the_keys_to_change() -> None:
    text = said(RECIPE, Limits(), done(3, 0.0, losses=[1.0, 2.0]), 3, 44)
    assert "dev F1 is 0 after 3 steps (loss 1.5 over the last steps)" in text
    assert f"[optim] min_steps = {2 * FEW_STEPS} (epochs = 3 made 3 steps of 44 sentences)" in text
    assert "groups_per_step = 1 instead of 2" in text
    assert "group_tokens than 1024" in text
    assert "--max-minutes 5 ended it at step 3 of 900" in said(RECIPE, Limits(max_minutes=5), done(3, 0.0), 900, 44)
    enough = said(RECIPE, Limits(), done(900, 0.0), 900, 44)
    assert "900 steps on 44 sentences should do" in enough
    assert "learning_rate (0.001)" in enough
    assert "no dev data" in said(RECIPE, Limits(), done(900, -1.0), 900, 44)


@pytest.mark.parametrize(("f1", "told"), [(0.0, True), (0.3, False), (None, False)])
def test_a_drafter_that_guesses_nothing_is_named(f1: float | None, told: bool) -> None:
    some = replace(RECIPE, drafter=DrafterSpec(sentences=20, epochs=7))
    text = said(some, Limits(), done(900, 0.5), 900, 44, f1)
    assert ("the drafter guesses nothing" in text) == told
    assert ("at most 20 sentences 7 times" in text) == told


def test_an_adapter_that_goes_on_needs_fewer_steps() -> None:
    started = replace(RECIPE, start="default")
    assert (few(started), few(RECIPE)) == (FEW_STARTED, FEW_STEPS)
    assert beforehand(RECIPE, FEW_STEPS - 1, 44)
    assert not beforehand(RECIPE, FEW_STEPS, 44)
    assert not beforehand(started, FEW_STARTED, 44)


def test_a_limit_of_time_is_compared_with_the_first_steps() -> None:
    three = TrainingProgress(step=3, seconds=30.0)
    (near,) = too_slow(Limits(max_minutes=15), RECIPE, three, 900)
    assert near == "10 s a step: --max-minutes 15 ends the run near step 90 of 900"
    (early,) = too_slow(Limits(max_minutes=5), RECIPE, three, 900)
    assert early.startswith("warning: 10 s a step")
    assert "give --max-minutes 9 or more" in early
    assert not too_slow(Limits(max_minutes=500), RECIPE, three, 900)
    assert not too_slow(Limits(), RECIPE, three, 900)


# -- a run


@pytest.fixture
def command(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`genner train` on a tiny base in the recipe's folder."""
    pretend(monkeypatch, "float32")
    monkeypatch.setattr("genner.training.trainer.draw", lambda metrics, out: None)
    tiny.model("llama").save_pretrained(tmp_path / "base")
    tiny.tokenizer("bytes").save_pretrained(tmp_path / "base")

    def call(body: str, *options: str) -> tuple[int, str, str]:
        recipe(tmp_path, f"[lora]\nrank = 2\n{body}")
        path = tmp_path / "recipe.toml"
        text = path.read_text(encoding="utf-8").replace("some-model", str(tmp_path / "base"))
        path.write_text(text.replace('dev = "dev.jsonl"', ""), encoding="utf-8")
        return run("train", str(path), "--data", str(tmp_path), "--out", "out", "--device", "cpu", *options)

    return call


def test_a_run_of_three_steps_does_not_end_with_success(command: Any, tmp_path: Path) -> None:
    body = "[optim]\nlearning_rate = 1e-9\nepochs = 1\ngroup_tokens = 160\n[drafter]\nsentences = 12\nepochs = 1\n"
    code, _, err = command(body, "--calibration-sentences", "0")
    about = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert code == 3
    assert about["steps"] == about["planned"] < FEW_STEPS
    assert (about["dev_f1"], about["learned"], about["sentences"]) == (None, False, 12)
    assert about["drafter_f1"] is not None
    assert f"warning: {about['planned']} steps are too few to learn from" in err
    assert all(line in err for line in about["advice"])
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()  # what was trained is kept


def test_min_steps_makes_a_small_set_enough(command: Any, tmp_path: Path) -> None:
    body = "[optim]\nlearning_rate = 1e-9\nepochs = 1\nmin_steps = 7\ngroup_tokens = 4000\n[drafter]\nsentences = 0\n"
    command(body, "--calibration-sentences", "0")
    assert json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["steps"] == 7


# -- data


def made(folder: Path, **keys: Any) -> Mixture:
    recipe(folder)
    some = SetSpec(**{"name": "a", "train": ("train.jsonl",), "labels": "labels.json", **keys})
    return Mixture(Recipe("b", (some,), {"inline_xml": 1.0}), folder, Chat(tiny.tokenizer("bytes")))


def test_columns_train_as_json_lines_do(tmp_path: Path) -> None:
    from genner.data.convert import convert

    write(tmp_path / "a.jsonl", corpus(9))
    convert(tmp_path / "a.jsonl", tmp_path / "a.conll")
    lines = (tmp_path / "a.conll").read_text(encoding="utf-8").split("\n")
    swapped = ["\t".join(reversed(line.split("\t"))) if "\t" in line else line for line in lines]
    (tmp_path / "a.txt").write_text("\n".join(swapped), encoding="utf-8")

    def documents(mixture: Mixture) -> list[Document]:
        return [*mixture.sets[0][2], *mixture.dev["a"][1]]

    plain = documents(made(tmp_path, train=("a.jsonl",), dev="a.jsonl"))
    assert documents(made(tmp_path, train=("a.conll",), dev="a.conll")) == plain
    assert documents(made(tmp_path, train=("a.txt",), dev="a.txt", from_="conll:token=1,column=0")) == plain


def test_a_set_says_what_its_files_are_as_convert_does(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_text("nothing that is known", encoding="utf-8")
    with pytest.raises(UsageError, match=r"\[set\] 'a': .*in the recipe: from = "):
        made(tmp_path, train=("a.bin",))
    with pytest.raises(UsageError, match="unknown syntax 'colln'"):
        made(tmp_path, from_="colln")


def test_a_key_that_python_keeps_for_itself_is_a_key_of_recipes(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    body = "base = 'x'\n[formats]\ninline_xml = 1\n[optim]\nmin_steps = 9\n[[set]]\nname = 'a'\nlabels = 'core'\n"
    path.write_text(body + "train = ['a']\nfrom = 'conll'\n", encoding="utf-8")
    found = Recipe.from_file(path)
    assert (found.sets[0].from_, found.optim.min_steps) == ("conll", 9)
    assert found.to_dict()["sets"][0]["from"] == "conll"
    assert Recipe.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    # Recipes without them keep the hashes that they had.
    assert not {"from", "from_", "lenient", "min_steps"} & {*RECIPE.to_dict()["sets"][0], *RECIPE.to_dict()["optim"]}
    path.write_text(body + "train = ['a']\nform = 'conll'\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no key 'form'.*; known: .*, from"):
        Recipe.from_file(path)


def test_data_without_an_entity_teach_nothing_and_are_refused(command: Any, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [Document(d.text, (), d.id) for d in corpus(5)])
    code, _, err = command("")
    assert code == 1
    assert "has no entity in 5 documents" in err
    assert LabelSet.from_file(tmp_path / "labels.json").tags == ("PER", "LOC")
