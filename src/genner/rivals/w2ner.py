"""W2NER: a relation for each pair of words (Li et al., 2022).

The paper is "Unified Named Entity Recognition as Word-Word Relation Classification".

Relations: cell (i, j) with i < j is NNW if word j is the next word of an entity after word i; cell (t, h) with h <= t
has the label of the entity that begins at h and ends at t; all others have none. Section 3:

    x: the maximum over a word's pieces;  h = BiLSTM(dropout(x))
    V_ij = gamma_j * normalized(h_i) + beta_j,  gamma_j = 1 + W_g h_j,  beta_j = W_b h_j   (conditional LayerNorm)
    C_ij = GELU(W [V_ij; distance(i - j); region(i, j)])                                   (1x1 convolution)
    Q^1 = GELU(conv_1(C)), Q^2 = GELU(conv_2(Q^1)), ...; Q = [Q^1; Q^2; ...]               (3x3, dilated, depth-wise)
    y_ij = [s_i; 1]' U [o_j; 1] + MLP(Q_ij),  s_i = MLP(h_i), o_j = MLP(h_j)               (co-predictor)

Loss: cross entropy of the relations, mean over all cells of words in the batch.

Decoding: the most probable relation of each cell; an entity for each label at (t, h) if NNW links lead from h to t. The
published decoder follows every path of links, also those that leave out words, of which there can be exponentially
many; a `Document` holds contiguous entities alone, so here each label has one possible path, h, h + 1, ..., t. A label
without this path is dropped, also where another path exists. An entity's score is the lowest probability of its
relations.

What it cannot express: a second label of one span.

Differences from the published code: a cell outside the words is zero before each convolution (there the second and
further ones read what the first has written into the padding, so that a sentence's result depends on its batch); the
last, incomplete batch is trained on; labels are told apart by case; distances have no limit of 1,000; words after the
input's limit are read in a further window. W [V; distance; region] is computed as a sum of its parts, the same function
without the concatenated grid.

Published settings (GENIA, BioBERT): the defaults. CoNLL-2003, BERT-large: lstm 768, channels 96, biaffine 768,
hidden 128, dilations 1 to 3, layers 4, encoder's rate 1e-5, batch 12, clip 1. ACE 2005, BERT-large: lstm 1024, channels
160, biaffine 1024, hidden 240, dilations 1 to 3, layers 4, encoder's rate 1e-5, 20 epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from genner.document import LabelSet
from genner.errors import UsageError
from genner.rivals.base import EncoderRival
from genner.rivals.encoder import WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.grid import convolve, pairs, parts, places
from genner.rivals.network import IGNORED, RivalNetwork
from genner.rivals.overlaps import same_span
from genner.rivals.words import ScoredSpan, Window, WordEntity
from genner.toml_config import check

NONE, NNW = 0, 1
"""Relations; labels have the numbers after them."""

POWERS = 9  # distances 1, 2-3, 4-7, ..., 256 and more


@dataclass(frozen=True)
class W2NerOptions:
    """Attributes:
    lstm: width of words' vectors after the LSTM, both directions together.
    channels: features of a cell in each convolution.
    dilations: of the 3x3 convolutions.
    biaffine: width of the vectors of the biaffine part.
    hidden: width of the hidden layer over the convolutions.
    distance_width: width of the embedding of distances.
    region_width: width of the embedding of regions (above the diagonal, or not).
    layers: hidden layers of the encoder that are averaged, the last ones.
    word_dropout: before the LSTM.
    grid_dropout: of whole features of the grid, before the convolutions.
    output_dropout: in the co-predictor.
    """

    lstm: int = 512
    channels: int = 128
    dilations: tuple[int, ...] = (1, 2, 3, 4)
    biaffine: int = 512
    hidden: int = 384
    distance_width: int = 20
    region_width: int = 20
    layers: int = 1
    word_dropout: float = 0.5
    grid_dropout: float = 0.5
    output_dropout: float = 0.33

    def __post_init__(self) -> None:
        check(
            self,
            "w2ner",
            lstm=(2, inf),
            channels=(1, inf),
            biaffine=(1, inf),
            hidden=(1, inf),
            distance_width=(1, inf),
            region_width=(1, inf),
            layers=(1, inf),
            word_dropout=(0, 0.99),
            grid_dropout=(0, 0.99),
            output_dropout=(0, 0.99),
        )
        if self.lstm % 2:
            raise UsageError(f"[w2ner] lstm = {self.lstm}; legal: even numbers, half of it for each direction")
        if not self.dilations or min(self.dilations) < 1:
            raise UsageError(f"[w2ner] dilations = {self.dilations}; legal: one or more numbers, each 1 or more")


class W2NerNetwork(RivalNetwork):
    """See the module."""

    options: W2NerOptions

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: W2NerOptions) -> None:
        super().__init__(encoder, labels, options)
        hidden_layers = encoder.model.config.num_hidden_layers
        if options.layers > hidden_layers:
            raise UsageError(
                f"[w2ner] layers = {options.layers}; encoder {encoder.name!r} has {hidden_layers}; give at most that"
            )
        encoder.layers = options.layers
        relations = 2 + len(labels.tags)
        self.word_dropout = nn.Dropout(options.word_dropout)
        self.lstm = nn.LSTM(encoder.width, options.lstm // 2, batch_first=True, bidirectional=True)
        self.gain, self.shift = (nn.Linear(options.lstm, options.lstm) for _ in range(2))
        for layer, bias in ((self.gain, 1.0), (self.shift, 0.0)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, bias)
        self.distances = nn.Embedding(2 * POWERS + 1, options.distance_width)
        self.regions = nn.Embedding(2, options.region_width)
        self.grid_dropout = nn.Dropout1d(options.grid_dropout)
        self.reduce = nn.Linear(options.lstm + options.distance_width + options.region_width, options.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(options.channels, options.channels, 3, groups=options.channels, dilation=d, padding=d)
            for d in options.dilations
        )
        dropout = nn.Dropout(options.output_dropout)
        self.subject, self.object_ = (
            nn.Sequential(dropout, nn.Linear(options.lstm, options.biaffine), nn.GELU(), dropout) for _ in range(2)
        )
        product = torch.empty(relations, options.biaffine + 1, options.biaffine + 1)
        self.product = nn.Parameter(nn.init.xavier_normal_(product))
        features = options.channels * len(options.dilations)
        self.output = nn.Sequential(
            dropout, nn.Linear(features, options.hidden), nn.GELU(), dropout, nn.Linear(options.hidden, relations)
        )

    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        return same_span(window.entities)

    def targets(self, window: Window) -> Tensor:
        """The number of the relation of each pair of words, [W, W]."""
        size = len(window.words)
        grid = torch.full((size, size), NONE)
        for start, end, label in window.entities:
            within = torch.arange(start, end - 1)
            grid[within, within + 1] = NNW
            grid[end - 1, start] = 2 + self.number[label]
        return grid

    def read(self, relations: Tensor) -> list[WordEntity]:
        """The entities that numbers of relations [W, W] encode."""
        unlinked = F.pad((relations.diagonal(1) != NNW).cumsum(0), (1, 0))  # missing links before each word
        whole = unlinked.unsqueeze(1) == unlinked.unsqueeze(0)
        found = places((relations > NNW).tril() & whole)
        return [WordEntity(head, tail + 1, self.labels.tags[int(relations[tail, head]) - 2]) for tail, head in found]

    def loss(self, windows: Sequence[Window]) -> Tensor:
        scores = self._scores(windows)
        gold = torch.full(scores.shape[:-1], IGNORED)
        for i, window in enumerate(windows):
            size = len(window.words)
            gold[i, :size, :size] = self.targets(window)
        return F.cross_entropy(scores.flatten(0, 2), gold.flatten().to(scores.device), ignore_index=IGNORED)

    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        found = []
        for part in parts(windows):
            best, relations = self._scores(part).softmax(-1).max(-1)
            for chance, relation, window in zip(best.cpu(), relations.cpu(), part, strict=True):
                size = len(window.words)
                links = chance.diagonal(1).tolist()
                found.append(
                    [
                        ScoredSpan(*entity, min([float(chance[end - 1, start]), *links[start : end - 1]]))
                        for entity in self.read(relation[:size, :size])
                        for start, end, _ in [entity]
                    ]
                )
        return found

    def _scores(self, windows: Sequence[Window]) -> Tensor:
        """Scores of relations [B, W, W, relations]."""
        encoded = self.encoder(windows)
        vectors = self.word_dropout(encoded.pool("max"))
        lengths = encoded.words.sum(1).cpu()
        packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        words, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=vectors.shape[1])
        cells = pairs(encoded.words)
        grid = F.gelu(self.grid(words))
        convolved = []
        for convolution in self.convolutions:
            grid = F.gelu(convolve(convolution, grid, cells))
            convolved.append(grid)
        scores: Tensor = self.output(torch.cat(convolved, -1)) + self._biaffine(words)
        return scores

    def grid(self, words: Tensor) -> Tensor:
        """W [V_ij; distance; region] for words' vectors [B, W, H]: [B, W, W, channels]."""
        options = self.options
        batch, size, _ = words.shape
        # Dropout leaves out a feature in all cells of a window, as Dropout2d does of a grid.
        kept = self.grid_dropout(words.new_ones(batch, self.reduce.in_features, 1)).transpose(1, 2)
        widths = [options.lstm, options.distance_width, options.region_width]
        of_cells, of_distances, of_regions = torch.split(self.reduce.weight, widths, 1)
        kept_cells, kept_distances, kept_regions = torch.split(kept, widths, 2)
        normal = F.layer_norm(words, [options.lstm], eps=1e-12) * kept_cells
        product = normal.unsqueeze(2) * self.gain(words).unsqueeze(1)
        shift = F.linear(self.shift(words) * kept_cells, of_cells, self.reduce.bias)
        bucket = distance_buckets(size, words.device)
        distance = F.linear(self.distances.weight * kept_distances, of_distances)  # [B, buckets, channels]
        lower = torch.ones(size, size, dtype=torch.long, device=words.device).tril()
        region = F.linear(self.regions.weight * kept_regions, of_regions)  # [B, 2, channels]
        return F.linear(product, of_cells) + shift.unsqueeze(1) + distance[:, bucket] + region[:, lower]

    def _biaffine(self, words: Tensor) -> Tensor:
        one, two = (F.pad(part(words), (0, 1), value=1.0) for part in (self.subject, self.object_))
        half = torch.einsum("bix,rxy->biry", one, self.product)
        return torch.einsum("biry,bjy->bijr", half, two)


def distance_buckets(size: int, device: torch.device) -> Tensor:
    """The number of the embedding of i - j for each pair of places, [size, size].

    0 on the diagonal; 1 to 9 where i is after j by 1, 2-3, 4-7, ..., 256 and more; 10 to 18 where it is before.
    """
    place = torch.arange(size, device=device)
    distance = place.unsqueeze(-1) - place
    limits = 2 ** torch.arange(1, POWERS, device=device)
    power = torch.bucketize(distance.abs(), limits, right=True) + 1
    return torch.where(distance > 0, power, torch.where(distance < 0, power + POWERS, 0))


class W2Ner(EncoderRival):
    """A relation for each pair of words (Li et al. 2022)."""

    name = "w2ner"
    network_type = W2NerNetwork
    options_type = W2NerOptions
    fit_options = FitOptions(
        encoder_rate=5e-6, head_rate=1e-3, batch_size=8, epochs=10, warmup=0.1, weight_decay=0.0, clip=5.0
    )
