"""What an engine is: prompt and grammar in, text out. It has no notion of an entity.

A speculative decoder asks a `Drafter` for drafts: it predicts answers from the hidden states of the prompt. This module
does not know what it predicts, nor how a grammar writes a draft from it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from genner.errors import UsageError
from genner.grammar import Grammar

if TYPE_CHECKING:  # an engine need not run on torch
    import torch


GrammarSupport = Literal["exact", "exported", "none"]
"""How an engine constrains its answers.

- `exact`: by genner's own automaton, so no answer can be illegal;
- `exported`: by a grammar that a server reads (GBNF, a JSON schema), which may allow more than the automaton, or which
  the server may refuse;
- `none`: not at all.
"""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    Attributes:
        grammar: how it constrains answers.
        json_only: whether it constrains answers in JSON formats alone.
        logprobs: whether it gives the log-probabilities of the tokens, from which entities get scores.
        adapters: whether one engine holds several adapters, and each request says which one answers it.
        weights: whether it reads weights from this machine. If not, a server has the model, under a name of its own.
    """

    grammar: GrammarSupport = "none"
    json_only: bool = field(default=False, kw_only=True)
    logprobs: bool = False
    adapters: bool = False
    weights: bool = True

    @property
    def constrains(self) -> bool:
        return self.grammar != "none"


class GrammarSource(Protocol):
    """Makes the grammar of a request again, where the request is answered in another process. Engines pass it on."""

    def to_json(self) -> dict[str, Any]:
        """Everything that a process with genner needs to make the automaton, as JSON types."""
        ...

    def gbnf(self) -> str:
        """The grammar in the notation of llama.cpp. Raises `UsageError` where rules cannot express it."""
        ...

    def json_schema(self) -> dict[str, Any] | None:
        """The grammar as a JSON schema; None for answers that are not JSON. Raises `UsageError` as `gbnf`."""
        ...


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
        adapter: the adapter that answers, as `Engine.add_adapter` named it; empty for the model that was loaded.
        grammar_source: makes `grammar` again in another process; an engine that runs here does not need it.
    """

    instruction: str
    text: str
    grammar: Grammar
    constrained: bool = True
    label_positions: tuple[int, ...] = ()
    context: Any = field(default=None, compare=False, repr=False)
    adapter: str = ""
    grammar_source: GrammarSource | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a request as its server counted them, those of repeated calls included.

    `cached`: whether the answer came from a cache, so that nothing was paid this time.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        prompt, completion = other.prompt_tokens, other.completion_tokens
        return replace(
            self, prompt_tokens=self.prompt_tokens + prompt, completion_tokens=self.completion_tokens + completion
        )

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens


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
        problems: what went wrong on the way to this answer, a sentence each (a grammar that the server refused, say).
        failure: why there is no answer; empty if there is one. The job goes on without it.
        usage: the tokens that a server counted; None for an engine that runs here.
    """

    answer: bytes
    ends: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    complete: bool = True
    passes: int = 0
    computed: int = 0
    problems: tuple[str, ...] = ()
    failure: str = ""
    usage: Usage | None = None

    @property
    def text(self) -> str:
        return self.answer.decode("utf-8", "replace")


Answered = tuple[Request, Generation]
"""A request, the same object that was given, and its answer."""


class Engine(Protocol):
    """A language model that answers requests."""

    name: str

    @property
    def capabilities(self) -> Capabilities:
        """What it can do: at most what its class can do (`LoadableEngine.capabilities`)."""
        ...

    @property
    def signature(self) -> Mapping[str, str]:
        """What tells its answers from those of another engine with the same model, for the signature of a score."""
        ...

    def add_adapter(self, name: str, folder: Path | None) -> str:
        """Load another adapter of its base, or name a model of its server. Returns the value for `Request.adapter`.

        The same adapter may be added again. Raises `UsageError` if it holds no adapters or has another one of this
        name, and `ModelError` when files are missing or the server does not have the model.
        """
        ...

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
    """A class that an engine is made from: listed in `genner.engines.ENGINES`, or an entry point `genner.engines`."""

    capabilities: Capabilities
    """The most that such an engine can do."""

    Options: type
    """A frozen dataclass of its own options, each with a default and `metadata={"help": ...}`."""

    def load(
        self,
        folder: Path | None,
        adapter: Path | None = None,
        *,
        name: str,
        device: "torch.device | None" = None,
        decoder: Any = "speculative",
        drafter: Drafter | None = None,
        options: Any = None,
    ) -> Engine:
        """An engine for the model in `folder`, with the LoRA adapter in `adapter`.

        The adapter is merged into the weights, unless the engine holds several (`Capabilities.adapters`): then
        `add_adapter` is called for it afterwards. `folder` is None where a server has the model. `name` is its name in
        scores and messages, and on a server; empty if the caller named no model. `options` are `Options`; None for the
        defaults. An engine may ignore `device`, `decoder` and `drafter`. Raises `ModelError` when a file is missing or
        does not fit.
        """
        ...


@runtime_checkable
class AccountingEngine(Protocol):
    """An engine that says what it has done and spent."""

    def summary(self) -> list[str]:
        """Its calls, tokens and cost so far, in words."""
        ...


@dataclass(frozen=True)
class NoOptions:
    """The `Options` of an engine without any."""


class SingleModel:
    """What an engine that holds one model and runs here has in common with others of this kind."""

    Options: type = NoOptions
    signature: Mapping[str, str] = {}
    name: str

    def add_adapter(self, name: str, folder: Path | None) -> str:
        """Raises `UsageError`: the adapter of such an engine is merged into its weights."""
        raise UsageError(
            f"engine {self.name!r} holds one model, and adapter {name!r} cannot join it; load it into an engine of its "
            "own, or use an engine with several adapters (genner engines)"
        )
