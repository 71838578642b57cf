"""ACE 2005, GENIA and brat: golden readings of small files, GENIA whole against its published splits, brat's law."""

import gzip
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Corpora
from tests.places import FILES
from tests.strategies import documents

from genner.data.ace import Ace2005
from genner.data.base import ReadLog, Syntax
from genner.data.brat import Brat
from genner.data.files import new_folder
from genner.data.genia import Genia
from genner.data.jsonl import read_jsonl
from genner.document import Document, Entity, Prediction, Problem
from genner.errors import DataError, UsageError


def read(syntax: Syntax, path: Path, read_log: ReadLog | None = None) -> list[Document]:
    return list(syntax.read(path, read_log or ReadLog()))


def found(document: Document) -> list[tuple[str, str]]:
    return [(document.mention(e), e.label) for e in document.entities]


# GENIA


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_genia_as_published_gives_the_data_set(split: str, corpora: Corpora) -> None:
    read_log, raw = ReadLog(), corpora("genia_raw")
    ours = read(Genia(split=str(raw / f"doc_split_{split}.txt")), raw / "GENIAcorpus3.02.tgz", read_log)
    assert ours == list(read_jsonl(corpora(f"genia/{split}.jsonl")))
    assert read_log.dropped["earlier version of an article"] == 1


def test_the_rules_of_genia() -> None:
    read_log = ReadLog()
    title, coordinated, twice, new = read(Genia(), FILES / "genia_like.xml", read_log)
    assert [d.id for d in (title, coordinated, twice, new)] == [
        "MEDLINE:2-0",
        "MEDLINE:2-1",
        "MEDLINE:2-2",
        "MEDLINE:1-0",
    ]
    assert title.text == "The foo gene & its mRNA."
    assert found(title) == [("foo gene", "DNA"), ("foo", "protein"), ("mRNA", "RNA")]
    assert coordinated.text == "In A and B cells, K9 line."
    assert found(coordinated) == [("K9 line", "cell_line")]
    assert found(twice) == [("bar", "protein"), ("T cells", "cell_type")]
    assert new.text == "A new version."
    assert read_log.dropped == {
        "coordination": 1,
        "fragment of a coordination": 3,
        "class G#other_name": 1,
        "entity given twice": 1,
        "earlier version of an article": 1,
    }


