"""What holds for every probe, whatever the documents: the laws that `genner.probes` states."""

import random
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.strategies import LABELS as TAGS
from tests.strategies import documents, texts

from genner.boundaries import boundaries
from genner.document import Document, Entity, Label, LabelSet
from genner.errors import LabelError, UnknownNameError, UsageError
from genner.evaluation.breakdowns import BREAKDOWNS, TrainingCounts
from genner.formats import get_format
from genner.labels import label_set
from genner.probes import PROBES, Lexicon, Probe, make, options_of
from genner.probes.invented import ALPHABETS, invent
from genner.probes.labels import letters
from genner.probes.spans import OverlapGroup, groups
from genner.prompts import instruction

LABELS = LabelSet(tuple(Label(tag, f"name of {tag}", f"all that is {tag}") for tag in TAGS.tags))
MENTIONS = [name for name in PROBES if name.startswith("mentions_")]
FORM = get_format("inline_xml")
RELABELLED = ["symbols", "symbols_defined", "permuted"]


def annotated(*names: tuple[str, str], id: str = "t") -> Document:
    """A text of these mentions (text, label), with a blank between two."""
    text, entities = "", []
    for mention, label in names:
        entities.append(Entity(len(text), len(text) + len(mention), label))
        text += mention + " "
    return Document(text, tuple(entities), id)


TRAIN = [
    annotated(("Ann", "PER"), ("Ann Lee", "PER"), ("Bo", "PER"), id="1"),
    annotated(("New York", "LOC"), ("Rio", "LOC"), ("Bo", "LOC"), ("東京", "人名"), ("太郎", "人名"), id="2"),
    annotated(("kinase", "P"), ("Jurkat cells", "cell line"), ("K562", "cell line"), id="3"),
    Document("IL-2 kinase of Lee", (Entity(0, 11, "P"), Entity(0, 4, "PER"), Entity(15, 18, "PER")), "4"),
]
OTHERS = Lexicon.of(
    [
        annotated(("ann", "PER"), ("Zoe", "PER"), ("Max Ray", "PER"), ("Oslo", "LOC"), ("New York", "LOC")),
        annotated(("actin", "P"), ("HeLa", "cell line"), ("花子", "人名")),
    ]
)


def built(name: str, seed: int = 0) -> Probe:
    return make(name, seed, train=TRAIN, lexicon=OTHERS)


corpora = st.lists(documents(crossing=True), max_size=4).map(
    lambda some: [replace(d, id=f"d{i}") for i, d in enumerate(some)]
)
every = pytest.mark.parametrize("name", PROBES)
# How long things take is not what is tested here.
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
thorough = settings(quick, max_examples=60)


# All probes ----------------------------------------------------------------------------------------------------------


@every
def test_a_probe_says_what_it_shows_and_what_it_cannot(name: str) -> None:
    said = PROBES[name].__doc__ or ""
    for part in ("Shows: ", "Cannot show: "):
        assert said.count(part) == 1
    assert "Source: " in said or "Sources: " in said
    assert said.index("Shows: ") < said.index("Cannot show: ") < said.index("Source")
    with pytest.raises(FrozenInstanceError):
        built(name).seed = 1  # type: ignore[misc]


@every
@quick
@given(corpus=corpora, seed=st.integers(0, 3), data=st.data())
def test_neither_order_nor_company_matters(name: str, corpus: list[Document], seed: int, data: st.DataObject) -> None:
    whole = built(name, seed).apply(corpus, LABELS)
    some = data.draw(st.permutations(corpus))[: data.draw(st.integers(0, len(corpus)))]
    part = built(name, seed).apply(some, LABELS)
    assert set(part.documents) <= set(whole.documents)
    alone = [d for one in corpus for d in built(name, seed).apply([one], LABELS).documents]
    assert alone == list(whole.documents)
    assert (part.labels, part.back) == (whole.labels, whole.back)
    for reading, gold in whole.readings.items():
        assert set(part.readings[reading]) <= set(gold)


@every
@quick
@given(corpus=corpora)
def test_gold_is_asked_for_and_counted(name: str, corpus: list[Document]) -> None:
    probed = built(name).apply(corpus, LABELS)
    for gold in (probed.documents, *probed.readings.values()):
        assert all(e.label in probed.labels for d in gold for e in d.entities)
        assert [d.text for d in gold] == [d.text for d in probed.documents]
    assert len({d.id for d in probed.documents}) == len(probed.documents)
    assert probed.report["documents"] == len(corpus)
    assert all(n >= 0 for n in probed.report.values())
    assert set(probed.back) == set(probed.labels.tags)
    assert sorted(probed.back.values()) == sorted(LABELS.tags)


