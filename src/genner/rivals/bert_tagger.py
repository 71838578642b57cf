"""BERT-Tagger: one tag for each word (Devlin et al., 2019, section 5.3).

The first piece of a word gives its vector; a linear layer over it gives the scores of the tags. Loss: cross entropy,
mean over words; with `crf`, the negative log-likelihood of a linear-chain CRF over words.

Decoding: the best tag of each word by itself, read by the rule of conlleval (`genner.data.tags.spans`): a tag that
continues nothing begins an entity. With `crf`, the best legal sequence. An entity's score is the lowest probability of
its words' tags.

What it cannot express: overlapping entities. Of two that overlap the longer one is kept for training.

Differences from the published tagger of ShannonAI: no hidden layer in the head unless `hidden` gives its width (theirs
has 1,024); words beyond the encoder's length are read in further windows instead of being dropped together with their
gold; tags are BIOES or IOB2 (theirs: BMES), and an unfinished entity ends at the first tag that does not go on with it,
where theirs may run on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genner.data.tags import Scheme, spans, spell
from genner.document import LabelSet
from genner.errors import UsageError
from genner.rivals.base import EncoderRival
from genner.rivals.crf import CRF
from genner.rivals.encoder import WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.network import IGNORED, RivalNetwork
from genner.rivals.overlaps import not_flat
from genner.rivals.words import ScoredSpan, Window, WordEntity
from genner.toml_config import check

SCHEMES: tuple[Scheme, ...] = ("bioes", "iob2")


@dataclass(frozen=True)
class TaggerOptions:
    """Attributes:
    scheme: `bioes` or `iob2`.
    crf: score sequences of tags with a CRF.
    hidden: width of a hidden layer with GELU before the tags; 0: none.
    dropout: before the head.
    """

    scheme: str = "bioes"
    crf: bool = False
    hidden: int = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise UsageError(f"[bert_tagger] scheme = {self.scheme!r}; legal: {', '.join(SCHEMES)}")
        check(self, "bert_tagger", hidden=(0, inf), dropout=(0, 0.99))


class TaggerNetwork(RivalNetwork):
    """See the module."""

    options: TaggerOptions

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: TaggerOptions) -> None:
        super().__init__(encoder, labels, options)
        prefixes = "BIES" if options.scheme == "bioes" else "BI"
        self.tags = ["O", *(f"{prefix}-{tag}" for tag in labels.tags for prefix in prefixes)]
        self.tag_number = {tag: i for i, tag in enumerate(self.tags)}
        self.dropout = nn.Dropout(options.dropout)
        width = options.hidden or encoder.width
        hidden = [nn.Linear(encoder.width, width), nn.GELU(), nn.Dropout(options.dropout)] if options.hidden else []
        self.head = nn.Sequential(*hidden, nn.Linear(width, len(self.tags)))
        self.crf = CRF(self.tags, options.scheme == "bioes") if options.crf else None

    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        return not_flat(window.entities)

    def targets(self, window: Window) -> list[int]:
        """The number of each word's tag."""
        return [
            self.tag_number[tag] for tag in spell(window.entities, len(window.words), cast(Scheme, self.options.scheme))
        ]

    def read(self, tags: Sequence[int]) -> list[WordEntity]:
        """The entities that tags, by number, encode."""
        return [WordEntity(*span) for span in spans(self.tags[number] for number in tags)]

    def loss(self, windows: Sequence[Window]) -> Tensor:
        emissions, mask = self._emissions(windows)
        gold = torch.full(mask.shape, IGNORED)
        for i, window in enumerate(windows):
            gold[i, : len(window.words)] = torch.tensor(self.targets(window))
        gold = gold.to(emissions.device)
        if self.crf:
            return self.crf.loss(emissions, gold.clamp(min=0), mask)
        return F.cross_entropy(emissions.flatten(0, 1), gold.flatten(), ignore_index=IGNORED)

    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        emissions, mask = self._emissions(windows)
        if self.crf:
            paths = self.crf.decode(emissions, mask)
            chances = self.crf.marginals(emissions, mask)
        else:
            chances = emissions.softmax(-1)
            best = chances.argmax(-1).tolist()
            paths = [row[: len(w.words)] for row, w in zip(best, windows, strict=True)]
        found = []
        for i, path in enumerate(paths):
            places = torch.arange(len(path), device=chances.device)
            sure = chances[i, places, torch.tensor(path, device=chances.device)].tolist()
            found.append([ScoredSpan(*entity, min(sure[entity.start : entity.end])) for entity in self.read(path)])
        return found

    def _emissions(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Scores of tags [B, W, tags], and the mask of words [B, W]."""
        encoded = self.encoder(windows)
        emissions: Tensor = self.head(self.dropout(encoded.pool("first")))
        return emissions, encoded.words


class BertTagger(EncoderRival):
    """A tag for each word (Devlin et al. 2019)."""

    name = "bert_tagger"
    network_type = TaggerNetwork
    options_type = TaggerOptions
    fit_options = FitOptions(encoder_rate=2e-5, head_rate=2e-5, batch_size=32, epochs=10, warmup=0.01)