def test_genia_from_gzip_archives_and_zip(tmp_path: Path) -> None:
    plain = FILES / "genia_like.xml"
    wanted = read(Genia(), plain)
    (tmp_path / "g.xml.gz").write_bytes(gzip.compress(plain.read_bytes()))
    for name, mode in (("g.tgz", "w:gz"), ("g.tar", "w")):
        with tarfile.open(tmp_path / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(FILES / "harbour.name", "GENIA/README")
            archive.add(plain, "GENIA/g.xml")
    for name in ("g.xml.gz", "g.tgz", "g.tar"):
        assert read(Genia(), tmp_path / name) == wanted
    with zipfile.ZipFile(tmp_path / "g.zip", "w") as zipped:
        zipped.write(plain, "g.xml")
    assert list(Genia().read(zipfile.Path(tmp_path / "g.zip", "g.xml"), ReadLog())) == wanted  # type: ignore[arg-type]


def test_genia_is_recognized() -> None:
    assert Genia.recognizes(FILES / "genia_like.xml", (FILES / "genia_like.xml").read_bytes()[:200])
    assert Genia.recognizes(Path("GENIAcorpus3.02.tgz"), b"GENIA_term_3.02/")
    assert not Genia.recognizes(Path("other.xml"), b"<?xml version='1.0'?><set>")


def test_genia_split(tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("MEDLINE:1\n\n")
    assert [d.id for d in read(Genia(split=str(ids)), FILES / "genia_like.xml")] == ["MEDLINE:1-0"]
    ids.write_text("MEDLINE:1\nMEDLINE:3\n")
    with pytest.raises(DataError, match=r"ids\.txt: articles listed here .*: 1, 'MEDLINE:3' among them"):
        read(Genia(split=str(ids)), FILES / "genia_like.xml")
    with pytest.raises(DataError, match="no such file"):
        read(Genia(split=str(tmp_path / "none")), FILES / "genia_like.xml")


def test_faults_in_genia(tmp_path: Path) -> None:
    whole = (FILES / "genia_like.xml").read_text()
    broken = tmp_path / "g.xml"
    for text, message, left in (
        (whole[: whole.index("<article>\n<articleinfo><bib", 300)], r"g\.xml:\d+: is not well-formed", 4),
        ("<set></set>", r"g\.xml: holds no whole <article>", 0),
        (whole.replace("MEDLINE:2", " "), r"g\.xml: article 2 has no <bibliomisc>", 1),
        (whole.replace(">mRNA<", "><"), r"MEDLINE:2-0: <cons sem='G#RNA_N/A'> holds no text", 4),
    ):
        broken.write_text(text)
        with pytest.raises(DataError, match=message):
            read(Genia(), broken)
        read_log = ReadLog(lenient=True)
        assert len(read(Genia(), broken, read_log)) == left
        assert read_log.errors.total() == 1
    with tarfile.open(tmp_path / "g.tar", "w") as archive:
        archive.add(FILES / "harbour.name", "README")
    with pytest.raises(DataError, match=r"holds no \.xml"):
        read(Genia(), tmp_path / "g.tar")


# ACE

ACE = FILES / "ace"
PAIR = ACE / "bc" / "timex2norm" / "MADE_ENG_20030101.0001.apf.xml"


def test_ace_takes_the_final_annotation() -> None:
    read_log = ReadLog()
    (document,) = read(Ace2005(), ACE, read_log)
    assert document.id == "MADE_ENG_20030101.0001"
    assert " ".join(document.text.split()) == (
        "MADE_ENG_20030101.0001 The mayor of Ghent, Ada Quist, met Q&A Ltd. there. She liked it."
    )
    assert "<" not in document.text
    assert found(document) == [
        ("The mayor of Ghent, Ada Quist", "PER"),
        ("Ghent", "GPE"),
        ("Ada Quist", "PER"),
        ("Q&A Ltd.", "ORG"),
        ("She", "PER"),
    ]
    assert read_log.dropped == {"timex2 mention": 1}
    assert read(Ace2005(), PAIR) == [document]
    assert ("Ghent", "LOC") in found(*read(Ace2005(), ACE / "bc" / "adj"))
    assert Ace2005.recognizes(PAIR.parent, b"")
    assert Ace2005.recognizes(PAIR, b"")
    assert not Ace2005.recognizes(FILES, b"")


def test_heads_and_kinds_of_mentions() -> None:
    read_log = ReadLog()
    (document,) = read(Ace2005(mention="head", kinds=("NAM", "NOM")), PAIR, read_log)
    assert found(document) == [("mayor", "PER"), ("Ghent", "GPE"), ("Ada Quist", "PER"), ("Q&A Ltd", "ORG")]
    assert read_log.dropped == {"timex2 mention": 1, "mention of kind PRO": 1}
    with pytest.raises(UsageError, match="kinds=NAM,X is not legal; legal: some of NAM,NOM,PRO"):
        Ace2005(kinds=("NAM", "X"))


def test_ace_split_in_a_zip(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    ids.write_text("bc/timex2norm/MADE_ENG_20030101.0001\n")
    assert len(read(Ace2005(split=str(ids)), ACE)) == 1
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in ACE.rglob("MADE*"):
            archive.write(file, file.relative_to(ACE).as_posix())
    inside = zipfile.Path(tmp_path / "a.zip")
    assert list(Ace2005(split=str(ids)).read(inside, ReadLog())) == read(Ace2005(), ACE)  # type: ignore[arg-type]
    ids.write_text("other\n")
    with pytest.raises(DataError, match=r"listed here that are not in .*: 1, 'other' among them"):
        read(Ace2005(split=str(ids)), ACE)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('START="29"', 'START="30"', "is 'The mayor of Ghent, Ada Quist', but the text from 30 to 58 is 'he mayor"),
        ('START="29"', 'START="x"', "E1-1 has no extent with legal offsets"),
        ('END="57"', 'END="999"', "E1-1 has no extent with legal offsets"),
        ('TYPE="GPE"', 'TYPE=""', "E2-1 .* its entity no TYPE"),
        ("</document>", "", r"xml:\d+: is not well-formed"),
    ],
)
def test_faults_in_ace(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = PAIR.read_text()
    assert old in text
    apf = tmp_path / PAIR.name
    shutil.copy(PAIR.with_name("MADE_ENG_20030101.0001.sgm"), tmp_path)
    apf.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read(Ace2005(), tmp_path)
    read_log = ReadLog(lenient=True)
    assert len(read(Ace2005(), tmp_path, read_log)) == 1
    assert read_log.errors.total() == 1


def test_ace_files_that_are_missing_or_no_utf8(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no file that ends in \.apf\.xml"):
        read(Ace2005(), tmp_path)
    apf = Path(shutil.copy(PAIR, tmp_path))
    with pytest.raises(DataError, match=r"MADE_ENG_20030101\.0001\.sgm is not beside it"):
        read(Ace2005(), apf)
    (tmp_path / "MADE_ENG_20030101.0001.sgm").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"\.sgm: invalid UTF-8 at byte 3"):
        read(Ace2005(), apf)


# brat


def test_brat() -> None:
    read_log = ReadLog()
    empty, note = read(Brat(), FILES / "brat", read_log)
    assert (empty.id, empty.text, empty.entities) == ("empty", "Nothing.", ())
    assert note.id == "letters/note"
    assert found(note) == [("Zoë", "PER"), ("met\nAda", "PHRASE"), ("Ada Quist", "PER"), ("Ghent City", "GPE")]
    assert read_log.dropped == dict.fromkeys(
        ("discontinuous mention", "relation", "attribute", "note", "equivalence", "event"), 1
    )
    (hull,) = read(Brat(discontinuous="hull"), FILES / "brat" / "letters" / "note.ann")
    assert ("Tallin and Ghent City", "GPE") in found(hull)
    for name in ("brat", "brat/empty.txt", "brat/empty.ann"):
        assert Brat.recognizes(FILES / name, b"")
    assert not Brat.recognizes(FILES, b"")


ids = st.sampled_from([".", "..", "a/b", "a%2F;b", ".a", "a.txt", "x\0"]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20
)


@settings(deadline=None)
@given(st.lists(documents(crossing=True), max_size=3), st.lists(ids, min_size=3, max_size=3, unique=True))
def test_brat_written_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Document], names: list[str]
) -> None:
    given_documents = [Document(d.text, d.entities, name) for d, name in zip(drawn, names, strict=False)]
    folder = tmp_path_factory.mktemp("law") / "out"
    read_log = ReadLog()
    assert Brat().write(given_documents, folder, read_log) == len(given_documents)
    assert sorted(read(Brat(), folder), key=lambda d: d.id) == sorted(given_documents, key=lambda d: d.id)
    assert not read_log.dropped


