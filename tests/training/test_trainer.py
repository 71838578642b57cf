"""Training: a group computes what its conversations compute alone, and an interrupted run ends where it would have."""

import copy
import hashlib
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny
from tests.places import ROOT
from tests.strategies import documents, texts
from torch.nn import functional as F

from genner.data.detokenize import detokenize
from genner.document import Document, Entity, LabelSet
from genner.engines.chat import Chat
from genner.engines.network import Network, causal_head
from genner.engines.transformers_engine import LocalEngine
from genner.errors import DataError, TrainingError, UnknownNameError, UsageError
from genner.export.scores import ModelScore
from genner.extract import Extractor
from genner.formats import get_format
from genner.labels import label_sets
from genner.model_source import ModelSource
from genner.model_store import MODELS
from genner.prompts import instruction
from genner.training import progress as progress_module
from genner.training import trainer as module
from genner.training.adapters import add_adapter
from genner.training.batching import Batch, Example, bucket, group_loss, tensors
from genner.training.checkpoint import save_model
from genner.training.curve import draw, read_metrics
from genner.training.dev import ANSWER_RATES, DevEvaluation
from genner.training.merged_lora import train_merged
from genner.training.mixture import Mixture, vary
from genner.training.mixture_report import MixtureReport
from genner.training.optimizer import Fp32MasterWeights, rate
from genner.training.progress import Limits
from genner.training.recipe import LoraSpec, OptimSpec, PromptSpec, Recipe
from genner.training.trainer import Trainer

LABELS = LabelSet.of("PER", "LOC")
NAMES = ["Ada", "Bob", "Köln", "Turing", "New York", "Grace Hopper", "東京", "Rhein"]
kinds = pytest.mark.parametrize("kind", ["bytes", "pieces"])


# -- small corpora, recipes and models


def corpus(number: int, word: str = "met") -> list[Document]:
    """Documents of different texts, one or two entities each."""
    made = []
    for i in range(number):
        first, last = NAMES[i % len(NAMES)], NAMES[(i * 3 + 1) % len(NAMES)]
        text = f"{first} {word} {last}" + " again" * (i % 4) + f" in {i}."
        at = len(first) + len(word) + 2
        entities = (Entity(0, len(first), "PER"), Entity(at, at + len(last), "LOC"))
        made.append(Document(text, entities[: 1 + i % 2], f"{word}-{i}"))
    return made


def write(path: Path, some: list[Document]) -> None:
    path.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in some), encoding="utf-8")


def recipe(folder: Path, body: str = "", sets: str | None = None, formats: str = "inline_xml = 1.0") -> Recipe:
    """A recipe over `train.jsonl` (12 sentences) and `dev.jsonl` (4), unless these are there already."""
    if not (folder / "train.jsonl").exists():
        write(folder / "train.jsonl", corpus(12))
    write(folder / "dev.jsonl", corpus(4, "saw"))
    (folder / "labels.json").write_text('{"PER": {"name": "person", "definition": "a human"}, "LOC": "a place"}')
    sets = sets or '[[set]]\nname = "a"\ntrain = ["train.jsonl"]\ndev = "dev.jsonl"\nlabels = "labels.json"\n'
    path = folder / "recipe.toml"
    path.write_text(f'base = "some-model"\n[formats]\n{formats}\n{body}\n{sets}', encoding="utf-8")
    return Recipe.from_file(path)


def a_set(name: str, more: str = "") -> str:
    return f'[[set]]\nname = "{name}"\ntrain = ["{name}.jsonl"]\nlabels = "labels.json"\n{more}\n'


def mixture(folder: Path, *args: Any, **options: Any) -> Mixture:
    return Mixture(recipe(folder, *args, **options), folder, Chat(tiny.tokenizer("bytes")))


def adapted(family: str = "llama", *, rank: int = 4, dropout: float = 0.0, seed: int = 0, trained: bool = False) -> Any:
    """A tiny model with a fresh adapter; `trained`: one that does something."""
    causal = copy.deepcopy(tiny.model(family))  # before the seed: the first call draws its weights
    torch.manual_seed(seed)
    model = add_adapter(causal, LoraSpec(rank=rank, alpha=2 * rank, dropout=dropout))
    if trained:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.2)
    return model


