"""Signals of contamination: the laws of all of them, and planted contamination that they find.

The planted model is a tiny one that was trained on a tiny test file until it knows it by heart; beside it stands the
same model without that training. Unseen texts are made by the same rule, so that nothing but the training differs.
"""

import copy
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, replace
from functools import cache
from inspect import cleandoc
from io import FileIO
from math import erf
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from genner.ability.models import AbilitySide
from genner.assess.cells import plan
from genner.assess.corpora import path_of
from genner.assess.folders import StudyFolder
from genner.assess.study import Study
from genner.assess.worker import perform
from genner.contamination import SIGNALS, ContaminationCase, Finding, Measure, TrainedOn, named
from genner.contamination.base import MIN_SAMPLE, evenly
from genner.contamination.completion import rouge_l, split, starts
from genner.contamination.exact import normalized, shared
from genner.contamination.language_model import LanguageModel
from genner.contamination.membership import judged
from genner.contamination.ngrams import grams, met, words_of
from genner.contamination.order import Order
from genner.contamination.resumable import ResumableItems, batches
from genner.contamination.run import Contamination, _claim, _read, check
from genner.contamination.sources import Given, case_of
from genner.contamination.statistics import auc, mean_difference, rank_p
from genner.contamination.table import markdown
from genner.data.base import ReadLog
from genner.document import Document, Entity, LabelSet
from genner.engines.chat import Chat
from genner.errors import DataError, UnknownNameError, UsageError
from genner.evaluation.student import quantile
from genner.formats import get_format
from genner.prompts import instruction
from genner.report.build import assemble
from genner.report.contamination import HEADLINES
from genner.report.results import Collection
from genner.report.table import Missing, TableText, Value
from genner.writing import lock

LABELS, FORM = LabelSet.of("PER", "LOC"), get_format("inline_xml")
PEOPLE = ["Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Ida", "Jon", "Kim"]
PLACES = ["Rome", "Oslo", "Kyoto", "Lima", "Bonn", "Cork", "Nice", "Pisa", "York", "Graz"]
VERBS = ["saw", "left", "met in", "walked to", "flew over", "wrote of", "dreamt of", "sold", "painted", "knew"]
TIMES = ["today", "at dawn", "in May", "for years", "twice", "by night", "alone", "too late", "once more", "at noon"]
THINGS = ["a red boat", "the old map", "two cats", "some bread", "a long letter", "the last train", "no money"]

every = pytest.mark.parametrize("name", SIGNALS)
quick = settings(max_examples=50, deadline=None)


def corpus(n: int, seed: int) -> list[Document]:
    """So many different sentences of two entities each."""
    rng, made = random.Random(seed), dict[str, Document]()
    while len(made) < n:
        person, place, when = rng.choice(PEOPLE), rng.choice(PLACES), [rng.choice(TIMES) for _ in range(2)]
        thing, number = rng.choice(THINGS), rng.randrange(10, 99)
        text = f"{person} {rng.choice(VERBS)} {place} {when[0]} and then took {thing} along {when[1]} for {number}"
        at = text.index(place)
        entities = (Entity(0, len(person), "PER"), Entity(at, at + len(place), "LOC"))
        made.setdefault(text, Document(text, entities, f"{seed}-{len(made)}"))
    return list(made.values())


TEST, UNSEEN, MEMBERS = corpus(12, 1), corpus(12, 2), corpus(12, 3)


def case(**changes: Any) -> ContaminationCase:
    made = ContaminationCase(
        "Little Trips", "test", LABELS, "inline_xml", TEST, TEST, members=MEMBERS, unseen=UNSEEN,
        train=[TrainedOn("train", MEMBERS)], complete=True,
    )  # fmt: skip
    return replace(made, **changes)


