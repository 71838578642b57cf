"""Measures one side on one task: the harness prompts and scores, then the gold answers' likelihoods are computed."""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from genner.ability.distractors import distractors
from genner.ability.items import AbilityItem
from genner.ability.likelihood import likelihoods
from genner.ability.qa_metrics import ANSWER_WORDS, SCORERS
from genner.errors import UsageError
from genner.extras import require as require_parts

BOOTSTRAPS = 1000
"""Bootstrap resamples of the harness's standard errors for metrics that are not means; means have a closed form."""


def require() -> str:
    """The harness's version. Raises `MissingPartError` with the command that installs it."""
    require_parts("lm_eval")
    import datasets

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of things that are intended here
    datasets.disable_progress_bars()
    return version("lm_eval")


@dataclass
class Measured:
    """The output of the harness and the model; see `AbilityResult`."""

    items: list[AbilityItem]
    scores: dict[str, dict[str, float | None]]
    tokens: int = 0
    passes: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


def measure(
    model: Any,
    tokenizer: Any,
    loaded: Any,
    name: str,
    *,
    shots: int,
    chat: bool,
    limit: int | None,
    seed: int,
    batch_size: int,
) -> Measured:
    """Run a model on the items of a task.

    Args:
        model, tokenizer: see `Models.on`.
        loaded: see `load_task`. It can be reused.
        name: the task's name; for tasks in `SCORERS` the gold answer is compared with wrong ones.
        limit: so many items of each task of a group, drawn by `seed`.

    Items and their order, prompts with their shots, and batches depend only on these arguments, never on the model: two
    sides get the same prompts in the same batches.

    Raises `UsageError` when shots are requested and the task has none.
    """
    from lm_eval import evaluator

    lm = _language_model(model, tokenizer, batch_size)
    samples: dict[str, list[int]] = {}
    left_out: Counter[str] = Counter()
    for leaf, task in loaded["tasks"].items():
        if shots and task.get_config("num_fewshot") == 0:
            raise UsageError(f"task {leaf!r} with {shots} shots: the harness has it at 0 for good; give --shots 0")
        task.set_config(key="num_fewshot", value=shots)
        task.set_fewshot_seed(seed=seed)
        number = len(task.eval_docs)
        left_out["by the task itself"] += len(task.dataset[_split(task)]) - number
        samples[leaf] = _drawn(number, limit, seed)
    _seed(seed)
    with _counting(model) as counts:
        results = evaluator.evaluate(
            lm=lm,
            task_dict=loaded,
            samples=samples,
            bootstrap_iters=BOOTSTRAPS,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        )
        items = []
        for leaf, task in loaded["tasks"].items():
            rows = _by_item(results["samples"][leaf])
            if task.OUTPUT_TYPE == "generate_until":
                items += _generated(lm, tokenizer, task, leaf, name, rows, chat, seed)
            else:
                items += [_chosen(lm, task, leaf, rows_of_item) for rows_of_item in rows]
    scores = _scores(results, list(loaded["tasks"]), list(loaded.get("groups", {})))
    return Measured(items, scores, counts["tokens"], counts["passes"], dict(+left_out))


def _language_model(model: Any, tokenizer: Any, batch_size: int) -> Any:
    import torch
    from lm_eval.models.huggingface import HFLM

    # Softmax in float32 for all weight dtypes: bfloat16 has at most three digits.
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, softmax_dtype=torch.float32)


def _split(task: Any) -> str:
    """The split whose items are used."""
    split: str = task.config.test_split if task.has_test_docs() else task.config.validation_split
    return split


def _drawn(number: int, limit: int | None, seed: int) -> list[int]:
    """Indices of items, sorted, since the harness identifies items by order. Tasks on one file get the same indices."""
    if limit is None or limit >= number:
        return list(range(number))
    return sorted(random.Random(f"{seed}:{number}").sample(range(number), limit))


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def _counting(model: Any) -> Any:
    """Counts forward passes and their tokens, padding included, inside the block."""
    counts: Counter[str] = Counter()

    def count(module: Any, args: Any, kwargs: Any) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        counts["passes"] += 1
        counts["tokens"] += ids.numel() if ids is not None else 0

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    handle = inner.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counts
    finally:
        handle.remove()


