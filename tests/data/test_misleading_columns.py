"""Column files that look like others: read right where that is certain, else refused with the option that says it."""

from pathlib import Path

import pytest

from genner.data.base import ReadLog
from genner.data.conll import Conll
from genner.document import Document
from genner.errors import DataError


def read(folder: Path, text: str, syntax: Conll | None = None, read_log: ReadLog | None = None) -> list[Document]:
    path = folder / "x.conll"
    path.write_text(text, encoding="utf-8")
    return list((syntax or Conll()).read(path, read_log or ReadLog()))


def shown(documents: list[Document]) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(d.text, [(e.text, e.label) for e in d.entities]) for d in documents]


# What CoNLL-U has

SPLIT = "1\tBanco\tB-ORG\n2-3\tdel\t_\n2\tde\tI-ORG\n3\tel\tI-ORG\n4\tMar\tI-ORG\n5\t.\tO\n"


@pytest.mark.parametrize("syntax", [Conll(), Conll(token=1), Conll(token=1, column=2)])
def test_a_split_token_is_in_the_text_as_it_is_written(tmp_path: Path, syntax: Conll) -> None:
    read_log = ReadLog()
    assert shown(read(tmp_path, SPLIT, syntax, read_log)) == [("Banco del Mar .", [("Banco del Mar", "ORG")])]
    spaced = f"# text = Banco del Mar.\n{SPLIT}"
    assert shown(read(tmp_path, spaced, syntax, read_log)) == [("Banco del Mar.", [("Banco del Mar", "ORG")])]
    of_words = f"# text = Banco de el Mar.\n{SPLIT}"  # as corpora have it that were made from the words
    assert shown(read(tmp_path, of_words, syntax, read_log)) == [("Banco de el Mar.", [("Banco de el Mar", "ORG")])]
    assert not read_log.dropped


def test_a_column_further_on_does_not_hide_the_tags_of_words(tmp_path: Path) -> None:
    text = "1-2\tvámonos\t_\t_\n1\tvamos\tO\t_\n2\tnos\tO\t_\n3\tLima\tB-LOC\t_\n"
    assert shown(read(tmp_path, text)) == [("vámonos Lima", [("Lima", "LOC")])]


def test_an_edge_within_a_split_token_is_counted(tmp_path: Path) -> None:
    read_log = ReadLog()
    text = "1\tva\tO\n2-3\tdel\t_\n2\tde\tO\n3\tel\tB-LOC\n4\tMar\tI-LOC\n\n1\tx\tO\n2\ty\tO\n"
    assert shown(read(tmp_path, text, read_log=read_log))[0] == ("va del Mar", [("del Mar", "LOC")])
    assert sum(read_log.dropped.values()) == 1
    assert "edge of an entity within a token that is split" in read_log.lines()[-1]


def test_an_empty_node_is_no_part_of_the_text(tmp_path: Path) -> None:
    text = "1\tAda\tB-PER\n2\tate\tO\n2.1\tleft\tO\n3\tfish\tO\n"
    for syntax in (Conll(), Conll(token=1)):
        read_log = ReadLog()
        assert shown(read(tmp_path, text, syntax, read_log)) == [("Ada ate fish", [("Ada", "PER")])]
        assert read_log.dropped == {"empty node (as 8.1), which is no part of the text": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1-2\tab\tB-X\n1\ta\tO\n2\tb\tO\n3\tc\tB-X\n",
            "token 1-2 has the tag 'B-X', its first word 'O'.*move it there",
        ),
        ("1\ta\tB-X\n2-3\tbc\t_\n2\tb\tO\n4\tc\tO\n", "column 0 holds nothing but numbers; say which"),
        ("1\ta\tB-X\n2-99999999\tbc\t_\n2\tb\tO\n", "token 2-99999999 is not followed by the words with"),
        ("1\ta\tB-X\n2-3\tbc\t_\n2\tb\tO\n\n1\tc\tO\n", "token 2-3 is not followed by the words with these numbers"),
    ],
)
def test_split_tokens_that_are_broken(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_columns_that_have_names(tmp_path: Path) -> None:
    text = "# global.columns = UPOS X:NER FORM\nPROPN\tB-PER\tAda\nVERB\tO\tate\n"
    read_log = ReadLog()
    assert shown(read(tmp_path, text, read_log=read_log)) == [("Ada ate", [("Ada", "PER")])]
    assert not read_log.dropped


# A first column that holds no words


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("w1\tAda\tB-PER\nw2\tran\tO\n\nw1\tBo\tB-PER\nw2\tsat\tO\n", "numbers the tokens"),
        ("1-1\tAda\tB-PER\n1-2\tran\tO\n\n2-1\tBo\tB-PER\n2-2\tsat\tO\n", "numbers the tokens"),
        ("d1\tAda\tB-PER\nd1\tran\tO\n\nd2\tBo\tB-PER\nd2\tsat\tO\n", "is the same for all tokens of a sentence"),
        ("1\tAda\tB-PER\n", "holds nothing but numbers"),
        ("1\tAda\tB-PER\n2\tran\tO\n\n3\tBo\tB-PER\n", "holds nothing but numbers"),
    ],
)
def test_numbers_and_names_of_sentences_are_no_words(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError, match=f"column 0 {what}; .*--from conll:token=1,column=-1"):
        read(tmp_path, text)
    assert shown(read(tmp_path, text, Conll(token=1, column=-1)))[0][1] == [("Ada", "PER")]
    assert shown(read(tmp_path, text, Conll(token=0)))[0][1] != [("Ada", "PER")]