OPTIM = "[optim]\nlearning_rate = 0.01\nepochs = 3\ngroup_tokens = 160\ngroups_per_step = 2\n"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


@pytest.fixture
def no_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(module, "draw", lambda metrics, out: None)


# -- the loss of a group


def a_group(chat: Chat) -> Batch:
    """Rows of different lengths, prefix and longest row beyond the window (16) of the tiny sliding models."""
    pairs = [
        Example(chat.body_ids(text), chat.answer_ids(answer))
        for text, answer in (
            ("Ada.", "<PER>Ada</PER>."),
            ("", ""),
            ("In Köln, 東京" * 4, "In <LOC>Köln</LOC>, 東京" * 4),
        )
    ]
    return Batch(chat.prefix_ids("Copy the text with each entity as <LABEL>mention</LABEL>. Labels:\n- PER\n"), pairs)


def alone(causal: Any, group: Batch) -> torch.Tensor:
    """The loss of each whole conversation, run plainly by the model itself."""
    total = torch.zeros(())
    for pair in group.pairs:
        ids = torch.tensor([[*group.prefix, *pair.body, *pair.answer]])
        logits = causal(input_ids=ids, use_cache=False).logits[0, -len(pair.answer) - 1 : -1]
        total = total + F.cross_entropy(logits.float(), torch.tensor(pair.answer), reduction="sum")
    return total