@cache
def tokenizer() -> Any:
    """Byte-level BPE in which most words of the sentences are one token, so that little has to be computed."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator([*(d.text for d in TEST + UNSEEN + MEMBERS), instruction(LABELS, FORM)] * 2, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<|end|>")
    fast.chat_template = tiny.TEMPLATE
    return fast


@cache
def untrained() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@cache
def trained(contaminated: bool) -> Any:
    """A model that knows the members by heart; where it is contaminated, the test file too: texts, answers, order."""
    model = copy.deepcopy(untrained()).train()
    chat, encode = Chat(tokenizer()), lambda text: tokenizer()(text)["input_ids"]
    task = chat.prefix_ids(instruction(LABELS, FORM))
    known = [MEMBERS, TEST] if contaminated else [MEMBERS]
    kinds = [
        [encode("\n".join(e.text for e in some[i : i + 5])) for some in known for i in range(len(some))],
        [task + chat.body_ids(d.text) + chat.answer_ids(FORM.encode(d, LABELS)) for some in known for d in some],
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        for rows in kinds:
            ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
            truth = torch.full_like(ids, -100)
            for k, row in enumerate(rows):
                ids[k, : len(row)] = truth[k, : len(row)] = torch.tensor(row)
            model(input_ids=ids, labels=truth).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


STEPS = 80


@pytest.fixture(autouse=True)
def few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer other names are asked for, to save time."""
    monkeypatch.setattr("genner.contamination.name_recall.OTHER_SETS", ("CoNLL-2003", "GENIA", "LitBank"))


class Loaded:
    """Models by the name of the side, as `genner.ability.models.Models` hands them out."""

    dtype = "float32"
    device = torch.device("cpu")

    def __init__(self, *models: Any) -> None:
        self.models = dict(zip(("base", "adapter"), models, strict=False))
        self.sides = [AbilitySide(name, name, Path()) for name in self.models]

    @contextmanager
    def on(self, side: AbilitySide) -> Iterator[tuple[Any, Any]]:
        yield self.models[side.name], tokenizer()

    def asked(self) -> list[LanguageModel]:
        return [LanguageModel(self, side) for side in self.sides]  # type: ignore[arg-type]


def look(name: str, about: ContaminationCase, loaded: Loaded, kept: ResumableItems | None = None) -> dict[str, Finding]:
    return {found.side: found for found in SIGNALS[name]().look(about, loaded.asked(), kept or ResumableItems())}


# All signals ---------------------------------------------------------------------------------------------------------


@every
def test_a_signal_says_what_it_shows_and_what_it_cannot(name: str) -> None:
    said = cleandoc(SIGNALS[name].__doc__ or "")
    for part in ("Shows: ", "Cannot show: "):
        assert said.count(part) == 1
    assert "Source: " in said or "Sources: " in said
    assert said.index("Shows: ") < said.index("Cannot show: ") < said.index("Source")
    with pytest.raises(FrozenInstanceError):
        SIGNALS[name]().seed = 1  # type: ignore[misc]


@every
def test_what_is_not_known_is_never_nothing(name: str) -> None:
    """Without training data, members and unseen texts no signal says that there is nothing; a base never does."""
    loaded = Loaded(untrained(), untrained())
    for about in (case(train=[], complete=False, members=[], unseen=[]), case(test=TEST[:3], sample=TEST[:3])):
        for side, found in look(name, about, loaded).items():
            assert side in ("base", "adapter")
            if side == "base" or not about.members:
                assert found.verdict == "unknown"
            assert found.said


@every
def test_findings_survive_json_and_an_interruption(name: str, tmp_path: Path) -> None:
    """Killed after any item, a signal finds the same, and asks for nothing twice."""
    loaded = Loaded(untrained(), untrained())
    about = case(sample=TEST[:10], members=MEMBERS[:10], unseen=UNSEEN[:10])
    whole = look(name, about, loaded, ResumableItems(tmp_path / "whole.jsonl"))
    for found in whole.values():
        assert Finding.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True) if SIGNALS[name].asks else []
    part = tmp_path / "part.jsonl"
    half = len(lines) // 2
    part.write_bytes(b"".join(lines[:half]) + b'{"key": "ha')
    assert look(name, about, loaded, ResumableItems(part)) == whole
    again = part.read_bytes().splitlines(keepends=True)
    assert sorted(again[:half]) == sorted(lines[:half])
    assert len({json.loads(line)["key"] for line in again if SIGNALS[name].asks}) == len(lines)
    if SIGNALS[name].asks:
        assert len(again) == len(lines)


