"""Runs: when they stop, whom they tell, and that a process killed at any moment goes on to the same weights."""

import ast
import json
import os
import random
import signal
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests import forks
from tests.conftest import Run
from tests.places import ROOT
from tests.training.test_trainer import adapted, at_step, interrupt, mixture, weights

from genner.errors import TrainingError, UnknownNameError, UsageError
from genner.training import progress
from genner.training import trackers as module
from genner.training import trainer as trainer_module
from genner.training.checkpoint import check_recipe, load_state
from genner.training.curve import read_metrics
from genner.training.dev import DevScores
from genner.training.progress import Limits
from genner.training.recipe import Recipe
from genner.training.trackers import TRACKERS, trackers
from genner.training.trainer import Trainer

PATIENT = "[optim]\nlearning_rate = 0.01\nepochs = 4\ngroup_tokens = 160\ngroups_per_step = 2\npatience = 2\n"


@pytest.fixture(autouse=True)
def no_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "draw", lambda metrics, out: None)


class Scores:
    """Evaluations with these F1, one after the other; the last for ever."""

    def __init__(self, *f1: float) -> None:
        self.f1, self.asked = f1, 0

    def __call__(self) -> DevScores:
        self.asked += 1
        return DevScores({"f1": self.f1[min(self.asked, len(self.f1)) - 1], "invalid": 0.5})


def trainer(folder: Path, out: str, scores: Scores | None, *, optim: str = PATIENT, **options: Any) -> Trainer:
    limits = Limits(eval_steps=1, save_minutes=1000.0)
    return Trainer(adapted(), mixture(folder, optim), folder / out, limits, scores, **options)


# -- early stopping


@pytest.mark.parametrize(
    ("f1", "stops", "best"),
    [((0.5, 0.4, 0.3), 3, 1), ((0.1, 0.2, 0.1, 0.3, 0.2, 0.3), 6, 4), ((0.0, 0.0), 3, 1), ((0.9,), 3, 1)],
)
def test_a_run_stops_when_dev_scores_rise_no_more(tmp_path: Path, f1: tuple[float, ...], stops: int, best: int) -> None:
    scores = Scores(*f1)
    progress = trainer(tmp_path, "out", scores).run()
    assert (progress.step, progress.finished, scores.asked) == (stops, True, stops)
    assert progress.best == f1[best - 1]
    about = json.loads((tmp_path / "out" / "best" / "genner.json").read_text())
    assert about["dev"]["f1"] == f1[best - 1]
    # Best holds the weights of its step: a run of so many steps has the same.
    cut = trainer(tmp_path, "cut", Scores(*f1))
    cut._fraction = lambda total: 1.0 if cut.progress.step >= best else cut.progress.step / total  # type: ignore[method-assign]
    cut.run()
    expected, found = weights(tmp_path / "cut" / "adapter"), weights(tmp_path / "out" / "best")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    # Going on with it changes nothing.
    again = trainer(tmp_path, "out", Scores(1.0)).run(resume=True)
    assert (again.step, again.finished) == (stops, True)


def test_without_patience_a_run_goes_to_its_end(tmp_path: Path) -> None:
    scores = Scores(0.5, 0.4)
    progress = trainer(tmp_path, "out", scores, optim=PATIENT.replace("patience = 2", "patience = 0")).run()
    assert progress.step == scores.asked > 4


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
def test_an_interrupted_run_stops_where_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    f1 = (0.1, 0.2, 0.1, 0.3, 0.2, 0.3)
    first = trainer(tmp_path, "out", Scores(*f1))
    at_step(monkeypatch, first, cut, interrupt)
    assert first.run().step == cut
    rest = Scores(*f1[cut - 1 :])  # the evaluation after the step of the interrupt is not lost
    progress = trainer(tmp_path, "out", rest).run(resume=True)
    assert (progress.step, progress.best, progress.finished) == (6, 0.3, True)


def test_patience_needs_dev_data(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"patience = 2 needs evaluations"):
        trainer(tmp_path, "out", None).run()
    assert not (tmp_path / "out" / "state.pt").exists()
    with pytest.raises(UsageError, match="eval_steps 0; legal: 1 or more"):
        Limits(eval_steps=0)


