"""The catalog holds together, and `genner data` tells what is in a file and where that is not what was published."""

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from tests.conftest import Run
from tests.places import ROOT
from tests.strategies import documents

from genner.data.catalog import catalog, corpus
from genner.data.describe import Description, describe, disagreements, group_leaks, leaks, nesting
from genner.data.jsonl import read_jsonl
from genner.data.registry import SYNTAXES
from genner.document import Document, Entity
from genner.errors import UnknownNameError
from genner.labels import label_sets

SHARED = ROOT.parent / "shared" / "data"


def lines(path: Path, *given: Document) -> Path:
    path.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in given), encoding="utf-8")
    return path


# The catalog


def test_the_four_corpora() -> None:
    assert list(catalog()) == ["conll2003", "ontonotes5", "ace2005", "genia"]
    assert {name: len(c.labels) for name, c in catalog().items()} == {
        "conll2003": 4,
        "ontonotes5": 18,
        "ace2005": 7,
        "genia": 5,
    }
    assert [name for name, c in catalog().items() if c.nested] == ["ace2005", "genia"]


@pytest.mark.parametrize("name", catalog())
def test_an_entry_is_whole(name: str) -> None:
    about = corpus(name)
    assert [s.name for s in about.splits] == ["train", "dev", "test"]
    assert all(label.name and label.definition for label in about.labels)
    assert about.counts_from
    assert about.licence
    assert about.get.startswith("http")
    assert about.syntax in SYNTAXES


def test_labels_agree_with_the_label_sets_of_the_same_name() -> None:
    for name, about in catalog().items():
        if name in label_sets():
            assert set(about.labels.tags) == set(label_sets()[name].tags)


def test_an_unknown_corpus() -> None:
    with pytest.raises(UnknownNameError, match="unknown corpus 'muc'; known: ace2005, conll2003, genia, ontonotes5"):
        corpus("muc")


@pytest.mark.skipif(not SHARED.exists(), reason="the corpora are not here")
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_genia_is_as_published(split: str) -> None:
    found = describe(split, read_jsonl(SHARED / "genia" / f"{split}.jsonl"))
    assert disagreements(found, corpus("genia"), split) == []


# Describing


@given(documents(crossing=True))
def test_nesting_against_counting_pairs(document: Document) -> None:
    entities = document.entities
    inner = crossing = 0
    for i, later in enumerate(entities):
        before = entities[:i]
        inner += any(e.start <= later.start and later.end <= e.end for e in before)
        crossing += any(e.start < later.start < e.end < later.end for e in before)
    depth = max((sum(e.start <= at < e.end for e in entities) for at in range(len(document.text))), default=0)
    assert nesting(entities) == (inner, crossing, depth)


def test_crossing_is_as_formats_count_it() -> None:
    found = [Entity(a, b, "X") for a, b in combinations(range(4), 2)]
    assert nesting(Document("abc", tuple(found)).entities) == (5, 1, 4)


def test_duplicates_and_leaks() -> None:
    a, b = Document("one", (), "1"), Document("two", (Entity(0, 3, "N"),), "2")
    train = describe("train", [a, b, Document("one", (), "3"), Document("one", (), "4")])
    test = describe("test", [b, b, Document("four!", (), "5")])
    assert (train.documents, train.entities, train.duplicates, train.characters) == (4, 1, 2, 12)
    assert (test.longest, test.longest_id) == (5, "5")
    assert leaks([train, test]) == [("train", "test", 1), ("test", "train", 2)]
    assert leaks([train, describe("dev", [])]) == []


def test_groups_are_counted_and_those_in_two_files_found() -> None:
    def described(name: str, *documents: tuple[str, str]) -> Description:
        return describe(name, [Document(f"{name} {id}", id=id, group=group) for id, group in documents])

    train = described("a/train.conll", ("1", "x"), ("2", "x"), ("3", "y"), ("4", "train-1"), ("5", ""))
    test = described("b/train.conll.gz", ("1", "y"), ("2", "train-1"), ("3", "x"))
    assert train.groups == {"x": 2, "y": 1, "train-1": 1}
    assert train.to_dict()["groups"] == {"number": 3, "documents": 4, "largest": 2}
    assert group_leaks([train, test]) == [
        ("a/train.conll", "b/train.conll.gz", 2, 3, "x"),
        ("b/train.conll.gz", "a/train.conll", 2, 2, "y"),
    ]
    numbered = described("ids", ("x-1", ""), ("x-2", ""), ("z-1", ""), ("z-2", ""))
    assert numbered.groups == {"x": 2, "z": 2}
    assert group_leaks([numbered, train])[0] == ("ids", "a/train.conll", 1, 2, "x")
    unknown = described("unknown", ("test-1", ""), ("test-2", ""))
    assert (unknown.groups, unknown.to_dict()["groups"]) == ({}, None)
    assert group_leaks([unknown, train]) == []