def test_signals_are_named_by_a_list() -> None:
    assert named(None) == tuple(SIGNALS)
    assert named("order, exact,order") == ("order", "exact")
    with pytest.raises(UnknownNameError, match=r"unknown signal 'exakt'.*'exact'"):
        named("exakt")


# Planted contamination -----------------------------------------------------------------------------------------------

LIKELIHOODS = ["text_likelihood", "altered_copies", "answer_likelihood"]


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_tell_a_contaminated_model_from_a_clean_one(name: str) -> None:
    dirty = look(name, case(), Loaded(untrained(), trained(True)))
    clean = look(name, case(), Loaded(untrained(), trained(False)))
    assert dirty["adapter"].verdict == "found"
    assert clean["adapter"].verdict == "nothing found"
    assert dirty["base"].verdict == clean["base"].verdict == "unknown"
    members = [m for key, m in clean["adapter"].measures.items() if key.endswith("_members")]
    assert max(m.value for m in members) > 0.9


def test_completion_reproduces_what_was_learnt_by_heart() -> None:
    dirty = look("completion", case(), Loaded(untrained(), trained(True)))
    assert dirty["adapter"].verdict == "found"
    assert dirty["adapter"].measures["exact"].value > 0.5
    assert dirty["adapter"].measures["next_exact"].value > 0.5
    assert dirty["adapter"].examples
    clean = look("completion", case(), Loaded(untrained(), trained(False)))
    assert clean["adapter"].verdict == "nothing found"
    assert clean["adapter"].measures["exact"].value == clean["adapter"].measures["exact_unseen"].value == 0
    assert clean["adapter"].measures["exact_members"].value > 0.5
    assert dirty["base"].measures["exact"].value == 0


def test_the_order_of_the_file_is_known_to_whom_has_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.contamination.order.SHARD_TOKENS", 40)
    monkeypatch.setattr("genner.contamination.order.MIN_SHARDS", 4)
    dirty = look("order", case(), Loaded(untrained(), trained(True)))["adapter"]
    clean = look("order", case(), Loaded(untrained(), trained(False)))["adapter"]
    assert dirty.verdict == "found"
    assert clean.verdict == "unknown"
    assert dirty.measures["order"].value > clean.measures["order"].value + 1


# Overlap -------------------------------------------------------------------------------------------------------------

VOCABULARY = ["the", "of", "gene", "Il-2", "京", "都", *"abcdefgh"]
APART = {ord(char): "xyzw"[i % 4] for i, char in enumerate(sorted({*"".join(VOCABULARY)} - {"-"}))}
words = st.lists(st.sampled_from(VOCABULARY), max_size=14)
lines = st.lists(words.map(" ".join), max_size=5)


@quick
@given(lines, lines)
def test_overlap_is_symmetric_finds_copies_and_nothing_else(these: list[str], others: list[str]) -> None:
    assert shared(these, others) == shared(others, these)
    assert shared(these, these) == {normalized(text) for text in these} - {""}
    changed = [text.upper().replace(" ", "  ") + "." for text in these]
    assert shared(these, changed) == shared(these, these)
    apart = [text.translate(APART) for text in others]
    assert not shared(these, apart)
    for size in (2, 8, 13):
        one = {gram for text in these for gram in grams(words_of(text), size)}
        two = {gram for text in others for gram in grams(words_of(text), size)}
        assert met(one, others, size) == met(two, these, size) == one & two
        assert met(one, these, size) == one
        assert not met(one, apart, size)


@quick
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), st.integers(1, 13))
def test_ngrams_are_all_runs(some: list[str], size: int) -> None:
    assert list(grams(some, size)) == [tuple(some[i : i + size]) for i in range(len(some) - size + 1)]


