"""The report's intervals and tests are those of the evaluation, on the documents that they should be on."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genner.document import Document, Entity
from genner.evaluation import compare, interval
from genner.evaluation.intervals import mean
from genner.evaluation.jackknife import Difference
from genner.report.estimates import Change, Estimates, corrected, stars
from genner.report.outcomes import CellOutcome, micro

row = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
counts = st.lists(row, min_size=1, max_size=12)


def outcome(rows: Sequence[tuple[int, int, int]], ids: Sequence[str] = ()) -> CellOutcome:
    names = tuple(ids) or tuple(f"d{i:03}" for i in range(len(rows)))
    counts = np.array(rows, dtype=np.float64)
    return CellOutcome(names, counts[:0], counts, None, {}, {})


def rows_of(n: int) -> st.SearchStrategy[list[tuple[int, int, int]]]:
    return st.lists(row, min_size=n, max_size=n)


@given(counts)
@settings(deadline=None)
def test_an_interval_is_that_of_the_evaluation(rows: list[tuple[int, int, int]]) -> None:
    o = outcome(rows)
    expected = interval(*np.array(rows).T)
    found = Estimates({"a": o}).interval(["a"])
    assert found == (pytest.approx(expected) if expected else None)


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
    expected = compare(gold, one, two).differences["strict"]
    change = Estimates({"a": a, "b": b}).change(["a"], ["b"])
    assert change is not None
    found = change.difference
    assert (found.value, found.low, found.high, found.p) == pytest.approx(
        (expected.value, expected.low, expected.high, expected.p)
    )
    assert (change.documents, change.paired) == (len(first), True)


@given(counts, st.data())
@settings(deadline=None)
def test_a_change_is_on_the_documents_that_both_have(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    ids = [f"d{i:03}" for i in range(len(rows))]
    kept = sorted(data.draw(st.sets(st.sampled_from(ids), min_size=1)))
    other = data.draw(rows_of(len(kept)))
    part = outcome([rows[ids.index(id)] for id in kept], kept)
    b = outcome(other, kept)
    found = Estimates({"a": outcome(rows), "b": b}).change(["a"], ["b"])
    expected = Estimates({"a": part, "b": b}).change(["a"], ["b"])
    assert found == expected
    assert found is not None
    assert found.documents == len(kept)
    assert found.first == pytest.approx(micro(part.strict))


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_shared_documents_are_paired_unit_by_unit_however_each_side_counts_units(data: st.DataObject) -> None:
    """Two files of the same documents in another order, of which one has lost a document, and one its groups."""
    n = 8
    first, second = data.draw(rows_of(n)), data.draw(rows_of(n - 1))
    ids = tuple(f"d{i}" for i in range(n))
    groups = [i // 2 for i in range(n)]
    names = data.draw(st.permutations(range(4)))

    def changed(units: Sequence[int], others: Sequence[int]) -> Change | None:
        a = CellOutcome(ids, np.array(first, float), np.array(first, float), None, {}, {}, units=tuple(units))
        other = np.array(second, float)
        b = CellOutcome(ids[1:], other, other, None, {}, {}, units=tuple(others))
        return Estimates({"a": a, "b": b}).change(["a"], ["b"])

    expected = changed(groups, groups[1:])
    assert expected is not None
    same = [
        changed(groups, [names[g] for g in groups[1:]]),
        changed(groups, range(n - 1)),
        changed(range(n), groups[1:]),
    ]
    for found in same:
        assert found is not None
        d, e = found.difference, expected.difference
        assert (d.value, d.low, d.high, d.p) == pytest.approx((e.value, e.low, e.high, e.p))


def test_systems_without_a_document_in_common_are_independent() -> None:
    a, b = outcome([(1, 0, 1)] * 5), outcome([(2, 1, 0)] * 4, ["x", "y", "z", "w"])
    change = Estimates({"a": a, "b": b}).change(["a"], ["b"])
    assert change is not None
    assert (change.paired, change.documents) == (False, 0)
    assert change.difference.value == pytest.approx(micro(b.strict) - micro(a.strict))


@given(counts)
@settings(deadline=None)
def test_a_group_is_the_mean_of_its_cells_over_documents_and_seeds(rows: list[tuple[int, int, int]]) -> None:
    a, b = outcome(rows), outcome([(fn, fp, tp) for tp, fp, fn in rows])
    scored = Estimates({"a": a, "b": b})
    one, two, both = scored.f1(["a"]), scored.f1(["b"]), scored.f1(["a", "b"])
    assert one is not None
    assert two is not None
    assert both is not None
    assert both.value == pytest.approx((one.value + two.value) / 2)
    over_documents, seeds = ((one + two) * 0.5).se, abs(one.value - two.value) / 2
    assert both.se**2 == pytest.approx(over_documents**2 + seeds**2)


def test_the_same_trainings_are_compared_seed_by_seed() -> None:
    """What two trainings gain alike is told apart from how they differ; other trainings are independent."""
    rng = np.random.default_rng(0)
    cells = {}
    for seed, p in enumerate((0.3, 0.5, 0.7)):
        tp = rng.binomial(20, p, 60)
        cells[f"free{seed}"] = outcome([(int(t), 40 - int(t), 40 - int(t)) for t in tp])
        cells[f"grammar{seed}"] = outcome([(int(t) + 4, 36 - int(t), 36 - int(t)) for t in tp])
    free, grammar = ([f"{name}{seed}" for seed in range(3)] for name in ("free", "grammar"))
    same = Estimates(cells, {id: f"training{id[-1]}" for id in cells}).change(free, grammar)
    other = Estimates(cells, {id: f"training of {id}" for id in cells}).change(free, grammar)
    assert same is not None
    assert other is not None
    assert same.difference.value == other.difference.value
    assert (same.difference.sure, other.difference.sure) == (True, False)
    # A training that is asked several times is one seed, not several.
    twice = {"a": cells["free0"], "b": cells["free0"], "c": cells["free2"]}
    scored = Estimates(twice, {"a": "x", "b": "x", "c": "y"}).f1(["a", "b", "c"])
    assert scored is not None
    (seeds,) = [s for name, s in scored.samples.items() if isinstance(name, tuple) and name[0] == "seeds"]
    assert len(seeds.left_out) == 2


def test_groups_are_the_units_of_all_cells_on_the_same_documents() -> None:
    rows = [(1, 0, 0)] * 20 + [(0, 1, 1)] * 20
    old = outcome(rows)  # of a record that names no groups
    new = CellOutcome(
        old.ids, old.repaired, old.strict, None, {}, {}, units=tuple(i // 4 for i in range(40)), unit="group"
    )
    scored = Estimates({"old": old, "new": new})
    assert (scored.units("old"), scored.units("new"), scored.units("gone")) == (10, 10, 0)
    grouped = interval(*np.array(rows).T, [i // 4 for i in range(40)])
    assert scored.interval(["old"]) == scored.interval(["new"]) == pytest.approx(grouped)


def test_no_interval_without_answers() -> None:
    scored = Estimates({"a": outcome([(1, 0, 0)])})
    assert scored.interval([]) is None
    assert scored.interval(["a", "gone"]) is None
    assert scored.interval(["a"]) is None  # of a single document
    assert scored.change(["a"], ["gone"]) is None
    assert scored.interval(["a"], "paper") is None


# -- one decision

values = st.lists(st.integers(-3, 9), min_size=1, max_size=60).map(lambda xs: np.array(xs) / 10)


@given(values, st.integers(1, 12))
@settings(deadline=None)
def test_a_mark_and_an_interval_never_contradict_each_other(values: np.ndarray, several: int) -> None:
    (d, *_) = corrected([mean(values, least=-1, greatest=1).difference()] * several)
    assert d is not None
    outside = d.low > 0 or d.high < 0
    assert outside == d.sure == (d.p <= 0.05) == (stars(d) in ("*", "**"))
    if len(values) == 1:  # nothing is claimed
        assert (d.known, stars(d), outside) == (False, "?", False)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(rows_of(n), rows_of(n))), st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_so_it_is_for_any_counts(rows: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]], m: int) -> None:
    change = Estimates({"a": outcome(rows[0]), "b": outcome(rows[1])}).change(["a"], ["b"])
    assert change is not None
    d = change.difference
    for judged in (d, d.among(m)):
        assert (stars(judged) == "?") == (not judged.known)
        if judged.known:
            assert (stars(judged) != "") == (not judged.low <= 0 <= judged.high)
    wider = d.among(m)
    assert wider.low <= d.low <= d.high <= wider.high
    assert wider.p == pytest.approx(min(1, m * d.p))
    assert d.among(1) == d


def test_differences_that_are_nothing_but_rounding_are_none() -> None:
    d = mean(np.full(99, 1e-17), least=-1, greatest=1).difference()
    assert (d.value, d.p, stars(d)) == (0, 1, "")


def test_what_cannot_be_tested_is_judged_by_nobody() -> None:
    one = mean(np.linspace(0.01, 1, 999)).difference()
    assert corrected([one, None]) == [one, None]
    (first, _, second) = corrected([one, None, one])
    assert first == second == one.among(2)
    assert isinstance(first, Difference)
    assert stars(None) == "?"
