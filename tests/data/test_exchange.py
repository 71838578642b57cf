"""Every syntax that writes reads its own files back exactly, or says what was lost; and other tools read them too."""

import gzip
import json
import logging
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.strategies import documents, texts

from genner.data.alpaca import Alpaca
from genner.data.base import ReadLog, Syntax
from genner.data.brat import Brat
from genner.data.doccano import Doccano
from genner.data.file_opening import open_source
from genner.data.gliner import GlinerJson
from genner.data.hf import HuggingFace, hub
from genner.data.json_head import top_keys
from genner.data.json_stream import CHUNK, records
from genner.data.jsonl import Jsonl
from genner.data.label_studio import LabelStudio
from genner.data.ontonotes import OntoNotesName
from genner.data.prodigy import Prodigy
from genner.data.records import RecordSyntax
from genner.data.registry import SYNTAXES, guess, guess_target, syntax
from genner.data.spacy_bin import SpacyDocBin
from genner.data.tokens import join, locate, tokenize
from genner.document import Document, Entity, Prediction, Problem
from genner.errors import DataError, LabelError, UnknownNameError, UsageError
from genner.formats import FORMATS

ADA = Document("Ada met Bob.", (Entity(0, 3, "PER"), Entity(8, 11, "PER")), "a")
NESTED = Document("the New York mayor 🙂 left", (Entity(0, 18, "PER"), Entity(4, 12, "LOC")), "n")
EMPTY = Document("", (), "e")


