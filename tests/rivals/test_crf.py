"""The CRF against sums and maxima over all tag sequences."""

from itertools import pairwise, product

import pytest
import torch

from genner.data.tags import scheme_errors
from genner.rivals.crf import CRF, follows

LENGTHS = [4, 1, 3]


@pytest.mark.parametrize("bioes", [True, False])
def test_it_is_a_sum_over_all_sequences(bioes: bool) -> None:
    torch.manual_seed(int(bioes))
    tags = ["O", *(f"{p}-{label}" for label in "XY" for p in ("BIES" if bioes else "BI"))]
    crf = CRF(tags, bioes)
    torch.nn.init.normal_(crf.transitions)
    crf.requires_grad_(False)
    emissions = torch.randn(len(LENGTHS), max(LENGTHS), len(tags))
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    partition, best = crf.log_partition(emissions, mask), crf.decode(emissions, mask)
    marginals = crf.marginals(emissions, mask)
    for row, length in enumerate(LENGTHS):
        scores = {}
        for path in product(range(len(tags)), repeat=length):
            edges = [None, *(tags[i] for i in path), None]
            if not all(follows(a, b, bioes) for a, b in pairwise(edges)):
                continue
            numbers = [-1, *path, -1]
            moved = sum(crf.transitions[a, b] for a, b in pairwise(numbers))
            scores[path] = moved + sum(emissions[row, i, tag] for i, tag in enumerate(path))
        total = torch.stack(list(scores.values())).logsumexp(0)  # type: ignore[arg-type]
        torch.testing.assert_close(partition[row], total)
        assert tuple(best[row]) == max(scores, key=lambda path: float(scores[path]))
        for place in range(length):
            for tag in range(len(tags)):
                chance = sum(float((s - total).exp()) for path, s in scores.items() if path[place] == tag)
                assert float(marginals[row, place, tag]) == pytest.approx(chance, abs=1e-4)
        path, score = next(iter(scores.items()))
        padded = torch.tensor([[*path, *[0] * (max(LENGTHS) - length)]])
        torch.testing.assert_close(crf.score(emissions[row : row + 1], padded, mask[row : row + 1])[0], score)
        assert not marginals[row, length:].any()
    gold = torch.tensor([[*row, *[0] * (max(LENGTHS) - len(row))] for row in best])
    expected = (partition - crf.score(emissions, gold, mask)).mean()
    torch.testing.assert_close(crf.loss(emissions, gold, mask), expected)
    assert expected > 0


@pytest.mark.parametrize("scheme", ["bioes", "iob2"])
def test_legal_sequences_are_those_of_the_scheme(scheme: str) -> None:
    tags = ["O", *(f"{p}-{label}" for label in "XY" for p in ("BIES" if scheme == "bioes" else "BI"))]
    for path in product(tags, repeat=3):
        edges = [None, *path, None]
        legal = all(follows(a, b, scheme == "bioes") for a, b in pairwise(edges))
        assert legal == (not list(scheme_errors(path, scheme)))  # type: ignore[arg-type]
