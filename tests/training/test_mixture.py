"""What a recipe mixes: subsets, joined texts, noise and label sets obey their laws, the same way on any machine."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.places import ROOT
from tests.strategies import documents

from genner.assess.study import Study
from genner.boundaries import boundaries
from genner.data.describe import nesting
from genner.document import Document, Entity, Label, LabelSet
from genner.engines.chat import Chat
from genner.errors import DataError, TrainingError, UsageError
from genner.labels import label_set, label_sets
from genner.recipe_keys import RENAMED_KEYS, with_earlier_keys
from genner.training.label_augmentation import absent_labels, anonymize_tags, renamed, retag, synonyms, with_absent
from genner.training.mixture import Mixture, PromptTask
from genner.training.mixture_report import MixtureReport
from genner.training.noise import NOISES, noises, pieced
from genner.training.recipe import PromptSpec, Recipe, SetSpec
from genner.training.sampling import fraction, joined, runs, shots, times, without_empty

NAMES = ["Ada", "Bob", "Köln", "Turing", "New York", "Grace Hopper", "東京", "Rhein"]
LABELS = {"PER": {"name": "person", "definition": "a human"}, "LOC": {"name": "location", "definition": "a place"}}
SPEC: dict[str, Any] = {"name": "a", "train": (), "labels": "core"}
seeds = st.integers(0, 9)
shares = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])


class Spelling:
    """Stands for a chat: a token is a byte."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    prefix_ids = body_ids = answer_ids = encode


def corpus(number: int) -> list[Document]:
    """Sentences of two names and one of none, in turn."""
    made = []
    for i in range(number):
        first, last = NAMES[i % len(NAMES)], NAMES[(i * 3 + 1) % len(NAMES)]
        text = f"{first} didn't meet {last} , she said in {i} ."
        at = text.index(last, len(first))
        entities = (Entity(0, len(first), "PER"), Entity(at, at + len(last), "LOC")) if i % 3 else ()
        made.append(Document(text, entities, f"d{i}"))
    return made


def mixture(folder: Path, body: str = "", more: str = "", number: int = 40) -> Mixture:
    """One set `a` with `more` keys."""
    lines = "".join(json.dumps(d.to_dict()) + "\n" for d in corpus(number))
    (folder / "a.jsonl").write_text(lines, encoding="utf-8")
    (folder / "labels.json").write_text(json.dumps(LABELS), encoding="utf-8")
    path = folder / "recipe.toml"
    path.write_text(
        "base = 'some-model'\n[formats]\ninline_xml = 0.6\ncompact = 0.2\ngpt_ner = 0.1\ngrouped_json = 0.1\n"
        f"[optim]\ngroup_tokens = 600\n{body}\n"
        f"[[set]]\nname = 'a'\ntrain = ['a.jsonl']\nlabels = 'labels.json'\n{more}\n",
        encoding="utf-8",
    )
    return Mixture(Recipe.from_file(path), folder, cast(Chat, Spelling()))


def test_a_lenient_set_skips_and_counts_errors(tmp_path: Path) -> None:
    """As `--lenient` does: a document whose entity is outside its text."""
    folder = tmp_path / "whole"
    folder.mkdir()
    whole = mixture(folder)
    wrong = {"id": "wrong", "text": "Ann", "entities": [{"start": 0, "end": 9, "label": next(iter(LABELS))}]}
    for lenient in (False, True):
        place = tmp_path / str(lenient)
        place.mkdir()
        lines = (folder / "a.jsonl").read_text("utf-8") + json.dumps(wrong) + "\n"
        (place / "a.jsonl").write_text(lines, "utf-8")
        (place / "labels.json").write_text(json.dumps(LABELS), "utf-8")
        (place / "recipe.toml").write_text((folder / "recipe.toml").read_text() + f"lenient = {lenient}\n".lower())
        if not lenient:
            with pytest.raises(DataError, match=r"a\.jsonl:41"):
                Mixture(Recipe.from_file(place / "recipe.toml"), place, cast(Chat, Spelling()))
            continue
        made = Mixture(Recipe.from_file(place / "recipe.toml"), place, cast(Chat, Spelling()))
        assert made.sets[0][2] == whole.sets[0][2]
        assert sum(made.read_log.errors.values()) == 1


