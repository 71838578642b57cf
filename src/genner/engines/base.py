"""What an engine is: prompt and grammar in, text out. It has no notion of an entity.

A speculative decoder asks a `Drafter` for drafts: it predicts answers from the hidden states of the prompt. This module
does not know what it predicts, nor how a grammar writes a draft from it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genner.grammar import Grammar

if TYPE_CHECKING:  # an engine need not run on torch
    import torch


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one answer.

    Attributes:
        instruction: what is asked, the same for all texts of a task.
        text: the text that the instruction is about.
        grammar: the legal answers. An answer longer than the grammar needs is cut off (`Grammar.needs`).
        constrained: whether the answer has to be legal. If not, the model writes freely, and the grammar only helps to
            draft.
        label_positions: places in the instruction, in code points: the end of the line of each label, in the order of
            the labels. A drafter reads there what the labels mean.
        context: data of the caller, which an engine returns with the answer and does not read.
    """

    instruction: str
    text: str
    grammar: Grammar
    constrained: bool = True
    label_positions: tuple[int, ...] = ()
    context: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer and statistics of its decoding.

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


Answered = tuple[Request, Generation]
"""A request, the same object that was given, and its answer."""


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

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        """Answer the requests: each one with its answer, in their order.

        Reads ahead a bounded number of requests, so a stream may be infinite. `batch_size`: answers computed together;
        None for the engine's own choice.
        """
        ...


@dataclass(frozen=True)
class DrafterInput:
    """A text as the model has read it.

    Attributes:
        text: the text of a request.
        ends: for each of its tokens, the code points written up to its end.
        states: the output of each probe layer for these tokens, [tokens, H] each.
        labels: the result of `Drafter.read_labels`.
    """

    text: str
    ends: list[int]
    states: "list[torch.Tensor]"
    labels: Any


class Drafter(Protocol):
    """Predicts answers from hidden states, so that a decoder has something to verify. A wrong one costs time only."""

    @property
    def probe_layers(self) -> tuple[int, ...]:
        """The layers whose output it reads, ascending; 1 is the first layer."""
        ...

    def read_labels(self, states: "list[torch.Tensor]") -> Any:
        """The drafter's representation of the labels. `states` are the outputs of the probe layers at the end of each
        label's line: [labels, H] each."""
        ...

    def propose(self, inputs: list[DrafterInput]) -> list[Any]:
        """For each text, proposals for its answer, as `Grammar.draft` takes them."""
        ...

    def hits(self, proposals: Any, grammar: Grammar, answer: bytes) -> tuple[int, int]:
        """How many of the proposals an answer has, and how many it does not have."""
        ...


class LoadableEngine(Protocol):
    """A class listed in `genner.engines.ENGINES`, which makes an engine from the files of a model."""

    constrains: bool
    """Whether it honours `Request.constrained`. If not, it serves free decoding only."""

    def load(
        self,
        folder: Path,
        adapter: Path | None = None,
        *,
        name: str,
        device: "torch.device | None" = None,
        decoder: Any = "speculative",
        drafter: Drafter | None = None,
    ) -> Engine:
        """An engine for the model in `folder`, with the LoRA adapter in `adapter` merged into it.

        `name` is its name in scores and messages. An engine may ignore `device`, `decoder` and `drafter`. Raises
        `ModelError` when a file is missing or does not fit.
        """
        ...
