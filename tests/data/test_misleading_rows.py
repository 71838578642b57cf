"""Records of tokens and tags in other shapes: read right where that is certain, else refused with the way out."""

import json
from pathlib import Path
from typing import Any

import pytest

from genner.data import tags
from genner.data.base import ReadLog
from genner.data.corpus import read_corpus
from genner.data.hf_json import HuggingFaceJson
from genner.data.tokens import join
from genner.document import Document
from genner.errors import DataError, UsageError

TOKENS, TAGS = ["Ada", "Berg", "met", "Bo", "."], ["B-PER", "I-PER", "O", "B-PER", "O"]
ENTITIES = [("Ada Berg", "PER"), ("Bo", "PER")]
BLANKS = [True, True, True, False, False]


def read(folder: Path, *records: Any, read_log: ReadLog | None = None) -> list[Document]:
    path = folder / "x.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    return list(read_corpus(path, None, read_log))


def found(document: Document) -> list[tuple[str, str]]:
    return [(e.text, e.label) for e in document.entities]


@pytest.mark.parametrize(
    ("tokens", "tags"),
    [
        ("tokens", "tags"),
        ("tokens", "label"),
        ("words", "labels"),
        ("words", "ner"),
        ("sentence", "labels"),
        ("text", "tags"),
        ("token", "iob_tags"),
    ],
)
def test_names_of_tokens_and_tags(tmp_path: Path, tokens: str, tags: str) -> None:
    for given in (TOKENS, " ".join(TOKENS)) if tokens in ("sentence", "text") else (TOKENS,):
        (document,) = read(tmp_path, {"id": "a", tokens: given, tags: TAGS})
        assert (document.id, document.text, found(document)) == ("a", "Ada Berg met Bo .", ENTITIES)


def test_parts_of_speech_beside_entities_are_not_taken_for_them(tmp_path: Path) -> None:
    (document,) = read(tmp_path, {"words": TOKENS, "tags": ["NNP", "NNP", "VBD", "NNP", "."], "ner": TAGS})
    assert found(document) == ENTITIES
    assert document.extra["tags"][0] == "NNP"


@pytest.mark.parametrize("text", ["Ada Berg met Bo .", "good"])
def test_labels_of_a_whole_text_are_none_of_its_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="labels of whole texts"):
        read(tmp_path, {"text": text, "labels": ["sports"]})
    with pytest.raises(UsageError, match="labels of whole texts"):
        read(tmp_path, {"text": text, "labels": ["sports", "news", "x", "y", "z"]})


def test_ronec_has_the_blanks_of_the_text(tmp_path: Path) -> None:
    record = {"id": 4074, "ner_tags": TAGS, "ner_ids": [1, 2, 0, 1, 0], "tokens": TOKENS, "space_after": BLANKS}
    read_log = ReadLog()
    (document,) = read(tmp_path, record, read_log=read_log)
    assert (document.id, document.text, found(document)) == ("4074", "Ada Berg met Bo.", ENTITIES)
    assert dict(document.extra) == {"ner_ids": [1, 2, 0, 1, 0], "id": 4074}
    assert not read_log.lines()
    with pytest.raises(DataError, match="5 tokens have 4 flags 'space_after'"):
        read(tmp_path, record | {"space_after": BLANKS[:4]})


@pytest.mark.parametrize("name", ["text", "full_text", "sentence"])
def test_a_text_beside_the_tokens_has_their_blanks(tmp_path: Path, name: str) -> None:
    (document,) = read(tmp_path, {"tokens": TOKENS, "ner_tags": TAGS, name: "Ada  Berg met Bo."})
    assert (document.text, found(document)) == ("Ada  Berg met Bo.", [("Ada  Berg", "PER"), ("Bo", "PER")])
    assert not document.extra
    read_log = ReadLog()
    (document,) = read(tmp_path, {"tokens": TOKENS, "ner_tags": TAGS, name: "Another one."}, read_log=read_log)
    assert document.text == "Ada Berg met Bo ."
    assert read_log.dropped == ({"text that its tokens do not make up": 1} if name == "text" else {})
    assert dict(document.extra) == ({} if name == "text" else {name: "Another one."})


def test_tokens_are_joined_as_flags_say() -> None:
    assert join(TOKENS, BLANKS) == ("Ada Berg met Bo.", [(0, 3), (4, 8), (9, 12), (13, 15), (15, 16)])
    assert join(TOKENS) == join(TOKENS, [True] * 5)
    assert join([], []) == ("", [])


def test_further_columns_of_tags_are_told(tmp_path: Path) -> None:
    inner = ["O", "B-LOC", "O", "O", "O"]
    for name, values in (("nested_ner_tags", inner), ("fine_ner_tags", [3, 3, 0, 3, 0]), ("other", inner)):
        read_log = ReadLog()
        record = {"tokens": TOKENS, "ner_tags": TAGS, name: values}
        assert found(read(tmp_path, record, record, read_log=read_log)[0]) == ENTITIES
        assert [note.split(": ", 1)[1] for note in read_log.notes] == [
            f"column '{name}' holds tags too and is not read; --from hf_json:tags={name} reads it instead"
        ]
    first = next(HuggingFaceJson(tags="other").read(tmp_path / "x.json", ReadLog()))
    assert found(first) == [("Berg", "LOC")]


def test_a_sequence_that_breaks_its_scheme_is_an_error_and_kept_if_lenient(tmp_path: Path) -> None:
    broken, whole = {"tokens": ["Ada", "ran"], "ner_tags": ["I-PER", "O"]}, {"tokens": TOKENS, "ner_tags": TAGS}
    with pytest.raises(DataError, match=r"row 3, token 1: tag 'I-PER' goes on with what has not begun; iob2 begins"):
        read(tmp_path, whole, whole, broken)
    read_log = ReadLog(lenient=True)
    documents = read(tmp_path, whole, whole, broken, read_log=read_log)
    assert found(documents[2]) == [("Ada", "PER")]
    assert read_log.lines()[0].startswith("error tag sequence: 1, kept, as conlleval reads it (first: ")
    assert found(read(tmp_path, broken, broken)[0]) == [("Ada", "PER")]  # IOB1


def test_the_scheme_is_told_from_all_rows() -> None:
    check = tags.SchemeCheck()
    for row, given in enumerate((["I-X", "O"], ["I-X", "I-X"], ["O", "B-X"]), 1):
        check.add(given, row)
    assert check.broken is not None
    assert check.broken[:2] == (1, 3)
    assert "iob1 begins this one with I-" in check.broken[2]
    said = tags.SchemeCheck("iob2")
    said.add(["I-X", "O"], 7)
    assert said.broken is not None
    assert said.broken[:2] == (1, 7)
    assert tags.SchemeCheck("iob2").broken is None


def test_pieces_of_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pieces of a model's tokenizer, not words"):
        read(tmp_path, {"tokens": ["[CLS]", "A", "##da", "[SEP]"], "ner_tags": ["O", "B-PER", "I-PER", "O"]})


def test_levels_within_tags_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tags hold several levels, parted by '#'"):
        read(tmp_path, {"tokens": ["Kai", "von"], "ner_tags": ["B-PER#O", "I-PER#B-LOC"]})


def test_records_within_an_object_are_named_with_a_command(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"train": [{"tokens": TOKENS, "ner_tags": TAGS}]}), encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"""seems to hold its records under 'train'; .*jq -c '\.\["train"\]\[\]' OLD"""
    ):
        list(read_corpus(path))