def _by_item(samples: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The harness's samples grouped by item; an item has one sample per filter."""
    rows: dict[int, list[dict[str, Any]]] = {}
    for sample in samples:
        rows.setdefault(sample["doc_id"], []).append(sample)
    return list(rows.values())


def _generated(
    lm: Any,
    tokenizer: Any,
    task: Any,
    leaf: str,
    name: str,
    rows: Sequence[list[dict[str, Any]]],
    chat: bool,
    seed: int,
) -> list[AbilityItem]:
    """Items of a generative task, with the likelihoods of gold answers and of wrong ones."""
    delimiter = "" if chat else " "
    wanted: list[tuple[str, str]] = []  # (prompt, answer), all scored in one call
    per_item: list[tuple[int, int]] = []  # the range of an item's pairs
    for sample, *_ in rows:
        doc, prompt = sample["doc"], sample["arguments"][0][0]
        answers = _to_score(name, doc, sample["target"], f"{seed}:{sample['doc_id']}")
        per_item.append((len(wanted), len(wanted) + len(answers)))
        wanted += [(prompt, delimiter + answer) for answer in answers]
    scored = likelihoods(lm, wanted)
    most = int((task.config.generation_kwargs or {}).get("max_gen_toks", lm.max_gen_toks))
    items = []
    for samples, (at, end) in zip(rows, per_item, strict=True):
        first = samples[0]
        answer: str = first["resps"][0][0]
        tokens = len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        metrics = _metrics(samples)
        gold = _gold(name, first)
        em, f1 = SCORERS[name](answer, gold) if name in SCORERS else _em_f1(metrics)
        found = scored[at:end]
        items.append(
            AbilityItem(
                id=f"{leaf}:{first['doc_id']}",
                prompt_hash=first["prompt_hash"],
                answer=answer,
                gold=gold,
                em=em,
                f1=f1,
                tokens=tokens,
                truncated=tokens >= most,
                loglikelihood=found[0][0] if found else None,
                gold_tokens=found[0][1] if found else None,
                others=found[1:],
                metrics=metrics,
            )
        )
    return items


def _to_score(name: str, doc: dict[str, Any], target: Any, seed: str) -> list[str]:
    """The answers whose likelihood is computed: the gold one, then wrong ones; none if there is no gold text."""
    if name not in SCORERS:
        gold = target[0] if isinstance(target, list) and target else target
        return [gold.strip()] if isinstance(gold, str) and gold.strip() else []
    if name == "squad":
        golds, passage = (
            list(doc["answers_text"]),
            doc["query"].rpartition("\nQuestion:")[0].partition("Background:")[2],
        )
    else:
        if len(doc["answers"][0]) > 1:  # a list of spans: there is no comparable wrong list
            return [", ".join(doc["answers"][0])]
        golds, passage = [span for answer in doc["answers"] for span in answer], doc["passage"]
    return [golds[0], *distractors(passage, golds, ANSWER_WORDS[name], seed)]


def _gold(name: str, sample: dict[str, Any]) -> list[Any]:
    doc, target = sample["doc"], sample["target"]
    if name == "squad":
        return list(doc["answers_text"])
    if name in SCORERS:
        return [list(answer) for answer in doc["answers"]]
    return target if isinstance(target, list) else [target]


def _chosen(lm: Any, task: Any, leaf: str, samples: Sequence[dict[str, Any]]) -> AbilityItem:
    """An item of a multiple-choice task, or of any other task that only uses likelihoods."""
    first = samples[0]
    metrics = _metrics(samples)
    common = {"id": f"{leaf}:{first['doc_id']}", "prompt_hash": first["prompt_hash"], "metrics": metrics}
    em = metrics.get("acc")
    if task.OUTPUT_TYPE != "multiple_choice":
        return AbilityItem(**common, answer=None, gold=[first["target"]], em=em)
    choices, doc = task.doc_to_choice(first["doc"]), first["doc"]
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    right = [gold] if not isinstance(gold, list) else gold
    right = [choices.index(index) if isinstance(index, str) else index for index in right]
    scored = [
        (float(response[0][0]), len(lm._encode_pair(*arguments)[1]))
        for response, arguments in zip(first["resps"], first["arguments"], strict=True)
    ][: len(choices)]
    best = max(range(len(scored)), key=lambda i: scored[i][0])
    return AbilityItem(
        **common,
        answer=choices[best],
        gold=[choices[index] for index in right],
        em=em,
        loglikelihood=scored[right[0]][0],
        gold_tokens=scored[right[0]][1],
        others=[pair for index, pair in enumerate(scored) if index not in right],
    )


def _metrics(samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The harness's numeric scores of an item, by METRIC or METRIC/FILTER."""
    found = {}
    for sample in samples:
        for name in sample["metrics"]:
            value = sample[name]
            if isinstance(value, bool | int | float):
                found[_named(name, sample["filter"])] = float(value)
    return found


def _named(metric: str, rule: str) -> str:
    return metric if rule == "none" else f"{metric}/{rule}"


def _em_f1(metrics: dict[str, float]) -> tuple[float | None, float | None]:
    """Exact match and F1 as the harness's task defines them, by the most lenient filter if there are several."""

    def most(*names: str) -> float | None:
        return max((value for key, value in metrics.items() if key.partition("/")[0] in names), default=None)

    return most("em", "exact_match", "prompt_level_strict_acc"), most("f1")


def _scores(results: Any, tasks: Sequence[str], groups: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """The harness's scores: by METRIC for one task, by NAME:METRIC for the tasks and groups of a group."""
    found: dict[str, dict[str, float | None]] = {}
    alone = len(tasks) == 1 and not groups
    for name in [*groups, *tasks]:
        row = {**results["results"].get(name, {}), **results.get("groups", {}).get(name, {})}
        for key, value in row.items():
            metric, comma, rule = key.partition(",")
            if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
                error = row.get(f"{metric}_stderr,{rule}")
                label = _named(metric, rule) if alone else f"{name}:{_named(metric, rule)}"
                found[label] = {
                    "value": float(value),
                    "stderr": float(error) if isinstance(error, int | float) else None,
                }
    return found
