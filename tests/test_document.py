"""The core types refuse what is not legal, and lose nothing on the way to JSON and back."""

import importlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genner
from genner.document import Document, Entity, Label, LabelSet, Prediction, Problem, reading_order
from genner.errors import DataError, DocumentError, LabelError, UnknownNameError
from genner.labels import label_set, label_sets, parse_labels
from tests.strategies import documents

# -- entities and documents


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (0, 0), (3, 2), (-3, -1)])
def test_a_span_is_neither_empty_nor_negative(start: int, end: int) -> None:
    with pytest.raises(DocumentError, match="0 <= start < end"):
        Entity(start, end, "PER")


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_score_is_a_probability(score: float) -> None:
    with pytest.raises(DocumentError, match=r"outside \[0, 1\]"):
        Entity(0, 1, "PER", score)


def test_an_entity_has_a_label() -> None:
    with pytest.raises(DocumentError, match="empty label"):
        Entity(0, 1, "")


def test_the_score_takes_no_part_in_equality() -> None:
    assert Entity(0, 1, "PER", 0.5) == Entity(0, 1, "PER")
    with pytest.raises(DocumentError, match="given twice"):
        Document("a", (Entity(0, 1, "PER", 0.5), Entity(0, 1, "PER", 0.6)))


@given(document=documents(crossing=True), by=st.integers(0, 9))
def test_shifting_keeps_the_mention(document: Document, by: int) -> None:
    shifted = tuple(e.shifted(by) for e in document.entities)
    moved = Document("x" * by + document.text, shifted)
    assert [moved.mention(e) for e in moved.entities] == [document.mention(e) for e in document.entities]
    assert [e.end - e.start for e in shifted] == [e.span[1] - e.span[0] for e in document.entities]


@given(document=documents(crossing=True), data=st.data())
def test_entities_are_kept_in_reading_order(document: Document, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(document.entities))
    assert Document(document.text, tuple(shuffled), document.id) == document
    assert list(document.entities) == sorted(shuffled, key=reading_order)
    for outer, inner in zip(document.entities, document.entities[1:], strict=False):
        assert outer.start < inner.start or (outer.start == inner.start and outer.end >= inner.end)


def test_an_entity_lies_inside_the_text() -> None:
    with pytest.raises(DocumentError, match=r"'d': span \[0, 4\) lies outside the text; legal ends: 1 to 3"):
        Document("abc", (Entity(0, 4, "PER"),), "d")


