"""Two processes with half of the groups each train what one does with all of them: whole models in each, or sharded."""

import faulthandler
import json
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests import forks, tiny
from tests.processors import pretend
from tests.training.test_adapters import base
from tests.training.test_trainer import a_group, alone, write
from tests.training.test_trainer import recipe as write_recipe

from genner.document import Document, Entity
from genner.engines import decoding
from genner.engines.chat import Chat
from genner.engines.network import causal_head
from genner.errors import UsageError
from genner.training import RunOptions, progress, train
from genner.training import trainer as module
from genner.training.batching import Batch, Example, group_loss
from genner.training.curve import read_metrics
from genner.training.distributed import Devices
from genner.training.recipe import DrafterSpec, LoraSpec, OptimSpec, Recipe
from genner.training.trainer import Trainer

OPTIM = OptimSpec(learning_rate=0.02, epochs=2, group_tokens=160, groups_per_step=2, patience=9)

RUNS: dict[str, dict[str, Any]] = {
    "lora": {"lora": LoraSpec(rank=3, alpha=6, dropout=0.1)},  # a rank that two do not divide
    "full": {"method": "full", "optim": replace(OPTIM, epochs=1, weight_decay=0.1, patience=0)},
    "tags": {
        "lora": LoraSpec(rank=4, alpha=8, dora=True, tag_tokens=True),
        "formats": {"compact": 1.0},
        "optim": replace(OPTIM, patience=0),
    },
}
"""What is trained: the recipe's keys."""

WAYS = ("copied", "sharded")


