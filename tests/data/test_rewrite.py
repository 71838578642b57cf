"""Rewritten texts lead back exactly, whatever the text and its entities."""

import json
import sys
from collections.abc import Collection, Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.places import ROOT
from tests.strategies import documents

from genner.data.detokenize import PAPER_CONLL, PAPER_DETOKENIZE, PAPER_LISTS, RUNNING_TEXT_DETOKENIZE, detokenize
from genner.data.paper_case import PaperCase, truecase_package
from genner.data.rewrite import Chain, OffsetMap, Rewrite, same, without
from genner.data.truecase import Truecase, in_capitals
from genner.document import Document, Entity, Prediction, Problem
from genner.errors import DocumentError, UsageError

SHARED = ROOT.parent / "shared" / "data"

FORMS = {"japan": "Japan", "wins": "wins", "ibm": "IBM", "ß": "SS", "new": "new"}
TRUECASE = Truecase(FORMS)
REWRITES: dict[str, Rewrite] = {
    "running": RUNNING_TEXT_DETOKENIZE,
    "paper": PAPER_DETOKENIZE,
    "paper_lists": PAPER_LISTS,
    "paper_conll": Chain((PaperCase(lambda words: [w.title() for w in words]), PAPER_CONLL)),
    "truecase": TRUECASE,
    "chain": Chain((PAPER_DETOKENIZE, TRUECASE, RUNNING_TEXT_DETOKENIZE)),
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
    assert RUNNING_TEXT_DETOKENIZE.apply(Document(text))[0].text == running
    assert PAPER_DETOKENIZE.apply(Document(text))[0].text == paper


@pytest.mark.parametrize(
    ("text", "lists", "conll"),
    [
        ('a " quote " ( or [ two ] ) .', 'a"quote"(or [two]).', 'a " quote " (or [two ]).'),
        ("( P = .05 ) ; 5 % of $ 9", "(P = .05); 5 % of $ 9", "(P =.05); 5% of $9"),
        (
            "( WTO ) 's plan was n't Leeds ' plan",
            "(WTO) 's plan was n't Leeds ' plan",
            "(WTO)'s plan wasn't Leeds ' plan",
        ),
        ("Friday 'S : it 'd end", "Friday 'S: it 'd end", "Friday 'S: it'd end"),
    ],
)
def test_spacing_of_the_paper(text: str, lists: str, conll: str) -> None:
    assert PAPER_LISTS.apply(Document(text))[0].text == lists
    assert PAPER_CONLL.apply(Document(text))[0].text == conll


def test_a_blank_at_the_edge_of_an_entity_stays() -> None:
    document = Document("Ada . Bob ,", (Entity(0, 4, "X"),), "d")
    assert detokenize(document) == Document("Ada . Bob,", (Entity(0, 4, "X"),), "d")


@pytest.mark.skipif(not SHARED.exists(), reason="the corpora are not here")
@pytest.mark.parametrize("name", ["genia_paper/test", "genia_paper/dev"])
def test_the_papers_own_sentences_are_left_alone(name: str) -> None:
    """They went through the paper's rule before, so it finds nothing left to do."""
    for line in (SHARED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        document = Document.from_dict(json.loads(line))
        assert PAPER_DETOKENIZE.apply(document)[0] == document


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


# The paper's case


def cased(text: str, *forms: str) -> str:
    """The text, if the package knew these forms in place of its words of letters."""

    def caser(words: Sequence[str]) -> Sequence[str]:
        assert all(word.isalpha() for word in words)
        return forms

    return PaperCase(caser).apply(Document(text, (), "d"))[0].text


def test_words_of_letters_are_cased_together() -> None:
    assert cased("SKI-JUMPING : WORLD CUP IN U.S. .", "World", "cup", "in") == "SKI-JUMPING : World cup in U.S. ."
    assert cased("LONDON 1996-12-06", "London") == "London 1996-12-06"  # one word of letters is enough
    assert cased("CANNOT WIN", "Can", "not", "win") == "CANNOT WIN"  # split by the package: nothing is certain
    assert cased("WAS ST", "Was", "Street") == "WAS ST"
    for text in ("London WINS", "ÉCOLE WINS", "1996 - 97 .", ""):
        assert cased(text, "never", "asked") == text


def test_the_package_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "truecase", None)
    with pytest.raises(
        UsageError, match=r"truecase is not installed; install it with: .*pip install truecase==0\.0\.14"
    ):
        truecase_package(["LONDON"])


def test_of_equally_likely_forms_the_first_in_code_point_order_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the package is written: the first of a set whose order changes from process to process."""

    class Caser:
        def __init__(self) -> None:
            self.word_casing_lookup: dict[str, Collection[str]] = {"pa": {"pa", "Pa", "PA"}, "won": {"won"}}
            self.detknzr = SimpleNamespace(detokenize=" ".join)

        def get_true_case_from_tokens(self, tokens: list[str]) -> list[str]:
            return [next(iter(self.word_casing_lookup.get(t.lower(), [t.title()]))) for t in tokens]

    monkeypatch.setitem(sys.modules, "truecase", SimpleNamespace(get_truecaser=Caser))
    tokenizer = SimpleNamespace(tokenize=str.split)
    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "nltk.tokenize", SimpleNamespace(NLTKWordTokenizer=lambda: tokenizer))
    assert truecase_package(["PA", "WON", "TWICE"]) == ["PA", "won", "Twice"]
