"""Two sides on the same items: the changes, their uncertainty, and how much is due only to the answers' form."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any

import numpy as np

from genner.ability.answer_truncation import same_length, short, window
from genner.ability.items import AbilityItem
from genner.ability.qa_metrics import ANSWER_WORDS, SCORERS, flat
from genner.errors import UsageError
from genner.evaluation.intervals import mean
from genner.evaluation.jackknife import Difference

CUTS = ("short", "same_length", "window")
MEASURES = ("em", "f1", "empty", "tokens", "per_token", "choice")
"""The compared fields and properties of an `AbilityItem`."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A mean over items on two sides, and its change: `value` = `other` - `base`, over the `n` items that have it.

    `se` is the standard error of the change over the items, `low` and `high` its paired t interval at 95 %, `p`
    two-sided; `p <= 0.05` if and only if the interval excludes 0 (`genner.evaluation.intervals`). `difference` is the
    same for a test of several differences; for a single item it is not `known`.
    """

    base: float
    other: float
    value: float
    se: float
    low: float
    high: float
    p: float
    n: int
    difference: Difference = field(repr=False, compare=False)

    @property
    def sure(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.difference.sure

    def to_dict(self) -> dict[str, float | None]:
        """As JSON types; interval and p value are None for a single item."""
        names = [f.name for f in fields(self) if f.name != "difference"]
        unknown = () if self.difference.known else ("se", "low", "high", "p")
        return {name: None if name in unknown else getattr(self, name) for name in names}


def pairs(base: Sequence[AbilityItem], other: Sequence[AbilityItem]) -> list[tuple[AbilityItem, AbilityItem]]:
    """The items of two sides, side by side. Raises `UsageError` unless both saw the same prompts."""
    by_id = {item.id: item for item in other}
    both = [(item, by_id[item.id]) for item in base if item.id in by_id]
    strange = [a.id for a, b in both if a.prompt_hash != b.prompt_hash]
    if len(both) != len(base) or len(both) != len(other) or strange or not both:
        what = f"item {strange[0]} has another prompt" if strange else f"{len(base)} and {len(other)} items"
        raise UsageError(
            f"the two sides did not see the same: {what} ({len(both)} items are in both); measure both with the same "
            "limit, seed and shots"
        )
    return both


def delta(base: Sequence[float], other: Sequence[float]) -> PairedDifference:
    """The change of the mean of paired values. Raises `UsageError` without any values."""
    if not base or len(base) != len(other):
        raise UsageError(f"{len(base)} and {len(other)} values; give pairs, at least one")
    values = np.stack([np.asarray(base, float), np.asarray(other, float)], axis=1)  # [n, 2]
    shares = bool(((values >= 0) & (values <= 1)).all())
    found = mean(values[:, 1] - values[:, 0], "items", *((-1, 1) if shares else (-inf, inf))).difference()
    return PairedDifference(
        base=float(values[:, 0].mean()),
        other=float(values[:, 1].mean()),
        value=found.value,
        se=found.se,
        low=found.low,
        high=found.high,
        p=found.p,
        n=len(values),
        difference=found,
    )


def deltas(base: Sequence[AbilityItem], other: Sequence[AbilityItem]) -> dict[str, PairedDifference]:
    """The change of each measure that the items of both sides have, and of the harness's scores, as `harness/METRIC`.

    `f1_answered` and `em_answered` cover the items for which both sides give a non-empty answer. Raises as `pairs`.
    """
    both = pairs(base, other)
    columns: dict[str, list[tuple[Any, Any]]] = {
        name: [(getattr(a, name), getattr(b, name)) for a, b in both] for name in MEASURES
    }
    if all(a.answer is None or a.tokens is None for a, _ in both):  # nothing was generated
        columns.pop("empty")
    answered = [(a, b) for a, b in both if not a.empty and not b.empty]
    if len(answered) < len(both):
        columns["em_answered"] = [(a.em, b.em) for a, b in answered]
        columns["f1_answered"] = [(a.f1, b.f1) for a, b in answered]
    for name in sorted({name for item, _ in both for name in item.metrics}):
        columns[f"harness/{name}"] = [(a.metrics.get(name), b.metrics.get(name)) for a, b in both]
    found = {}
    for name, column in columns.items():
        known = [(float(a), float(b)) for a, b in column if a is not None and b is not None]
        if known:
            found[name] = delta([a for a, _ in known], [b for _, b in known])
    return found


@dataclass(frozen=True, slots=True)
class DifferencePart:
    """One part of a change: points of F1 in [-1, 1], its standard error, and its interval at 95 %."""

    value: float
    se: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A change of F1 as a sum: `total` = `empty` + `form` + `content`, under one truncation of the answers.

    empty    from the items for which exactly one side gives an empty answer
    form     from the part that is cut off, on the items that both answer: what brevity has gained (or lost)
    content  from the truncated answers, on the items that both answer: what remains when both have the same form
    """

    cut: str
    total: DifferencePart
    empty: DifferencePart
    form: DifferencePart
    content: DifferencePart


