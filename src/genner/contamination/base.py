"""What a signal of contamination is: a test of whether a model has seen a test set, and of its own power.

A signal is a frozen value. It takes a `ContaminationCase` and returns a `Finding` for each *side* of the model: the
base, and the adapter on it. A finding has one of five verdicts, only one of which says that there is no contamination:
`unknown` means that it could not be tested, `no power` that the test would not have detected it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from genner.ability.result import ADAPTER as ADAPTER
from genner.ability.result import BASE as BASE
from genner.document import Document, LabelSet

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel
    from genner.contamination.resumable import ResumableItems

SignalVerdict = Literal["found", "nothing found", "no power", "unknown", "measured"]
SIGNAL_VERDICTS: dict[SignalVerdict, str] = {
    "found": "the signal is there; what it can come of besides is said under “cannot show”",
    "nothing found": "the signal could have been seen, and is not there",
    "no power": "the signal is not there, and would not have been: texts that were trained on do not show it either",
    "unknown": "what the signal needs is not known, so nothing follows from it",
    "measured": "a description of the data, which is neither good nor bad",
}
assert set(SIGNAL_VERDICTS) == set(get_args(SignalVerdict))

MAX_TOKENS = 1024
"""Number of tokens of a text that are scored, from its beginning."""
MIN_SAMPLE = 10
"""Minimum number of documents on each side of a comparison."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of a finding: `value`, its 95 % interval and p value (None if there is none), over `n` observations."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def __str__(self) -> str:
        interval = f" ({self.low:.2f} to {self.high:.2f})" if self.low is not None and self.high is not None else ""
        return f"{self.value:.2f}{interval}"


@dataclass(frozen=True)
class Finding:
    """A signal's result for one side of a model; `said` is a sentence with its numbers, `examples` are ids or texts."""

    side: str
    verdict: SignalVerdict
    said: str
    measures: dict[str, Measure] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "side": self.side,
            "verdict": self.verdict,
            "said": self.said,
            "measures": {name: asdict(measure) for name, measure in self.measures.items()},
            "examples": list(self.examples),
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Finding":
        """The inverse of `to_dict`. Raises `KeyError` or `TypeError` on anything else."""
        SIGNAL_VERDICTS[raw["verdict"]]  # a verdict of ours
        measures = {name: Measure(**measure) for name, measure in raw["measures"].items()}
        return cls(raw["side"], raw["verdict"], raw["said"], measures, tuple(raw["examples"]))


@dataclass(frozen=True)
class TrainedOn:
    """Documents that the model was trained on, and their source."""

    name: str
    documents: Sequence[Document]


@dataclass(frozen=True)
class ContaminationCase:
    """A test set, and what is known about the model's training data.

    Attributes:
        name: the public name of the set (`GENIA`), which signals use in prompts.
        split: which part of it: test, dev, ...
        labels: the annotated labels.
        format: the answer format of gold answers.
        test: the whole test set, in the order of its file.
        sample: the part of the test set on which the model is run.
        train: the model's training data, as far as they are known.
        complete: whether `train` is all the training data of the adapter (or of the model, if it has no adapter).
        members: documents of the set's kind that the adapter was trained on; a signal must detect them.
        unseen: documents of the set's kind that it was not trained on; a signal must not flag them.
    """

    name: str
    split: str
    labels: LabelSet
    format: str
    test: Sequence[Document]
    sample: Sequence[Document]
    train: Sequence[TrainedOn] = ()
    complete: bool = False
    members: Sequence[Document] = ()
    unseen: Sequence[Document] = ()

    def groups(self) -> dict[str, Sequence[Document]]:
        """The documents on which the model is run: `test`, `members` and `unseen`."""
        return {"test": self.sample, "members": self.members, "unseen": self.unseen}


@dataclass(frozen=True)
class Signal(ABC):
    """A test for contamination. Its docstring says what it shows, what it cannot show, and its sources."""

    seed: int = 0

    asks: ClassVar[bool] = True
    """Whether it runs the model; other signals only compare files."""

    @abstractmethod
    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: "ResumableItems") -> list[Finding]:
        """The findings of each side. Computed values are stored in `kept` and read from there after an interruption."""


def evenly(documents: Sequence[Document], number: int | None) -> list[Document]:
    """So many of the documents, evenly spaced and in order; one of each group while there are enough groups.

    A group is what a document is part of (an article): sentences of one article are less informative than as many
    sentences of several.
    """
    if number is None or number >= len(documents):
        return list(documents)
    first: dict[str, int] = {}
    for i, document in enumerate(documents):
        first.setdefault(document.group or f"\0{i}", i)
    places = list(first.values())
    if len(places) < number:
        others = sorted(set(range(len(documents))) - set(places))
        return [documents[i] for i in sorted([*places, *_spaced(others, number - len(places))])]
    return [documents[i] for i in _spaced(places, number)]


def _spaced(places: Sequence[int], number: int) -> list[int]:
    return [places[i * len(places) // number] for i in range(number)]


def texts_of(documents: Iterable[Document]) -> list[str]:
    return [document.text for document in documents]
