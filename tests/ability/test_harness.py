"""Measuring with the real harness, on tiny models and a handful of items."""

import json
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.conftest import Run
from tests.places import FILES

from genner.ability import harness, tasks
from genner.ability import run as run_one
from genner.ability.items import AbilityItem, read_items
from genner.ability.likelihood import likelihoods
from genner.ability.models import Models, sides
from genner.ability.run import Ask, compare
from genner.ability.tasks import OFFLINE, load_task
from genner.errors import DataError, UnknownNameError, UsageError

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed; pip install -e '.[ability]'")

HARNESS = Path(find_spec("lm_eval").origin).parent / "tasks"  # type: ignore[union-attr, arg-type]

DATA = FILES / "ability"


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may wait for a network, nor for an index of all the harness's tasks."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    few = [HARNESS / name for name in ("piqa", "drop", "xcopa")]
    plain = tasks.index
    monkeypatch.setattr(tasks, "index", lambda folders=few: plain(folders))


def save_adapter(folder: Path, base: Path, seed: int) -> Path:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj", "up_proj"])
    wrapped = get_peft_model(deepcopy(tiny.model("llama")), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn_like(weight) * 0.3)
    wrapped.save_pretrained(folder, save_embedding_layers=False)
    (folder / "genner.json").write_text(json.dumps({"base": str(base), "formats": ["inline_xml"]}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ability") / "base"
    tiny.model("llama").save_pretrained(folder)
    tiny.tokenizer("bytes").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    return save_adapter(base.parent / "adapter", base, 1)


@pytest.fixture(scope="module")
def measured(base: Path, adapter: Path) -> Path:
    """The base, its adapter and another on four tasks: a folder of results."""
    out = base.parent / "out"
    other = save_adapter(base.parent / "other", base, 2)
    compare(
        str(adapter),
        [Ask("piqa", 0, 2), Ask("winogrande", 0, 2), Ask("drop"), Ask("drop_cued"), Ask("squad", 0, 2)],
        out,
        also={"mixed": str(other)},
        data=DATA,
        batch_size=4,
    )
    return out


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0].double()
    return found


def likelihood(model: Any, prompt: str, answer: str) -> tuple[float, int]:
    """The slow way: of an answer after a prompt."""
    tokenizer = tiny.tokenizer("bytes")
    before, whole = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, prompt + answer))
    steps = torch.log_softmax(logits(model, whole), dim=-1)
    total = sum(float(steps[i - 1, whole[i]]) for i in range(len(before), len(whole)))
    return total, len(whole) - len(before)


class TestModels:
    def test_one_load_gives_all_sides(self, base: Path, adapter: Path) -> None:
        from peft import PeftModel

        other = save_adapter(base.parent / "third", base, 3)
        plain = tiny.model("llama")
        wanted = {"base": logits(plain, [5, 6, 7, 8])}
        for name, folder in (("adapter", adapter), ("third", other)):
            wanted[name] = logits(PeftModel.from_pretrained(deepcopy(plain), folder), [5, 6, 7, 8])
        models = Models("float32", "cpu")
        some = {side.name: side for side in sides(str(adapter), {"third": str(other)})}
        for name in ("base", "adapter", "third", "base", "third", "adapter"):
            with models.on(some[name]) as (model, _):
                found = logits(model, [5, 6, 7, 8])
            torch.testing.assert_close(found, wanted[name], rtol=1e-5, atol=1e-5)
            assert all(name == side or not torch.allclose(found, x, atol=1e-3) for side, x in wanted.items())

    def test_a_plain_model_has_one_side(self, base: Path) -> None:
        assert [(side.name, side.adapter) for side in sides(str(base))] == [("base", None)]

    def test_a_model_of_another_base_is_refused(self, base: Path, adapter: Path, tmp_path: Path) -> None:
        tiny.model("qwen3").save_pretrained(tmp_path / "other")
        tiny.tokenizer("bytes").save_pretrained(tmp_path / "other")
        with pytest.raises(UsageError, match="of one base"):
            sides(str(adapter), {"other": str(tmp_path / "other")})
        with pytest.raises(UsageError, match="'adapter' is taken"):
            sides(str(adapter), {"adapter": str(adapter)})
        with pytest.raises(UnknownNameError, match="unknown model 'nowhere'"):
            sides("nowhere")
        with pytest.raises(UnknownNameError, match="dtype"):
            Models("int3")