def together(causal: Any, group: Batch, trained: Sequence[torch.Tensor] = (), *, shared: bool = False) -> torch.Tensor:
    return group_loss(causal.model, causal_head(causal), group, 0, torch.device("cpu"), trained, shared=shared)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_group_has_the_loss_of_its_conversations_alone(family: str, shared: bool) -> None:
    causal, group = tiny.model(family), a_group(Chat(tiny.tokenizer("bytes")))
    with torch.no_grad():
        expected = float(alone(causal, group))
    assert float(together(causal, group, shared=shared).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_group_has_the_gradient_of_its_conversations_alone(family: str, shared: bool, merged: bool) -> None:
    model, group = adapted(family, trained=True), a_group(Chat(tiny.tokenizer("bytes")))
    trained = [p for p in model.parameters() if p.requires_grad]
    model.train()
    gradients = []
    for loss in (alone, partial(together, shared=shared)):
        loss(model.get_base_model(), group).backward()
        gradients.append([p.grad for p in trained])
        for p in trained:
            p.grad = None
        if merged:
            assert train_merged(model) == 7 * 3  # linear layers
    for expected, found in zip(*gradients, strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_targets_are_the_answers_and_nothing_else() -> None:
    group = Batch([9], [Example([1, 2], [3, 4]), Example([5], [6])])
    prefix, rows, targets = tensors(group, pad_id=0)
    assert prefix.tolist() == [[9]]
    assert rows.tolist() == [[1, 2, 3], [5, 0, 0]]
    assert targets.tolist() == [[-100, 3, 4], [6, -100, -100]]
    assert (group.tokens, group.targets) == (5, 3)


@given(lengths=st.lists(st.integers(1, 50), max_size=40), budget=st.integers(1, 120))
def test_buckets_hold_every_index_once_and_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    hands = list(bucket(lengths, budget))
    assert sorted(i for hand in hands for i in hand) == list(range(len(lengths)))
    for hand in hands:
        assert len(hand) == 1 or len(hand) * max(lengths[i] for i in hand) <= budget


# -- token ids


@given(text=texts.map(str.strip), answer=texts.map(str.strip))
@settings(max_examples=60, deadline=None)
def test_the_parts_are_what_the_template_gives(text: str, answer: str) -> None:
    tokenizer = tiny.tokenizer("bytes")
    chat, asked = Chat(tokenizer), instruction(LABELS, get_format("inline_xml"))
    ids = chat.prefix_ids(asked) + chat.body_ids(text) + chat.answer_ids(answer)
    messages = [{"role": "user", "content": asked + text}, {"role": "assistant", "content": answer}]
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert whole[: len(ids)] == ids
    assert whole[len(ids) :] == chat.encode("\n")
    assert ids[-1] == tokenizer.convert_tokens_to_ids("<|end|>")


@kinds
@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_the_parts_spell_what_the_template_gives(kind: str, text: str) -> None:
    tokenizer = tiny.tokenizer(kind)
    chat = Chat(tokenizer)
    ids = chat.prefix_ids("Copy:\n") + chat.body_ids(text) + chat.answer_ids("x")
    messages = [{"role": "user", "content": "Copy:\n" + text}, {"role": "assistant", "content": "x"}]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    # To SentencePiece, its sign for a space is a space.
    assert tokenizer.decode(ids) + "\n" == (whole.replace("\u2581", " ") if kind == "pieces" else whole)


@kinds
def test_text_that_spells_a_special_token_is_text(kind: str) -> None:
    tokenizer, text = tiny.tokenizer(kind), "a <|end|> b <|start|>user <pad>"
    chat = Chat(tokenizer)
    tail = chat.body_ids("")
    for ids in (chat.encode(text), chat.body_ids(text)[: -len(tail)], chat.answer_ids(text)[:-1]):
        assert not set(ids) & set(tokenizer.all_special_ids)
        assert tokenizer.decode(ids) == text


def test_inference_feeds_the_ids_that_training_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = mixture(tmp_path, "[prompt]\nfull_prompt = 1.0\n")
    labels, _ = some.dev["a"]
    runs: list[list[int]] = []
    forward = Network.forward

    def spy(self: Network, rows: Any, cache: Any, first: int) -> Any:
        runs.extend(map(list, rows))
        return forward(self, rows, cache, first)

    monkeypatch.setattr(Network, "forward", spy)
    engine = LocalEngine(tiny.model("llama"), tiny.tokenizer("bytes"))
    list(Extractor(engine, some.ranked[0], labels, split=False).pipe((d.text for d in corpus(12)), batch_size=2))
    for group in some.epoch(0):
        assert group.prefix in runs
        for pair in group.pairs:
            assert any(run[: len(pair.body)] == pair.body for run in runs)


# -- the mixture


def test_the_same_seed_gives_the_same_groups(tmp_path: Path) -> None:
    first = mixture(tmp_path, OPTIM, formats="inline_xml = 0.7\ninline_bracketed = 0.3")
    groups = first.epoch(0)
    assert groups == mixture(tmp_path, OPTIM, formats="inline_xml = 0.7\ninline_bracketed = 0.3").epoch(0)
    assert groups != first.epoch(1)
    assert groups != Mixture(replace(first.recipe, seed=2), tmp_path, first.chat).epoch(0)


def test_every_sentence_is_used_as_often_as_its_weight_says(tmp_path: Path) -> None:
    for name in ("twice", "half", "more"):
        write(tmp_path / f"{name}.jsonl", corpus(10, name))
    sets = a_set("twice", "weight = 2") + a_set("half", "weight = 0.5") + a_set("more", "weight = 1.3")
    some, report = mixture(tmp_path, sets=sets), MixtureReport()
    groups = some.epoch(0, report)
    used = Counter(tuple(pair.body) for group in groups for pair in group.pairs)
    counts = {name: [used[tuple(some.chat.body_ids(d.text))] for d in corpus(10, name)] for name in report.sentences}
    assert counts["twice"] == [2] * 10
    assert sorted(counts["half"]) == [0] * 5 + [1] * 5
    assert sorted(counts["more"]) == [1] * 7 + [2] * 3
    assert report.sentences == {"twice": 20, "half": 5, "more": 13}
    assert report.tokens == sum(group.tokens for group in groups)
    assert not report.too_long.total()
    assert not report.unencodable.total()


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    crossing = Document("Ada of Köln am Rhein", (Entity(0, 11, "PER"), Entity(7, 20, "LOC")), "x")
    long, too_long = Document("very " * 60, (), "l"), Document("too " * 400, (), "m")
    write(tmp_path / "train.jsonl", [*corpus(3), crossing, long, too_long])
    some, report = (
        mixture(tmp_path, "[optim]\nmax_tokens = 600\ngroup_tokens = 100\n[prompt]\nfull_prompt = 1"),
        MixtureReport(),
    )
    groups = some.epoch(0, report)
    assert report.unencodable == {"a": 1}
    assert report.too_long == {"a": 1}
    assert report.alone == {"a": 1}
    assert report.sentences == {"a": 5}
    assert sum(len(group.pairs) for group in groups) == 5


def test_prompts_vary_as_the_recipe_says() -> None:
    labels, rng = LabelSet.of("A", "B", "C", "D"), random.Random(0)
    assert vary(labels, PromptSpec(full_prompt=1.0), rng) == (labels, True)
    drawn = [vary(labels, PromptSpec(full_prompt=0.0, no_definitions=0.5, subset=0.5), rng) for _ in range(200)]
    assert {definitions for _, definitions in drawn} == {True, False}
    assert {len(asked) for asked, _ in drawn} == {1, 2, 3, 4}
    assert all(set(asked.tags) <= set(labels.tags) for asked, _ in drawn)


def test_entities_that_are_not_asked_for_are_not_in_the_answer(tmp_path: Path) -> None:
    some = mixture(tmp_path, "[prompt]\nfull_prompt = 0.0\nsubset = 1.0")
    for group in some.epoch(0):
        asked = some.chat.tokenizer.decode(group.prefix)
        for pair in group.pairs:
            answer = some.chat.tokenizer.decode(pair.answer)
            assert all(f"<{tag}>" not in answer or f"- {tag}" in asked for tag in LABELS.tags)


def test_data_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [Document("Ada", (Entity(0, 3, "ORG"),), "7")])
    with pytest.raises(DataError, match=r"train\.jsonl.*'7'.*'ORG'.*'labels\.json'.*PER, LOC"):
        mixture(tmp_path)
    with pytest.raises(DataError, match=r"none\.jsonl"):
        mixture(tmp_path, sets=a_set("none"))
    with pytest.raises(DataError, match="nowhere"):
        mixture(tmp_path, sets='[[set]]\nname = "a"\ntrain = ["train.jsonl"]\nlabels = "nowhere"')
    with pytest.raises(UnknownNameError, match="inline_yaml"):
        mixture(tmp_path, formats="inline_yaml = 1.0")
    write(tmp_path / "train.jsonl", corpus(3))
    with pytest.raises(TrainingError, match="formats"):
        mixture(tmp_path, formats="inline_xml = 0.0")
    with pytest.raises(TrainingError, match="empty"):
        mixture(tmp_path, "[optim]\nmax_tokens = 10").epoch(0)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("[lora]\nranks = 4", "ranks"),
        ("[optim]\nlearning_rate = 'fast'", "learning_rate"),
        ("[optim]\ngroup_tokens = 1.5", "group_tokens"),
        ("[prompt]\nfull_prompt = true", "full_prompt"),
        ("[lora]\n[strange]\nx = 1", "strange"),
        ("[[set]]\nname = 'b'\ntrain = ['b.jsonl']", "labels"),
        ("[[set]]\nlabels = 'core'\ntrain = ['b.jsonl']", "name"),
        ("[[set]]\nname = 'b'\nlabels = 'core'\nwieght = 2", "wieght"),
        ("[[set]]\nname = 'b'\nlabels = 'core'\nweight = '2'", "weight"),
        ("x = = 1", "not TOML"),
        ("[optim]\ngroups_per_step = 0", "groups_per_step = 0; legal: 1 or more"),
        ("[optim]\nlearning_rate = nan", "learning_rate = nan"),
        ("[prompt]\nfull_prompt = 1.5", "full_prompt = 1.5; legal: 0.0 to 1.0"),
        ("[[set]]\nname = 'b'\nlabels = 'core'\nweight = -1", "weight = -1.0; legal: 0.0 or more"),
    ],
)
def test_a_wrong_recipe_names_the_key(tmp_path: Path, body: str, names: str) -> None:
    with pytest.raises(DataError, match=names):
        recipe(tmp_path, body)