@every
@quick
@given(corpus=corpora)
def test_right_answers_score_1_and_none_score_0(name: str, corpus: list[Document]) -> None:
    probe = built(name)
    probed = probe.apply(corpus, LABELS)
    right, empty = (
        probe.measure(probed, found)
        for found in (probed.documents, tuple(Document(d.text, (), d.id) for d in probed.documents))
    )
    assert right.keys() == empty.keys()
    assert all(isinstance(value, int | float) for value in right.values())
    if name == "no_entities":
        assert right["per_1000_words"] == empty["per_1000_words"] == 0
        return
    number = sum(len(d.entities) for d in probed.documents)
    assert right["gold"] == right["predicted"] == number == empty["gold"]
    assert right["f1"] == (1 if number else 0)
    assert empty["f1"] == 0
    for measured in (right, empty):  # one document has no interval
        assert measured.get("low", 0) <= measured["f1"] <= measured.get("high", 1)
        assert ("low" in measured) == ("high" in measured)


@every
def test_a_label_that_is_not_asked_for_is_an_error(name: str) -> None:
    with pytest.raises(LabelError, match="'d' has label 'ORG', which the label set lacks; it has: PER, LOC"):
        built(name).apply([Document("Acme", (Entity(0, 4, "ORG"),), "d")], LABELS)


@every
def test_what_a_probe_needs_is_asked_for(name: str) -> None:
    for need in PROBES[name].needs:
        given_ = {"train": TRAIN, "lexicon": OTHERS}
        del given_[need]
        with pytest.raises(UsageError, match=f"probe '{name}' needs {need}: train is the data"):
            make(name, **given_)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"probe '{name}' has no option 'depth'"):
        make(name, train=TRAIN, lexicon=OTHERS, depth=1)


def test_names_and_options_are_checked() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown probe 'symbol'.*; known: definitions_swapped, lower"):
        make("symbol")
    with pytest.raises(UsageError, match="option 'shuffled' is 'no'; legal: as True, its default"):
        make("symbols", shuffled="no")
    with pytest.raises(UsageError, match=r"legal: sentences with one \{\} for the mention"):
        make("neutral", templates=["nothing"])
    assert options_of("mentions_unseen") == {}
    assert make("neutral", templates=["Über {}."]) == make("neutral", templates=("Über {}.",))


# Labels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RELABELLED)
@quick
@given(corpus=corpora, seed=st.integers(0, 20))
def test_relabelling_is_undone(name: str, corpus: list[Document], seed: int) -> None:
    probed = built(name, seed).apply(corpus, LABELS)
    assert [probed.restore(d) for d in probed.documents] == corpus
    assert all(new != old for new, old in probed.back.items())
    assert probed.report["labels_changed"] == len(LABELS)
    # Training data that are probed apart get the same symbols.
    assert built(name, seed).apply([], LABELS).back == probed.back


def test_what_was_not_asked_for_cannot_be_led_back() -> None:
    with pytest.raises(LabelError, match="'d' has label 'PER'; legal: "):
        built("symbols").apply([], LABELS).restore(Document("Ann", (Entity(0, 3, "PER"),), "d"))


def test_the_papers_symbols() -> None:
    labels = label_set("core").subset(["ORG", "PER", "LOC"])
    probed = make("symbols", shuffled=False).apply([], labels)
    assert (probed.labels, probed.back) == (LabelSet.of("A", "B", "C"), {"A": "ORG", "B": "PER", "C": "LOC"})
    defined = make("symbols_defined", shuffled=False).apply([], labels)
    assert defined.labels == LabelSet(
        tuple(Label(symbol, "", label.definition) for symbol, label in zip("ABC", labels, strict=True))
    )


def test_seeds_deal_out_other_symbols() -> None:
    dealt = {built("symbols", seed).apply([], LABELS).labels for seed in range(20)}
    assert len(dealt) > 5
    assert all(sorted(labels.tags) == list("ABCDE") for labels in dealt)


@quick
@given(n=st.integers(0, 1000))
def test_letters_do_not_run_out(n: int) -> None:
    some = letters(n)
    assert len(set(some)) == len(some) == n
    assert some == letters(1000)[:n]
    assert letters(28)[25:] == ["Z", "AA", "AB"]


