"""BERT-MRC + DSC: questions for labels, trained with dice loss (Li et al., 2020, "Dice loss for data-imbalanced NLP
tasks", section 3, equations 7 to 10), as the published code has it: starts and ends without a head that matches them.

The input is `[CLS] query [SEP] text [SEP]`, once for each label. Two perceptrons with ReLU say of each word whether its
first piece begins an entity, and whether its last piece ends one; a third says at `[CLS]` whether there is any.

Dice loss, over all decisions of a batch together, not for each sentence, so it depends on the batch size as published:
with p = sigmoid(logit), p' = (1 - p)^alpha p, and the gold y in {0, 1},

    1 - (2 sum(p' y) + gamma) / (sum(p'^2) + sum(y^2) + gamma)

The loss is dice(starts) + dice(ends) + `answerable` x dice([CLS]). With `ohem` > 0 only the negatives of highest p
count: `ohem` for each positive, and one at least if there is a positive. A batch without a positive keeps all its
negatives. `loss = "bce"` replaces dice by the mean binary cross entropy: the same model without its loss, to tell
what the loss does.

`mask`: the decisions are those about words, as the paper means it. The published trainer forgets the mask:
`mask = false` adds the pieces of the query, special tokens, inner pieces and padding as negatives, and then the loss
depends on how a batch is padded.

Decoding, for each label: from left to right, a start takes the nearest end at or after it; starts within that span are
passed over. If `[CLS]` says with a probability of 0.5 or less that there is an entity, there is none. The score is the
lowest of the probabilities of start, end and `[CLS]`. For flat labels (depth 1) the span with the highest score is
taken first, and none that overlaps it.

It cannot express entities of one label that overlap; for flat labels, any that overlap. The longer one is kept for
training.

Differences from the published system of ShannonAI:
- a start without an end is nothing, where theirs can read it as an entity of one word;
- its metric passes gold through its own decoder, so that gold that it cannot express is no gold; here it is missed;
- nothing resolves a span with several labels there;
- [CLS] is the encoder's state, where theirs goes through BERT's pooler, which other encoders do not have;
- (1 - p)^alpha is computed from the logit, since its gradient is not finite where p rounds to 1;
- its threshold for `ohem` is off by one or more, and with no positive it takes the second lowest negative;
- it sums dice over 36 pairs of query and sentence (9 windows of CoNLL) and makes a step of 8 such sums; here the sum
  and the step are the same windows, all their queries included;
- windows, queries, betas and schedule differ as those of `genner.rivals.bert_mrc` do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genner.document import LabelSet
from genner.errors import UsageError
from genner.rivals.base import EncoderRival
from genner.rivals.encoder import Encoded, WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.overlaps import OVERLAPS, left_out, not_flat, overlap
from genner.rivals.queries import Pair, QueryNetwork, check_label_text, places
from genner.rivals.words import Window, WordEntity
from genner.toml_config import check

Loss = Literal["dice", "bce"]


@dataclass(frozen=True)
class DSCOptions:
    """Attributes:
    query: `definition`, `name` or `tag`: the text that asks for a label.
    loss: `dice` or `bce`.
    mask: leave out what is no word from the loss.
    alpha: exponent of the weight (1 - p).
    gamma: added to both sides of the fraction.
    ohem: negatives that count for each positive, the hardest first; 0: all. 0.3 for OntoNotes.
    answerable: weight of the loss at `[CLS]`; 0.4 for CoNLL, 0.2 for OntoNotes.
    dropout: before the perceptrons at words.
    negatives: share of the pairs of window and label without an entity in a training step, drawn anew each time;
        less than 1 saves time and raises recall at the cost of precision.
    """

    query: str = "definition"
    loss: str = "dice"
    mask: bool = True
    alpha: float = 0.01
    gamma: float = 1.0
    ohem: float = 0.0
    answerable: float = 0.4
    dropout: float = 0.2
    negatives: float = 1.0

    def __post_init__(self) -> None:
        check_label_text(self.query, "bert_mrc_dsc")
        if self.loss not in get_args(Loss):
            raise UsageError(f"[bert_mrc_dsc] loss = {self.loss!r}; legal: {', '.join(get_args(Loss))}")
        check(
            self,
            "bert_mrc_dsc",
            alpha=(0, inf),
            gamma=(0, inf),
            ohem=(0, inf),
            answerable=(0, inf),
            dropout=(0, 0.99),
            negatives=(0, 1),
        )


class Edges(NamedTuple):
    """Words that begin, and words that end entities of one label."""

    starts: frozenset[int]
    ends: frozenset[int]


class DSCNetwork(QueryNetwork):
    """See the module."""

    options: DSCOptions

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: DSCOptions) -> None:
        super().__init__(encoder, labels, options)
        self.dropout = nn.Dropout(options.dropout)
        self.start, self.end, self.any = (_perceptron(encoder.width) for _ in range(3))

    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        if self.labels.depth == 1:
            return not_flat(window.entities)
        return left_out(window.entities, lambda a, b: a.label == b.label and overlap(a, b), OVERLAPS)

    def targets(self, window: Window) -> list[Edges]:
        """The edges of each label."""
        starts: list[set[int]] = [set() for _ in self.labels.tags]
        ends: list[set[int]] = [set() for _ in self.labels.tags]
        for entity in window.entities:
            starts[self.number[entity.label]].add(entity.start)
            ends[self.number[entity.label]].add(entity.end - 1)
        return [Edges(frozenset(s), frozenset(e)) for s, e in zip(starts, ends, strict=True)]

    def read(self, targets: Sequence[Edges]) -> list[WordEntity]:
        """The entities that edges, one pair of sets for each label, encode."""
        return [
            WordEntity(i, j + 1, tag)
            for tag, edges in zip(self.labels.tags, targets, strict=True)
            for i, j in nearest_ends(sorted(edges.starts), sorted(edges.ends))
        ]

    def loss(self, windows: Sequence[Window]) -> Tensor:
        targets = [self.targets(window) for window in windows]
        logits: tuple[list[Tensor], ...] = ([], [], [])
        gold: tuple[list[Tensor], ...] = ([], [], [])
        for pairs, encoded in self.passes(windows, self.training_pairs(windows)):
            for i, (some, right) in enumerate(self._decisions(pairs, encoded, targets)):
                logits[i].append(some)
                gold[i].append(right)
        start, end, answerable = (
            self._compare(torch.cat(some), torch.cat(right)) for some, right in zip(logits, gold, strict=True)
        )
        return start + end + self.options.answerable * answerable

    def answers(self, encoded: Encoded) -> list[list[tuple[int, int, float]]]:
        answerable = self.any(encoded.cls).squeeze(-1).sigmoid().tolist()
        starts = self.start(self.dropout(encoded.pool("first"))).squeeze(-1).sigmoid().tolist()
        ends = self.end(self.dropout(encoded.pool("last"))).squeeze(-1).sigmoid().tolist()
        lengths = encoded.words.sum(1).tolist()
        found = []
        for sure, begin, finish, n in zip(answerable, starts, ends, lengths, strict=True):
            likely = [[i for i in range(n) if chances[i] > 0.5] for chances in (begin, finish)]
            spans = nearest_ends(*likely) if sure > 0.5 else []
            found.append([(i, j + 1, min(sure, begin[i], finish[j])) for i, j in spans])
        return found

    def _decisions(
        self, pairs: Sequence[Pair], encoded: Encoded, targets: Sequence[Sequence[Edges]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Logits [n] and gold [n] of the decisions about starts, about ends, and at `[CLS]`."""
        states = self.dropout(encoded.states)
        gold = [targets[pair.window][pair.label] for pair in pairs]
        width, device = encoded.words.shape[1], states.device
        made = []
        for head, place, rows in (
            (self.start, encoded.first, [edges.starts for edges in gold]),
            (self.end, encoded.last, [edges.ends for edges in gold]),
        ):
            every = head(states).squeeze(-1)  # [P, T]
            right = places(rows, width, device)  # [P, W]
            if self.options.mask:
                made.append((every.gather(1, place)[encoded.words], right[encoded.words]))
            else:
                row, word = right.nonzero(as_tuple=True)
                of_pieces = torch.zeros_like(every, dtype=torch.bool)
                of_pieces[row, place[row, word]] = True
                made.append((every.flatten(), of_pieces.flatten()))
        any_ = torch.tensor([bool(edges.starts) for edges in gold], device=device)
        return [*made, (self.any(encoded.cls).squeeze(-1), any_)]

    def _compare(self, logits: Tensor, gold: Tensor) -> Tensor:
        options = self.options
        if options.loss == "bce":
            return F.binary_cross_entropy_with_logits(logits, gold.float())
        return dice_loss(logits, gold, options.alpha, options.gamma, options.ohem)


