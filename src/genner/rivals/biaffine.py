"""Biaffine, and Biaffine+CNN: a score of each label for each pair of words.

Biaffine scores of spans are of Yu et al. (2020), "Named Entity Recognition as Dependency Parsing"; the form here, with
several heads, sigmoids and a symmetric target, and the CNN over the grid are of Yan et al. (2023), "An Embarrassingly
Easy but Strong Baseline for Nested Named Entity Recognition". `biaffine` is their net without the CNN.

For words i and j with vectors x (the maximum over a word's pieces), section 2:

    h_i = LeakyReLU(W_h x_i)      t_j = LeakyReLU(W_t x_j)
    S_ij = [h_i^k' U_k t_j^k for each head k] + W [h_i; 1; t_j; 1; size(j - i)]        (channels)
    S' = CNN(S);   scores_ij = W_o (S_ij + S'_ij)                                      (labels)

The CNN has `depth` blocks, each {3x3 convolution of the masked input, plus the output of the block before it,
LayerNorm over channels, GELU}. The published class builds one more convolution after the last block but returns the
output of the last LayerNorm: its last GELU and last convolution do nothing. This is the default; `last_convolution`
returns the output of that convolution.

Loss: a sigmoid's binary cross entropy at (i, j) and at (j, i), summed over cells and labels of a window, mean over
windows. Long sentences weigh more; the published rates go with that sum.

Decoding: the mean of the probabilities at (i, j) and (j, i); spans whose best label has at least `threshold`, the best
first, unless they cross one chosen before. A span has its best label only.

What it cannot express: crossing entities, and a second label of one span.

Differences from the published code: entities that cannot be decoded are not trained on (there they are targets); words
after the input's limit are read in a further window; training sentences are not packed together; float32 instead of
half precision. W [h; 1; t; 1; size] is computed as the sum of its three parts, the same function without the
concatenated grid.

Published settings (GENIA, BioBERT): the defaults. ACE 2005, RoBERTa-base: channels 120, hidden 200, heads 5, depth 2,
rates 2e-5 and 2e-3, batch 48, 50 epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genner.document import LabelSet
from genner.errors import UsageError
from genner.rivals.base import EncoderRival
from genner.rivals.encoder import WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.grid import best_nested, convolve, pairs, parts, places
from genner.rivals.network import RivalNetwork
from genner.rivals.overlaps import not_nested
from genner.rivals.words import ScoredSpan, Window, WordEntity
from genner.toml_config import check

SPAN_SIZES = 30  # embedded differences of places: -15 to 14, others clipped


@dataclass(frozen=True)
class BiaffineOptions:
    """Attributes:
    channels: features of a cell.
    hidden: width of the vectors of first and last words.
    heads: heads of the biaffine product; divide `channels` and `hidden`.
    size_width: width of the embedding of a span's size.
    dropout: of words' vectors before and after their layer, and of sizes.
    threshold: minimum probability of an entity.
    """

    channels: int = 200
    hidden: int = 400
    heads: int = 4
    size_width: int = 25
    dropout: float = 0.4
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_options(self, "biaffine")


@dataclass(frozen=True)
class BiaffineCnnOptions(BiaffineOptions):
    """Attributes:
    depth: blocks of the CNN.
    grid_dropout: of the grid before the CNN.
    last_convolution: end with the convolution that the published code builds and does not use.
    """

    depth: int = 3
    grid_dropout: float = 0.0
    last_convolution: bool = False

    def __post_init__(self) -> None:
        check_options(self, "biaffine_cnn")
        check(self, "biaffine_cnn", depth=(1, inf), grid_dropout=(0, 0.99))


def check_options(options: BiaffineOptions, name: str) -> None:
    """Raise `UsageError` naming the first value outside its range."""
    check(
        options,
        name,
        channels=(1, inf),
        hidden=(1, inf),
        heads=(1, inf),
        size_width=(1, inf),
        dropout=(0, 0.99),
        threshold=(0, 1),
    )
    for field in ("channels", "hidden"):
        if getattr(options, field) % options.heads:
            raise UsageError(
                f"[{name}] {field} = {getattr(options, field)} is no multiple of heads = {options.heads}; change one"
            )


class BiaffineNetwork(RivalNetwork):
    """See the module."""

    options: BiaffineOptions

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: BiaffineOptions) -> None:
        super().__init__(encoder, labels, options)
        width, channels = options.hidden, options.channels
        self.head, self.tail = (
            nn.Sequential(nn.Dropout(options.dropout), nn.Linear(encoder.width, width), nn.LeakyReLU())
            for _ in range(2)
        )
        self.dropout = nn.Dropout(options.dropout)
        within = width // options.heads
        shape = options.heads, channels // options.heads, within, within
        self.product = nn.Parameter(nn.init.xavier_normal_(torch.empty(shape)))
        self.sizes = nn.Embedding(SPAN_SIZES, options.size_width)
        both = torch.empty(channels, 2 * (width + 1) + options.size_width)
        self.sum = nn.Parameter(nn.init.xavier_normal_(both))
        self.output = nn.Linear(channels, len(labels.tags))

    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        return not_nested(window.entities)

    def targets(self, window: Window) -> Tensor:
        """1 at both cells of each entity's first and last word, [W, W, labels]; else 0."""
        size = len(window.words)
        grid = torch.zeros(size, size, len(self.labels.tags))
        for start, end, label in window.entities:
            grid[start, end - 1, self.number[label]] = grid[end - 1, start, self.number[label]] = 1
        return grid

    def read(self, chances: Tensor) -> list[WordEntity]:
        """The entities that probabilities [W, W, labels] encode."""
        return [WordEntity(*span[:3]) for span in self.scored(chances)]

    def scored(self, chances: Tensor) -> list[ScoredSpan]:
        """The same, with scores."""
        best, label = ((chances + chances.transpose(0, 1)) / 2).max(-1)
        over = places((best >= self.options.threshold).triu())
        scores, labels = best.tolist(), label.tolist()
        found = [ScoredSpan(i, j + 1, self.labels.tags[labels[i][j]], scores[i][j]) for i, j in over]
        return best_nested(found, len(chances))

    def loss(self, windows: Sequence[Window]) -> Tensor:
        scores, cells = self._scores(windows)
        gold = torch.zeros(scores.shape)
        for i, window in enumerate(windows):
            size = len(window.words)
            gold[i, :size, :size] = self.targets(window)
        wrong = F.binary_cross_entropy_with_logits(scores, gold.to(scores.device), reduction="none")
        return (wrong * cells.unsqueeze(-1)).sum() / len(windows)

    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        found = []
        for part in parts(windows):
            chances = self._scores(part)[0].sigmoid().cpu()
            sizes = [len(window.words) for window in part]
            found += [self.scored(grid[:size, :size]) for grid, size in zip(chances, sizes, strict=True)]
        return found

    def refined(self, grid: Tensor, cells: Tensor) -> Tensor:
        """What is added to the grid [B, W, W, channels] before the scores of labels: nothing here."""
        return grid

    def grid(self, vectors: Tensor) -> Tensor:
        """The grid [B, W, W, channels] of words' vectors [B, W, H]."""
        heads = self.options.heads
        head, tail = self.head(vectors), self.tail(vectors)
        half = torch.einsum("bihx,hdxy->bhidy", head.unflatten(-1, (heads, -1)), self.product)
        product = torch.einsum("bhidy,bjhy->bijhd", half, tail.unflatten(-1, (heads, -1))).flatten(-2)
        first, last, size = self._sum(head, tail)
        return product + first.unsqueeze(2) + last.unsqueeze(1) + size

    def _sum(self, head: Tensor, tail: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The parts of W [h; 1; t; 1; size]: of first words and of last words [B, W, C], of sizes [W, W, C]."""
        width = self.options.hidden + 1
        of_head, of_tail, of_size = torch.split(self.sum, [width, width, self.options.size_width], 1)
        first, last = (self.dropout(F.pad(vectors, (0, 1), value=1.0)) for vectors in (head, tail))
        place = torch.arange(head.shape[1], device=head.device)
        size = (place - place.unsqueeze(-1)).clamp(-SPAN_SIZES // 2, SPAN_SIZES // 2 - 1) + SPAN_SIZES // 2
        sizes = self.dropout(self.sizes(size))
        return F.linear(first, of_head), F.linear(last, of_tail), F.linear(sizes, of_size)

    def _scores(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Scores of labels [B, W, W, labels], and the cells of words [B, W, W]."""
        encoded = self.encoder(windows)
        cells = pairs(encoded.words)
        scores: Tensor = self.output(self.refined(self.grid(encoded.pool("max")), cells))
        return scores, cells


class BiaffineCnnNetwork(BiaffineNetwork):
    """See the module."""

    options: BiaffineCnnOptions

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: BiaffineCnnOptions) -> None:
        super().__init__(encoder, labels, options)
        channels = options.channels
        self.grid_dropout = nn.Dropout(options.grid_dropout)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            for _ in range(options.depth + options.last_convolution)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels, eps=1e-6) for _ in range(options.depth))

    def refined(self, grid: Tensor, cells: Tensor) -> Tensor:
        """The grid plus the CNN's output."""
        before: Tensor = self.grid_dropout(grid)
        given = before
        for convolution, norm in zip(self.convolutions, self.norms, strict=False):
            before = norm(convolve(convolution, given, cells) + before)
            given = F.gelu(before)
        if self.options.last_convolution:
            before = convolve(self.convolutions[-1], given, cells)
        return grid + before


GENIA_FIT = FitOptions(
    encoder_rate=7e-6, head_rate=7e-4, batch_size=8, epochs=5, warmup=0.1, weight_decay=0.01, clip=5.0
)
"""For GENIA."""


class Biaffine(EncoderRival):
    """A score of each label for each pair of words (after Yu et al. 2020)."""

    name = "biaffine"
    network_type = BiaffineNetwork
    options_type = BiaffineOptions
    fit_options = GENIA_FIT


class BiaffineCnn(EncoderRival):
    """The same with a CNN over the pairs (Yan et al. 2023)."""

    name = "biaffine_cnn"
    network_type = BiaffineCnnNetwork
    options_type = BiaffineCnnOptions
    fit_options = GENIA_FIT
