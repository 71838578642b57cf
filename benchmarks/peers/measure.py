"""One process of the benchmark: one row, on all sets, in all formats, at all batch sizes."""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from genner.data import read_corpus
from genner.document import Document, LabelSet
from genner.engines.chat import Chat
from genner.engines.transformers_engine import default_device, fast_dtype
from genner.formats import Format
from genner.loading import load
from genner.model_source import ModelSource
from genner.model_store import locate
from peers import encoders, generate, grammars, ours
from peers.llama import LlamaCpp
from peers.memory import forget_peak, peak_mb
from peers.task import Outcome, Row, Task

ANSWERS = "answers"
"""Not a row: genner's answers at batch 1, used by the lower bound and compared with all others."""

WARM = 4  # sentences, or as many as fill two batches
PACKAGES = ("torch", "transformers", "tokenizers", "xgrammar", "llguidance", "gguf")


@dataclass(frozen=True)
class Plan:
    """What to measure, and the output file."""

    model: str
    source: ModelSource
    sets: Sequence[tuple[Path, LabelSet]]
    forms: Sequence[Format]
    sentences: int
    batches: Sequence[int]
    rounds: int
    depth: int
    llama_python: Path | None
    gguf: Path | None
    started: str
    out: Path

    @property
    def base(self) -> str:
        return self.source.base

    def settings(self) -> dict[str, Any]:
        """The settings that must be equal for measurements of a row to be combined."""
        device = default_device()
        return {
            "model": self.base,
            "adapter": self.source.digest,
            "sentences": self.sentences,
            "threads": torch.get_num_threads(),
            "device": str(device),
            "dtype": str(fast_dtype(device)).removeprefix("torch."),
            "depth": self.depth,
            "versions": {package: version(package) for package in PACKAGES},
        }


def known(plan: Plan) -> dict[str, Row]:
    """All rows by name; those of llama.cpp only if its Python is given."""
    llama = LlamaCpp(plan.llama_python, plan.base, plan.gguf).rows() if plan.llama_python else []
    return {row.name: row for row in [*ours.ROWS, *generate.ROWS, *grammars.ROWS, *llama, *encoders.ROWS]}


def read(out: Path) -> dict[str, Any]:
    """The current JSON: {"rows": {key: row}, "answers": {key: {"settings", "texts"}}}."""
    results: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"rows": {}, ANSWERS: {}}
    return results


def save(out: Path, results: dict[str, Any]) -> None:
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    part.replace(out)


def measure(plan: Plan, name: str) -> None:
    """Run the missing rounds of a row, or record genner's answers if they are missing."""
    results, common = read(plan.out), plan.settings()
    if name == ANSWERS:
        answer(plan, results, common)
        return
    row = known(plan)[name]
    engine = None
    for key, task, batch in jobs(plan, row, results[ANSWERS]):
        entry = results["rows"].get(key)
        if entry and entry["settings"] != common:
            entry = None
        for _ in range(plan.rounds - (len(entry["seconds"]) if entry else 0)):
            engine = engine or loaded(plan, row.needs)
            outcome = timed(row, replace(task, engine=engine), batch)
            entry = merged(entry, row, replace(task, engine=engine), batch, outcome, common, plan.started)
            results["rows"][key] = entry
            print(f"{key}: {entry['ms_per_sentence']:.1f} ms", file=sys.stderr, flush=True)
            save(plan.out, results)


def answer(plan: Plan, results: dict[str, Any], common: dict[str, Any]) -> None:
    engine = None
    for key, task in tasks(plan):
        if results[ANSWERS].get(key, {}).get("settings") != common:
            engine = engine or loaded(plan, "speculative")
            requests = replace(task, engine=engine).requests()
            texts = [g.text for _, g in engine.generate(requests, batch_size=1)]
            results[ANSWERS][key] = {"settings": common, "texts": texts}
            save(plan.out, results)


def tasks(plan: Plan) -> Iterator[tuple[str, Task]]:
    for file, labels in plan.sets:
        documents = drawn(file, plan.sentences)
        for form in plan.forms:
            name = file.parent.name
            yield f"{name}/{form.name}", Task(name, documents, labels, form, None, depth=plan.depth)


def jobs(plan: Plan, row: Row, answers: dict[str, Any]) -> Iterator[tuple[str, Task, int]]:
    """Each measurement once: (key, task, batch size)."""
    seen = set[str]()
    for place, task in tasks(plan):
        for batch in plan.batches if row.batched else [1]:
            key = f"{place if row.decodes else task.set}/{row.name}/{batch}"
            if key not in seen:
                seen.add(key)
                yield key, replace(task, answers=tuple(answers[place]["texts"])), batch


def drawn(file: Path, count: int) -> list[Document]:
    """Evenly spaced documents of a file."""
    documents = list(read_corpus(file))
    return documents[:: max(1, len(documents) // count)][:count]


def loaded(plan: Plan, needs: str) -> Any:
    """The engine that a row gets: see `Row.needs`."""
    if needs == "tokenizer":
        from transformers import AutoTokenizer

        return SimpleNamespace(chat=Chat(AutoTokenizer.from_pretrained(locate(plan.base), local_files_only=True)))
    return load(plan.model, decoder=needs).engine


def timed(row: Row, task: Task, batch: int) -> Outcome:
    run = row.prepare(task, batch)
    run(task.head(max(WARM, 2 * batch)))
    forget_peak()
    begun = time.perf_counter()
    outcome = run(task)
    seconds = time.perf_counter() - begun
    outcome.peak_mb = peak_mb() if outcome.peak_mb is None else outcome.peak_mb
    outcome.seconds = seconds if outcome.seconds is None else outcome.seconds
    return outcome


def merged(
    entry: dict[str, Any] | None,
    row: Row,
    task: Task,
    batch: int,
    outcome: Outcome,
    common: dict[str, Any],
    started: str,
) -> dict[str, Any]:
    """The JSON entry of a row with one more round added."""
    seconds = [*(entry["seconds"] if entry else []), outcome.seconds]
    count = len(task.documents)
    new: dict[str, Any] = {
        "set": task.set,
        "format": task.form.name if row.decodes else None,
        "row": row.name,
        "about": row.about,
        "batch": batch,
        "ms_per_sentence": 1000 * statistics.median(seconds) / count,
        "seconds": seconds,
        "peak_mb": outcome.peak_mb,
        "calls": outcome.calls,
        **outcome.notes,
        "runs": sorted({*(entry["runs"] if entry else []), started}),
        "settings": common,
    }
    for name, value in (("passes", outcome.passes), ("computed", outcome.computed)):
        new[name] = None if value is None else value / count
    if outcome.answers is not None:
        new["f1"] = task.f1(outcome.answers)
        new["equal"] = sum(a == b for a, b in zip(outcome.answers, task.answers, strict=True)) / len(task.answers)
        new["output_tokens"] = sum(len(task.engine.chat.answer_ids(a)) for a in outcome.answers) / count
    return new
