"""Scores of reading answers: the laws they obey, and the harness's own functions on the same strings."""

import importlib.util
from itertools import permutations
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genner.ability import qa_metrics
from genner.ability.answer_truncation import MAX_WINDOW_WORDS, same_length, short, window
from genner.ability.distractors import distractors
from genner.ability.qa_metrics import ANSWER_WORDS, SCORERS, drop_cued, drop_stock, first_line, flat, squad

WORDS_OF_ALL_KINDS = ["the", "a", "An", "Kiel", "kiel,", "two", "7", "7.0", "1,507", "1507", "3.5%", "$5.50", "12-7"]
WORDS_OF_ALL_KINDS += ["well-known", "U.S.", "nan", "-", "and", "", "(Bay)", "ΑΣ", "1e3", "\n", "7\n\nNext:"]
WORD = st.sampled_from(WORDS_OF_ALL_KINDS)
TEXT = st.lists(WORD, max_size=6).map(" ".join)
VALUE = st.sampled_from([0.0, 0.25, 0.5, 1.0])
EASY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SPANS = st.lists(TEXT, min_size=1, max_size=4)


def harness_file(name: str) -> ModuleType:
    """A file of the harness's tasks, by itself: the package behind it takes seconds to import."""
    found = importlib.util.find_spec("lm_eval")
    if found is None or found.origin is None:
        pytest.skip("lm-evaluation-harness is not installed; pip install -e '.[ability]'")
    spec = importlib.util.spec_from_file_location("harness_file", Path(found.origin).parent / "tasks" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drop_utils() -> ModuleType:
    return harness_file("drop/utils.py")


@pytest.fixture(scope="module")
def qasper() -> ModuleType:
    return harness_file("qasper/metrics.py")


class TestDrop:
    @EASY
    @given(answer=TEXT, golds=st.lists(SPANS, min_size=1, max_size=3))
    def test_stock_equals_the_harness(self, drop_utils: ModuleType, answer: str, golds: list[list[str]]) -> None:
        theirs = drop_utils.process_results({"answers": golds}, [answer])
        assert drop_stock(answer, golds) == (theirs["em"], pytest.approx(theirs["f1"], abs=1e-9))

    @EASY
    @given(said=SPANS, gold=SPANS)
    def test_spans_equal_the_harness(self, drop_utils: ModuleType, said: list[str], gold: list[str]) -> None:
        theirs = drop_utils.get_metrics(said, gold)
        exact, f1 = qa_metrics._drop(said, gold)
        assert exact == theirs[0]
        # Half a hundredth is rounded up or down, as the order of a sum has it.
        bags = [drop_utils._answer_to_bags(spans)[1] for spans in (said, gold)]
        mean = float(drop_utils._align_bags(*bags).mean())
        assert f1 in {round(mean - 1e-9, 2), round(mean + 1e-9, 2)}

    @EASY
    @given(table=st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[VALUE] * n), min_size=1, max_size=4)))
    def test_alignment_equals_trying_all(self, table: list[tuple[float, ...]]) -> None:
        rows = table if len(table) <= len(table[0]) else list(zip(*table, strict=True))
        best = max(
            sum(rows[i][j] for i, j in enumerate(order)) for order in permutations(range(len(rows[0])), len(rows))
        )
        assert qa_metrics._assigned(table) == pytest.approx(best)

    @EASY
    @given(gold=st.lists(TEXT.filter(str.strip), min_size=1, max_size=1), rest=TEXT)
    def test_the_cued_score_reads_the_first_line(self, gold: list[str], rest: str) -> None:
        line = " ".join(gold[0].split())
        assert drop_cued(f"\n {line}\n{rest}", [gold]) == drop_cued(line, [gold])
        assert drop_cued(line, [gold])[1] >= drop_stock(line, [gold])[1]  # another reading never takes away

    def test_a_list_counts_as_one(self) -> None:
        golds = [["Kiel", "Lübeck", "the Elbe"]]
        assert drop_cued("Kiel, Lübeck and the Elbe.", golds) == (1.0, 1.0)
        assert drop_stock("Kiel, Lübeck and the Elbe.", golds)[0] == 0.0

    def test_a_number_that_differs_is_worth_nothing(self) -> None:
        assert drop_cued("7 ships", [["8 ships"]]) == (0.0, 0.0)
        assert drop_cued("ships", [["8 ships"]]) == (0.0, 0.0)
        assert drop_cued("8.0 ships", [["8 ships"]]) == (1.0, 1.0)

    @EASY
    @given(golds=st.lists(SPANS, min_size=1, max_size=2), answer=TEXT)
    def test_in_bounds_and_empty_gold_is_left_out(self, golds: list[list[str]], answer: str) -> None:
        assert all(0 <= value <= 1 for value in drop_cued(answer, golds))
        assert drop_cued(answer, [[" "], *golds]) == drop_cued(answer, golds)


