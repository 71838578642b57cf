"""The decoder's state of an instruction: its cache, its labels, and statistics for drafting its answers."""

from bisect import bisect_left
from collections.abc import Sequence
from math import sqrt
from typing import Any

from genner.engines.cache import KVCache
from genner.engines.chat import Chat
from genner.engines.vocabulary import Vocabulary

# The fixed cost of a pass, and of a row in it, in tokens. (On two CPU cores a pass of one token takes 18 ms, attention
# of a short row 3, and a token 0.5.)
PASS_TOKENS, ROW_TOKENS = 32, 6
# Passes that a correct proposal saves: for its tags, if the text is copied out anyway; for each of its tokens, if the
# answer is a list.
SAVED_IN_A_COPY, SAVED_IN_A_LIST = 2, 6
SHORTEST, LONGEST = 12, 256  # minimum and maximum length of a draft, in tokens


class PrefixState:
    """An instruction that has been run.

    Args:
        prefix: its keys and values, a cache of one row.
        labels: the drafter's representation of its labels; None if it cannot propose anything.

    The other attributes are averages over the answers so far, with exponential decay. They change costs, never answers.
    """

    FORGET = 0.98  # decay of a draft's weight in the averages, per later draft
    PROBE = 16  # if proposals are mostly wrong, one in this many answers still uses them

    def __init__(self, prefix: KVCache, labels: Any = None) -> None:
        self.prefix, self.labels = prefix, labels
        self._drafted, self._rejected = 60.0, 1.0
        self._answers, self._plain = 2.0, 1.0
        self._saved, self._wrong, self._turn = 8.0, 0.0, 0

    def draft_length(self, rows: int) -> int:
        """How many tokens to draft, in a pass with this many rows.

        A draft of n tokens costs a row's share of the pass's fixed cost and, with rejection probability p per token,
        about p n^2 / 2 wasted tokens. The cost per token is lowest when these two are equal.
        """
        share = PASS_TOKENS / rows + ROW_TOKENS
        return round(min(LONGEST, max(SHORTEST, sqrt(2 * share * self._drafted / self._rejected))))

    def draft_plain(self, tokens: int, rows: int) -> bool:
        """Whether to draft the plain answer, of about `tokens`, before anything is proposed: it saves a pass if
        correct, and wastes half its tokens if not."""
        plain = self._plain / self._answers
        return plain * (PASS_TOKENS / rows + ROW_TOKENS) > (1 - plain) * tokens / 2

    def use_drafter(self) -> bool:
        """Whether to ask the drafter for the next answer: a correct proposal saves passes, a wrong one costs about one.
        A drafter that costs more than it saves is still asked occasionally, since texts change."""
        if self.labels is None:
            return False
        self._turn += 1
        return self._saved >= self._wrong or self._turn % self.PROBE == 0

    def record_draft(self, accepted: int, drafted: int, finished: bool) -> None:
        """Record a draft: its number of tokens, how many were `accepted`, and whether it `finished` the answer."""
        if drafted:
            self._drafted = self.FORGET * self._drafted + accepted
            self._rejected = self.FORGET * self._rejected + (accepted < drafted and not finished)

    def record_answer(self, plain: bool) -> None:
        """Record a finished answer; `plain`: it equals the plain answer."""
        self._answers = self.FORGET * self._answers + 1
        self._plain = self.FORGET * self._plain + plain

    def record_proposals(self, right: int, wrong: int, copied: bool) -> None:
        """Record how many proposals for an answer were correct and how many wrong. `copied`: the answer copies the
        text."""
        self._saved = self.FORGET * self._saved + right * (SAVED_IN_A_COPY if copied else SAVED_IN_A_LIST)
        self._wrong = self.FORGET * self._wrong + wrong


def label_tokens(chat: Chat, vocabulary: Vocabulary, instruction: str, positions: Sequence[int]) -> list[int] | None:
    """For each label position (see `Request`), the index in `Chat.prefix_ids` of the token at it; None if the tokens do
    not spell the instruction."""
    words = chat.encode(instruction)
    ends = vocabulary.ends(words, instruction)
    if ends is None:
        return None
    first = len(chat.prefix_ids(instruction)) - len(words)
    return [first + bisect_left(ends, position) for position in positions]
