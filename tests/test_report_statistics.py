"""The report's intervals and tests are those of the evaluation, on the documents that they should be on."""

import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genner.document import Document, Entity
from genner.evaluation import compare, interval
from genner.evaluation.bootstrap import Difference, bounds, paired
from genner.report.draws import Draws, stars, together
from genner.report.outcomes import Outcome, micro

row = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
counts = st.lists(row, min_size=1, max_size=12)


def outcome(rows: Sequence[tuple[int, int, int]], ids: Sequence[str] = ()) -> Outcome:
    names = tuple(ids) or tuple(f"d{i:03}" for i in range(len(rows)))
    counts = np.array(rows, dtype=np.float64)
    return Outcome(names, counts[:0], counts, None, {}, {})


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
    assert found.first == pytest.approx(micro(part.strict))


def test_systems_without_a_document_in_common_are_resampled_apart() -> None:
    a, b = outcome([(1, 0, 1)] * 5), outcome([(2, 1, 0)] * 4, ["x", "y", "z", "w"])
    change = Draws({"a": a, "b": b}, 50).change(["a"], ["b"])
    assert change is not None
    assert (change.together, change.documents) == (False, 0)
    assert change.difference.value == pytest.approx(micro(b.strict) - micro(a.strict))


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
    assert draws.interval(["a"], "paper") is None


# -- one decision

resampled = st.lists(st.integers(-3, 9), min_size=1, max_size=300).map(lambda xs: np.array(xs) / 10)


@given(resampled, st.integers(1, 12), st.floats(-1, 1))
@settings(deadline=None)
def test_a_mark_and_an_interval_never_contradict_each_other(scores: np.ndarray, several: int, value: float) -> None:
    (d, *_) = together([paired(0 * scores, scores, value)] * several)
    assert d is not None
    outside = d.low > 0 or d.high < 0
    assert outside == d.sure == (d.p <= 0.05 + 1e-12) == (stars(d) in ("*", "**"))
    if not d.known:  # too few resamples for so many comparisons: nothing is claimed
        assert (stars(d), outside) == ("?", False)
        assert len(scores) + 1 < 2 * several / 0.05
    # Twice as sure needs the interval of that level.
    least = int(0.01 / several / 2 * (len(scores) + 1) + 1e-9)
    ends = sorted(scores)
    surer = least > 0 and (ends[least - 1] > 0 or ends[-least] < 0)
    assert (stars(d) == "**") == surer


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(rows_of(n), rows_of(n))), st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_so_it_is_for_any_counts(rows: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]], m: int) -> None:
    change = Draws({"a": outcome(rows[0]), "b": outcome(rows[1])}, 400).change(["a"], ["b"])
    assert change is not None
    d = change.difference
    for judged in (d, d.among(m)):
        assert judged.known
        assert (stars(judged) != "") == (not judged.low <= 0 <= judged.high)
    wider = d.among(m)
    assert wider.low <= d.low <= d.high <= wider.high
    assert wider.p == pytest.approx(min(1, m * d.p))
    assert d.among(1) == d


def test_an_interval_is_of_the_resamples_that_it_says() -> None:
    """At 95 % of 39 resamples it is from the least to the greatest; of 79 from the second on either side."""
    assert list(bounds(np.arange(39.0))) == [0, 38]
    assert list(bounds(np.arange(79.0)[::-1].copy())) == [1, 77]
    assert list(bounds(np.arange(9999.0))) == [249, 9749]
    assert list(bounds(np.arange(5.0))) == [0, 4]  # too few: all of them
    d = paired(np.zeros(39), np.arange(39.0) + 1, 20)
    assert (d.low, d.high, d.p, d.sure) == (1, 39, 0.05, True)
    few = paired(np.zeros(38), np.arange(38.0) + 1, 20)
    assert (few.known, few.sure) == (False, False)
    assert few.p > 0.05
    assert few.to_dict() == {"value": 20, "low": None, "high": None, "p": few.p}


def test_differences_that_are_nothing_but_rounding_are_none() -> None:
    d = paired(np.zeros(99), np.full(99, 1e-17), 1e-17)
    assert (d.low, d.high, d.p, stars(d)) == (0, 0, 1, "")


def test_what_cannot_be_tested_is_judged_by_nobody() -> None:
    one = paired(np.zeros(999), np.linspace(0.01, 1, 999), 0.5)
    assert together([one, None]) == [one, None]
    (first, _, second) = together([one, None, one])
    assert first == second == one.among(2)
    assert isinstance(first, Difference)
    assert stars(None) == "?"
