"""Column files and name files: tag schemes against seqeval, round trips as laws, every fault with file and line."""

import gzip
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.places import FILES, ROOT
from tests.strategies import documents

from genner.data import tags
from genner.data.base import ReadLog, Syntax
from genner.data.conll import Conll
from genner.data.conll2012 import Conll2012
from genner.data.jsonl import read_jsonl
from genner.data.ontonotes import OntoNotesName
from genner.data.treebank import plain, spelt
from genner.document import Document, Entity, Prediction, Problem
from genner.errors import DataError, UsageError

SHARED = ROOT.parent / "shared" / "data"


def read(syntax: Syntax, path: Path, read_log: ReadLog | None = None) -> list[Document]:
    return list(syntax.read(path, read_log or ReadLog()))


def read_text(syntax: Syntax, folder: Path, text: str, read_log: ReadLog | None = None) -> list[Document]:
    path = folder / "x.conll"
    path.write_bytes(text.encode())
    return read(syntax, path, read_log)


def found(document: Document) -> list[tuple[str, str]]:
    return [(document.mention(e), e.label) for e in document.entities]


@st.composite
def spans(draw: st.DrawFn) -> tuple[list[tags.TagSpan], int]:
    """Flat entities over tokens, and how many tokens there are."""
    edges = sorted(draw(st.sets(st.integers(0, 12), max_size=10)))
    pieces = [(a, b, draw(st.sampled_from(["A", "B", "a-b", "O"]))) for a, b in pairwise(edges)]
    return [p for p in pieces if draw(st.booleans())], 12


# Tag schemes


@given(spans(), st.sampled_from(["iob2", "iob1", "bioes"]))
def test_what_is_spelt_is_read_and_has_no_faults(drawn: tuple[list[tags.TagSpan], int], scheme: tags.Scheme) -> None:
    entities, length = drawn
    spelt_tags = tags.spell(entities, length, scheme)
    assert tags.spans(spelt_tags, scheme) == entities
    assert not list(tags.scheme_errors(spelt_tags, scheme))


@given(spans(), st.sampled_from(["io", "bare"]))
def test_schemes_without_a_beginning_merge_what_touches(
    drawn: tuple[list[tags.TagSpan], int], scheme: tags.Scheme
) -> None:
    entities, length = [(s, e, "X" if label == "O" else label) for s, e, label in drawn[0]], drawn[1]
    read = tags.spans(tags.spell(entities, length, scheme), scheme)
    touch = {e for _, e, label in entities} & {s for s, _, label in entities}
    assert len(read) == len(entities) or touch
    assert {(t, label) for s, e, label in read for t in range(s, e)} == {
        (t, label) for s, e, label in entities for t in range(s, e)
    }


any_tags = st.lists(st.sampled_from(["O", *(f"{p}-{label}" for p in "BIES" for label in "AB")]), max_size=9)


@pytest.fixture(scope="module")
def get_entities() -> Callable[[list[str]], list[tuple[str, int, int]]]:
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    return labeling.get_entities  # type: ignore[no-any-return]


@given(given_tags=any_tags)
def test_any_sequence_is_read_as_seqeval_reads_it(
    get_entities: Callable[[list[str]], list[tuple[str, int, int]]], given_tags: list[str]
) -> None:
    theirs = [(start, end + 1, label) for label, start, end in get_entities(given_tags)]
    assert tags.spans(given_tags) == theirs


@given(any_tags, st.sampled_from(["iob2", "iob1", "bioes", "io"]))
def test_a_sequence_without_faults_is_the_only_spelling_of_its_entities(
    given_tags: list[str], scheme: tags.Scheme
) -> None:
    legal = tags.spell(tags.spans(given_tags), len(given_tags), scheme) == given_tags
    assert legal == (not list(tags.scheme_errors(given_tags, scheme)))