def file(folder: Path, data: bytes | str, name: str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(kind: Syntax, path: Path, lenient: bool = False) -> tuple[list[Document], ReadLog]:
    read_log = ReadLog(lenient)
    return list(kind.read(path, read_log)), read_log


# The law

# Every syntax that writes, and some with options. A syntax that is added to `SYNTAXES` is under the law by that.
WRITERS = [
    *(pytest.param(k(), f"x{k.suffixes[0]}", id=k.name) for k in SYNTAXES.values() if k.writes),
    pytest.param(LabelStudio(units="utf16"), "x.json", id="label_studio in UTF-16"),
    pytest.param(GlinerJson(lines=True), "x.jsonl", id="gliner in lines"),
    *(pytest.param(Alpaca(format=name), "x.json", id=f"alpaca {name}") for name in FORMATS),
]
EXACT = (Jsonl, SpacyDocBin, LabelStudio, Prodigy, HuggingFace, Doccano, Brat)


def available(kind: Syntax) -> None:
    for needing, module in ((SpacyDocBin, "spacy"), (HuggingFace, "pyarrow")):
        if isinstance(kind, needing):
            pytest.importorskip(module)


@pytest.mark.parametrize(("kind", "name"), WRITERS)
@given(drawn=st.lists(documents(crossing=True), max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_and_read_again(tmp_path: Path, kind: Syntax, name: str, drawn: list[Document]) -> None:
    available(kind)
    given = [Document(d.text, d.entities, f"d{i}") for i, d in enumerate(drawn)]
    read_log = ReadLog()
    target = tmp_path / name
    shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    assert kind.write(iter(given), target, read_log) == len(given) or read_log.dropped
    found, reading = read(kind, target)
    assert not reading.errors
    assert not reading.dropped
    lost = read_log.dropped.total()
    assert not (lost and isinstance(kind, EXACT))
    if not lost:
        assert found == given
    if isinstance(kind, (RecordSyntax, *EXACT)):
        assert [(d.id, d.text) for d in found] == [(d.id, d.text) for d in given]
        for before, after in zip(given, found, strict=True):
            missing = set(before.entities) - set(after.entities)
            assert len(missing) <= lost


@pytest.mark.parametrize(("kind", "name"), WRITERS)
def test_a_group_is_kept_or_said_to_be_lost(tmp_path: Path, kind: Syntax, name: str) -> None:
    available(kind)
    groups = ["", "7", "7", "", "b c", "é"]
    given = [replace(ADA, id=f"x-{i}", group=group) for i, group in enumerate(groups, 1)]
    read_log = ReadLog()
    kind.write(given, tmp_path / name, read_log)
    found, reading = read(kind, tmp_path / name)
    assert found == given
    assert not reading.dropped
    if isinstance(kind, Brat):  # a file is a group
        assert [d.group for d in found] == [d.id for d in given]
        assert read_log.dropped == {"group": 4}
    elif isinstance(kind, OntoNotesName):  # all six are lines of document x
        assert {d.group for d in found} == {"x"}
        assert read_log.dropped == {"group": 4}
    else:
        assert [d.group for d in found] == groups
        assert not read_log.dropped


@pytest.mark.parametrize(("kind", "name"), WRITERS)
def test_it_is_told_by_its_content(tmp_path: Path, kind: Syntax, name: str) -> None:
    available(kind)
    kind.write([ADA, NESTED], tmp_path / name, ReadLog())
    assert type(guess(tmp_path / name)) is type(kind)


@pytest.mark.parametrize(("kind", "name"), WRITERS)
def test_packed_or_in_an_archive(tmp_path: Path, kind: Syntax, name: str) -> None:
    available(kind)
    path = tmp_path / name
    kind.write([ADA], path, ReadLog())
    if path.is_dir():
        pytest.skip("a folder is packed in an archive only")
    packed = file(tmp_path, gzip.compress(path.read_bytes()), f"{name}.gz")
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.write(path, f"folder/{name}")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(path, name)
        archive.writestr("README", "two files")
    for source in (packed, tmp_path / "one.zip", tmp_path / "two.zip" / name):
        place = open_source(source)
        assert type(guess(place)) is type(kind)
        assert list(kind.read(place, ReadLog())) == [ADA]


@pytest.mark.parametrize(("kind", "name"), WRITERS)
def test_a_failure_leaves_what_was_there(tmp_path: Path, kind: Syntax, name: str) -> None:
    available(kind)

    def broken() -> Iterable[Document]:
        yield ADA
        raise DataError("somewhere", "breaks off")

    path = file(tmp_path, b"old", name)
    if kind.name == "brat":
        path.unlink()  # a folder is never overwritten
    before = list(tmp_path.iterdir())
    with pytest.raises(DataError, match="breaks off"):
        kind.write(broken(), path, ReadLog())
    assert list(tmp_path.iterdir()) == before
    assert all(there.read_bytes() == b"old" for there in before)


@pytest.mark.parametrize("kind", [SpacyDocBin(), GlinerJson(), Alpaca(), Doccano()], ids=lambda k: k.name)
def test_scores_and_problems_are_lost_aloud(tmp_path: Path, kind: Syntax) -> None:
    available(kind)
    found = Prediction("Ada", (Entity(0, 3, "PER", 0.5),), "p", (Problem("invalid", "x"),))
    read_log = ReadLog()
    kind.write([found], tmp_path / "x", read_log)
    assert read_log.dropped == {"score": 1, "problem of a prediction": 1}


@pytest.mark.parametrize("kind", [LabelStudio(), Prodigy(), HuggingFace(), Jsonl()], ids=lambda k: k.name)
def test_scores_are_kept(tmp_path: Path, kind: Syntax) -> None:
    available(kind)
    read_log = ReadLog()
    kind.write([Document("Ada", (Entity(0, 3, "PER", 0.5),), "p")], tmp_path / "x", read_log)
    assert not read_log.dropped
    assert [e.score for d in kind.read(tmp_path / "x", read_log) for e in d.entities] == [0.5]


# The registry


def test_the_names_agree() -> None:
    assert {name: kind.name for name, kind in SYNTAXES.items()} == {name: name for name in SYNTAXES}


def test_options_are_typed() -> None:
    assert syntax("jsonl") == Jsonl()
    assert syntax("gliner:lines=true") == GlinerJson(lines=True)
    assert syntax("label_studio:units=utf16,key=body") == LabelStudio(key="body", units="utf16")
    assert syntax("alpaca:labels=PER,ORG,format=inline_xml") == Alpaca("inline_xml", "PER,ORG")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("jason", UnknownNameError, "unknown syntax 'jason'.*; known: .*jsonl"),
        ("alpaca:fromat=x", UsageError, "alpaca has no option 'fromat'; it has: format=text, labels=text"),
        ("jsonl:x=1", UsageError, "jsonl has no option 'x'; it has: none"),
        ("gliner:lines=often", UsageError, r"gliner:lines='often' is not legal; legal: true\|false"),
        ("label_studio:units=bytes", UsageError, r"legal: auto\|code_points\|utf16"),
        ("alpaca:inline_xml", UsageError, "'inline_xml' is no option=value; options of alpaca: format=text"),
    ],
)
def test_wrong_options(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        syntax(text)


def test_what_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot tell what .*x\.json' is: no syntax has such records; .*--from NAME"):
        guess(file(tmp_path, "{}", "x.json"))
    with pytest.raises(UsageError, match=r"'x.json' does not say which syntax to write; name it with --to: gliner"):
        guess_target(Path("x.json"))
    assert guess_target(Path("x.jsonl")) == Jsonl()
    assert guess_target(Path("x.parquet")) == HuggingFace()
    with pytest.raises(DataError, match="there is no such file or folder"):
        open_source(tmp_path / "none")
    with pytest.raises(DataError, match="there is no such file or folder"):
        open_source(tmp_path / "x.json" / "y")
    with pytest.raises(DataError, match=r"x\.zip: is no zip archive, whatever its name says"):
        open_source(file(tmp_path, b"no archive", "x.zip") / "y")


@given(st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)), st.integers(0, 60))
def test_top_keys_are_those_of_the_first_object(value: Any, cut: int) -> None:
    record = {"a": value, 'b"\\': 1, "c": value}
    escaped = {json.dumps(key)[1:-1] for key in record}
    assert top_keys(json.dumps(record).encode()) == escaped
    assert top_keys(json.dumps([record, {"d": 1}], indent=1).encode()) == escaped
    assert top_keys(json.dumps(record).encode()[:cut]) <= escaped


