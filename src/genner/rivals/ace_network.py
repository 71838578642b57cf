"""The network of the ACE-style rival: a tagger over chosen frozen encoders. `genner.rivals.ace_style` says what it
computes, and how it is trained.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from genner.document import LabelSet
from genner.rivals.bert_tagger import TaggerNetwork, TaggerOptions
from genner.rivals.character_lstm import CharacterLSTM
from genner.rivals.crf import CRF
from genner.rivals.encoder import WordEncoder
from genner.rivals.encoder_group import EncoderGroup, words_mask
from genner.rivals.network import RivalNetwork
from genner.rivals.words import ScoredSpan, Window, WordEntity
from genner.toml_config import check

CHARACTERS = "characters"


@dataclass(frozen=True)
class AceOptions:
    """Attributes:
    episodes: choices that are tried, at most.
    hidden: width of the LSTM in each direction.
    dropout: before and after the LSTM.
    discount: gamma of the reward.
    controller_rate, controller_momentum: of the controller's ascent.
    fine_tune_epochs: of each encoder alone before the search; 0: none.
    characters: width of the character LSTM in each direction; 0: characters are no candidate.
    layers: hidden layers of each encoder that count as encoders (0: the embeddings); empty: see `ace_style`.
    """

    episodes: int = 30
    hidden: int = 800
    dropout: float = 0.0
    discount: float = 0.5
    controller_rate: float = 0.1
    controller_momentum: float = 0.9
    fine_tune_epochs: int = 10
    characters: int = 25
    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check(
            self,
            "ace_style",
            episodes=(1, inf),
            hidden=(1, inf),
            dropout=(0, 0.99),
            discount=(0, 1),
            controller_rate=(0, inf),
            controller_momentum=(0, 0.999),
            fine_tune_epochs=(0, inf),
            characters=(0, inf),
        )


class AceNetwork(RivalNetwork):
    """See the module."""

    encoder: EncoderGroup
    options: AceOptions
    choice: Tensor

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: AceOptions) -> None:
        group = encoder if isinstance(encoder, EncoderGroup) else EncoderGroup([encoder], encoder.name)
        super().__init__(group, labels, options)
        self.tagger = [TaggerNetwork(group, labels, TaggerOptions())]  # for its tags; no module of this network
        tags = self.tagger[0].tags
        self.characters = CharacterLSTM(options.characters) if options.characters else None
        more = [(CHARACTERS, self.characters.width)] if self.characters else []
        self.candidates = [*group.candidates, *(name for name, _ in more)]
        self.widths = [*group.widths, *(width for _, width in more)]
        width = sum(self.widths)
        self.project = nn.Linear(width, width)
        self.lstm = nn.LSTM(width, options.hidden, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(options.dropout)
        self.head = nn.Linear(2 * options.hidden, len(tags))
        self.crf = CRF(tags, bioes=True)
        self.register_buffer("choice", torch.ones(len(self.candidates)))
        self._kept: dict[tuple[str, int, int], Tensor] | None = None

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.encoder.eval()
        return self

    def trained_encoder_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return iter(())

    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        return self.tagger[0].unencodable(window)

    def targets(self, window: Window) -> list[int]:
        """The number of each word's tag."""
        return self.tagger[0].targets(window)

    def read(self, targets: Sequence[int]) -> list[WordEntity]:
        return self.tagger[0].read(targets)

    def loss(self, windows: Sequence[Window]) -> Tensor:
        emissions, mask = self._emissions(windows)
        gold = pad_sequence([torch.tensor(self.targets(window)) for window in windows], batch_first=True)
        return self.crf.loss(emissions, gold.to(emissions.device), mask)

    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        emissions, mask = self._emissions(windows)
        paths, chances = self.crf.decode(emissions, mask), self.crf.marginals(emissions, mask).cpu()
        found = []
        for path, row in zip(paths, chances, strict=True):
            sure = row[torch.arange(len(path)), torch.tensor(path)].tolist()
            found.append([ScoredSpan(*entity, min(sure[entity.start : entity.end])) for entity in self.read(path)])
        return found

    @contextmanager
    def keeping(self, windows: Sequence[Window], batch_size: int) -> Iterator[None]:
        """Keep the encoders' states of windows within this context: they are frozen."""
        self._kept = {}
        order = sorted(windows, key=lambda window: len(window.words))
        with torch.no_grad():
            for begin in range(0, len(order), batch_size):
                some = order[begin : begin + batch_size]
                for window, states in zip(some, self.encoder(some).states, strict=True):
                    self._kept[_key(window)] = states[: len(window.words)].half().cpu()
        try:
            yield
        finally:
            self._kept = None

    def _states(self, windows: Sequence[Window]) -> Tensor:
        """The chosen states of words, [B, W, H]."""
        choice = self.choice[: len(self.encoder.candidates)]
        kept = [self._kept.get(_key(window)) if self._kept else None for window in windows]
        known = [states for states in kept if states is not None]
        if len(known) == len(windows):
            widths = torch.tensor(self.encoder.widths, device=choice.device)
            states = pad_sequence(known, batch_first=True).to(choice.device).float() * choice.repeat_interleave(widths)
        else:
            with torch.no_grad():
                states = self.encoder.chosen(windows, [bool(c) for c in choice.tolist()])
        if self.characters is None:
            return states
        spelt = self.characters(windows) if self.choice[-1] else states.new_zeros(*states.shape[:2], self.widths[-1])
        return torch.cat([states, spelt], -1)

    def _emissions(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Scores of tags [B, W, tags], and the mask of words [B, W]."""
        states, mask = self._states(windows), words_mask(windows)
        packed = pack_padded_sequence(self.drop(self.project(states)), mask.sum(1), True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        emissions: Tensor = self.head(self.drop(hidden))
        return emissions, mask.to(emissions.device)


def _key(window: Window) -> tuple[str, int, int]:
    """What identifies a window: its text and its words."""
    return window.text, window.words[0][0], window.words[-1][1]