def test_a_recipe_needs_a_base_a_set_and_a_format(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    for text, names in (
        ("[formats]\ninline_xml = 1", "base"),
        ("base = 'm'\n[[set]]\nname = 'a'\nlabels = 'core'", "formats"),
        ("base = 'm'\n[formats]\ninline_xml = 1", "set"),
        ("base = 'm'\nplain = 0.3", r"'plain' stands in no table; write it below \[prompt\] or \[drafter\]"),
        ("base = 'm'\nsedd = 1", r"has no key 'sedd'; known: base, method, .*, \[lora\], .*, \[\[set\]\]"),
        ("base = 'm'\n[[sets]]\nname = 'a'", r"write \[\[set\]\]"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=names):
            Recipe.from_file(path)
    with pytest.raises(DataError, match="cannot be read"):
        Recipe.from_file(tmp_path / "none.toml")


@pytest.mark.parametrize("path", (ROOT / "recipes").glob("*.toml"), ids=lambda path: path.stem)
def test_the_shipped_recipes_can_be_read(path: Path) -> None:
    shipped = Recipe.from_file(path)
    assert shipped.base in MODELS
    assert all(spec.labels in label_sets() for spec in shipped.sets)


# -- the loop


class KilledError(Exception):
    """Stands for a process that dies."""


def at_step(monkeypatch: pytest.MonkeyPatch, some: Trainer, number: int, what: Callable[[], Any]) -> None:
    """Do `what` within the step after which `number` are done."""
    step = some._step

    def spy(*args: Any) -> float:
        if some.progress.step == number - 1:
            what()
        return step(*args)

    monkeypatch.setattr(some, "_step", spy)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def kill() -> None:
    raise KilledError


def trainer(folder: Path, out: str, limits: Limits | None = None, *, dropout: float = 0.0, **options: Any) -> Trainer:
    """A trainer over a model that starts from the same weights each time."""
    return Trainer(adapted(dropout=dropout), mixture(folder, OPTIM), folder / out, limits or Limits(), **options)


@pytest.mark.usefixtures("no_curve")
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_an_interrupted_run_ends_where_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    monkeypatch.setattr(progress_module, "LOG_STEPS", 2)
    whole = trainer(tmp_path, "whole", dropout=dropout).run()
    assert whole.finished
    assert whole.step >= 9
    expected = weights(tmp_path / "whole" / "adapter")
    for cut in range(1, whole.step, 1 if not dropout else 4):
        first = trainer(tmp_path, f"cut{cut}", dropout=dropout)
        at_step(monkeypatch, first, cut, interrupt)
        progress = first.run()
        assert (progress.step, progress.finished) == (cut, False)
        torch.manual_seed(cut)  # whatever the new process starts from
        progress = trainer(tmp_path, f"cut{cut}", dropout=dropout).run(resume=True)
        assert (progress.step, progress.finished, progress.tokens) == (whole.step, True, whole.tokens)
        found = weights(tmp_path / f"cut{cut}" / "adapter")
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        records = [read_metrics(tmp_path / out / "metrics.jsonl") for out in ("whole", f"cut{cut}")]
        losses = [[(r["step"], r["loss"]) for r in some] for some in records]
        assert losses[0] == losses[1]


@pytest.mark.usefixtures("no_curve")
def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "LOG_STEPS", 1)
    trainer(tmp_path, "whole").run()
    first = trainer(tmp_path, "killed")
    at_step(monkeypatch, first, 4, first.save)  # with three steps done
    step = first._step
    monkeypatch.setattr(first, "_step", lambda *a: kill() if first.progress.step == 6 else step(*a))
    with pytest.raises(KilledError):
        first.run()
    metrics = tmp_path / "killed" / "metrics.jsonl"
    with metrics.open("a") as file:
        file.write('{"step": 7, "tok')  # torn
    assert [r["step"] for r in read_metrics(metrics)] == [1, 2, 3, 4, 5, 6]
    second = trainer(tmp_path, "killed")
    monkeypatch.setattr(second, "_steps", lambda *a: kill())
    with pytest.raises(KilledError):
        second.run(resume=True)
    assert [r["step"] for r in read_metrics(metrics)] == [1, 2, 3]
    progress = trainer(tmp_path, "killed").run(resume=True)
    assert [r["step"] for r in read_metrics(metrics)] == list(range(1, progress.step + 1))
    expected, found = (weights(tmp_path / out / "adapter") for out in ("whole", "killed"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    # Going on with a finished run changes nothing.
    again = trainer(tmp_path, "killed").run(resume=True)
    assert (again.step, again.finished) == (progress.step, True)


class Clock:
    """Each look at it takes a second, so a step takes one: it looks before and after."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.usefixtures("no_curve")
def test_a_time_budget_sets_the_schedule_stops_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", Clock())
    monkeypatch.setattr(progress_module, "LOG_STEPS", 1)
    progress = trainer(tmp_path, "out", Limits(max_minutes=5 / 60)).run()
    assert (progress.step, progress.seconds, progress.finished) == (5, 5.0, True)
    spec = OptimSpec(learning_rate=0.01)
    rates = [r["lr"] for r in read_metrics(tmp_path / "out" / "metrics.jsonl")]
    assert rates == pytest.approx([rate(i / 5, spec) for i in range(5)])
    assert torch.load(tmp_path / "out" / "state.pt", weights_only=True)["progress"]["step"] == 5
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()
    # With more time it goes on.
    assert trainer(tmp_path, "out", Limits(max_minutes=7 / 60)).run(resume=True).step == 7
    with pytest.raises(UsageError, match=r"max_minutes 0"):
        Limits(max_minutes=0)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    spec = OptimSpec(learning_rate=1.0, warmup=0.1)
    rates = [rate(i / 100, spec) for i in range(101)]
    assert rates[0] == 0.0
    assert rates[5] == pytest.approx(0.5)
    assert max(rates) == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.0)
    assert rate(0.0, OptimSpec(learning_rate=1.0, warmup=0.0)) == 1.0


@pytest.mark.usefixtures("no_curve")
def test_a_second_interrupt_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = trainer(tmp_path, "out")
    before = signal.getsignal(signal.SIGINT)
    at_step(monkeypatch, some, 2, lambda: (interrupt(), interrupt()))
    with pytest.raises(KeyboardInterrupt):
        some.run()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("no_curve")
def test_a_tiny_model_learns(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", corpus(8))
    optim = "[optim]\nlearning_rate = 0.02\nepochs = 50\ngroup_tokens = 600\ngroups_per_step = 4\n"
    optim += "[prompt]\nfull_prompt = 1\n"
    some, model = mixture(tmp_path, optim, a_set("train", 'dev = "train.jsonl"')), adapted(rank=8)
    evaluation = DevEvaluation(model, some, sentences=8, free=8)
    before = evaluation()
    run = Trainer(model, some, tmp_path / "out", Limits())
    losses: list[float] = []
    step = run._step
    run._step = lambda *a: losses.append(step(*a)) or losses[-1]  # type: ignore[func-returns-value, method-assign]
    run.run()
    after = evaluation()
    assert len(losses) <= 60
    assert losses[-1] < losses[0] / 2
    # It has seen these very sentences; that it shows means that the evaluation sees the adapter, and the newest.
    assert after["f1"] > before["f1"] + 0.3
    assert after["invalid"] < before["invalid"]


@pytest.mark.usefixtures("no_curve")
def test_states_stay_small_and_old_ones_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trainer(tmp_path, "out")
    at_step(monkeypatch, first, 2, interrupt)
    first.run()
    state = torch.load(tmp_path / "out" / "state.pt", weights_only=True)
    state["progress"]["losses"] = [5.0] * 3000  # once, all of them were kept
    torch.save(state, tmp_path / "out" / "state.pt")
    progress = trainer(tmp_path, "out").run(resume=True)
    assert progress.finished
    assert len(progress.losses) <= progress_module.LOG_STEPS


@pytest.mark.usefixtures("no_curve")
def test_a_run_is_not_mixed_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trainer(tmp_path, "out")
    at_step(monkeypatch, first, 2, interrupt)
    first.run()
    out = tmp_path / "out"
    with pytest.raises(TrainingError, match="--resume"):
        trainer(tmp_path, "out").run()
    other = Mixture(replace(first.mixture.recipe, seed=2), tmp_path, first.mixture.chat)
    with pytest.raises(TrainingError, match="'seed' was 1 and is 2"):
        Trainer(adapted(), other, out, Limits()).run(resume=True)
    with pytest.raises(TrainingError, match="another model or rank"):
        Trainer(adapted(rank=2), first.mixture, out, Limits()).run(resume=True)
    (out / "state.pt").write_bytes((out / "state.pt").read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read"):
        trainer(tmp_path, "out").run(resume=True)


@pytest.mark.usefixtures("no_curve")
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        MemoryError(),
    ],
)
def test_too_little_memory_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(module, "group_loss", fail)
    with pytest.raises(TrainingError, match=r"out of memory at step 0.*group_tokens \(160\)"):
        trainer(tmp_path, "out").run()


@pytest.mark.usefixtures("no_curve")
def test_too_little_memory_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    for name in ("take_gradients", "step"):
        some = trainer(tmp_path, name)
        monkeypatch.setattr(some._masters, name, fail)
        with pytest.raises(TrainingError, match=r"out of memory at step 0, in the optimizer.*rank"):
            some.run()
    with pytest.raises(TrainingError, match=r"out of memory in the evaluation after step 1; .*dev files.*resume"):
        trainer(tmp_path, "dev", Limits(eval_steps=1), evaluate=fail).run()
    monkeypatch.setattr(Fp32MasterWeights, "step", lambda *_: (_ for _ in ()).throw(RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        trainer(tmp_path, "other").run()


@pytest.mark.usefixtures("no_curve")
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "group_loss", lambda *a, **k: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(TrainingError, match="learning_rate"):
        trainer(tmp_path, "out").run()
    monkeypatch.setattr(module, "group_loss", lambda *a, **k: torch.tensor(1.0, requires_grad=True))
    some = trainer(tmp_path, "out")
    some._weights[0].grad = torch.full_like(some._weights[0], float("inf"))
    with pytest.raises(TrainingError, match="gradient"):
        some.run()


@pytest.mark.usefixtures("no_curve")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"file.*cannot be written"):
        trainer(tmp_path, "file").run()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    first = trainer(tmp_path, "out")
    at_step(monkeypatch, first, 2, interrupt)
    first.run()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(TrainingError, match=r"state\.pt cannot be written.*No space.*--resume"):
            trainer(tmp_path, "out").run(resume=True)
    assert trainer(tmp_path, "out").run(resume=True).finished  # the old checkpoint is whole


# -- dev evaluation, the curve, and what a run leaves behind


def test_dev_evaluation_scores_the_model_as_it_stands(tmp_path: Path) -> None:
    some, model = mixture(tmp_path, formats="inline_bracketed = 0.1\ninline_xml = 0.9"), adapted(trained=True)
    evaluation = DevEvaluation.of(model, some, sentences=3, free=2, seed=1)
    assert evaluation is not None
    assert evaluation.form.name == "inline_xml"
    first, second = evaluation(), DevEvaluation(model, some, sentences=3, free=2, seed=1)()
    assert first == second
    assert first.keys() == {"f1", "f1_a", *ANSWER_RATES}
    assert all(0.0 <= value <= 1.0 for value in first.values())
    assert "invalid" not in DevEvaluation(model, some, sentences=1, free=0)()
    (result,) = first.results
    assert ModelScore.of_json(result).f1 == first["f1_a"]
    assert (result["set"], result["split"], result["sentences"]) == ("a", "dev", 3)
    assert result["of"] == len(some.dev["a"][1])
    assert result["low"] <= first["f1_a"] <= result["high"]
    assert "docs:3" in result["signature"].split("|")


def test_an_adapter_is_active_without_being_merged() -> None:
    model = adapted(trained=True)
    merged = copy.deepcopy(model).merge_and_unload()
    form, tokenizer = get_format("inline_xml"), tiny.tokenizer("bytes")
    answers = []
    for causal in (model, merged, tiny.model("llama")):
        made = list(Extractor(LocalEngine(causal.eval(), tokenizer), form, LABELS).pipe(d.text for d in corpus(6)))
        answers.append(made)
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_without_dev_sets_there_is_no_evaluation(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", corpus(2))
    some = mixture(tmp_path, sets=a_set("a"))
    assert DevEvaluation.of(adapted(), some) is None
    with pytest.raises(TrainingError, match="dev"):
        DevEvaluation(adapted(), some)


def test_a_run_leaves_adapters_metrics_and_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []  # of the hub, which peft would ask about a base whose name is no folder
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", lambda name, _: asked.append(name))
    some, model = mixture(tmp_path, "[optim]\nepochs = 1\ngroup_tokens = 1000"), adapted()
    evaluate = DevEvaluation.of(model, some, sentences=2, free=1)
    progress = Trainer(model, some, tmp_path / "out", Limits(eval_minutes=0.0), evaluate).run()
    records = read_metrics(tmp_path / "out" / "metrics.jsonl")
    evaluated = [r["step"] for r in records if "dev_f1" in r]
    assert evaluated == list(range(1, progress.step + 1))
    assert progress.best == max(r["dev_f1"] for r in records if "dev_f1" in r)
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    sha = hashlib.sha256((tmp_path / "out" / "recipe.json").read_bytes()).hexdigest()
    for name in ("adapter", "best"):
        folder = tmp_path / "out" / name
        about = json.loads((folder / "genner.json").read_text())
        assert about.keys() == {"base", "formats", "recipe", "dev", "labels", "depth", "trained"}
        assert about["recipe"] == sha
        assert about["dev"].keys() == {"meaning", "f1", "results"}
        assert [one["set"] for one in about["dev"]["results"]] == ["a"]
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "some-model"
        assert not (folder / "README.md").exists()
    found = ModelSource.find(str(tmp_path / "out"))
    assert found is not None
    assert (found.folder.name, found.base, found.formats) == ("best", "some-model", ("inline_xml",))
    assert found.labels == some.sets[0][1]
    assert found.labels.depth == some.depth
    of_more = copy.copy(some)
    of_more.sets = [*some.sets, (some.sets[0][0], LabelSet.of("X"), [])]
    of_more._forms = 2 * some._forms
    save_model(model, tmp_path / "two", of_more, {})
    of_two = ModelSource.find(str(tmp_path / "two"))
    assert of_two is not None
    assert of_two.labels is None  # not one label set, so none is asked for by itself
    assert not [*(tmp_path / "out").glob("*.part"), *(tmp_path / "out").glob("*.tmp")]
    assert not asked
    # The saved adapter, on a fresh base, is the trained model.
    from peft import PeftModel

    again = PeftModel.from_pretrained(copy.deepcopy(tiny.model("llama")), tmp_path / "out" / "adapter")
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ['{"step": 10, "tokens": 5, "seconds": 60.0, "loss": 2.0, "lr": 0.1}'],
        ['{"step": 10, "tokens": 5, "seconds": 60.0, "loss": 0.0, "lr": 0.1}'],
        ['{"step": 9, "tokens": 5, "seconds": 50.0, "dev_f1": 0.5, "dev_f1_a": 0.5, "dev_invalid": 0.0}'],
        [
            '{"step": 10, "tokens": 5, "seconds": 60.0, "loss": 2.0, "lr": 0.1}',
            '{"step": 10, "tokens": 5, "seconds": 60.0, "dev_f1": 0.5, "dev_f1_a": 0.4, "dev_f1_b": 0.6}',
            '{"step": 20, "tokens": 9, "seconds": 120.0, "loss": 1.0, "lr": 0.1}',
            '{"step": 30, "tok',
        ],
    ],
)
def test_the_curve_is_drawn_from_whatever_there_is(tmp_path: Path, lines: list[str]) -> None:
    metrics, out = tmp_path / "metrics.jsonl", tmp_path / "curve.png"
    if lines:
        metrics.write_text("\n".join(lines))
    draw(metrics, out)
    assert out.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "curve.png.new.tmp").exists()


# -- running text


def test_detokenize_undoes_what_tokenizers_do() -> None:
    text = 'Ada \'s friend said : " No , thanks " ( in New - York ) .'
    at = text.index("New - York")
    made = detokenize(Document(text, (Entity(0, 3, "PER"), Entity(at, at + 10, "LOC")), "d"))
    assert made.text == 'Ada\'s friend said: "No, thanks" (in New-York).'
    assert [made.mention(e) for e in made.entities] == ["Ada", "New-York"]


@st.composite
def tokenized(draw: st.DrawFn) -> Document:
    pieces = ['"', ",", ".", "(", ")", "-", "'s", "n't", "$", "Ada", "New York", "é", ""]
    words = draw(st.lists(st.sampled_from(pieces)))
    text = " ".join(words)
    spans = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=5))
    return Document(text, tuple({Entity(a, b, "X") for a, b in spans if a < b}), "d")


@given(document=st.one_of(documents(crossing=True), tokenized()))
@settings(max_examples=200)
def test_detokenize_removes_blanks_and_nothing_else(document: Document) -> None:
    made = detokenize(document)

    def bare(text: str) -> str:
        return text.replace(" ", "")

    def mentions(some: Document) -> set[tuple[str, str]]:
        return {(bare(some.mention(e)), e.label) for e in some.entities if bare(some.mention(e))}

    assert bare(made.text) == bare(document.text)
    assert len(made.text) <= len(document.text)
    assert mentions(made) == mentions(document)
    assert made.id == document.id
