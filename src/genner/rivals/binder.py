"""BINDER: texts and labels are encoded apart, and a span is an entity of a label if it is closer to it than `[CLS]` is
(Zhang et al., 2023, "Optimizing bi-encoder for named entity recognition via contrastive learning", sections 3 and 4).

A label k is the state of `[CLS]` of its definition, a word i the states of its first piece h_i and its last piece e_i;
word 0 is `[CLS]` of the text. With all vectors projected to `width` dimensions, dropped out and normalized,

    start(i, k) = exp(tau_1) <a_k, A h_i>      end(j, k) = exp(tau_2) <b_k, B e_j>
    span(i, j, k) = exp(tau_3) <c_k, C [h_i ; e_j ; d(j - i)]>

with temperatures exp(-tau) that are learnt, from `temperature`, and d an embedding of the number of words.

Loss: InfoNCE within one text and one label. The negatives are all spans (starts, ends) that are no entity of that
label, and `[CLS]`. For each entity, -log softmax of its score among itself and the negatives; for each text and label,
the same for `[CLS]` among the negatives, which makes its score the threshold. Means over entities, and over texts and
labels; each is half of the loss, of which spans have 0.6, starts and ends 0.2 each.

Decoding: span(i, j, k) > span([CLS], [CLS], k), of at most `max_span` words; starts and ends are not used. Spans may
nest, cross and have several labels. The score is sigmoid(span(i, j, k) - span([CLS], [CLS], k)), above 0.5. For flat
labels (depth 1) the span with the highest score is taken first, and none that overlaps it.

It cannot express entities of more than `max_span` words; for flat labels, of two that overlap the longer one is kept.

Differences from the published system of microsoft/binder:
- flat decoding there compares the scores themselves, though each label has a threshold of its own; here margins over
  the thresholds are compared;
- C [h_i ; e_j ; d] is the sum of three products, computed for the spans of at most `max_span` words only, which are the
  only ones that decoding uses: the negatives of the span loss are these too, where theirs have any length;
- `max_span` and d count words, where theirs count pieces;
- masked scores are -inf; theirs are lowered by log(1e-13), or by log(1e-4) in 16 bits, which lets some through;
- `shared` is the variant with one encoder for texts and labels, to save memory and time; theirs has two;
- windows are of the frame: long texts have no overlap in training, and of overlapping windows in prediction each
  entity counts in one, where theirs takes the union;
- losses are in 32 bits; the layers are initialized by torch.

As published, windows without an entity are left out of training unless `empty` is set.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genner.document import LabelSet
from genner.errors import UsageError
from genner.rivals.base import EncoderRival
from genner.rivals.encoder import Encoded, WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.network import RivalNetwork
from genner.rivals.overlaps import not_flat
from genner.rivals.queries import check_label_text, flat_or_all, label_texts
from genner.rivals.words import ScoredSpan, Window, WordEntity
from genner.toml_config import check

TOO_WIDE = "has more words than max_span"


@dataclass(frozen=True)
class BinderOptions:
    """Attributes:
    query: `definition`, `name` or `tag`: the text that stands for a label.
    shared: one encoder for texts and labels.
    empty: train on windows without an entity too.
    width: of the space in which texts and labels are compared.
    max_span: maximum number of words of an entity.
    temperature: initial temperature of the scores.
    edges: weight of the losses of starts and of ends, each; spans have the rest.
    threshold: weight of the losses of `[CLS]`; those of entities have the rest.
    dropout: of the projected vectors.
    """

    query: str = "definition"
    shared: bool = False
    empty: bool = False
    width: int = 128
    max_span: int = 30
    temperature: float = 0.07
    edges: float = 0.2
    threshold: float = 0.5
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_label_text(self.query, "binder")
        check(
            self,
            "binder",
            width=(1, inf),
            max_span=(1, inf),
            temperature=(1e-3, 1),
            edges=(0, 0.5),
            threshold=(0, 1),
            dropout=(0, 0.99),
        )


class Similarities(NamedTuple):
    """Similarities of B texts to K labels, divided by temperature; place 0 is `[CLS]`. W words, at most S in a span."""

    starts: Tensor  # [B, K, 1 + W], -inf on padding
    ends: Tensor  # [B, K, 1 + W], -inf on padding
    spans: Tensor  # [B, K, W, S]: of the word and s words after it; -inf beyond the text
    threshold: Tensor  # [B, K]: of ([CLS], [CLS])


class BinderNetwork(RivalNetwork):
    """See the module."""

    options: BinderOptions
    encoders = ("encoder.", "label_encoder.")

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: BinderOptions) -> None:
        super().__init__(encoder, labels, options)
        self.texts = label_texts(labels, options.query, encoder)
        self.label_encoder = None if options.shared else encoder.copy()
        self.dropout = nn.Dropout(options.dropout)
        self.of_label = nn.ModuleList(nn.Linear(encoder.width, options.width) for _ in range(3))
        self.start, self.end = (nn.Linear(encoder.width, options.width) for _ in range(2))
        self.span_start = nn.Linear(encoder.width, options.width)
        self.span_end = nn.Linear(encoder.width, options.width, bias=False)
        self.span_length = nn.Embedding(options.max_span, options.width)
        nn.init.normal_(self.span_length.weight, std=0.02)
        self.tau = nn.Parameter(torch.full((3,), -log(options.temperature)))
        self._labels: tuple[object, list[Tensor]] | None = None

    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        wide = [(e, TOO_WIDE) for e in window.entities if e.end - e.start > self.options.max_span]
        rest = [e for e in window.entities if e.end - e.start <= self.options.max_span]
        return wide + (not_flat(rest) if self.labels.depth == 1 else [])

    def targets(self, window: Window) -> list[tuple[int, int, int]]:
        """The entities as (label by number, first word, last word), sorted."""
        return sorted((self.number[e.label], e.start, e.end - 1) for e in window.entities)

    def read(self, targets: Iterable[tuple[int, int, int]]) -> list[WordEntity]:
        """The entities of such triples."""
        return [WordEntity(i, j + 1, self.labels.tags[k]) for k, i, j in targets]

    def loss(self, windows: Sequence[Window]) -> Tensor:
        found = self.similarities(self.encoder(windows))
        gold = [(row, *target) for row, window in enumerate(windows) for target in self.targets(window)]
        row, label, first, last = torch.tensor(gold, device=found.starts.device).reshape(-1, 4).unbind(1)
        threshold, entities = [], []
        for scores, place in ((found.starts, first + 1), (found.ends, last + 1)):
            losses = contrast(scores, row, label, place, scores[..., 0])
            threshold.append(losses[0])
            entities.append(losses[1])
        width = found.spans.shape[-1]
        spans = torch.cat([found.threshold.unsqueeze(-1), found.spans.flatten(2)], -1)
        losses = contrast(spans, row, label, 1 + first * width + (last - first), found.threshold)
        edges, share = self.options.edges, self.options.threshold
        of_threshold = edges * (threshold[0] + threshold[1]) + (1 - 2 * edges) * losses[0]
        of_entities = edges * (entities[0] + entities[1]) + (1 - 2 * edges) * losses[1]
        return share * of_threshold + (1 - share) * of_entities

    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        found = self.similarities(self.encoder(windows))
        margins = found.spans - found.threshold[..., None, None]
        above = (margins > 0).nonzero()
        chances = margins[tuple(above.unbind(1))].sigmoid().tolist()
        spans: list[list[ScoredSpan]] = [[] for _ in windows]
        for (row, label, first, more), chance in zip(above.tolist(), chances, strict=True):
            spans[row].append(ScoredSpan(first, first + more + 1, self.labels.tags[label], chance))
        return [flat_or_all(some, self.labels) for some in spans]

    def similarities(self, encoded: Encoded) -> Similarities:
        """Compare texts with all labels."""
        of_start, of_end, of_span = self._label_vectors()
        scale = self.tau.exp()
        cls, first, last = encoded.cls, encoded.pool("first"), encoded.pool("last")
        starts = scale[0] * self._unit(self.start(torch.cat([cls.unsqueeze(1), first], 1))) @ of_start.T
        ends = scale[1] * self._unit(self.end(torch.cat([cls.unsqueeze(1), last], 1))) @ of_end.T
        padding = ~F.pad(encoded.words, (1, 0), value=True).unsqueeze(1)
        begin, finish, length = self.span_start, self.span_end, self.span_length.weight
        threshold = scale[2] * self._unit(begin(cls) + finish(cls) + length[0]) @ of_span.T
        words = encoded.words.shape[1]
        size = min(self.options.max_span, words)
        first_word = torch.arange(words, device=cls.device).unsqueeze(1)
        last_word = first_word + torch.arange(size, device=cls.device)  # [W, S]
        within = F.pad(encoded.words, (0, size))[:, last_word] & encoded.words.unsqueeze(-1)  # [B, W, S]
        right = finish(last)[:, last_word.clamp(max=words - 1)]  # [B, W, S, width]
        joint = self._unit(begin(first).unsqueeze(2) + right + length[:size])
        spans = scale[2] * (joint @ of_span.T).permute(0, 3, 1, 2)
        return Similarities(
            starts.transpose(1, 2).masked_fill(padding, -inf),
            ends.transpose(1, 2).masked_fill(padding, -inf),
            spans.masked_fill(~within.unsqueeze(1), -inf),
            threshold,
        )

    def _unit(self, vectors: Tensor) -> Tensor:
        return F.normalize(self.dropout(vectors), dim=-1)

    def _label_vectors(self) -> list[Tensor]:
        """Vectors [K, width] of labels for starts, ends and spans; in prediction, computed once while weights stay."""
        if self.training or not torch.is_inference_mode_enabled():
            return self._read_labels()
        key = [(id(p), 0 if p.is_inference() else p._version, p.device) for p in self.parameters()]
        if self._labels is None or self._labels[0] != key:
            self._labels = key, self._read_labels()
        return self._labels[1]

    def _read_labels(self) -> list[Tensor]:
        states = (self.label_encoder or self.encoder).texts(self.texts)
        return [self._unit(project(states)) for project in self.of_label]

    def train(self, mode: bool = True) -> Self:
        if mode:
            self._labels = None  # a fused optimizer changes weights and not their versions
        return super().train(mode)


def contrast(scores: Tensor, row: Tensor, label: Tensor, place: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """InfoNCE losses of `[CLS]` and of gold places.

    Args:
        scores: [B, K, n] with that of `[CLS]` at place 0, and -inf where there is no candidate.
        row: [g], the text of each gold entity.
        label: [g], its label.
        place: [g], its place.
        threshold: [B, K], the score of `[CLS]`.

    Returns:
        The mean over texts and labels, and that over gold entities (0 if there are none).
    """
    positive = scores[row, label, place]
    gold = torch.zeros_like(scores, dtype=torch.bool)
    gold[row, label, place] = True
    negatives = scores.masked_fill(gold, -inf).logsumexp(-1)  # [B, K], finite: [CLS] is no gold
    entities = F.softplus(negatives[row, label] - positive)  # log(exp(negatives) + exp(positive)) - positive
    return (negatives - threshold).mean(), entities.mean() if len(entities) else entities.sum()


class Binder(EncoderRival):
    """Spans nearer to a label's definition than a threshold (Zhang et al. 2023)."""

    name = "binder"
    network_type = BinderNetwork
    options_type = BinderOptions
    fit_options = FitOptions(
        encoder_rate=3e-5, head_rate=3e-5, batch_size=8, epochs=20, warmup=0.0, weight_decay=0.0, max_pieces=254
    )

    def trained_on(self, windows: list[Window]) -> list[Window]:
        """Those with an entity, unless `empty` is set. Raises `UsageError` if no window has one."""
        kept = windows if self.options.empty else [window for window in windows if window.entities]
        if windows and not kept:
            raise UsageError(
                "binder leaves out windows without an entity, and no window has one; give training data with entities "
                "of the labels, or set empty = true"
            )
        return kept
