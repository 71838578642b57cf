"""Grids: a vector or score for each pair of words of a window, [B, W, W, channels]."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from genner.rivals.words import ScoredSpan, Window

CELLS = 1 << 17
"""Cells of the grids that are decoded at once: 64 million numbers with 512 channels."""


def pairs(words: Tensor) -> Tensor:
    """The cells whose two words exist, [B, W, W], from the mask of words [B, W]."""
    return words.unsqueeze(2) & words.unsqueeze(1)


def parts(windows: Sequence[Window], cells: int = CELLS) -> Iterator[Sequence[Window]]:
    """Consecutive windows whose padded grids have at most `cells` cells together; one window at least."""
    start, width = 0, 0
    for end, window in enumerate(windows):
        width = max(width, len(window.words))
        if end > start and (end + 1 - start) * width**2 > cells:
            yield windows[start:end]
            start, width = end, len(window.words)
    if start < len(windows):
        yield windows[start:]


def convolve(convolution: nn.Module, grid: Tensor, cells: Tensor) -> Tensor:
    """A convolution over a grid [B, W, W, channels], which reads zeros outside `cells` [B, W, W].

    The convolution sees channels first, in the memory layout of channels last: nothing is copied.
    """
    masked = grid.masked_fill(~cells.unsqueeze(-1), 0).permute(0, 3, 1, 2)
    found: Tensor = convolution(masked).permute(0, 2, 3, 1)
    return found


def best_nested(spans: Iterable[ScoredSpan], words: int) -> list[ScoredSpan]:
    """The best span first, then each that crosses none chosen before, in reading order; all spans differ.

    The same as `best_first` without crossing spans, in a time that does not grow with the number of chosen ones.
    """
    # Of the chosen spans around a place (begun before it, ended after it): the first end and the last start.
    end, start = [words + 1] * (words + 1), [-1] * (words + 1)
    chosen = []
    for span in sorted(spans, key=lambda s: (-s.score, s)):
        if end[span.start] < span.end or start[span.end] > span.start:
            continue
        chosen.append(span)
        for place in range(span.start + 1, span.end):
            end[place] = min(end[place], span.end)
            start[place] = max(start[place], span.start)
    return sorted(chosen, key=lambda s: (s.start, -s.end, s.label))


def places(numbers: Tensor) -> list[list[int]]:
    """The indices of the true cells of a mask, as lists."""
    found: list[list[int]] = torch.nonzero(numbers).tolist()
    return found