@given(st.lists(spans(), min_size=1, max_size=4), st.sampled_from(["iob2", "iob1", "bioes"]))
def test_the_scheme_is_guessed_well_enough_to_read(
    drawn: list[tuple[list[tags.TagSpan], int]], scheme: tags.Scheme
) -> None:
    guess = tags.SchemeGuess()
    for entities, length in drawn:
        guess.add(tags.spell(entities, length, scheme))
    for entities, length in drawn:
        spelt_tags = tags.spell(entities, length, scheme)
        assert tags.spans(spelt_tags, guess.scheme) == entities
        assert not list(tags.scheme_errors(spelt_tags, guess.scheme))


@pytest.mark.parametrize(
    ("sequences", "scheme"),
    [
        (["O O"], "iob2"),
        (["B-A I-A O"], "iob2"),
        (["O I-A I-A", "I-A B-A"], "iob1"),
        (["B-A I-A", "B-A", "I-A"], "iob2"),
        (["S-A O"], "bioes"),
        (["B-A L-A", "U-B"], "bioes"),
        (["B-A M-A E-A"], "bioes"),
        (["O person person"], "bare"),
        (["NN VB"], "iob2"),
    ],
)
def test_guessing_the_scheme(sequences: Sequence[str], scheme: str) -> None:
    guess = tags.SchemeGuess()
    for sequence in sequences:
        guess.add(sequence.split())
    assert guess.scheme == scheme


def test_other_spellings_of_bioes() -> None:
    entities = [(0, 3, "A"), (3, 4, "B")]
    for spelling in ("B-A I-A E-A S-B", "B-A I-A L-A U-B", "B-A M-A E-A S-B"):
        assert tags.spans(spelling.split(), "bioes") == entities
        assert not list(tags.scheme_errors(spelling.split(), "bioes"))


# CoNLL columns: the law

WRITERS = [
    Conll(),
    Conll(scheme="bioes"),
    Conll(scheme="iob1"),
    Conll(separator="space"),
    Conll(column=3, token=1),
    Conll(column=-2, separator="space"),
]


@settings(deadline=None)
@given(st.lists(documents(crossing=True), max_size=3), st.sampled_from(WRITERS))
def test_columns_written_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Document], syntax: Conll
) -> None:
    given_documents = [Document(d.text, d.entities, f" {i}") for i, d in enumerate(drawn)]
    path = tmp_path_factory.mktemp("law") / "x.conll"
    wrote, reading = ReadLog(), ReadLog()
    assert syntax.write(given_documents, path, wrote) == len(given_documents)
    again = read(syntax, path, reading)
    assert read(replace(syntax, scheme="auto"), path) == again
    assert not reading.dropped
    assert [(d.id, d.text) for d in again] == [(d.id, d.text) for d in given_documents]
    moved = wrote.dropped["blanks at the edge of an entity"]
    kept = sum(len(set(a.entities) & set(d.entities)) for a, d in zip(again, given_documents, strict=True))
    assert sum(len(d.entities) for d in given_documents) <= kept + wrote.dropped.total()
    assert sum(len(d.entities) for d in again) <= kept + moved
    assert wrote.dropped or again == given_documents


@settings(deadline=None)
@given(documents())
def test_without_comments_words_and_entities_are_kept(
    tmp_path_factory: pytest.TempPathFactory, document: Document
) -> None:
    path = tmp_path_factory.mktemp("law") / "x.conll"
    wrote = ReadLog()
    Conll(text=False).write([document], path, wrote)
    again = read(Conll(text=False), path)
    if wrote.dropped["document without tokens"] or not document.text.strip():
        assert not again
        return
    assert again[0].text.split() == [*again[0].text.split(" ")]
    assert "".join(again[0].text.split()) == "".join(document.text.split())
    if not wrote.dropped:
        assert again == [document]