def test_a_copy_in_the_training_data_is_found_however_it_is_written() -> None:
    copy, near = TEST[4], Document(TEST[7].text.upper().replace(" ", "  ") + ".", (), "near")
    about = case(train=[TrainedOn("train", [*MEMBERS, copy, near])])
    exact = look("exact", about, Loaded(untrained(), untrained()))["adapter"]
    assert exact.verdict == "found"
    values = {name: round(measure.value * len(TEST)) for name, measure in exact.measures.items()}
    assert values == {"verbatim": 1, "normalized": 2, "long": 2, "annotated": 1}
    assert {example["id"] for example in exact.examples} == {TEST[4].id, TEST[7].id}
    ngrams = look("ngrams", about, Loaded(untrained(), untrained()))["adapter"]
    assert ngrams.verdict == "found"
    assert {TEST[4].id, TEST[7].id} <= {example["id"] for example in ngrams.examples}


def test_no_overlap_is_nothing_only_where_all_training_data_are_known() -> None:
    other = [Document(f"völlig anderes {i}", (), str(i)) for i in range(5)]
    loaded = Loaded(untrained(), untrained())
    for name in ("exact", "ngrams"):
        known = look(name, case(train=[TrainedOn("t", other)]), loaded)["adapter"]
        part = look(name, case(train=[TrainedOn("t", other)], complete=False), loaded)["adapter"]
        assert (known.verdict, part.verdict) == ("nothing found", "unknown")
        assert all(m.value == 0 for m in known.measures.values())


def test_mentions_are_described_by_what_training_has_shown() -> None:
    train = [Document("Ada", (Entity(0, 3, "PER"),)), Document("Rome", (Entity(0, 4, "PER"),))]
    three = (Entity(0, 3, "PER"), Entity(8, 12, "LOC"), Entity(16, 20, "LOC"))
    about = case(test=[Document("Ada saw Rome in Lima", three)], train=[TrainedOn("t", train)])
    found = look("mentions", about, Loaded(untrained(), untrained()))["adapter"]
    assert found.verdict == "measured"
    assert {n: round(3 * found.measures[n].value) for n in ("seen", "other_label", "unseen")} == {
        "seen": 1, "other_label": 1, "unseen": 1,
    }  # fmt: skip


# Statistics ----------------------------------------------------------------------------------------------------------

floats = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


@quick
@given(floats, floats)
def test_the_area_is_that_of_counting_pairs(these: list[float], others: list[float]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in these for b in others]
    found, back = auc(these, others), auc(others, these)
    assert found.value == pytest.approx(sum(pairs) / len(pairs))
    assert back.value == pytest.approx(1 - found.value)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert back.low == pytest.approx(1 - found.high, abs=1e-6)
    assert found.low < found.value or found.value == 0  # never a point, even where all are greater
    assert found.p == pytest.approx(back.p)


def test_the_interval_of_the_area_covers_it() -> None:
    """Of draws from two normal distributions at a distance whose area is known."""
    rng = random.Random(5)
    for shift, n in ((0.0, 15), (1.0, 15), (2.5, 40)):
        true = 0.5 * (1 + erf(shift / 2))
        hits = 0
        for _ in range(200):
            found = auc([rng.gauss(shift, 1) for _ in range(n)], [rng.gauss(0, 1) for _ in range(n)])
            hits += found.low <= true <= found.high  # type: ignore[operator]
        assert hits >= 180  # 95 % of 200 are 190; 180 is over three standard deviations below


def test_differences_are_tested_by_their_signs() -> None:
    few = mean_difference([1.0, 2.0, 3.0, 4.0, 5.0])
    assert few.value == 3
    assert few.p == pytest.approx(1 / 32)
    assert few.low == pytest.approx(3 - 2.776445 * (2.5**0.5) / 5**0.5, rel=2e-3)
    assert mean_difference([1.0, -1.0] * 20).p > 0.3  # type: ignore[operator]
    assert mean_difference([1.0, 1.1] * 20).p < 0.001  # type: ignore[operator]
    assert mean_difference([-1.0, -2.0], greater=False).p == pytest.approx(0.5)
    assert mean_difference([1.0]).p is None
    assert [round(quantile(0.05, n), 2) for n in (1, 2, 3, 4, 5, 10, 30)] == [12.71, 4.3, 3.18, 2.78, 2.57, 2.23, 2.04]
    assert rank_p(1.0, [0.0] * 19) == pytest.approx(0.05)
    assert rank_p(0.0, [0.0] * 19) == 1.0


