"""LLaMA-Factory in its own process and environment; run by `peers.factory`, not by hand.

    python -m peers.factory_worker job.json found.json

The job: {"model", "out": folders, "examples": [{"input_ids", "labels"}], "batches": [[index, ...], ...], "warm",
"attention", "bf16", "lora", "optim", "seed", "threads"}. Found: {"seconds", "computed", "steps", "losses", "peak_mb",
"versions"}. The conversations are given as LLaMA-Factory would have tokenized them (its `tokenized_path`).
"""

import json
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from peers.clock import given_batches, timer

PACKAGES = ("llamafactory", "torch", "transformers", "peft", "accelerate")


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    without_audio()
    from llamafactory.train import tuner  # type: ignore[import-not-found]  # in this environment alone
    from llamafactory.train.sft import workflow  # type: ignore[import-not-found]

    class Given(given_batches(workflow.CustomSeq2SeqTrainer)):  # type: ignore[misc]
        batches = job["batches"]

    workflow.CustomSeq2SeqTrainer = Given
    watch = timer(job["warm"])
    tuner.run_exp(settings(job), callbacks=[watch])
    found = {name: getattr(watch, name) for name in ("seconds", "computed", "steps", "losses", "peak_mb")}
    found["versions"] = {package: version(package) for package in PACKAGES}
    Path(sys.argv[2]).write_text(json.dumps(found))


def without_audio() -> None:
    """LLaMA-Factory imports torchaudio for audio data; if that does not load, replace it with an empty module."""
    try:
        import torchaudio  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except (ImportError, OSError) as error:
        print(f"torchaudio does not load ({error}); it is left out", file=sys.stderr)
        sys.modules["torchaudio"] = ModuleType("torchaudio")
        sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)  # transformers asks for it


def settings(job: dict[str, Any]) -> dict[str, Any]:
    """LLaMA-Factory's arguments; the tokenized data are written first."""
    from datasets import Dataset, DatasetDict

    tokenized = Path(job["out"]) / "tokenized"
    examples = [{**example, "attention_mask": [1] * len(example["input_ids"])} for example in job["examples"]]
    DatasetDict({"train": Dataset.from_list(examples)}).save_to_disk(str(tokenized))
    lora, optim = job["lora"], job["optim"]
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": job["model"],
        "finetuning_type": "lora",
        "lora_rank": lora["rank"],
        "lora_alpha": lora["alpha"],
        "lora_dropout": lora["dropout"],
        "lora_target": "all",
        "dataset": "unused",  # must be given, and is not read beside `tokenized_path`
        "tokenized_path": str(tokenized),
        "template": "smollm2",
        "cutoff_len": max(len(example["input_ids"]) for example in job["examples"]),
        "output_dir": str(Path(job["out"]) / "out"),
        "flash_attn": job["attention"],
        "disable_gradient_checkpointing": True,
        "use_cpu": not torch.cuda.is_available(),  # else it refuses autocast
        "bf16": job["bf16"],
        "per_device_train_batch_size": 1,  # `batches` decides
        "num_train_epochs": 1,
        "learning_rate": optim["learning_rate"],
        "lr_scheduler_type": "cosine",
        "weight_decay": optim["weight_decay"],
        "max_grad_norm": optim["clip"],
        "seed": job["seed"],
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


if __name__ == "__main__":
    main()
