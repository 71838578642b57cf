"""llama.cpp in its own process and environment; run by `peers.llama`, not by hand.

Reads one JSON object a line and answers each with one: first {"model", "threads", "batch", "context"}, then any number
of runs: {"end", "requests": [{"prefix", "body", "budget", "grammar"}, ...]}, where prefix and body are token ids and
the grammar is GBNF or null. Answers {"answers": [token ids, ...], "seconds", "passes", "computed", "calls", "peak_mb"}.

Up to `batch` requests are decoded at once, each in its own sequence; a finished one is replaced. The keys and values of
the instruction are computed once and shared. As in llama.cpp's own programs, the grammar checks the most probable token
first, and the whole vocabulary only if it refuses that token.
"""

import ctypes
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import llama_cpp as lib  # type: ignore[import-not-found]  # in this environment alone
import numpy as np

from peers.memory import forget_peak, peak_mb

ERROR = 4  # GGML_LOG_LEVEL_ERROR
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


@dataclass
class Row:
    """An unfinished answer."""

    index: int
    sequence: int
    place: int  # position of the next token
    fed: list[int]  # tokens that the next pass runs
    budget: int
    grammar: Any
    tokens: list[int] = field(default_factory=list)


class Llama:
    def __init__(self, model: str, threads: int, batch: int, context: int) -> None:
        lib.llama_log_set(_QUIET, None)
        lib.llama_backend_init()
        self._model = lib.llama_model_load_from_file(model.encode(), lib.llama_model_default_params())
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {model}")
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_ubatch = min(512, context)
        params.n_seq_max = batch + 1  # plus that of the instruction
        params.kv_unified = True  # sequences share the cells of the instruction
        params.n_threads = params.n_threads_batch = threads
        self._context = lib.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit(f"llama.cpp cannot make a context of {context} tokens for {model}")
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._size = lib.llama_vocab_n_tokens(self._vocab)
        self._memory = lib.llama_get_memory(self._context)
        self._feed = lib.llama_batch_init(context, 0, 1)
        self._batch = batch
        self._prefix: list[int] = []

    def run(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        answers: list[list[int]] = [[] for _ in requests]
        passes = computed = calls = 0
        waiting = list(enumerate(requests))[::-1]
        rows: list[Row] = []
        while rows or waiting:
            while waiting and len(rows) < self._batch:
                if waiting[-1][1]["prefix"] != self._prefix:
                    if rows:  # rows of another instruction: let them finish
                        break
                    self._begin(waiting[-1][1]["prefix"])
                rows.append(self._admit(*waiting.pop(), {row.sequence for row in rows}))
            passes, computed, calls = passes + len(rows), computed + sum(len(r.fed) for r in rows), calls + 1
            last = self._decode(rows)
            for row, logits in zip(rows, last, strict=True):
                token = self._choose(logits, row.grammar)
                row.place, row.fed = row.place + len(row.fed), [token]
                if not lib.llama_vocab_is_eog(self._vocab, token):
                    row.tokens.append(token)
                    if len(row.tokens) < row.budget:
                        continue
                answers[row.index] = row.tokens
                lib.llama_memory_seq_rm(self._memory, row.sequence, -1, -1)
                if row.grammar:
                    lib.llama_sampler_free(row.grammar)
                row.sequence = -1
            rows = [row for row in rows if row.sequence >= 0]
        return {"answers": answers, "passes": passes, "computed": computed, "calls": calls}

    def _begin(self, prefix: list[int]) -> None:
        """Compute an instruction as sequence 0."""
        lib.llama_memory_clear(self._memory, True)
        self._decode([Row(0, 0, 0, prefix, 0, None)])
        self._prefix = prefix

    def _admit(self, index: int, request: dict[str, Any], taken: set[int]) -> Row:
        sequence = next(i for i in range(1, self._batch + 1) if i not in taken)
        lib.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
        grammar = None
        if request["grammar"] is not None:
            grammar = lib.llama_sampler_init_grammar(self._vocab, request["grammar"].encode(), b"root")
            if not grammar:
                raise SystemExit(f"llama.cpp cannot read this grammar:\n{request['grammar']}")
        return Row(index, sequence, len(self._prefix), request["body"], request["budget"], grammar)

    def _decode(self, rows: list[Row]) -> list[Any]:
        """One pass; returns the logits [V] after the last token of each row, valid until the next pass."""
        feed, at, wanted = self._feed, 0, []
        for row in rows:
            for offset, token in enumerate(row.fed):
                feed.token[at], feed.pos[at] = token, row.place + offset
                feed.n_seq_id[at], feed.seq_id[at][0] = 1, row.sequence
                feed.logits[at] = offset == len(row.fed) - 1
                at += 1
            wanted.append(at - 1)
        feed.n_tokens = at
        if code := lib.llama_decode(self._context, feed):
            raise SystemExit(f"llama.cpp cannot decode {at} tokens (code {code})")
        found = (lib.llama_get_logits_ith(self._context, i) for i in wanted)
        return [np.ctypeslib.as_array(logits, shape=(self._size,)) for logits in found]

    def _choose(self, logits: Any, grammar: Any) -> int:
        best = int(logits.argmax())
        if grammar is None:
            return best
        if np.isneginf(self._allowed(logits, np.array([best], dtype=np.int32), grammar)[0]):
            best = int(self._allowed(logits, np.arange(self._size, dtype=np.int32), grammar).argmax())
        lib.llama_sampler_accept(grammar, best)
        return best

    def _allowed(self, logits: Any, tokens: Any, grammar: Any) -> Any:
        """The logits of `tokens`, minus infinity where the grammar refuses one."""
        candidates = np.zeros(len(tokens), dtype=CANDIDATE)
        candidates["id"], candidates["logit"] = tokens, logits[tokens]
        data = candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        array = lib.llama_token_data_array(data, len(tokens), -1, False)
        lib.llama_sampler_apply(grammar, ctypes.byref(array))
        return candidates["logit"]


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _QUIET(level: int, text: bytes, data: Any) -> None:  # noqa: N802
    if level == ERROR:
        sys.stderr.write(text.decode("utf-8", "replace"))


def main() -> None:
    llama = Llama(**json.loads(sys.stdin.readline()))
    print(json.dumps({"version": lib.__version__}), flush=True)
    for line in sys.stdin:
        requests = json.loads(line)["requests"]
        forget_peak()
        begun = time.perf_counter()
        done = llama.run(requests)
        print(json.dumps({**done, "seconds": time.perf_counter() - begun, "peak_mb": peak_mb()}), flush=True)


if __name__ == "__main__":
    main()
