"""Changes between two sides: their standard errors, and what a change of F1 is made of."""

from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from genner.ability.items import AbilityItem, read_items, write_items
from genner.ability.paired_differences import CUTS, Decomposition, DifferencePart, decompose, delta, deltas, pairs
from genner.ability.qa_metrics import SCORERS
from genner.ability.run import AbilityComparison, summary
from genner.ability.table import verdict
from genner.errors import DataError, UsageError

EASY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
ANSWER = st.sampled_from(
    ["", " \n", "Kiel", "The answer is Kiel.", "It may be Kiel or Lübeck", "7 ships", "7", "no\nKiel"]
)
GOLD = st.sampled_from([["Kiel"], ["7 ships", "7"], ["the town of Kiel", "Kiel"]])
ROWS = st.lists(st.tuples(ANSWER, ANSWER, GOLD), min_size=1, max_size=8)


def item(number: int, answer: str | None, gold: list[str], **more: object) -> AbilityItem:
    em, f1 = SCORERS["squad"](answer or "", gold)
    known = {"em": em, "f1": f1, "tokens": len((answer or "").split()), "metrics": {"f1": f1}}
    return AbilityItem(f"squad:{number}", f"hash{number}", answer, gold, **{**known, **more})  # type: ignore[arg-type]


def sides(rows: list[tuple[str, str, list[str]]]) -> tuple[list[AbilityItem], list[AbilityItem]]:
    return (
        [item(i, base, gold) for i, (base, _, gold) in enumerate(rows)],
        [item(i, other, gold) for i, (_, other, gold) in enumerate(rows)],
    )


class TestDecomposition:
    @EASY
    @given(ROWS)
    def test_the_parts_add_up_to_the_change(self, rows: list[tuple[str, str, list[str]]]) -> None:
        base, other = sides(rows)
        found = decompose("squad", base, other)
        change = np.mean([b.f1 - a.f1 for a, b in zip(base, other, strict=True)])
        assert [parts.cut for parts in found] == list(CUTS)
        for parts in found:
            assert parts.total.value == pytest.approx(change)
            assert parts.empty.value + parts.form.value + parts.content.value == pytest.approx(parts.total.value)
            assert parts.empty == found[0].empty  # no cut changes what was not said

    @EASY
    @given(ROWS)
    def test_the_other_way_round_it_changes_sign(self, rows: list[tuple[str, str, list[str]]]) -> None:
        base, other = sides(rows)
        for there, back in zip(decompose("squad", base, other), decompose("squad", other, base), strict=True):
            for name in ("total", "empty", "form", "content"):
                one, two = getattr(there, name), getattr(back, name)
                assert one.value == pytest.approx(-two.value)
                assert one.se == pytest.approx(two.se)

    def test_brevity_alone_is_form(self) -> None:
        base, other = sides([("The answer is Kiel. I am sure.", "Kiel", ["Kiel"])] * 4)
        short, same_length, window = decompose("squad", base, other)
        assert short.total.value > 0.5
        assert short.content.value == window.content.value == 0.0
        assert short.form.value == pytest.approx(short.total.value)
        assert same_length.content.value == 1.0  # cut to one word, the wordy side says "The": this cut favours brevity

    def test_knowing_more_is_content(self) -> None:
        base, other = sides([("Bonn", "Kiel", ["Kiel"])] * 4)
        for parts in decompose("squad", base, other):
            assert parts.content.value == parts.total.value == 1.0

    def test_speaking_at_all_is_neither(self) -> None:
        base, other = sides([(" \n", "Kiel", ["Kiel"]), ("", "", ["Kiel"])])
        for parts in decompose("squad", base, other):
            assert (parts.empty.value, parts.form.value, parts.content.value) == (0.5, 0.0, 0.0)

    def test_a_task_without_f1(self) -> None:
        with pytest.raises(UsageError, match="'piqa' has no F1"):
            decompose("piqa", *sides([("a", "b", ["Kiel"])]))


