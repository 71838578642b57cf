"""Where a mention is placed that an answer writes otherwise than the text does, or puts where it is not.

The cases of alignment are those that langextract's tests cover (exact, lesser and fuzzy matches, repeated mentions, a
short one beside a longer), in sentences of our own; where genner does otherwise, the test says so.
"""

import json
import random
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.places import ROOT

from genner.boundaries import boundaries, cut, torn
from genner.document import Document, Entity, LabelSet, Prediction
from genner.formats import FORMATS, Format
from genner.formats.grouped_json import GroupedJSON
from genner.formats.json_list import JsonList
from genner.formats.similar_spans import changes, other_number, without_article

sys.path.append(str(ROOT / "benchmarks"))

from placing import cases as changed_cases
from placing import changed, outcome, stands

LABELS = LabelSet.of("A", "B")
LISTS = [name for name, form in FORMATS.items() if isinstance(form, GroupedJSON | JsonList)]
TEXT = "Tumor necrosis factor binds T cells, and interleukin-2 (IL-2) helps Bob Miller of the United States."


def found(name: str, text: str, *items: dict[str, Any]) -> Prediction:
    """The reading of some items, each with a "text" and what the format says of places; all of label A."""
    if isinstance(FORMATS[name], GroupedJSON):
        answer = json.dumps({"A": [item["text"] for item in items], "B": []})
    else:
        answer = json.dumps([{"text": item["text"], "label": "A"} | item for item in items])
    return FORMATS[name].decode(text, answer, LABELS)


def mentions(prediction: Prediction) -> list[str]:
    return [prediction.mention(e) for e in prediction.entities]


def kinds(prediction: Prediction) -> list[str]:
    return [p.kind for p in prediction.problems]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    ("mention", "meant"),
    [
        ("Tumo necrosis factor", "Tumor necrosis factor"),  # a letter lost
        ("umor necrosis factor", "Tumor necrosis factor"),
        ("Tumornecrosis factor", "Tumor necrosis factor"),  # a blank lost
        ("the tumor necrosis factor", "Tumor necrosis factor"),  # another case, and "the" in front
        ("the IL-2", "IL-2"),
        ("Tumor necrosis factors", "Tumor necrosis factor"),
        ("T cell", "T cells"),  # the singular stands in the plural
        ("L-2", "IL-2"),  # and this in the whole
        ("Bob  Miler", "Bob Miller"),
        ("United State", "United States"),
        ("Bo", "Bob"),
        ("the Unted States", "the United States"),
    ],
)
def test_a_changed_mention_is_whole_words(name: str, mention: str, meant: str) -> None:
    prediction = found(name, TEXT, {"text": mention})
    assert mentions(prediction) == [meant]
    assert set(kinds(prediction)) == {"invalid", "realigned"}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "mention",
    ["IL-4", "interleukin-12", "B cells", "NK cells", "factor alpha", "necro", "o", "e", "Rob Miles", "binds IL-2"],
)
def test_what_means_something_else_is_dropped(name: str, mention: str) -> None:
    """Other digits, another word, less than a word: no place, and a problem."""
    prediction = found(name, TEXT, {"text": mention})
    assert (prediction.entities, kinds(prediction)[-1]) == ((), "dropped")


def test_numbers_of_the_last_word() -> None:
    assert other_number("T cells") == ["T cell"]
    assert other_number("antibody") == ["antibodies", "antibodys"]
    assert other_number("bodies")[0] == "body"
    assert other_number("boxes")[0] == "box"
    assert other_number("glass")[-1] == "glasss"
    assert other_number("IL-2") == []
    text = "Antibodies to a virus and the boxes of Mr Jones."
    for mention, meant in (("Antibody", "Antibodies"), ("viruses", "virus"), ("box", "boxes"), ("Joneses", "Jones")):
        assert mentions(found("occurrence_json", text, {"text": mention, "occurrence_index": 1})) == [meant]


@pytest.mark.parametrize(
    ("mention", "stretch", "like"),
    [
        ("hepatitis B", "hepatitis C", False),
        ("IL-2 receptor alpha chain", "IL-2 receptor beta chain", False),
        ("interleukin-2 receptor", "interleukin-4 receptor", False),
        ("A-1", "-1", False),
        ("Smith", "Smyth", True),
        ("Mark", "park", False),
        ("John Smith", "Smith John", False),  # langextract takes what has the same words in another order
        ("alpha beta gamma delta", "alpha beta gamma", True),  # three words of four
        ("alpha beta gamma delta", "alpha beta", False),
    ],
)
def test_what_is_like_a_mention(mention: str, stretch: str, like: bool) -> None:
    assert (changes(mention, stretch) is not None) == like


def test_articles() -> None:
    for whole, bare in (("the cell", "cell"), ("Die Zeit", "Zeit"), ("l'Oréal", "Oréal"), ("the", "the"), ("a ", "a ")):
        assert without_article(whole) == bare


# What is alignment in langextract.


def test_an_exact_match_goes_before_a_like_one() -> None:
    text = "Aspirins were given, then aspirin was."
    assert found("grouped_json", text, {"text": "aspirin"}).entities[0].start == 26


