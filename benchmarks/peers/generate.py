"""transformers' `generate`, greedy, on the same merged weights: free, with prompt lookup, and under a grammar.

`prefix` in a row's name means that the keys and values of the instruction are precomputed and copied for each call, as
genner and llama.cpp do themselves. In a batch, the padding stands between the instruction and the text, so that the
copied cache fits all rows; it is masked, and positions do not count it.

Prompt lookup has no row with the instruction cached: given a cache, transformers 5.23 runs the whole prompt again
behind it, so that the instruction stands in the cache twice.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from transformers import DynamicCache

from peers.task import Outcome, Row, Run, Task, batches, counted

LOOKUP = 10  # tokens that prompt lookup proposes at a time, as in transformers' documentation

Processors = Callable[[Task, Sequence[int]], list[Any]]
"""Logits processors for one call that answers these requests."""


def prepared(
    *, lookup: bool = False, prefix: bool = False, grammar: Callable[[Task], Processors] | None = None
) -> Callable[[Task, int], Run]:
    """`Row.prepare` for `generate` with these options."""

    def prepare(task: Task, batch: int) -> Run:
        chat, causal = task.engine.chat, task.engine.network.causal
        heads = [chat.prefix_ids(words) for words in task.instructions]
        caches = [prefilled(causal, ids) for ids in heads] if prefix else [None] * len(heads)
        constrain = grammar(task) if grammar else None
        options: dict[str, Any] = {"prompt_lookup_num_tokens": LOOKUP} if lookup else {}

        def run(task: Task) -> Outcome:
            requests = task.requests()
            answers = [""] * len(requests)
            with counted(causal) as counter:
                for part, (head, cache) in enumerate(zip(heads, caches, strict=True)):
                    mine = range(part, len(requests), len(heads))
                    bodies = {i: chat.body_ids(requests[i].text) for i in mine}
                    for rows in batches(sorted(mine, key=lambda i: len(bodies[i])), batch):
                        out = answer(
                            causal,
                            head,
                            [bodies[i] for i in rows],
                            max_new_tokens=max(task.engine.reserve(requests[i]) for i in rows),
                            eos_token_id=chat.end_id,
                            pad_token_id=chat.end_id,
                            past_key_values=copies(cache, len(rows)) if cache else None,
                            logits_processor=constrain(task, rows) if constrain else [],
                            **options,
                        )
                        for i, ids in zip(rows, out, strict=True):
                            answers[i] = chat.tokenizer.decode(ids, skip_special_tokens=True)
            return Outcome(answers, counter.passes, counter.computed, counter.calls)

        return run

    return prepare


@torch.inference_mode()
def answer(causal: Any, head: list[int], bodies: Sequence[list[int]], **options: Any) -> list[list[int]]:
    """The model's output after each body, padded on the right to the longest of the batch."""
    width = max(map(len, bodies))
    pads = [width - len(body) for body in bodies]
    ids = [[*head, *[options["pad_token_id"]] * pad, *body] for pad, body in zip(pads, bodies, strict=True)]
    mask = [[*[1] * len(head), *[0] * pad, *[1] * len(body)] for pad, body in zip(pads, bodies, strict=True)]
    out = causal.generate(
        torch.tensor(ids, device=causal.device),
        attention_mask=torch.tensor(mask, device=causal.device),
        do_sample=False,
        **options,
    )
    written: list[list[int]] = out[:, len(head) + width :].tolist()
    return written


@torch.inference_mode()
def prefilled(causal: Any, ids: list[int]) -> DynamicCache:
    """The keys and values of these tokens."""
    cache = DynamicCache(config=causal.config)
    causal.model(input_ids=torch.tensor([ids], device=causal.device), past_key_values=cache, use_cache=True)
    return cache


def copies(cache: DynamicCache, count: int) -> DynamicCache:
    """The cache of one row repeated for `count` rows; the original is unchanged."""
    mine = deepcopy(cache)
    if count > 1:
        mine.batch_repeat_interleave(count)
    return mine


ROWS = [
    Row("generate", "transformers' `generate`", prepared(), slow=True),
    Row("generate_lookup", "`generate`, prompt lookup", prepared(lookup=True), batched=False, slow=True),
    Row("generate_prefix", "`generate`, instruction cached", prepared(prefix=True), slow=True),
]
