"""Columns told from the whole file: words are not their numbers, tags not labels; what is not certain is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Run

from genner.data import tags
from genner.data.base import ReadLog
from genner.data.conll import Conll
from genner.data.corpus import read_corpus
from genner.document import Document
from genner.errors import DataError, UsageError

MINA = [("Mina Berg", "PER"), ("Bo", "PER")]


def read(folder: Path, text: str, syntax: Conll = Conll(), read_log: ReadLog | None = None) -> list[Document]:  # noqa: B008
    path = folder / "x.conll"
    path.write_bytes(text.encode())
    return list(syntax.read(path, read_log or ReadLog()))


def found(documents: list[Document]) -> list[tuple[str, str]]:
    return [(d.mention(e), e.label) for d in documents for e in d.entities]


# How tags are spelt

SPELT = {
    "prefix": "B-PER I-PER O B-PER",
    "lower case": "b-per i-per o b-per",
    "underscore": "B_PER I_PER O B_PER",
    "suffix": "PER-B PER-I O PER-B",
    "suffix, underscore": "PER_B PER_I O PER_B",
    "untyped": "B I O B",
    "bilou": "B-PER L-PER O U-PER",
    "bmes, suffix": "PER-B PER-E O PER-S",
    "bioes, untyped": "B E O S",
    "bare": "PER PER O PER",
}


@pytest.mark.parametrize("spelling", SPELT)
def test_tags_in_any_spelling_are_read(tmp_path: Path, spelling: str) -> None:
    text = "".join(f"{word} {tag}\n" for word, tag in zip(["Mina", "Berg", "met", "Bo"], SPELT[spelling].split()))  # noqa: B905
    read_log = ReadLog()
    label = {"lower case": "per", "untyped": "ENTITY", "bioes, untyped": "ENTITY"}.get(spelling, "PER")
    assert found(read(tmp_path, text, read_log=read_log)) == [(mention, label) for mention, _ in MINA]
    assert bool(read_log.notes) == (label == "ENTITY")
    if label == "ENTITY":
        (note,) = read_log.notes
        assert note.endswith("labelled ENTITY; --from conll:label=NAME names it")
        assert found(read(tmp_path, text, Conll(label="PER"))) == MINA


@given(st.lists(st.sampled_from(["PER", "GPE_S", "a-b", "event-other", "NOT_I"]), min_size=1), st.data())
def test_a_label_never_has_a_prefix_of_its_own(labels: list[str], data: st.DataObject) -> None:
    entities = [(2 * i, 2 * i + 1 + data.draw(st.integers(0, 1)), label) for i, label in enumerate(labels)]
    spelt = tags.spell(entities, 2 * len(labels), "iob2")
    for write in ("{}-{}", "{}_{}"):
        for first, second in ((0, 1), (1, 0)):
            parts = [tag.split("-", 1) if tag != "O" else [tag] for tag in spelt]
            given_tags = [p[0] if len(p) == 1 else write.format(p[first], p[second]) for p in parts]
            spelling = tags.Spelling.of(given_tags)
            assert spelling.form != "bare"
            assert tags.spans([spelling.normal(tag) for tag in given_tags]) == tags.spans(spelt)


@pytest.mark.parametrize("labels", [{"person", "e-mail"}, {"i-phone", "car"}, {"event-other", "person-actor"}, {"S"}])
def test_labels_without_prefixes(labels: set[str]) -> None:
    assert tags.Spelling.of({"O", *labels}) == tags.Spelling("bare")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a B_X\nb Y\nc O\n",
            r"x\.conll:2: tag 'Y' is malformed; .*--from conll:scheme=bare reads every tag as a label",
        ),
        ("a B-X\nb _\n", r"x\.conll:2: tag '_' is malformed; .*outside=_ says that this one is none"),
        (
            "a NN\nb VB\n",
            r"the tags are 'NN', 'VB': not like B-PER, nor .*--from conll:outside=TAG.*scheme=bare.*column=N",
        ),
        ("a\nb\n", r"x\.conll:1: has one column; two are needed"),
        ("a,B-X\nb,O\n", r"x\.conll:1: has one column; two are needed .*parted by blanks"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_a_scheme_that_is_said_is_kept_to(tmp_path: Path) -> None:
    assert found(read(tmp_path, "a B\nb O\n", Conll(scheme="bare"))) == [("a", "B")]
    assert found(read(tmp_path, "a X\nb _\n", Conll(outside="_"))) == [("a", "X")]
    assert found(read(tmp_path, "a S\nb O\n", Conll(scheme="bare"))) == [("a", "S")]
    with pytest.raises(DataError, match="the tags are 'O', 'X': not like B-PER; say"):
        read(tmp_path, "a X\nb O\n", Conll(scheme="iob2"))


# Which column is which

INDEXED = {
    "wikineural": "0\tMina\tB-PER\n1\tBerg\tI-PER\n2\tmet\tO\n\n0\tBo\tB-PER\n",
    "neuronlp2": "1 Mina NNP B-NP B-PER\n2 Berg NNP I-NP I-PER\n\n1 Bo NNP B-NP B-PER\n",
    "uner": "# text = Mina Berg, Bo\n1\tMina\tB-PER\t-\t-\n2\tBerg\tI-PER\t-\t-\n3\t,\tO\t-\t-\n4\tBo\tB-PER\t-\t-\n",
    "a split token": "1\tMina\tB-PER\n2\tBerg\tI-PER\n3-4\tzum\tO\n3\tzu\tO\n4\tdem\tO\n4.1\tx\tO\n5\tBo\tB-PER\n",
}


@pytest.mark.parametrize("maker", INDEXED)
def test_a_column_that_counts_is_not_the_words(tmp_path: Path, maker: str) -> None:
    read_log = ReadLog()
    documents = read(tmp_path, INDEXED[maker], read_log=read_log)
    assert found(documents) == MINA
    assert any("column 0 counts the tokens, column 1 is read for them" in note for note in read_log.notes)
    assert read_log.dropped.total() == (maker == "a split token")  # the empty node
    column = {"uner": 2, "a split token": 2}.get(maker)
    explicit, quiet = Conll(token=1, column=column), ReadLog()
    assert read(tmp_path, INDEXED[maker], explicit, quiet) == documents
    assert not quiet.notes
    assert read(tmp_path, INDEXED[maker], Conll(token=0, column=column or -1, text=False))[0].text[0] in "01"


GERMEVAL = "#\thttp://x [2010]\n1\tUni\tB-ORG\tO\n2\tHalle\tI-ORG\tB-LOC\n3\tliegt\tO\tO\n"


def test_outer_and_inner_tags_of_germeval(tmp_path: Path) -> None:
    read_log = ReadLog()
    documents = read(tmp_path, GERMEVAL, read_log=read_log)
    assert [d.text for d in documents] == ["Uni Halle liegt"]
    assert found(documents) == [("Uni Halle", "ORG"), ("Halle", "LOC")]
    assert documents[0].group == "http://x"
    assert not read_log.dropped
    assert any("column 2 is read for the outer tags, column 3 for the inner" in note for note in read_log.notes)
    assert found(read(tmp_path, GERMEVAL, Conll(column=2))) == [("Uni Halle", "ORG")]
    flat = GERMEVAL.replace("B-LOC", "O")
    assert found(read(tmp_path, flat)) == [("Uni Halle", "ORG")]
    assert found(read(tmp_path, GERMEVAL.replace("\tO", "\t_"), Conll(outside="_", inner=3, column=2)))[1:] == [
        ("Halle", "LOC")
    ]
    with pytest.raises(UsageError, match="inner=3: inner entities are only read"):
        Conll(inner=3).write(documents, tmp_path / "y", ReadLog())


@pytest.mark.parametrize(
    "text",
    [
        "a B-X B-X\nb O B-X\n",  # gold and predicted, as conlleval is given
        "a B-X O\nb O O\n",
        "a B-X B-FINE\nb O O\n",
        "a B-X PER\nb O O\n",
    ],
)
def test_two_columns_of_tags_are_asked_for(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"more than one column holds tags: column 1 .*--from conll:column=1 .*inner=2"):
        read(tmp_path, text)
    assert found(read(tmp_path, text, Conll(column=1))) == [("a", "X")]


def test_numbers_alone_are_asked_for_and_chunks_are_no_entities(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"column 0 holds nothing but numbers; .*--from conll:token=1,column=-1 \(or tok"
    ):
        read(tmp_path, "7 Ada B-X\n7 met O\n8 Bob B-X\n")
    assert read(tmp_path, "7 x B-X\n7 y O\n", Conll(token=0))[0].text == "7 7"
    assert read(tmp_path, "1 B-X\n2 O\n")[0].text == "1 2"  # there is no other column for the words
    assert not found(read(tmp_path, "Ada NNP B-NP O\nleft VBD B-VP O\n"))
    assert found(read(tmp_path, "Ada NNP B-NP PER\nleft VBD B-VP O\n")) == [("Ada", "PER")]
    assert found(read(tmp_path, "Ada NNP B-NP\nleft VBD B-VP\n")) == [("Ada", "NP"), ("left", "VP")]


@pytest.mark.parametrize("spelt", ["{}:PER", "{}–PER", "{}/PER", "{}PER", "PER:{}", "{}-"])
def test_prefixes_in_a_spelling_that_is_not_known_are_no_labels(tmp_path: Path, spelt: str) -> None:
    text = f"Ada {spelt.format('B')}\nBerg {spelt.format('I')}\nmet O\n"
    with pytest.raises(DataError, match=r"seem to begin and go on with an entity.*--from conll:scheme=bare"):
        read(tmp_path, text)
    assert len(found(read(tmp_path, text, Conll(scheme="bare")))) == 2


# Tables

KAGGLE = 'Sentence #,Word,POS,Tag\nSentence: 1,Mina,NNP,B-per\n,Berg,NNP,I-per\n,",",",",O\nSentence: 2,Bo,NNP,B-per\n'
TABLES = {
    "kaggle": KAGGLE,
    "tabs, the sentence in each row": "sent_id\ttoken\tner\n0\tMina\tB-per\n0\tBerg\tI-per\n0\t,\tO\n1\tBo\tB-per\n",
    "semicolons, empty rows": "word;label\nMina;B_per\nBerg;I_per\n,;O\n;\nBo;B_per\n",
    "line ends of Windows": KAGGLE.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_with_a_token_a_row(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.csv").write_bytes(TABLES[name].encode())
    documents = list(read_corpus(tmp_path / "x.csv"))
    assert [(d.id, d.text) for d in documents] == [("x-1", "Mina Berg ,"), ("x-2", "Bo")]
    assert found(documents) == [("Mina Berg", "per"), ("Bo", "per")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,text\n1,Ada\n", r"x\.csv:1: has no column of 'token'; it has: id, text; .*token=NAME .*genner extract"),
        ("word,tag\na,B-X\nb,O\n", "no column says where a sentence begins, .*token_csv:sentence=NAME"),
        ("sentence,word,tag\n1,a,B-X\n1,b\n", r"x\.csv:3: has 2 cells; legal: 3"),
        ("sentence,word,tag\n1,a,B-X\n1,,O\n", r"x\.csv:3: column 'word' holds no token; .*'NA'"),
        ("sentence,word,tag\n1,a,B-X\n1,b,X\n", r"x\.csv:3: tag 'X' is malformed.*--from token_csv:scheme=bare"),
        ("sentence,word,tag\n1,a,X\n1,b,Y\n", r"x\.csv: the tags are 'X', 'Y': not like B-PER.*token_csv:outside=TAG"),
        ('sentence,word,tag\n1,a,B-X\n1,"b,O\n1,c,O\n', r"x\.csv:.: is no table from here on: unexpected end"),
    ],
)
def test_tables_that_are_unclear(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_corpus(tmp_path / "x.csv"))


# Lines and files


def test_line_ends(tmp_path: Path) -> None:
    lines = "Mina B-PER\nBerg I-PER\nBo B-PER\n"
    assert found(read(tmp_path, lines.replace("\n", "\r\n"))) == MINA
    for syntax in (Conll(), Conll(scheme="iob2", column=1, token=0)):
        with pytest.raises(DataError, match=r"x\.conll:1: lines end in carriage returns alone; .* tr '\\r' '\\n' <"):
            read(tmp_path, lines.replace("\n", "\r"), syntax)
    with pytest.raises(DataError, match=r"x\.conll:2: a carriage return stands within the line; .* tr -d '\\r' <"):
        read(tmp_path, "a O\nb\rc O\n")
    with pytest.raises(DataError, match=r"x\.conll:2: ends in \\n, the lines before in \\r\\n; .*dos2unix.*--lenient"):
        read(tmp_path, "a O\r\nb O\n")
    read_log = ReadLog(lenient=True)
    assert read(tmp_path, "a O\r\nb O\n\nc\rd O\n", read_log=read_log)[0].text == "a b"
    assert read_log.errors == {"mixed line endings": 1, "carriage returns": 1}


def test_a_folder_says_what_it_holds_and_a_pattern_reads_it(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, word in (("train", "Mina"), ("test", "Bo")):
        (folder / f"{name}.conll").write_text(f"{word} B-PER\nmet O\n")
    with pytest.raises(
        UsageError, match=r"holds test\.conll, train\.conll; name one, as '.*test\.conll', or a pattern"
    ):
        read_corpus(folder)
    assert [d.text for d in read_corpus(folder / "*.conll")] == ["Bo met", "Mina met"]
    with pytest.raises(DataError, match="no file matches this pattern"):
        read_corpus(folder / "*.csv")
    assert run("convert", "folder/*.conll", "out.jsonl")[0] == 0
    code, out, _ = run("data", "folder", "--json")
    assert (code, out.count('"documents": 1')) == (0, 2)
    (folder / "again.conll").write_text("# id = train-1\nMina B-PER\n")
    with pytest.raises(DataError, match="document 'train-1' is there twice"):
        list(read_corpus(folder / "*.conll"))