# JSON in a window


@given(values=st.lists(st.dictionaries(st.text(), st.text() | st.integers(), max_size=3)), size=st.integers(1, 20))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_is_read_in_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[dict[str, Any]], size: int
) -> None:
    monkeypatch.setattr("genner.data.json_stream.CHUNK", size)
    for text in (json.dumps(values), json.dumps(values, indent=2, ensure_ascii=False)):
        path = tmp_path / "x.json"
        path.write_bytes(text.encode("utf-8", "surrogatepass") if text.isascii() else json.dumps(values).encode())
        assert [record for _, record in records(path, ReadLog())] == values


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, '[\n{"a":\n 1},\n\n {"b": 2}]', "x.json")
    assert list(records(path, ReadLog())) == [(2, {"a": 1}), (5, {"b": 2})]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('[{"a": 1}, {"a', "bad JSON", r"x\.json:1: .*Unterminated string"),
        ('[{"a": 1},\n', "bad JSON", r"x\.json:2: .*ends within the list; fetch it again"),
        ('[{"a": 1}\n{"a": 2}]', "bad JSON", r"x\.json:2: .*'{' where ',' or '\]' is due"),
        ('[{"a": 1}, {a: 2}, {}' + " " * 99 + "]", "bad JSON", r"x\.json:1: .*Expecting property name"),
        ('[{"a": 1}]\n{}', "bad JSON", r"x\.json:2: .*behind the end"),
        ('[{"a": 1},\n7]', "no object", r"x\.json:2: is a JSON int, not an object"),
        ('{"a": 1}\n{"a', "bad JSON", r"x\.json:2: is not JSON"),
        ('{"a": 1}\n[]', "no object", r"x\.json:2: is a JSON list, not an object"),
    ],
)
def test_a_broken_file(tmp_path: Path, text: str, kind: str, message: str) -> None:
    path = file(tmp_path, text, "x.json")
    with pytest.raises(DataError, match=message):
        list(records(path, ReadLog()))
    read_log = ReadLog(lenient=True)
    assert [r for _, r in records(path, read_log)] == [{"a": 1}]
    assert read_log.errors == {kind: 1}