def dice_loss(logits: Tensor, gold: Tensor, alpha: float, gamma: float, ohem: float = 0.0) -> Tensor:
    """The dice loss of the module, of logits [n] in float32 and gold [n] in {False, True}: a scalar in [0, 1]."""
    chances = logits.sigmoid() * torch.exp(-alpha * F.softplus(logits))  # 1 - sigmoid(x) = exp(-softplus(x))
    if ohem > 0:
        counted = hardest(logits.detach(), gold, ohem)
        chances, gold = chances[counted], gold[counted]
    right = gold.float()
    both = (chances * right).sum()
    return 1 - (2 * both + gamma) / (chances.square().sum() + right.sum() + gamma)


def hardest(logits: Tensor, gold: Tensor, ratio: float) -> Tensor:
    """A mask [n] of all positives and the negatives with the highest logits: `ratio` for each positive, one at least.

    Without a positive, all negatives.
    """
    positives = int(gold.sum())
    if positives == 0:
        return torch.ones_like(gold)
    negatives = (~gold).nonzero().squeeze(1)
    number = min(max(1, int(ratio * positives)), len(negatives))
    counted = gold.clone()
    counted[negatives[logits[negatives].topk(number).indices]] = True
    return counted


def nearest_ends(starts: Sequence[int], ends: Sequence[int]) -> list[tuple[int, int]]:
    """Spans (first, last word) of ascending starts and ends: each start with the nearest end at or after it.

    A start within the span before it, or without an end, has none.
    """
    spans: list[tuple[int, int]] = []
    for start in starts:
        if spans and start <= spans[-1][1]:
            continue
        end = next((end for end in ends if end >= start), None)
        if end is not None:
            spans.append((start, end))
    return spans


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))


class BertMRCDSC(EncoderRival):
    """The same without matching, trained with dice loss (Li et al. 2020)."""

    name = "bert_mrc_dsc"
    network_type = DSCNetwork
    options_type = DSCOptions
    fit_options = FitOptions(encoder_rate=3e-5, head_rate=3e-5, batch_size=9, epochs=10, warmup=0.01)