def test_a_mixture_is_as_deep_as_its_data_or_as_its_labels_say(tmp_path: Path) -> None:
    assert mixture(tmp_path).depth == max(nesting(d.entities)[2] for d in corpus(40)) == 1
    text, tag = "Ann of Rome", next(iter(LABELS))
    nested = Document(text, (Entity(0, 11, tag), Entity(7, 11, tag), Entity(0, 3, tag)), "n")
    (tmp_path / "b.jsonl").write_text(json.dumps(nested.to_dict()) + "\n", encoding="utf-8")
    assert mixture(tmp_path, more="[[set]]\nname = 'b'\ntrain = ['b.jsonl']\nlabels = 'labels.json'").depth == 2
    deep = mixture(tmp_path)
    deep.sets = [(spec, LabelSet(labels.labels, 3), documents) for spec, labels, documents in deep.sets]
    assert deep.depth == 3


def tasks(some: Mixture) -> tuple[list[PromptTask], dict[str, Any]]:
    report = MixtureReport()
    made = list(some.tasks(random.Random(0), report))
    return made, cast(dict[str, Any], report.to_dict()["applied_counts"])


PLAIN = "[prompt]\nfull_prompt = 1.0"


# -- the same on any machine

ALL_PROMPT = "[prompt]\nfull_prompt = 0.3\nnegatives = 0.4\nrenamed = 0.3\nanonymous_tags = 0.3"
ALL_SET = """weight = 1.5
fraction = 0.8
max_empty = 0.2
concat = 0.3
lowercase = 0.2
uppercase = 0.2
typos = 0.3
spacing = 0.3
detokenize = 0.5
absent = ["genia:cell_line", "Chemical", "country"]
formats = {inline_xml = 0.5, compact = 0.2, occurrence_json = 0.1, grouped_json = 0.1, gpt_ner = 0.1}
"""


def digest(some: Mixture) -> str:
    groups = [[g.prefix, [[p.body, p.answer] for p in g.pairs]] for g in some.epoch(0)]
    return hashlib.sha256(json.dumps(groups).encode()).hexdigest()[:16]


OLD = "973d32fa751c2000"
"""Computed before there were the keys that this file is about: a run begun then goes on with the same examples."""

NEW = "5edf57dac7fe4deb"


def test_a_recipe_without_the_newer_keys_gives_what_it_gave(tmp_path: Path) -> None:
    assert digest(mixture(tmp_path, more="detokenize = 0.5\nweight = 1.5")) == OLD


def test_all_keys_give_the_same_examples_on_any_machine(tmp_path: Path) -> None:
    assert digest(mixture(tmp_path, ALL_PROMPT, ALL_SET)) == NEW


def test_the_examples_do_not_depend_on_the_hashes_of_a_process(tmp_path: Path) -> None:
    """A process with other hashes than this one, which has those that the test above is about."""
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    code = (
        "import sys; from pathlib import Path; from tests.training.test_mixture import *; "
        "print(digest(mixture(Path(sys.argv[1]), ALL_PROMPT, ALL_SET)))"
    )
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, capture_output=True, text=True)
    assert (run.stdout.strip(), run.returncode) == (NEW, 0), run.stderr


def test_a_share_of_nothing_draws_no_random_number() -> None:
    rng = random.Random(0)
    before = rng.getstate()
    spec, asked = SetSpec(**SPEC), label_set("core")
    assert noises(spec, rng) == []
    assert retag(asked, PromptSpec(), rng) == (asked, None)
    assert with_absent(asked, tuple(label_set("genia")), 0.0, rng) == asked
    assert runs(corpus(5), 0.0, rng) == [[d] for d in corpus(5)]
    assert rng.getstate() == before


# -- noise


def in_words(document: Document) -> Document:
    """The document with the entities that lie between word boundaries."""
    starts, ends = boundaries(document.text, "word")
    kept = tuple(e for e in document.entities if starts[e.start] and ends[e.end])
    return Document(document.text, kept, document.id)


@st.composite
def sentences(draw: st.DrawFn) -> Document:
    """Words with entities between them."""
    pieces = [
        "Ada",
        "Straße",
        "New",
        "York",
        "東京",
        "İzmir",
        "O'Neill",
        "e\u0301te\u0301",
        ",",
        " ",
        "B2B",
        "ไทย",
        "a",
    ]
    words = draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=14))
    blanks = draw(st.lists(st.sampled_from([" ", " ", "", "  "]), min_size=len(words), max_size=len(words)))
    text = "".join(a + b for a, b in zip(words, blanks, strict=True))
    spans = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=6))
    return Document(text, tuple({Entity(a, b, "X") for a, b in spans if a < b}), "d")