@pytest.mark.parametrize("seed", range(5))
def test_no_label_keeps_its_definition(seed: int) -> None:
    said = {label.tag: label.definition for label in LABELS}
    permuted = make("permuted", seed).apply([], LABELS)
    swapped = make("definitions_swapped", seed).apply([], LABELS)
    for made in (permuted.labels, swapped.labels):
        assert sorted(label.definition for label in made) == sorted(said.values())
        assert not any(label.definition == said[label.tag] for label in made)
    # The name goes with the definition, or with the tag.
    assert all(label.definition == said[label.name.removeprefix("name of ")] for label in permuted.labels)
    assert all(label.name == f"name of {label.tag}" for label in swapped.labels)
    assert swapped.labels.tags == LABELS.tags


@pytest.mark.parametrize("name", ["permuted", "definitions_swapped"])
def test_readings_of_swapped_definitions_follow_the_prompt(name: str) -> None:
    corpus = [annotated(*((label.tag, label.tag) for label in LABELS))]
    probed = built(name, 3).apply(corpus, LABELS)
    assert list(probed.readings["tag"]) == corpus
    said = {label.tag: label.definition for label in probed.labels}
    (by_definition,) = probed.readings["definition"]
    assert [said[e.label] for e in by_definition.entities] == [f"all that is {tag}" for tag in LABELS.tags]
    assert probed.documents == probed.readings["definition" if name == "permuted" else "tag"]
    assert instruction(probed.labels, FORM).count("all that is") == len(LABELS)
    for reading, gold in probed.readings.items():
        scores = built(name, 3).measure(probed, gold)
        assert scores["disputed"] == len(LABELS)
        assert {key: value for key, value in scores.items() if key.startswith("chose")} == {
            "chose_tag": reading == "tag",
            "chose_definition": reading == "definition",
            "chose_other": 0,
            "chose_none": 0,
        }


def test_one_label_has_none_to_change_places_with() -> None:
    one, corpus = LABELS.subset(["PER"]), [annotated(("Ann", "PER"))]
    for name in ("permuted", "definitions_swapped"):
        probed = make(name).apply(corpus, one)
        assert (list(probed.documents), probed.labels, probed.report["labels_changed"]) == (corpus, one, 0)


def test_without_definitions_nothing_can_be_swapped() -> None:
    for name in ("permuted", "symbols_defined"):
        with pytest.raises(UsageError, match="labels with neither definition nor name: PER, LOC"):
            make(name).apply([], LabelSet.of("PER", "LOC"))
    with pytest.raises(UsageError, match="labels without a definition to swap: PER; give a shipped"):
        make("definitions_swapped").apply([], LabelSet((Label("PER", "person"), Label("LOC", "", "places"))))


# Mentions ------------------------------------------------------------------------------------------------------------


def outside(document: Document, spans: Sequence[tuple[int, int]]) -> list[str]:
    """The text before, between and behind spans."""
    starts = [0, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), len(document.text)]
    return [document.text[a:b] for a, b in zip(starts, ends, strict=True)]


def slow_groups(document: Document) -> list[tuple[int, int]]:
    """Maximal runs of characters that entities cover, cut where no entity goes on."""
    inside = [any(e.start <= i < e.end for e in document.entities) for i in range(len(document.text))]
    joined = [any(e.start < i < e.end for e in document.entities) for i in range(len(document.text))]
    spans: list[tuple[int, int]] = []
    for i, covered in enumerate(inside):
        if covered and joined[i]:
            spans[-1] = spans[-1][0], i + 1
        elif covered:
            spans.append((i, i + 1))
    return spans


@quick
@given(document=documents(crossing=True))
def test_groups_are_what_entities_cover(document: Document) -> None:
    made = groups(document)
    assert [(g.start, g.end) for g in made] == slow_groups(document)
    assert [e for g in made for e in g.members] == list(document.entities)
    for g in made:
        assert g.crossing == all((e.start, e.end) != (g.start, g.end) for e in g.members)
        assert all(e.end - e.start <= g.head.end - g.head.start for e in g.members)
        assert len(g.inner) == len(g.members) - 1


def heads(old: Document, new: Document) -> list[Entity]:
    """The new mentions: the n-th is that of the n-th group; inner ones are none."""
    return [e for e in new.entities if not any(o != e and o.start <= e.start and e.end <= o.end for o in new.entities)]