def test_repeated_mentions_go_to_successive_places() -> None:
    text = "Bob met Ann; Bob left, and Bob came back."
    for name in LISTS:
        prediction = found(name, text, *[{"text": "Bob"}] * 3)
        assert [e.start for e in prediction.entities] == [0, 13, 27], name
    assert kinds(prediction).count("ambiguous") == 2  # the third has one place left
    # With another item that stands where it says, a changed one goes to a place that is free.
    taken = {"text": "Bob", "start": 13, "end": 16}
    prediction = found("offset_json", text, {"text": "bob", "start": 12, "end": 15}, taken)
    assert {e.start for e in prediction.entities} == {0, 13} or {e.start for e in prediction.entities} == {13, 27}


def test_one_place_for_two_mentions_is_one_entity() -> None:
    prediction = found("occurrence_json", "Bob left.", *[{"text": "Bobb", "occurrence_index": i} for i in (1, 2)])
    assert mentions(prediction) == ["Bob"]
    assert "duplicate" in kinds(prediction)


def test_a_long_mention_takes_nothing_from_a_short_one() -> None:
    text = "Severe asthma attack, then asthma again."
    items = [{"text": "asthma"}, {"text": "severe asthma atack"}]
    assert mentions(found("occurrence_json", text, *items)) == ["Severe asthma attack", "asthma"]


def test_mentions_in_another_order_are_found() -> None:
    prediction = found("grouped_json", "Ann met Bob in Rome.", {"text": "Rome"}, {"text": "Bob"}, {"text": "Ann"})
    assert mentions(prediction) == ["Ann", "Bob", "Rome"]


def test_words_scattered_over_a_sentence_are_no_match() -> None:
    text = "Metformin was stopped, and hydrochloride given as a tablet."
    assert mentions(found("grouped_json", text, {"text": "metformin hydrochloride tablet"})) == []


# What answers say of places.


@pytest.mark.parametrize(
    ("start", "end", "place"), [(-7, -4, 0), (999, 1002, 24), (11, 14, 13), (20, 23, 24), (6, 9, 0)]
)
def test_offsets_elsewhere_go_to_the_nearest_occurrence(start: int, end: int, place: int) -> None:
    prediction = found(
        "offset_json", "Bob met Ann. Bob left, a Bob.".replace("a B", " B"), {"text": "Bob", "start": start, "end": end}
    )
    assert [e.start for e in prediction.entities] == [place]
    assert set(kinds(prediction)) == {"invalid", "realigned"}


def test_offsets_that_agree_on_other_words_are_right() -> None:
    text = "A cell, and T cells."
    start = text.index("cells")
    item = {"text": "cell", "start": start, "end": start + 5}
    assert mentions(found("offset_json", text, item)) == ["cells"]
    # What an answer says in full, it means.
    assert mentions(found("offset_json", text, item | {"end": start + 4})) == ["cell"]


@pytest.mark.parametrize("value", ["2", 2.0, " 2 "])
def test_a_number_written_otherwise_is_read(value: object) -> None:
    prediction = found("occurrence_json", "Bob met Bob.", {"text": "Bob", "occurrence_index": value})
    assert [e.start for e in prediction.entities] == [8]
    assert any("is read as 2" in p.detail for p in prediction.problems)


@pytest.mark.parametrize("value", [True, False, None, -1, 0, 2.5, "two", [2], float("inf")])
def test_what_is_no_number_names_no_occurrence(value: object) -> None:
    prediction = found("occurrence_json", "Bob met Bob.", {"text": "Bob", "occurrence_index": value})
    assert (prediction.entities, kinds(prediction)[-1]) == ((), "unplaced")
    assert "does not say in which" in prediction.problems[-1].detail
    prediction = found("occurrence_json", "Bob met Ann.", {"text": "Bob", "occurrence_index": value})
    assert mentions(prediction) == ["Bob"]
    assert "realigned" in kinds(prediction)
    prediction = found("offset_json", "Bob met Bob.", {"text": "Bob", "start": value, "end": None})
    assert len(prediction.entities) == (type(value) is int)


def test_an_index_counts_what_is_meant() -> None:
    text = "B cells, T cells and T cell lines; a T cell."
    index = {"text": "T cell", "occurrence_index": 2}
    assert [e.start for e in found("occurrence_json", text, index).entities] == [text.index("T cell l")]
    index = {"text": "T cels", "occurrence_index": 1}
    assert [e.start for e in found("occurrence_json", text, index).entities] == [text.index("T cells")]
    index = {"text": "T cell", "occurrence_index": 9}
    assert [e.start for e in found("occurrence_json", text, index).entities] == [text.rindex("T cell")]


def test_what_may_be_one_of_several_is_dropped() -> None:
    prediction = found("grouped_json", "Tom, Tim and Jim.", {"text": "Tm"})
    assert (prediction.entities, kinds(prediction)[-1]) == ((), "unplaced")
    assert prediction.problems[-1].detail == "A 'Tm' may be 'Tom' or 'Tim'"


# What is torn out of a word.