any_document = st.one_of(documents(crossing=True), sentences())


@given(document=any_document, data=st.data())
def test_mentions_are_their_pieces(document: Document, data: st.DataObject) -> None:
    edges = {at for e in document.entities for at in (e.start, e.end - 1)}
    pieces = [data.draw(st.sampled_from([c, c * 2, "x"] + ([] if i in edges else [""]))) for i, c in
              enumerate(document.text)]  # fmt: skip
    made = pieced(document, pieces)
    assert made.text == "".join(pieces)
    expected = sorted(("".join(pieces[e.start : e.end]), e.label) for e in document.entities)
    assert sorted((made.mention(e), e.label) for e in made.entities) == expected


@pytest.mark.parametrize("key", ["lowercase", "uppercase"])
@given(document=any_document)
def test_case_changes_nothing_but_case(key: str, document: Document) -> None:
    made = NOISES[key](document, random.Random(0))
    assert made.text.casefold() == document.text.casefold()
    told = [(made.mention(e).casefold(), e.label) for e in made.entities]
    assert told == [(document.mention(e).casefold(), e.label) for e in document.entities]
    assert not any(c.isalpha() and c != changed for c in made.text
                   if (changed := c.lower() if key == "lowercase" else c.upper()).isalpha())  # fmt: skip


@pytest.mark.parametrize("key", NOISES)
@given(document=any_document, seed=seeds)
def test_noise_keeps_entities_where_a_grammar_allows_them(key: str, document: Document, seed: int) -> None:
    document = in_words(document)
    made = NOISES[key](document, random.Random(seed))
    assert made == in_words(made)
    assert [e.label for e in made.entities] == [e.label for e in document.entities]
    assert made == NOISES[key](document, random.Random(seed))


@given(document=any_document, seed=seeds)
def test_spacing_changes_nothing_but_space(document: Document, seed: int) -> None:
    def bare(text: str) -> str:
        return "".join(text.split())

    made = NOISES["spacing"](document, random.Random(seed))
    assert bare(made.text) == bare(document.text)
    assert [bare(made.mention(e)) for e in made.entities] == [bare(document.mention(e)) for e in document.entities]


@given(document=any_document, seed=seeds)
def test_a_typo_is_within_a_word_and_away_from_the_edges_of_entities(document: Document, seed: int) -> None:
    made = NOISES["typos"](document, random.Random(seed))
    assert {c for c in made.text if not c.isalpha()} == {c for c in document.text if not c.isalpha()}
    assert abs(len(made.text) - len(document.text)) <= max(1, round(len(document.text) * 0.05))
    for before, after in zip(document.entities, made.entities, strict=True):
        old, new = document.mention(before), made.mention(after)
        assert (old[0], old[-1], before.label) == (new[0], new[-1], after.label)


def test_noise_makes_noise() -> None:
    text = "Grace Hopper wrote the first compiler in New York City"
    document = Document(text, (Entity(0, 12, "PER"), Entity(41, 54, "LOC")), "d")
    for key in ("typos", "spacing"):
        made = {NOISES[key](document, random.Random(seed)).text for seed in range(60)}
        assert len(made) > 20
        assert len(made - {text}) > 20
    texts = [NOISES["spacing"](document, random.Random(seed)).text for seed in range(60)]
    assert any("\n" in some for some in texts)
    assert any("  " in some for some in texts)
    assert any(len(some.split()) < 10 for some in texts)
    assert any(len(some.split()) > 10 for some in texts)


def test_an_example_is_never_in_both_cases() -> None:
    rng = random.Random(0)
    spec = SetSpec(**SPEC, lowercase=0.5, uppercase=0.3, typos=0.25, spacing=1.0)
    drawn = [noises(spec, rng) for _ in range(2000)]
    counts = Counter(key for keys in drawn for key in keys)
    assert not any({"lowercase", "uppercase"} <= set(keys) for keys in drawn)
    for key, share in (("lowercase", 0.5), ("uppercase", 0.3), ("typos", 0.25), ("spacing", 1.0)):
        assert abs(counts[key] / 2000 - share) < 0.05