def test_an_index_with_the_tag_before_the_word(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 0 counts the tokens; .*--from conll:token=2,column=1"):
        read(tmp_path, "1\tB-PER\tAda\n2\tO\tran\n")


def test_numbers_without_a_column_of_words_are_read_with_a_note(tmp_path: Path) -> None:
    read_log = ReadLog()
    assert shown(read(tmp_path, "1\tB-X\n2\tO\n", read_log=read_log)) == [("1 2", [("1", "X")])]
    assert any("no other holds words" in note for note in read_log.notes)


# Comments, markup, headers


@pytest.mark.parametrize(
    ("source", "group"),
    [
        ("#\thttp://x.de/a\t[2009-10-17]", "http://x.de/a"),
        ("#\thttp://x.de/a [2009-10-17]", "http://x.de/a"),
        ("#\tn-tv.de vom 26.02.2005\t[2005-02-26]", "n-tv.de vom 26.02.2005"),
        ("#\tn-tv.de vom 26.02.2005 [2005-02-26]", "n-tv.de vom 26.02.2005"),
        ("# http://x.de/a [2009-10-17]", "http://x.de/a"),
        ("#\thttp://x.de/a", ""),
    ],
)
@pytest.mark.parametrize("columns", ["Mina\tB-PER\nmet\tO\n", "Mina\tNNP\tB-PER\nmet\tVBD\tO\n", "Mina B-PER\nmet O\n"])
def test_where_a_sentence_is_from_is_no_part_of_it(tmp_path: Path, source: str, group: str, columns: str) -> None:
    read_log = ReadLog()
    (document,) = read(tmp_path, f"{source}\n{columns}", read_log=read_log)
    assert shown([document]) == [("Mina met", [("Mina", "PER")])]
    assert document.group == group
    assert read_log.dropped.total() == (not group)


def test_a_hash_may_be_a_token(tmp_path: Path) -> None:
    assert shown(read(tmp_path, "#\tO\nMina\tB-PER\n#wow\tO\n")) == [("# Mina #wow", [("Mina", "PER")])]
    assert shown(read(tmp_path, "#\tO\nMina\tPER\n#wow\tPER\n")) == [("# Mina #wow", [("Mina #wow", "PER")])]


@pytest.mark.parametrize("mark", ["%", ";", "/"])
def test_other_marks_of_comments_are_refused(tmp_path: Path, mark: str) -> None:
    text = f"{mark} a comment\nMina B-PER\nmet O\n"
    with pytest.raises(DataError, match=rf"x\.conll:1: has 3 columns; legal: 2, as most lines.*grep -v '\^{mark}'"):
        read(tmp_path, text)
    assert shown(read(tmp_path, text, read_log=ReadLog(lenient=True))) == [("Mina met", [("Mina", "PER")])]


def test_tags_of_xml_are_no_tokens(tmp_path: Path) -> None:
    text = '<doc id="x">\n<s>\nMina\tB-PER\nmet\tO\n</s>\n<s>\nBo\tB-PER\n</s>\n</doc>\n'
    with pytest.raises(
        DataError, match=r"x\.conll:1: '<doc id=\"x\">' is a tag of XML, and no token; take such lines out"
    ):
        read(tmp_path, text)
    read_log = ReadLog(lenient=True)
    assert shown(read(tmp_path, text, read_log=read_log)) == [("Mina met", [("Mina", "PER")]), ("Bo", [("Bo", "PER")])]
    assert read_log.lines()[0].startswith("error markup: 6, read as the end of a sentence (first: ")
    assert shown(read(tmp_path, "<s>\tO\nBo\tB-PER\n")) == [("<s> Bo", [("Bo", "PER")])]


def test_eos_ends_a_sentence(tmp_path: Path) -> None:
    assert [d.text for d in read(tmp_path, "Mina B-PER\nmet O\nEOS\nBo B-PER\nEOS\n")] == ["Mina met", "Bo"]


def test_a_header_is_no_token(tmp_path: Path) -> None:
    read_log = ReadLog()
    assert shown(read(tmp_path, "TOKEN NE-LIT\nMina B-PER\nmet O\n", read_log=read_log)) == [
        ("Mina met", [("Mina", "PER")])
    ]
    assert any("line 1 names the columns" in note for note in read_log.notes)
    assert shown(read(tmp_path, "Word B-X\nfor O\n")) == [("Word for", [("Word", "X")])]


# Levels


def test_levels_within_a_tag_are_levels(tmp_path: Path) -> None:
    read_log = ReadLog()
    text = "Kai\tB-PER#O\nvon\tI-PER#B-LOC\n\nBo\tO#O\n"
    expected = [("Kai von", [("Kai von", "PER"), ("von", "LOC")]), ("Bo", [])]
    assert shown(read(tmp_path, text, read_log=read_log)) == expected
    assert any("each tag holds levels, parted by '#'" in note for note in read_log.notes)
    assert shown(read(tmp_path, text.replace("#", "|"))) == expected


@pytest.mark.parametrize("mark", "|+/,#")
def test_levels_that_are_not_as_many_everywhere_are_refused(tmp_path: Path, mark: str) -> None:
    text = f"Kai B-PER{mark}O\nvon I-PER{mark}B-LOC\n\nBo O\n"
    with pytest.raises(
        DataError, match=r"tags hold several levels, parted by .*--from conll:column=1,inner=2.*scheme=bare"
    ):
        read(tmp_path, text)
    assert len(shown(read(tmp_path, text, Conll(scheme="bare")))) == 2


def test_marks_within_labels_are_no_levels(tmp_path: Path) -> None:
    assert shown(read(tmp_path, "Kai B-A/B\nvon O\n")) == [("Kai von", [("Kai", "A/B")])]


def test_two_annotations_are_not_outer_and_inner_entities(tmp_path: Path) -> None:
    for second in ("B-PER", "B-person", "B-LOC"):  # gold and predicted, coarse and fine
        text = f"1\tAda\tB-PER\t{second}\n2\tran\tO\tO\n"
        with pytest.raises(
            DataError, match=r"more than one column holds tags: column 2 .*--from conll:column=2,inner=3"
        ):
            read(tmp_path, text)
        assert shown(read(tmp_path, text, Conll(column=2))) == [("Ada ran", [("Ada", "PER")])]


# Tags


@pytest.mark.parametrize("outside", ["_", "-", "OUT", ""])
def test_another_tag_for_none_is_named_with_its_option(tmp_path: Path, outside: str) -> None:
    text = f"Ada\tB-PER\nran\t{outside}\n"
    with pytest.raises(
        DataError, match=rf"tag '{outside}' is malformed; .*outside={outside} says that this one is none"
    ):
        read(tmp_path, text)
    assert shown(read(tmp_path, text, Conll(outside=outside))) == [("Ada ran", [("Ada", "PER")])]
    read_log = ReadLog(lenient=True)
    assert shown(read(tmp_path, text, read_log=read_log)) == [("Ada ran", [("Ada", "PER")])]
    assert read_log.lines()[0].startswith("error malformed tag: 1, taken as that of no entity (first: ")


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("Ada\tB-PER\nran\tO\n\nZoe\tI-PER\n", "iob2"),
        ("Ada\tI-PER\nran\tO\n\nZoe\tB-PER\n", "iob1"),
        ("Ada\tS-PER\nran\tO\n\nZoe\tB-PER\n", "bioes"),
    ],
)
def test_an_entity_that_breaks_its_scheme_is_kept_and_said_to_be(
    tmp_path: Path, text: str, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    for syntax in (Conll(), Conll(scheme=scheme)):  # type: ignore[arg-type]
        with pytest.raises(DataError):
            read(tmp_path, text, syntax)
        read_log = ReadLog(lenient=True)
        found = shown(read(tmp_path, text, syntax, read_log))
        assert found == [("Ada ran", [("Ada", "PER")]), ("Zoe", [("Zoe", "PER")])]
        assert read_log.lines()[0].startswith("error tag sequence: 1, kept, as conlleval reads it (first: ")
    assert "; kept, as conlleval reads it" in caplog.text
    assert "passed over" not in caplog.text