def test_what_flat_columns_cannot_hold_is_counted(tmp_path: Path) -> None:
    nested = Document(
        " Ada of Ghent\t",
        (
            Entity(0, 13, "PER", 0.5),
            Entity(8, 13, "LOC"),
            Entity(13, 14, "X"),
            Entity(1, 4, "A\tB"),
        ),
        "a\nb",
    )
    read_log = ReadLog()
    Conll().write(
        [Prediction(nested.text, nested.entities, nested.id, (Problem("split", "x"),))], tmp_path / "x", read_log
    )
    assert read_log.dropped == {
        "id": 1,
        "score": 1,
        "problem of a prediction": 1,
        "nested or crossing entity": 1,
        "label with a separator in it": 1,
        "entity of blanks": 1,
        "blanks at the edge of an entity": 1,
    }
    assert read(Conll(), tmp_path / "x") == [Document(nested.text, (Entity(1, 13, "PER"),), "x-1")]


@pytest.mark.parametrize("text", ["\ufeff", "\ufeffa", "#", "# id = 3", "-DOCSTART- x", "# O", "a\rb", "", "#\tO"])
@pytest.mark.parametrize("syntax", WRITERS)
def test_texts_that_look_like_markup(tmp_path: Path, syntax: Conll, text: str) -> None:
    document = Document(text, (Entity(0, 1, "P"),) if text else (), "d")
    for written in (syntax, replace(syntax, text=False)):
        if text == "" and not written.text:
            continue
        written.write([document], tmp_path / "x", ReadLog())
        again = read(written, tmp_path / "x")
        assert [found(d) for d in again] == [found(document)]
        assert not written.text or again == [document]


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared corpora")
@pytest.mark.parametrize("name", ["ja_stockmark/dev", "wnut17/dev"])
def test_corpora_in_columns_and_back(tmp_path: Path, name: str) -> None:
    corpus = list(read_jsonl(SHARED / f"{name}.jsonl"))
    read_log = ReadLog()
    for syntax in (Conll(), Conll(scheme="iob1", separator="space")):
        syntax.write(corpus, tmp_path / "x", read_log)
        assert read(syntax, tmp_path / "x") == corpus
    assert not read_log.dropped


# CoNLL columns as others write them

CONLL2003 = """-DOCSTART- -X- -X- O

Ada NNP I-NP I-PER
Quist NNP I-NP I-PER
Ghent NNP B-NP I-LOC
Tallin NNP B-NP B-LOC

# NN I-NP O
7 CD I-NP O

-DOCSTART- -X- O O

Bob NNP I-NP I-PER
"""


def test_conll2003(tmp_path: Path) -> None:
    read_log = ReadLog()
    first, second, third = read_text(Conll(), tmp_path, CONLL2003, read_log)
    assert (first.id, second.id, third.id) == ("x-1-1", "x-1-2", "x-2-1")
    assert first.text == "Ada Quist Ghent Tallin"
    assert found(first) == [("Ada Quist", "PER"), ("Ghent", "LOC"), ("Tallin", "LOC")]
    assert second.text == "# 7"
    assert found(third) == [("Bob", "PER")]
    assert not read_log.dropped
    whole = read_text(Conll(whole=True), tmp_path, CONLL2003)
    assert [(d.id, d.text) for d in whole] == [("x-1", "Ada Quist Ghent Tallin\n# 7"), ("x-2", "Bob")]
    assert found(whole[0]) == found(first)


def test_tabs_hashtags_and_blanks_within_tokens(tmp_path: Path) -> None:
    text = "#ada\tB-PER\nNew York\tB-LOC\n\u00a0\u3000x\tO\n\n\n#\tO\n"
    first, second = read_text(Conll(), tmp_path, text)
    assert found(first) == [("#ada", "PER"), ("New York", "LOC")]
    assert first.text == "#ada New York \u00a0\u3000x"
    assert (second.text, second.id) == ("#", "x-2")


def test_comments_of_other_makers(tmp_path: Path) -> None:
    read_log = ReadLog()
    text = (
        "# id 72cd-8e\tdomain=train\nthe _ _ O\nbee _ _ B-X\n\n"
        "# newdoc id = n\n# sent_id = s7\n# text = Ada, you\nAda _ _ B-PER\n, _ _ O\nyou _ _ O\n"
    )
    first, second = read_text(Conll(), tmp_path, text, read_log)
    assert (first.id, first.text) == ("72cd-8e", "the bee")
    assert (second.id, second.text, found(second)) == ("s7", "Ada, you", [("Ada", "PER")])
    assert (first.group, second.group) == ("", "n")
    assert not read_log.dropped


