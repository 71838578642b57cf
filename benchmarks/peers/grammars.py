"""xgrammar and llguidance as logits processors of transformers' `generate`, with genner's exported grammars.

The vocabulary is prepared once; exporting, compiling and applying a sentence's grammar is timed. The instruction is
cached. A finished row is left unmasked: `generate` pads it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from peers.generate import Processors, prepared
from peers.task import Row, Task


class Masks(Protocol):
    """The grammars of a batch's rows, each with its state in its answer."""

    def accept(self, row: int, token: int) -> None: ...

    def mask(self, rows: Sequence[int], scores: torch.Tensor) -> None:
        """Set the logits of illegal tokens, [batch, vocabulary], to minus infinity in these rows."""


class Constraint:
    """A logits processor for one call of `generate`."""

    def __init__(self, masks: Masks, count: int, end: int) -> None:
        self._masks, self._open, self._end = masks, list(range(count)), end
        self._begun = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._begun:
            last = input_ids[:, -1].tolist()
            self._open = [row for row in self._open if last[row] != self._end]
            for row in self._open:
                self._masks.accept(row, last[row])
        self._begun = True
        self._masks.mask(self._open, scores)
        return scores


class XGrammarMasks:
    def __init__(self, compiler: Any, grammars: Sequence[str], vocabulary: int) -> None:
        import xgrammar

        self._apply = xgrammar.apply_token_bitmask_inplace
        self._matchers = [
            xgrammar.GrammarMatcher(compiler.compile_grammar(xgrammar.Grammar.from_ebnf(g))) for g in grammars
        ]
        self._bits = xgrammar.allocate_token_bitmask(len(grammars), vocabulary)

    def accept(self, row: int, token: int) -> None:
        assert self._matchers[row].accept_token(token), f"xgrammar refuses token {token}, which it allowed"

    def mask(self, rows: Sequence[int], scores: torch.Tensor) -> None:
        for row in rows:
            self._matchers[row].fill_next_token_bitmask(self._bits, row)
        self._apply(scores, self._bits, indices=list(rows))


class LLGuidanceMasks:
    def __init__(self, tokenizer: Any, grammars: Sequence[str], vocabulary: int) -> None:
        import llguidance
        import llguidance.numpy

        self._fill = llguidance.numpy.fill_next_token_bitmask
        self._matchers = [llguidance.LLMatcher(tokenizer, llguidance.grammar_from("lark", g)) for g in grammars]
        for matcher in self._matchers:
            assert not matcher.is_error(), matcher.get_error()
        self._bits = llguidance.numpy.allocate_token_bitmask(len(grammars), vocabulary)

    def accept(self, row: int, token: int) -> None:
        assert self._matchers[row].consume_token(token), self._matchers[row].get_error()

    def mask(self, rows: Sequence[int], scores: torch.Tensor) -> None:
        # Applied by hand: llguidance's kernel for torch is compiled when it is first used, which takes a C++ compiler,
        # and the one for numpy is several times slower than this.
        for row in rows:
            self._fill(self._matchers[row], self._bits, row)
            bits = np.unpackbits(self._bits[row].view(np.uint8), count=scores.shape[1], bitorder="little")
            scores[row].masked_fill_(torch.from_numpy(bits == 0).to(scores.device), -torch.inf)


def by_xgrammar(task: Task) -> Processors:
    import xgrammar

    engine = task.engine
    size, end = engine.network.causal.config.vocab_size, engine.chat.end_id
    info = xgrammar.TokenizerInfo.from_huggingface(engine.chat.tokenizer, vocab_size=size, stop_token_ids=[end])
    # No two sentences have the same grammar, so a cache of compiled grammars would only use memory.
    compiler = xgrammar.GrammarCompiler(info, max_threads=torch.get_num_threads(), cache_enabled=False)

    def processors(task: Task, rows: Sequence[int]) -> list[Any]:
        masks = XGrammarMasks(compiler, [task.gbnf(i) for i in rows], size)
        return [Constraint(masks, len(rows), end)]

    return processors


def by_llguidance(task: Task) -> Processors:
    import llguidance.hf

    engine = task.engine
    size, end = engine.network.causal.config.vocab_size, engine.chat.end_id
    tokenizer = llguidance.hf.from_tokenizer(engine.chat.tokenizer, n_vocab=size, eos_token=end)

    def processors(task: Task, rows: Sequence[int]) -> list[Any]:
        masks = LLGuidanceMasks(tokenizer, [task.lark(i) for i in rows], size)
        return [Constraint(masks, len(rows), end)]

    return processors


ROWS = [
    Row("xgrammar", "`generate` + xgrammar, instruction cached", prepared(prefix=True, grammar=by_xgrammar), slow=True),
    Row(
        "llguidance",
        "`generate` + llguidance, instruction cached",
        prepared(prefix=True, grammar=by_llguidance),
        slow=True,
    ),
]
