"""What Python callers hand in and get back: labels, texts, entities with their text, a prediction in a notebook."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genner
from genner.document import Document, Entity, Label, LabelSet, Prediction, Problem
from genner.engines.base import Request
from genner.engines.scripted import ScriptedEngine
from genner.errors import LabelError, UsageError
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.labels import as_label_set, label_set, label_sets, of_tags, parse_labels
from genner.render.notebook import MAX_NOTEBOOK_CHARS, fragment
from tests.strategies import documents, texts

LABELS = LabelSet.of("PER", "LOC")


def extractor(seen: list[str] | None = None) -> Extractor:
    """Finds nothing; keeps what it was asked."""

    def answer(request: Request) -> str:
        if seen is not None:
            seen.append(request.instruction)
        return request.text

    return Extractor(ScriptedEngine(answer), FORMATS["inline_xml"], LABELS)


# -- labels


@pytest.mark.parametrize("name", [*label_sets(), "litbnak", "wikineural", "a.json"])
def test_tags_in_a_list_are_taken_as_they_are(name: str) -> None:
    assert as_label_set([name]).tags == (name,)
    assert as_label_set((name, "PER")).tags == (name, "PER")


def test_a_missing_text_is_refused_with_the_same_advice_whatever_stands_for_it() -> None:
    for missing in (None, float("nan"), NAType()):
        with pytest.raises(UsageError, match="leave it out, or give it to pipe"):
            extractor().extract(missing)  # type: ignore[arg-type]


def test_labels_in_a_set_have_the_same_order_in_each_process() -> None:
    tags = [f"L{i}" for i in range(20)]
    assert as_label_set(set(tags)).tags == as_label_set(frozenset(tags)).tags == tuple(sorted(tags))


def test_several_words_may_be_one_tag() -> None:
    assert parse_labels("cell line").tags == ("cell line",)
    assert parse_labels("ship name").tags == ("ship name",)
    with pytest.raises(LabelError, match="give at least one label"):
        parse_labels("")


def test_a_tag_in_a_list_is_not_split() -> None:
    with pytest.raises(LabelError, match="'PER, living' cannot be written as a tag"):
        as_label_set(["PER, living", "LOC"])


def test_tags_in_a_list_bring_their_definitions_along() -> None:
    assert as_label_set(["PER", "FAC"]) == parse_labels("PER,FAC") == label_set("litbank").subset(["PER", "FAC"])
    assert (
        as_label_set(t for t in ("ORG", "PER")) == of_tags(["ORG", "PER"]) == label_set("core").subset(["ORG", "PER"])
    )
    own = Label("PER", "", "people in power")
    assert as_label_set([own, "LOC"]).labels == (own, label_set("core").labels[1])


def test_a_mapping_brings_names_and_definitions() -> None:
    given_ = {"PER": "people in power", "ship": {"name": "vessel", "definition": "ships with a name"}, "x": {}}
    labels = as_label_set(given_)
    expected = (Label("PER", "", "people in power"), Label("ship", "vessel", "ships with a name"), Label("x"))
    assert labels.labels == expected
    seen: list[str] = []
    extractor(seen).extract("Ann left.", labels=given_)
    assert "people in power" in seen[0]
    assert "ship: vessel: ships with a name" in seen[0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "empty"),
        ({}, "empty"),
        ({"PER": 3}, "label 'PER' needs"),
        ({"PER": {"def": "x"}}, "unknown field 'def'; legal: name, definition"),
        ({3: "x"}, "label 3 is int, not a string"),
        (["PER", 3], "labels hold 3, a int; legal: a LabelSet"),
        (b"PER", "labels hold b'PER', a bytes"),
        (3, "labels hold 3, a int"),
    ],
)
def test_labels_of_other_kinds_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        extractor().pipe([], labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("litbnak", r"did you mean 'litbank'\?"),
        ("LitBank", r"did you mean 'litbank'\?"),
        ("ncbi", r"did you mean 'ncbi_disease'\?"),
        ("wikineural", "looks like the corpus wikineural, for which no label set is shipped"),
        ("CoNLL-2003", "looks like the corpus conll2003"),
        ("labels.json", "--labels-file labels.json"),
        ("PER;ORG", "looks like several; divide them by commas: PER,ORG;"),
        ("PER LOC ORG", "looks like several; divide them by commas: PER,LOC,ORG;"),
    ],
)
def test_one_word_that_looks_like_a_slip_is_questioned(text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message) as raised:
        parse_labels(text)
    # What the message says to type works.
    assert f"--labels '{text},'" in str(raised.value)
    assert parse_labels(f"{text},").tags == as_label_set([text]).tags == (text,)
    assert parse_labels(f"{text},PER").tags == (text, "PER")


@pytest.mark.parametrize("tag", ["PERSON", "date", "gene", "name", "user", "Ort", "人名"])
def test_one_ordinary_word_is_a_tag(tag: str) -> None:
    assert parse_labels(tag).tags == (tag,)


def test_every_tag_of_a_shipped_set_may_stand_alone() -> None:
    for labels in label_sets().values():
        for tag in labels.tags:
            assert parse_labels(tag).tags == (tag,)


# -- texts


@pytest.mark.parametrize("texts", ["Ann left.", b"Ann", Document("Ann"), {"text": "Ann"}])
def test_a_single_text_is_no_stream(texts: Any) -> None:
    with pytest.raises(UsageError, match=r"use extract\(text\)"):
        extractor().pipe(texts)


def test_a_table_is_no_stream() -> None:
    class Frame:
        columns = ("text",)

    with pytest.raises(UsageError, match=r"pipe\(table\['text'\]\)"):
        extractor().pipe(Frame())  # type: ignore[arg-type]


class NAType:
    """As pandas' NA, which is neither equal to anything nor true nor false."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), np.float64("nan"), NAType()])
