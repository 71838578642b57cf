"""Methods: whatever is trained, what is saved is what is loaded; the head's gradient too is that of plain autograd."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.processors import pretend
from tests.training.test_trainer import a_group, alone, corpus, together, weights, write

from genner.data import read_jsonl
from genner.data.describe import nesting
from genner.document import Document, LabelSet
from genner.engines.chat import Chat
from genner.engines.fast_loading.lora import merge
from genner.engines.transformers_engine import LocalEngine
from genner.errors import DataError, ModelError, TrainingError, UsageError
from genner.extract import Extractor
from genner.formats.compact import Compact
from genner.loading import load
from genner.model_source import ModelSource, fingerprint
from genner.training import RunOptions, run
from genner.training.adapters import add_adapter, add_tags, load_base, prepare
from genner.training.curve import read_metrics
from genner.training.recipe import METHODS, LoraSpec, Recipe

TIED = {"tie_word_embeddings": True}


def base(folder: Path, **config: Any) -> Path:
    """The folder of a tiny Llama, with its tokenizer."""
    causal = copy.deepcopy(tiny.model("llama"))
    if config:
        made = copy.deepcopy(causal.config)
        made.update(config)
        torch.manual_seed(1)
        causal = type(causal)(made).float().eval()
    causal.save_pretrained(folder)
    tiny.tokenizer("bytes").save_pretrained(folder)
    return folder


def recipe_file(folder: Path, more: str = "", formats: str = "inline_xml = 1.0", base: str = "base") -> Path:
    """A recipe for two short epochs on the tiny base."""
    write(folder / "train.jsonl", corpus(8))
    write(folder / "dev.jsonl", corpus(3, "saw"))
    (folder / "labels.json").write_text('["PER", "LOC"]')
    if "[optim]" not in more:
        more += "\n[optim]\nlearning_rate = 0.01\nepochs = 2\ngroup_tokens = 300\n"
    path = folder / "recipe.toml"
    path.write_text(
        f"base = '{folder / base}'\n{more}\n[drafter]\nsentences = 0\n[formats]\n{formats}\n"
        "[[set]]\nname = 'a'\ntrain = ['train.jsonl']\ndev = 'dev.jsonl'\nlabels = 'labels.json'\n"
    )
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.training.trainer.draw", lambda metrics, out: None)
    monkeypatch.setattr("genner.engines.decoding.SPARE", 8)  # without a grammar a random model writes all that it may
    pretend(monkeypatch, "float32")


def logits(causal: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = causal.eval()(input_ids=ids, use_cache=False).logits
    return found


def noisy(model: Any) -> Any:
    """The model with every weight that is trained moved a little, as training would."""
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn_like(weight)
    return model


SPECS = {
    "plain": LoraSpec(rank=4, alpha=8),
    "rslora": LoraSpec(rank=4, alpha=8, rslora=True),
    "dora": LoraSpec(rank=4, alpha=8, dora=True),
    "targets": LoraSpec(rank=4, alpha=8, targets=("q_proj", "v_proj")),
}


@pytest.mark.parametrize(("name", "own"), [("plain", True), ("rslora", True), ("dora", False), ("targets", True)])
def test_an_adapter_is_merged_or_left_to_peft(tmp_path: Path, name: str, own: bool) -> None:
    folder = base(tmp_path / "base")
    model = noisy(add_adapter(load_base(folder, "lora", torch.device("cpu")), SPECS[name]))
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    ids = torch.arange(3, 40)[None]
    before = logits(tiny.model("llama"), ids)
    fresh = copy.deepcopy(tiny.model("llama"))
    assert merge(fresh, tmp_path / "adapter") is own
    if not own:
        torch.testing.assert_close(logits(fresh, ids), before, rtol=0, atol=0)  # left as it was
    engine = LocalEngine.load(folder, tmp_path / "adapter", decoder="reference", dtype=torch.float32)
    found = logits(engine.network.causal, ids)
    torch.testing.assert_close(found, logits(model, ids), rtol=1e-3, atol=1e-3)
    assert (found - before).abs().max() > 0.01
    touched = {key.split(".")[-3] for key in weights(tmp_path / "adapter") if "lora_A" in key}
    assert touched == ({"q_proj", "v_proj"} if name == "targets" else touched | {"q_proj", "down_proj"})


@pytest.mark.parametrize("tied", [False, True])
def test_tags_are_tokens_that_are_trained_saved_and_loaded(tmp_path: Path, tied: bool) -> None:
    folder = base(tmp_path / "base", tie_word_embeddings=tied)
    tokenizer, labels = copy.deepcopy(tiny.tokenizer("bytes")), LabelSet.of("PER", "LOC")
    causal = load_base(folder, "lora", torch.device("cpu"))
    causal.resize_token_embeddings(len(tokenizer))  # as if the vocabulary had no room
    causal.save_pretrained(folder)
    tags = add_tags(tokenizer, [Compact()], labels)
    assert tags == ["<1>", "<2>", "</>"]
    chat = Chat(tokenizer)
    assert [len(chat.encode(tag)) for tag in tags] == [1, 1, 1]
    recipe = Recipe("b", (), {"compact": 1.0}, lora=LoraSpec(rank=4, alpha=8, tag_tokens=True))
    model = noisy(prepare(causal, recipe, tags, tokenizer))
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    tokenizer.save_pretrained(tmp_path / "adapter")
    assert merge(copy.deepcopy(causal), tmp_path / "adapter") is False  # a case for peft
    ids = torch.tensor([[5, 6, *chat.encode("<1>Ada</> x<2>"), 7]])
    for decoder in ("speculative", "reference"):
        engine = LocalEngine.load(folder, tmp_path / "adapter", decoder=decoder, dtype=torch.float32)
        assert engine.chat.encode("<1>") == chat.encode("<1>")
        found = logits(engine.network.causal, ids)
        torch.testing.assert_close(found, logits(model, ids), rtol=1e-3, atol=1e-3)
    # Both decoders write the same, and what the unmerged model writes.
    answers = []
    for causal_, decoder in (
        (engine.network.causal, "speculative"),
        (engine.network.causal, "reference"),
        (model, "speculative"),
    ):
        some = Extractor(LocalEngine(causal_.eval(), tokenizer, decoder=decoder), Compact(), labels)
        answers.append([p.entities for p in some.pipe(d.text for d in corpus(4))])
    spans = [[[(e.span, e.label) for e in entities] for entities in some] for some in answers]
    assert spans[0] == spans[1] == spans[2]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", ["full", "tags"])
def test_a_trained_head_has_the_gradient_of_plain_autograd(tmp_path: Path, method: str, tied: bool) -> None:
    causal = load_base(base(tmp_path / "base", tie_word_embeddings=tied), "full", torch.device("cpu"))
    tokenizer = copy.deepcopy(tiny.tokenizer("bytes"))
    tags = add_tags(tokenizer, [Compact()], LabelSet.of("PER", "LOC"))
    lora = LoraSpec(rank=2, alpha=2, tag_tokens=True)
    recipe = Recipe("b", (), {"compact": 1.0}, method="full" if method == "full" else "lora", lora=lora)
    model = noisy(prepare(causal, recipe, tags, tokenizer))
    plain = model if method == "full" else model.get_base_model()
    group = a_group(Chat(tokenizer))
    group.pairs[0].answer[:0] = Chat(tokenizer).encode("<1></>")
    head = [p for p in plain.get_output_embeddings().parameters() if p.requires_grad]
    assert head
    trained = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    for loss in (alone, lambda causal, group: together(causal, group, head)):
        loss(plain, group).backward()
        gradients.append([p.grad for p in trained])
        for p in trained:
            p.grad = None
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("more", "formats"),
    [
        ("method = 'full'", "inline_xml = 1.0"),
        ("[lora]\nrank = 4\ndora = true", "inline_xml = 1.0"),
        ("[lora]\nrank = 4\ntag_tokens = true", "compact = 1.0"),
        ("method = 'full'\n[lora]\ntag_tokens = true", "compact = 1.0"),
    ],
)
def test_every_method_trains_resumes_and_is_loaded(tmp_path: Path, more: str, formats: str) -> None:
    folder = base(tmp_path / "base", **TIED)
    recipe = recipe_file(tmp_path, more, formats)
    run(recipe, tmp_path, tmp_path / "whole", RunOptions(eval_steps=1, eval_sentences=2, device="cpu"))
    run(recipe, tmp_path, tmp_path / "cut", RunOptions(epochs=1, eval_steps=1, eval_sentences=2, device="cpu"))
    newest = "model" if "full" in more else "adapter"
    file = "model.safetensors" if "full" in more else "adapter_model.safetensors"
    assert (tmp_path / "cut" / newest / file).is_file()
    ner = load(str(tmp_path / "whole"), ["PER", "LOC"])
    assert ner.form.name == formats.split()[0]
    found = ner.extract("Ada met Turing in Köln.")
    assert not found.invalid
    assert all(0 <= e.start < e.end <= len(found.text) for e in found.entities)
    again = load(str(tmp_path / "whole"))
    assert again.labels == LabelSet.from_file(tmp_path / "labels.json")
    assert again.labels.depth == max(nesting(d.entities)[2] for d in read_jsonl(tmp_path / "train.jsonl"))
    # It is the trained model, not its base.
    ids = torch.arange(3, 30)[None]
    trained = LocalEngine.load(*_parts(tmp_path / "whole", folder, newest), decoder="reference", dtype=torch.float32)
    untrained = LocalEngine.load(folder, decoder="reference", dtype=torch.float32)
    width = len(tiny.tokenizer("bytes"))
    ours, theirs = (logits(e.network.causal, ids)[..., :width] for e in (trained, untrained))
    assert (ours - theirs).abs().max() > 1e-3
    records = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    rates = next(r for r in records if "dev_f1" in r)
    assert {"dev_invalid", "dev_hallucinated", "dev_truncated"} <= rates.keys()


def _parts(out: Path, base: Path, newest: str) -> tuple[Path, Path | None]:
    return (out / newest, None) if newest == "model" else (base, out / newest)


def test_what_a_method_cannot_do_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = base(tmp_path / "base")
    with pytest.raises(TrainingError, match=r"'qlora' needs a CUDA GPU, and this is cpu"):
        load_base(folder, "qlora", torch.device("cpu"))
    monkeypatch.setattr("genner.training.adapters.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"bitsandbytes.*\[qlora\]"):
        load_base(folder, "qlora", torch.device("cuda"))
    with pytest.raises(TrainingError, match=r"no linear layer 'query'; it has: .*q_proj"):
        add_adapter(copy.deepcopy(tiny.model("llama")), LoraSpec(targets=("query",)))
    with pytest.raises(UsageError, match=r"targets = 'q_proj'; legal: 'all-linear', or a list"):
        LoraSpec(targets="q_proj")
    with pytest.raises(UsageError, match=rf"method = 'lore'; legal: {', '.join(METHODS)}"):
        Recipe("b", (), {}, method="lore")
    with pytest.raises(UsageError, match="'full' makes none"):
        Recipe("b", (), {}, method="full", lora=LoraSpec(dora=True))
    with pytest.raises(TrainingError, match="'compact', which"):
        run(recipe_file(tmp_path, "[lora]\ntag_tokens = true"), tmp_path, tmp_path / "out", RunOptions(device="cpu"))


def test_too_little_memory_for_the_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    base(tmp_path / "base")
    monkeypatch.setattr("genner.training.adapters.load_base", fail)
    with pytest.raises(TrainingError, match=r"out of memory while the model was put on cpu; take a smaller base"):
        run(recipe_file(tmp_path), tmp_path, tmp_path / "out", RunOptions(device="cpu"))


def test_empty_sets_are_named(tmp_path: Path) -> None:
    base(tmp_path / "base")
    recipe = recipe_file(tmp_path)
    (tmp_path / "dev.jsonl").write_text("")
    with pytest.raises(DataError, match=r"dev\.jsonl.*'a' has no dev sentence"):
        run(recipe, tmp_path, tmp_path / "out", RunOptions(device="cpu"))
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(DataError, match=r"train\.jsonl.*'a' has no sentence to train on"):
        run(recipe, tmp_path, tmp_path / "out", RunOptions(device="cpu"))
    assert not (tmp_path / "out").exists()


def test_a_sentence_beyond_the_window_is_left_out_and_counted(tmp_path: Path) -> None:
    base(tmp_path / "base", max_position_embeddings=400)
    recipe = recipe_file(tmp_path)
    write(tmp_path / "train.jsonl", [*corpus(4), Document("very " * 200, (), "long")])
    run(recipe, tmp_path, tmp_path / "out", RunOptions(epochs=1, eval_sentences=1, device="cpu"))
    told = json.loads((tmp_path / "out" / "data.json").read_text())
    assert told["too_long"] == {"a": 1}
    assert told["sentences"] == {"a": 4}


def test_an_adapter_for_another_base_is_refused(tmp_path: Path) -> None:
    folder = base(tmp_path / "base")
    run(recipe_file(tmp_path), tmp_path, tmp_path / "out", RunOptions(epochs=1, eval_sentences=1, device="cpu"))
    adapter = ModelSource.find(str(tmp_path / "out"))
    assert adapter is not None
    assert adapter.fingerprint.keys() == {"sizes"}
    load(str(tmp_path / "out"))
    # What a library writes about itself does not count, what the model is does.
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "0"}))
    load(str(tmp_path / "out"))
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.1}))
    with pytest.raises(ModelError, match=r"another model than the one in .*base.*differ"):
        load(str(tmp_path / "out"))
    with pytest.raises(ModelError, match="another model"):
        run(tmp_path / "recipe.toml", tmp_path, tmp_path / "out", RunOptions(resume=True, device="cpu"))
    with pytest.raises(ModelError, match=r"belongs to '.*base', not to 'smollm2-135m-instruct'"):
        adapter.check_base("smollm2-135m-instruct", folder)
    # With a manifest, the weights count too.
    (folder / "config.json").write_text(json.dumps(config))
    manifest = {"name": "b", "files": {"model.safetensors": {"size": 1, "sha256": "aa"}, "x.txt": {"sha256": "1"}}}
    (folder / "genner.json").write_text(json.dumps(manifest))
    hashed = replace(adapter, fingerprint=fingerprint(folder))
    assert hashed.fingerprint.keys() == {"sizes", "hash"}
    hashed.check_base(adapter.base, folder)
    adapter.check_base(adapter.base, folder)  # which knows no hash
    manifest["files"]["x.txt"]["sha256"] = "2"  # type: ignore[index]
    (folder / "genner.json").write_text(json.dumps(manifest))
    hashed.check_base(adapter.base, folder)
    manifest["files"]["model.safetensors"]["sha256"] = "bb"  # type: ignore[index]
    (folder / "genner.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="weights or their config differ"):
        hashed.check_base(adapter.base, folder)
