"""Merging and exporting: the exported model is the one that genner runs; what is missing is named."""

import json
import stat
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests import tiny
from tests.conftest import Run
from tests.processors import pretend
from transformers import AutoModelForCausalLM, AutoTokenizer

import genner
from genner.document import LabelSet
from genner.engines.fast_loading import llama
from genner.engines.fast_loading.weights import load_weights
from genner.errors import ModelError, UnknownNameError, UsageError
from genner.export import gguf_file, llama_cpp
from genner.export.about import ModelFacts
from genner.export.card import CARD, MARK, ORIGINAL
from genner.export.folder import merge, to_transformers
from genner.export.llama_cpp import to_gguf
from genner.labels import label_set

CPU = torch.device("cpu")
FAMILIES = ("llama", "qwen2", "gemma3")
TEXT = "John Smith reported from New York."


def a_base(folder: Path, family: str = "llama") -> Path:
    tiny.model(family).save_pretrained(folder)
    tiny.tokenizer("bytes").save_pretrained(folder)
    return folder


def an_adapter(folder: Path, base: Path, family: str = "llama", **settings: Any) -> Path:
    """A trained-looking adapter, with the genner.json that training writes."""
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", **settings)
    wrapped = get_peft_model(deepcopy(tiny.model(family)), config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn_like(weight) * 0.1)
    wrapped.save_pretrained(folder)
    (folder / CARD).unlink()
    about = {"base": str(base), "formats": ["inline_bracketed", "inline_xml"], "scores": {}}
    (folder / "genner.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return a_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return an_adapter(tmp_path / "adapter", base)


def logits(causal: Any) -> torch.Tensor:
    ids = torch.randint(0, 500, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found: torch.Tensor = causal(input_ids=ids).logits
    return found


# -- folders


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_merged_logits_are_the_unmerged_ones(tmp_path: Path, family: str, settings: dict[str, Any]) -> None:
    base = a_base(tmp_path / "base", family)
    adapter = an_adapter(tmp_path / "adapter", base, family, **settings)
    merge(str(adapter), tmp_path / "out", "float32")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()
    before = logits(plain)
    from peft import PeftModel

    unmerged = logits(PeftModel.from_pretrained(plain, adapter).eval())
    merged = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    torch.testing.assert_close(logits(merged), unmerged, rtol=1e-4, atol=1e-4)
    assert (before - unmerged).abs().max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_merged_folder_has_the_bits_that_genner_runs(tmp_path: Path, family: str) -> None:
    base = a_base(tmp_path / "base", family)
    adapter = an_adapter(tmp_path / "adapter", base, family)
    out = merge(str(adapter), tmp_path / "out")
    wanted, _ = load_weights(base, adapter, CPU, torch.bfloat16, "eager", plain=False)
    found = AutoModelForCausalLM.from_pretrained(out)
    assert found.dtype == torch.bfloat16
    theirs, ours = wanted.state_dict(), found.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert AutoTokenizer.from_pretrained(out)(TEXT) == AutoTokenizer.from_pretrained(base)(TEXT)
    assert (llama.read(out, torch.bfloat16) is not None) == (family == "llama")  # the short way of loading stays open


@pytest.mark.parametrize("family", FAMILIES)
def test_a_merged_folder_answers_as_the_adapter_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    pretend(monkeypatch, "bf16")  # what is merged is written in bf16
    adapter = an_adapter(tmp_path / "adapter", a_base(tmp_path / "base", family), family)
    out = merge(str(adapter), tmp_path / "out")
    before, after = genner.load(str(adapter)), genner.load(str(out))
    texts = [TEXT, "Köln liegt am Rhein; 東京 is in Japan.", "a < b"]
    answers = [list(ner.pipe(texts)) for ner in (before, after)]
    assert answers[0] == answers[1]
    assert any(found.entities for found in answers[0])
    assert after.form.name == before.form.name == "inline_bracketed"
    assert after.signature == before.signature | {
        "model": "base",
        "adapter": f"{before.signature['adapter']}-merged",
    }


def test_a_merged_folder_says_what_it_is(tmp_path: Path, adapter: Path) -> None:
    out = merge(str(adapter), tmp_path / "out")
    raw = json.loads((out / "genner.json").read_text())
    before = ModelFacts.of(str(adapter))
    assert (raw["kind"], raw["base"]["name"], raw["formats"]) == ("merged", "base", ["inline_bracketed", "inline_xml"])
    assert raw["adapter"] == before.adapter
    assert (out / "model.safetensors").stat().st_mode & 0o444 == 0o444
    # Servers read the files of the index, and not a drafter's, as the model's.
    index = json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]
    assert set(index.values()) == {"model.safetensors"}
    assert "model.embed_tokens.weight" in index
    assert str(tmp_path) not in "".join(p.read_text() for p in out.iterdir() if p.suffix in (".json", ".md"))
    (out / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config\.json is not what was fetched; make it anew, or delete genner\.json"):
        genner.load(str(out))


@pytest.mark.parametrize("whole", [True, False])
def test_a_folder_that_was_exported_before_is_read(tmp_path: Path, adapter: Path, whole: bool) -> None:
    """Its `prompt_full_label_set` is called `widen`."""
    out = merge(str(adapter), tmp_path / "out")
    raw = json.loads((out / "genner.json").read_text())
    assert raw.pop("prompt_full_label_set") is False
    (out / "genner.json").write_text(json.dumps(raw | {"widen": whole}))
    assert genner.load(str(out)).prompt_full_label_set is whole
    again = ModelFacts.read(out)
    assert again is not None
    assert again.prompt_full_label_set is whole


@pytest.mark.usefixtures("processor")
def test_a_merged_folder_asks_for_what_the_adapter_was_trained_on(tmp_path: Path, adapter: Path) -> None:
    about = json.loads((adapter / "genner.json").read_text())
    out = merge(str(adapter), tmp_path / "several")
    assert genner.load(str(out)).labels == genner.load(str(adapter)).labels == label_set("core")
    wanted = LabelSet.of("gene", "cell")
    (adapter / "genner.json").write_text(json.dumps({**about, "labels": wanted.to_json()}))
    out = merge(str(adapter), tmp_path / "one")
    again = to_transformers(str(out), tmp_path / "again")
    for model in (adapter, out, again):
        assert genner.load(str(model)).labels == wanted
    assert genner.load(str(out), labels="core").labels == label_set("core")


def test_an_export_of_an_export_is_the_same(tmp_path: Path, adapter: Path) -> None:
    first = merge(str(adapter), tmp_path / "first")
    second = to_transformers(str(first), tmp_path / "second")
    names = {path.name for path in first.iterdir()}
    assert names == {path.name for path in second.iterdir()}
    for name in names - {CARD, "genner.json"}:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert ModelFacts.read(first) == ModelFacts.read(second)


def test_a_plain_model_is_exported_too(tmp_path: Path, base: Path) -> None:
    out = to_transformers(str(base), tmp_path / "out", "float32")
    about = ModelFacts.read(out)
    assert about is not None
    assert (about.kind, about.adapter, about.formats) == ("model", None, ())
    found = AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager")
    assert torch.equal(logits(found), logits(tiny.model("llama")))
    with pytest.raises(UsageError, match="is no adapter"):
        merge(str(base), tmp_path / "other")


def test_a_full_folder_and_unknown_names_are_refused(tmp_path: Path, adapter: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="new or empty"):
        merge(str(adapter), tmp_path / "full")
    with pytest.raises(UnknownNameError, match="int3"):
        merge(str(adapter), tmp_path / "out", "int3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base", "full"]


def test_a_failure_leaves_nothing(tmp_path: Path, base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("genner.export.folder.write_card", full)
        with pytest.raises(ModelError, match=r"out cannot be written: .*No space left.* make room"):
            merge(str(adapter), tmp_path / "out")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(ModelError, match="before quantization"):
        merge(str(adapter), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_a_card_by_hand_goes_along(tmp_path: Path, adapter: Path) -> None:
    (adapter / CARD).write_text("# Mine\n")
    out = merge(str(adapter), tmp_path / "out")
    again = to_transformers(str(out), tmp_path / "again")
    for folder in (out, again):
        assert (folder / ORIGINAL).read_text() == "# Mine\n"
        assert MARK in (folder / CARD).read_text()
        assert f"]({ORIGINAL})" in (folder / CARD).read_text()


# -- GGUF


def base_gguf(path: Path) -> Path:
    """The GGUF file of the tiny Llama, its weights set to 0: they must all be replaced."""
    causal = tiny.model("llama")
    names = {ours: theirs for theirs, ours in gguf_file.GGUF_PARTS.items()}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_head_count(causal.config.num_attention_heads)
    writer.add_head_count_kv(causal.config.num_key_value_heads)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for name, weight in causal.state_dict().items():
        *_, layer, rest = name.removesuffix(".weight").split(".", 3) if ".layers." in name else ("", "", name[:-7])
        part = names[rest]
        kind = gguf.GGMLQuantizationType.F16 if weight.dim() == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(np.zeros(weight.shape, dtype=np.float32), kind)
        writer.add_tensor(f"blk.{layer}.{part}.weight" if layer else f"{part}.weight", data, raw_dtype=kind)
    writer.add_tensor("rope_freqs.weight", np.arange(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rotated(x: torch.Tensor, position: int, neighbours: bool) -> torch.Tensor:
    """Rotary positions of one head's vector [size], by llama.cpp's pairs of neighbours or by transformers' halves."""
    half = len(x) // 2
    angles = position * 1e4 ** (-torch.arange(half) / half)
    a, b = (x[0::2], x[1::2]) if neighbours else (x[:half], x[half:])
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()])


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_a_gguf_file_holds_the_merged_weights(tmp_path: Path, base: Path, adapter: Path, kind: str) -> None:
    source = base_gguf(tmp_path / "base.gguf")
    file = to_gguf(str(adapter), tmp_path / "out", kind, base_gguf=source)
    assert file == tmp_path / "out" / f"out-{kind}.gguf"
    causal, _ = load_weights(base, adapter, CPU, torch.bfloat16, "eager", plain=False)
    weights = causal.state_dict()
    found = {t.name: torch.tensor(gguf.quants.dequantize(t.data, t.tensor_type)) for t in gguf.GGUFReader(file).tensors}
    assert found.pop("rope_freqs.weight").tolist() == [0, 1, 2, 3]
    assert len(found) == len(weights)
    config = causal.config
    for name, tensor in found.items():
        *block, part, _ = name.split(".")
        wanted = weights[f"{f'model.layers.{block[1]}.' if block else ''}{gguf_file.GGUF_PARTS[part]}.weight"].float()
        if part in ("attn_q", "attn_k"):
            # What rotary positions make of a head's outputs must be what they are in transformers.
            heads = config.num_attention_heads if part == "attn_q" else config.num_key_value_heads
            x = torch.randn(config.hidden_size)
            pairs = zip((tensor @ x).view(heads, -1), (wanted @ x).view(heads, -1), strict=True)
            for theirs, ours in pairs:
                torch.testing.assert_close(rotated(theirs, 3, True), rotated(ours, 3, False), rtol=1e-2, atol=1e-3)
            assert sorted(tensor.sum(1).tolist()) == pytest.approx(sorted(wanted.sum(1).tolist()), abs=1e-2)
        else:
            torch.testing.assert_close(tensor, wanted, rtol=2**-8, atol=1e-6)
    # A second type goes beside the first; another model does not.
    to_gguf(str(adapter), tmp_path / "out", "f16" if kind == "bf16" else "bf16", base_gguf=source)
    about = ModelFacts.read(tmp_path / "out")
    assert about is not None
    assert about.gguf == {"out-bf16.gguf": "bf16", "out-f16.gguf": "f16"}
    assert "out-f16.gguf" in (tmp_path / "out" / CARD).read_text()
    with pytest.raises(UsageError, match="holds something else"):
        to_gguf(str(base), tmp_path / "out", "q8_0", base_gguf=source)
    with pytest.raises(UsageError, match="there already"):
        to_gguf(str(adapter), tmp_path / "out", kind, base_gguf=source)


def test_a_missing_package_leaves_no_folder(tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.extras.is_installed", lambda package: package != "gguf")
    with pytest.raises(UsageError, match="gguf is not installed"):
        to_gguf(str(adapter), tmp_path / "out", base_gguf=tmp_path / "base.gguf")
    assert not (tmp_path / "out").exists()


def test_rows_that_do_not_fit_a_type_are_named(tmp_path: Path, adapter: Path) -> None:
    with pytest.raises(ModelError, match=r"ffn_down\.weight cannot be Q8_0: .*--type bf16"):
        to_gguf(str(adapter), tmp_path / "out", base_gguf=base_gguf(tmp_path / "base.gguf"))  # rows of 48


def script(path: Path, body: str) -> Path:
    """A stand-in for llama.cpp's converter, with its arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!{sys.executable}\nimport argparse, json, pathlib\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('model', type=pathlib.Path)\nparser.add_argument('--outfile', type=pathlib.Path)\n"
        f"parser.add_argument('--outtype')\nasked = parser.parse_args()\n{body}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


SAYS = "asked.outfile.write_text(asked.outtype + ' ' + json.load(open(asked.model / 'genner.json'))['adapter'])"


@pytest.mark.parametrize("way", ["--converter", "its folder", "$LLAMA_CPP", "PATH"])
def test_other_families_go_through_llama_cpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    adapter = an_adapter(tmp_path / "adapter", a_base(tmp_path / "base", "qwen2"), "qwen2")
    converter = script(tmp_path / "llama.cpp" / llama_cpp.SCRIPT, SAYS)
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    given = {"--converter": converter, "its folder": converter.parent}.get(way)
    if way == "$LLAMA_CPP":
        monkeypatch.setenv("LLAMA_CPP", str(converter.parent))
    if way == "PATH":
        monkeypatch.setenv("PATH", str(converter.parent))
    file = to_gguf(str(adapter), tmp_path / "out", converter=given)
    assert file.read_text() == f"q8_0 {ModelFacts.of(str(adapter)).adapter}"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [CARD, "genner.json", "out-q8_0.gguf"]


def test_what_is_missing_for_gguf_is_named(tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"'base', is no preset .*--converter or in \$LLAMA_CPP .*--base-gguf"):
        to_gguf(str(adapter), out)
    with pytest.raises(UsageError, match=r"--converter is .*nowhere', where there is no convert_hf_to_gguf\.py"):
        to_gguf(str(adapter), out, converter=tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="q2_k"):
        to_gguf(str(adapter), out, "q2_k")
    with pytest.raises(UsageError, match=r"give --out .*mine$"):
        to_gguf(str(adapter), tmp_path / "mine.gguf")
    failing = script(tmp_path / llama_cpp.SCRIPT, "raise SystemExit('Model TinyForCausalLM is not supported')")
    with pytest.raises(UsageError, match="llama-quantize"):
        to_gguf(str(adapter), out, "q4_0", converter=failing)
    assert not out.exists()
    with pytest.raises(ModelError, match=r"exit code 1\); it said: Model TinyForCausalLM is not supported"):
        to_gguf(str(adapter), out, converter=failing)
    assert not list(out.iterdir())


# -- the command line


def test_merge_and_export_from_the_command_line(run: Run, adapter: Path, tmp_path: Path) -> None:
    assert run("merge", str(adapter), "--out", "merged")[:2] == (0, f"{tmp_path}/merged\n")
    code, out, err = run("merge", "nowhere", "--out", "other")
    assert (code, out) == (2, "")
    assert "'nowhere' is no adapter" in err
    gguf_of_base = str(base_gguf(tmp_path / "base.gguf"))
    code, out, err = run("export", "merged", "--to", "gguf", "--out", "g", "--type", "f16", "--base-gguf", gguf_of_base)
    assert (code, out, err) == (0, f"{tmp_path}/g/g-f16.gguf\n", "")
    for arguments, said in (
        (("--to", "onnx"), "unknown target 'onnx'; known: gguf, transformers"),
        (("--to", "gguf", "--dtype", "float32"), "--dtype has no meaning with --to gguf"),
        (("--to", "transformers", "--type", "f16"), "--type has no meaning with --to transformers"),
    ):
        code, _, err = run("export", "merged", "--out", "x", *arguments)
        assert (code, said in err) == (2, True), err
    assert not (tmp_path / "x").exists()


def test_four_bits_are_warned_of(run: Run, adapter: Path, tmp_path: Path) -> None:
    gguf_of_base = str(base_gguf(tmp_path / "base.gguf"))
    _, _, err = run("export", str(adapter), "--to", "gguf", "--out", "g", "--type", "q4_0", "--base-gguf", gguf_of_base)
    assert "warning: q4_0 can lose what an adapter has learned" in err
