"""TOML tables as dataclasses: what is wrong in one is named with what is legal."""

from dataclasses import dataclass

import pytest

from genner.errors import UsageError
from genner.toml_config import build, parse_option


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


def test_options_are_written_key_and_value() -> None:
    assert parse_option("a=8", "--set") == ("a", 8)
    assert parse_option("a = 0.5", "--set") == ("a", 0.5)
    assert parse_option("a=true", "--set") == ("a", True)
    assert parse_option("a=http://x/?b=c", "--set") == ("a", "http://x/?b=c")
    assert parse_option("a='8'", "--set") == ("a", "8")
    for written in ("{}", '{"seed": 1}', "{seed = 1}", "[1]", "2020-01-01", "1\nb = 2"):
        assert parse_option(f"a={written}", "--set") == ("a", written)
    assert parse_option("a=[1, 2]", "--set", lists=True) == ("a", [1, 2])
    for wrong in ("a", "=8", ""):
        with pytest.raises(UsageError, match="legal: KEY=VALUE"):
            parse_option(wrong, "--set")


def test_whole_numbers_are_legal_for_floats() -> None:
    @dataclass(frozen=True)
    class Limits:
        rate: float = 1.0
        minutes: float | None = None

    assert build(Limits, {"rate": 2, "minutes": 3}, "limits") == Limits(2.0, 3.0)
    assert type(build(Limits, {"minutes": 3}, "limits").minutes) is float
    with pytest.raises(UsageError, match="minutes = '3'"):
        build(Limits, {"minutes": "3"}, "limits")
