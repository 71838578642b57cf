"""The report's intervals and tests are those of the evaluation, on the documents that they should be on."""

import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genner.document import Document, Entity
from genner.evaluation import compare, interval
from genner.report.draws import Draws, holm, stars
from genner.report.outcomes import Outcome, micro

row = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
counts = st.lists(row, min_size=1, max_size=12)
probabilities = st.lists(st.floats(0, 1), max_size=8)


def outcome(rows: Sequence[tuple[int, int, int]], ids: Sequence[str] = ()) -> Outcome:
    names = tuple(ids) or tuple(f"d{i:03}" for i in range(len(rows)))
    return Outcome(names, np.array(rows, dtype=np.float64), None, {}, {})


def rows_of(n: int) -> st.SearchStrategy[list[tuple[int, int, int]]]:
    return st.lists(row, min_size=n, max_size=n)


def seed_of(o: Outcome) -> int:
    """Other documents are drawn with other random numbers."""
    return zlib.crc32("\n".join(o.ids).encode())


@given(counts)
@settings(deadline=None)
def test_an_interval_is_that_of_the_evaluation(rows: list[tuple[int, int, int]]) -> None:
    o = outcome(rows)
    expected = interval(*np.array(rows).T, resamples=200, seed=7 + seed_of(o))
    assert Draws({"a": o}, 200, 7).interval(["a"]) == pytest.approx(expected)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(rows_of(n), rows_of(n))))
@settings(deadline=None, max_examples=30)
def test_a_change_is_that_of_compare(rows: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]) -> None:
    first, second = rows
    # Both need the same gold: the second system's numbers of gold entities are made those of the first.
    second = [(min(b[0], a[0] + a[2]), b[1], max(a[0] + a[2] - b[0], 0)) for a, b in zip(first, second, strict=True)]
    gold, one, two = [], [], []
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        text, total = "x" * 30, a[0] + a[2]
        gold.append(Document(text, tuple(Entity(k, k + 1, "P") for k in range(total)), f"d{i:03}"))
        for system, (tp, fp, _) in ((one, a), (two, b)):
            wrong = tuple(Entity(20 + k, 21 + k, "P") for k in range(fp))
            system.append(Document(text, (*(Entity(k, k + 1, "P") for k in range(tp)), *wrong), f"d{i:03}"))
    a, b = outcome(first), outcome(second)
    expected = compare(gold, one, two, resamples=100, seed=seed_of(a)).differences["strict"]
    change = Draws({"a": a, "b": b}, 100, 0).change(["a"], ["b"])
    assert change is not None
    found = change.difference
    assert (found.value, found.low, found.high, found.p) == pytest.approx(
        (expected.value, expected.low, expected.high, expected.p)
    )
    assert (change.documents, change.together) == (len(first), True)


@given(counts, st.data())
@settings(deadline=None)
def test_a_change_is_on_the_documents_that_both_have(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    ids = [f"d{i:03}" for i in range(len(rows))]
    kept = sorted(data.draw(st.sets(st.sampled_from(ids), min_size=1)))
    other = data.draw(rows_of(len(kept)))
    part = outcome([rows[ids.index(id)] for id in kept], kept)
    b = outcome(other, kept)
    found = Draws({"a": outcome(rows), "b": b}, 50).change(["a"], ["b"])
    expected = Draws({"a": part, "b": b}, 50).change(["a"], ["b"])
    assert found == expected
    assert found is not None
    assert found.documents == len(kept)
    assert found.first == pytest.approx(micro(part.counts))


def test_systems_without_a_document_in_common_are_resampled_apart() -> None:
    a, b = outcome([(1, 0, 1)] * 5), outcome([(2, 1, 0)] * 4, ["x", "y", "z", "w"])
    change = Draws({"a": a, "b": b}, 50).change(["a"], ["b"])
    assert change is not None
    assert (change.together, change.documents) == (False, 0)
    assert change.difference.value == pytest.approx(b.f1 - a.f1)


@given(counts)
@settings(deadline=None)
def test_a_group_is_the_mean_of_its_cells_on_each_resample(rows: list[tuple[int, int, int]]) -> None:
    a, b = outcome(rows), outcome([(fn, fp, tp) for tp, fp, fn in rows])
    draws = Draws({"a": a, "b": b}, 40)
    one, two, both = draws.f1(["a"]), draws.f1(["b"]), draws.f1(["a", "b"])
    assert one is not None
    assert two is not None
    assert both is not None
    assert both == pytest.approx((one + two) / 2)


def test_no_interval_without_answers() -> None:
    draws = Draws({"a": outcome([(1, 0, 0)])}, 10)
    assert draws.interval([]) is None
    assert draws.interval(["a", "gone"]) is None
    assert draws.change(["a"], ["gone"]) is None
    assert draws.interval(["a"], published=True) is None


@given(probabilities)
@settings(deadline=None)
def test_holm_is_its_definition(ps: list[float]) -> None:
    """Slow: the i-th smallest is the largest of (m - j + 1) p(j) over all j up to i."""
    adjusted = holm(ps)
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    for rank, i in enumerate(order):
        expected = max(min(1.0, (len(ps) - j) * ps[order[j]]) for j in range(rank + 1))
        assert adjusted[i] == pytest.approx(expected)
        assert adjusted[i] >= ps[i]


def test_stars() -> None:
    assert [stars(p) for p in (None, 0.001, 0.01, 0.049, 0.05)] == ["?", "**", "*", "*", ""]