def test_bare_labels_and_a_joiner(tmp_path: Path) -> None:
    (document,) = read_text(Conll(joiner=""), tmp_path, "東\tLOC\n京\tLOC\nは\tO\n")
    assert (document.text, found(document)) == ("東京は", [("東京", "LOC")])


FAULTS = {
    "a O\nb I-X\nc B-Y\n": (2, "goes on with what has not begun", [("b", "X"), ("c", "Y")]),
    "a B-X\nb I-Y\nc B-Y\n": (2, "goes on with what has not begun", [("a", "X"), ("b", "Y"), ("c", "Y")]),
    "a S-X\nb E-Y\n": (2, "goes on with what has not begun", [("a", "X"), ("b", "Y")]),
    "a S-X\nb B-Y\n\n": (2, "'Y' is not closed", [("a", "X"), ("b", "Y")]),
    "a I-X\nb O\nc B-X\nd O\ne I-X\n": (3, "parts two entities where none is", [("a", "X"), ("c", "X"), ("e", "X")]),
    "a B-X\nb X\n": (2, "tag 'X' is malformed; legal: O, or B-, I- with", [("a", "X")]),
    "a B-X\nb\tx O\n": (2, "has 3 columns; legal: 2, as most lines", [("a", "X")]),
    "a\tB-X\n\tO\n": (2, "column 0 holds no token", [("a", "X")]),
    "# text = ab\na\tB-X\n": (1, "the tokens are not those of the text 'ab'", [("a", "X")]),
    "# text-json = ab\na\tB-X\n": (1, "a string in JSON", [("a", "X")]),
    "# id = q\na\tB-X\n\n# id = q\na\tB-X\n": (4, "id 'q' was given before", [("a", "X")]),
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_in_columns(tmp_path: Path, text: str) -> None:
    line, message, repaired = FAULTS[text]
    with pytest.raises(DataError, match=rf"x\.conll:{line}: .*{message}"):
        read_text(Conll(), tmp_path, text)
    read_log = ReadLog(lenient=True)
    documents = read_text(Conll(), tmp_path, text, read_log)
    assert read_log.errors.total() == 1
    assert [pair for d in documents for pair in found(d)] == repaired


def test_a_tag_of_another_scheme_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.conll:1: tag 'S-X' does not belong to iob2; legal prefixes: B, I"):
        read_text(Conll(scheme="iob2"), tmp_path, "a S-X\n")
    with pytest.raises(DataError, match=r"x\.conll:1: has 2 columns; .*the tag in 3"):
        read_text(Conll(column=3), tmp_path, "a O\n")


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="token=-1 is not legal"):
        Conll(token=-1)
    with pytest.raises(UsageError, match="merges entities that touch"):
        Conll(scheme="io").write([], tmp_path / "x", ReadLog())


def test_what_is_recognized_as_columns() -> None:
    path = Path("x.txt")
    assert Conll.recognizes(path, CONLL2003.encode())
    assert Conll.recognizes(path, b"# id = 1\na\tO\nb\tB-X\nc\tI")  # the last line may be cut
    for other in (b"", b"a b\nc d\n", b"a O\n", b"#begin document (x)\n", b"{}\n", b"\xff\xfe\n", b"B-X\n"):
        assert not Conll.recognizes(path, other)