def test_a_name_that_the_locale_cannot_write_is_an_error_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'é' in ascii; set LC_ALL"), new_folder(tmp_path / "out") as folder:
        (folder / "é".encode("ascii").decode()).touch()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["\ufeffa", "a\r\nb\r", "\x00", "a\u2028b", "\ta\n\n", "a 1 2", "X 0 1\tb 0 9"])
def test_every_character_of_a_text_counts_in_brat(tmp_path: Path, text: str) -> None:
    document = Document(text, (Entity(0, len(text), "cell line"),), "d")
    Brat().write([document], tmp_path / "out", ReadLog())
    assert (tmp_path / "out" / "d.txt").read_bytes() == text.encode()
    assert read(Brat(), tmp_path / "out") == [document]


def test_what_brat_cannot_hold_is_counted(tmp_path: Path) -> None:
    read_log = ReadLog()
    odd = Prediction("ab", (Entity(0, 1, "A\tB", 0.5), Entity(1, 2, "C")), "d", (Problem("split", ""),))
    assert Brat().write([odd, Document("x", (), "d"), Document("y")], tmp_path / "out", read_log) == 3
    assert read_log.dropped == {
        "score": 1,
        "problem of a prediction": 1,
        "label with a separator in it": 1,
        "id given twice": 1,
    }
    assert [(d.id, d.text) for d in read(Brat(), tmp_path / "out")] == [("d", "ab"), ("d-2", "x"), ("document-3", "y")]
    assert (tmp_path / "out" / "annotation.conf").read_text().splitlines()[:3] == ["[entities]", "C", "[relations]"]


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(DataError, match="is there already and is no empty folder"):
        Brat().write([], tmp_path, ReadLog())

    def fail() -> Document:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Brat().write((fail() for _ in "x"), tmp_path / "out", ReadLog())
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T1\tX 0 2\tac", "span 0 2 cuts out 'ab', not 'ac'"),
        ("T1\tX 0 9\tab", "span 0 9 is empty or outside of the text, which has 3 code points"),
        ("T1\tX 1 1\t", "span 1 1 is empty"),
        ("T1\tX -1 1\ta", "span -1 1 is empty or outside"),
        ("T1 X 0 2 ab", "is not like T1, tab, LABEL START END"),
        ("Q1\tX", "is not like T1"),
    ],
)
def test_faults_in_brat(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "d.txt").write_text("abc")
    (tmp_path / "d.ann").write_text(f"T9\tX 2 3\tc\n{line}\n")
    with pytest.raises(DataError, match=rf"d\.ann:2: .*{message}"):
        read(Brat(), tmp_path)
    read_log = ReadLog(lenient=True)
    assert read(Brat(), tmp_path, read_log) == [Document("abc", (Entity(2, 3, "X"),), "d")]
    assert read_log.errors.total() == 1


