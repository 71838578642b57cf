"""JSON records as other tools write them: what they say is read, what they do not say is not taken for nothing."""

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.places import ROOT

from genner.data.alpaca import Alpaca
from genner.data.base import ReadLog, Syntax
from genner.data.doccano import Doccano
from genner.data.gliner import GlinerJson
from genner.data.gliner2 import Gliner2
from genner.data.hf_json import HuggingFaceJson
from genner.data.jsonl import Jsonl
from genner.data.label_studio import LabelStudio
from genner.data.label_studio_min import LabelStudioMin
from genner.data.langextract_jsonl import Langextract
from genner.data.records import RecordSyntax
from genner.data.registry import SYNTAXES, guess, looks_like
from genner.data.sharegpt import ShareGpt
from genner.data.spacy_json import SpacyJson
from genner.document import Document, Entity, Prediction, Problem
from genner.errors import DataError, UsageError

TEXT = "Ada met Bob."
BOTH = (Entity(0, 3, "PER"), Entity(8, 11, "PER"))
ADA = Document(TEXT, BOTH, "7")


def write(folder: Path, data: Any, name: str = "x.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8", newline="")
    return path


def read(path: Path, kind: Syntax | None = None, lenient: bool = False) -> tuple[list[Document], ReadLog]:
    read_log = ReadLog(lenient)
    return list((kind or guess(path)).read(path, read_log)), read_log


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def marks(*values: dict[str, Any], to: str = "text", **more: Any) -> dict[str, Any]:
    return {"result": [{"type": "labels", "from_name": "label", "to_name": to, "value": v} for v in values], **more}


SPANS = [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}, {"start": 8, "end": 11, "labels": ["PER"]}]
API = {"features": [{"name": "ner_tags", "type": {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}}}]}
TAGGED = {"id": 7, "tokens": ["Ada", "met", "Bob", "."]}
TOKENS = [{"orth": orth, "ner": ner} for orth, ner in zip(TAGGED["tokens"], ["U-PER", "O", "U-PER", "O"], strict=True)]
CHAT = [{"from": "human", "value": f"Mark names.\nText:\n{TEXT}"}, {"from": "gpt", "value": "<PER>Ada</PER> met Bob."}]
EXTRACTION = {"extraction_class": "PER", "extraction_text": "Ada", "char_interval": {"start_pos": 0, "end_pos": 3}}