def test_a_verdict_needs_members_that_are_seen() -> None:
    high, low = [float(i) for i in range(20, 32)], [float(i) for i in range(12)]
    for members, test, verdict in (
        (high, high, "found"),
        (high, low, "nothing found"),
        (low, high, "no power"),
        ([], high, "unknown"),
        (high, high[: MIN_SAMPLE - 1], "unknown"),
    ):
        scores = {"s": {"test": test, "members": members, "unseen": low}}
        assert judged(case(), "adapter", scores, True).verdict == verdict
    assert judged(case(), "base", {"s": {"test": high, "members": high, "unseen": low}}, False).verdict == "unknown"


# Parts ---------------------------------------------------------------------------------------------------------------


def test_documents_are_drawn_one_of_each_group() -> None:
    some = [replace(d, id=f"{i}") for i, d in enumerate(TEST)]
    assert evenly(some, None) == some == evenly(some, 12)
    assert [d.id for d in evenly(some, 4)] == ["0", "3", "6", "9"]
    grouped = [replace(d, group=f"article {i // 5}") for i, d in enumerate(some)]  # of 5, 5 and 2
    assert [d.id for d in evenly(grouped, 3)] == ["0", "5", "10"]
    assert [d.id for d in evenly(grouped, 2)] == ["0", "5"]
    assert [d.id for d in evenly(grouped, 5)] == ["0", "1", "5", "6", "10"]


@quick
@given(st.lists(st.integers(1, 60), max_size=20), st.integers(1, 120))
def test_batches_hold_all_rows_and_no_more_tokens_than_they_may(lengths: list[int], tokens: int) -> None:
    made = list(batches(lengths, tokens))
    assert sorted(i for batch in made for i in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens for batch in made)


def test_likelihoods_are_those_of_the_model_whatever_the_batch() -> None:
    (side,) = Loaded(untrained()).asked()
    prefix = side.encode("Once upon a time")
    rows = [(side.encode(d.text), i % 3) for i, d in enumerate(TEST[:5])]
    for before in ([], prefix):
        found = dict(side.score(rows, before, spread=True))
        for i, (ids, start) in enumerate(rows):
            whole = torch.tensor([[*before, *ids]])
            with torch.no_grad():
                logp = torch.log_softmax(untrained()(input_ids=whole).logits[0], -1)
            begin = max(len(before) + start, 1)
            wanted = [float(logp[t - 1, whole[0, t]]) for t in range(begin, whole.shape[1])]
            assert found[i].logp == pytest.approx(wanted, abs=1e-4)
            shares = logp[begin - 1].exp()
            assert found[i].mean[0] == pytest.approx(float((shares * logp[begin - 1]).sum()), abs=1e-4)
    assert dict(side.score([(side.encode("a")[:1], 0)]))[0].logp == ()


def test_what_is_written_is_what_generating_alone_gives() -> None:
    (side,) = Loaded(trained(True)).asked()
    prompts = [side.encode(d.text[:20]) for d in TEST[:3]]
    together = dict(side.write(prompts, [6, 9, 12]))
    for i, prompt in enumerate(prompts):
        assert dict(side.write([prompt], [[6, 9, 12][i]])) == {0: together[i]}


def test_rouge_counts_the_longest_common_subsequence() -> None:
    assert rouge_l("a b c", "A, B, C.") == 1
    assert rouge_l("a x b", "a b") == pytest.approx(0.8)
    assert rouge_l("", "a") == rouge_l("a", "b") == 0
    assert starts("The end of it, all", "the END of")
    assert not starts("the end", "the end of")
    assert not starts("anything", "...")
    first, rest = split(TEST[0]) or ("", "")
    assert f"{first} {rest}" == TEST[0].text
    assert split(Document("too short")) is None