# -- subsets

many = st.lists(documents(), max_size=12).map(lambda some: [Document(d.text, d.entities, str(i)) for i, d in
                                                            enumerate(some)])  # fmt: skip


def labels_of(some: list[Document]) -> Counter[str]:
    return Counter(e.label for d in some for e in d.entities)


def in_order(part: list[Document], whole: list[Document]) -> bool:
    return [d for d in whole if d in part] == part


@given(number=st.integers(0, 60), seed=seeds)
def test_fractions_are_nested(number: int, seed: int) -> None:
    whole = corpus(number)
    parts = [fraction(whole, share, str(seed)) for share in (0.01, 0.1, 0.5, 0.8, 1.0)]
    assert [len(part) for part in parts] == [min(number, max(1, round(s * number))) for s in (0.01, 0.1, 0.5, 0.8, 1.0)]
    assert parts[-1] == whole
    for smaller, larger in combinations(parts, 2):
        assert in_order(smaller, larger)


@given(whole=many, k=st.integers(1, 6), seed=seeds)
@settings(deadline=None)
def test_k_shots_hold_every_label_k_times_where_there_are_as_many(whole: list[Document], k: int, seed: int) -> None:
    part, total = shots(whole, k, str(seed)), labels_of(whole)
    held = labels_of(part)
    assert in_order(part, whole)
    assert part == shots(whole, k, str(seed))
    assert all(held[label] >= min(k, total[label]) for label in total)
    assert all(d.entities for d in part)
    assert len(part) <= k * len(total)


def slow_shots(whole: list[Document], k: int, order: list[int]) -> set[int]:
    """The method as it is told: the rarest unfinished label, the next document that has it; count anew."""
    chosen = set[int]()
    total = labels_of(whole)
    while True:
        held = labels_of([whole[i] for i in chosen])
        open_labels = [label for label in total if held[label] < min(k, total[label])]
        if not open_labels:
            return chosen
        rarest = min(open_labels, key=lambda tag: (total[tag], tag))
        chosen.add(next(i for i in order if i not in chosen and any(e.label == rarest for e in whole[i].entities)))


@given(whole=many, k=st.integers(1, 6), seed=seeds)
@settings(deadline=None)
def test_k_shots_are_those_of_the_method_as_it_is_told(whole: list[Document], k: int, seed: int) -> None:
    order = list(range(len(whole)))
    random.Random(str(seed)).shuffle(order)
    assert shots(whole, k, str(seed)) == [whole[i] for i in sorted(slow_shots(whole, k, order))]


@given(number=st.integers(0, 60), share=shares, seed=seeds)
def test_sentences_without_entities_are_as_many_as_may_be(number: int, share: float, seed: int) -> None:
    whole = corpus(number)
    part = without_empty(whole, share, random.Random(seed))
    full = [d for d in whole if d.entities]
    empty = len(part) - len(full)
    assert in_order(part, whole)
    assert all(d in part for d in full)
    assert empty <= share * len(part) + 1e-9
    assert len(part) == len(whole) or empty + 1 > share * (len(part) + 1) - 1e-9  # one more would be too many


@given(number=st.integers(0, 40), share=shares, seed=seeds)
def test_runs_hold_every_document_once_and_in_order(number: int, share: float, seed: int) -> None:
    whole = corpus(number)
    made = runs(whole, share, random.Random(seed))
    assert [d for run in made for d in run] == whole
    assert {len(run) for run in made} <= ({1} if not share else {2, 3, 1} if share < 1 or number else set())
    if share == 1:
        assert all(len(run) > 1 for run in made[:-1])


@given(some=st.lists(any_document, min_size=1, max_size=3))
def test_a_joined_text_has_the_mentions_of_its_parts(some: list[Document]) -> None:
    made = joined(some)
    assert [(made.mention(e), e.label) for e in made.entities] == [
        (d.mention(e), e.label) for d in some for e in d.entities
    ]
    assert made.text.replace(" ", "") == "".join(d.text for d in some).replace(" ", "")
    assert made.id == "+".join(["d"] * len(some))


