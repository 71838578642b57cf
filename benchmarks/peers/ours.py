"""genner's own decoders, and the lower bound: one forward pass over the text and the finished answer."""

from collections.abc import Sequence
from typing import Any

from genner.engines.cache import KVCache
from peers.task import Outcome, Row, Run, Task, batches, counted


def prefix(engine: Any, instruction: str) -> KVCache:
    """The keys and values of an instruction."""
    cache: KVCache = engine.network.prefix(engine.chat.prefix_ids(instruction))
    return cache


def forward(engine: Any, prefix: KVCache, rows: Sequence[list[int]], cache: KVCache) -> None:
    """One pass over rows of token ids, each after the instruction. `cache` starts empty, and is reused."""
    for slot in range(len(rows)):
        cache.copy_row(prefix, 0, slot)
    engine.network.forward(rows, cache, range(len(rows)))


def limit(task: Task, batch: int) -> Run:
    prefixes = [prefix(task.engine, words) for words in task.instructions]
    outputs = [task.engine.chat.answer_ids(answer) for answer in task.answers]

    def run(task: Task) -> Outcome:
        engine, done = task.engine, Outcome(passes=0.0, computed=0.0, calls=0)
        texts = [d.text for d in task.documents]
        for part, cached in enumerate(prefixes):  # grouped by instruction: sentences of one instruction share its cache
            answers = outputs[part :: len(prefixes)][: len(texts)]
            whole = [engine.chat.body_ids(text) + out for text, out in zip(texts, answers, strict=True)]
            cache = KVCache(batch)
            for rows in batches(sorted(range(len(whole)), key=lambda i: len(whole[i])), batch):
                forward(engine, cached, [whole[i] for i in rows], cache)
                done.calls = (done.calls or 0) + 1
            done.passes = (done.passes or 0) + len(whole)
            done.computed = (done.computed or 0) + sum(map(len, whole))
        return done

    return run


def speculative(task: Task, batch: int) -> Run:
    def run(task: Task) -> Outcome:
        found = [made for _, made in task.engine.generate(task.requests(), batch_size=batch)]
        passes, computed = sum(g.passes for g in found), sum(g.computed for g in found)
        return Outcome([g.text for g in found], passes, computed, passes if batch == 1 else None)

    return run


def token_by_token(task: Task, batch: int) -> Run:
    """The baseline: transformers' cache and full logits, with the instruction recomputed for each request."""

    def run(task: Task) -> Outcome:
        with counted(task.engine.network.causal) as counter:
            found = [made for _, made in task.engine.generate(task.requests())]
        return Outcome([g.text for g in found], counter.passes, counter.computed, counter.calls)

    return run


ROWS = [
    Row("limit", "one forward pass, no decoding (the limit)", limit, needs="speculative"),
    Row("speculative", "genner, speculative", speculative, needs="speculative"),
    Row("reference", "genner, token by token (reference)", token_by_token, batched=False, slow=True),
]