def test_what_is_torn() -> None:
    for text, place in (("cells", 4), ("IL", 1), ("RNase", 1), ("e\u0301a", 2), ("TAR", 2)):
        assert cut(text, place), text
    for text, place in (
        ("5min", 1),
        ("DaimlerChrysler", 7),
        ("IL-2", 2),
        ("NF 2", 2),
        ("東京", 1),
        ("東a", 1),
        ("SPM8", 3),
    ):
        assert not cut(text, place), text
    assert torn("a b", 0, 2)
    assert not torn("a b", 0, 3)


@given(text=st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_word_boundary_is_cut(text: str) -> None:
    starts, ends = boundaries(text, "word")
    assert not any(cut(text, i) for i in range(len(text) + 1) if starts[i] or ends[i])


def test_a_torn_entity_is_declared() -> None:
    document = Document("T cells in 5min", (Entity(2, 6, "A"), Entity(11, 12, "A"), Entity(12, 15, "A")))
    for name, form in FORMATS.items():
        kept, left_out = form.encodable_part(document)
        assert left_out or name not in ("grouped_json", "occurrence_json")
        assert form.decode(document.text, form.encode(kept, LABELS), LABELS).entities == kept.entities
        assert [e.span for e in left_out] in ([], [(2, 6)])


# Copies.


COPIES = [name for name, form in FORMATS.items() if form.copies_in(LABELS)]


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize(
    ("mention", "meant"),
    [("Tumo necrosis", "Tumor necrosis"), ("umor necrosis", "Tumor necrosis"), ("Tumornecrosis", "Tumor necrosis"),
     ("the Tumor necrosis", "Tumor necrosis"), ("Tumors necrosis", "Tumor necrosis"), ("Tumor necros", None)],
)  # fmt: skip
def test_a_mention_changed_in_a_copy_is_whole_words(name: str, mention: str, meant: str | None) -> None:
    form = FORMATS[name]
    copy = TEXT.replace("Tumor necrosis", mention)
    entities = (Entity(0, len(mention), "A"), Entity(copy.index("T cells"), copy.index("T cells") + 7, "A"))
    prediction = form.decode(TEXT, form.encode(Document(copy, entities), LABELS), LABELS)
    assert [m for m in mentions(prediction) if m != "T cells"] == ([meant] if meant else ["Tumor necrosis"])
    assert "T cells" in mentions(prediction)


def test_a_tag_within_a_word_stays_where_it_is() -> None:
    form = FORMATS["inline_xml"]
    assert mentions(form.decode("T cells in 5min.", "<A>T cell</A>s in 5<B>min</B>", LABELS)) == ["T cell", "min"]
    assert mentions(form.decode("T cells in 5min.", "<A>T cell</A> in 5<B>min</B>", LABELS)) == ["T cells", "min"]


# The four kinds, on a few sentences (the whole table: benchmarks/placing.py).

SENTENCES = (
    Document("Treatment of human T cells with interleukin-2 raised NF-kappaB activity in Jurkat cell lines.",
             (Entity(13, 26, "A"), Entity(32, 45, "B"), Entity(53, 62, "B"), Entity(75, 92, "A"))),
    Document("Mrs. Elton called Emma Woodhouse and the Coles to Highbury.",
             (Entity(0, 10, "A"), Entity(18, 32, "A"), Entity(50, 58, "B"))),
    Document("東京大学の田中教授がMicrosoft Japanで話した。",
             (Entity(0, 4, "A"), Entity(5, 7, "B"), Entity(10, 25, "A"))),
)  # fmt: skip


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
@pytest.mark.parametrize("kind", ["letter", "blank", "the", "number"])
def test_the_four_kinds(form: Format, kind: str) -> None:
    results = [
        outcome(case, form.decode(case.document.text, case.answer, LABELS))
        for seed in range(3)
        for case in changed_cases(SENTENCES, form.name, kind, LABELS, seed)
        if not stands(case.document.text, case.mention)
    ]
    assert results
    assert set(results) == {"exact"}


def test_changes() -> None:
    rng = random.Random(0)
    assert changed("Bob", "letter", rng) in {"Bo", "Bb", "ob"}
    assert changed("New York", "blank", rng) == "NewYork"
    assert changed("the cell", "the", rng) is None
    assert [changed(m, "number", rng) for m in ("cells", "body", "glass", "boy", "Paries")] == [
        "cell", "bodies", None, "boys", "Pary",
    ]  # fmt: skip


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_placed_is_words_or_says_so(data: st.DataObject) -> None:
    """Whatever stands in a list: an entity is words, or the mention as the answer writes it, or beside a digit."""
    text = data.draw(st.sampled_from([TEXT, "Bobs Bob bobs5 a-b IL2R", "東京都 tokyo"]))
    start = data.draw(st.integers(0, len(text) - 1))
    mention = data.draw(st.sampled_from([text[start : start + 5], text[start : start + 9], "Bob", "cel", "the T"]))
    name = data.draw(st.sampled_from(["grouped_json", "occurrence_json"]))
    prediction = found(name, text, {"text": mention, "occurrence_index": data.draw(st.integers(-1, 3))})
    assert all(not torn(text, *e.span) for e in prediction.entities)
    assert prediction.entities or prediction.problems