def test_the_bar_shows_how_it_stands(tmp_path: Path) -> None:
    some = trainer(tmp_path, "out", Scores(0.5))
    some.progress.step, some.progress.seconds, some.progress.best = 25, 50.0, 0.5
    some._recent.extend([(100, 1.0), (300, 1.0)])
    assert some._standing(1.5, 100) == {"loss": "1.500", "tok_s": "200", "F1": "0.500", "eta": "02:30"}
    some.progress.best = -1.0  # not evaluated yet
    assert "F1" not in some._standing(1.5, 100)


# -- runs of earlier versions


def test_a_recipe_without_newer_keys_has_their_defaults(tmp_path: Path) -> None:
    recipe = mixture(tmp_path, PATIENT).recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    old = json.loads(json.dumps(recipe.to_dict()))
    for key in ("rslora", "dora", "targets", "tag_tokens"):
        del old["lora"][key]
    del old["method"]
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(old))
    check_recipe(path, recipe)
    path.write_text(json.dumps({**old, "lora": {**old["lora"], "dora": True}}))
    with pytest.raises(TrainingError, match="'lora' was"):
        check_recipe(path, recipe)
    path.write_text(json.dumps({**old, "strange": 1}))
    with pytest.raises(TrainingError, match="strange"):
        check_recipe(path, recipe)


# -- trackers


class Told:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        self.heard.append(("begin", recipe["base"], step))

    def log(self, values: dict[str, float], step: int) -> None:
        self.heard.append((step, values))

    def end(self) -> None:
        self.heard.append("end")


def test_trackers_hear_what_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_STEPS", 2)
    told = Told()
    first = trainer(tmp_path, "out", Scores(0.1, 0.2, 0.3), trackers=[told])
    at_step(monkeypatch, first, 3, interrupt)
    first.run()
    trainer(tmp_path, "out", Scores(0.3, 0.2, 0.1), trackers=[told]).run(resume=True)
    begins = [i for i, item in enumerate(told.heard) if item[0] == "begin"]
    assert [told.heard[i] for i in begins] == [("begin", "some-model", 0), ("begin", "some-model", 3)]
    assert (told.heard[begins[1] - 1], told.heard[-1]) == ("end", "end")
    recorded = [
        (r["step"], {k: v for k, v in r.items() if k not in ("step", "tokens", "seconds")})
        for r in read_metrics(tmp_path / "out" / "metrics.jsonl")
    ]
    assert [item for item in told.heard if isinstance(item[0], int)] == recorded
    assert {"loss", "lr", "dev_f1", "dev_invalid"} == {key for _, values in recorded for key in values}


def test_trackers_end_when_a_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "group_loss", lambda *a, **k: torch.tensor(float("nan"), requires_grad=True))
    told = Told()
    with pytest.raises(TrainingError):
        trainer(tmp_path, "out", Scores(0.1), trackers=[told]).run()
    assert told.heard == [("begin", "some-model", 0), "end"]


def test_an_unknown_tracker_and_one_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown tracker 'tensorbord'.*; known: mlflow, tensorboard, wandb"):
        trackers(["tensorbord"], tmp_path)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for name, command in (("tensorboard", r"pip install -e .*\[tracking\]"), ("wandb", "pip install wandb")):
        with pytest.raises(
            UsageError, match=rf"'{name}'.*not installed; .*{command}.*known: tensorboard, wandb, mlflow"
        ):
            trackers([name], tmp_path)
    monkeypatch.setattr(module, "find_spec", lambda name: True)
    assert [type(t) for t in trackers(["wandb", "wandb", "mlflow"], tmp_path)] == [
        TRACKERS["wandb"].kind,
        TRACKERS["mlflow"].kind,
    ]