def test_an_error_is_found_without_reading_on(tmp_path: Path) -> None:
    path = file(tmp_path, b'[{"a": nonsense}' + b" " * 50 * CHUNK + b"]", "x.json")
    seen = 0

    class Counting:
        name = "x.json"

        def open(self, mode: str) -> Any:
            nonlocal seen
            inner = path.open(mode)
            real = inner.read

            class Reader:
                def read(self, n: int = -1) -> bytes:
                    nonlocal seen
                    data = real(n)
                    seen += len(data)
                    return bytes(data)

                def seek(self, at: int) -> None:
                    inner.seek(at)

                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *_: object) -> None:
                    inner.close()

            return Reader()

    with pytest.raises(DataError, match="Expecting value"):
        list(records(Counting(), ReadLog()))  # type: ignore[arg-type]
    assert seen < 4 * CHUNK


# Bad input, the same for all


BAD = [
    (Jsonl(), "\n".join, lambda i, s, e: {"id": i, "text": "Ada", "entities": [{"start": s, "end": e, "label": "P"}]}),
    (
        Prodigy(),
        "\n".join,
        lambda i, s, e: {"text": "Ada", "id": i, "spans": [{"start": s, "end": e, "label": "P"}], "answer": "accept"},
    ),
    (
        LabelStudio(),
        lambda lines: f"[{','.join(lines)}]".replace("}]},{", "}]},\n{").replace('},{"id"', '},\n{"id"'),
        lambda i, s, e: {
            "id": i,
            "data": {"text": "Ada"},
            "annotations": [{"result": [{"type": "labels", "value": {"start": s, "end": e, "labels": ["P"]}}]}],
        },
    ),
    (
        GlinerJson(),
        "\n".join,
        lambda i, s, e: {"id": i, "tokenized_text": ["Ada"], "ner": [[s, e - 3, "P"]]},
    ),
]


@pytest.mark.parametrize(("kind", "joined", "make"), BAD, ids=[b[0].name for b in BAD])
def test_bad_records_are_named_or_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: Syntax, joined: Any, make: Any
) -> None:
    caplog.set_level(logging.WARNING)
    good, outside, double = make("a", 0, 3), make("b", 0, 9), make("a", 0, 3)
    wanted = Document("Ada", (Entity(0, 3, "P"),), "a")
    for bad, message in ((outside, "outside the text|legal: .first token"), (double, "id 'a' was given before")):
        path = file(tmp_path, b"\xef\xbb\xbf" + joined([json.dumps(good), json.dumps(bad)]).encode(), "x.json")
        with pytest.raises(DataError, match=rf"x\.json:2: .*({message})"):
            read(kind, path)
        found, read_log = read(kind, path, lenient=True)
        assert found == [wanted]
        assert read_log.errors.total() == 1
        assert "x.json:2" in read_log.lines()[0]


def test_mixed_line_endings(tmp_path: Path) -> None:
    one, two = json.dumps(ADA.to_dict()), json.dumps(NESTED.to_dict())
    path = file(tmp_path, f"{one}\r\n{two}\n", "x.jsonl")
    with pytest.raises(DataError, match=r"x\.jsonl:2: ends in .*dos2unix"):
        read(Jsonl(), path)
    found, read_log = read(Jsonl(), path, lenient=True)
    assert found == [ADA, NESTED]
    assert read_log.errors == {"mixed line endings": 1}


def test_a_packed_file_that_breaks_off(tmp_path: Path) -> None:
    path = file(tmp_path, gzip.compress(json.dumps(ADA.to_dict()).encode() * 99)[:-20], "x.jsonl.gz")
    with pytest.raises(DataError, match=r"is a broken gzip file.*fetch it again"):
        read(Jsonl(), path)


# spaCy


