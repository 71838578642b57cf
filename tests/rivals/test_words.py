"""Words, and windows over them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import documents

from genner.document import Document, Entity
from genner.rivals.words import (
    INSIDE_WORD,
    TOO_LONG,
    Span,
    prediction_windows,
    training_windows,
    word_entities,
    words,
)


def lengths(text: str, found: list[Span] | tuple[Span, ...]) -> list[int]:
    return [end - start for start, end in found]


@given(st.text())
def test_words_cover_all_but_white_space(text: str) -> None:
    found = words(text)
    assert "".join(text[s:e] for s, e in found).split() == "".join(text.split()).split()
    assert all(s < e for s, e in found)
    assert all(a[1] <= b[0] for a, b in pairwise(found))


def test_words_in_several_scripts() -> None:
    text = "IL-2 naïve, 東京は"
    assert [text[s:e] for s, e in words(text)] == ["IL", "-", "2", "naïve", ",", "東", "京", "は"]


@given(documents(crossing=True), st.integers(1, 40))
def test_training_windows_lose_what_they_say(document: Document, limit: int) -> None:
    windows, lost = training_windows(document, lengths, limit)
    found, entities, torn = word_entities(document)
    assert tuple(word for window in windows for word in window.words) == found
    for window in windows:
        total = sum(e - s for s, e in window.words)
        assert len(window.words) == 1 or total <= limit
    assert lost[INSIDE_WORD] == len(torn)
    assert sum(len(window.entities) for window in windows) + lost.total() == len(document.entities)
    back = {
        (window.words[e.start][0], window.words[e.end - 1][1], e.label) for window in windows for e in window.entities
    }
    assert back <= {(found[e.start][0], found[e.end - 1][1], e.label) for e in entities}


@given(documents(), st.integers(30, 60))
def test_gold_is_lost_only_where_an_entity_alone_is_too_long(document: Document, limit: int) -> None:
    """Nested entities within a chain that is too long may be lost too; flat ones only by their own length."""
    kept: list[Entity] = []
    for entity in document.entities:
        if not kept or kept[-1].end <= entity.start:
            kept.append(entity)
    flat = Document(document.text, tuple(kept))
    _, lost = training_windows(flat, lengths, limit)
    found, entities, _ = word_entities(flat)
    too_long = [e for e in entities if sum(b - a for a, b in found[e.start : e.end]) > limit]
    assert lost[TOO_LONG] == len(too_long)


@given(st.text(alphabet="ab .é東", max_size=200), st.integers(1, 30))
def test_every_word_has_one_home(text: str, limit: int) -> None:
    windows = list(prediction_windows(text, lengths, limit))
    home = [window.words[i] for window in windows for i in range(*window.home)]
    assert tuple(home) == words(text)
    for window in windows:
        assert len(window.words) == 1 or sum(e - s for s, e in window.words) <= limit