@pytest.mark.parametrize("name", MENTIONS)
@thorough
@given(document=documents(crossing=True), seed=st.integers(0, 5))
def test_every_mention_is_replaced_and_nothing_else(name: str, document: Document, seed: int) -> None:
    probed = built(name, seed).apply([document], LABELS)
    (made,), old = probed.documents, groups(document)
    new = heads(document, made)
    assert [e.label for e in new] == [g.label for g in old]
    assert outside(made, [e.span for e in new]) == outside(document, [(g.start, g.end) for g in old])
    said: dict[tuple[str, str], str] = {}
    for g, e in zip(old, new, strict=True):
        before, after = document.text[g.start : g.end], made.mention(e)
        assert after.casefold() != before.casefold()
        assert said.setdefault((before, g.label), after) == after
    report = probed.report
    assert report["replaced"] == len(old)
    assert report["documents_changed"] == bool(old)
    assert report["mentions"] == len(document.entities) == report["replaced"] + report["inner_removed"]
    assert len(made.entities) == report["replaced"] + report["inner_added"]
    assert report["crossing"] == sum(g.crossing for g in old)
    if not old:
        assert made is document


def known(lexicon: Lexicon, label: str) -> set[str]:
    return {n.text for n in lexicon.names.get(label, ())}


@pytest.mark.parametrize("name", ["mentions_seen", "mentions_unseen", "mentions_other_type"])
@thorough
@given(document=documents(), seed=st.integers(0, 5))
def test_names_come_from_where_they_should(name: str, document: Document, seed: int) -> None:
    probe = built(name, seed)
    probed = probe.apply([document], LABELS)
    (made,) = probed.documents
    train = Lexicon.of(TRAIN)
    trained = {d.mention(e).casefold() for d in TRAIN for e in d.entities}
    foreign = 0
    for g, e in zip(groups(document), heads(document, made), strict=True):
        mention = made.mention(e)
        if name == "mentions_seen":
            foreign += mention not in known(train, g.label)
        elif name == "mentions_unseen":
            assert mention.casefold() not in trained
            foreign += mention not in known(OTHERS, g.label)
        else:
            assert mention not in known(train, g.label)
            foreign += not any(mention in known(train, label) for label in LABELS.tags)
    assert foreign == probed.report["invented"]


@thorough
@given(document=documents(crossing=True), seed=st.integers(0, 5))
def test_both_readings_of_a_foreign_name_can_be_scored(document: Document, seed: int) -> None:
    probe = built("mentions_other_type", seed)
    probed = probe.apply([document], LABELS)
    (context,), (name,) = probed.readings["context"], probed.readings["name"]
    assert probed.documents == probed.readings["context"]
    by_context, by_name = (heads(document, d) for d in (context, name))
    assert [e.span for e in by_context] == [e.span for e in by_name]
    assert set(context.entities) - set(by_context) == set(name.entities) - set(by_name)
    train = Lexicon.of(TRAIN)
    for e, other in zip(by_context, by_name, strict=True):
        assert e.label == other.label or name.mention(other) in known(train, other.label)
    disputed = sum(e.label != other.label for e, other in zip(by_context, by_name, strict=True))
    assert disputed == probed.report["replaced"] - probed.report["invented"]
    for reading, gold in probed.readings.items():
        scores = probe.measure(probed, gold)
        assert scores["disputed"] == disputed
        assert scores[f"chose_{reading}"] == (1 if disputed else 0)
        assert scores[f"{reading}_f1"] == (1 if gold[0].entities else 0)
        assert scores["chose_other"] == scores["chose_none"] == 0


def test_inner_entities_come_and_go_with_their_mention() -> None:
    # "IL-2 kinase" is the only P in training of two words or more, and brings "IL-2" along.
    document = Document("the Abc def ghi", (Entity(4, 15, "P"), Entity(4, 7, "PER"), Entity(8, 11, "LOC")), "n")
    probed = built("mentions_seen").apply([document], LABELS)
    (made,) = probed.documents
    assert made == Document("the IL-2 kinase", (Entity(4, 15, "P"), Entity(4, 8, "PER")), "n")
    assert (probed.report["inner_removed"], probed.report["inner_added"]) == (2, 1)
    # What the label set cannot say is left out.
    asked = LABELS.subset(["P"])
    (made,) = built("mentions_seen").apply([Document("the Abc def ghi", (Entity(4, 15, "P"),), "n")], asked).documents
    assert made == Document("the IL-2 kinase", (Entity(4, 15, "P"),), "n")


