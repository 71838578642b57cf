"""Vectors of words from their characters, trained with a tagger (Lample et al., 2016, "Neural Architectures for Named
Entity Recognition", section 4.1): the last states of a BiLSTM in both directions.

Characters are the bytes of UTF-8, so that no vocabulary has to be kept. Of a word of more than `MAX_BYTES` bytes the
first and last ones are read.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from genner.rivals.words import Window

MAX_BYTES = 64


class CharacterLSTM(nn.Module):
    """Args:
    width: of the embeddings of bytes, and of the states of each direction.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = 2 * width
        self.embedding = nn.Embedding(256, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)

    def forward(self, windows: Sequence[Window]) -> Tensor:
        """Vectors of the words of windows, [B, W, 2 * width]; each distinct word is read once. Padding is arbitrary."""
        tokens = [window.tokens() for window in windows]
        number = {word: i for i, word in enumerate(dict.fromkeys(word for row in tokens for word in row))}
        device = self.embedding.weight.device
        spelt = [torch.tensor(_bytes(word)) for word in number]
        embedded = self.embedding(pad_sequence(spelt, batch_first=True).to(device))
        lengths = torch.tensor([len(word) for word in spelt])
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        vectors = self.lstm(packed)[1][0].transpose(0, 1).flatten(1)  # [distinct words, 2 * width]
        places = pad_sequence([torch.tensor([number[word] for word in row]) for row in tokens], batch_first=True)
        found: Tensor = vectors[places.to(device)]
        return found


def _bytes(word: str) -> list[int]:
    spelt = list(word.encode("utf-8", "surrogatepass"))
    return spelt if len(spelt) <= MAX_BYTES else [*spelt[: MAX_BYTES // 2], *spelt[-MAX_BYTES // 2 :]]