def test_the_groups_of_files_are_told(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "train.jsonl", Document("a", id="1", group="x"), Document("b", id="2", group="y"))
    lines(tmp_path / "test.jsonl", Document("c", id="1", group="x"))
    lines(tmp_path / "other.jsonl", Document("d", id="1"))
    code, out, _ = run("data", "train.jsonl", "test.jsonl", "other.jsonl")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:4]] == [
        ["train.jsonl", "2", "2"],
        ["test.jsonl", "1", "1"],
        ["other.jsonl", "1", "unknown"],
    ]
    told = (
        "1 groups of test.jsonl (1 documents), 'x' among them, are in train.jsonl too: texts of one group are in both"
    )
    assert told in out
    found = json.loads(run("data", "train.jsonl", "test.jsonl", "--json")[1])
    assert found["shared_groups"] == [
        ["train.jsonl", "test.jsonl", 1, 1, "x"],
        ["test.jsonl", "train.jsonl", 1, 1, "x"],
    ]
    assert [file["groups"]["number"] for file in found["files"]] == [2, 1]


def test_a_wrong_count_names_both() -> None:
    found = describe("mine", [Document("IL-2 .", (Entity(0, 4, "DNA"), Entity(5, 6, "X")), "1")])
    told = disagreements(found, corpus("genia"), "test")
    assert told[0].startswith("mine: 1 sentences, but 1,732 are published for GENIA 3.02, test (")
    assert told[1].startswith("mine: 2 entities, but 5,119 are published")
    assert told[2] == "mine: labels X are not of GENIA 3.02, which has protein, DNA, cell_type, cell_line, RNA"


# The command


def test_the_list(run: Run) -> None:
    code, out, _ = run("data")
    assert code == 0
    assert "conll2003: CoNLL-2003 English, flat" in out
    assert "train: 14,041 sentences, 23,499 entities" in out
    assert "protein: protein; proteins, their families" in out
    code, out, _ = run("data", "--json", "--corpus", "genia")
    [genia] = json.loads(out)
    assert genia["splits"]["test"] == {"sentences": 1732, "entities": 5119}


def test_a_table(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "train.jsonl", Document("a b", (Entity(0, 3, "X"), Entity(0, 1, "Y")), "1"))
    lines(tmp_path / "test.jsonl", Document("a b", (), "1"))
    code, out, _ = run("data", "train.jsonl", "test.jsonl")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[1] == ["train.jsonl", "1", "unknown", "2", "1", "0", "2", "0", "3", "X", "1,", "Y", "1"]
    assert "1 of train.jsonl are in test.jsonl too" in out


def test_json_and_warnings(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "genia_test.jsonl", Document("IL-2", (Entity(0, 4, "DNA"),), "1"))
    code, out, err = run("data", "genia_test.jsonl", "--corpus", "genia", "--json")
    assert code == 0
    assert "warning: genia_test.jsonl: 1 sentences, but 1,732 are published" in err
    found = json.loads(out)
    assert found["files"][0]["labels"] == {"DNA": 1}
    assert len(found["warnings"]) == 2
    assert found["shared"] == []


def test_which_split_it_is(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "x.jsonl", Document("IL-2", (), "1"))
    code, _, err = run("data", "x.jsonl", "--corpus", "genia")
    assert code == 2
    assert "cannot tell which split of genia 'x.jsonl' is; say so with --split (train, dev, test)" in err
    code, _, err = run("data", "x.jsonl", "--corpus", "genia", "--split", "dev")
    assert code == 0
    assert "1,765 are published for GENIA 3.02, dev" in err
    assert run("data", "x.jsonl", "--corpus", "muc")[0] == 2


def test_faults_stop_or_are_counted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a", "entities": []}\n{"text": 7, "entities": []}\n')
    code, _, err = run("data", "x.jsonl")
    assert code == 1
    assert "x.jsonl:2: 'text' is int, not a string" in err
    code, out, err = run("data", "x.jsonl", "--lenient")
    assert code == 0
    assert "error bad document: 1" in err
    assert out.splitlines()[1].split()[:2] == ["x.jsonl", "1"]