def test_as_many_words_as_before_where_the_lexicon_has_such() -> None:
    corpus = [annotated(("Q", "LOC"), ("X Y", "LOC"), ("Q R S", "LOC"), id=str(i)) for i in range(20)]
    made = built("mentions_seen").apply(corpus, LABELS).documents
    drawn = [{d.mention(d.entities[i]) for d in made} for i in range(3)]
    assert drawn == [{"Rio", "Bo"}, {"New York"}, {"New York"}]


def test_where_the_lexicon_has_nothing_else_words_are_invented() -> None:
    probe = make("mentions_seen", train=[annotated(("Ann", "PER"))])
    probed = probe.apply([annotated(("ANN", "PER"), ("Rio", "LOC"), ("Bo", "PER"))], LABELS)
    person, place, known_person = (probed.documents[0].mention(e) for e in probed.documents[0].entities)
    assert probed.report["invented"] == 2
    assert (person.isupper(), place.istitle(), known_person) == (True, True, "Ann")


def test_a_lexicon_without_use_is_an_error() -> None:
    seen = make("mentions_unseen", train=TRAIN, lexicon=Lexicon.of(TRAIN))
    with pytest.raises(UsageError, match=r"no mention to replace others by.*the lexicon has: none \(left\)"):
        seen.apply([], LABELS)
    with pytest.raises(UsageError, match="of the labels ORG; the lexicon has: LOC, P, PER, cell line, 人名"):
        built("mentions_seen").apply([], LabelSet.of("ORG"))
    with pytest.raises(UsageError, match=r"needs two labels .* asked for: PER, in the lexicon: LOC, P, "):
        built("mentions_other_type").apply([], LABELS.subset(["PER"]))


# Invented words ------------------------------------------------------------------------------------------------------


@quick
@given(mention=texts.filter(bool), seed=st.text(max_size=3))
def test_nonsense_has_the_length_of_the_mention_and_is_another(mention: str, seed: str) -> None:
    made = invent(mention, seed)
    assert len(made) == len(mention)
    assert made != mention
    assert invent(mention, seed) == made


def shape(text: str) -> list[tuple[bool, ...] | str]:
    return [(c.isupper(), c.islower(), c.isdecimal()) if c.isalnum() else c for c in text]


@quick
@given(mention=st.from_regex(r"[A-Za-zÄäéßа-яА-Яα-ωא-ת0-9'., -]*[A-Za-z][A-Za-z0-9 .,'-]*", fullmatch=True))
def test_nonsense_keeps_the_shape_and_the_words(mention: str) -> None:
    made = invent(mention, "s")
    assert shape(made) == shape(mention)
    assert boundaries(made, "word") == boundaries(mention, "word")


@quick
@given(word=st.from_regex("[a-zA-Z]{2,12}", fullmatch=True))
def test_nonsense_can_be_spoken_and_is_the_same_for_the_same_word(word: str) -> None:
    made = invent(word, "s").lower()
    vowels = [c in ALPHABETS["LATIN"][1] for c in made]
    assert all(a != b for a, b in pairwise(vowels))
    assert invent(f"Mr. {word.upper()}-{word}", "s").lower().endswith(f"{made}-{made}")


def test_scripts_stay_what_they_are() -> None:
    for mention, first in (("Москва", "CYRILLIC"), ("Αθήνα", "GREEK"), ("ירושלים", "HEBREW"), ("서울", "HANGUL")):
        made = invent(mention, "s")
        assert {unicodedata.name(c).split()[0] for c in made} == {first}
        assert made != mention


# Context and case ----------------------------------------------------------------------------------------------------


@quick
@given(corpus=corpora)
def test_what_has_no_entities_is_kept_and_cut_out_exactly(corpus: list[Document]) -> None:
    probed = built("no_entities").apply(corpus, LABELS)
    whole = {d.id: d for d in corpus}
    for made in probed.documents:
        assert not made.entities
        id, cut, start = made.id.partition("@")
        source = whole[id]
        if not cut:
            assert made is source
            continue
        assert source.text[int(start) :].startswith(made.text)
        end = int(start) + len(made.text)
        assert source.entities
        assert not any(e.start < end and int(start) < e.end for e in source.entities)
    report = probed.report
    assert len(probed.documents) == report["documents_kept"] + report["sentences_kept"]
    assert report["documents_kept"] == sum(not d.entities for d in corpus)
    assert report["mentions_left_out"] == sum(len(d.entities) for d in corpus)