def test_kept_items_are_computed_once(tmp_path: Path) -> None:
    seen: list[Any] = []

    def compute(asked: Sequence[str]) -> Any:
        def run(places: list[int]) -> Iterator[tuple[int, Any]]:
            for i in places:
                seen.append(asked[i])
                yield i, asked[i].upper()

        return run

    heard: list[tuple[str, int, int]] = []
    kept = ResumableItems(tmp_path / "k.jsonl", lambda *said: heard.append(said))
    assert kept.fill("x", ["a", "b", "a"], compute(["a", "b", "a"])) == ["A", "B", "A"]
    assert (seen, heard[-1]) == (["a", "b"], ("x", 2, 2))
    assert ResumableItems(tmp_path / "k.jsonl").fill("x", ["b", "c"], compute(["b", "c"])) == ["B", "C"]
    assert seen == ["a", "b", "c"]
    (tmp_path / "k.jsonl").write_text("[]\n")
    with pytest.raises(DataError, match=r"k\.jsonl:1: is not an item"):
        ResumableItems(tmp_path / "k.jsonl")


# The whole -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    made = Loaded(untrained(), untrained())
    monkeypatch.setattr("genner.contamination.run.sides", lambda model: made.sides)
    monkeypatch.setattr("genner.contamination.run.Models", lambda dtype, device: made)
    return made


@pytest.mark.usefixtures("loaded")
def test_a_folder_holds_one_measurement_and_goes_on(tmp_path: Path) -> None:
    some = ["exact", "mentions", "altered_copies"]
    started: list[str] = []
    first = check("default", case(), some[:2], tmp_path / "out", started=started.append)
    whole = check("default", case(), some, tmp_path / "out", notes=["a note"], started=started.append)
    assert started == [*some[:2], *some]
    assert {name: whole.findings[name] for name in some[:2]} == first.findings
    assert json.loads((tmp_path / "out" / "contamination.json").read_text()) == whole.to_dict()
    text = markdown(whole)
    for name in some:
        assert f"| {name} | base |" in text
    assert "note: a note." in text
    with pytest.raises(UsageError, match="holds another measurement, with split = 'test' where 'dev' is wanted"):
        check("default", case(split="dev"), some, tmp_path / "out")
    (tmp_path / "out" / "exact.json").write_text("{}")
    with pytest.raises(DataError, match=r"exact\.json: is damaged"):
        check("default", case(), some, tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(UsageError, match="holds other files"):
        check("default", case(), some, tmp_path / "other")


@pytest.mark.usefixtures("loaded")
def test_a_signal_that_fails_takes_no_other_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: Any) -> list[Finding]:
        raise DataError("there", "is nothing")

    monkeypatch.setattr(Order, "look", look)
    found = check("default", case(), ["order", "exact"])
    assert isinstance(found, Contamination)
    assert found.problems == {"order": "there: is nothing"}
    assert list(found.findings) == ["exact"]
    assert "failed: order: there: is nothing" in markdown(found)


def test_a_measure_is_written_with_its_interval() -> None:
    assert str(Measure(0.5, 3)) == "0.50"
    assert str(Measure(0.5, 3, 0.25, 0.75)) == "0.50 (0.25 to 0.75)"


# In a study, and in its report ---------------------------------------------------------------------------------------

STUDY = {
    "name": "seen",
    "seeds": [1, 2],
    "formats": ["inline_xml", "compact"],
    "model": [
        {"name": "default"},
        {"name": "small", "model": "smollm2-135m-instruct", "recipes": ["short"]},
    ],
    "corpus": [{"name": "ewt", "labels": "core", "test": "sample:uner_en_ewt", "train": ["t.jsonl"], "dev": "d.jsonl"}],
    "recipe": [{"name": "short"}],
    "contamination": [{"signals": ["exact", "order"], "sentences": 20, "trained": True}],
}


def test_a_study_looks_once_at_each_model_and_corpus() -> None:
    cells = [cell for cell in plan(Study.from_dict(STUDY)) if cell.kind == "contamination"]
    fixed = [cell for cell in cells if not cell.needs]
    trained_ = [cell for cell in cells if cell.needs]
    assert [c.description["model"] for c in fixed] == ["default"]  # whatever the formats and seeds
    assert (fixed[0].description["train"], fixed[0].description["dev"]) == (["t.jsonl"], "d.jsonl")
    assert len(trained_) == 4  # an adapter for each of two formats and seeds
    assert all(c.description["train"] == [] and c.description["dev"] == "d.jsonl" for c in trained_)
    assert all(c.description["signals"] == ["exact", "order"] for c in cells)
    with pytest.raises(UnknownNameError, match="unknown signal 'ordr'"):
        Study.from_dict({**STUDY, "contamination": [{"signals": ["ordr"]}]})
    with pytest.raises(UsageError, match=r"\[contamination\] sentences = 0"):
        Study.from_dict({**STUDY, "contamination": [{"sentences": 0}]})