def test_the_command_names_the_trackers(run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("base = 'm'\n[formats]\ninline_xml = 1\n[[set]]\nname = 'a'\nlabels = 'core'")
    code, _, err = run("train", "r.toml", "--out", "out", "--tracker", "paper")
    assert code == 2
    assert "unknown tracker 'paper'; known: mlflow, tensorboard, wandb" in err


def test_tensorboard_hides_what_is_run_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (some,) = trackers(["tensorboard"], tmp_path)
    some.begin({"base": "m"}, 0)
    for step in (1, 2, 3):
        some.log({"loss": float(step)}, step)
    some.end()
    (again,) = trackers(["tensorboard"], tmp_path)
    again.begin({"base": "m"}, 2)
    again.log({"loss": 30.0}, 3)
    again.end()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_tensorboard_shows_what_a_run_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(progress, "LOG_STEPS", 2)
    out = tmp_path / "out"
    first = trainer(tmp_path, "out", Scores(0.1, 0.2, 0.3), trackers=trackers(["tensorboard"], out))
    at_step(monkeypatch, first, 3, interrupt)
    first.run()
    trainer(tmp_path, "out", Scores(0.3, 0.2, 0.1), trackers=trackers(["tensorboard"], out)).run(resume=True)
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    records = read_metrics(out / "metrics.jsonl")
    for name in ("loss", "lr", "dev_f1", "dev_invalid"):
        recorded = [(r["step"], pytest.approx(r[name], rel=1e-6)) for r in records if name in r]
        assert [(e.step, e.value) for e in events.Scalars(name)] == recorded
        assert recorded
    (text,) = events.Tensors("recipe/text_summary")
    assert b"some-model" in text.tensor_proto.string_val[0]


def test_wandb_and_mlflow_go_on_with_their_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against stand-ins that hold what the trackers call; the packages themselves are not installed for tests."""
    calls: list[Any] = []

    class WandbRun:
        def __init__(self, id: str) -> None:
            self.id = id

        def log(self, values: dict[str, float], step: int) -> None:
            calls.append((self.id, step, values))

        def finish(self) -> None:
            calls.append((self.id, "finish"))

    wandb: Any = types.ModuleType("wandb")
    wandb.init = lambda *, project, name, id, resume, dir, config: WandbRun(id or "new")
    mlflow: Any = types.ModuleType("mlflow")
    active: list[str] = []

    def start_run(run_id: str | None = None, run_name: str | None = None) -> Any:
        active.append(run_id or "new")
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=active[-1]))

    mlflow.start_run, mlflow.end_run = start_run, lambda: calls.append((active[-1], "finish"))
    mlflow.log_metrics = lambda values, step: calls.append((active[-1], step, values))
    mlflow.log_dict = lambda values, name: calls.append((active[-1], name))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setattr(module, "find_spec", lambda name: True)
    for name in ("wandb", "mlflow"):
        calls.clear()
        (tmp_path / f"{name}.txt").write_text("old")  # of an earlier run in this folder: a new run is another
        for step in (0, 4):
            (some,) = trackers([name], tmp_path)
            some.begin({"base": "m"}, step)
            some.log({"loss": 1.0}, step + 1)
            some.end()
            (tmp_path / f"{name}.txt").write_text("kept")
        told = [call for call in calls if call[1] != "recipe.json"]
        assert told == [("new", 1, {"loss": 1.0}), ("new", "finish"), ("kept", 5, {"loss": 1.0}), ("kept", "finish")]


# -- a process that is killed


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(folder: Path, where: str) -> None:
    some = trainer(folder, where, Scores(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7))
    step, save, save_state = some._step, torch.save, trainer_module.save_state
    with pytest.MonkeyPatch.context() as patch:
        if where == "step":  # after the checkpoint of step 2, before that of step 3
            patch.setattr(some, "_step", lambda *a: die() if some.progress.step == 2 else step(*a))
        elif where == "state":  # with the state half written

            def half(state: Any, file: Any) -> None:
                if some.progress.step == 3:
                    file.write(b"half of it")
                    file.flush()
                    die()
                save(state, file)

            patch.setattr(torch, "save", half)
        else:  # with the adapter renamed, its state not yet written
            patch.setattr(trainer_module, "save_state", lambda *a: die() if some.progress.step == 3 else save_state(*a))
        some.run()


def test_a_process_killed_between_two_checkpoints_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = trainer(tmp_path, "whole", Scores(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)).run()
    for where in ("step", "state", "adapter"):
        said = tmp_path / f"{where}.txt"
        assert forks.run(said, train_and_die, tmp_path, where) == -signal.SIGKILL, said.read_text()
        assert torch.load(tmp_path / where / "state.pt", weights_only=True)["progress"]["step"] == 2
        resumed = trainer(tmp_path, where, Scores(0.3, 0.4, 0.5, 0.6, 0.7)).run(resume=True)
        assert (resumed.step, resumed.tokens, resumed.finished) == (whole.step, whole.tokens, True)
        expected, found = (weights(tmp_path / out / "adapter") for out in ("whole", where))
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert not [*(tmp_path / where).glob("*.part"), *(tmp_path / where).glob("*.tmp")]


# -- kill -9 at any moment

WRITES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


class ByStep:
    """Evaluations that rise with the steps of `trainer`, wherever it went on."""

    trainer: Trainer

    def __call__(self) -> DevScores:
        return DevScores({"f1": self.trainer.progress.step / 100})


def train_and_die_at(folder: Path, out: str, moment: int) -> None:
    """Train, or go on with it; killed before the write of this number, which 0 is not. Notes how many there were."""
    count = 0

    def hook(event: str, arguments: Any) -> None:
        nonlocal count
        writes = event == "open" and str(folder) in str(arguments[0]) and set(str(arguments[1])) & set("wax+")
        if event in WRITES or writes:
            count += 1
            if count == moment:
                die()

    sys.addaudithook(hook)
    scores = ByStep()
    scores.trainer = trainer(folder, out, scores)
    scores.trainer.run(resume=True)
    (folder / f"{out}.count").write_text(str(count))


def test_a_run_killed_at_random_moments_of_its_writing_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Moments among all openings for writing, renamings and removals; GENNER_KILLS=10 tries so many."""
    number = int(os.environ.get("GENNER_KILLS", "2"))
    recipe_of = mixture(tmp_path, PATIENT)  # the files that all runs read
    assert recipe_of.sets

    def forked(out: str, moment: int) -> int:
        return forks.run(tmp_path / "said.txt", train_and_die_at, tmp_path, out, moment)

    assert forked("whole", 0) == 0, (tmp_path / "said.txt").read_text()
    total = int((tmp_path / "whole.count").read_text())
    assert total > 3 * number
    for i, moment in enumerate(sorted(random.Random(7).sample(range(1, total + 1), number))):
        assert forked(f"cut{i}", moment) == -signal.SIGKILL, (i, moment, total)
        for path in (tmp_path / f"cut{i}").glob("*/adapter_model.safetensors"):
            load_file(path)
        assert forked(f"cut{i}", 0) == 0, (i, moment, (tmp_path / "said.txt").read_text())
    whole = {part: weights(tmp_path / "whole" / part) for part in ("adapter", "best")}
    steps = [(r["step"], r.get("dev_f1"), r.get("loss")) for r in read_metrics(tmp_path / "whole" / "metrics.jsonl")]
    for i in range(number):
        for part, expected in whole.items():
            found = weights(tmp_path / f"cut{i}" / part)
            assert all(torch.equal(expected[name], found[name]) for name in expected), (i, part)
        told = [
            (r["step"], r.get("dev_f1"), r.get("loss")) for r in read_metrics(tmp_path / f"cut{i}" / "metrics.jsonl")
        ]
        assert told == steps, i
        assert not [*(tmp_path / f"cut{i}").glob("*.part"), *(tmp_path / f"cut{i}").glob("*.tmp")], i


def test_a_file_of_another_kind_is_no_state(tmp_path: Path) -> None:
    for number, value in enumerate(([1], {"progress": {}}, {"masters": 3}, {"masters": ["a"]})):
        torch.save(value, tmp_path / f"{number}.pt")
        with pytest.raises(TrainingError, match="cannot be read"):
            load_state(tmp_path / f"{number}.pt", [], torch.device("cpu"))


def test_nothing_that_is_loaded_can_run_code() -> None:
    """`torch.load` unpickles: with `weights_only` it makes tensors and plain values, and nothing else."""
    root = ROOT
    for page in [*(root / "src").rglob("*.py"), *(root / "tests").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]:
        source = page.read_text(encoding="utf-8")
        calls = [
            node
            for node in (ast.walk(ast.parse(source)) if "torch.load" in source else ())
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
        ]
        for call in calls:
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert given.get("weights_only") == "True", f"{page}:{call.lineno}"