# What each syntax's own tool writes, of the two mentions in TEXT (one where the form cannot say more).
FORMS: list[tuple[str, str, Any]] = [
    (
        "jsonl",
        "lines",
        {"id": 7, "text": TEXT, "entities": [{"start": e.start, "end": e.end, "label": "PER"} for e in BOTH]},
    ),
    ("doccano", "label", {"id": 7, "text": TEXT, "label": [[0, 3, "PER"], [8, 11, "PER"]], "Comments": []}),
    ("doccano", "labels", {"id": 7, "text": TEXT, "labels": [[0, 3, "PER"], [8, 11, "PER"]]}),
    (
        "doccano",
        "relations",
        {
            "id": 7,
            "text": TEXT,
            "entities": [
                {"id": i, "label": "PER", "start_offset": e.start, "end_offset": e.end} for i, e in enumerate(BOTH)
            ],
            "relations": [],
        },
    ),
    (
        "prodigy",
        "db-out",
        {
            "id": 7,
            "text": TEXT,
            "spans": [{"start": e.start, "end": e.end, "label": "PER"} for e in BOTH],
            "answer": "accept",
            "_input_hash": 1,
        },
    ),
    ("label_studio", "JSON", {"id": 7, "data": {"text": TEXT}, "annotations": [marks(*SPANS)]}),
    (
        "label_studio_min",
        "JSON_MIN",
        {"id": 7, "text": TEXT, "label": SPANS, "annotator": 1, "annotation_id": 4, "lead_time": 1.5},
    ),
    (
        "gliner",
        "training data",
        {"id": 7, "tokenized_text": TAGGED["tokens"], "text": TEXT, "ner": [[0, 0, "PER"], [2, 2, "PER"]]},
    ),
    ("gliner2", "input and output", {"id": 7, "input": TEXT, "output": {"entities": {"PER": ["Ada", "Bob"]}}}),
    ("gliner2", "text and schema", {"id": 7, "text": TEXT, "schema": {"entities": {"PER": ["Ada", "Bob"], "LOC": []}}}),
    (
        "langextract",
        "JSONL",
        {
            "document_id": "7",
            "text": TEXT,
            "extractions": [
                EXTRACTION,
                {"extraction_class": "PER", "extraction_text": "Bob", "char_interval": None, "attributes": {}},
            ],
        },
    ),
    (
        "spacy_json",
        "Doc.to_json",
        {"id": 7, "text": TEXT, "ents": [{"start": e.start, "end": e.end, "label": "PER"} for e in BOTH]},
    ),
    ("spacy_json", "version 2", {"id": 7, "paragraphs": [{"raw": TEXT, "sentences": [{"tokens": TOKENS}]}]}),
    ("hf_json", "strings", {**TAGGED, "ner_tags": ["B-PER", "O", "B-PER", "O"]}),
    ("hf_json", "rows API", {**API, "rows": [{"row_idx": 0, "row": {**TAGGED, "ner_tags": [1, 0, 1, 0]}}]}),
    (
        "sharegpt",
        "ShareGPT",
        {"id": 7, "conversations": [CHAT[0], {"from": "gpt", "value": "<PER>Ada</PER> met <PER>Bob</PER>."}]},
    ),
    (
        "sharegpt",
        "messages",
        {
            "id": 7,
            "messages": [
                {"role": "system", "content": "Mark names."},
                {"role": "user", "content": TEXT},
                {"role": "assistant", "content": "<PER>Ada</PER> met <PER>Bob</PER>."},
            ],
        },
    ),
    (
        "alpaca",
        "LLaMA-Factory",
        {"id": 7, "instruction": "Mark names.", "input": TEXT, "output": "<PER>Ada</PER> met <PER>Bob</PER>."},
    ),
]
IDS = [f"{name} {form}" for name, form, _ in FORMS]


def test_every_record_syntax_has_a_form() -> None:
    assert {n for n, kind in SYNTAXES.items() if issubclass(kind, RecordSyntax)} == {name for name, _, _ in FORMS}


@pytest.mark.parametrize(("name", "form", "record"), FORMS, ids=IDS)
def test_what_its_tool_writes_is_told_and_read(tmp_path: Path, name: str, form: str, record: Any) -> None:
    """In lines, in a list on one line, in a list over lines, and as one object over lines."""
    spaced = form in ("strings", "rows API")  # nothing says that there is no blank before the full stop
    wanted = (TEXT.replace(".", " .") if spaced else TEXT, BOTH, "7")
    written = [lines(record), json.dumps([record]), json.dumps([record], indent=2), json.dumps(record, indent=2)]
    for data in written:
        path = write(tmp_path, data)
        assert guess(path).name == name
        [found], read_log = read(path)
        assert (found.text, found.entities, found.id) == wanted
        assert not read_log.lines()
        assert found.to_dict()["id"] in (7, "7")


def without_id(record: Any) -> Any:
    """The record without its id, or that of its row."""
    if isinstance(record, dict):
        return {k: without_id(v) for k, v in record.items() if k not in ("id", "document_id")}
    return [without_id(v) for v in record] if isinstance(record, list) else record


@pytest.mark.parametrize(("name", "form", "record"), FORMS, ids=IDS)
def test_records_are_numbered_as_records(tmp_path: Path, name: str, form: str, record: Any) -> None:
    del form
    bare = without_id(record)
    for data in (json.dumps([bare, bare]), lines(bare, bare), "\n" + lines(bare) + "\n\n" + lines(bare)):
        assert [d.id for d in read(write(tmp_path, data))[0]] == ["x-1", "x-2"]
    if name != "label_studio_min":  # where it is a further annotation of a task
        with pytest.raises(DataError, match="id '7' was given before"):  # by the file itself
            read(write(tmp_path, [record, record]))