class TestLikelihoods:
    @pytest.mark.parametrize("family", ["llama", "gemma3", "hybrid"])
    def test_together_equals_one_by_one(self, family: str) -> None:
        model = tiny.hybrid() if family == "hybrid" else tiny.model(family)
        lm = harness._language_model(model, tiny.tokenizer("bytes"), 2)
        wanted = [
            (prompt, answer)
            for prompt in ("Where is the town of Kiel? Answer:", "a " * 30)
            for answer in (" In the north", " x", " Köln 東京 1402", "y")
        ]
        found = likelihoods(lm, wanted)
        for (prompt, answer), (value, tokens) in zip(wanted, found, strict=True):
            ids = lm._encode_pair(prompt, answer)
            assert tokens == len(ids[1])
            steps = torch.log_softmax(logits(model, ids[0] + ids[1]), dim=-1)
            slow = sum(float(steps[len(ids[0]) + i - 1, token]) for i, token in enumerate(ids[1]))
            assert value == pytest.approx(slow, rel=1e-4)

    def test_a_full_window_goes_the_other_way(self) -> None:
        lm = harness._language_model(tiny.model("llama"), tiny.tokenizer("bytes"), 1)
        lm._max_length = 8
        assert likelihoods(lm, [("one two three four five six", " seven")])[0][0] < 0


class TestTasks:
    @pytest.mark.parametrize("name", [*OFFLINE])
    def test_offline_tasks_load_and_ask(self, name: str, tmp_path: Path) -> None:
        shots = 0 if OFFLINE[name].zero_shot else 1
        (task,) = load_task(name, DATA, tmp_path, shots)["tasks"].values()
        assert task.config.task == f"local_{name}"
        docs = list(task.eval_docs)
        assert docs
        assert all(str(task.doc_to_text(doc)).strip() for doc in docs)
        if shots:
            kept = task.fewshot_docs()
            assert not [doc for doc in kept if doc in docs]
            if "passage" in docs[0]:
                assert not {doc["passage"] for doc in kept} & {doc["passage"] for doc in docs}
            assert all(task.doc_to_target(doc) not in ("", None) for doc in kept)

    def test_prompts_of_drop(self, tmp_path: Path) -> None:
        (stock,) = load_task("drop", DATA, tmp_path, 0)["tasks"].values()
        (cued,) = load_task("drop_cued", DATA, tmp_path, 3)["tasks"].values()
        doc = stock.eval_docs[0]
        assert doc == cued.eval_docs[0]
        assert stock.doc_to_text(doc) == f"{doc['passage']} {doc['question']}"
        assert cued.doc_to_text(doc) == f"Passage: {doc['passage']}\nQuestion: {doc['question']}\nAnswer:"
        assert stock.config.generation_kwargs["until"] == ["."]
        assert "." not in cued.config.generation_kwargs["until"]

    def test_drop_of_the_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The mended task on the hub's data set, in whose place a file of its form stands."""
        import datasets

        rows = [json.loads(line) for line in (DATA / "drop_of_the_hub.jsonl").read_text("utf-8").splitlines()]
        held = datasets.Dataset.from_list(rows)
        asked = []

        def load_dataset(path: str, **_: Any) -> Any:
            asked.append(path)
            return {"train": held, "validation": held}

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        (task,) = load_task("drop_cued", None, tmp_path, 0)["tasks"].values()
        assert asked == ["EleutherAI/drop"]
        docs = list(task.eval_docs)
        assert [task.doc_to_target(doc) for doc in docs] == ["Gedser", "14", "Erik Lind"]
        assert task.process_results(docs[2], [" Erik Lind.\nmore"]) == {"em": 1.0, "f1": 1.0}
        # Why the stock task has no shots here: what it would show as the answer.
        (stock,) = load_task("drop", None, tmp_path, 0)["tasks"].values()
        assert "number" in stock.doc_to_target(docs[0])

    def test_what_needs_data_of_the_net_is_left_out(self, tmp_path: Path) -> None:
        (task,) = load_task("ifeval", DATA, tmp_path, 0)["tasks"].values()
        import nltk

        try:
            nltk.data.find("tokenizers/punkt_tab")
        except LookupError:
            assert [doc["key"] for doc in task.eval_docs] == [1, 3]
        else:
            assert [doc["key"] for doc in task.eval_docs] == [1, 2, 3]

    def test_bad_names_and_files(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"hellaswag.*is missing, which task 'hellaswag' reads"):
            load_task("hellaswag", tmp_path, tmp_path, 0)
        with pytest.raises(UsageError, match="take drop_cued"):
            load_task("drop", DATA, tmp_path, 3)
        with pytest.raises(UsageError, match="no answers to show"):
            load_task("ifeval", DATA, tmp_path, 1)
        with pytest.raises(DataError, match="--data"):
            load_task("squad", None, tmp_path, 0)

    def test_unknown_and_out_of_reach(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownNameError, match="piqa"):
            load_task("pika", DATA, tmp_path, 0)
        with pytest.raises(
            DataError, match=r"xcopa_et: its data cannot be loaded: .*; connect to the Hugging Face hub"
        ):
            load_task("xcopa_et", DATA, tmp_path, 0)

    def test_a_broken_line_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "piqa" / "validation.jsonl"
        file.parent.mkdir()
        file.write_text('{"goal": "a"}\nno\n', encoding="utf-8")
        with pytest.raises(DataError, match=r"validation\.jsonl:2: is not JSON"):
            load_task("piqa", tmp_path, tmp_path, 0)