class TestDeltas:
    def test_standard_error_is_that_of_the_mean_of_differences(self) -> None:
        rng = np.random.default_rng(1)
        base = rng.random(400)
        other = base + rng.normal(0.1, 0.3, 400)
        found = delta(list(base), list(other))
        differences = other - base
        assert found.value == pytest.approx(differences.mean())
        assert found.se == pytest.approx(differences.std(ddof=1) / sqrt(400))
        assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 399, differences.mean(), found.se))
        assert found.p == pytest.approx(stats.ttest_rel(other, base).pvalue)
        assert found.p < 0.01

    @EASY
    @given(st.lists(st.floats(-5, 5), min_size=1, max_size=20))
    def test_against_itself_nothing_changes(self, values: list[float]) -> None:
        found = delta(values, values)
        assert (found.value, found.se, found.p, found.sure) == (0, 0, 1, False)
        assert found.low < 0 < found.high  # other items may differ

    def test_of_a_single_item_nothing_is_known_of_others(self) -> None:
        found = delta([0.0], [1.0])
        assert (found.value, found.sure, found.difference.known) == (1.0, False, False)
        assert {k: v for k, v in found.to_dict().items() if v is None} == dict.fromkeys(("se", "low", "high", "p"))

    def test_only_items_that_have_it(self) -> None:
        base, other = sides([("Kiel", "Kiel", ["Kiel"]), ("", "Bonn", ["Kiel"])])
        base[0], other[0] = (replace(x, loglikelihood=-4.0, gold_tokens=2) for x in (base[0], other[0]))
        found = deltas(base, other)
        assert (found["per_token"].n, found["per_token"].base) == (1, -2.0)
        assert (found["f1"].n, found["f1_answered"].n, found["f1_answered"].other) == (2, 1, 1.0)
        assert found["empty"].value == -0.5
        assert found["harness/f1"].value == found["f1"].value
        assert "choice" not in found

    def test_other_prompts_are_refused(self) -> None:
        base, other = sides([("a", "b", ["Kiel"])] * 2)
        with pytest.raises(UsageError, match="item squad:1 has another prompt"):
            pairs(base, [other[0], replace(other[1], prompt_hash="x")])
        with pytest.raises(UsageError, match="2 and 1 items"):
            pairs(base, other[:1])
        with pytest.raises(UsageError, match="0 and 0 items"):
            pairs([], [])


class TestItems:
    def test_choice_is_by_token_and_a_tie_is_wrong(self) -> None:
        one = AbilityItem("a", "h", "x", ["y"], loglikelihood=-6.0, gold_tokens=3)
        assert one.choice is None
        assert replace(one, others=[(-5.0, 2), (-9.0, 3)]).choice == 1.0
        assert replace(one, others=[(-2.0, 1)]).choice == 0.0

    @EASY
    @given(ROWS)
    def test_written_and_read(self, rows: list[tuple[str, str, list[str]]]) -> None:
        import tempfile

        items = [replace(x, others=[(-1.5, 2)]) for x in sides(rows)[0]]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "items.jsonl"
            write_items(path, items)
            assert read_items(path) == items
            assert [p.name for p in Path(folder).iterdir()] == ["items.jsonl"]

    def test_a_line_that_is_no_item_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "items.jsonl"
        write_items(path, [item(0, "x", ["y"])])
        path.write_text(path.read_text(encoding="utf-8") + '{"id": "a"}\n', encoding="utf-8")
        with pytest.raises(DataError, match=r"items\.jsonl:2: is not an item"):
            read_items(path)

    def test_summary_leaves_out_what_none_has(self) -> None:
        found = summary([item(0, "", ["Kiel"]), item(1, "Kiel", ["Kiel"], truncated=True)])
        assert found == {"em": 0.5, "f1": 0.5, "empty_rate": 0.5, "truncated_rate": 0.5, "mean_tokens": 0.5}
        assert summary([AbilityItem("a", "h", "x", ["y"], em=1.0)]) == {"em": 1.0}


def comparison(total: float, contents: list[float], choice: float | None, se: float = 0.01) -> AbilityComparison:
    def part(value: float) -> DifferencePart:
        return DifferencePart(value, se, value - 1.96 * se, value + 1.96 * se)

    parts = [
        Decomposition(cut, part(total), part(0.0), part(total - value), part(value))
        for cut, value in zip(CUTS, contents, strict=True)
    ]
    # Of a change that is the same in so many items the interval is short.
    sides = [[max(0.0, -choice)] * 300, [max(0.0, choice)] * 300] if choice is not None else []
    changes = {"choice": delta(*sides)} if sides else {}
    return AbilityComparison("squad", 0, "base", "adapter", changes, parts)


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (comparison(0.015, [0.0, 0.0, 0.0], None), "no more than chance"),
        (comparison(0.30, [0.0, 0.01, -0.01], 0.0), "This is form"),
        (comparison(0.30, [0.2, 0.3, 0.1], 0.2), "This is more than form"),
        (comparison(-0.30, [-0.2, -0.3, -0.1], -0.2), "This is more than form"),
        (comparison(0.30, [0.2, 0.3, 0.1], 0.0), "do not decide"),  # said better, not known better
        (comparison(0.30, [0.0, 0.3, 0.0], 0.0), "do not decide"),  # it depends on the cut
        (comparison(0.30, [0.0, 0.0, 0.0], 0.2), "do not decide"),
    ],
)
def test_verdict(given_: AbilityComparison, says: str) -> None:
    assert says in verdict(given_)
    assert ("falls" in verdict(given_)) == (given_.parts[0].total.value < -0.02)