def test_an_id_that_was_made_up_gives_way(tmp_path: Path) -> None:
    empty = {"text": "a", "entities": []}
    path = write(tmp_path, [{**empty, "id": "x-2"}, empty, {**empty, "id": 3}])
    assert [d.id for d in read(path)[0]] == ["x-2", "x-2+", "3"]
    path = write(tmp_path, [empty, {**empty, "id": "x-1"}])
    with pytest.raises(DataError, match="record 2, id 'x-1': id 'x-1' was given before, or made up for a record"):
        read(path)


ODD = [None, True, 0, -1, 3, 2**70, 1.5, "", "a", "\ud800", [], {}, [[]], [None], {"a": None}, [[0, 3, "PER"]]]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Where something stands in a JSON value: the list or object that holds it, and its index or key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_odd_values_in_odd_places_are_faults(tmp_path: Path, data: st.DataObject) -> None:
    name, _, record = data.draw(st.sampled_from(FORMS))
    record = copy.deepcopy(record)
    holder, key = data.draw(st.sampled_from(places(record)))
    holder[key] = data.draw(st.sampled_from(ODD))
    path = write(tmp_path, lines(record))
    for kind in (SYNTAXES[name](), Jsonl()):
        for lenient in (False, True):
            with suppress(DataError):
                for document in kind.read(path, ReadLog(lenient)):
                    document.to_dict()
    with suppress(UsageError):
        guess(path)


# Unknown is not none

UNKNOWN: list[tuple[Syntax, Any, dict[str, int]]] = [
    (LabelStudio(), {"data": {"text": "a"}}, {"task without an annotation": 1}),
    (LabelStudio(), {"data": {"text": "a"}, "annotations": None}, {"task without an annotation": 1}),
    (
        LabelStudio(),
        {"data": {"text": "a"}, "annotations": [{"was_cancelled": True, "result": []}], "predictions": [marks()]},
        {"task without an annotation": 1, "cancelled annotation": 1, "prediction": 1},
    ),
    (
        LabelStudio(),
        {
            "data": {"text": "a"},
            "annotations": [{"result": [{"type": "hypertextlabels", "value": {"start": "/p[1]"}}]}],
        },
        {"task marked with hypertextlabels, which are not offsets in a text": 1},
    ),
    (
        LabelStudio(annotator="5"),
        {"data": {"text": "a"}, "annotations": [marks(completed_by=1)]},
        {"task without an annotation by 5": 1},
    ),
    (
        LabelStudio(annotations="predictions"),
        {"data": {"text": "a"}, "annotations": [marks()]},
        {"task without a prediction": 1},
    ),
    (LabelStudioMin(), {"id": 1, "text": "a"}, {"record without an annotation": 1}),
    (GlinerJson(), {"tokenized_text": ["a"]}, {"record without 'ner'": 1}),
    (
        Gliner2(),
        {"input": "a", "output": {"classifications": [{}]}},
        {"record without entities": 1, "classification": 1},
    ),
    (Langextract(), {"text": "a", "extractions": None}, {"document without extractions": 1}),
    (SpacyJson(), ["a", {"cats": {}}], {"text without entity annotation": 1}),
    (SpacyJson(), {"text": "a"}, {"text without entity annotation": 1}),
    (
        SpacyJson(),
        {"paragraphs": [{"sentences": [{"tokens": [{"orth": "a", "ner": "-"}]}]}]},
        {"text without entity annotation": 1},
    ),
    (HuggingFaceJson(), {"tokens": ["a"], "ner_tags": None}, {"row without 'ner_tags'": 1}),
    (ShareGpt(), {"conversations": CHAT[:1]}, {"record without an answer": 1}),
    (SYNTAXES["alpaca"](), {"instruction": "Mark names.", "input": "a"}, {"record without an answer": 1}),
]


@pytest.mark.parametrize(("kind", "record", "losses"), UNKNOWN, ids=[k.name for k, _, _ in UNKNOWN])
def test_what_nobody_annotated_is_left_out_and_counted(
    tmp_path: Path, kind: Syntax, record: Any, losses: dict[str, int]
) -> None:
    found, read_log = read(write(tmp_path, [record]), kind)
    assert found == []
    assert dict(read_log.dropped) == losses


