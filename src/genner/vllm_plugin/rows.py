"""The automata of a batch of answers, and the logits that they leave."""

from collections.abc import Iterable, Mapping
from math import inf

import numpy as np
import torch
from torch import Tensor

from genner.engines.vocabulary import NextTokens, Vocabulary
from genner.grammar import Grammar, State


class AnswerRow:
    """The automaton of one unfinished answer.

    Attributes:
        count: tokens read so far.
        legal: the legal next tokens. After the end, and after a token that was not legal (written by something else in
            the server), only the token that ends the answer.
    """

    __slots__ = ("_end_id", "_grammar", "_next", "_vocabulary", "count", "legal")

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary) -> None:
        self._grammar, self._vocabulary, self._end_id = grammar, vocabulary, vocabulary.end_id
        self.count = 0
        self._go_on(grammar.start())

    def take(self, tokens: Iterable[int]) -> None:
        """Read the next tokens of the answer."""
        for token in tokens:
            self.count += 1
            if self._next is None:
                continue
            if token != self._end_id and token in self.legal:
                self._go_on(self._next.after(token))
            else:
                self.refuse()

    def _go_on(self, state: State) -> None:
        self._next: NextTokens | None = self._vocabulary.next_tokens(self._grammar, state)
        self.legal: list[int] = self._next.tokens
        if not self.legal:  # the vocabulary cannot spell what must come next
            self.refuse()

    def refuse(self) -> None:
        """End the answer: from now on, only the token that ends it is legal."""
        self._next, self.legal = None, [self._end_id]


class EmptyRow(AnswerRow):
    """An answer that ends at once, with the token `end_id`."""

    __slots__ = ()

    def __init__(self, end_id: int) -> None:
        self._end_id, self.count = end_id, 0
        self.refuse()


class LegalLogits:
    """Restricts logits to legal tokens.

    If all rows of a batch are restricted, the result is a tensor of this object's own, which holds minus infinity but
    for the legal tokens of the last call; so a call writes a few numbers a row, whatever the size of the vocabulary.

    Args:
        own: whether nothing else writes finite numbers into the result; if not, rows are rewritten in place.
    """

    def __init__(self, own: bool = True) -> None:
        self._own = own
        self._kept = torch.empty(0, 0)
        self._written: Tensor | None = None  # indices of the numbers in `_kept` that are finite

    def restrict(self, logits: Tensor, rows: Mapping[int, AnswerRow]) -> Tensor:
        """`logits` [R, V] with minus infinity for tokens that are not legal in their row; `rows` by index, some or all
        of the R.

        The result is valid until the next call.
        """
        if not rows:
            return logits
        count, size = logits.shape
        tokens: list[int] = []
        counts: list[int] = []
        for row in rows.values():
            tokens += row.legal
            counts.append(len(row.legal))
        lines = np.fromiter(rows, np.int64, len(rows))
        flat = np.repeat(lines * size, counts) + np.fromiter(tokens, np.int64, len(tokens))
        places = torch.from_numpy(flat).to(logits.device, non_blocking=True)
        values = logits.reshape(-1).index_select(0, places)
        if self._own and len(rows) == count:
            kept = self._blank(logits)
            kept.view(-1).index_copy_(0, places, values)
            self._written = places
            return kept[:count]
        logits.index_fill_(0, torch.from_numpy(lines).to(logits.device), -inf)
        # By line and token: vLLM's logits may be a part of wider ones, where the vocabulary was padded.
        logits.index_put_((places.div(size, rounding_mode="floor"), places.remainder(size)), values)
        return logits

    def _blank(self, logits: Tensor) -> Tensor:
        """The kept tensor, at least as large as `logits`, with minus infinity everywhere."""
        kept, (count, size) = self._kept, logits.shape
        fits = kept.shape[1] == size and (kept.dtype, kept.device) == (logits.dtype, logits.device)
        if not fits or kept.shape[0] < count:
            rows = max(count, 2 * kept.shape[0]) if fits else count
            self._kept = logits.new_full((rows, size), -inf)
        elif self._written is not None:
            kept.view(-1).index_fill_(0, self._written, -inf)
        return self._kept
