"""Scores for labels that a model's scores were not fitted on: most often new to the model itself, too.

Where a model meets new labels, it finds the right words more often than the right label, and how sure it is says little
of either. So these scores have a formula of their own, a logistic regression on what tells, fitted on sets of labels
that the model was not trained on (`genner.training.transfer_fitting`):

    score = sigmoid(sum of weight * log-odds over the kinds of decisions + sum of effect * feature + offset)

How well a new label set goes as a whole cannot be told from that. A few sentences of it tell: each set that was fitted
on has an offset of its own besides.

Weights are 0 or more, so a more probable decision never scores less. Features (`features`) are of the label and of all
labels that were asked for; what the text is like takes no part.
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

LEAST, MOST = -8.0, 10.0  # log-odds of a decision are taken for no less and no more
PROMISED = 0.12
"""Up to which mean expected calibration error, of sets that had no part in the fit, scores are called calibrated."""

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
    """The words of a name, `PhysicalObject` and `physical_objects` alike: without a plural's s."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return (word.removesuffix("s") for word in re.findall(r"[^\W\d_]+", apart.casefold()))


def _share(some: frozenset[str], of: frozenset[str]) -> float:
    return len(some & of) / len(some) if some else 0.0


def odds(logprob: float) -> float:
    """The log-odds of a decision, from the log of its probability; from `LEAST` to `MOST`."""
    logprob = min(logprob, -1e-6)
    return min(max(logprob - log(-expm1(logprob)), LEAST), MOST)


def probability(odds: float) -> float:
    """The probability, in [0, 1], of log-odds."""
    return 1 / (1 + exp(-odds)) if odds > 0 else exp(odds) / (1 + exp(odds))


@dataclass(frozen=True)
class Transfer:
    """How the decisions of a family of formats make a score, for labels that were not fitted on.

    Attributes:
        offsets: what is added besides for the label sets that it was fitted on, by their sorted tags.
        errors: by the same, the expected calibration error with that offset, by cross-validation.
        weights: of the log-odds of each kind of decision, 0 or more.
        effects: of each of `FEATURES`.
        offset: what is added.
        format: the answers' format that it was fitted on.
        error: the mean expected calibration error over the held-out sets, each scored by a fit on the others.
        sets: by held-out set, its sentences, entities found, how many of them are right, and the error before (by the
            scale of the sets that were fitted on) and after.
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
        """Whether scores are calibrated for this label set, one that it was fitted on."""
        return self.errors.get(tags, 1.0) <= PROMISED

    @property
    def holds(self) -> bool:
        """Whether these scores may be called calibrated: `error` is `PROMISED` at most."""
        return self.error <= PROMISED

    def odds(self, decided: Decisions, told: Mapping[str, float], tags: tuple[str, ...] = ()) -> float:
        """The log-odds that an entity is right; `told`: the features of its label, `tags`: all asked for, sorted."""
        total = self.offset + self.offsets.get(tags, 0.0)
        total += sum(weight * odds(decided[kind]) for kind, weight in self.weights.items())
        return total + sum(effect * told[name] for name, effect in self.effects.items())

    def score(self, decided: Decisions, told: Mapping[str, float], tags: tuple[str, ...] = ()) -> float:
        """The probability, in [0, 1], that an entity is right."""
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
