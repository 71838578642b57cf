"""llama.cpp on the same merged weights, free and under genner's exported GBNF.

llama.cpp is not among genner's requirements, and is built on installation: it has its own environment, whose Python is
given with `--llama-python`, and communicates through pipes (`peers.llama_worker`). Time is measured in the worker, so
pipes do not count; with grammars, the time to export them is added.
"""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from genner.errors import GennerError
from genner.export import gguf_file
from genner.paths import home
from peers.task import Outcome, Row, Run, Task

KINDS = ("q4_0", "q4_1", "q8_0", "bf16")


class Worker:
    """A process that runs llama.cpp with one model at one batch size, and room for `context` tokens in total."""

    def __init__(self, python: Path, model: Path, batch: int, context: int) -> None:
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            [str(python), "-m", "peers.llama_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        threads = torch.get_num_threads()
        about = self.ask({"model": str(model), "threads": threads, "batch": batch, "context": context})
        self.version: str = about["version"]

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process ended with the reason on standard error; there is no answer
        if not (line := self._process.stdout.readline()):
            raise GennerError("the worker of llama.cpp has ended; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.communicate()


@dataclass
class LlamaCpp:
    """The rows of llama.cpp.

    Args:
        python: interpreter of the environment that has llama-cpp-python.
        model: the name of the base model, for its GGUF file.
        base: that file, if it is available.
    """

    python: Path
    model: str
    base: Path | None = None
    _worker: tuple[tuple[str, int, int], Worker] | None = field(default=None, init=False)
    _files: dict[str, Path] = field(default_factory=dict, init=False)

    def rows(self) -> list[Row]:
        return [
            Row(
                f"llama_{kind}{'_grammar' if grammar else ''}",
                f"llama.cpp, {kind}, {'GBNF' if grammar else 'free'}",
                self._prepared(kind, grammar),
                slow=True,
            )
            for kind in KINDS
            for grammar in (False, True)
        ]

    def close(self) -> None:
        if self._worker:
            self._worker[1].close()
        self._worker = None

    def _prepared(self, kind: str, grammar: bool) -> Callable[[Task, int], Run]:
        def prepare(task: Task, batch: int) -> Run:
            settings = (kind, batch, room(task, batch))
            if self._worker is None or self._worker[0] != settings:
                self.close()
                self._worker = settings, Worker(self.python, self._file(task, kind), *settings[1:])
            worker = self._worker[1]
            return lambda task: self._run(worker, task, grammar)

        return prepare

    def _run(self, worker: Worker, task: Task, grammar: bool) -> Outcome:
        chat = task.engine.chat
        requests = task.requests()
        # Grouped by instruction, long sentences first, so that sentences decoded together are about equally long.
        order = sorted(
            range(len(requests)),
            key=lambda i: (i % len(task.instructions), -len(requests[i].text)),
        )
        begun = time.perf_counter()
        grammars = {i: task.gbnf(i) for i in order} if grammar else {}
        exported = time.perf_counter() - begun
        asked = [
            {
                "prefix": chat.prefix_ids(requests[i].instruction),
                "body": chat.body_ids(requests[i].text),
                "budget": task.engine.reserve(requests[i]),
                "grammar": grammars.get(i),
            }
            for i in order
        ]
        said = worker.ask({"requests": asked})
        answers = [""] * len(requests)
        for i, ids in zip(order, said["answers"], strict=True):
            answers[i] = chat.tokenizer.decode(ids, skip_special_tokens=True)
        return Outcome(
            answers,
            passes=said["passes"],
            computed=said["computed"],
            calls=said["calls"],
            seconds=exported + said["seconds"],
            peak_mb=said["peak_mb"],
            notes={"llama_cpp_python": worker.version},
        )

    def _file(self, task: Task, kind: str) -> Path:
        """The model as GGUF, written if missing; its name contains the hash of the weights."""
        if kind not in self._files:
            weights = task.engine.network.causal.state_dict()
            digest = hashlib.sha256()
            for name in sorted(weights):
                digest.update(name.encode() + weights[name].contiguous().view(torch.uint8).cpu().numpy().tobytes())
            path = home() / "benchmarks" / f"{digest.hexdigest()[:12]}-{kind}.gguf"
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                gguf_file.with_base(self.model, self.base, lambda base: gguf_file.write(base, weights, kind, path))
            self._files[kind] = path
        return self._files[kind]


def room(task: Task, batch: int) -> int:
    """Tokens needed by instruction, texts and answers in a batch: llama.cpp reserves them in advance."""
    chat = task.engine.chat
    most = sorted((len(chat.body_ids(r.text)) + task.engine.reserve(r) for r in task.requests()), reverse=True)
    need: int = sum(most[:batch]) + max(len(chat.prefix_ids(words)) for words in task.instructions)
    return -(-need // 256) * 256
