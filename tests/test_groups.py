"""Groups: read from files that have them, told from ids that plainly number them, never guessed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genner.data.base import ReadLog, Syntax
from genner.data.brat import Brat
from genner.data.conll import Conll
from genner.data.conll2012 import Conll2012
from genner.data.corpus_groups import numberings
from genner.data.genia import Genia
from genner.data.hf_json import HuggingFaceJson
from genner.data.jsonl import Jsonl, read_jsonl
from genner.data.ontonotes import OntoNotesName
from genner.data.texts import read_texts
from genner.data.token_csv import TokenCsv
from genner.document import Document, Entity
from genner.groups import groups_from_ids, groups_of, with_groups


def read(syntax: Syntax, path: Path) -> list[Document]:
    return list(syntax.read(path, ReadLog()))


def groups(folder: Path, text: str, syntax: Syntax | None = None) -> list[str]:
    path = folder / "x.conll"
    path.write_text(text, encoding="utf-8")
    return [d.group for d in read(syntax or Conll(), path)]


# -- from ids


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ("MEDLINE:1-0 MEDLINE:1-1 MEDLINE:2-0 MEDLINE:2-5", "MEDLINE:1 MEDLINE:1 MEDLINE:2 MEDLINE:2"),
        ("120_treasure_island-0 120_treasure_island-1 32_herland-63", None),  # one of two has several
        ("120_treasure_island-0 120_treasure_island-1 32_herland-63 32_herland-64", "120_treasure_island 32_herland"),
        ("n01001-0001 n01001-0002 n01002-0001 n01002-0002 w01001-0001", "n01001 n01002 w01001"),
        (
            "S0004-06142006-1-4 S0004-06142006-1-6 S0004-06142006-2-1 S0004-06142006-2-2",
            "S0004-06142006-1 S0004-06142006-2",
        ),
        ("blog_2021-04-19__s0001 blog_2021-04-19__s0006 zscaler__s0029 zscaler__s0030", "blog_2021-04-19 zscaler"),
        ("10021369-0 10021369-1 10021370-0 10021370-1", "10021369 10021370"),
        ("doc3#0 doc3#1 doc4#0 doc4#1", "doc3 doc4"),
        ("train-tech-1-0 train-tech-1-6 train-tech-2-7 train-tech-2-8", "train-tech-1 train-tech-2"),
    ],
)
def test_ids_that_plainly_number_the_parts_of_texts(ids: str, names: str | None) -> None:
    found = groups_from_ids(ids.split())
    assert (found and list(dict.fromkeys(found))) == (names and list(dict.fromkeys(names.split())))


@pytest.mark.parametrize(
    "ids",
    [
        "",
        "a",
        "test-0 test-1 test-2",  # one name
        "train-0 train-1 test-0 test-1",  # splits
        "train1-0 train1-1 train2-0 train2-1",  # their parts
        "batch-0000-0001 batch-0000-0002 batch-0001-0001 batch-0001-0002",
        "2019-1 2019-2 2020-1 2020-2",  # years
        "a-0 a-1 b-0 b-1 a-2",  # a's do not stand together
        "a-1 a-0 b-0 b-1",  # numbers fall
        "a-0 a-0 b-0 b-1",
        "a-0 a-1 b-0 b-1 c",  # one is no number
        "a-0 a-1 b_0 b_1",  # two separators
        "a-0 b-0 c-0 c-1",  # most have one text
        "1076-15605-alarm 1078-23479-alarm",
        "a- a-1 b-1 b-2",
        "-0 -1 .-0 .-1",
    ],
)
def test_other_ids_say_nothing_of_groups(ids: str) -> None:
    assert groups_from_ids(ids.split()) is None
    documents = [Document("a", id=id) for id in ids.split()]
    found = groups_of(documents)
    assert (found.names, found.by, found.count) == (("",) * len(documents), "", 0)
    assert found.units == tuple(range(len(documents)))
    assert with_groups(documents) == documents


names = st.text("abcxyz-_#.é1", min_size=1, max_size=6).map(lambda name: f"book {name}")


@given(sizes=st.dictionaries(names, st.integers(2, 4), min_size=2, max_size=4), separator=st.sampled_from("-_#:/."))
def test_ids_made_of_groups_give_them_back(sizes: dict[str, int], separator: str) -> None:
    # A name that ends in a separator, with an s or not, runs into the one behind it.
    given = {name.rstrip("-_#."): size for name, size in sizes.items()}
    ids = [f"{name}{separator}{i}" for name, size in given.items() for i in range(size)]
    expected = [name for name, size in given.items() for _ in range(size)]
    found = groups_from_ids(ids)
    assert found == expected if len(given) > 1 else found is None
    if found:
        assert groups_from_ids([*ids, ids[0]]) is None  # its group does not stand together any more


def test_groups_that_documents_name_come_first() -> None:
    documents = [Document("a", id=f"{name}-{i}") for name in "xy" for i in range(2)]
    by_id = groups_of(documents)
    assert (by_id.names, by_id.by, by_id.units, by_id.count) == (("x", "x", "y", "y"), "ids", (0, 0, 1, 1), 2)
    assert [d.group for d in with_groups(documents)] == ["x", "x", "y", "y"]
    named = groups_of([replace(documents[0], group="z"), *documents[1:3], replace(documents[3], group="z")])
    assert (named.names, named.by, named.units, named.count) == (("z", "", "", "z"), "group", (0, 1, 2, 0), 1)


# -- from files


def test_docstart_begins_a_group(tmp_path: Path) -> None:
    token = "Ada X B-PER\n\n"
    assert groups(tmp_path, token) == [""]
    plain = f"-DOCSTART- -X- O\n\n{token}{token}-DOCSTART- -X- O\n\n{token}"
    assert groups(tmp_path, plain) == ["x-1", "x-1", "x-2"]
    named = f"-DOCSTART- (1 EU)\n\n{token}-DOCSTART- (2 Rare Hendrix)\n{token}"  # as in AIDA
    assert groups(tmp_path, named) == ["1 EU", "2 Rare Hendrix"]
    one = f"-DOCSTART- wsj_0001\n\n{token}-DOCSTART- -DOCSTART- O\n\n{token}-DOCSTART-\n\n{token}"
    assert groups(tmp_path, one) == ["wsj_0001", "x-2", "x-3"]
    assert groups(tmp_path, "-DOCSTART- O\n\nAda B-PER\n\n-DOCSTART- O\n\nBob B-PER\n") == ["x-1", "x-2"]
    assert groups(tmp_path, plain, Conll(whole=True)) == ["x-1", "x-2"]


def test_docstart_may_stand_in_any_column(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("O\t-DOCSTART-\n\nB-PER\tAda\nO\tleft\n\nO\t-DOCSTART-\n\nB-LOC\tRome\n\n", encoding="utf-8")
    documents = read(Conll(token=1, column=0), path)
    assert [(d.id, d.text, d.group) for d in documents] == [("x-1-1", "Ada left", "x-1"), ("x-2-1", "Rome", "x-2")]
    path.write_text(
        "# sent_id = 0\n# text = -DOCSTART-\n1\t-DOCSTART-\tO\n\n# text = Ada left\n1\tAda\tB-PER\n2\tleft\tO\n\n",
        encoding="utf-8",
    )
    (document,) = read(Conll(), path)
    assert (document.text, document.entities, document.group) == ("Ada left", (Entity(0, 3, "PER"),), "x-1")


def test_newdoc_begins_a_group(tmp_path: Path) -> None:
    text = (
        "# newdoc id = n01\n# sent_id = a\n1\tAda\tB-PER\n2\tleft\tO\n\n# sent_id = b\n1\tBob\tB-PER\n2\tleft\tO\n\n"
        "# newdoc\n# sent_id = c\n1\tEve\tB-PER\n2\tleft\tO\n\n# newdoc id =\n1\tIda\tB-PER\n2\tleft\tO\n\n"
    )
    assert groups(tmp_path, text) == ["n01", "n01", "x-2", ""]
    documents = read(Conll(whole=True), tmp_path / "x.conll")
    assert [(d.text, d.group) for d in documents] == [
        ("Ada left\nBob left", "n01"),
        ("Eve left", "x-2"),
        ("Ida left", ""),
    ]


def test_groups_in_columns_are_written_and_read_again(tmp_path: Path) -> None:
    given = [Document("Ada", id=f"d{i}", group=g) for i, g in enumerate(["", " a b ", " a b ", "c=d", "", "e\nf"])]
    read_log = ReadLog()
    Conll().write(given, tmp_path / "x.conll", read_log)
    assert [d.group for d in read(Conll(), tmp_path / "x.conll")] == ["", " a b ", " a b ", "c=d", "", ""]
    assert read_log.dropped == {"group": 1}


def test_corpora_of_files_and_articles(tmp_path: Path) -> None:
    (tmp_path / "brat" / "news").mkdir(parents=True)
    for name in ("a", "news/b"):
        (tmp_path / "brat" / f"{name}.txt").write_text("Ada", encoding="utf-8")
        (tmp_path / "brat" / f"{name}.ann").write_text("T1\tPER 0 3\tAda\n", encoding="utf-8")
    assert [d.group for d in read(Brat(), tmp_path / "brat")] == ["a", "news/b"]
    names = tmp_path / "x.name"
    part = '<DOC DOCNO="nw/wsj_0001@000{}@wsj@nw@en@on">\nA b .\nC d .\n</DOC>\n'
    names.write_text(part.format(1) + part.format(2), encoding="utf-8")
    assert {d.group for d in read(OntoNotesName(), names)} == {"nw/wsj_0001"}
    xml = tmp_path / "x.xml"
    article = (
        "<article><articleinfo><bibliomisc>MEDLINE:{}</bibliomisc></articleinfo><title><sentence>A</sentence></title>"
        "<abstract><sentence>B</sentence></abstract></article>"
    )
    xml.write_text(f"<set>{article.format(1)}{article.format(2)}</set>", encoding="utf-8")
    assert [d.group for d in read(Genia(), xml)] == ["MEDLINE:1", "MEDLINE:1", "MEDLINE:2", "MEDLINE:2"]
    row = "{} 0 0 Ada NNP * - - - - (PERSON) -\n"
    columns = "".join(
        f"#begin document (bc/x); part {part:03}\n{row.format('bc/x')}\n{row.format('bc/x')}\n#end document\n"
        for part in range(2)
    )
    (tmp_path / "x.gold_conll").write_text(columns, encoding="utf-8")
    assert [(d.id, d.group) for d in read(Conll2012(), tmp_path / "x.gold_conll")] == [
        ("bc/x/0-0", "bc/x"),
        ("bc/x/0-1", "bc/x"),
        ("bc/x/1-0", "bc/x"),
        ("bc/x/1-1", "bc/x"),
    ]


def test_texts_to_extract_from_have_their_file_or_what_a_record_says(tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_text("Ada left.", encoding="utf-8")
    assert [d.group for d in read_texts(str(tmp_path / "mail.txt"))] == ["mail"]
    (tmp_path / "x.jsonl").write_text('{"text": "Ada", "group": 7}\n{"text": "Bob"}\n', encoding="utf-8")
    assert [d.group for d in read_texts(str(tmp_path / "x.jsonl"))] == ["7", ""]
    (tmp_path / "x.csv").write_text("text,group\nAda,a\nBob,\n", encoding="utf-8")
    assert [d.group for d in read_texts(str(tmp_path / "x.csv"))] == ["a", ""]


def test_what_is_before_the_first_docstart_is_a_document_too(tmp_path: Path) -> None:
    text = "Ada B-PER\n\nBob B-PER\n\n-DOCSTART- O\n\nEve B-PER\n\n-DOCSTART- O\n\n"  # as WikiGold has it
    assert groups(tmp_path, text) == ["x-0", "x-0", "x-1"]


def test_docstart_is_no_sentence_of_rows_and_tables(tmp_path: Path) -> None:
    rows = [["-DOCSTART-"], ["Ada", "left"], ["Bob"], ["-DOCSTART-"], ["Eve"]]
    tagged = [
        {"tokens": row, "ner_tags": ["O" if t in ("-DOCSTART-", "left") else "B-PER" for t in row]} for row in rows
    ]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(tagged), encoding="utf-8")
    expected = [("Ada left", "x-1"), ("Bob", "x-1"), ("Eve", "x-2")]
    assert [(d.text, d.group) for d in read(HuggingFaceJson(), path)] == expected
    table = ["sentence,token,tag"]
    table += [
        f"{n},{t},{g}" for n, row in enumerate(tagged) for t, g in zip(row["tokens"], row["ner_tags"], strict=True)
    ]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([*table, ""]), encoding="utf-8")
    assert [(d.text, d.group) for d in read(TokenCsv(), path)] == expected


def test_ids_of_known_corpora_name_their_groups(tmp_path: Path) -> None:
    def read_as(folder: str, name: str, *ids: str) -> list[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / name
        path.write_text("".join(json.dumps({"id": id, "text": "a", "entities": []}) + "\n" for id in ids))
        direct = [d.group for d in read_jsonl(path)]
        assert [d.group for d in read(Jsonl(), path)] == direct
        return direct

    assert read_as("genia", "test.jsonl", "MEDLINE:1-7", "MEDLINE:1-2", "x-1") == ["MEDLINE:1", "MEDLINE:1", ""]
    assert read_as("other", "test.jsonl", "MEDLINE:1-7", "MEDLINE:1-2") == ["", ""]
    assert read_as("somesci", "dev.jsonl", "Creation_sentences/PMC2-0", "PLoS_methods/PMC2-5") == ["PMC2", "PMC2"]
    assert read_as("sgd_slots", "dev.jsonl", "19_00018-2|Events_1", "19_00018-12|Buses_1") == ["dev:19_00018"] * 2
    assert read_as("mobie_de", "train.jsonl", "11081/dcc9286ccef1cc31-5", "11081-6") == ["11081", "11081"]
    assert read_as("uner_pt_bosque", "test.jsonl", "batch-0000-0001", "batch-0000-0002") == ["", ""]
    named = tmp_path / "genia" / "named.jsonl"
    named.write_text(json.dumps({"id": "MEDLINE:1-7", "text": "a", "entities": [], "group": "mine"}))
    assert [d.group for d in read_jsonl(named)] == ["mine"]


def test_what_is_known_of_ids_has_one_bracket_and_a_unit() -> None:
    for name, numbering in numberings().items():
        assert numbering.pattern.groups == 1, name
        assert numbering.unit