def items_of(out: Path, side: str, task: str) -> list[AbilityItem]:
    return read_items(out / side / f"{task}-0shot" / "items.jsonl")


class TestMeasurement:
    def test_multiple_choice_is_the_slow_way(self, measured: Path, adapter: Path) -> None:
        from peft import PeftModel

        models = {
            "base": tiny.model("llama"),
            "adapter": PeftModel.from_pretrained(deepcopy(tiny.model("llama")), adapter),
        }
        rows = [json.loads(line) for line in (DATA / "piqa" / "validation.jsonl").read_text("utf-8").splitlines()]
        for side, model in models.items():
            items = items_of(measured, side, "piqa")
            assert len(items) == 2
            for item in items:
                row = rows[int(item.id.rpartition(":")[2])]
                prompt, right = f"Question: {row['goal']}\nAnswer:", row["label"]
                both = [likelihood(model, prompt, " " + row[key]) for key in ("sol1", "sol2")]
                assert item.loglikelihood == pytest.approx(both[right][0], rel=1e-4)
                assert item.gold_tokens == both[right][1]
                assert item.others == [(pytest.approx(both[1 - right][0], rel=1e-4), both[1 - right][1])]
                assert item.em == float(both[right][0] > both[1 - right][0])
                assert item.gold == [row[f"sol{right + 1}"]]
                assert item.answer == row["sol1" if both[0][0] > both[1][0] else "sol2"]

    def test_generation_is_the_slow_way(self, measured: Path) -> None:
        model, tokenizer = tiny.model("llama"), tiny.tokenizer("bytes")
        rows = [
            json.loads(line) for line in (DATA / "squad" / "validation_ai2_1000.jsonl").read_text("utf-8").splitlines()
        ]
        for item in items_of(measured, "base", "squad"):
            row = rows[int(item.id.rpartition(":")[2])]
            ids = tokenizer(row["query"], add_special_tokens=False)["input_ids"]
            said: list[int] = []
            while len(said) < 32 and tokenizer.eos_token_id not in said:
                said.append(int(logits(model, ids + said)[-1].argmax()))
            text = tokenizer.decode([i for i in said if i != tokenizer.eos_token_id], skip_special_tokens=True)
            for stop in ("Title:", "Background:", "Question:"):
                text = text.split(stop)[0]
            assert item.answer == text
            assert item.gold == row["answers_text"]
            value, tokens = likelihood(model, row["query"], " " + row["answers_text"][0])
            assert item.loglikelihood == pytest.approx(value, rel=1e-4)
            assert item.gold_tokens == tokens
            assert item.others
            assert item.metrics == {"em": item.em, "f1": item.f1}

    def test_sides_differ_in_the_adapter_alone(self, measured: Path) -> None:
        for task in ("piqa", "winogrande", "drop", "drop_cued", "squad"):
            some = [items_of(measured, side, task) for side in ("base", "adapter", "mixed")]
            for one, two, three in zip(*some, strict=True):
                assert (one.id, one.prompt_hash, one.gold) == (two.id, two.prompt_hash, two.gold)
                assert len({one.loglikelihood, two.loglikelihood, three.loglikelihood}) == 3

    def test_what_is_written_can_be_computed_again(self, measured: Path) -> None:
        whole = json.loads((measured / "ability.json").read_text("utf-8"))
        assert whole["problems"] == {}
        assert len(whole["results"]) == 15
        assert {(c["other"], c["task"]) for c in whole["comparisons"]} == {
            (side, task)
            for side in ("adapter", "mixed")
            for task in ("piqa", "winogrande", "drop", "drop_cued", "squad")
        }
        for result in whole["results"]:
            items = items_of(measured, result["side"], result["task"])
            assert result["examples"] == len(items)
            assert result["harness"] == result["versions"]["lm_eval"]
            assert result["passes"] > 0
            for name, score in result["scores"].items():
                assert score["value"] == pytest.approx(sum(item.metrics[name] for item in items) / len(items))
                assert score["stderr"] is not None
        for comparison in whole["comparisons"]:
            assert bool(comparison["parts"]) == (comparison["task"] in ("drop", "drop_cued", "squad"))
            for parts in comparison["parts"]:
                assert parts["total"]["value"] == pytest.approx(comparison["deltas"]["f1"]["value"])

    def test_a_finished_measurement_is_read(
        self, measured: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: Any, **__: Any) -> None:
            raise AssertionError

        monkeypatch.setattr(harness, "measure", never)
        before = json.loads((measured / "adapter" / "piqa-0shot" / "ability.json").read_text("utf-8"))
        folder = measured / "adapter" / "piqa-0shot"
        found = run_one(str(adapter), "piqa", folder, limit=2, data=DATA, batch_size=4)
        assert found.to_dict() == before
        assert found.metrics()["examples"] == 2
        with pytest.raises(UsageError, match="holds another measurement, with seed = 0 where 1 is wanted"):
            run_one(str(adapter), "piqa", folder, limit=2, data=DATA, batch_size=4, seed=1)
        with pytest.raises(UsageError, match="holds another measurement"):
            compare(str(adapter), [Ask("piqa", 0, 1)], measured, data=DATA, batch_size=4)

    def test_one_failure_loses_no_other_result(self, base: Path, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "piqa").symlink_to(DATA / "piqa")
        both = [Ask("boolq", 0, 1), Ask("piqa", 0, 1)]
        found = compare(str(base), both, tmp_path / "out", data=tmp_path / "data")
        assert [result.task for result in found.results] == ["piqa"]
        assert list(found.problems) == ["base/boolq-0shot"]
        assert "is missing" in found.problems["base/boolq-0shot"]
        again = compare(str(base), both, tmp_path / "out", data=DATA)  # only the one that failed
        assert {r.task: r.seconds for r in again.results}["piqa"] == found.results[0].seconds
        assert not again.problems

    def test_shots_chat_and_seed(self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        prompts: dict[str, list[str]] = {}
        plain = harness.likelihoods

        def listen(lm: Any, wanted: list[tuple[str, str]]) -> list[tuple[float, int]]:
            prompts[name] = sorted({prompt for prompt, _ in wanted})
            return plain(lm, wanted)

        monkeypatch.setattr(harness, "likelihoods", listen)
        for name, task, shots, seed in (
            ("plain", "squad", 1, 0),
            ("again", "squad", 1, 0),
            ("seed", "squad", 1, 5),
            ("chat", "squad+chat", 1, 0),
        ):
            run_one(str(base), task, tmp_path / name, shots=shots, seed=seed, data=DATA)
        assert prompts["plain"] == prompts["again"]
        assert all(prompt.count("Answer:") == 2 for prompt in prompts["plain"])
        assert all(prompt.count("<|start|>") == 4 for prompt in prompts["chat"])
        assert all(prompt.endswith("<|start|>assistant\n") for prompt in prompts["chat"])
        assert {len(items) for items in prompts.values()} == {4}

    def test_filters_groups_and_limits(self, base: Path, tmp_path: Path) -> None:
        found = run_one(str(base), "gsm8k", tmp_path / "a", limit=1, seed=2, data=DATA)
        (item,) = read_items(found.items)
        assert set(item.metrics) == set(found.scores) == {"exact_match/strict-match", "exact_match/flexible-extract"}
        assert item.em == max(item.metrics.values())
        assert item.f1 is None
        assert item.gold[0].endswith(("#### 7", "#### 10"))
        assert found.answers["mean_tokens"] == item.tokens
        assert harness._drawn(10, 3, 1) == sorted(harness._drawn(10, 3, 1))
        assert harness._drawn(10, 3, 1) != harness._drawn(10, 3, 2)
        assert harness._drawn(3, 10, 1) == harness._drawn(3, None, 2) == [0, 1, 2]


class TestCommand:
    def test_measures_and_writes(self, run: Run, adapter: Path, tmp_path: Path) -> None:
        code, out, err = run(
            "ability", str(adapter), "--tasks", "piqa@0:1,squad:2", "--data", str(DATA), "--out", "out", "--shots", "1"
        )
        assert code == 0, err
        assert out.strip() == (tmp_path / "out" / "ability.md").read_text("utf-8").strip()
        assert "## squad, 1 shots: adapter against base" in out
        assert "## piqa, 0 shots" in out
        assert "| short |" in out
        assert "adapter on squad" in err

    @pytest.mark.parametrize(
        ("extra", "said"),
        [
            (["--tasks", "piqa,piqa"], "each once"),
            (["--tasks", "piqa:x"], "how many items"),
            (["--tasks", "piqa@x:1"], "whole numbers"),
            (["--tasks", "piqa@0@0:1"], "each once"),
            (["--tasks", "piqa", "--shots", "some"], "whole numbers"),
            (["--tasks", "piqa", "--shots", "-1"], "whole numbers from 0 on"),
            (["--tasks", "piqa", "--also", "mixed"], "NAME=MODEL"),
            (["--tasks", "piqa", "--data", "nowhere"], "there is no 'nowhere'"),
            (["--tasks", "piqa", "--dtype", "int3"], "float32"),
        ],
    )
    def test_wrong_use(self, run: Run, base: Path, extra: list[str], said: str) -> None:
        code, _, err = run("ability", str(base), "--out", "out", *extra)
        assert code == 2
        assert said in err

    def test_a_task_that_fails_is_told(self, run: Run, base: Path) -> None:
        code, out, err = run(
            "ability", str(base), "--tasks", "drop,piqa:1", "--shots", "1", "--data", str(DATA), "--out", "out"
        )
        assert code == 1
        assert "take drop_cued" in out.replace("\\_", "_")  # as Markdown has it
        assert "not measured: base/drop-1shot" in err
        assert "| piqa | 1 | acc |" in out


def test_without_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.extras.is_installed", lambda name: False)
    with pytest.raises(UsageError, match=r"pip install .*\[ability\]'"):
        harness.require()
