"""Which demonstrations a sentence gets: laws of searches, retrievers, the cache and the window."""

import sqlite3
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.few_shot.made_up import POOL, SIZE, HashEncoder, tagged

from genner.document import Document, LabelSet
from genner.errors import UnknownNameError, UsageError
from genner.few_shot import FewShot
from genner.few_shot.demonstrations import LONGEST, DemonstrationPool, same_text
from genner.few_shot.encoders import unit
from genner.few_shot.mentions import MentionExamples
from genner.few_shot.retrieval import EntityRetriever, RandomRetriever, SentenceRetriever, entity_words, words
from genner.few_shot.similarity import vector_search
from genner.few_shot.vector_cache import CachedEncoder
from genner.few_shot.window import most_that_fit, shortened

sizes = st.lists(st.integers(1, 9), max_size=7)
WORDS = ["ann", "bob", "rome", "oslo", "left", "for", "the", "a", "train", "of", "red"]
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6)
few = settings(max_examples=30, deadline=None)


@few
@given(sizes, st.integers(0, 30))
def test_as_many_as_fit_and_of_those_the_nearest(given_sizes: list[int], room: int) -> None:
    choices = [
        choice
        for n in range(len(given_sizes) + 1)
        for choice in combinations(range(len(given_sizes)), n)
        if sum(given_sizes[i] for i in choice) <= room
    ]
    most = max(len(choice) for choice in choices)
    assert most_that_fit(given_sizes, room) == list(min(choice for choice in choices if len(choice) == most))


@few
@given(st.lists(st.tuples(st.text("ab", max_size=6), st.text("xy", max_size=6)), max_size=6), st.integers(0, 40))
def test_what_is_shown_fits_and_keeps_its_order(examples: list[tuple[str, str]], room: int) -> None:
    def measure(some: object) -> int:
        return sum(len(text) + len(answer) + 1 for text, answer in some) + 3 * bool(some)  # type: ignore[attr-defined]

    kept = shortened(examples, measure=measure, room=room)
    assert not kept or measure(kept) <= room
    rest = iter(examples)
    assert all(example in rest for example in kept)
    if measure(examples) <= room:
        assert kept == examples


@few
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 12), st.integers(0, 3), st.data())
def test_the_nearest_keys(keys: int, queries: int, count: int, seed: int, data: st.DataObject) -> None:
    made = np.random.default_rng(seed)
    vectors = unit(made.normal(size=(keys, 6)).astype(np.float32))
    asked = unit(made.normal(size=(queries, 6)).astype(np.float32))
    numbers, scores = vector_search(vectors).nearest(asked, count)
    cosines = asked.astype(np.float64) @ vectors.T.astype(np.float64)
    for row in range(queries):
        best = sorted(range(keys), key=lambda i: (-cosines[row, i], i))[:count]
        assert numbers[row].tolist() == best
        assert np.allclose(scores[row], cosines[row, best])


