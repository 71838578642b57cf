"""Input and output of every system in the benchmark.

A `Row` is a named system. `prepare(task, batch)` loads and caches what a running service would keep (the keys and
values of the instruction, the weights); the function it returns is called once on a few sentences, then timed on all.
Making the grammar of a sentence is timed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from genner.decoding_constraints import decoding_constraints
from genner.document import Document, LabelSet, Prediction
from genner.engines.base import Request
from genner.evaluation import evaluate
from genner.formats import Format
from genner.grammar import Constraints
from genner.prompts import instruction, label_ends


@dataclass(frozen=True)
class Task:
    """Sentences of one set, asked for in one format, one request a sentence (or a sentence and label, for a format
    that is asked for one label at a time).

    Attributes:
        engine: the model; which one depends on the row (`Row.needs`).
        answers: genner's answers at batch 1, one per request.
        depth: maximum nesting in the grammars for other engines.
    """

    set: str
    documents: Sequence[Document]
    labels: LabelSet
    form: Format
    engine: Any
    answers: Sequence[str] = ()
    depth: int = 1

    @cached_property
    def parts(self) -> list[LabelSet]:
        return [self.labels.subset([tag]) for tag in self.labels.tags] if self.form.prompt_per_label else [self.labels]

    @cached_property
    def instructions(self) -> list[str]:
        return [instruction(part, self.form) for part in self.parts]

    def requests(self) -> list[Request]:
        """New requests in the order of the sentences: their grammars have cached nothing yet."""
        return [
            Request(
                words,
                d.text,
                self.form.grammar(d.text, part, decoding_constraints(part)),
                label_positions=label_ends(words, part),
            )
            for d in self.documents
            for words, part in zip(self.instructions, self.parts, strict=True)
        ]

    @property
    def _exported(self) -> Constraints:
        return Constraints("strict", self.depth, allow_trailing_repeat=True)  # as `genner grammar`

    def gbnf(self, i: int) -> str:
        """The grammar of request `i` for xgrammar and llama.cpp."""
        document, part = divmod(i, len(self.parts))
        return self.form.rules(self.documents[document].text, self.parts[part], self._exported).gbnf()

    def lark(self, i: int) -> str:
        """The grammar of request `i` for llguidance."""
        document, part = divmod(i, len(self.parts))
        return self.form.lark(self.documents[document].text, self.parts[part], self._exported)

    def head(self, count: int) -> "Task":
        """Only the first sentences."""
        return replace(self, documents=self.documents[:count], answers=self.answers[: count * len(self.parts)])

    def f1(self, answers: Sequence[str]) -> float:
        """Strict span micro-F1 in percent, from one answer per request."""
        found = []
        for n, document in enumerate(self.documents):
            said = answers[n * len(self.parts) : (n + 1) * len(self.parts)]
            read = [self.form.decode(document.text, a, p, document.id) for a, p in zip(said, self.parts, strict=True)]
            entities = tuple(entity for prediction in read for entity in prediction.entities)
            problems = tuple(problem for prediction in read for problem in prediction.problems)
            found.append(Prediction(document.text, entities, document.id, problems))
        return 100 * evaluate(self.documents, found).micro.f1


@dataclass
class Outcome:
    """The result of a system on all sentences of a task.

    Attributes:
        answers: one per request; None for systems that write none.
        passes: forward passes that each request took part in, summed over the requests.
        computed: tokens run through the model, padding included, the cached instruction left out.
        calls: forward passes in total; at batch 1 the same as `passes`. None if they cannot be counted.
        seconds: set if the clock of this process would measure more than the work.
        peak_mb: the same for memory.
        notes: other values to record.
    """

    answers: list[str] | None = None
    passes: float | None = None
    computed: float | None = None
    calls: int | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)


Run = Callable[[Task], Outcome]


@dataclass(frozen=True)
class Row:
    """A system to be measured.

    Attributes:
        about: its name in the table.
        prepare: (task, batch) -> the function to warm up and time.
        batched: whether it can answer several sentences at once.
        slow: whether it takes a pass for each token; such rows may be given fewer rounds.
        decodes: whether it writes answers, so that the format matters.
        needs: the engine that it gets: genner's `speculative` one; that of the `reference`, whose model and tokenizer
            are transformers' own; or, for `tokenizer`, an object that has only `chat`.
    """

    name: str
    about: str
    prepare: Callable[[Task, int], Run]
    batched: bool = True
    slow: bool = False
    decodes: bool = True
    needs: str = "reference"


@dataclass
class Counter:
    """Counts forward passes of a transformers model, by hook."""

    calls: int = 0
    passes: int = 0  # each counted once for every row of its batch
    computed: int = 0


@contextmanager
def counted(causal: Any) -> Iterator[Counter]:
    """Count forward passes of the body of `causal`, a transformers model, inside this context."""
    counter = Counter()

    def count(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        ids = given.get("input_ids", args[0] if args else None)
        if ids is None:
            ids = given["inputs_embeds"][..., 0]
        counter.calls += 1
        counter.passes += ids.shape[0]
        counter.computed += ids.numel()

    hook = causal.model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counter
    finally:
        hook.remove()


def batches(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for at in range(0, len(order), size):
        yield order[at : at + size]