def test_spacy_itself_reads_the_entities(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin

    SpacyDocBin().write([ADA, NESTED, EMPTY], tmp_path / "x.spacy", ReadLog())
    ada, nested, empty = DocBin().from_disk(tmp_path / "x.spacy").get_docs(spacy.blank("en").vocab)
    assert [(e.text, e.label_) for e in ada.ents] == [("Ada", "PER"), ("Bob", "PER")]
    assert [t.text for t in ada] == ["Ada", "met", "Bob", "."]
    assert [(e.text, e.label_) for e in nested.ents] == [("the New York mayor", "PER")]
    assert [(s.text, s.label_) for s in nested.spans["sc"]] == [("the New York mayor", "PER"), ("New York", "LOC")]
    assert nested.text == NESTED.text
    assert len(empty) == 0


def test_a_docbin_of_spacy_is_read(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin, Span

    doc = spacy.blank("en")("Ada met the mayor of New York.")
    doc.ents = [Span(doc, 0, 1, "PER")]
    doc.spans["nested"] = [Span(doc, 2, 7, "PER"), Span(doc, 5, 7, "LOC")]
    doc.spans["other"] = [Span(doc, 0, 1, "X")]
    DocBin(docs=[doc]).to_disk(tmp_path / "x.spacy")
    [found], read_log = read(SpacyDocBin(spans_key="nested"), tmp_path / "x.spacy")
    assert [(found.mention(e), e.label) for e in found.entities] == [
        ("Ada", "PER"),
        ("the mayor of New York", "PER"),
        ("New York", "LOC"),
    ]
    assert found.id == "x-1"
    assert read_log.dropped == {"span group 'other'": 1}


def test_a_docbin_that_breaks_off(tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    SpacyDocBin().write([ADA], tmp_path / "x.spacy", ReadLog())
    path = file(tmp_path, (tmp_path / "x.spacy").read_bytes()[:-9], "y.spacy")
    with pytest.raises(DataError, match="is not a whole DocBin"):
        read(SpacyDocBin(), path)


def test_a_missing_extra_names_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

    monkeypatch.setattr("genner.data.records.import_module", missing)
    with pytest.raises(UsageError, match=r"spacy is not installed; .*pip install -e .*\[spacy\]"):
        SpacyDocBin().write([ADA], tmp_path / "x.spacy", ReadLog())
    with pytest.raises(UsageError, match=r"pyarrow is not installed; .*pip install -e .*\[hf\]"):
        HuggingFace().write([ADA], tmp_path / "x.parquet", ReadLog())


# Label Studio


def task(text: str, *values: dict[str, Any], **more: Any) -> dict[str, Any]:
    results = [{"type": "labels", "from_name": "l", "to_name": "t", "value": v} for v in values]
    return {"id": 1, "data": {"text": text}, "annotations": [{"result": results}], **more}


def studio(folder: Path, *tasks: dict[str, Any], **options: Any) -> tuple[list[Document], ReadLog]:
    return read(LabelStudio(**options), file(folder, json.dumps(tasks), "x.json"))


def test_offsets_of_old_and_new_versions(tmp_path: Path) -> None:
    # The text and the offsets of Label Studio's issue 1347: UTF-16 units, one too many behind the emoji.
    text, wanted = "💩This is an annotation.", Document("💩This is an annotation.", (Entity(12, 22, "A"),), "1")
    old = task(text, {"start": 13, "end": 23, "text": "annotation", "labels": ["A"]})
    new = task(text, {"start": 12, "end": 22, "text": "annotation", "labels": ["A"]})
    assert studio(tmp_path, old)[0] == [wanted]
    assert studio(tmp_path, new)[0] == [wanted]
    with pytest.raises(DataError, match=r"cuts out 'nnotation.', not 'annotation'"):
        studio(tmp_path, old, units="code_points")
    unsaid = task(text, {"start": 12, "end": 22, "labels": ["A"]})
    found, read_log = studio(tmp_path, unsaid)
    assert found == [wanted]
    assert read_log.dropped == {"certainty of the unit of offsets (no text to check)": 1}


@given(document=documents(crossing=True))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_utf16_offsets_are_those_of_javascript(tmp_path: Path, document: Document) -> None:
    LabelStudio(units="utf16").write([document], tmp_path / "x.json", ReadLog())
    [made] = json.loads((tmp_path / "x.json").read_text())
    units = document.text.encode("utf-16-le")
    for result in made["annotations"][0]["result"]:
        value = result["value"]
        assert units[2 * value["start"] : 2 * value["end"]].decode("utf-16-le") == value["text"]


def test_what_else_a_task_may_hold(tmp_path: Path) -> None:
    span = {"start": 0, "end": 3, "text": "Ada", "labels": ["PER", "HERO"]}
    first = {"result": [{"type": "labels", "value": span}, {"type": "choices", "value": {"choices": ["good"]}}]}
    made = task("Ada\nmet", annotations=[{"was_cancelled": True, "result": []}, first, {"result": []}])
    lines = task("Ada\nmet", {"start": 0, "end": 7, "text": "Ada\\nmet", "labels": ["X"]}, id=2)
    old = {"id": 3, "data": {"text": "Ada"}, "completions": [{"result": []}]}
    found, read_log = studio(tmp_path, made, lines, old)
    assert found == [
        Document("Ada\nmet", (Entity(0, 3, "HERO"), Entity(0, 3, "PER")), "1"),
        Document("Ada\nmet", (Entity(0, 7, "X"),), "2"),
        Document("Ada", (), "3"),
    ]
    assert read_log.dropped == {
        "cancelled annotation": 1,
        "further annotation of a task": 1,
        "result of type 'choices'": 1,
    }


def test_a_text_under_another_key(tmp_path: Path) -> None:
    made = {"id": 1, "data": {"body": "Ada"}, "annotations": [{"result": []}]}
    assert studio(tmp_path, made, key="body")[0] == [Document("Ada", (), "1")]
    with pytest.raises(DataError, match="'data' has no text under 'text'; it has: body; choose with key="):
        studio(tmp_path, made)


# Prodigy


def test_only_what_was_accepted_is_gold(tmp_path: Path) -> None:
    lines = [{"text": a, "spans": [], "answer": a} for a in ("accept", "reject", "ignore")] + [
        {"text": "no answer", "spans": []}
    ]
    lines.append({"text": "nothing at all"})
    path = file(tmp_path, "\n".join(map(json.dumps, lines)), "x.jsonl")
    assert type(guess(path)) is Prodigy
    found, read_log = read(Prodigy(), path)
    assert [d.text for d in found] == ["accept"]
    assert read_log.dropped == {"task answered 'reject'": 1, "task answered 'ignore'": 1, "task without an answer": 2}
    assert [d.text for d in read(Prodigy("accept,ignore"), path)[0]] == ["accept", "ignore"]
    found, read_log = read(Prodigy("none"), path)
    assert [d.text for d in found] == ["no answer"]
    assert read_log.dropped["task without an answer and without spans"] == 1


# GLiNER


def test_gliner_counts_the_last_token_in(tmp_path: Path) -> None:
    data = [{"tokenized_text": ["Ada", "Lovelace", "met", "Bob"], "ner": [[0, 1, "person"], [3, 3, "person"]]}]
    path = file(tmp_path, json.dumps(data), "x.json")
    [found], _ = read(GlinerJson(), path)
    assert found == Document("Ada Lovelace met Bob", (Entity(0, 12, "person"), Entity(17, 20, "person")), "x-1")


def test_gliner_has_no_blanks_in_tokens(tmp_path: Path) -> None:
    read_log = ReadLog()
    given = Document("Ada  met ", (Entity(0, 4, "A"), Entity(3, 5, "B")), "a")
    GlinerJson().write([given], tmp_path / "x.json", read_log)
    assert read_log.dropped == {"blank at the edge of a mention": 1, "mention of blanks alone": 1}
    [found], _ = read(GlinerJson(), tmp_path / "x.json")
    assert found == Document("Ada  met ", (Entity(0, 3, "A"),), "a")


@given(texts, st.data())
def test_tokens_cover_all_but_blanks(text: str, data: st.DataObject) -> None:
    document = data.draw(documents())
    tokens = [document.text[a:b] for a, b in tokenize(document.text, document.entities)]
    assert "".join(tokens) == "".join(document.text.split())
    assert locate(tokens, document.text) == tokenize(document.text, document.entities)
    joined, spans = join(text.split())
    assert [joined[a:b] for a, b in spans] == text.split()


# Hugging Face


def test_datasets_reads_what_is_written(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    HuggingFace().write([ADA, NESTED], tmp_path / "x.parquet", ReadLog())
    rows = datasets.Dataset.from_parquet(str(tmp_path / "x.parquet"), cache_dir=str(tmp_path))
    assert [Document.from_dict(row) for row in rows] == [ADA, NESTED]


def test_tags_get_their_names_from_the_features(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = ["O", "B-PER", "I-PER", "B-LOC"]
    tags = datasets.Sequence(datasets.ClassLabel(names=names))
    features = datasets.Features(
        {"id": datasets.Value("string"), "tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": tags}
    )
    rows = [
        {"id": "0", "tokens": ["Ada", "Lovelace", "in", "London"], "ner_tags": [1, 2, 0, 3]},
        {"id": "1", "tokens": ["Ada", "Bob"], "ner_tags": [1, 1]},
    ]
    made = datasets.Dataset.from_list(rows, features=features)
    one = Document("Ada Lovelace in London", (Entity(0, 12, "PER"), Entity(16, 22, "LOC")), "0")
    two = Document("Ada Bob", (Entity(0, 3, "PER"), Entity(4, 7, "PER")), "1")

    made.to_parquet(tmp_path / "x.parquet")
    assert read(HuggingFace(), tmp_path / "x.parquet")[0] == [one, two]

    made.save_to_disk(tmp_path / "saved")
    assert type(guess(tmp_path / "saved")) is HuggingFace
    assert read(HuggingFace(), tmp_path / "saved")[0] == [one, two]

    split = datasets.DatasetDict({"train": made.select([0]), "test": made.select([1])})
    split.save_to_disk(tmp_path / "dict")
    assert guess(tmp_path / "dict") == HuggingFace()
    assert read(HuggingFace(split="test"), tmp_path / "dict")[0] == [two]
    assert read(HuggingFace(split="all"), tmp_path / "dict")[0] == [two, one]
    with pytest.raises(DataError, match=r"has no data of split 'dev'; it has: test/data.*arrow, train/data"):
        read(HuggingFace(split="dev"), tmp_path / "dict")


def test_columns_by_other_names_and_tags_without_names(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"words": [["Ada", "met"]], "tags": [[1, 0]]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="columns are tags, words; needed: 'tokens' and 'ner_tags', or"):
        read(HuggingFace(), tmp_path / "x.parquet")
    named = HuggingFace(tokens="words", tags="tags")
    with pytest.raises(DataError, match=r"x\.parquet:1: tag 1 has no name; .*names=O,B-PER"):
        read(named, tmp_path / "x.parquet")
    wanted = [Document("Ada met", (Entity(0, 3, "PER"),), "x-1")]
    assert read(HuggingFace(tokens="words", tags="tags", names="O,B-PER"), tmp_path / "x.parquet")[0] == wanted
    lists = [{"start": [0], "end": [3], "label": ["PER"]}]
    parquet.write_table(pa.table({"text": ["Ada met"], "entities": lists}), tmp_path / "x.parquet")
    assert read(HuggingFace(), tmp_path / "x.parquet")[0] == wanted


def test_parquet_that_breaks_off(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    HuggingFace().write([ADA], tmp_path / "x.parquet", ReadLog())
    path = file(tmp_path, (tmp_path / "x.parquet").read_bytes()[:-7], "y.parquet")
    with pytest.raises(DataError, match="is not a whole parquet or arrow file"):
        read(HuggingFace(), path)


def test_the_hub_is_asked_for_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("huggingface_hub")
    asked: dict[str, Any] = {}

    def fetch(name: str, **how: Any) -> str:
        asked.update(how, name=name)
        return str(tmp_path)

    monkeypatch.setattr(client, "snapshot_download", fetch)
    assert hub("owner/name") == tmp_path
    assert asked == {
        "name": "owner/name",
        "repo_type": "dataset",
        "revision": "refs/convert/parquet",
        "allow_patterns": "*.parquet",
    }

    def refuse(name: str, **how: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(client, "snapshot_download", refuse)
    with pytest.raises(DataError, match="hf://owner/name: cannot be fetched from the hub: no network"):
        hub("owner/name")


# Alpaca


def alpaca(folder: Path, *rows: dict[str, str]) -> Path:
    return file(folder, json.dumps(rows), "x.json")


def test_alpaca_is_genners_own_prompt(tmp_path: Path) -> None:
    from genner.labels import parse_labels
    from genner.prompts import instruction

    Alpaca("inline_xml", "PER,LOC").write([ADA], tmp_path / "ada.json", ReadLog())
    [row] = json.loads((tmp_path / "ada.json").read_text())
    # LLaMA-Factory joins the two with a line end.
    prompt = row["instruction"] + "\n" + row["input"]
    assert prompt == instruction(parse_labels("PER,LOC"), FORMATS["inline_xml"]) + ADA.text
    assert row["output"] == "<PER>Ada</PER> met <PER>Bob</PER>."


def test_dataset_info_is_added_to(tmp_path: Path) -> None:
    path = file(tmp_path, '{"old": {"file_name": "old.json"}}', "dataset_info.json")
    Alpaca().write([ADA], tmp_path / "ada.json", ReadLog())
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    assert json.loads(path.read_text()) == {
        "old": {"file_name": "old.json"},
        "ada": {"file_name": "ada.json", "columns": columns},
    }
    path.write_text("[]")
    with pytest.raises(DataError, match="is not a JSON object, so nothing can be added"):
        Alpaca().write([ADA], tmp_path / "bob.json", ReadLog())
    assert not (tmp_path / "bob.json").exists()


def test_what_an_answer_cannot_say_is_lost_aloud(tmp_path: Path) -> None:
    read_log = ReadLog()
    crossing = Document("abc", (Entity(0, 2, "X"), Entity(1, 3, "Y"), Entity(2, 3, "Z")), "c")
    Alpaca("inline_xml", "X,Y").write([crossing], tmp_path / "x.json", read_log)
    assert read_log.dropped == {
        "entity of label 'Z', which is not in the label set": 1,
        "entity that inline_xml cannot say": 1,
    }
    with pytest.raises(LabelError, match="'a<b' cannot be written as a tag"):
        Alpaca().write([Document("abc", (Entity(0, 2, "a<b"),))], tmp_path / "x.json", ReadLog())


def test_answers_of_others(tmp_path: Path) -> None:
    """Where the text is, and what the labels are, in files that genner did not write."""
    wanted = (Entity(0, 3, "PER"), Entity(8, 11, "PER"))
    answer = "<PER>Ada</PER> met <PER>Bob</PER>."
    for row in (
        {"instruction": "Mark names.", "input": "Ada met Bob.", "output": answer},
        {"instruction": "Mark names.\nText:\nAda met Bob.", "input": "", "output": answer},
        {"instruction": "Mark names in: Ada met Bob.", "output": answer},
    ):
        [found], read_log = read(Alpaca(), alpaca(tmp_path, row))
        assert (found.text, found.entities) == ("Ada met Bob.", wanted)
        assert not read_log.lines()
    bracketed = alpaca(tmp_path, {"instruction": "?", "input": "", "output": "[Ada | PER] met [Bob | PER]."})
    assert read(Alpaca("inline_bracketed"), bracketed)[0][0].entities == wanted


def test_an_answer_that_does_not_fit_its_text(tmp_path: Path) -> None:
    path = alpaca(tmp_path, {"instruction": "?", "input": "Ada met Bob.", "output": "<PER>Ada</PER> saw Bob."})
    with pytest.raises(DataError, match=r"x\.json:1: record 1: the answer does not fit its text: the copy differs"):
        read(Alpaca(), path)
    found, read_log = read(Alpaca(), path, lenient=True)
    assert not found  # what an answer lost is not known, so that what is left of it is no gold
    assert read_log.errors == {"answer that does not fit its text": 1}


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown format 'xml'; known: .*inline_xml"):
        Alpaca("xml").write([ADA], tmp_path / "x.json", ReadLog())
