"""TOML tables as dataclasses: what is wrong in one is named with what is legal."""

from dataclasses import dataclass

import pytest

from genner.errors import UsageError
from genner.toml_config import build


@dataclass(frozen=True)
class Table:
    train: tuple[str, ...]
    weight: float = 1.0
    name: str = ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"trian": ["a"]}, r"\[set\] has no key 'trian' \(did you mean 'train'\?\); known: train, weight, name"),
        ({"train": [], "zzz": 1}, r"\[set\] has no key 'zzz'; known: train, weight, name"),
        ({"train": [], "name": ["a"]}, r"\[set\] name = \['a'\] is not of type str"),  # as it is in the file
        ({"train": "a"}, r"\[set\] train = 'a' is not of type tuple\[str, \.\.\.\]"),
        ({}, r"\[set\] lacks 'train'"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_legal(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(Table, values, "set")
    assert build(Table, {"train": ["a"], "weight": 2}, "set") == Table(("a",), 2.0)


def test_a_key_of_a_table_without_keys_is_to_be_left_out() -> None:
    @dataclass(frozen=True)
    class Empty:
        pass

    with pytest.raises(
        UsageError, match=r"\[options of engine local\] has no key 'base_url', nor any other; leave it out"
    ):
        build(Empty, {"base_url": "http://x/v1"}, "options of engine local")
