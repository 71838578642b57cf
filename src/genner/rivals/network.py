"""What the file of a rival defines: a network over an encoder that is trained on windows and finds spans in them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from genner.document import LabelSet
from genner.rivals.encoder import WordEncoder
from genner.rivals.words import ScoredSpan, Window, WordEntity

IGNORED = -100
"""The gold of padding, in a cross entropy."""


class RivalNetwork(nn.Module, ABC):
    """A rival's network: `encoder`, and everything after it (the head).

    Args:
        encoder: the encoder, which is trained too.
        labels: the labels that it predicts.
        options: the rival's own hyperparameters, a frozen dataclass.
    """

    encoders: ClassVar[tuple[str, ...]] = ("encoder.",)
    """With what the names of encoders' parameters begin; they have a learning rate of their own."""

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: Any) -> None:
        super().__init__()
        self.encoder, self.labels, self.options = encoder, labels, options
        self.number = {tag: i for i, tag in enumerate(labels.tags)}

    @property
    def room(self) -> int:
        """The maximum number of pieces of a window."""
        return self.encoder.limit

    @abstractmethod
    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        """The gold entities of a window that the network's output cannot express, each with the reason.

        All labels of the window are in the label set.
        """

    @abstractmethod
    def targets(self, window: Window) -> Any:
        """The gold of a window in the form that the network predicts: tags, spans, a grid. It is all encodable."""

    @abstractmethod
    def read(self, targets: Any) -> list[WordEntity]:
        """The entities that targets encode, the inverse of `targets`: the rule by which `decode` reads decisions."""

    @abstractmethod
    def loss(self, windows: Sequence[Window]) -> Tensor:
        """The training loss of a batch, a scalar."""

    @abstractmethod
    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        """The predicted entities of each window, without use of its gold."""

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters outside the encoders, by name."""
        return ((name, p) for name, p in self.named_parameters() if not name.startswith(self.encoders))

    def trained_encoder_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters of the encoders that training changes, by name."""
        return ((name, p) for name, p in self.named_parameters() if name.startswith(self.encoders))