@pytest.mark.parametrize("size", [1, 7, 300])
def test_faiss_finds_the_same(size: int, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    made = np.random.default_rng(size)
    vectors = unit(made.normal(size=(size, SIZE)).astype(np.float32))
    asked = unit(made.normal(size=(20, SIZE)).astype(np.float32))
    for count in (1, 5, 50):
        plain, faiss = (vector_search(vectors, name).nearest(asked, count) for name in ("matrix", "faiss"))
        assert (plain[0] == faiss[0]).all()
        assert (plain[1] == faiss[1]).all()
    pool = [tagged(f"{['a', 'b', 'c', 'd', 'e', 'f', 'g'][i % 7]} saw Rome {i}", LOC="Rome") for i in range(40)]
    texts = ["a saw Oslo", "Rome 7", "x"]
    for retrieval in ("sentence", "entity"):
        found = [
            FewShot(
                pool, shots=5, retrieval=retrieval, encoder=HashEncoder(), search=name, cache=tmp_path / "v"
            ).retrieve(texts)
            for name in ("matrix", "faiss")
        ]
        assert found[0] == found[1]


@few
@given(st.lists(sentences, min_size=1, max_size=8), sentences, st.integers(1, 9))
def test_by_entity_every_sentence_is_ranked_by_its_nearest_word(
    given_pool: list[list[str]], query: list[str], count: int
) -> None:
    encoder = HashEncoder()
    documents = [tagged(" ".join(some), X=some[0]) for some in given_pool]
    pool = DemonstrationPool.of(documents)
    found = EntityRetriever(pool, encoder, encoder, "matrix").retrieve([" ".join(query)], count)[0]

    asked = encoder.sentences(query).astype(np.float64)

    def nearness(number: int) -> float:
        sentence = pool.sentences[number]
        own = encoder.spans([sentence.text], [entity_words(sentence)])[0].astype(np.float64)
        return round(float((own @ asked.T).max()), 9)

    assert len(found) == min(count, len(pool.sentences))
    assert [nearness(i) for i in found] == sorted(map(nearness, range(len(pool.sentences))), reverse=True)[:count]


def test_by_sentence_and_by_entity() -> None:
    encoder, pool = HashEncoder(), DemonstrationPool.of(POOL)
    by_sentence = SentenceRetriever(pool, encoder, encoder, "matrix").retrieve(["It rained in Berlin."], 2)
    by_entity = EntityRetriever(pool, encoder, encoder, "matrix").retrieve(
        ["Rome, it rained. Nobody came to the party", "?!"], 2
    )
    assert by_sentence[0][0] == 2
    assert sorted(by_entity[0]) == [0, 5]  # "Nobody came to the party." has no entity, so it is not found by entity
    assert by_entity[1] == []  # no word to look for


def test_random_demonstrations_depend_on_seed_and_text_alone() -> None:
    pool = DemonstrationPool.of(POOL)
    texts = [f"text {i}" for i in range(30)]
    alone = [RandomRetriever(pool, 1).retrieve([text], 2)[0] for text in texts]
    assert RandomRetriever(pool, 1).retrieve(texts, 2) == alone
    assert RandomRetriever(pool, 2).retrieve(texts, 2) != alone
    assert len({tuple(some) for some in alone}) > 5
    assert all(len(set(some)) == 2 for some in alone)


@pytest.mark.parametrize("retrieval", ["random", "sentence", "entity"])
def test_no_sentence_is_demonstrated_to_itself(retrieval: str, tmp_path: Path) -> None:
    encoder = None if retrieval == "random" else HashEncoder()
    pool = FewShot(POOL, shots=4, retrieval=retrieval, encoder=encoder, cache=tmp_path / "vectors")
    texts = [document.text for document in POOL] + ["  rome IS far\taway. "]
    for text, shown in zip(texts, pool.retrieve(texts), strict=True):
        assert len(shown) == 4
        assert same_text(text) not in {same_text(document.text) for document in shown}
    assert pool.counts["itself"] > 0
    assert any(note.startswith("not demonstrated to itself") for note in pool.notes())


def test_the_nearest_stands_last(tmp_path: Path) -> None:
    pool = FewShot(POOL, shots=3, retrieval="sentence", encoder=HashEncoder(), cache=tmp_path / "vectors")
    assert pool.retrieve(["It rained in Berlin."])[0][-1].text == "It rained in Paris."


def test_vectors_are_kept_by_content(tmp_path: Path) -> None:
    file, first, second = tmp_path / "a" / "vectors", HashEncoder(), HashEncoder()
    texts = [document.text for document in POOL]
    spans = [words(text) for text in texts]
    before = CachedEncoder(first, file).sentences(texts), CachedEncoder(first, file).spans(texts, spans)
    cached = CachedEncoder(second, file)
    after = cached.sentences(texts), cached.spans(texts, spans)
    assert second.encoded == []
    assert cached.computed == 0
    assert (before[0] == after[0]).all()
    assert all((a == b).all() for a, b in zip(before[1], after[1], strict=True))
    cached.sentences([*texts, "new"])
    assert second.encoded == ["new"]
    second.name = "another"
    renamed = CachedEncoder(second, file)
    renamed.sentences(texts)
    assert renamed.computed == len(texts)


def test_a_cache_that_cannot_be_used_costs_time_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "vectors"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(file).execute("SELECT * FROM vectors")
    texts = [document.text for document in POOL]
    assert (CachedEncoder(HashEncoder(), file).sentences(texts) == HashEncoder().sentences(texts)).all()
    assert "not kept on disk" in caplog.text


def test_a_pool_has_each_sentence_once_and_counts_what_it_leaves_out() -> None:
    story = " ".join(f"Ann saw Rome on day {i} of her journey." for i in range(60))
    across = story.index("Rome on day 3"), story.index("Ann saw Rome on day 4") + 3
    document = tagged(story, PER="Ann")
    whole = Document(story, (*document.entities, tagged(story, X=story[slice(*across)]).entities[0]))
    assert len(story) > LONGEST
    pool = DemonstrationPool.of([*POOL, POOL[0], Document(" ROME is  far away."), Document("  "), whole])
    assert pool.left_out == {"duplicates": 2, "cut": 1}
    assert len(pool.sentences) == len(POOL) + 60
    some = DemonstrationPool.of(POOL, 3)
    assert [s.text for s in some.sentences] == [POOL[i].text for i in (0, 2, 4)]
    assert some.left_out == {"beyond the limit": 3}
    assert some.digest != DemonstrationPool.of(POOL, 4).digest


@pytest.mark.parametrize("retrieval", ["random", "sentence", "entity"])
def test_half_of_the_solved_questions_is_answered_yes(retrieval: str) -> None:
    encoder = HashEncoder()
    examples = MentionExamples(DemonstrationPool.of(POOL), retrieval, encoder, encoder, 1)
    for label in ("PER", "LOC"):
        found = examples.find("Rome is far away.", [((0, 4), label)], 4)[0]
        assert sorted(solved.yes for solved in found) == [False, False, True, True]
        for solved in found:
            assert solved.sentence.text != "Rome is far away."
            mentions = {(e.span, e.label) for e in solved.sentence.entities}
            assert solved.yes == ((solved.span, label) in mentions)
    assert len(examples.find("x", [((0, 1), "NONE")], 3)[0]) == 1  # nothing is answered yes


def test_arguments_that_are_not_legal(tmp_path: Path) -> None:
    cache = tmp_path / "vectors"
    for wrong in (
        {"shots": 0},
        {"shots": 1.5},
        {"shots": "8"},
        {"limit": 0},
        {"retrieval": "sentence"},
        {"retrieval": "nearest"},
    ):
        with pytest.raises(UsageError):
            FewShot(POOL, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError):
        FewShot(POOL, retrieval="entity", encoder=HashEncoder(), search="annoy", cache=cache)
    for pool in (["Ada"], POOL[0], 5):
        with pytest.raises(UsageError, match="legal: the name of an annotated corpus, or its documents"):
            FewShot(pool)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no sentence"):
        FewShot([])
    with pytest.raises(UsageError, match="demonstrations with entities"):
        FewShot([Document("Nothing here.")], retrieval="entity", encoder=HashEncoder(), cache=cache)
    with pytest.raises(UsageError, match="they have: LOC, PER"):
        FewShot(POOL).check_labels(LabelSet.of("DNA"))