def decompose(task: str, base: Sequence[AbilityItem], other: Sequence[AbilityItem]) -> list[Decomposition]:
    """How much of a change of F1 is explained by empty answers and by answers' length and form, for each truncation.

    Let F(x) be the F1 of an answer x, c(x) the truncated answer (see `genner.ability.answer_truncation`), and b and a
    the answers of the base and of the other side. Each item adds to the parts below, which are divided by the number of
    all items:

        one of the two is empty     F(a) - F(b)                                        empty
        both say something          [F(a) - F(c(a))] - [F(b) - F(c(b))]                form
                                    F(c(a)) - F(c(b))                                  content
        both are empty              nothing

    The three parts add up exactly to the change, item by item, and their standard errors are computed over items.

    Limits: an item that was empty and is now correct counts under `empty`, whether or not the base knew the answer. If
    the base knew it but did not answer, the log-likelihood of the gold answer (`per_token`) and its rank among wrong
    answers of the same kind (`choice`) do not rise; they do not depend on generated answers. `content` favours the
    brief side under `same_length` and the wordy side under `window`.

    Raises `UsageError` for a task that has no F1, and as `pairs`.
    """
    if task not in SCORERS:
        raise UsageError(f"task {task!r} has no F1 to take apart; those that have: {', '.join(SCORERS)}")
    both = pairs(base, other)
    found = []
    for cut in CUTS:
        rows = np.array([_parts(task, cut, a, b) for a, b in both])  # [n, 3]: empty, form, content
        rows = np.concatenate([rows.sum(axis=1, keepdims=True), rows], axis=1)  # [n, 4]
        found_parts = [mean(column, "items", -1, 1).difference() for column in rows.T]
        total, empty, form, content = (DifferencePart(d.value, d.se, d.low, d.high) for d in found_parts)
        found.append(Decomposition(cut, total, empty, form, content))
    return found


def _parts(task: str, cut: str, base: AbilityItem, other: AbilityItem) -> tuple[float, float, float]:
    """An item's contribution to the parts `empty`, `form` and `content`."""
    b, a = (item.answer or "" for item in (base, other))

    def f1(answer: str) -> float:
        return SCORERS[task](answer, base.gold)[1]

    change = f1(a) - f1(b)
    if base.empty or other.empty:
        return change, 0.0, 0.0
    if cut == "short":
        b, a = short(b), short(a)
    elif cut == "same_length":
        b, a = same_length(b, a)
    else:
        known = {word for gold in flat(base.gold) for word in ANSWER_WORDS[task](gold)}
        b, a = (window(text, lambda t: SCORERS[task](t, base.gold), ANSWER_WORDS[task], known) for text in (b, a))
    content = f1(a) - f1(b)
    return 0.0, change - content, content
