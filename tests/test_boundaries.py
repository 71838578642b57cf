"""Where entities may start and end, and which spans cross."""

import re
import unicodedata
from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from genner.boundaries import Boundaries, boundaries, crossing
from genner.document import Document, reading_order
from genner.formats import FORMATS
from genner.formats.inline import InlineFormat
from tests.strategies import documents, texts

wheres = st.sampled_from(["any", "word", "strict"])
MARKS = "\u0301\u093f\ufe0f\u20e3\u3099\u0e31"

# -- boundaries


@given(text=texts, where=wheres)
def test_flags_stand_for_all_places(text: str, where: Boundaries) -> None:
    starts, ends = boundaries(text, where)
    assert len(starts) == len(ends) == len(text) + 1
    assert not starts[-1]
    assert not ends[0]
    if where == "any":
        assert all(starts[:-1])
        assert all(ends[1:])


@given(text=st.lists(st.one_of(texts, st.sampled_from(MARKS), st.sampled_from("äЖ9東のไ한"))).map("".join))
def test_word_boundaries(text: str) -> None:
    starts, ends = boundaries(text, "word")
    letter = ""  # what a mark stands on
    for i, char in enumerate(text):
        assert not (starts[i] and char.isspace())
        assert not (ends[i + 1] and char.isspace())
    for i, (left, right) in enumerate(pairwise(text), 1):
        letter = letter if i > 1 and (unicodedata.category(left)[0] == "M" or left == "\u200d") else left
        if unicodedata.category(right)[0] == "M" or right == "\u200d" or (left == "\u200d" and not letter.isspace()):
            assert not starts[i]
            assert not ends[i]
        elif letter.isspace():  # with its marks and joiners, which join nothing
            assert not ends[i]
            assert starts[i] != right.isspace()
        elif not right.isspace():
            assert starts[i] == ends[i]  # with nothing between them, one word ends where the next one starts
            assert starts[i] or (letter.isalnum() and right.isalnum())


@given(text=st.text(f"aЖ9東-  \t\u200d👩{MARKS}", max_size=12))
def test_words_start_and_end_in_turn(text: str) -> None:
    """Marks and joiners in any place, on blanks too."""
    starts, ends = boundaries(text, "word")
    begun, ended = ([i for i, flag in enumerate(flags) if flag] for flags in (starts, ends))
    assert len(begun) == len(ended)
    assert all(start < end for start, end in zip(begun, ended, strict=True))
    assert all(end <= start for end, start in zip(ended, begun[1:], strict=False))


def test_a_mark_in_a_word_does_not_end_it() -> None:
    for word in ("cafe\u0301s", "हिन्दी", "שָׁלוֹם"):
        starts, ends = boundaries(f"{word} x", "word")
        assert [i for i, free in enumerate(starts) if free] == [0, len(word) + 1]
        assert [i for i, free in enumerate(ends) if free] == [len(word), len(word) + 2]


@given(text=st.text("aB9é ß.-_Жא", max_size=20))
def test_spaced_scripts_have_boundaries_only_at_the_edges_of_words(text: str) -> None:
    starts, ends = boundaries(text, "word")
    inside = {i for run in re.finditer(r"[^\W_]+", text) for i in range(run.start() + 1, run.end())}
    assert {i for i in range(len(text)) if starts[i]} == {i for i, c in enumerate(text) if c != " "} - inside
    assert {i for i in range(1, len(text) + 1) if ends[i]} == {i for i, c in enumerate(text, 1) if c != " "} - inside


@given(text=st.text("東京のカ한글ไทยខမ𠀀", min_size=1, max_size=12))
def test_unspaced_scripts_have_boundaries_everywhere(text: str) -> None:
    starts, ends = boundaries(text, "word")
    assert all(starts[:-1])
    assert all(ends[1:])


@given(text=st.text("a東\u200d👩", max_size=6), mark=st.sampled_from(MARKS), rest=texts)
def test_no_mark_is_torn_from_its_letter(text: str, mark: str, rest: str) -> None:
    starts, ends = boundaries(text + "x" + mark + rest, "word")
    assert not starts[len(text) + 1]
    assert not ends[len(text) + 1]


# -- crossing spans


def cross(a: tuple[int, int], b: tuple[int, int]) -> bool:
    (a, b) = sorted((a, b))
    return a[0] < b[0] < a[1] < b[1]


@given(spans=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)).map(lambda t: (t[0], t[0] + t[1]))))
def test_crossing_against_all_pairs(spans: list[tuple[int, int]]) -> None:
    spans.sort(key=lambda span: (span[0], -span[1]))
    found = crossing(spans)
    assert (found is None) == (not any(cross(a, b) for a, b in combinations(spans, 2)))
    if found is not None:
        first, second = found
        assert first in spans
        assert cross(first, second)
        assert not any(cross(a, b) for a, b in combinations(spans[: spans.index(second)], 2))  # none came before


@given(document=documents(crossing=True))
def test_crossing_is_what_no_inline_format_can_say(document: Document) -> None:
    found = crossing([e.span for e in sorted(document.entities, key=reading_order)])
    for form in FORMATS.values():
        if isinstance(form, InlineFormat):
            assert (found is None) == (form.unencodable(document) == [])
