"""Answers are read in time that grows with them: steps are counted, no clock decides."""

import importlib.util
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.places import ROOT
from tests.strategies import LABELS, PIECES, documents

from genner.document import Document, LabelSet
from genner.formats import FORMATS, Format, search
from genner.formats.align import align, equals
from genner.formats.json_answer import find_lists, find_objects
from genner.grammar import Constraints

PATH = ROOT / "benchmarks" / "decode.py"
spec = importlib.util.spec_from_file_location("decode_benchmark", PATH)
assert spec
assert spec.loader
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)

formats = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())


def steps(read: Callable[..., object], text: str, answer: str) -> int:
    """The calls, of Python's functions and of C's, that it takes to read an answer."""
    count = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        read(text, answer, benchmark.LABELS)
    finally:
        sys.setprofile(before)
    return count


@formats
@pytest.mark.parametrize("kind", benchmark.CASES)
def test_steps_grow_with_the_answer(form: Format, kind: str) -> None:
    # Both longer than what is aligned as a whole.
    small, large = (steps(form.decode, *benchmark.CASES[kind](form, size)) for size in (5_000, 15_000))
    assert large < 5 * small + 2_000  # three times the size; nine times the steps would be its square


@formats
@pytest.mark.parametrize("kind", ["damaged", "one word, again and again", "strange mentions", "labels not asked for"])
def test_steps_of_the_strict_reading_grow_with_the_answer(form: Format, kind: str) -> None:
    small, large = (steps(form.decode_strictly, *benchmark.CASES[kind](form, size)) for size in (2_000, 6_000))
    assert large < 5 * small + 2_000


@formats
@pytest.mark.parametrize("kind", ["blanks", "|", '{\\"', '{"a": [', "[", "<channel>"])
def test_long_answers_end(form: Format, kind: str) -> None:
    """What one regular expression would go through again for each character, in C, where no step is counted."""
    _, answer = benchmark.CASES[kind](form, 100_000)
    assert form.decode("a b", answer, benchmark.LABELS).text == "a b"
    form.decode_strictly("a b", answer, benchmark.LABELS)


@formats
@given(document=documents(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_legal_is_what_the_grammar_reads(form: Format, document: Document, data: st.DataObject) -> None:
    sayable, _ = form.encodable_part(document)
    answer = form.encode(sayable, LABELS)
    at = data.draw(st.integers(0, len(answer)))
    changed = answer[:at] + data.draw(st.sampled_from(["", *PIECES])) + answer[at + data.draw(st.integers(0, 3)) :]
    for written in (answer, changed):
        read = form.grammar(document.text, LABELS, Constraints(allow_trailing_repeat=True)).read(
            written.encode("utf-8", "replace")
        )
        found = form.legal(document.text, written, LABELS)
        assert (read is None) == (found is None)
        if read is not None and found is not None:
            assert {(w.start, w.end, w.label) for w in read} == {(e.start, e.end, e.label) for e in found}


def test_a_long_copy_is_aligned_in_windows() -> None:
    document = benchmark.document(40_000)
    text = document.text
    form = FORMATS["inline_xml"]
    copies = {
        "characters lost": "".join(c for i, c in enumerate(text) if i % 97 != 50),
        "a preface": "Sure, here it is, as you asked. " * 300 + text,
        "a stretch is left out": text[:9_000] + text[20_000:],
        "cut off": text[:25_000],
    }
    for what, copy in copies.items():
        stretches = list(equals(text, copy))
        assert all(copy[i : i + n] == text[j : j + n] for i, j, n in stretches), what
        assert all(a[0] + a[2] <= b[0] and a[1] + a[2] <= b[1] for a, b in pairwise(stretches))
        shared = min(len(text), len(copy)) if what != "characters lost" else len(copy)
        assert sum(n for _, _, n in stretches) > 0.98 * shared, what
    answer = "Sure: " + form.encode(document, benchmark.LABELS).replace("rain", "snow")
    assert form.decode(text, answer, benchmark.LABELS).entities == document.entities
    assert align("ab", "xy", []) == ((), align("ab", "xy", [])[1])


def test_what_is_not_looked_for_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LIKENESSES", 0)
    found = FORMATS["grouped_json"].decode("Ann left.", '{"PER": ["Anna Lee"], "LOC": []}', LabelSet.of("PER", "LOC"))
    assert any("was not looked for in all of the text" in p.detail for p in found.problems)


def test_items_and_lists_in_broken_json() -> None:
    whole = '[{"text": "Ann", "label": "PER", "at": {"start": 0}}, {"a": [{"b": 1}]}]'
    assert [sorted(o) for o in find_objects(whole)[0]] == [["at", "label", "text"], ["start"], ["b"]]
    assert find_objects('x {"text": "a"} {"text": "b" "c"} {"d": 1} {"e')[0] == [{"text": "a"}, {"d": 1}]
    assert find_lists('{"PER": ["a"], "PER": ["b", 1], "x": {"LOC": []}}')[0] == [
        ("PER", ["a"]),
        ("PER", ["b", 1]),
        ("LOC", []),
    ]
    assert find_lists('{"PER": ["a", {"LOC": ["b"]}, "c"], "ORG": ["d"')[0] == [
        ("PER", ["a"]),
        ("LOC", ["b"]),
        ("ORG", ["d"]),
    ]