def test_what_stands_between_joined_texts() -> None:
    def text(*some: str) -> str:
        return joined(map(Document, some)).text

    assert text("Ada left.", "Bob stayed.") == "Ada left. Bob stayed."
    assert text("東京。", "京都。") == "東京。京都。"
    assert text("東京。", "Ada left.") == "東京。 Ada left."
    assert text("", "Ada", "") == "Ada"


@given(weight=st.sampled_from([0.0, 0.3, 1.0, 1.5, 2.0]), join=shares, seed=seeds)
def test_whole_copies_hold_every_document(weight: float, join: float, seed: int) -> None:
    used = Counter(d.id for run in times(corpus(20), weight, join, random.Random(seed)) for d in run)
    assert all(int(weight) <= used[d.id] <= -(-weight // 1) for d in corpus(20))
    if not join:
        assert used.total() == round(20 * weight)


# -- what is asked


def test_every_shipped_label_has_synonyms_that_no_label_beside_it_shares() -> None:
    used = set()
    for name, labels in label_sets().items():
        about: dict[str, set[str]] = {}
        for label in labels:
            key = (label.name or label.tag).casefold()
            used.add(key)
            assert synonyms()[key], (name, label.tag)
            about[label.tag] = {word.casefold() for word in (label.tag, label.name, *synonyms()[key]) if word}
            assert LabelSet.of(*synonyms()[key])  # legal tags, none twice
        for (one, first), (other, second) in combinations(about.items(), 2):
            assert not first & second, (name, one, other)
    assert used == set(synonyms())  # none for labels that there are not


shipped = st.sampled_from(sorted(label_sets())).map(label_set)


@given(labels=shipped, seed=seeds)
def test_renamed_labels_keep_their_definitions(labels: LabelSet, seed: int) -> None:
    made = renamed(labels, random.Random(seed))
    assert [label.definition for label in made] == [label.definition for label in labels]
    for new, old in zip(made, labels, strict=True):
        assert new == old or (new.tag in synonyms()[old.name.casefold()] and new.tag != old.tag and not new.name)
    assert made != labels


@given(labels=shipped, seed=seeds)
def test_symbols_say_nothing_and_definitions_all(labels: LabelSet, seed: int) -> None:
    made = anonymize_tags(labels, random.Random(seed))
    assert [(label.name, label.definition) for label in made] == [("", label.definition) for label in labels]
    assert all(len(tag) in (2, 3) and tag[0].isupper() and tag[1:].isdigit() for tag in made.tags)


def test_a_label_that_only_its_tag_explains_keeps_it() -> None:
    labels = LabelSet((Label("A1"), Label("P", "person"), Label("Q", "", "a thing")))
    for seed in range(100):
        bare, named, defined = anonymize_tags(labels, random.Random(seed))
        assert bare == Label("A1")
        assert named.definition == "person"
        assert defined.definition == "a thing"
        assert renamed(LabelSet.of("B"), random.Random(seed)) == LabelSet.of("B")


def test_groups_are_renamed_as_often_as_the_recipe_says() -> None:
    rng, labels = random.Random(0), label_set("litbank")
    keys = Counter(retag(labels, PromptSpec(renamed=0.3, anonymous_tags=0.2), rng)[1] for _ in range(2000))
    assert keys.keys() == {"renamed", "anonymous_tags", None}
    assert abs(keys["renamed"] / 2000 - 0.3) < 0.05
    assert abs(keys["anonymous_tags"] / 2000 - 0.2) < 0.05


def test_absent_labels_are_found_by_tag_or_by_set_and_tag() -> None:
    own, known = label_set("core"), {"mine": LabelSet((Label("DNA", "mine"),)), **label_sets()}

    def find(*absent: str) -> tuple[Label, ...]:
        return absent_labels(SetSpec(**{**SPEC, "absent": absent}), own, known)

    assert [label.name for label in find("DNA", "genia:cell_line")] == ["mine", "cell line"]
    assert find("genia:DNA")[0].definition == label_set("genia").subset(["DNA"]).labels[0].definition
    assert find() == ()
    for absent, message in (
        (["cell_lines"], "cell_lines.*known: DNA, PER"),
        (["genia:cell_lines"], "cell_lines.*known: protein, DNA"),
        (["genja:DNA"], "'genja:DNA'.*known: mine, core"),
        (["litbank:PER"], "PER.*already.*PER, LOC, ORG"),
        (["DNA", "genia:DNA"], "DNA.*already"),
    ):
        with pytest.raises(UsageError, match=message):
            find(*absent)


@given(seed=seeds)
def test_absent_labels_are_put_among_those_asked_for(seed: int) -> None:
    asked, absent = label_set("core"), tuple(label_set("genia"))
    made = with_absent(asked, absent, 1.0, random.Random(seed))
    assert [label for label in made if label.tag in asked] == list(asked)
    assert 1 <= len([label for label in made if label in absent]) <= 4
    assert with_absent(asked, (), 1.0, random.Random(seed)) == asked


# -- all of it together


def check(task: PromptTask) -> None:
    """A task asks for what its documents hold."""
    for document in task.documents:
        assert all(e.label in task.labels for e in document.entities)
        sayable, _ = task.answer(document)
        answer = task.form.encode(sayable, task.labels)
        assert task.form.decode(document.text, answer, task.labels).entities == sayable.entities


def test_whatever_is_mixed_can_be_said(tmp_path: Path) -> None:
    made, did = tasks(mixture(tmp_path, ALL_PROMPT, ALL_SET, number=120))
    for task in made:
        check(task)
    keys = {"fraction", "max_empty", "concat", "detokenize", "negatives", "renamed", "anonymous_tags", *NOISES}
    assert did.keys() == keys
    assert {form.name for form in {task.form for task in made}} <= {
        "inline_xml", "compact", "occurrence_json", "grouped_json", "gpt_ner"
    }  # fmt: skip


def test_each_key_does_what_it_says_and_is_counted(tmp_path: Path) -> None:
    def run(more: str, body: str = PLAIN) -> tuple[list[PromptTask], int]:
        made, did = tasks(mixture(tmp_path, body, more, number=60))
        assert len(did) == 1
        return made, next(iter(did.values()))["a"]

    def texts(made: list[PromptTask]) -> list[str]:
        return [d.text for task in made for d in task.documents]

    whole = {d.text for d in corpus(60)}
    made, count = run("fraction = 0.1")
    assert (len(texts(made)), count) == (6, 54)
    made, count = run("shots = 5")
    assert (len(texts(made)), count) == (5, 55)
    made, count = run("max_empty = 0.2")
    assert (len(texts(made)), count) == (50, 10)
    made, count = run("concat = 1.0")
    assert count == len(texts(made)) - sum(text in whole for text in texts(made))
    assert sum(text.count("she said") for text in texts(made)) == 60
    made, count = run("lowercase = 1.0")
    assert (sorted(texts(made)), count) == (sorted(text.lower() for text in whole), 60)
    made, count = run("typos = 1.0")
    assert count == 60
    assert len(whole & set(texts(made))) < 10  # a letter may be replaced by itself


def test_symbols_come_with_definitions_and_answers_in_symbols(tmp_path: Path) -> None:
    made, did = tasks(
        mixture(tmp_path, "[prompt]\nfull_prompt = 0.0\nno_definitions = 1.0\nsubset = 0.0\nanonymous_tags = 1.0")
    )
    assert did["anonymous_tags"]["a"] == len(made)
    for task in made:
        assert "a human" in task.instruction or task.form.prompt_per_label
        assert "PER" not in task.instruction
        assert "person" not in task.instruction
        check(task)
    said = [task.form.encode(task.answer(d)[0], task.labels) for task in made for d in task.documents]
    assert not any("PER" in answer or "LOC" in answer for answer in said)


def test_no_text_is_said_to_hold_an_absent_label(tmp_path: Path) -> None:
    absent = "absent = ['genia:cell_line', 'Chemical']"
    made, did = tasks(mixture(tmp_path, PLAIN + "\nnegatives = 0.5", absent, number=200))
    asked = [set(task.labels.tags) & {"cell_line", "Chemical"} for task in made]
    assert 0.2 < did["negatives"]["a"] / len(made) < 0.8
    assert any(asked)
    assert not all(asked)
    assert not any(e.label in ("cell_line", "Chemical") for t in made for d in t.documents for e in d.entities)


def test_a_set_may_have_formats_of_its_own(tmp_path: Path) -> None:
    some = mixture(tmp_path, more="formats = {compact = 1, offset_json = 3, gpt_ner = 0}")
    assert {task.form.name for task in tasks(some)[0]} == {"compact", "offset_json"}
    assert [form.name for form in some.ranked] == ["offset_json", "compact"]
    assert [form.name for form in mixture(tmp_path).ranked] == ["inline_xml", "compact", "gpt_ner", "grouped_json"]
    with pytest.raises(TrainingError, match=r"'a' formats weights are .*'compact': 0.*legal: 0 or more"):
        mixture(tmp_path, more="formats = {compact = 0}")
    with pytest.raises(UsageError, match="inline_yaml"):
        mixture(tmp_path, more="formats = {inline_yaml = 1}")


def test_the_report_is_json_and_tells_what_was_left_out(tmp_path: Path) -> None:
    report = MixtureReport()
    mixture(tmp_path, ALL_PROMPT, ALL_SET).epoch(0, report)
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert "8 documents left out by 'fraction' ({'a': 8})" in str(report)
    assert "documents left out by 'max_empty'" in str(report)
    assert "shots" not in str(report)


@pytest.mark.parametrize(
    ("body", "more", "message"),
    [
        ("", "fraction = 0.0", "fraction = 0.0; legal: 0.0001 to 1.0"),
        ("", "fraction = 1.1", "fraction = 1.1; legal"),
        ("", "shots = -1", "shots = -1; legal: 0 or more"),
        ("", "shots = 5.0", "shots = 5.0 is not of type int"),
        ("", "shots = 5\nfraction = 0.5", "'a' has shots = 5 and fraction = 0.5.*keep one"),
        ("", "max_empty = 2", "max_empty = 2.0; legal: 0.0 to 1.0"),
        ("", "concat = nan", "concat = nan"),
        ("", "typos = -0.1", "typos = -0.1"),
        ("", "spacing = 3", "spacing = 3"),
        ("", "lowercase = 0.6\nuppercase = 0.6", "lowercase = 0.6, uppercase = 0.6; legal: 1 or less together"),
        ("", "absent = 'x'", "absent = 'x' is not of type"),
        (
            "[prompt]\nrenamed = 0.6\nanonymous_tags = 0.6",
            "",
            "renamed = 0.6, anonymous_tags = 0.6; legal: 1 or less together",
        ),
        ("[prompt]\nanonymous_tags = 2", "", "anonymous_tags = 2.0; legal"),
        ("[prompt]\nnegatives = 0.2", "", "negatives = 0.2.*absent = .'TAG'"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, body: str, more: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        mixture(tmp_path, body, more)


def test_the_recipe_comes_back_from_its_json(tmp_path: Path) -> None:
    recipe = mixture(tmp_path, ALL_PROMPT, ALL_SET).recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(("table", "old"), [(table, old) for table, keys in RENAMED_KEYS.items() for old in keys])
def test_a_key_by_its_old_name_is_refused_with_the_new_one(tmp_path: Path, table: str, old: str) -> None:
    """Files are refused; what earlier versions recorded is read."""
    new = RENAMED_KEYS[table][old]
    said = rf"\[{table}\] '{old}' is called '{new}' now; write {new} = 0.25"
    with pytest.raises(DataError, match=said):
        mixture(tmp_path, "" if table == "set" else f"[{table}]\n{old} = 0.25", f"{old} = 0.25" * (table == "set"))
    recipe = mixture(tmp_path, "" if table == "set" else f"[{table}]\n{new} = 0.25", f"{new} = 0.25" * (table == "set"))
    recorded = json.loads(json.dumps(with_earlier_keys(recipe.recipe.to_dict())))
    where = recorded["sets"][0] if table == "set" else recorded[table]
    assert (where[old], new in where) == (0.25, False)
    assert Recipe.from_recorded(recorded) == recipe.recipe
    with pytest.raises(UsageError, match="is called"):
        Recipe.from_dict(recorded)
    study = "" if table == "set" else f"[[recipe]]\nname = 'r'\n[recipe.{table}]\n{old} = 0.25\n"
    study += f"[[corpus]]\nname = 'c'\nlabels = 'core'\ntest = 'a'\n{old} = 0.25\n" if table == "set" else ""
    (tmp_path / "study.toml").write_text("seeds = [1]\n" + study)
    with pytest.raises(DataError, match=f"'{old}' is called '{new}' now"):
        Study.from_file(tmp_path / "study.toml")