@pytest.mark.parametrize("kind", [Jsonl(), Doccano()], ids=lambda k: k.name)
def test_a_record_without_entities_is_refused(tmp_path: Path, kind: Syntax) -> None:
    for record in ({"text": "a"}, {"text": "a", "entities": None}):
        with pytest.raises(DataError, match=r"x\.json:1: .*has no ('label' or 'labels' or )?'entities'"):
            read(write(tmp_path, lines(record)), kind)
        found, read_log = read(write(tmp_path, lines(record)), kind, lenient=True)
        assert found == []
        assert read_log.errors.total() == 1


@pytest.mark.parametrize(("name", "form", "record"), FORMS[1:], ids=IDS[1:])
def test_as_genners_own_it_is_refused_with_what_reads_it(tmp_path: Path, name: str, form: str, record: Any) -> None:
    del form
    with pytest.raises(DataError, match=rf"looks like .*; read it with --from {name} "):
        read(write(tmp_path, lines(record)), Jsonl())
    assert f"read it with --from {name} " in looks_like(record)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"examples": [{"content": "a", "annotations": []}], "schema": {}}, "looks like LightTag's export"),
        ([{"documentName": "a", "document": "a", "tokens": []}], "looks like UBIAI's export"),
        ({"annotatable": {"parts": []}, "anncomplete": True, "entities": []}, "looks like tagtog's ann.json"),
        ({"cells": [], "labelSets": [], "labels": []}, "looks like Datasaur's schema"),
        ([{"text": "a", "tokens": ["a"], "annotation": [["PER", 0, 1]]}], "looks like Argilla's records"),
        ([{"text": "a", "label": "positive"}], "looks like labels of whole texts"),
        ([{"id": 1, "text": "a"}], "looks like texts without annotations; .*its first record has: id, text"),
        ([{"\x1b[2J": 1}], r"no syntax has such records; its first record has: '\\x1b\[2J'"),
        ([1, 2], "holds JSON values of type int"),
        ("#FORMAT=WebAnno TSV 3.3\n", "looks like INCEpTION's WebAnno TSV; export it as CoNLL 2002"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        guess(write(tmp_path, data))


def test_what_is_not_read_is_named_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("#FORMAT=WebAnno TSV 3.3\n\n#Text=Ada\n1-1\t0-3\tAda\t_\n")
    with pytest.raises(UsageError, match="looks like INCEpTION's WebAnno TSV; export it as CoNLL 2002"):
        guess(tmp_path / "a.tsv")
    with pytest.raises(UsageError, match="looks like INCEpTION's UIMA CAS JSON; export it as CoNLL 2002"):
        guess(write(tmp_path, {"%TYPES": {}, "%FEATURE_STRUCTURES": []}))


# Label Studio


def test_an_annotation_of_ground_truth_counts(tmp_path: Path) -> None:
    first, second = marks(completed_by={"id": 3, "email": "a@b.c"}), marks(*SPANS, ground_truth=True, completed_by=4)
    task = {"id": 7, "data": {"text": TEXT}, "annotations": [first, second]}
    found, read_log = read(write(tmp_path, [task]))
    assert found == [ADA]
    assert read_log.dropped == {"further annotation of a task": 1}
    for annotator in ("3", "a@b.c"):
        assert read(write(tmp_path, [task]), LabelStudio(annotator=annotator))[0][0].entities == ()
    del second["ground_truth"]
    assert read(write(tmp_path, [task]))[0][0].entities == ()


@pytest.mark.parametrize("mention", [{}, {"text": "Oslo"}])
def test_results_of_another_text_are_no_results_of_this(tmp_path: Path, mention: dict[str, str]) -> None:
    other = marks({"start": 0, "end": 4, "labels": ["LOC"], **mention}, to="title")["result"]
    task = {
        "id": 7,
        "data": {"title": "Oslo news", "text": TEXT},
        "annotations": [{"result": other + marks(*SPANS)["result"]}],
    }
    found, read_log = read(write(tmp_path, [task]))
    assert found == [ADA]
    assert read_log.dropped == {"result that marks another text of its task": 1}
    assert dict(found[0].extra) == {"title": "Oslo news", "id": 7}
    [title], _ = read(write(tmp_path, [task]), LabelStudio(key="title"))
    assert title.entities == (Entity(0, 4, "LOC"),)
    two = {
        "id": 7,
        "data": {"text": TEXT},
        "annotations": [{"result": marks(*SPANS, to="a")["result"] + marks(*SPANS, to="b")["result"]}],
    }
    with pytest.raises(DataError, match=r"record 1, id 7: results mark several texts: a, b; choose .* to_name="):
        read(write(tmp_path, [two]))
    assert read(write(tmp_path, [two]), LabelStudio(to_name="b"))[0] == [ADA]


def test_line_ends_of_two_characters_that_a_browser_counts_as_one(tmp_path: Path) -> None:
    text = "Mina Berg\r\nworks in\r\nOslo 🙂 and Bergen."
    value = {"start": 19, "end": 23, "text": "Oslo", "labels": ["LOC"]}
    far = {"start": 31, "end": 37, "text": "Bergen", "labels": ["LOC"]}  # behind the emoji, in UTF-16 units
    for values, wanted in (
        ([value], [(21, 25)]),
        ([value, {**far, "start": 30, "end": 36}], [(21, 25), (32, 38)]),
        ([value, far], [(21, 25), (32, 38)]),
    ):
        [found], read_log = read(write(tmp_path, [{"id": 42, "data": {"text": text}, "annotations": [marks(*values)]}]))
        assert [e.span for e in found.entities] == wanted
        assert not read_log.lines()
    wrong = {"id": 42, "data": {"text": text}, "annotations": [marks({**value, "start": 18, "end": 22})]}
    with pytest.raises(DataError, match=r"x\.json:1: record 1, id 42: span \[18, 22\) cuts out .*not 'Oslo'.*line end"):
        read(write(tmp_path, [wrong]))
    unsaid = {"id": 42, "data": {"text": text}, "annotations": [marks({"start": 19, "end": 23, "labels": ["LOC"]})]}
    assert read(write(tmp_path, [unsaid]))[1].dropped == {"certainty of the unit of offsets (no text to check)": 1}


def test_predictions_are_written_as_predictions_and_read_again(tmp_path: Path) -> None:
    scored = (Entity(0, 3, "PER", 0.5), Entity(8, 11, 'A & "B"', 0.75))
    given = [Prediction(TEXT, scored, "p", extra={"source": "x"}), Prediction("a", (), "q"), ADA]
    read_log = ReadLog()
    assert LabelStudio(model_version="m1").write(given, tmp_path / "x.json", read_log) == 3
    assert not read_log.lines()
    first, second, third = json.loads((tmp_path / "x.json").read_text())
    assert first["annotations"] == second["annotations"] == []
    assert (first["predictions"][0]["model_version"], first["predictions"][0]["score"]) == ("m1", 0.625)
    assert "predictions" not in third
    found, reading = read(tmp_path / "x.json", LabelStudio(annotations="predictions"))
    assert found == given[:2]
    assert [e.score for e in found[0].entities] == [0.5, 0.75]
    assert found[0].extra == {"source": "x"}
    assert reading.dropped == {"task without a prediction": 1}
    found, reading = read(tmp_path / "x.json")
    assert found == [ADA]
    assert reading.dropped == {"task without an annotation": 2, "prediction": 2}
    LabelStudio().write([Prediction(TEXT, (), "p", (Problem("split", ""),))], tmp_path / "x.json", read_log)
    assert read_log.dropped == {"problem of a prediction": 1}


def test_the_labelling_configuration_shows_the_tasks(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    read_log = ReadLog()
    labels = ["PER", 'A & "B" <c>', "bad\x01"]
    LabelStudio(key="body", to_name="t").write(
        [Document("ab", tuple(Entity(0, 1, x) for x in labels), "d")], tmp_path / "x.json", read_log
    )
    root = ElementTree.parse(tmp_path / "x.config.xml").getroot()
    assert [label.get("value") for label in root.iter("Label")] == [labels[1], labels[0]]
    assert {(e.tag, e.get("name"), e.get("toName"), e.get("value")) for e in root} == {
        ("Labels", "label", "t", None),
        ("Text", "t", None, "$body"),
    }
    assert read_log.dropped == {"label that the labelling configuration, being XML, cannot hold": 1}


def test_a_task_that_two_annotated_is_there_twice_in_json_min(tmp_path: Path) -> None:
    one = {"id": 7, "text": TEXT, "source": "x", "label": SPANS, "annotator": 1, "annotation_id": 4}
    none = {"id": 8, "text": "a", "annotator": 1, "annotation_id": 6}
    found, read_log = read(write(tmp_path, [one, {**one, "annotator": 2, "annotation_id": 5}, none]))
    assert found == [ADA, Document("a", (), "8")]
    assert found[0].extra == {"source": "x", "id": 7}
    assert read_log.dropped == {"further annotation of a task": 1}


# Mentions without offsets


@pytest.mark.parametrize(
    "record",
    [
        {"input": "Bob met Bob.", "output": {"entities": {"PER": ["Bob"]}}},
        {"text": "Bob met Bob.", "extractions": [{"extraction_class": "PER", "extraction_text": "Bob"}]},
    ],
)
def test_a_document_none_of_whose_mentions_can_be_placed_is_not_one_without_entities(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    documents, read_log = read(write(tmp_path, lines(record)))
    assert documents == []
    assert read_log.dropped["document none of whose mentions has a certain place"] == 1


def test_a_mention_is_placed_only_where_that_is_certain(tmp_path: Path) -> None:
    text = "Ann met Anna. Bob met Bob. Zoë."
    record = {"input": text, "output": {"entities": {"PER": ["Ann", "Bob", "Eve"], "X": ["Bob", "Bob"]}}}
    [found], read_log = read(write(tmp_path, lines(record)))
    assert [(e.start, e.label) for e in found.entities] == [(0, "PER"), (14, "X"), (22, "X")]
    assert sorted(read_log.dropped.values()) == [1, 1]
    assert "'Eve'" in read_log.examples["mention that its text does not have"]
    [found], _ = read(write(tmp_path, lines(record)), Gliner2(places="all"))
    assert [(e.start, e.label) for e in found.entities] == [(0, "PER"), (14, "PER"), (14, "X"), (22, "PER"), (22, "X")]
    unplaced = {
        "extraction_class": "PER",
        "extraction_text": "Bob",
        "char_interval": {"start_pos": None, "end_pos": None},
    }
    near = {**EXTRACTION, "extraction_text": "Anne", "alignment_status": "match_fuzzy"}
    record = {
        "text": text,
        "extractions": [unplaced, near, {**EXTRACTION, "extraction_text": "Ann", "attributes": {"a": 1}}],
    }
    [found], read_log = read(write(tmp_path, lines(record)))
    assert found == Prediction(text, (Entity(0, 3, "PER"),), "x-1")
    assert read_log.dropped == {
        "extraction without a place in its text": 1,
        "attributes of an extraction": 1,
        "entity given twice": 1,
    }
    with pytest.raises(DataError, match=r"span \[0, 3\) cuts out 'Ann', not 'Ada'"):
        read(write(tmp_path, lines({"text": text, "extractions": [EXTRACTION]})))


# The others


def test_tuples_of_spacy(tmp_path: Path) -> None:
    one, old = [TEXT, {"entities": [[0, 3, "PER"], [8, 11, "PER", "Q1"]]}], [TEXT, [[0, 3, "PER"], [8, 11, "PER"]]]
    wrapped = {"classes": ["PER"], "annotations": [one, None, old]}
    for data in ([one, old], lines(one, old), wrapped, json.dumps(wrapped, indent=1)):
        found, read_log = read(write(tmp_path, data))
        assert type(guess(tmp_path / "x.json")) is SpacyJson
        assert [(d.entities, d.id) for d in found] == [(BOTH, "x-1"), (BOTH, "x-2")]
        assert not read_log.lines()
    two = {"id": 3, "paragraphs": [{"sentences": [{"tokens": TOKENS}]}] * 2}
    assert [d.id for d in read(write(tmp_path, [two]))[0]] == ["3.1", "3.2"]
    broken = [{"orth": "Ada", "ner": "I-PER"}]
    with pytest.raises(DataError, match="token 1, 'Ada': tag 'I-PER' goes on with what has not begun"):
        read(write(tmp_path, [{"paragraphs": [{"sentences": [{"tokens": broken}]}]}]))


def test_tags_that_are_numbers_need_names(tmp_path: Path) -> None:
    path = write(tmp_path, lines({"words": ["Ada", "met"], "tags": [1, 0]}))
    with pytest.raises(DataError, match=r"x\.json:1: tag 1 has no name; .*names=O,B-PER"):
        read(path)
    [found], _ = read(path, HuggingFaceJson(names="O,B-PER"))
    assert (found.text, found.entities) == ("Ada met", (Entity(0, 3, "PER"),))
    mixed = lines({"tokens": ["Ada", "met"], "ner_tags": ["B-PER", "O"]}, {"tokens": ["x"], "ner_tags": ["PER"]})
    with pytest.raises(DataError, match=r"x\.json:2: tag 1, 'PER', is not spelt as the others are; --from hf_json:"):
        read(write(tmp_path, mixed))


def test_conversations(tmp_path: Path) -> None:
    [found], _ = read(write(tmp_path, [{"conversations": CHAT}]))
    assert (found.text, found.entities) == (TEXT, BOTH[:1])
    whole = [{"from": "human", "value": f"Mark names in: {TEXT}"}, CHAT[1]]  # the text is in the answer alone
    assert read(write(tmp_path, [{"conversations": whole}]))[0][0].text == TEXT
    listed = [CHAT[0], {"from": "gpt", "value": '{"PER": ["Ada"]}'}]
    [found], _ = read(write(tmp_path, [{"conversations": listed}]), ShareGpt("grouped_json"))
    assert (found.text, found.entities) == (TEXT, BOTH[:1])
    for other, answer in (("inline_bracketed", "[Ada | PER] met Bob."), ("grouped_json", '{"PER": ["Ada"]}')):
        # An answer in another format is not a text without entities.
        unlike = [{"from": "human", "value": f"Mark names in: {TEXT}"}, {"from": "gpt", "value": answer}]
        with pytest.raises(DataError, match=rf"inline_xml does not repeat it \(format={other} reads"):
            read(write(tmp_path, [{"conversations": unlike}]))
        with pytest.raises(DataError, match=r"no text is given, .* inline_xml does not repeat it"):
            read(write(tmp_path, [{"instruction": unlike[0]["value"], "output": answer}]), Alpaca())
    none = [{"from": "human", "value": f"Mark names in: {TEXT}"}, {"from": "gpt", "value": TEXT}]
    [found], _ = read(write(tmp_path, [{"conversations": none}]))
    assert (found.text, found.entities) == (TEXT, ())
    with pytest.raises(DataError, match="has 2 questions and 1 answers; legal: one of each"):
        read(write(tmp_path, [{"conversations": [CHAT[0], *CHAT]}]))
    with pytest.raises(DataError, match="a turn is by 'tool'; legal: system, human"):
        read(write(tmp_path, [{"conversations": [*CHAT, {"from": "tool", "value": ""}]}]))


def test_doccano_keeps_what_was_uploaded_and_counts_relations(tmp_path: Path) -> None:
    record = {"id": 7, "text": TEXT, "entities": [], "relations": [{"from_id": 1}], "wikiPageID": 2, "Comments": ["c"]}
    [found], read_log = read(write(tmp_path, lines(record)))
    assert found.extra == {"id": 7, "wikiPageID": 2, "Comments": ["c"]}
    assert read_log.dropped == {"relation": 1}
    with pytest.raises(DataError, match=r"the labels hold \[0, 3\]; legal: \[start, end, label\]"):
        read(write(tmp_path, lines({"text": TEXT, "label": [[0, 3, "PER"]]}, {"text": TEXT, "label": [[0, 3]]})))


@pytest.mark.parametrize("name", ["prodigy", "label_studio", "gliner", "jsonl"])
def test_fields_that_a_syntax_has_a_place_for_are_kept(tmp_path: Path, name: str) -> None:
    given = Document(TEXT, BOTH, "7", extra={"id": 7, "source": {"page": 3}})
    read_log = ReadLog()
    SYNTAXES[name]().write([given], tmp_path / "x.json", read_log)
    [found], _ = read(tmp_path / "x.json")
    assert (found, found.extra, read_log.lines()) == (given, given.extra, [])


@pytest.mark.parametrize("name", ["alpaca", "doccano", "brat"])
def test_fields_that_it_has_no_place_for_are_counted(tmp_path: Path, name: str) -> None:
    read_log = ReadLog()
    kind = SYNTAXES[name]()
    kind.write([Document(TEXT, BOTH, "7", extra={"id": 7, "source": "x"})], tmp_path / "x", read_log)
    assert read_log.dropped == {"further field of a record": 1}
    [found], _ = read(tmp_path / "x", kind)
    assert found == ADA


def test_the_table_of_the_docs_is_that_of_the_registry() -> None:
    docs = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in docs.splitlines() if line.startswith("| `")]
    table = {name.strip("`"): writes for name, _, writes in rows if writes in ("yes", "no")}
    assert table == {name: "yes" if kind.writes else "no" for name, kind in SYNTAXES.items()}


@pytest.mark.parametrize("layout", ["lines", "list", "alone"])
def test_a_key_given_twice_says_nothing_certain(tmp_path: Path, layout: str) -> None:
    record = '{"text": "Ada", "entities": [{"start": 0, "end": 3, "label": "PER"}], %s}'
    twice = {"lines": "%s\n", "list": "[%s]", "alone": "%s"}[layout]
    if layout == "alone":
        record = record.replace("{", "{\n", 1)
    with pytest.raises(DataError, match="has the key 'entities' twice"):
        read(write(tmp_path, twice % (record % '"entities": []'), "x.jsonl"))
    documents, _ = read(write(tmp_path, twice % (record % '"text": "Ada"'), "x.jsonl"))
    assert documents[0].entities == (Entity(0, 3, "PER"),)  # one value, however often


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"text": TEXT, "spans": {}, "answer": "accept"}, "'spans' is not a list"),
        ({"text": TEXT, "spans": "", "answer": "accept"}, "'spans' is not a list"),
        ({"text": TEXT, "spans": 0, "answer": "accept"}, "'spans' is not a list"),
        ({"text": TEXT, "label": [[0, 3, "PER"]]}, "is no task of Prodigy's; it has: text, label"),
        ({"text": TEXT, "entities": []}, "is no task of Prodigy's; it has: text, entities"),
    ],
)
def test_what_is_no_task_of_prodigys(tmp_path: Path, task: dict[str, Any], message: str) -> None:
    whole = {"text": TEXT, "spans": [], "answer": "accept"}
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, lines(whole, task), "x.jsonl"), SYNTAXES["prodigy"]())


