"""What an engine is: prompt and grammar in, text out. It has no notion of an entity."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from genner.grammar import Grammar


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to answer.

    `grammar` describes the legal answers; an engine that is `constrained` writes no other. Unconstrained, the model
    writes what it likes, and the grammar only helps to guess ahead. An answer is cut off when it is longer than the
    grammar says that it needs to be (`Grammar.needs`). `options` are places in the instruction, in code points: the
    ends of the lines that say what may be chosen among (the labels, in their order); a drafter reads there what they
    mean.
    """

    instruction: str
    text: str
    grammar: Grammar
    constrained: bool = True
    options: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer, and how it came about.

    Attributes:
        answer: the bytes written, UTF-8 when the answer is complete.
        ends: for each token, the byte of the answer at which it ends.
        logprobs: for each token, the log-probability (nats) of choosing it among the legal ones.
        complete: False when the token budget ran out. A constrained answer is legal even then: the rest is copied.
        passes: forward passes that this answer took part in.
        computed: tokens computed for it, those of rejected drafts included.
    """

    answer: bytes
    ends: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    complete: bool = True
    passes: int = 0
    computed: int = 0

    @property
    def text(self) -> str:
        return self.answer.decode("utf-8", "replace")


class Engine(Protocol):
    """A language model that answers requests."""

    name: str

    @property
    def window(self) -> int | None:
        """Tokens that instruction, text and answer may take up together; None for no limit."""
        ...

    def measure(self, instruction: str, text: str) -> int:
        """Tokens that the prompt takes up."""
        ...

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Generation]:
        """Answer the requests in order. Reads ahead a bounded number of them, so endless streams will do."""
        ...