def test_offsets_count_code_points() -> None:
    document = Document("🙂 Ann", (Entity(2, 5, "PER"),))
    assert document.mention(document.entities[0]) == "Ann"
    with pytest.raises(DocumentError, match="not bytes or UTF-16 units"):  # UTF-16 counts two for the emoji
        Document.from_dict({"text": "🙂 Ann B", "entities": [{"start": 3, "end": 6, "label": "PER", "text": "Ann"}]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
json_fields = st.dictionaries(
    st.text(max_size=4).filter(lambda k: k not in ("id", "text", "entities", "problems", "group")), json_values
)


@given(document=documents(crossing=True), fields=json_fields, id=st.text(max_size=3) | st.integers())
def test_what_else_a_record_says_is_written_back(document: Document, fields: dict[str, Any], id: str | int) -> None:
    record = {**document.to_dict(), "id": id, **fields}
    read = Document.from_dict(record)
    assert list(read.to_dict().items()) == list(record.items())
    assert read.id == str(id)
    assert {k: v for k, v in read.extra.items() if k != "id"} == fields
    for copy in (pickle.loads(pickle.dumps(read)), replace(read, entities=())):
        assert copy.extra == read.extra
    assert hash(read) == hash(replace(read, extra={}))
    assert read == replace(read, extra={})
    assert replace(read, id="renamed").to_dict()["id"] == "renamed"


def test_extra_is_read_only_and_apart_from_what_genner_writes() -> None:
    given = {"source": "wire"}
    document = Document("a", extra=given)
    given["source"] = "changed"
    assert dict(document.extra) == {"source": "wire"}
    assert not hasattr(document.extra, "__setitem__")
    with pytest.raises(DocumentError, match="'text' in 'extra' is a field of its own"):
        Document("a", extra={"text": "b"})


@given(document=documents(), group=json_values | st.text(max_size=3))
def test_a_group_is_read_and_written_back(document: Document, group: Any) -> None:
    record = {**document.to_dict(), "group": group}
    read = Document.from_dict(record)
    named = isinstance(group, str) or type(group) is int
    assert read.group == (str(group) if named else "")
    assert read.to_dict() == ({k: v for k, v in record.items() if k != "group"} if group == "" else record)
    assert read == document
    assert hash(read) == hash(document)
    assert pickle.loads(pickle.dumps(read)).group == read.group
    assert replace(read, group="renamed").to_dict()["group"] == "renamed"


def test_a_group_that_is_not_known_is_not_written() -> None:
    assert "group" not in Document("a").to_dict()
    assert Document.from_dict({"text": "a", "entities": [], "group": ["x"]}).extra["group"] == ["x"]
    assert Prediction("a", group="b").to_dict() == {"id": "", "text": "a", "entities": [], "group": "b", "problems": []}
    with pytest.raises(DocumentError, match="group is 7, not a string"):
        Document("a", group=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a\ud800", "\udfff", "\ude42\ud83d"])
def test_a_lone_surrogate_is_no_text(text: str) -> None:
    with pytest.raises(DocumentError, match="lone surrogate at"):
        Document(text)


def test_bytes_are_no_text_and_nul_is() -> None:
    with pytest.raises(DocumentError, match="bytes, not str"):
        Document(b"abc")  # type: ignore[arg-type]
    assert Document("\x00", (Entity(0, 1, "PER"),)).text == "\x00"


# -- to JSON and back


@given(document=documents(crossing=True), scores=st.lists(st.none() | st.floats(0, 1), min_size=5, max_size=5))
def test_json_round_trip(document: Document, scores: list[float | None]) -> None:
    scored = tuple(Entity(*e.span, e.label, s) for e, s in zip(document.entities, scores, strict=False))
    record = Document(document.text, scored, document.id).to_dict()
    back = Document.from_dict(json.loads(json.dumps(record)))
    assert back == document
    assert [e.score for e in back.entities] == [e.score and round(e.score, 4) for e in scored]
    assert back.to_dict() == record
    assert all(item["text"] == document.text[item["start"] : item["end"]] for item in record["entities"])


def test_a_prediction_says_what_went_wrong() -> None:
    problems = (Problem("realigned", "a"), Problem("split", "b"))
    prediction = Prediction("Ann", (Entity(0, 3, "PER", 0.5),), "d", problems)
    assert prediction.to_dict() == {
        "id": "d",
        "text": "Ann",
        "entities": [{"start": 0, "end": 3, "label": "PER", "text": "Ann", "score": 0.5}],
        "problems": [{"kind": "realigned", "detail": "a"}, {"kind": "split", "detail": "b"}],
    }
    assert not prediction.invalid
    assert Prediction("Ann", problems=(Problem("truncated", ""),)).invalid
    assert Document.from_dict(prediction.to_dict()) == Document("Ann", prediction.entities, "d")


@pytest.mark.parametrize(("record", "id"), [({}, ""), ({"id": None}, ""), ({"id": 0}, "0"), ({"id": "a", "x": 1}, "a")])
def test_the_id_is_a_string(record: dict[str, Any], id: str) -> None:
    assert Document.from_dict({"text": "a", "entities": [], **record}) == Document("a", (), id)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "has no 'text'; it has: nothing"),
        ({"content": "a", "id": None}, "has no 'text'; it has: content"),
        ({"text": "a", "id": 1}, "has no 'entities'; it has: text, id"),
        ({"text": "a", "entities": None, "\x1b[2J": 1}, r"has no 'entities'; it has: text, '\\x1b\[2J'"),
        ({"text": 3}, "'text' is int"),
        ({"text": "a", "entities": {"start": 0}}, "'entities' is dict"),
        ({"text": "a", "entities": ["PER"]}, "an entity is str"),
        ({"text": "a", "entities": [{"start": 0, "end": 1}]}, "needs integer"),
        ({"text": "a", "entities": [{"start": 0.0, "end": 1, "label": "PER"}]}, "needs integer"),
        ({"text": "a", "entities": [{"start": False, "end": 1, "label": "PER"}]}, "needs integer"),
        ({"text": "a", "entities": [{"start": 0, "end": 1, "label": "PER", "score": "1"}]}, "'score' is not a number"),
        ({"text": "a", "entities": [{"start": 0, "end": 1, "label": "PER", "score": 7}]}, "outside"),
        ({"text": "a", "entities": [{"start": -1, "end": 1, "label": "PER"}]}, "negative"),
        ({"text": "a", "entities": [{"start": 0, "end": 2, "label": "PER", "text": "a"}]}, "outside the text"),
        ({"text": "ab", "entities": [{"start": 0, "end": 1, "label": "PER", "text": "b"}]}, "offsets cut out, 'a'"),
    ],
)
def test_malformed_records(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        Document.from_dict(record)


# -- labels


@pytest.mark.parametrize("tag", ["PER", "cell line", "人名", "B-PER", "v1.0", "C+", "e\u0301", "sub_type"])
def test_legal_tags(tag: str) -> None:
    assert Label(tag).tag == tag


@pytest.mark.parametrize(
    "tag", ["", " ", " A", "A ", "A  B", "A\tB", "A\n", "\x00", "\x7f", "\ud800", *"<>[]|\\/\"'`{}@#:,&"]
)
def test_illegal_tags(tag: str) -> None:
    with pytest.raises(LabelError, match="cannot be written as a tag"):
        Label(tag)


@pytest.mark.parametrize("value", ["a\nb", "a\r", "\n", "\udc80"])
def test_name_and_definition_are_one_line(value: str) -> None:
    with pytest.raises(LabelError, match="one line"):
        Label("PER", name=value)
    with pytest.raises(LabelError, match="one line"):
        Label("PER", definition=value)


def test_a_label_set_is_not_empty_and_names_each_label_once() -> None:
    with pytest.raises(LabelError, match="empty"):
        LabelSet(())
    with pytest.raises(LabelError, match="'A' is given twice"):
        LabelSet.of("A", "B", "A")


def test_a_label_set_is_a_sequence_of_labels() -> None:
    labels = LabelSet.of("A", "B", "C")
    assert (len(labels), labels.tags, [label.tag for label in labels]) == (3, ("A", "B", "C"), ["A", "B", "C"])
    assert "A" in labels
    assert "D" not in labels
    assert labels.subset(["C", "A"]).tags == ("C", "A")
    with pytest.raises(LabelError, match="'D' is not in the label set; it has: A, B, C"):
        labels.subset(["A", "D"])


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (["A", "B"], LabelSet.of("A", "B")),
        ({"A": "all As", "B": ""}, LabelSet((Label("A", "", "all As"), Label("B")))),
        ({"A": {"name": "a", "definition": "all As"}}, LabelSet((Label("A", "a", "all As"),))),
        ({"A": {"name": "a"}, "B": {}}, LabelSet((Label("A", "a"), Label("B")))),
        ({"人名": {"definition": "人の名前"}}, LabelSet((Label("人名", "", "人の名前"),))),
    ],
)
def test_label_files(tmp_path: Path, content: Any, labels: LabelSet) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    assert LabelSet.from_file(path) == labels


