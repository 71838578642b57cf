"""Contamination: has a model seen the test set? Overlap with its training data, and tests of the model itself.

`SIGNALS` lists all signals. To add one, write a frozen `Signal` whose docstring says what it shows, what it cannot show
and what its sources are, and add a line here. `genner.contamination.run.check` runs them all.
"""

from genner.contamination.altered_copies import AlteredCopies
from genner.contamination.answer_likelihood import AnswerLikelihood
from genner.contamination.base import (
    SIGNAL_VERDICTS,
    ContaminationCase,
    Finding,
    Measure,
    Signal,
    SignalVerdict,
    TrainedOn,
)
from genner.contamination.completion import Completion
from genner.contamination.exact import Exact
from genner.contamination.mentions import MentionOverlap
from genner.contamination.name_recall import NameRecall
from genner.contamination.ngrams import Ngrams
from genner.contamination.order import Order
from genner.contamination.text_likelihood import TextLikelihood
from genner.errors import UnknownNameError, UsageError

SIGNALS: dict[str, type[Signal]] = {
    "exact": Exact,
    "ngrams": Ngrams,
    "mentions": MentionOverlap,
    "text_likelihood": TextLikelihood,
    "altered_copies": AlteredCopies,
    "answer_likelihood": AnswerLikelihood,
    "order": Order,
    "completion": Completion,
    "name_recall": NameRecall,
}


def named(names: str | None) -> tuple[str, ...]:
    """The signals of a comma-separated list, each once; all by default. Raises `UnknownNameError`, `UsageError`."""
    if names is None:
        return tuple(SIGNALS)
    found = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in found:
        if name not in SIGNALS:
            raise UnknownNameError("signal", name, SIGNALS)
    if not found:
        raise UsageError(f"no signal is named; legal: {', '.join(SIGNALS)}")
    return found


__all__ = [
    "SIGNALS",
    "SIGNAL_VERDICTS",
    "ContaminationCase",
    "Finding",
    "Measure",
    "Signal",
    "SignalVerdict",
    "TrainedOn",
    "named",
]