class TestSquad:
    @EASY
    @given(answer=TEXT, golds=st.lists(TEXT, min_size=1, max_size=3))
    def test_equals_the_script_that_the_harness_has_for_qasper(
        self, qasper: ModuleType, answer: str, golds: list[str]
    ) -> None:
        line = first_line(answer)
        em, f1 = squad(answer, golds)
        assert em == max(float(qasper.normalize_answer(line) == qasper.normalize_answer(gold)) for gold in golds)
        if all(qasper.normalize_answer(text) for text in (line, *golds)):  # it calls nothing and nothing different
            assert f1 == pytest.approx(max(qasper.f1_abstractive([line], [gold]) for gold in golds))

    def test_nothing_equals_nothing(self) -> None:
        assert squad("The.", ["a"]) == (1.0, 1.0)
        assert squad("", ["Kiel"]) == (0.0, 0.0)


class TestCuts:
    @pytest.mark.parametrize(
        ("answer", "cut"),
        [
            ("The answer is 3.5. I hope that helps.", "3.5"),
            ("Answer: Kiel", "Kiel"),
            ("The answer to the question is: J. S. Bach. He was born in 1685.", "J. S. Bach"),
            ("\n\nKiel; it lies in the north", "Kiel"),
            ("Answer:\n\n7 ships\nmore", "7 ships"),
            ("Kiel", "Kiel"),
            ("", ""),
            ("...", "..."),
        ],
    )
    def test_short(self, answer: str, cut: str) -> None:
        assert short(answer) == cut

    @EASY
    @given(TEXT)
    def test_short_is_a_part_of_the_answer_and_final(self, answer: str) -> None:
        assert short(answer) in answer
        assert bool(short(answer)) == bool(answer.strip())
        assert len(short(short(answer))) <= len(short(answer))

    @EASY
    @given(TEXT, TEXT)
    def test_same_length_leaves_the_shorter_one(self, one: str, other: str) -> None:
        a, b = same_length(one, other)
        words = len(first_line(one).split()), len(first_line(other).split())
        assert len(a.split()) == len(b.split()) == min(words)
        assert same_length(other, one) == (b, a)
        if words[0] <= words[1]:
            assert a == " ".join(first_line(one).split())

    @settings(EASY, max_examples=60)
    @given(task=st.sampled_from(sorted(SCORERS)), answer=st.lists(WORD, max_size=7).map(" ".join), gold=TEXT)
    def test_window_equals_trying_all(self, task: str, answer: str, gold: str) -> None:
        golds = [gold] if task == "squad" else [[gold]]
        known = {word for text in flat(golds) for word in ANSWER_WORDS[task](text)}
        words = answer.split()
        best = max(
            (
                SCORERS[task](" ".join(words[i:j]), golds)[1]
                for i in range(len(words))
                for j in range(i + 1, len(words) + 1)
            ),
            default=SCORERS[task]("", golds)[1],
        )
        if known:
            found = window(answer, lambda text: SCORERS[task](text, golds), ANSWER_WORDS[task], known)
            assert SCORERS[task](found, golds)[1] == pytest.approx(best)

    def test_window_does_not_read_a_book(self) -> None:
        found = window(
            "x " * MAX_WINDOW_WORDS + "Kiel", lambda text: squad(text, ["Kiel"]), ANSWER_WORDS["squad"], {"kiel"}
        )
        assert "Kiel" not in found


PASSAGE = (
    "In 1402 the town of Kiel had 1,200 people and 31 ships. Lübeck, the larger town, had 9.5 times as many in 1410."
)


class TestDistractors:
    def test_numbers_for_a_number(self) -> None:
        found = distractors(PASSAGE, ["31"], ANSWER_WORDS["drop"], "seed", 10)
        assert sorted(found) == ["1,200", "1402", "1410", "9.5"]

    @EASY
    @given(st.integers(), st.sampled_from(["Kiel", "the larger town", "people", "1410", "Lübeck"]))
    def test_wrong_of_the_same_kind_and_drawn_by_the_seed(self, seed: int, gold: str) -> None:
        found = distractors(PASSAGE, [gold], ANSWER_WORDS["drop"], str(seed))
        assert found == distractors(PASSAGE, [gold], ANSWER_WORDS["drop"], str(seed))
        assert 1 <= len(found) == len(set(found)) <= 3
        for text in found:
            assert text in PASSAGE
            assert not set(ANSWER_WORDS["drop"](text)) & set(ANSWER_WORDS["drop"](gold))
            if not gold[0].isdigit():
                assert len(text.split()) == len(gold.split())
                assert text[0].isupper() == gold[0].isupper()

    def test_the_nearest_in_length_come_first(self) -> None:
        for seed in "abc":
            assert set(distractors(PASSAGE, ["1402"], ANSWER_WORDS["drop"], seed, 1)) == {"1410"}
            assert set(distractors(PASSAGE, ["31"], ANSWER_WORDS["drop"], seed, 1)) == {"9.5"}

    def test_none_where_there_are_none(self) -> None:
        assert distractors("Nobody counts.", ["7"], ANSWER_WORDS["drop"], "x") == []
