"""One line of items.jsonl: a model's result on one item of a task. Everything else is computed from these."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from genner.data.json_stream import json_lines
from genner.data.records import json_bytes
from genner.errors import DataError
from genner.writing import atomic


@dataclass(frozen=True)
class AbilityItem:
    """An item, and the answer to it.

    id             the harness's task and the number of the item in it
    prompt_hash    SHA-256 of the (first) prompt, shots and template included: equal on all sides of a comparison
    answer         as generated, up to a stop string; for multiple choice, the likeliest text
    gold           the gold answers; for DROP each is a list of spans
    em, f1         in [0, 1]; None if the task has none. For multiple choice, `em` is the accuracy
    tokens         number of the answer's tokens; None if nothing was generated
    truncated      whether the answer reached the token limit
    loglikelihood  natural logarithm of the first gold answer's probability after the prompt, summed over `gold_tokens`
    others         the same for wrong answers of the same kind: a list of [loglikelihood, tokens]
    metrics        the harness's own scores of the item, by metric, or METRIC/FILTER
    """

    id: str
    prompt_hash: str
    answer: str | None
    gold: list[Any]
    em: float | None = None
    f1: float | None = None
    tokens: int | None = None
    truncated: bool | None = None
    loglikelihood: float | None = None
    gold_tokens: int | None = None
    others: list[tuple[float, int]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return self.answer is not None and not self.answer.strip()

    @property
    def per_token(self) -> float | None:
        """The gold answer's log-likelihood per token."""
        return self.loglikelihood / self.gold_tokens if self.loglikelihood is not None and self.gold_tokens else None

    @property
    def choice(self) -> float | None:
        """Whether the gold answer is likelier per token than every wrong one; a tie counts as wrong."""
        if not self.others or self.per_token is None:
            return None
        return float(self.per_token > max(value / tokens for value, tokens in self.others))


def write_items(path: Path, items: Iterable[AbilityItem]) -> None:
    """Write a whole file, or nothing. Raises `DataError`."""
    with atomic(path) as file:
        for item in items:
            file.write(json_bytes(asdict(item)) + b"\n")


def read_items(path: Path) -> list[AbilityItem]:
    """Raises `DataError` naming the line that is not an item."""
    known = {f.name for f in fields(AbilityItem)}
    items = []
    for number, raw in json_lines(path):
        try:
            raw["others"] = [(float(value), int(tokens)) for value, tokens in raw.get("others", [])]
            items.append(AbilityItem(**{key: value for key, value in raw.items() if key in known}))
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(str(path), f"is not an item of a measurement: {error}", number) from None
    return items
