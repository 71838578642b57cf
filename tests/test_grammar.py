"""Walking through a grammar and reading an answer with it agree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genner.boundaries import Boundaries
from genner.document import Document
from genner.formats import FORMATS, Format
from genner.grammar import Constraints, accepts
from tests.strategies import LABELS, PIECES, documents, texts

formats = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
wheres = st.sampled_from(["any", "word", "strict"])


@formats
@given(
    text=texts,
    answer=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=15).map("".join),
    where=wheres,
    depth=st.sampled_from([1, 2, None]),
)
@settings(max_examples=200, deadline=None)
def test_what_is_accepted_is_read(form: Format, text: str, answer: str, where: Boundaries, depth: int | None) -> None:
    grammar, written = form.grammar(text, LABELS, Constraints(where, depth)), answer.encode("utf-8", "replace")
    assert accepts(grammar, written) == (grammar.read(written) is not None)


@formats
@given(
    document=documents(), where=wheres, depth=st.sampled_from([1, 2, None]), cut=st.floats(0, 1),
    size=st.integers(0, 4), new=st.sampled_from(["", *PIECES]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_what_is_nearly_legal_is_accepted_only_if_it_is_read(
    form: Format, document: Document, where: Boundaries, depth: int | None, cut: float, size: int, new: str
) -> None:
    answer = form.encode(form.encodable_part(document)[0], LABELS).encode()
    at = int(cut * len(answer))
    changed = answer[:at] + new.encode() + answer[at + size :]
    grammar = form.grammar(document.text, LABELS, Constraints(where, depth))
    for written in (answer, changed):
        assert accepts(grammar, written) == (grammar.read(written) is not None)
    assert depth is not None or where != "any" or accepts(grammar, answer)
