"""Grids of word pairs: Biaffine, Biaffine+CNN and W2NER."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.encoders import LABELS
from torch import nn

from genner.errors import UsageError
from genner.rivals import rival
from genner.rivals.biaffine import BiaffineCnnNetwork, BiaffineCnnOptions, BiaffineNetwork, BiaffineOptions
from genner.rivals.encoder import WordEncoder
from genner.rivals.grid import best_nested, convolve, parts
from genner.rivals.overlaps import best_first, cross
from genner.rivals.w2ner import NNW, W2NerNetwork, W2NerOptions, distance_buckets
from genner.rivals.words import ScoredSpan, Window, WordEntity, words


class NoEncoder(nn.Module):
    """Stands for an encoder of width 6 where none is called."""

    width, layers, name = 6, 1, "none"

    model = SimpleNamespace(config=SimpleNamespace(num_hidden_layers=2))


def network(kind: type, options: Any) -> Any:
    torch.manual_seed(0)
    return kind(NoEncoder(), LABELS, options).eval()


def w2ner() -> W2NerNetwork:
    made = network(W2NerNetwork, W2NerOptions(lstm=8, channels=4, biaffine=6, hidden=6))
    assert isinstance(made, W2NerNetwork)
    return made


def window(size: int, *entities: tuple[int, int, str]) -> Window:
    text = " ".join("a" * size)
    return Window(text, words(text), tuple(WordEntity(*e) for e in entities), (0, size))


def test_biaffine_targets_by_hand() -> None:
    made = network(BiaffineNetwork, BiaffineOptions(channels=4, hidden=8))
    grid = made.targets(window(3, (0, 2, "PER"), (2, 3, "LOC")))
    tags = made.labels.tags
    assert sorted(map(tuple, grid.nonzero().tolist())) == sorted(
        [(0, 1, tags.index("PER")), (1, 0, tags.index("PER")), (2, 2, tags.index("LOC"))]
    )
    halves = grid.clone()
    halves[1, 0] = 0.2  # the mean of both cells is 0.6
    assert made.scored(halves) == [
        ScoredSpan(0, 2, "PER", pytest.approx(0.6)),
        ScoredSpan(2, 3, "LOC", 1.0),
    ]
    halves[1, 0] = -0.2  # 0.4
    assert [s[:2] for s in made.scored(halves)] == [(2, 3)]


def test_w2ner_targets_by_hand() -> None:
    made = w2ner()
    loc, per = (2 + made.number[tag] for tag in ("LOC", "PER"))
    grid = made.targets(window(4, (0, 3, "PER"), (2, 3, "LOC")))
    assert grid.tolist() == [[0, NNW, 0, 0], [0, 0, NNW, 0], [per, 0, loc, 0], [0, 0, 0, 0]]


@given(st.just(w2ner()), st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=5, max_size=5))
def test_w2ner_reads_the_contiguous_ones_of_all_paths(made: W2NerNetwork, rows: list[list[int]]) -> None:
    """The published reader follows all links; of its paths those that leave out no word are kept."""

    def paths(place: int, tail: int) -> list[list[int]]:
        if place == tail:
            return [[place]]
        steps = [j for j in range(place + 1, tail + 1) if rows[place][j] == NNW]
        return [[place, *rest] for step in steps for rest in paths(step, tail)]

    slow = {
        WordEntity(head, tail + 1, made.labels.tags[rows[tail][head] - 2])
        for tail in range(5)
        for head in range(tail + 1)
        if rows[tail][head] > NNW
        for path in paths(head, tail)
        if path == list(range(head, tail + 1))
    }
    assert sorted(made.read(torch.tensor(rows))) == sorted(slow)


def test_a_grid_full_of_links_has_no_more_entities_than_cells() -> None:
    """Paths of all links would be 2**58 between the first and last of 60 words."""
    grid = torch.full((60, 60), NNW).triu(1) + torch.full((60, 60), 2).tril()
    assert len(w2ner().read(grid)) == 60 * 61 // 2


def test_distance_buckets() -> None:
    found = distance_buckets(600, torch.device("cpu"))
    assert [int(found[i, 0]) for i in (0, 1, 2, 3, 4, 7, 8, 255, 256, 599)] == [0, 1, 2, 2, 3, 3, 4, 8, 9, 9]
    assert [int(found[0, i]) for i in (1, 2, 3, 4, 599)] == [10, 11, 11, 12, 18]


def test_projected_sum_is_that_of_the_concatenation() -> None:
    made = network(BiaffineNetwork, BiaffineOptions(channels=4, hidden=8, heads=2, size_width=3))
    vectors = torch.randn(2, 20, 6)
    head, tail = made.head(vectors), made.tail(vectors)
    grid = made.grid(vectors)
    for b, i, j in [(0, 0, 0), (1, 2, 19), (0, 19, 1), (1, 7, 3)]:
        one = torch.ones(1)
        size = made.sizes.weight[min(max(j - i, -15), 14) + 15]
        whole = made.sum @ torch.cat([head[b, i], one, tail[b, j], one, size])
        h, t = head[b, i].view(2, 4), tail[b, j].view(2, 4)
        products = [h[k] @ made.product[k, d] @ t[k] for k in range(2) for d in range(2)]
        assert torch.allclose(grid[b, i, j], whole + torch.stack(products), atol=1e-5)


def test_projected_w2ner_grid_is_that_of_the_concatenation() -> None:
    made = w2ner()
    for layer in (made.gain, made.shift):
        nn.init.normal_(layer.weight)
    vectors = torch.randn(2, 5, 8)
    grid, bucket = made.grid(vectors), distance_buckets(5, vectors.device)
    for b, i, j in [(0, 0, 0), (1, 2, 4), (0, 4, 1)]:
        mean, deviation = vectors[b, i].mean(), vectors[b, i].std(correction=0)
        cell = made.gain(vectors[b, j]) * (vectors[b, i] - mean) / deviation + made.shift(vectors[b, j])
        region = made.regions.weight[int(i >= j)]
        whole = made.reduce(torch.cat([cell, made.distances.weight[bucket[i, j]], region]))
        assert torch.allclose(grid[b, i, j], whole, atol=1e-4)


def test_padding_does_not_reach_convolutions() -> None:
    cells = torch.zeros(1, 4, 4, dtype=torch.bool)
    cells[:, :3, :3] = True
    grid = torch.randn(1, 4, 4, 2)
    convolution = nn.Conv2d(2, 2, 3, padding=1)
    assert torch.allclose(
        convolve(convolution, grid, cells)[:, :3, :3],
        convolve(convolution, grid[:, :3, :3], cells[:, :3, :3]),
        atol=1e-6,
    )


def test_the_last_convolution_is_there_only_if_asked_for() -> None:
    """All weights get a gradient with and without it: none is dead as in the published code."""
    for last in (False, True):
        options = BiaffineCnnOptions(channels=4, hidden=8, depth=2, last_convolution=last)
        made = network(BiaffineCnnNetwork, options)
        assert len(made.convolutions) == 2 + last
        cells = torch.ones(1, 3, 3, dtype=torch.bool)
        made.output(made.refined(made.grid(torch.randn(1, 3, 6)), cells)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.convolutions.parameters())


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4), st.integers(0, 5)), max_size=12, unique_by=lambda s: s[:2])
)
def test_best_nested_spans(spans: list[tuple[int, int, int]]) -> None:
    found = [ScoredSpan(start, start + length, "PER", score / 5) for start, length, score in spans]
    assert best_nested(found, 12) == best_first(found, cross)


def test_parts_hold_each_window_once() -> None:
    given_ = [window(size) for size in (1, 2, 5, 9, 9, 3)]
    cut = list(parts(given_, 100))
    assert [w for part in cut for w in part] == given_
    assert [len(part) for part in cut] == [3, 1, 1, 1]


def test_wrong_hyperparameters_are_told(tiny_encoder: WordEncoder) -> None:
    for name, wrong, said in (
        ("biaffine", {"hidden": 30}, "no multiple of heads"),
        ("biaffine_cnn", {"depth": 0}, "1 or more"),
        ("w2ner", {"lstm": 5}, "even"),
        ("w2ner", {"dilations": ()}, "dilations"),
    ):
        with pytest.raises(UsageError, match=said):
            rival(name, "x", **wrong)
    with pytest.raises(UsageError, match="at most that"):
        W2NerNetwork(tiny_encoder, LABELS, W2NerOptions(layers=3))
