"""The training benchmark: its trainers get the same conversations and compute the same loss; its table."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny
from tests.places import ROOT
from tests.processors import pretend
from tests.training.test_trainer import recipe

from genner.training.batching import Batch, Example
from genner.training.recipe import Recipe

sys.path.append(str(ROOT / "benchmarks"))

from peers import lessons, schooling, sft, trained
from peers.lessons import Lesson

ids = st.lists(st.integers(0, 60_000), min_size=1, max_size=6)
groups = st.lists(st.builds(Batch, ids, st.lists(st.builds(Example, ids, ids), min_size=1, max_size=4)), max_size=4)


@given(groups)
def test_groups_survive_json(some: list[Batch]) -> None:
    assert lessons.from_json(json.loads(json.dumps(lessons.to_json(some)))) == some


@given(groups, groups)
def test_peers_get_the_conversations_of_each_step(warm: list[Batch], timed: list[Batch]) -> None:
    lesson = Lesson(Recipe("some-model", (), {}), warm, timed)
    examples, steps, counts = sft.conversations(timed), sft.batches(timed), lesson.counts()
    assert [i for step in steps for i in step] == list(range(len(examples)))
    for group, step in zip(timed, steps, strict=True):
        expected = [group.prefix + pair.body + pair.answer for pair in group.pairs]
        assert [examples[i]["input_ids"] for i in step] == expected
        for i, pair in zip(step, group.pairs, strict=True):
            labels = examples[i]["labels"]
            assert len(labels) == len(examples[i]["input_ids"])
            assert [label for label in labels if label != sft.IGNORED] == labels[-len(pair.answer) :] == pair.answer
    assert counts["examples"] == len(examples)
    assert counts["each_time"] == sum(len(example["input_ids"]) for example in examples)
    assert counts["answers"] == sum(label != sft.IGNORED for example in examples for label in example["labels"])
    assert counts["once_a_group"] == counts["useful"] + sum(len(group.prefix) for group in timed)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> schooling.Plan:
    """Of a tiny model in float32, so that losses are compared to many digits."""
    pretend(monkeypatch, "float32")
    base = tmp_path / "base"
    tiny.model("llama").save_pretrained(base)
    tiny.tokenizer("bytes").save_pretrained(base)
    recipe(tmp_path, "[lora]\nrank = 4\nalpha = 8\n[optim]\nlearning_rate = 0.01\ngroup_tokens = 160\n")
    toml = tmp_path / "recipe.toml"
    toml.write_text(toml.read_text().replace("some-model", str(base)))
    made = schooling.Plan(toml, tmp_path, 1, 2, None, 1, None, "now", tmp_path / "out.json")
    schooling.measure(made, schooling.LESSON)
    return made


def measured(plan: schooling.Plan, *names: str) -> dict[str, Any]:
    for name in names:
        schooling.measure(plan, name)
    rows: dict[str, Any] = schooling.read(plan.out)["rows"]
    return rows


def test_our_rows_train_alike_and_are_not_measured_twice(plan: schooling.Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = measured(plan, "genner", "genner_plain")
    both = [rows["genner"]["losses"], rows["genner_plain"]["losses"]]
    assert len(both[0]) == 3  # a group a step, although the recipe has two
    torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-4)
    assert rows["genner"]["padding"] == 0.0
    assert rows["genner_plain"]["computed"] >= rows["genner"]["computed"]
    before = plan.out.read_text()
    measured(plan, "genner")
    assert plan.out.read_text() == before
    again = measured(replace(plan, rounds=2), "genner")
    assert [len(row["seconds"]) for row in again.values()] == [2, 1]
    monkeypatch.setattr(schooling, "PACKAGES", ())  # as if the versions were others
    assert len(measured(plan, "genner")["genner"]["seconds"]) == 1
    assert "Of other settings, left out: genner_plain" in schooling.table(schooling.read(plan.out)["rows"])


def test_settings_are_found_again_in_json(plan: schooling.Plan) -> None:
    toml = plan.recipe.read_text().replace("[lora]", '[lora]\ntargets = ["q_proj", "v_proj"]')
    plan.recipe.write_text(toml)
    some = plan.settings([])
    assert some["lora"]["targets"] == ["q_proj", "v_proj"]
    assert json.loads(json.dumps(some)) == some != replace(plan, steps=3).settings([])


def test_without_the_cpu_path_nothing_of_it_is_left(plan: schooling.Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a part of the CPU path")

    monkeypatch.setattr("genner.training.batching._in_line", never)
    monkeypatch.setattr("genner.training.merged_lora._forward", never)
    with pytest.raises(AssertionError, match="CPU path"):
        measured(plan, "genner")
    measured(plan, "genner_plain")


def test_trl_computes_the_same_loss_packed_or_not(plan: schooling.Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any update, on the first step; packed, its conversations are one row, and would see each other."""
    pytest.importorskip("trl", reason="as benchmarks/README.md tells: pip install --no-deps ...")
    names = [row.name for row in sft.rows()]
    rows = measured(plan, "genner", *names)
    assert len(rows["genner"]["counts"]) == 5
    for name in names:
        assert rows[name]["first_loss"] == pytest.approx(rows["genner"]["first_loss"], abs=2e-3), name
        assert rows[name]["padding"] >= 0
        assert rows[name]["tokens_per_s"] * rows[name]["median_s"] == pytest.approx(rows[name]["counts"]["each_time"])
    assert rows["trl_packed"]["padding"] == 0
    assert rows["trl"]["steps"] == 2
    monkeypatch.setattr(sft, "BLOCK", 8)
    monkeypatch.setattr(sft, "max", lambda block, *_: block, raising=False)  # conversations are cut
    with pytest.raises(RuntimeError, match="TRL trains on"):
        measured(replace(plan, rounds=2), "trl_packed")


def test_too_few_groups_are_named(plan: schooling.Plan) -> None:
    with pytest.raises(SystemExit, match="--warm 1 and --steps 500 want more"):
        schooling.measure(replace(plan, steps=500), schooling.LESSON)


def row(name: str, seconds: float, *, ours: bool = False) -> dict[str, Any]:
    lesson = Lesson(Recipe("b", (), {}), [], [Batch([1] * 5, [Example([2] * 10, [3] * 20)] * 2)])
    outcome = lessons.Outcome(seconds, tokens=60, computed=80, steps=1, losses=[1.5])
    made = lessons.Row(name, name, trained.trained(), ours=ours)
    settings = {"base": "b", "steps": 1, "threads": 2, "device": "cpu", "dtype": "bfloat16"}
    return schooling.merged(None, made, lesson, outcome, settings, "a")


def test_the_table_compares_with_the_fastest_peer() -> None:
    rows = {
        "genner": row("genner", 2.0, ours=True),
        "genner_plain": row("genner_plain", 2.5, ours=True),
        "slow": row("slow", 8.0),
        "fast": row("fast", 4.0),
    }
    text = schooling.table(rows)
    lines = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        ["genner", "1.00", "1.00", "20", "30", "30", "40", "1.500", ""],
        ["genner_plain", "1.25", "0.80", "16", "24", "24", "40", "1.500", ""],
        ["slow", "4.00", "0.25", "5", "8", "8", "40", "1.500", ""],
        ["fast", "2.00", "0.50", "10", "15", "15", "40", "1.500", ""],
    ]
    assert "genner is 2.00 times as fast as fast." in text
    assert rows["fast"]["padding"] == 0.25
    assert "runs" not in text
    rows["slow"]["runs"] = ["b"]
    assert "rows of 2 runs" in schooling.table(rows)