def test_a_label_file_may_say_how_deep_its_labels_nest(tmp_path: Path) -> None:
    path, labels = tmp_path / "labels.json", LabelSet((Label("A", "a"), Label("labels")), depth=1)
    path.write_text(labels.to_file(), encoding="utf-8")
    found = LabelSet.from_file(path)
    assert (found, found.depth, found.subset(["A"]).depth) == (labels, 1, 1)
    path.write_text(LabelSet(labels.labels).to_file(), encoding="utf-8")
    assert LabelSet.from_file(path).depth is None
    assert LabelSet.from_json({"depth": "how far down", "labels": "what it says"}, "f").tags == ("depth", "labels")
    with pytest.raises(LabelError, match="depth 0"):
        LabelSet.from_json({"depth": 0, "labels": ["A"]}, "f")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"PER,ORG", DataError, "is not JSON"),
        (b'["\xff"]', DataError, "is not JSON"),
        (b"3", DataError, "is neither"),
        (b'["A", 3]', DataError, "is neither"),
        (b'{"A": 3}', DataError, "label 'A' needs"),
        (b'{"A": {"name": 3}}', DataError, "label 'A' needs"),
        (b"{}", LabelError, "empty"),
        (b"[]", LabelError, "empty"),
        (b'["A", "A"]', LabelError, "twice"),
        (b'["<A>"]', LabelError, "cannot be written"),
        (b'["\\ud800"]', LabelError, "cannot be written"),
    ],
)
def test_broken_label_files(tmp_path: Path, content: bytes, error: type[Exception], message: str) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        LabelSet.from_file(path)


def test_label_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.json"):
        with pytest.raises(DataError, match="cannot be read"):
            LabelSet.from_file(path)


def test_parse_labels_knows_the_shipped_sets() -> None:
    for name, labels in label_sets().items():
        assert parse_labels(name) == label_set(name) == labels
        assert parse_labels(",".join(labels.tags)).tags == labels.tags
    with pytest.raises(UnknownNameError, match=r"unknown label set 'nope'; known: .*core"):
        label_set("nope")


def test_parse_labels_takes_definitions_from_one_set_if_it_can() -> None:
    core, litbank = label_set("core"), label_set("litbank")
    assert parse_labels("ORG, PER") == core.subset(["ORG", "PER"])
    assert parse_labels("PER,FAC") == litbank.subset(["PER", "FAC"])
    assert parse_labels("PER,spaceship") == LabelSet((*core.subset(["PER"]), Label("spaceship")))
    assert parse_labels(" a , b,") == LabelSet.of("a", "b")


@pytest.mark.parametrize(("text", "message"), [("", "empty"), (" , ", "empty"), ("PER,PER", "twice"), ("<b>", "tag")])
def test_parse_labels_refuses(text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        parse_labels(text)


# -- the package


def test_public_names() -> None:
    assert sorted(genner.__all__) == genner.__all__
    assert all(getattr(genner, name).__name__ == name for name in genner.__all__)
    with pytest.raises(AttributeError, match="nope"):
        importlib.import_module("genner").nope  # noqa: B018


def test_import_is_light() -> None:
    code = "import genner, sys; print([m for m in ('torch', 'transformers', 'sentencex') if m in sys.modules])"
    source = str(Path(genner.__file__).parents[1])
    command, env = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": source}
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == "[]\n"