@pytest.mark.parametrize("there", ["d.txt", "d.ann"])
def test_half_a_pair_of_brat(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("")
    with pytest.raises(DataError, match=r"is missing; a \.txt and an \.ann make a pair: .*--lenient"):
        read(Brat(), tmp_path)
    read_log = ReadLog(lenient=True)
    assert read(Brat(), tmp_path, read_log) == []
    assert read_log.errors.total() == 1


@pytest.mark.parametrize(
    ("text", "fragments", "kept"),
    [
        ("Foo\nBar baz", "0 3;4 7", (0, 7)),
        ("Foo\r\n  Bar", "0 3;7 10", (0, 10)),
        ("a\n b\n\nc", "0 1;3 4;6 7", (0, 7)),
        ("left and right lung", "0 4;15 19", None),
    ],
)
def test_a_mention_that_brat_cuts_at_line_ends(
    tmp_path: Path, text: str, fragments: str, kept: tuple[int, int] | None
) -> None:
    (tmp_path / "d.txt").write_bytes(text.encode())
    pairs = [tuple(map(int, pair.split())) for pair in fragments.split(";")]
    mention = " ".join(text[a:b] for a, b in pairs)
    (tmp_path / "d.ann").write_text(f"T1\tX {fragments}\t{mention}\n")
    read_log = ReadLog()
    assert [e.span for e in read(Brat(), tmp_path, read_log)[0].entities] == ([kept] if kept else [])
    assert read_log.dropped.total() == (kept is None)


def test_mentions_given_twice_are_a_loss(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text("abc")
    (tmp_path / "d.ann").write_text("T1\tX 2 3\tc\nT2\tX 2 3\tc\n")
    read_log = ReadLog()
    assert len(read(Brat(), tmp_path, read_log)[0].entities) == 1
    assert read_log.dropped == {"entity given twice": 1}
