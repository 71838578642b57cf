"""What a decoder knows of an instruction: its cache, its labels, and how its answers are best drafted."""

from math import sqrt
from typing import Any

from genner.engines.cache import KVCache

# What a pass costs before its first token, and a row in it, in tokens. (On two CPU cores a pass of one token takes
# 18 ms, attention of a short row 3, and a token 0.5.)
PASS_TOKENS, ROW_TOKENS = 32, 6
# What a right guess saves, in passes: the tags, where the text is copied out anyway; where only entities are written,
# every token of theirs.
SAVED_IN_A_COPY, SAVED_IN_A_LIST = 2, 6
SHORTEST, LONGEST = 12, 256  # tokens that are drafted at least and at most


class PrefixState:
    """An instruction that has been run.

    Args:
        prefix: its keys and values, a cache of one row.
        options: what the drafter made of its labels; None where nothing can be guessed.

    The rest are averages over the answers so far, of which old ones fade. They change costs, never answers.
    """

    FORGET = 0.98  # a draft's weight in the averages, for each one after it
    PROBE = 16  # of so many answers, one is drafted from a guess even if guesses are mostly wrong

    def __init__(self, prefix: KVCache, options: Any = None) -> None:
        self.prefix, self.options = prefix, options
        self._drafted, self._rejected = 60.0, 1.0
        self._answers, self._plain = 2.0, 1.0
        self._saved, self._wrong, self._turn = 8.0, 0.0, 0

    def reach(self, together: int) -> int:
        """How many tokens to draft, in a pass of so many rows.

        A stretch of n tokens costs a row's share of the pass's fixed cost, and where the next token is rejected with
        probability p, about p n^2 / 2 tokens in vain; a token of it costs least when these two are equal.
        """
        share = PASS_TOKENS / together + ROW_TOKENS
        return round(min(LONGEST, max(SHORTEST, sqrt(2 * share * self._drafted / self._rejected))))

    def copies(self, tokens: int, together: int) -> bool:
        """Whether to draft the plain copy, of about `tokens`, before anything is guessed: it saves a pass if it is the
        answer, and is computed half in vain if not."""
        plain = self._plain / self._answers
        return plain * (PASS_TOKENS / together + ROW_TOKENS) > (1 - plain) * tokens / 2

    def trusts(self) -> bool:
        """Whether to ask the drafter for the next answer: a right guess saves passes, a wrong one costs about one. One
        that costs more than it saves is asked now and then, since texts change."""
        if self.options is None:
            return False
        self._turn += 1
        return self._saved >= self._wrong or self._turn % self.PROBE == 0

    def learn_draft(self, accepted: int, drafted: int, finished: bool) -> None:
        """Of a draft of so many tokens, `accepted` were taken; `finished`: the answer ended with it."""
        if drafted:
            self._drafted = self.FORGET * self._drafted + accepted
            self._rejected = self.FORGET * self._rejected + (accepted < drafted and not finished)

    def learn_answer(self, plain: bool) -> None:
        """An answer is there; `plain`: it says that there are no entities."""
        self._answers = self.FORGET * self._answers + 1
        self._plain = self.FORGET * self._plain + plain

    def learn_guess(self, right: int, wrong: int, copied: bool) -> None:
        """Of an answer's guessed entities, so many were in it, and so many were not. `copied`: it copies the text."""
        self._saved = self.FORGET * self._saved + right * (SAVED_IN_A_COPY if copied else SAVED_IN_A_LIST)
        self._wrong = self.FORGET * self._wrong + wrong