@pytest.mark.parametrize("field", [{"label": "SPORT"}, {"options": [{"id": 1}], "accept": [1]}, {"cats": {"A": 1}}])
def test_tasks_of_prodigy_about_whole_texts_are_left_out(tmp_path: Path, field: dict[str, Any]) -> None:
    documents, read_log = read(write(tmp_path, lines({"text": TEXT, "answer": "accept", **field}), "x.jsonl"))
    assert (documents, read_log.dropped) == ([], {"task that asks for something else than spans": 1})


@pytest.mark.parametrize("kind", [{}, {"type": None}, {"type": "Labels"}, {"type": "labels", "value": None}])
def test_results_of_label_studio_that_may_be_entities(tmp_path: Path, kind: dict[str, Any]) -> None:
    task = {"id": 7, "data": {"text": TEXT}, "annotations": [{"result": [{"value": SPANS[0], **kind}]}]}
    with pytest.raises(DataError, match=r"a result of type .* has the value"):
        read(write(tmp_path, [task]))


def test_a_from_name_that_no_result_has(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": 7, "data": {"text": TEXT}, "annotations": [marks(*SPANS)]}])
    with pytest.raises(DataError, match="no result has from_name 'lable'; legal: label"):
        read(path, LabelStudio(from_name="lable"))