def run(folder: Path, out: str, name: str, *, cut: int = 0, **options: Any) -> list[float]:
    """Train, or get a signal to end within step `cut`; returns the loss of each step that was run."""
    recipe = Recipe.from_file(folder / "recipe.toml")
    changes = {"base": str(folder / "base"), "optim": OPTIM, "drafter": DrafterSpec(sentences=0), **RUNS[name]}
    losses: list[float] = []
    step = Trainer._step

    def spy(self: Trainer, *arguments: Any) -> float:
        if self.progress.step + 1 == cut:
            os.kill(os.getpid(), signal.SIGTERM)
        losses.append(step(self, *arguments))
        return losses[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", spy)
        patch.setattr(module, "draw", lambda metrics, path: None)
        patch.setattr(decoding, "SPARE", 8)  # a random model writes as much as it may, and each token is a pass
        pretend(patch, "float32")
        sentences = 1 if name == "lora" else 0
        train(
            replace(recipe, **changes),
            folder,
            folder / out,
            RunOptions(eval_steps=3, eval_sentences=sentences, **options),
        )
    return losses


def in_two(folder: Path, environment: dict[str, str]) -> None:
    """What each of the two processes does."""
    os.environ |= environment
    faulthandler.dump_traceback_later(580, exit=True, file=2)  # says where they wait for each other in vain
    rank = int(os.environ["RANK"])
    if rank:  # only the main process may write

        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("this is not the main process")

        for name in ("save_model", "save_state", "write_atomic", "draw"):
            setattr(module, name, refuse)
        progress.writing = refuse  # type: ignore[assignment]
    told = {}
    for way in WAYS:
        os.environ["ACCELERATE_USE_FSDP"] = str(way == "sharded").lower()
        for name in RUNS:
            told[f"{way} {name}"] = run(folder, f"{way}-{name}", name)
        # A signal that only the second process hears; then the other way goes on from what this one has written.
        told[f"{way} cut"] = run(folder, f"{way}-cut", "lora", cut=4 if rank else 0)
    for way in WAYS:
        os.environ["ACCELERATE_USE_FSDP"] = str(way == "copied").lower()
        told[f"{way} resumed"] = run(folder, f"{way}-cut", "lora", resume=True)
    (folder / f"told{rank}.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both have trained everything, and one process alone as well."""
    folder = tmp_path_factory.mktemp("devices")
    base(folder / "base", tie_word_embeddings=True)
    write_recipe(folder)
    write(folder / "dev.jsonl", [Document(text, (Entity(0, 4, "LOC"),), text) for text in ("Bonn", "Köln")])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "true",
    }
    pair = [
        forks.start(folder / f"said{rank}.txt", in_two, folder, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in (0, 1)
    ]
    try:
        losses = {name: run(folder, f"alone-{name}", name) for name in RUNS}
        (folder / "alone.json").write_text(json.dumps(losses))
        for process in pair:
            process.join(600)
    finally:
        for process in pair:
            process.kill()
            process.join()
    said = [(folder / f"said{rank}.txt").read_text()[-4000:] for rank in (0, 1)]
    assert [process.exitcode for process in pair] == [0, 0], "\n".join(said)
    return folder


def told(folder: Path, name: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads((folder / f"{name}.json").read_text())
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = [*(folder / "model").glob("*.safetensors"), *(folder / "adapter").glob("*.safetensors")]
    return load_file(file)


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_what_one_does(folder: Path, name: str, way: str) -> None:
    losses = told(folder, "alone")[name]
    assert len(set(losses)) == len(losses) >= 3
    for rank in (0, 1):
        assert told(folder, f"told{rank}")[f"{way} {name}"] == pytest.approx(losses, rel=1e-4)
    same(weights(folder / f"{way}-{name}"), weights(folder / f"alone-{name}"))
    records = [read_metrics(folder / out / "metrics.jsonl") for out in (f"{way}-{name}", f"alone-{name}")]
    scores = [[(r["step"], r["dev_f1"], r["dev_truncated"]) for r in some if "dev_f1" in r] for some in records]
    assert len(scores[1]) == (2 if name == "lora" else 0)
    assert scores[0] == scores[1]


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_run_goes_on_in_either_way(folder: Path, way: str) -> None:
    whole = told(folder, "alone")["lora"]
    for rank in (0, 1):
        cut, rest = (told(folder, f"told{rank}")[f"{way} {part}"] for part in ("cut", "resumed"))
        assert len(cut) == 4
        assert cut + rest == pytest.approx(whole, rel=1e-4)
    same(weights(folder / f"{way}-cut"), weights(folder / "alone-lora"))


def test_one_process_goes_on_where_two_have_stopped(folder: Path, tmp_path: Path) -> None:
    states = [torch.load(folder / f"{out}-full" / "state.pt", weights_only=True) for out in ("alone", *WAYS)]
    for state in states[1:]:
        assert state["progress"]["step"] == states[0]["progress"]["step"]
        assert [m.shape for m in state["masters"]] == [m.shape for m in states[0]["masters"]]
        for number, expected in states[0]["optimizer"]["state"].items():
            for key, value in expected.items():
                torch.testing.assert_close(state["optimizer"]["state"][number][key], value, rtol=1e-3, atol=1e-5)


# -- what a process does


@given(groups=st.integers(1, 20), count=st.integers(1, 6))
def test_each_group_is_run_once_and_all_run_equally_many(groups: int, count: int) -> None:
    some = [Batch([i], [Example([1], [2])]) for i in range(groups)]
    shares = [Devices(torch.device("cpu"), count, rank).share(some) for rank in range(count)]
    assert sorted(number for share in shares for number, counts in share if counts) == list(range(groups))
    assert {len(share) for share in shares} == {-(-groups // count)}


def test_one_process_reduces_nothing() -> None:
    single, tensors = Devices(torch.device("cpu")), [torch.ones(3)]
    single.sum_up(tensors)
    single.copy_main(tensors)
    single.wait()
    assert tensors[0].tolist() == [1, 1, 1]
    assert (single.main, single.total(2.0), single.largest(1.0, False)) == (True, 2.0, [1.0, False])


def test_what_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    three = Devices(torch.device("cpu"), 3, 1)
    some = Recipe("b", (), {"inline_xml": 1.0}, optim=OptimSpec(groups_per_step=4))
    with pytest.raises(UsageError, match=r"groups_per_step = 4 cannot be shared evenly by 3 .*multiples of 3"):
        three.check(some)
    three.check(replace(some, optim=OptimSpec(groups_per_step=6)))
    with pytest.raises(UsageError, match=r"'qlora' cannot be sharded.*--use_fsdp"):
        replace(three, mesh=object()).check(replace(some, method="qlora", optim=OptimSpec(groups_per_step=3)))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert Devices.launched("cpu") == Devices(torch.device("cpu"))  # a cluster's variable, but no launcher's
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UsageError, match=r"--device 'cuda:1' with 2 processes.*legal: cpu, cuda"):
        Devices.launched("cuda:1")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UsageError, match=r"DEEPSPEED.*legal: --multi_gpu, --use_fsdp"):
        Devices.launched()


@pytest.mark.parametrize("family", ["llama", "gemma2", "hybrid"])
def test_a_group_with_its_prefix_in_each_row_has_the_same_loss(family: str) -> None:
    causal, group = tiny.hybrid() if family == "hybrid" else tiny.model(family), a_group(Chat(tiny.tokenizer("bytes")))
    with torch.no_grad():
        expected = float(alone(causal, group))
    found = group_loss(causal.model, causal_head(causal), group, 0, torch.device("cpu"), cached=False)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
