"""Rewritten texts lead back exactly, whatever the text and its entities."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genner.data.detokenize import PAPER, RUNNING, detokenize
from genner.data.rewrite import Chain, OffsetMap, Rewrite, same, without
from genner.data.truecase import Truecase, in_capitals
from genner.document import Document, Entity, Prediction, Problem
from genner.errors import DocumentError
from strategies import documents

SHARED = Path(__file__).parents[2] / "shared" / "data"

FORMS = {"japan": "Japan", "wins": "wins", "ibm": "IBM", "ß": "SS", "new": "new"}
TRUECASE = Truecase(FORMS)
REWRITES: dict[str, Rewrite] = {
    "running": RUNNING,
    "paper": PAPER,
    "truecase": TRUECASE,
    "chain": Chain((PAPER, TRUECASE, RUNNING)),
    "nothing": Chain(()),
}


@st.composite
def tokenized(draw: st.DrawFn) -> Document:
    """Text as tokenizers leave it, at times in capitals, with entities anywhere."""
    pieces = [
        '"',
        ",",
        ".",
        "(",
        ")",
        "-",
        "'s",
        "n't",
        "$",
        "JAPAN",
        "WINS",
        "IBM",
        "É",
        "ß",
        "İ",
        "New York",
        "a",
        "",
    ]
    text = " ".join(draw(st.lists(st.sampled_from(pieces))))
    spans = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=5))
    return Document(text, tuple({Entity(a, b, "X") for a, b in spans if a < b}), "d")


any_document = st.one_of(documents(crossing=True), tokenized())


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
@given(document=any_document)
def test_there_and_back_again(rewrite: Rewrite, document: Document) -> None:
    made, way = rewrite.apply(document)
    assert way.back(made) == document
    assert [made.mention(e).replace(" ", "").lower() for e in made.entities] == [
        document.mention(e).replace(" ", "").lower() for e in document.entities
    ]


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
@given(document=any_document, data=st.data())
def test_what_is_found_in_the_new_text_leads_to_its_place_in_the_old(
    rewrite: Rewrite, document: Document, data: st.DataObject
) -> None:
    made, way = rewrite.apply(document)
    if not made.text:
        return
    start = data.draw(st.integers(0, len(made.text) - 1))
    end = data.draw(st.integers(start + 1, len(made.text)))
    found = Prediction(made.text, (Entity(start, end, "Y", 0.5),), "d", (Problem("split", "x"),))
    back = way.back(found)
    assert isinstance(back, Prediction)
    assert (back.text, back.id, back.problems, back.entities[0].score) == (document.text, "d", found.problems, 0.5)
    place = back.entities[0]
    assert back.mention(place).replace(" ", "").lower() == found.mention(found.entities[0]).replace(" ", "").lower()
    assert way.forth(place) == found.entities[0]


@given(document=any_document, cut=st.sets(st.integers(0, 40)))
def test_any_characters_may_be_left_out(document: Document, cut: set[int]) -> None:
    way = without(document, cut)
    kept = [c for i, c in enumerate(document.text) if i in way.origin]
    assert way.after == "".join(kept)
    edges = {at for e in document.entities for at in (e.start, e.end - 1)}
    assert set(range(len(document.text))) - set(way.origin) == (cut & set(range(len(document.text)))) - edges


def test_a_map_knows_its_text() -> None:
    with pytest.raises(DocumentError, match="'d' does not have the text that this map leads back from"):
        same("Ada").back(Document("Bob", (), "d"))
    with pytest.raises(DocumentError, match=r"\[0, 2\) starts or ends with a character that was left out"):
        OffsetMap("abc", "bc", (1, 2)).forth(Entity(0, 2, "X"))


# Detokenization


@pytest.mark.parametrize(
    ("text", "running", "paper"),
    [
        ('He said : " No , thanks " .', 'He said: "No, thanks".', 'He said: " No, thanks ".'),
        ("It 's ( almost ) 5 % .", "It's (almost) 5%.", "It 's ( almost ) 5 %."),
        ("New - York - based", "New-York-based", "New - York - based"),
        ("at .5 volts ; why ?", "at .5 volts; why?", "at.5 volts; why?"),
        ("ran  , fell", "ran  , fell", "ran, fell"),
        ('one " quote', 'one " quote', 'one " quote'),
        ("", "", ""),
    ],
)
def test_rules(text: str, running: str, paper: str) -> None:
    assert RUNNING.apply(Document(text))[0].text == running
    assert PAPER.apply(Document(text))[0].text == paper


def test_a_blank_at_the_edge_of_an_entity_stays() -> None:
    document = Document("Ada . Bob ,", (Entity(0, 4, "X"),), "d")
    assert detokenize(document) == Document("Ada . Bob,", (Entity(0, 4, "X"),), "d")


@pytest.mark.skipif(not SHARED.exists(), reason="the corpora are not here")
@pytest.mark.parametrize("name", ["genia_paper/test", "genia_paper/dev"])
def test_the_papers_own_sentences_are_left_alone(name: str) -> None:
    """They went through the paper's rule before, so it finds nothing left to do."""
    for line in (SHARED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        document = Document.from_dict(json.loads(line))
        assert PAPER.apply(document)[0] == document


# Truecasing


@pytest.mark.parametrize(
    ("text", "capitals"),
    [
        ("SOCCER - JAPAN GET LUCKY WIN , CHINA IN DEFEAT .", True),
        ("NADIM LADKI", True),
        ("U.N. SAYS 3", True),
        ("IBM", False),
        ("IBM says", False),
        ("1996-12-06", False),
        ("東京 大阪", False),
        ("", False),
    ],
)
def test_what_counts_as_capitals(text: str, capitals: bool) -> None:
    assert in_capitals(text) == capitals


def test_words_are_written_as_elsewhere_in_the_corpus() -> None:
    corpus = [
        Document("The win of Japan over IBM was lucky ."),
        Document("Win or lose , Japan and IBM's men get a lucky win in time ."),
        Document("WIN FOR JAPAN"),
    ]
    rewrite = Truecase.learn(corpus)
    headline = Document("LUCKY WIN FOR JAPAN , IBM IN TIME , LADKI'S LUCK", (Entity(14, 19, "LOC"),), "h")
    made, way = rewrite.apply(headline)
    assert made.text == "Lucky win For Japan , IBM in time , Ladki's Luck"
    assert made.mention(made.entities[0]) == "Japan"
    assert way.back(made) == headline
    assert rewrite.apply(corpus[0])[0] == corpus[0]


@given(document=any_document)
def test_only_case_changes_and_only_in_capitals(document: Document) -> None:
    made, _ = TRUECASE.apply(document)
    assert made.text.lower() == document.text.lower()
    assert made.text == document.text or in_capitals(document.text)
    assert made.entities == document.entities