def test_gzip_zip_and_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.conll.gz").write_bytes(gzip.compress(CONLL2003.encode()))
    assert [d.id for d in read(Conll(), tmp_path / "a.conll.gz")] == ["a-1-1", "a-1-2", "a-2-1"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/b.conll", CONLL2003)
    inside = zipfile.Path(tmp_path / "a.zip", "in/b.conll")
    assert len(list(Conll().read(inside, ReadLog()))) == 3  # type: ignore[arg-type]
    assert read_text(Conll(), tmp_path, "") == []


# CoNLL-2012


def test_conll2012() -> None:
    read_log = ReadLog()
    documents = read(Conll2012(), FILES / "harbour.v4_gold_conll", read_log)
    assert [d.id for d in documents] == [f"bc/made/00/harbour_0001/{n}" for n in ("0-0", "0-1", "1-0")]
    assert documents[0].text == "Mara Quist left Tallin ( the next day ) ."
    assert found(documents[0]) == [("Mara Quist", "PERSON"), ("Tallin", "GPE"), ("the next day", "DATE")]
    assert found(documents[1]) == [("The UN", "ORG"), ("UN", "ORG")]
    assert not read_log.dropped
    assert read(Conll2012(), FILES) == documents
    spelt_out = read(Conll2012(plain=False), FILES / "harbour.v4_gold_conll")
    assert spelt_out[0].text == "Mara Quist left Tallin -LRB- the next day -RRB- /."
    assert Conll2012.recognizes(FILES, b"#begin document (x); part 000\n")


ROW = "d 0 0 {} NN * - - - - {} -\n"
BEGIN, END = "#begin document (d); part 000\n", "#end document\n"
FAULTS_2012 = {
    ROW.format("a", "*"): (1, "outside #begin and #end", 0),
    BEGIN + "d 0 0 a\n" + END: (2, "has 4 columns", 0),
    BEGIN + ROW.format("[WORD]", "*") + END: (2, "words are masked", 0),
    BEGIN + ROW.format("a", "(X*") + END: (2, r"\(X\* is not closed", 1),
    BEGIN + ROW.format("a", "*)") + END: (2, "closes a name that was not opened", 1),
    BEGIN + ROW.format("a", "B-X") + END: (2, "names 'B-X' are not like", 1),
    BEGIN + ROW.format("a", "*"): (2, "the file ends within 'd/0'", 1),
    BEGIN + ROW.format("a", "*") + "#begin document (e); part 000\n" + END: (3, "has no #end document", 1),
    BEGIN + ROW.format("a", "*") + END + BEGIN + ROW.format("a", "*") + END: (None, "'d/0-0' is there twice", 1),
}


@pytest.mark.parametrize("text", FAULTS_2012)
def test_faults_in_conll2012(tmp_path: Path, text: str) -> None:
    line, message, left = FAULTS_2012[text]
    with pytest.raises(DataError, match=rf"x\.conll{f':{line}' if line else ''}: .*{message}"):
        read_text(Conll2012(), tmp_path, text)
    read_log = ReadLog(lenient=True)
    assert len(read_text(Conll2012(), tmp_path, text, read_log)) == left
    assert read_log.errors.total() == 1


# OntoNotes


def test_name_files() -> None:
    read_log = ReadLog()
    first, second, third, fourth = read(OntoNotesName(), FILES / "harbour.name", read_log)
    docno = "nw/made/00/made_000{}@000{}@made@nw@en@on"
    assert [first.id, second.id, third.id] == [f"{docno.format(1, 1)}-{n}" for n in (1, 2, 3)]
    assert fourth.id == docno.format(2, 2)
    assert first.text == "Mara Quist , 61 years old , left ."
    assert found(first) == [("Mara Quist", "PERSON"), ("61 years old", "DATE")]
    assert second.text == "The anti-Tallin mood ( at Q&A ) grew ."
    assert found(second) == [("Tallin", "NORP"), ("Q&A", "ORG")]
    assert found(third) == [("Tallin", "GPE")]
    assert not read_log.dropped
    assert read(OntoNotesName(), FILES) == [first, second, third, fourth]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_is_spelt_is_meant_again(token: str) -> None:
    known = plain(token) != token or "-" in token
    assert known or plain(spelt(token)) == token
    assert not set(spelt(token)) & set("<>&")


NAMES = ["X", "X-1", "X-2", "X-3", "Y-1", "Y-2", "-1", "-2", 'q"<&\n']


@settings(deadline=None)
@given(
    st.lists(documents(crossing=True), max_size=3),
    st.lists(st.sampled_from(NAMES), min_size=3, max_size=3, unique=True),
)
def test_name_files_written_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Document], ids: list[str]
) -> None:
    given_documents = [Document(d.text, d.entities, id) for d, id in zip(drawn, ids, strict=False)]
    path = tmp_path_factory.mktemp("law") / "x.name"
    read_log = ReadLog()
    count = OntoNotesName().write(given_documents, path, read_log)
    again = read(OntoNotesName(), path)
    blank = [d for d in given_documents if not d.text.strip(" \n\r") and not d.entities]
    assert count == len(again) == len(given_documents) - len(blank)
    assert read_log.dropped["document of blanks"] == len(blank)
    rest = [d for d in given_documents if d not in blank]
    assert [d.id for d in again] == [d.id for d in rest]
    assert [d.text for d in again] == [d.text.replace("\n", " ").replace("\r", " ") for d in rest]
    assert all(set(a.entities) <= set(d.entities) for a, d in zip(again, rest, strict=True))
    lost = sum(len(d.entities) for d in rest) - sum(len(d.entities) for d in again)
    assert lost == read_log.dropped["crossing entity"]
    assert read_log.dropped or again == given_documents


