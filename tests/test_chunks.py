"""Chunks cover a text: nothing is lost, nothing comes twice, and the work is linear in its length."""

from collections.abc import Callable
from math import ceil, log2

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genner.boundaries import composed
from genner.chunks import chunks, tags
from tests.strategies import texts

# Ways to measure a piece, all of which can only grow with it.
MEASURES: list[Callable[[str], int]] = [
    len,
    lambda piece: len(piece.encode()),
    lambda piece: len(piece.split()),
    lambda piece: sum(not c.isspace() for c in piece),
]
MEGABYTES = 2_000_000

sentences = st.lists(
    st.sampled_from(["Dr. Smith left.", "He is in!", " ", "\n", "\n\n", "\r\n", "東京。", "a b", "\u2028"])
)
long_texts = st.lists(st.one_of(texts, sentences.map("".join)), max_size=4).map("".join)


class Fits:
    """Whether a piece measures at most `most`; counts how often it is asked, and about how much text."""

    def __init__(self, most: float, measure: Callable[[str], int] = len) -> None:
        self.most, self.measure = most, measure
        self.calls = self.characters = 0

    def __call__(self, piece: str) -> bool:
        self.calls += 1
        self.characters += len(piece)
        return self.measure(piece) <= self.most


@given(
    text=long_texts, limit=st.integers(1, 60), most=st.integers(0, 40), measure=st.sampled_from(MEASURES),
    keep=st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_chunks_cover_everything_but_white_space_and_tags(
    text: str, limit: int, most: int, measure: Callable[[str], int], keep: bool
) -> None:
    fits = Fits(most, measure)
    found = list(chunks(text, fits, limit, keep_tags=keep))
    at, asked = 0, text
    for start, end in [] if keep else tags(text):
        asked = asked[:start] + " " * (end - start) + asked[end:]
    for chunk in found:
        piece = text[chunk.start : chunk.end]
        assert piece == asked[chunk.start : chunk.end]
        assert not asked[at : chunk.start].strip()
        assert piece
        assert piece == piece.strip()
        assert len(piece) <= limit
        assert len(piece) == 1 or fits(piece)
        at = chunk.end
    assert not asked[at:].strip()
    assert not (found and found[-1].cut)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("<b>Ann</b>, <i class='x'>Rome</i>", ["Ann", ",", "Rome"]),
        ("one<br>two<BR/>three", ["one", "two", "three"]),
        ('<?xml version="1.0"?><!DOCTYPE a><a><x:y>Ann</x:y></a>', ["Ann"]),
        ("<PERSON> met Ann", ["<PERSON> met Ann"]),  # closed nowhere: no tag
        ("Ann <ann@example.org> if a <b and c> d", ["Ann <ann@example.org> if a <b and c> d"]),
        ("vector<int> x<y> <3 </>", ["vector<int> x<y> <3 </>"]),
        ("<PER>Ann</PER> and <LOC>Rome", ["Ann", "and <LOC>Rome"]),
    ],
)
def test_texts_are_cut_at_tags(text: str, pieces: list[str]) -> None:
    assert [text[c.start : c.end] for c in chunks(text, lambda _: True, 1000)] == pieces
    assert [text[c.start : c.end] for c in chunks(text, lambda _: True, 1000, keep_tags=True)] == [text]


@given(text=long_texts)
@settings(deadline=None)
def test_only_what_is_too_long_is_cut(text: str) -> None:
    assert not any(chunk.cut for chunk in chunks(text, lambda _: True, len(text) + 1))


@given(
    text=st.lists(st.sampled_from(["ab", "e\u0301", "न\u093f", "👩\u200d👩\u200d👧", "❤\ufe0f", "क\u094d"])).map(
        "".join
    )
)
@example(text="e\u0301" * 100)
@settings(deadline=None)
def test_no_character_is_cut_in_two(text: str) -> None:
    for chunk in chunks(text, lambda piece: len(piece) <= 15, 12):
        assert chunk.start == 0 or not composed(text[chunk.start - 1], text[chunk.start])


def test_a_character_longer_than_the_limit_is_cut_in_few_pieces() -> None:
    found = list(chunks("e" + "\u0301" * 10_000, Fits(1000), 1000))
    assert len(found) == 11


def test_windows_end_at_blanks() -> None:
    text = "word " * 100
    for chunk in chunks(text, lambda _: True, 33):
        assert text[chunk.start : chunk.end].split() == ["word"] * ((chunk.end - chunk.start + 1) // 5)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \n\t\u3000", []),
        ("Dr. Smith met Mr. Jones. He left.", ["Dr. Smith met Mr. Jones.", "He left."]),
        ("It grew by 3.5 percent. Prof. Lee said so.", ["It grew by 3.5 percent.", "Prof. Lee said so."]),
        ("One line\nwrapped. Two", ["One line\nwrapped.", "Two"]),
        ("A title\n\nIts text", ["A title", "Its text"]),
        ("A title\r\n \r\nIts text", ["A title", "Its text"]),
        ("東京です。大阪です。", ["東京です。", "大阪です。"]),
    ],
)
def test_sentences(text: str, pieces: list[str]) -> None:
    assert [text[c.start : c.end] for c in chunks(text, lambda _: True, 1200)] == pieces


def test_a_long_text_is_cut_as_a_short_one() -> None:
    paragraph = "Dr. Smith left.\nHe is back! A\n\n\n"
    pieces = ["Dr. Smith left.", "He is back!", "A"]
    text = paragraph * 5000
    assert [text[c.start : c.end] for c in chunks(text, lambda _: True, 1200)] == pieces * 5000


def test_one_endless_line() -> None:
    limit, most = 1200, 300
    fits = Fits(most)
    found = list(chunks("x" * MEGABYTES, fits, limit))
    assert fits.calls <= len(found) * (ceil(log2(limit / most)) + 1)
    assert fits.characters <= MEGABYTES * 2 * limit / most


@pytest.mark.parametrize("blank", [" ", "\n", "\u3000", " \n", "\r\n"])
def test_an_endless_blank(blank: str) -> None:
    fits = Fits(300)
    assert list(chunks(blank * (MEGABYTES // len(blank)), fits, 1200)) == []
    assert fits.calls == 0


@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
def test_many_sentences(between: str) -> None:
    sentence = "The cat sat on the mat." + between
    text = sentence * (MEGABYTES // len(sentence))
    fits = Fits(300)
    found = list(chunks(text, fits, 1200))
    assert len(found) == fits.calls == len(text) // len(sentence)
    assert fits.characters <= len(text)