def test_sentences_without_entities_are_cut_out() -> None:
    document = Document("Nothing is here. Ann came. All was quiet.", (Entity(17, 20, "PER"),), "x")
    probed = built("no_entities").apply([document], LABELS)
    assert [(d.id, d.text) for d in probed.documents] == [("x@0", "Nothing is here."), ("x@27", "All was quiet.")]
    assert probed.report["sentences_left_out"] == 1


@quick
@given(corpus=corpora, seed=st.integers(0, 5))
def test_neutral_sentences_hold_each_mention_with_all_within(corpus: list[Document], seed: int) -> None:
    probe = make("neutral", seed, templates=["<{}>", "{}", "all of {} here"])
    probed = probe.apply(corpus, LABELS)
    expected = [(d, g) for d in corpus for g in groups(d)]
    assert len(probed.documents) == len(expected) == probed.report["made"]
    for made, (document, group) in zip(probed.documents, expected, strict=True):
        assert made.id == f"{document.id}:{group.start}"
        assert [(e.label, made.mention(e)) for e in made.entities] == [
            (e.label, document.mention(e)) for e in group.members
        ]
        mention = document.text[group.start : group.end]
        assert made.text in {f"<{mention}>", mention, f"all of {mention} here"}
    assert probed.report["mentions"] == sum(len(d.entities) for d in probed.documents)
    assert probed.report["documents_left_out"] == sum(not d.entities for d in corpus)


@pytest.mark.parametrize(("name", "change"), [("lower", str.lower), ("upper", str.upper)])
@quick
@given(corpus=corpora)
def test_case_goes_and_mentions_stay(name: str, change: Callable[[str], str], corpus: list[Document]) -> None:
    probed = built(name).apply(corpus, LABELS)
    for old, made in zip(corpus, probed.documents, strict=True):
        # Letter by letter: the small form of a capital sigma depends on its place.
        mentions, before = (["".join(map(change, d.mention(e))) for e in d.entities] for d in (made, old))
        assert mentions == before
        assert [e.label for e in made.entities] == [e.label for e in old.entities]
        if old.text.isascii():
            assert made.text == change(old.text)
    again = built(name).apply(probed.documents, LABELS)
    assert again.documents == probed.documents
    assert again.report["documents_changed"] == 0


# Seen and unseen -----------------------------------------------------------------------------------------------------


@quick
@given(corpus=corpora)
def test_seen_and_unseen_are_those_of_the_breakdown(corpus: list[Document]) -> None:
    probed = built("seen_unseen").apply(corpus, LABELS)
    assert list(probed.documents) == corpus
    training, bucket = TrainingCounts.of(TRAIN), BREAKDOWNS["seen"].bucket
    found = [bucket(e, d, training) for d in corpus for e in d.entities]
    report = probed.report
    assert report["seen"] == found.count("seen")
    assert report["other_label"] == found.count("other label")
    assert report["partial"] + report["unseen"] == found.count("unseen")


@pytest.mark.parametrize(
    ("mention", "label", "bucket"),
    [
        ("Ann Lee", "PER", "seen"),
        ("ann lee", "PER", "partial"),
        ("Rio", "PER", "other_label"),
        ("Lee Rio", "PER", "partial"),
        ("York Rio", "PER", "unseen"),
        ("House of Lee", "PER", "partial"),
        ("House of Orange", "P", "unseen"),
        ("Xx", "PER", "unseen"),
        (".", "PER", "unseen"),
    ],
)
def test_buckets(mention: str, label: str, bucket: str) -> None:
    probed = built("seen_unseen").apply([annotated((mention, label))], LABELS)
    assert probed.report[bucket] == 1


def test_a_shuffled_corpus_stays_the_same_corpus() -> None:
    """With larger documents than the drawn ones."""
    corpus = [replace(d, id=f"{d.id}{i}") for i in range(10) for d in TRAIN]
    shuffled = random.Random(0).sample(corpus, len(corpus))
    for name in PROBES:
        one, other = (built(name, 7).apply(some, LABELS) for some in (corpus, shuffled))
        assert sorted(one.documents, key=lambda d: d.id) == sorted(other.documents, key=lambda d: d.id)
        assert one.report == other.report
    unlike = {built("mentions_nonsense", seed).apply(corpus, LABELS).documents for seed in range(4)}
    assert len(unlike) == 4


def test_groups_of_a_span_with_two_labels() -> None:
    two = Document("Ann", (Entity(0, 3, "PER"), Entity(0, 3, "LOC")), "d")
    assert groups(two) == [OverlapGroup(0, 3, (Entity(0, 3, "LOC"), Entity(0, 3, "PER")))]
    assert groups(two)[0].label == "LOC"