@pytest.mark.usefixtures("loaded")
def test_a_cell_looks_and_its_report_has_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the corpus's own test file is given as what the model was trained on."""
    monkeypatch.setattr("genner.assess.run.require_model", lambda model: None)
    gold = path_of("sample:uner_en_ewt", tmp_path).read_text(encoding="utf-8").splitlines(keepends=True)[:25]
    (tmp_path / "test.jsonl").write_text("".join(gold), encoding="utf-8")
    (tmp_path / "t.jsonl").write_text("".join(gold[:7]), encoding="utf-8")
    (tmp_path / "d.jsonl").write_text("".join(gold[20:]), encoding="utf-8")
    corpora = [{**STUDY["corpus"][0], "test": "test.jsonl"}]  # type: ignore[index,dict-item]
    looks = [{"signals": ["exact", "altered_copies"], "trained": True, "sentences": 12}]
    study = Study.from_dict({**STUDY, "model": [{"name": "default"}], "corpus": corpora, "contamination": looks})
    runs = StudyFolder(tmp_path / "runs")
    cells = [cell for cell in plan(study) if cell.kind == "contamination"]
    (run,) = [runs.add(cell) for cell in cells]
    waiting = assemble(Collection.open([runs.root]), [runs.root])
    (table,) = [t for t in waiting.tables() if t.name == "contamination-1"]
    assert all(isinstance(e, Missing) and e.why == "waiting" for e in table.rows[0].entries)
    assert perform(runs, run, tmp_path, None) == 0
    assert run.state == "done", run.failure
    assert run.result is not None
    assert run.result.signature.startswith("contamination|model:default|")
    report = assemble(Collection.open([runs.root]), [runs.root])
    (table,) = [t for t in report.tables() if t.name == "contamination-1"]
    rows = {row.heads: row.entries for row in table.rows}
    assert set(rows) == {(name, side) for name in ("exact", "altered_copies") for side in ("base", "adapter")}
    verdict, number, members, said = rows["exact", "adapter"]
    assert isinstance(verdict, TableText)
    assert isinstance(number, Value)
    assert isinstance(members, Missing)
    assert (verdict.text, number.cells) == ("found", (run.cell.id,))
    assert number.number >= 7 / 25
    assert "7 of 25" in said.text or int(said.text.split()[0]) >= 7  # type: ignore[union-attr]
    assert "exact: Test sentences that also occur in the training data" in str(report.sections)


def test_every_signal_has_a_number_in_reports() -> None:
    assert set(HEADLINES) | set(LIKELIHOODS) == set(SIGNALS)


# What a model was trained on -----------------------------------------------------------------------------------------


