"""What the file of a rival defines: a network over an encoder that is trained on windows and finds spans in them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from genner.document import LabelSet
from genner.rivals.encoder import WordEncoder
from genner.rivals.words import ScoredSpan, Window, WordEntity

NOT_ASKED = "its label is not in the label set"
CROSSES = "crosses another entity"
OVERLAPS = "overlaps another entity"
SAME_SPAN = "has the same span as another entity"
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


def not_flat(entities: Iterable[WordEntity]) -> list[tuple[WordEntity, str]]:
    """Entities that do not fit a flat, non-overlapping set: of two that overlap the longer one is kept, then the first.

    This is the outermost-entity convention of flat evaluation on nested corpora.
    """
    return left_out(entities, overlap, OVERLAPS)


def not_nested(entities: Iterable[WordEntity]) -> list[tuple[WordEntity, str]]:
    """Entities that do not fit a set in which spans nest and none has two labels: see `not_flat` for which is kept."""
    entities = list(entities)
    twice = same_span(entities)
    rest = [e for e in entities if e not in {e for e, _ in twice}]
    return twice + left_out(rest, cross, CROSSES)


def same_span(entities: Iterable[WordEntity]) -> list[tuple[WordEntity, str]]:
    """Entities whose span an entity before them in the alphabet of labels has too."""
    seen: set[tuple[int, int]] = set()
    found = []
    for entity in sorted(entities):
        if entity[:2] in seen:
            found.append((entity, SAME_SPAN))
        seen.add(entity[:2])
    return found


def left_out(
    entities: Iterable[WordEntity], clash: Callable[[WordEntity, WordEntity], bool], reason: str
) -> list[tuple[WordEntity, str]]:
    """Entities that clash with one that is kept, where longer ones are kept first, then those that begin first."""
    kept: list[WordEntity] = []
    found = []
    for entity in sorted(entities, key=lambda e: (e.start - e.end, e)):
        if any(clash(entity, other) for other in kept):
            found.append((entity, reason))
        else:
            kept.append(entity)
    return found


def best_first(spans: Iterable[ScoredSpan], clash: Callable[[ScoredSpan, ScoredSpan], bool]) -> list[ScoredSpan]:
    """Greedy choice: the best span first, then each that clashes with none chosen before. In reading order."""
    chosen: list[ScoredSpan] = []
    for span in sorted(spans, key=lambda s: (-s.score, s)):
        if not any(clash(span, other) for other in chosen):
            chosen.append(span)
    return sorted(chosen, key=lambda s: (s.start, -s.end, s.label))


def overlap(a: WordEntity | ScoredSpan, b: WordEntity | ScoredSpan) -> bool:
    """Whether two spans share a word."""
    return a.start < b.end and b.start < a.end


def cross(a: WordEntity | ScoredSpan, b: WordEntity | ScoredSpan) -> bool:
    """Whether two spans overlap without one containing the other."""
    return a.start < b.start < a.end < b.end or b.start < a.start < b.end < a.end
