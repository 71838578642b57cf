"""Tasks by name: those of the harness, and offline tasks that read files in a folder.

An offline task is a file (YAML) for the harness, written beside the results: it includes the harness's own task and
replaces the data. So `lm_eval --include_path OUT/tasks --tasks local_drop_cued` runs it as well.
"""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genner.errors import DataError, UnknownNameError, UsageError

CHAT = "+chat"
"""Suffix of a task's name: apply the model's chat template, with shots as turns."""

_ROWS = "genner.ability.rows"
_CUED: dict[str, Any] = {
    "doc_to_text": "Passage: {{passage}}\nQuestion: {{question}}\nAnswer:",
    "target_delimiter": " ",
    "generation_kwargs": {"until": ["Passage:", "Question:"], "do_sample": False, "max_gen_toks": 32},
}


@dataclass(frozen=True)
class Offline:
    """An offline task.

    includes   the harness's file that it extends, below lm_eval/tasks; None: it is self-contained
    files      `file` and, for tasks that have one, `shots`: names below the data folder; `group`: see `rows.load`
    keys       values that replace the included file's keys
    functions  keys whose value is a function, by its name in `genner.ability.rows`
    zero_shot  why there are no shots
    """

    includes: str | None
    files: dict[str, str]
    keys: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    zero_shot: str | None = None


_DROP = {"file": "drop/validation_ai2_1000.jsonl", "group": "passage"}
_EM_F1 = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("em", "f1")]
_CUED_DROP = {"doc_to_target": "drop_target", "process_results": "drop_results"}

OFFLINE: dict[str, Offline] = {
    "hellaswag": Offline("hellaswag/hellaswag.yaml", {"file": "hellaswag/validation_first2500.jsonl"}),
    "arc_easy": Offline("arc/arc_easy.yaml", {"file": "arc_easy/test.jsonl", "shots": "arc_easy/validation.jsonl"}),
    "arc_challenge": Offline(
        "arc/arc_challenge.yaml", {"file": "arc_challenge/test.jsonl", "shots": "arc_challenge/validation.jsonl"}
    ),
    "piqa": Offline("piqa/piqa.yaml", {"file": "piqa/validation.jsonl"}),
    "winogrande": Offline("winogrande/default.yaml", {"file": "winogrande/validation.jsonl"}),
    "boolq": Offline(
        "super_glue/boolq/default.yaml",
        {"file": "boolq/validation.jsonl", "group": "passage"},
        {"doc_to_target": "{{answer|int}}"},
    ),
    # The stock task unchanged: no answer cue, and a period ends the answer.
    "drop": Offline(
        "drop/default.yaml",
        _DROP,
        {"process_docs": None},
        {"doc_to_target": "drop_target"},  # the harness's target reads a field that these rows lack; only shots use it
        zero_shot="the stock task writes field names in place of its shots' answers; take drop_cued",
    ),
    "drop_cued": Offline("drop/default.yaml", _DROP, {**_CUED, "process_docs": None}, _CUED_DROP),
    "squad": Offline(
        None,
        {"file": "squad/validation_ai2_1000.jsonl", "group": "query"},
        {
            **_CUED,
            "doc_to_text": "query",
            "generation_kwargs": {**_CUED["generation_kwargs"], "until": ["Title:", "Background:", "Question:"]},
            "output_type": "generate_until",
            "metric_list": _EM_F1,
            "metadata": {"version": 1.0},
        },
        {"doc_to_target": "squad_target", "process_results": "squad_results"},
    ),
    "gsm8k": Offline("gsm8k/gsm8k.yaml", {"file": "gsm8k/test.jsonl", "shots": "gsm8k/train_first200.jsonl"}),
    "ifeval": Offline(
        "ifeval/ifeval.yaml",
        {"file": "ifeval/input_data.jsonl", "shots": "ifeval/input_data.jsonl"},
        functions={"process_docs": "without_punkt"},
        zero_shot="IFEval has no answers to show",
    ),
}

# Our own tasks on a hub data set: their differences from the harness's task.
_HUB: dict[str, Offline] = {"drop_cued": Offline("drop/default.yaml", {}, _CUED, _CUED_DROP)}


def split_name(task: str) -> tuple[str, bool]:
    """The task's name without the suffix, and whether the suffix requests the chat template."""
    return task.removesuffix(CHAT), task.endswith(CHAT)


def index(folders: Sequence[Path] | None = None) -> Any:
    """The harness's `TaskManager` for the tasks in these folders, or for all its tasks, which takes a few seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager() if folders is None else TaskManager(include_defaults=False, include_path=list(folders))


def load_task(name: str, data: Path | None, folder: Path, shots: int) -> Any:
    """The result of the harness's `TaskManager.load` for the task, or group of tasks, of this name.

    Writes the file of an offline task into `folder`. Raises `UnknownNameError` with similar names; `UsageError` when it
    has no shots; `DataError` when its data is neither in the folder `data` nor on a reachable hub.
    """
    own = OFFLINE.get(name) if data is not None else _HUB.get(name)
    if own is not None and own.zero_shot and shots:
        raise UsageError(f"task {name!r} with {shots} shots: {own.zero_shot}")
    if own is None:
        if data is None and name == "squad":
            raise DataError(name, "is an offline task; give the folder of its file with --data")
        manager = index()
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, [*OFFLINE, *manager.all_tasks], 8)
            raise UnknownNameError("task", name, [*(near or sorted(OFFLINE)), "... (lm_eval ls tasks)"])
        spec: str = name
    else:
        spec = str(write_task(name, own, data, folder))
        manager = index(())
    try:
        loaded = manager.load([spec])
    except DataError:
        raise
    except Exception as error:  # datasets, httpx and the hub's client raise many kinds of errors
        what = f"its data cannot be loaded: {_brief(error)}; connect to the Hugging Face hub"
        raise DataError(name, f"{what}, or give --data for one of: {', '.join(OFFLINE)}") from error
    return loaded


def write_task(name: str, task: Offline, data: Path | None, folder: Path) -> Path:
    """Write the harness's file of a task; returns its path. Raises `DataError` when a data file is missing."""
    import lm_eval

    root = Path(lm_eval.__file__).parent / "tasks"
    lines = []
    if task.includes:
        lines.append(f"include: {json.dumps(str(root / task.includes))}")
    lines.append(f"task: {json.dumps(('local_' if task.files else '') + name)}")
    if task.files:
        assert data is not None
        files = {key: str((data / path).resolve()) for key, path in task.files.items() if key != "group"}
        for file in files.values():
            if not Path(file).is_file():
                raise DataError(file, f"is missing, which task {name!r} reads; give another folder with --data")
        kwargs = {**files, **({"group": task.files["group"]} if "group" in task.files else {})}
        splits = {"training_split": None, "validation_split": None, "test_split": "test", "fewshot_split": "shots"}
        keys = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": kwargs, **splits, **task.keys}
        lines.append(f"custom_dataset: !function {_ROWS}.load")
    else:
        keys = task.keys
    lines += [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
    lines += [f"{key}: !function {_ROWS}.{function}" for key, function in task.functions.items()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