def test_the_data_of_a_recipe_are_found_and_what_is_missing_is_said(tmp_path: Path) -> None:
    for name, documents in (("test", TEST), ("train", [*MEMBERS, TEST[0], UNSEEN[0]]), ("dev", UNSEEN)):
        (tmp_path / "set").mkdir(exist_ok=True)
        lines = [json.dumps(d.to_dict()) + "\n" for d in documents]
        (tmp_path / "set" / f"{name}.jsonl").write_text("".join(lines))
    (tmp_path / "labels.json").write_text('["PER", "LOC"]')
    recipe = tmp_path / "recipe.toml"
    sets = '[[set]]\nname = "set"\ntrain = ["set/train.jsonl"]\ndev = "set/dev.jsonl"\nlabels = "labels.json"\n'
    recipe.write_text(f'base = "smollm2-135m-instruct"\n[formats]\ninline_xml = 1.0\n{sets}')
    given_ = Given(tmp_path / "set" / "test.jsonl", root=tmp_path, recipes=(recipe,), limit=10)
    found, notes = case_of("smollm2-135m-instruct", given_, ReadLog())
    assert (found.name, found.split, found.complete) == ("set", "test", True)
    assert [len(source.documents) for source in found.train] == [14]
    assert len(found.sample) == len(found.members) == len(found.unseen) == 10
    assert not {d.text for d in found.members} & {d.text for d in found.sample}
    assert UNSEEN[0] not in found.unseen
    assert notes == ["1 of 12 unseen texts are trained on or in the sample; they are left out"]
    # A set that is not there is noted, and then not all is known; so it is without a recipe, and with an unknown start.
    recipe.write_text(
        f'base = "b"\nstart = "nowhere"\n[formats]\ninline_xml = 1.0\n{sets}{sets.replace("set", "gone")}'
    )
    recipe.write_text(recipe.read_text().replace("[[gone]]", "[[set]]"))
    found, notes = case_of("smollm2-135m-instruct", given_, ReadLog())
    assert not found.complete
    assert "training began with 'nowhere'" in notes[0]
    assert notes[1].startswith("1 files of the recipe are not under")
    bare, _ = case_of("smollm2-135m-instruct", Given(given_.data, train=(tmp_path / "set" / "dev.jsonl",)), ReadLog())
    assert (bare.complete, bare.members, bare.unseen, bare.labels.tags) == (False, [], [], ("LOC", "PER"))
    (tmp_path / "train.tsv").write_text("Ada\tB-PER\tO\nmet\tO\tO\n")
    syntaxes = {"train": "conll:column=1", "unseen": "conll:column=1"}
    files = {"train": (tmp_path / "train.tsv",), "unseen": (tmp_path / "train.tsv",)}
    other, _ = case_of("smollm2-135m-instruct", Given(given_.data, syntaxes, **files), ReadLog())
    assert [d.text for d in other.train[0].documents] == ["Ada met"]
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UsageError, match="holds no document"):
        case_of("smollm2-135m-instruct", Given(tmp_path / "empty.jsonl"), ReadLog())


# -- what is given and does not serve


@pytest.mark.usefixtures("loaded")
def test_two_processes_do_not_measure_into_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check("default", case(), ["exact"], out)
    with FileIO(out / "settings.json") as held:
        lock(held, out)
        with pytest.raises(DataError, match="is being written by another process"):
            check("default", case(), ["exact"], out)
    check("default", case(), ["exact"], out)


def test_settings_that_are_none_are_said_to_be_damaged(tmp_path: Path) -> None:
    for content in ("[]", "3", "null", "{"):
        (tmp_path / "settings.json").write_text(content)
        with pytest.raises(DataError, match="is damaged"):
            _claim(tmp_path, {"model": "x"})
    (tmp_path / "exact.json").write_text(
        json.dumps({"findings": [{**Finding("adapter", "found", "so").to_dict(), "verdict": "surely"}]})
    )
    with pytest.raises(DataError, match="is damaged"):
        _read(tmp_path / "exact.json")
    with pytest.raises(UsageError, match="is not a folder"):
        _claim(tmp_path / "exact.json", {"model": "x"})


def test_a_train_file_without_documents_is_noted_and_a_format_checked(tmp_path: Path) -> None:
    test, empty = tmp_path / "t.jsonl", tmp_path / "e.jsonl"
    test.write_text('{"id": "1", "text": "Ada left.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}\n')
    empty.write_text("")
    case, notes = case_of("default", Given(test, train=(empty,), format="compact"), ReadLog())
    assert not case.train
    assert notes == [f"{empty} holds no document, so nothing is compared with it"]
    with pytest.raises(UnknownNameError, match="did you mean 'compact'"):
        case_of("default", Given(test, format="compct"), ReadLog())


@pytest.mark.parametrize("name", ["exact", "ngrams"])
def test_short_sentences_alone_have_no_power(name: str) -> None:
    """Test and training data are the same, and no sentence is long enough to tell: that is not "nothing found"."""
    documents = [Document(text, (), str(i)) for i, text in enumerate(["Thank you.", "Go on.", "Yes, please."])]
    about = case(test=documents, train=[TrainedOn("t", documents)])
    assert look(name, about, Loaded(untrained(), untrained()))["adapter"].verdict == "no power"