def test_nested_names_are_no_loss(tmp_path: Path) -> None:
    text = "the US-China (trade) talks"
    spans = {(0, 26): "E", (4, 6): "GPE", (7, 12): "GPE", (14, 19): "T", (14, 20): "T"}
    document = Document(text, tuple(Entity(*span, label) for span, label in spans.items()), "d")
    read_log = ReadLog()
    OntoNotesName().write([document], tmp_path / "x", read_log)
    assert read(OntoNotesName(), tmp_path / "x") == [document]
    assert not read_log.dropped
    assert (
        '<ENAMEX TYPE="GPE" E_OFF="6"><ENAMEX TYPE="GPE" S_OFF="3">US-China</ENAMEX></ENAMEX>'
        in (tmp_path / "x").read_text()
    )


def test_treebank_spellings_in_a_text_are_a_loss(tmp_path: Path) -> None:
    read_log = ReadLog()
    OntoNotesName().write([Document("a -LRB- b"), Document("-LAB<")], tmp_path / "x", read_log)
    assert read_log.dropped == {"treebank spelling in the text": 2}


DOC = '<DOC DOCNO="d">\n'
FAULTS_NAME = {
    "a\n": (1, "outside <DOC>"),
    DOC + "a\n": (2, "the file ends within 'd'"),
    DOC + "a\n" + DOC + "</DOC>\n": (3, "begins within another"),
    "</DOC>\n": (1, "ends no DOC"),
    DOC + '<ENAMEX TYPE="X">a\n</DOC>\n': (2, "ENAMEX is not closed"),
    DOC + "a</ENAMEX>\n</DOC>\n": (2, "closes nothing"),
    DOC + "<ENAMEX>a</ENAMEX>\n</DOC>\n": (2, "has no TYPE"),
    DOC + '<ENAMEX TYPE="X" S_OFF="1">a</ENAMEX>\n</DOC>\n': (2, "nothing in it is the name"),
    DOC + '<ENAMEX TYPE="X" S_OFF="x">a</ENAMEX>\n</DOC>\n': (2, "legal: numbers"),
    DOC + "a<b\n</DOC>\n": (2, "spell it -LAB-"),
    DOC + "a\n</DOC>\n" + DOC + "a\n</DOC>\n": (None, "'d' is there twice"),
}


@pytest.mark.parametrize("text", FAULTS_NAME)
def test_faults_in_name_files(tmp_path: Path, text: str) -> None:
    line, message = FAULTS_NAME[text]
    with pytest.raises(DataError, match=rf"x\.conll{f':{line}' if line else ''}: .*{message}"):
        read_text(OntoNotesName(), tmp_path, text)
    read_log = ReadLog(lenient=True)
    read_text(OntoNotesName(), tmp_path, text, read_log)
    assert read_log.errors.total() == 1
