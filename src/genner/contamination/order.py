"""The order of the file: are its documents likelier in their own order than shuffled?"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from genner.contamination.base import ADAPTER, BASE, ContaminationCase, Finding, Measure, Signal
from genner.contamination.resumable import ResumableItems
from genner.contamination.statistics import mean_difference
from genner.document import Document

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel

SHARD_TOKENS = 512
"""Tokens per shard: as many units as fit, at least two, each truncated to its share if they do not fit."""
SHUFFLES = 4
MIN_SHARDS = 8


@dataclass(frozen=True)
class Order(Signal):
    """Whether the file is likelier in its own order than in others: a model that has read it knows what comes next.

    Shows: that the file itself was read as published, if its units are exchangeable: then all orders are equally likely
    to a model that has not read it, and the p value is exact. The file is split into shards; the value of a shard is
    its log-likelihood in its own order minus the mean over up to four shuffles, in nats. `order` is the mean over
    shards, tested one-sided. For an adapter, `over_base` is its value minus that of its base: what training has added.
    Cannot show: anything if neighbours are related, like the sentences of an article, which any model finds likelier in
    order. So whole articles are shuffled if the documents have groups; if they have none, only the difference from the
    base is tested, and the base is `unknown`. Training that shuffles its sentences, like genner's, leaves no trace
    here. The published test needs a few thousand examples and models of a billion parameters or more to detect a file
    that was read a few times.
    Source: Oren et al. (2024), "Proving Test Set Contamination in Black Box Language Models" (the sharded test; the
    paper uses Student's t, we use a sign-flip test).
    """

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        grouped = all(document.group for document in case.test)
        units = _units(case.test, grouped)
        found = {side.name: self._differences(side, units, len(case.sample), kept) for side in sides}
        names = "articles" if grouped else "documents"
        findings = []
        for side in sides:
            differences = found[side.name]
            if len(differences) < MIN_SHARDS:
                said = f"{len(differences)} shards of {names} are too few; it takes {MIN_SHARDS}"
                findings.append(Finding(side.name, "unknown", said))
                continue
            measures = {"order": mean_difference(differences, self.seed)}
            if side.name == ADAPTER and BASE in found:
                added = [a - b for a, b in zip(differences, found[BASE], strict=True)]
                measures["over_base"] = mean_difference(added, self.seed)
            findings.append(_finding(side.name, measures, grouped, names))
        return findings

    def _differences(
        self, side: "LanguageModel", units: Sequence[str], documents: int, kept: ResumableItems
    ) -> list[float]:
        """For each shard, how much likelier its own order is than the mean of other orders, in nats.

        Takes evenly spaced shards that together hold about `documents` units.
        """
        encoded = kept.fill(
            f"length, {side.name}", list(units), lambda places: ((i, len(side.encode(units[i]))) for i in places)
        )
        shards = list(_shards(encoded))
        number = max(MIN_SHARDS, documents * len(shards) // max(1, len(units)))
        if number < len(shards):
            shards = [shards[i * len(shards) // number] for i in range(number)]
        orders = [self._orders(shard) for shard in shards]
        asked = [[units[i] for i in order] for some in orders for order in some]

        def compute(places: list[int]) -> Iterator[tuple[int, Any]]:
            rows = []
            for place in places:
                room = SHARD_TOKENS // len(asked[place])
                ids = [side.encode(text + "\n") for text in asked[place]]
                whole = sum(map(len, ids)) <= SHARD_TOKENS  # otherwise each is truncated to its share
                rows.append(([token for some in ids for token in (some if whole else some[:room])], 0))
            for row, scored in side.score(rows):
                yield places[row], sum(scored.logp)

        values = iter(kept.fill(f"orders, {side.name}", asked, compute))
        each = [[next(values) for _ in some] for some in orders]
        return [one[0] - sum(one[1:]) / len(one[1:]) for one in each]

    def _orders(self, shard: Sequence[int]) -> list[list[int]]:
        """The shard's own order, and some others, all different."""
        dice, found = random.Random(f"{self.seed}:{shard[0]}"), [list(shard)]
        while len(found) < 1 + (SHUFFLES if len(shard) > 2 else 1):
            other = dice.sample(list(shard), len(shard))
            if other not in found:
                found.append(other)
        return found


def _units(documents: Sequence[Document], grouped: bool) -> list[str]:
    """The texts to be ordered: one for each run of documents of one group, or for each document."""
    if not grouped:
        return [document.text for document in documents]
    return ["\n".join(d.text for d in some) for _, some in groupby(documents, key=lambda document: document.group)]


def _shards(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive units, as many as fit the window, at least two; a single last unit is left out."""
    shard: list[int] = []
    for i, length in enumerate(lengths):
        if len(shard) >= 2 and sum(lengths[k] for k in shard) + length > SHARD_TOKENS:
            yield shard
            shard = []
        shard.append(i)
    if len(shard) >= 2:
        yield shard


def _finding(side: str, measures: dict[str, Measure], grouped: bool, names: str) -> Finding:
    order, added = measures["order"], measures.get("over_base")
    said = f"the file's own order of {names} is likelier by {order} nats a shard of {order.n} (p = {order.p:.3f})"
    if added:
        said += f"; more than to the base by {added} (p = {added.p:.3f})"
    tested = added if added else order if grouped else None
    if tested is None:
        return Finding(side, "unknown", f"{said}; neighbouring {names} may hang together, which is likelier to any "
                       "model; give documents that say which article they are of", measures)  # fmt: skip
    if tested.p is not None and tested.p <= 0.05:
        return Finding(side, "found", said, measures)
    return Finding(side, "unknown", f"{said}; whether a model that had read it would show it is not known", measures)
