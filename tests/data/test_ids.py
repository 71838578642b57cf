"""A set of ids in 8 bytes each, against Python's own."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genner.data import ids


@given(names=st.lists(st.text(max_size=2), max_size=60), recent=st.integers(1, 8))
def test_ids_against_a_set(names: list[str], recent: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "RECENT", recent)
        some, seen = ids.IdSet(), set[str]()
        for name in names:
            assert some.add(name) == (name not in seen)
            seen.add(name)


def test_many_ids_take_few_arrays() -> None:
    some, rng = ids.IdSet(), random.Random(1)
    names = [f"document-{i}" for i in range(300_000)]
    rng.shuffle(names)
    assert all(some.add(name) for name in names)
    assert not any(some.add(name) for name in names[::100])
    assert len(some._sorted) <= 3
