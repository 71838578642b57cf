"""Several frozen encoders side by side: a word's vector is the concatenation of theirs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from genner.document import Span
from genner.errors import ModelError, UsageError
from genner.rivals.encoder import Encoded, WordEncoder
from genner.rivals.words import Window
from genner.writing import write_atomic

MEMBER = "encoder_"  # the folder of each member in that of a saved rival, with its number
MEMBERS = "encoders.json"  # their names and layers


def encoder_names(names: str) -> list[str]:
    """The encoders of `A,B,C`. A folder of that whole name is one encoder. Raises `UsageError`."""
    if Path(names).expanduser().is_dir():
        return [names]
    found = [name.strip() for name in names.split(",")]
    if not all(found):
        raise UsageError(f"encoder = {names!r} has an empty name; write A,B,C")
    return found


class EncoderGroup(WordEncoder):
    """Args:
    members: the encoders. One whose `layers` is a tuple counts as one candidate for each of these hidden layers.
    name: of the group, in signatures.

    `candidates` are what a search chooses from: their names, and the number of their features in `widths`.
    """

    def __init__(self, members: Sequence[WordEncoder], name: str) -> None:
        nn.Module.__init__(self)
        self.members = nn.ModuleList(members)
        self.name = name
        self.candidates: list[str] = []
        self.widths: list[int] = []
        self._member_of: list[int] = []
        for number, member in enumerate(members):
            layers = member.layers if isinstance(member.layers, tuple) else (None,)
            self.candidates += [member.name if layer is None else f"{member.name}@{layer}" for layer in layers]
            self.widths += [member.width // len(layers)] * len(layers)
            self._member_of += [number] * len(layers)
        self.width = sum(self.widths)

    def each(self) -> list[WordEncoder]:
        """The members."""
        return [member for member in self.members if isinstance(member, WordEncoder)]

    @property
    def limit(self) -> int:
        return min(member.limit for member in self.each())

    def lengths(self, text: str, words: Sequence[Span]) -> list[int]:
        """The number of pieces of each word for the encoder that makes the most of it."""
        return [max(row) for row in zip(*(member.lengths(text, words) for member in self.each()), strict=True)]

    def forward(self, windows: Sequence[Window], queries: Sequence[str] | None = None) -> Encoded:
        """States of words (first pieces), not of pieces."""
        states = self.chosen(windows, [True] * len(self.candidates))
        there = words_mask(windows).to(states.device)
        places = torch.arange(there.shape[1], device=there.device) * there
        return Encoded(states, there, there, places, places)

    def chosen(self, windows: Sequence[Window], choice: Sequence[bool]) -> Tensor:
        """The states of words, [B, W, width]; 0 for candidates that are not chosen, and no encoder runs for them alone.

        `choice` is one value for each of `candidates`.
        """
        parts = []
        shape = words_mask(windows).shape
        kept = [torch.full((width,), float(c)) for c, width in zip(choice, self.widths, strict=True)]
        for number, member in enumerate(self.each()):
            used = any(c for c, m in zip(choice, self._member_of, strict=True) if m == number)
            parts.append(member(windows).pool("first") if used else torch.zeros(*shape, member.width))
        device = next(self.parameters()).device
        return torch.cat([part.to(device) for part in parts], -1) * torch.cat(kept).to(device)

    def save(self, folder: Path) -> None:
        members = [{"name": member.name, "layers": member.layers} for member in self.each()]
        write_atomic(folder / MEMBERS, json.dumps(members, ensure_ascii=False) + "\n")
        for number, member in enumerate(self.each()):
            member.save(folder / f"{MEMBER}{number}")

    @classmethod
    def of_members(cls, folder: Path, name: str) -> Self:
        """The group that `save` wrote, with weights still to be loaded."""
        members = []
        for number, saved in enumerate(json.loads((folder / MEMBERS).read_text(encoding="utf-8"))):
            place = folder / f"{MEMBER}{number}"
            if not place.is_dir():
                raise ModelError(f"it lacks the encoder {saved['name']!r}, {place.name}")
            layers = saved["layers"]
            members.append(
                WordEncoder.of_folder(place, saved["name"], tuple(layers) if isinstance(layers, list) else layers)
            )
        return cls(members, name)


def words_mask(windows: Sequence[Window]) -> Tensor:
    """True on words, [B, W]."""
    lengths = torch.tensor([len(window.words) for window in windows])
    return torch.arange(int(lengths.max())) < lengths[:, None]


def layers_of(member: WordEncoder, asked: Sequence[int]) -> tuple[int, ...]:
    """The hidden layers that count as encoders: those asked for, or the embeddings and three more, evenly spread, the
    last among them. Raises `UsageError` for a layer that there is not."""
    last = int(member.model.config.num_hidden_layers)
    wrong = [layer for layer in asked if not 0 <= layer <= last]
    if wrong:
        raise UsageError(f"[ace_style] layers = {list(asked)}: encoder {member.name!r} has layers 0 to {last}")
    return tuple(asked) or tuple(sorted({0, *(round(last * part / 3) for part in (1, 2, 3))}))
