"""BERT-MRC: each label is a question, and the spans that answer it are its entities (Li et al., 2020, "A unified MRC
framework for named entity recognition", sections 3 and 4).

The input is `[CLS] query [SEP] text [SEP]`, once for each label. With h_i the state of the first piece of word i and
e_j that of the last piece of word j, word i begins an entity with the logit w_s h_i + b_s, word j ends one with
w_e e_j + b_e (equations 1 and 2), and the two are one entity with W_2 GELU(W_1 [h_i ; e_j]), with dropout before W_2
(equation 3: there one linear layer; this is the published code).

Loss: binary cross entropy, mean over all words for starts, mean over all words for ends, and mean over candidate pairs
i <= j; the weights 1 : 1 : `match_weight` are divided by their sum (equations 4 to 7). Candidates are predicted starts
x predicted ends, and gold starts x gold ends (`pred_and_gold` of the published scripts).

Decoding: all pairs i <= j with a positive logit as start, as end and as pair. Labels are independent, so entities may
nest, cross and have several labels. The score is the probability of the pair. For flat labels (depth 1) the span with
the highest score is taken first, and none that overlaps it.

It can express everything; for flat labels, of two entities that overlap the longer one is kept for training.

Differences from the published system of ShannonAI:
- its flat decoding takes the nearest end of each start, and its metric does not use it: published flat scores count
  overlapping spans and several labels of one span;
- it shuffles pairs of query and sentence; here a step has all queries of its windows, so `batch_size` counts windows;
  theirs is 80 pairs for CoNLL, which has 4 labels, so 20 windows;
- it cuts sentences at its maximum length, gold included; here they are read in further windows, and a window is
  shorter by the longest query;
- its queries are written by hand for each corpus; here they are the definitions of the label set (`query`);
- W_1 [h_i ; e_j] is computed as the sum of two products, once for each word: the same function;
- a pass of the encoder in training uses at most `PAIRS` predicted candidates, drawn at random, since an untrained
  network has thousands;
- losses are in 32 bits; AdamW has its usual betas, where theirs has (0.9, 0.98) for some corpora; rates fall linearly.

`hidden` is 2,048 in their scripts, for encoders of width 1,024.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genner.document import LabelSet
from genner.rivals.base import EncoderRival
from genner.rivals.encoder import Encoded, WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.overlaps import not_flat
from genner.rivals.queries import QueryNetwork, check_label_text, places
from genner.rivals.words import Window, WordEntity
from genner.toml_config import check

PAIRS = 20_000
"""The maximum number of predicted candidates of a pass in training, and of pairs that are scored together."""


@dataclass(frozen=True)
class MRCOptions:
    """Attributes:
    query: `definition`, `name` or `tag`: the text that asks for a label.
    hidden: width of the hidden layer that scores pairs of start and end.
    dropout: in that layer; 0.3 for CoNLL and ACE, 0.2 for OntoNotes and GENIA.
    match_weight: weight of the loss of pairs, where starts and ends have 1 each.
    negatives: share of the pairs of window and label without an entity in a training step, drawn anew each time;
        less than 1 saves time and raises recall at the cost of precision.
    """

    query: str = "definition"
    hidden: int = 2048
    dropout: float = 0.3
    match_weight: float = 0.1
    negatives: float = 1.0

    def __post_init__(self) -> None:
        check_label_text(self.query, "bert_mrc")
        check(self, "bert_mrc", hidden=(1, inf), dropout=(0, 0.99), match_weight=(0, inf), negatives=(0, 1))


class Marks(NamedTuple):
    """What the network is to say about one label: words that begin and end entities, and (first, last) word of each."""

    starts: frozenset[int]
    ends: frozenset[int]
    matches: frozenset[tuple[int, int]]


class MRCNetwork(QueryNetwork):
    """See the module."""

    options: MRCOptions

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: MRCOptions) -> None:
        super().__init__(encoder, labels, options)
        self.start, self.end = nn.Linear(encoder.width, 1), nn.Linear(encoder.width, 1)
        self.from_start = nn.Linear(encoder.width, options.hidden)
        self.from_end = nn.Linear(encoder.width, options.hidden, bias=False)
        self.dropout = nn.Dropout(options.dropout)
        self.match = nn.Linear(options.hidden, 1)

    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        return not_flat(window.entities) if self.labels.depth == 1 else []

    def targets(self, window: Window) -> list[Marks]:
        """The marks of each label."""
        spans: list[set[tuple[int, int]]] = [set() for _ in self.labels.tags]
        for entity in window.entities:
            spans[self.number[entity.label]].add((entity.start, entity.end - 1))
        return [Marks(frozenset(i for i, _ in s), frozenset(j for _, j in s), frozenset(s)) for s in spans]

    def read(self, targets: Sequence[Marks]) -> list[WordEntity]:
        """The entities that marks, one for each label, encode."""
        return [
            WordEntity(i, j + 1, tag)
            for tag, marks in zip(self.labels.tags, targets, strict=True)
            for i in sorted(marks.starts)
            for j in sorted(marks.ends)
            if i <= j and (i, j) in marks.matches
        ]

    def loss(self, windows: Sequence[Window]) -> Tensor:
        targets = [self.targets(window) for window in windows]
        edges: Tensor | float = 0.0
        words = 0
        matches, right = [], []
        for pairs, encoded in self.passes(windows, self.training_pairs(windows)):
            first, last = encoded.pool("first"), encoded.pool("last")
            starts, ends = self._edges(first, last)
            gold = [targets[pair.window][pair.label] for pair in pairs]
            width, device = encoded.words.shape[1], starts.device
            gold_starts = places([marks.starts for marks in gold], width, device)
            gold_ends = places([marks.ends for marks in gold], width, device)
            for logits, wanted in ((starts, gold_starts), (ends, gold_ends)):
                losses = F.binary_cross_entropy_with_logits(logits, wanted.float(), reduction="none")
                edges = edges + losses[encoded.words].sum()
            words += int(encoded.words.sum())
            given = _pairs(gold_starts, gold_ends)
            found = _pairs((starts > 0) & encoded.words, (ends > 0) & encoded.words) & ~given
            chosen = torch.cat([given.nonzero(), _some(found.nonzero(), PAIRS)])
            matches.append(self._match(first, last, chosen))
            right += [(i, j) in gold[row].matches for row, i, j in chosen.tolist()]
        logits = torch.cat(matches)
        weight = self.options.match_weight
        total = edges / words
        if len(logits):
            wanted = torch.tensor(right, dtype=torch.float, device=logits.device)
            total = total + weight * F.binary_cross_entropy_with_logits(logits, wanted)
        return torch.as_tensor(total / (2 + weight))

    def answers(self, encoded: Encoded) -> list[list[tuple[int, int, float]]]:
        first, last = encoded.pool("first"), encoded.pool("last")
        starts, ends = self._edges(first, last)
        candidates = _pairs((starts > 0) & encoded.words, (ends > 0) & encoded.words).nonzero()
        found: list[list[tuple[int, int, float]]] = [[] for _ in range(len(starts))]
        for some in candidates.split(PAIRS):  # type: ignore[no-untyped-call]
            chances = self._match(first, last, some).sigmoid().tolist()
            for (row, i, j), chance in zip(some.tolist(), chances, strict=True):
                if chance > 0.5:
                    found[row].append((i, j + 1, chance))
        return found

    def _edges(self, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of starts and ends, [P, W] each, of the vectors [P, W, H] of the words' first and last pieces."""
        return self.start(first).squeeze(-1), self.end(last).squeeze(-1)

    def _match(self, first: Tensor, last: Tensor, chosen: Tensor) -> Tensor:
        """Logits [n] of the pairs `chosen`, [n, 3]: row, first word, last word."""
        width = first.shape[1]
        starts, from_start = (chosen[:, 0] * width + chosen[:, 1]).unique(return_inverse=True)  # type: ignore[no-untyped-call]
        ends, from_end = (chosen[:, 0] * width + chosen[:, 2]).unique(return_inverse=True)  # type: ignore[no-untyped-call]
        left = self.from_start(first.flatten(0, 1)[starts])
        right = self.from_end(last.flatten(0, 1)[ends])
        logits: Tensor = self.match(self.dropout(F.gelu(left[from_start] + right[from_end]))).squeeze(-1)
        return logits


def _pairs(starts: Tensor, ends: Tensor) -> Tensor:
    """Pairs of a start and an end that is not before it, [P, W, W], of masks [P, W]."""
    return (starts.unsqueeze(2) & ends.unsqueeze(1)).triu()


def _some(rows: Tensor, most: int) -> Tensor:
    """At most so many of the rows, drawn at random."""
    return rows if len(rows) <= most else rows[torch.randperm(len(rows), device=rows.device)[:most]]


class BertMRC(EncoderRival):
    """Labels are questions, spans are answers (Li et al. 2020)."""

    name = "bert_mrc"
    network_type = MRCNetwork
    options_type = MRCOptions
    fit_options = FitOptions(encoder_rate=3e-5, head_rate=3e-5, batch_size=20, epochs=20, warmup=0.0)
