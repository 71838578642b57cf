"""Labels as texts, and networks that read a text once for each label, after that label's text as a query.

A batch of windows becomes pairs of window and label. Pairs of similar length go through the encoder together, whatever
their label, so that many labels are a few large passes. Training can leave out some of the pairs without an entity,
which are most of them; published systems use all.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from genner.document import LabelSet
from genner.errors import UsageError
from genner.rivals.encoder import Encoded, WordEncoder
from genner.rivals.network import RivalNetwork
from genner.rivals.overlaps import best_first, overlap
from genner.rivals.words import ScoredSpan, Window

LabelText = Literal["definition", "name", "tag"]
"""What stands for a label. A label without a definition is described by its name, one without a name by its tag."""

PASS = 64
"""The maximum number of pairs in one pass of the encoder."""

SHORTEST_ROOM = 8
"""The minimum number of pieces that a query has to leave to the text."""


class Pair(NamedTuple):
    """A window and a label of a batch, by number."""

    window: int
    label: int


class QueryOptions(Protocol):
    """Options of all `QueryNetwork`s."""

    @property
    def query(self) -> str:
        """See `LabelText`."""
        ...

    @property
    def negatives(self) -> float:
        """Share of the pairs without an entity that a training step uses, in [0, 1]."""
        ...


def check_label_text(how: str, rival: str) -> None:
    """Raise `UsageError` if `how` is no `LabelText`."""
    if how not in get_args(LabelText):
        raise UsageError(f"[{rival}] query = {how!r}; legal: {', '.join(get_args(LabelText))}")


def label_texts(labels: LabelSet, how: str, encoder: WordEncoder) -> list[str]:
    """The text of each label. Raises `UsageError` where the encoder cannot tell two of them apart."""
    texts = []
    for label in labels.labels:
        name = label.name if how != "tag" else ""
        definition = label.definition if how == "definition" else ""
        texts.append(definition or name or label.tag.replace("_", " "))
    seen: dict[tuple[int, ...], str] = {}
    for label, text in zip(labels.labels, texts, strict=True):
        pieces = tuple(encoder.text_pieces(text))
        if pieces in seen:
            raise UsageError(
                f"labels {seen[pieces]!r} and {label.tag!r} are the same text for the encoder ({text!r}); give them "
                "different definitions or names in the label file"
            )
        seen[pieces] = label.tag
    return texts


class QueryNetwork(RivalNetwork):
    """A network that answers one query for each label. Subclasses define `loss` and `answers`.

    Raises `UsageError` where a query leaves the text no room in the encoder's input.
    """

    options: QueryOptions

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: QueryOptions) -> None:
        super().__init__(encoder, labels, options)
        self.queries = label_texts(labels, options.query, encoder)
        self.costs = [encoder.query_cost(query) for query in self.queries]
        longest = max(range(len(self.costs)), key=lambda k: self.costs[k])
        if self.room < SHORTEST_ROOM:
            raise UsageError(
                f"the query of label {labels.tags[longest]!r} takes {self.costs[longest]} of the encoder's "
                f"{encoder.limit} pieces and leaves no room for a text; give a shorter definition, or query = 'name'"
            )

    @property
    def room(self) -> int:
        return self.encoder.limit - max(self.costs)

    @abstractmethod
    def answers(self, encoded: Encoded) -> list[list[tuple[int, int, float]]]:
        """The spans that answer the query of each pair: words [start, end), half-open, and a score in [0, 1]."""

    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        found: list[list[ScoredSpan]] = [[] for _ in windows]
        everything = [Pair(i, k) for i in range(len(windows)) for k in range(len(self.queries))]
        for pairs, encoded in self.passes(windows, everything):
            for pair, spans in zip(pairs, self.answers(encoded), strict=True):
                tag = self.labels.tags[pair.label]
                found[pair.window] += [ScoredSpan(start, end, tag, score) for start, end, score in spans]
        return [flat_or_all(spans, self.labels) for spans in found]

    def training_pairs(self, windows: Sequence[Window]) -> list[Pair]:
        """The pairs of a training step: all with an entity, and the share `negatives` of the others, drawn anew.

        One pair at least.
        """
        answered = [{self.number[e.label] for e in window.entities} for window in windows]
        pairs = [Pair(i, k) for i in range(len(windows)) for k in range(len(self.queries))]
        if self.options.negatives >= 1:
            return pairs
        drawn = (torch.rand(len(pairs)) < self.options.negatives).tolist()
        kept = [pair for pair, draw in zip(pairs, drawn, strict=True) if draw or pair.label in answered[pair.window]]
        return kept or pairs[:1]

    def passes(self, windows: Sequence[Window], pairs: Iterable[Pair]) -> Iterator[tuple[list[Pair], Encoded]]:
        """Encode pairs, those of similar length together."""
        ordered = sorted(pairs, key=lambda pair: (len(windows[pair.window].words) + self.costs[pair.label], pair))
        for begin in range(0, len(ordered), PASS):
            some = ordered[begin : begin + PASS]
            yield some, self.encoder([windows[pair.window] for pair in some], [self.queries[k] for _, k in some])


def flat_or_all(spans: list[ScoredSpan], labels: LabelSet) -> list[ScoredSpan]:
    """All spans in reading order; for flat labels (depth 1) the best first, without those that overlap a better one."""
    if labels.depth == 1:
        return best_first(spans, overlap)
    return sorted(spans, key=lambda s: (s.start, -s.end, s.label))


def places(rows: Sequence[Iterable[int]], width: int, device: torch.device) -> Tensor:
    """A mask [rows, width], True at the places that each row names."""
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        mask[i, list(row)] = True
    return mask.to(device)
