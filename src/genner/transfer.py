"""Scores for unseen labels, on which the model's scores were not fitted; most are new to the model itself, too.

With new labels, a model finds the correct words more often than the correct label, and its confidence says little about
either. So these scores have their own formula, a logistic regression on informative features, fitted on held-out label
sets, on which the model was not trained (`genner.training.transfer_fitting`):

    score = sigmoid(sum of weight * log-odds over the kinds of decisions + sum of effect * feature + offset)

The formula cannot tell how well the model does on a new label set as a whole. A few annotated sentences of the set can:
each set in the fit has an additional offset of its own.

Weights are 0 or more, so a more probable decision never scores less. The features (`features`) describe the label and
all labels that were asked for, not the text.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, expm1, log
from typing import Any

from genner.document import Label, LabelSet
from genner.token_groups import Decisions
from genner.trained import Trained

LEAST, MOST = -8.0, 10.0  # log-odds of a decision are clipped to this range
PROMISED = 0.12
"""Maximum mean expected calibration error, on sets left out of the fit, for scores to be called calibrated."""

FEATURES = {
    "new": "1 for a label that is new to the model (see `genner.trained`), 0 for one that it knows by name",
    "known": "the share of all labels asked for that it knows by name",
    "labels": "the logarithm of their number",
    "defined": "1 for a label that was asked for with a definition",
    "familiar": "the share of the words of its tag and name that are in names or definitions of the training",
}


def features(labels: LabelSet, trained: Trained) -> Mapping[str, Mapping[str, float]]:
    """The `FEATURES` of each label, by tag."""
    return _features(labels, trained)


@lru_cache(maxsize=256)
def _features(labels: LabelSet, trained: Trained) -> dict[str, dict[str, float]]:
    new, vocabulary = set(trained.new(labels)), _vocabulary(trained)
    shared = {"known": 1 - len(new) / len(labels), "labels": log(len(labels))}
    return {
        label.tag: {
            "new": float(label.tag in new),
            **shared,
            "defined": float(bool(label.definition)),
            "familiar": _share(_words(label), vocabulary),
        }
        for label in labels
    }


@lru_cache(maxsize=16)
def _vocabulary(trained: Trained) -> frozenset[str]:
    return frozenset(
        word for _, labels in trained.sets for label in labels for word in (*_words(label), *_split(label.definition))
    )


def _words(label: Label) -> frozenset[str]:
    return frozenset((*_split(label.tag), *_split(label.name)))


def _split(text: str) -> Iterable[str]:
    """The words of a name, casefolded, without a plural's s: the same for `PhysicalObject` and `physical_objects`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return (word.removesuffix("s") for word in re.findall(r"[^\W\d_]+", apart.casefold()))


def _share(some: frozenset[str], of: frozenset[str]) -> float:
    return len(some & of) / len(some) if some else 0.0


def odds(logprob: float) -> float:
    """The log-odds of a decision, from its log-probability; clipped to [`LEAST`, `MOST`]."""
    logprob = min(logprob, -1e-6)
    return min(max(logprob - log(-expm1(logprob)), LEAST), MOST)


def probability(odds: float) -> float:
    """The probability, in [0, 1], of log-odds."""
    return 1 / (1 + exp(-odds)) if odds > 0 else exp(odds) / (1 + exp(odds))


@dataclass(frozen=True)
class Transfer:
    """The score formula of a family of formats for unseen labels.

    Attributes:
        offsets: additional offsets of the held-out label sets in the fit, by their sorted tags.
        errors: by the same tags, the expected calibration error with that offset, by cross-validation.
        weights: weights of the log-odds of each kind of decision, 0 or more.
        effects: weights of `FEATURES`.
        offset: the intercept.
        format: the answer format that it was fitted on.
        error: the mean expected calibration error over the held-out sets, each scored by a fit on the others.
        sets: by held-out set, the number of sentences, of predicted entities and of correct ones, and the error before
            (by the scale fitted on the trained sets) and after.
    """

    weights: Mapping[str, float]
    effects: Mapping[str, float]
    offset: float
    format: str
    error: float
    sets: Mapping[str, Mapping[str, float]]
    offsets: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    errors: Mapping[tuple[str, ...], float] = field(default_factory=dict)

    def keeps(self, tags: tuple[str, ...]) -> bool:
        """Whether scores are calibrated for this label set, by its own offset; False if it was not in the fit."""
        return self.errors.get(tags, 1.0) <= PROMISED

    @property
    def holds(self) -> bool:
        """Whether these scores may be called calibrated: `error` is at most `PROMISED`."""
        return self.error <= PROMISED

    def odds(self, decided: Decisions, told: Mapping[str, float], tags: tuple[str, ...] = ()) -> float:
        """The log-odds that an entity is correct; `told`: its label's features, `tags`: all tags asked for, sorted."""
        total = self.offset + self.offsets.get(tags, 0.0)
        total += sum(weight * odds(decided[kind]) for kind, weight in self.weights.items())
        return total + sum(effect * told[name] for name, effect in self.effects.items())

    def score(self, decided: Decisions, told: Mapping[str, float], tags: tuple[str, ...] = ()) -> float:
        """The probability, in [0, 1], that an entity is correct."""
        return probability(self.odds(decided, told, tags))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; `genner.calibration` reads them back."""
        return {
            "weights": dict(self.weights),
            "effects": dict(self.effects),
            "offset": self.offset,
            "format": self.format,
            "error": self.error,
            "sets": {name: dict(one) for name, one in self.sets.items()},
            "fitted": [
                {"labels": list(tags), "offset": offset, "error": self.errors[tags]}
                for tags, offset in self.offsets.items()
            ],
        }