def test_a_missing_text_is_an_empty_prediction_with_a_problem(missing: Any) -> None:
    first, empty, last = extractor().pipe(["Ann left.", missing, "Bob left."])
    assert (first.text, empty.text, last.text) == ("Ann left.", "", "Bob left.")
    assert [(p.kind, p.detail.startswith("text 2 is ")) for p in empty.problems] == [("missing", True)]
    assert not first.problems
    assert not empty.invalid


def test_an_empty_text_is_no_missing_one() -> None:
    assert next(extractor().pipe([""])).problems == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"text 2 is 3, a int; legal: a str or a Document; .* str\(value\)"),
        (0.5, "text 2 is 0.5, a float"),
        (b"Ann", r"text 2 is b'Ann', a bytes; .* decode it"),
        ({"text": "Ann"}, r"a dict; .* record\['text'\]"),
        (["Ann"], "a list; .* one by one"),
        (Path("ann.txt"), "read_text"),
        (True, "text 2 is True, a bool"),
    ],
)
def test_what_is_no_text_is_refused_with_its_number(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(extractor().pipe(["Ann left.", value]))
    with pytest.raises(UsageError, match=message.replace("text 2", "the text")):
        extractor().extract(value)


def test_extract_takes_no_missing_text() -> None:
    with pytest.raises(UsageError, match="the text is None"):
        extractor().extract(None)  # type: ignore[arg-type]


# -- entities and predictions


@settings(max_examples=25)
@given(document=documents(crossing=True))
def test_an_entity_has_its_text(document: Document) -> None:
    for entity in document.entities:
        assert entity.text == document.text[entity.start : entity.end] == document.mention(entity)
    again: Document = pickle.loads(pickle.dumps(document))
    assert [e.text for e in again.entities] == [e.text for e in document.entities]


@settings(max_examples=25)
@given(document=documents(crossing=True), by=st.integers(1, 3))
def test_the_text_of_an_entity_is_that_of_its_document(document: Document, by: int) -> None:
    moved = Document(
        "x" * by + document.text, tuple(replace(e, start=e.start + by, end=e.end + by) for e in document.entities)
    )
    assert [e.text for e in moved.entities] == [moved.mention(e) for e in moved.entities]
    other = Document("y" * len(document.text), document.entities)
    assert all(set(e.text) == {"y"} for e in other.entities)


def test_the_text_of_an_entity_takes_no_part_in_equality() -> None:
    bare = Entity(0, 3, "PER")
    (bound,) = Document("Ann", (bare,)).entities
    assert (bare.text, bound.text) == ("", "Ann")
    assert bare == bound
    assert hash(bare) == hash(bound)
    assert not bare < bound
    assert bound.shifted(2).text == ""


class Words(HTMLParser):
    """The text of a page without its labels (`b`), and its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags, self._labels = "", list[str](), 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self._labels += tag == "b"

    def handle_endtag(self, tag: str) -> None:
        self._labels -= tag == "b"

    def handle_data(self, data: str) -> None:
        self.text += "" if self._labels else data


@settings(max_examples=25)
@given(text=texts, detail=texts)
def test_a_notebook_shows_the_text_and_runs_nothing_of_it(text: str, detail: str) -> None:
    text = f"{text}<script>alert(1)</script><img src=x onerror=alert(1)>"
    label = "<b onmouseover='x'>"
    prediction = Prediction(
        text, (Entity(0, len(text), label),), problems=(Problem("split", detail),), below_min_score=2
    )
    words = Words()
    words.feed(prediction._repr_html_())
    assert set(words.tags) <= {"div", "mark", "b", "span"}
    assert "<script>alert(1)</script><img src=x onerror=alert(1)>" in words.text
    assert "left out, scoring too little: 2" in words.text


@pytest.mark.parametrize("show", [fragment, lambda d: d._repr_html_()])
def test_a_notebook_shows_a_part_of_a_long_text_and_says_so(show: Callable[[Document], str]) -> None:
    text = "word " * MAX_NOTEBOOK_CHARS
    page = show(Document(text, (Entity(0, 4, "A"), Entity(len(text) - 5, len(text) - 1, "B"))))
    assert f"the first {MAX_NOTEBOOK_CHARS:,} of {len(text):,} characters" in page
    assert len(page) < 2 * MAX_NOTEBOOK_CHARS


def test_a_prediction_has_a_short_repr() -> None:
    entities = tuple(Entity(i, i + 1, "PER") for i in range(100))
    shown = repr(Prediction("A" * 10_000, entities, "doc", (Problem("split", "x" * 1000),)))
    assert len(shown) < 200
    assert "PER 'A', PER 'A', PER 'A', 97 more" in shown
    assert "id='doc', problems=1" in shown
    assert repr(Prediction("")) == "Prediction('', entities=[])"


# -- loading


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "defualt"}, r"unknown model 'defualt' \(did you mean 'default'\?\); known: .*or the folder of one"),
        ({"model": "owner/Model-1B", "format": "xml"}, "unknown format 'xml'"),
        ({"model": ""}, "model ''; legal: a name"),
        ({"model": 3}, "model 3; legal: a name"),
        ({"labels": ["<a>"]}, "'<a>' cannot be written as a tag"),
        ({"labels": "litbnak"}, "did you mean 'litbank'"),
        ({"format": "inline-xml"}, r"unknown format 'inline-xml' \(did you mean 'inline_xml'\?\)"),
        ({"min_score": 40}, "min_score 40; legal: a number from 0"),
        ({"decoder": "fast"}, "unknown decoder 'fast'; known: reference, speculative"),
        ({"device": "gpu"}, "device 'gpu' is not on this machine, or not one that PyTorch .* can use; here: cpu"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not on this machine"),
    ],
)
def test_load_names_what_is_wrong_before_it_loads_anything(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("genner.model_source.ready", lambda base: pytest.fail("a model was looked for"))
    with pytest.raises(UsageError, match=message):
        genner.load(**arguments)


def test_a_set_of_labels_has_one_order_in_every_process() -> None:
    tags = ["T9", "T2", "T7", "T1", "T4"]
    assert as_label_set(set(tags)).tags == as_label_set(frozenset(reversed(tags))).tags == tuple(sorted(tags))
    assert as_label_set(tags).tags == tuple(tags)


@pytest.mark.parametrize("text", ["PER;LOC", "PER LOC", "PER; LOC ;ORG"])
def test_labels_divided_by_something_else_than_commas_are_questioned(text: str) -> None:
    with pytest.raises(LabelError, match="looks like several; divide them by commas: PER,LOC"):
        parse_labels(text)
    assert parse_labels("PER,LOC").tags == ("PER", "LOC")
    assert parse_labels("new kind").tags == ("new kind",)
