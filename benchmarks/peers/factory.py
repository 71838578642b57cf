"""LLaMA-Factory on the same conversations.

Its pins exclude the versions that genner is tested with, so it needs its own environment, whose Python is given with
`--factory-python`. Time is measured there.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genner.engines.transformers_engine import default_device, fast_dtype
from genner.errors import GennerError
from genner.training.recipe import ALL_LINEAR
from peers.lessons import Lesson, Outcome, Row, folder_of
from peers.sft import batches, conversations


@dataclass(frozen=True)
class Factory:
    """The rows of LLaMA-Factory; `python` is that of the environment that has it."""

    python: Path

    def rows(self) -> list[Row]:
        """Plain attention is faster on a CPU only."""
        first = Row("factory", "LLaMA-Factory", self._trained("auto"))
        plain = Row("factory_plain", "LLaMA-Factory, plain attention", self._trained("disabled"))
        return [first, plain] if default_device().type == "cpu" else [first]

    def _trained(self, attention: str) -> Any:
        def train(lesson: Lesson, out: Path) -> Outcome:
            spec = lesson.recipe.lora
            if spec.rslora or spec.dora or spec.targets != ALL_LINEAR:
                raise GennerError(f"LLaMA-Factory's rows know plain LoRA on all linear layers alone, not {spec}")
            job = {
                "model": str(folder_of(lesson.recipe)),
                "out": str(out),
                "examples": conversations(lesson.groups),
                "batches": batches(lesson.groups),
                "warm": len(lesson.warm),
                "attention": attention,
                "bf16": fast_dtype(default_device()) == torch.bfloat16,
                "lora": vars(spec),
                "optim": vars(lesson.recipe.optim),
                "seed": lesson.recipe.seed,
                "threads": torch.get_num_threads(),
            }
            said = self._ask(job, out)
            tokens, notes = lesson.counts()["each_time"], {"versions": said.pop("versions")}
            return Outcome(tokens=tokens, notes=notes, **said)

        return train

    def _ask(self, job: dict[str, Any], out: Path) -> dict[str, Any]:
        out.mkdir(parents=True, exist_ok=True)
        asked, found = out / "job.json", out / "found.json"
        asked.write_text(json.dumps(job))
        root = Path(__file__).parents[1]
        worker = [str(self.python), "-m", "peers.factory_worker", str(asked), str(found)]
        if subprocess.run(worker, env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(root)}).returncode:
            raise GennerError("the worker of LLaMA-Factory has failed; what it said stands above")
        said: dict[str, Any] = json.loads(found.read_text())
        return said
