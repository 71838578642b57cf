"""Files as "Assessment of Generative NER in the Era of LLMs" publishes them: their shapes, on sentences of our own."""

import json
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genner.data.alpaca import Alpaca
from genner.data.base import ReadLog
from genner.document import Document, Entity, LabelSet
from genner.errors import DataError
from genner.formats import get_format
from genner.formats.list_places import ListPlaces
from genner.formats.published import PLACE, SPACING
from genner.formats.search import occurrences
from genner.generations.paper import PAPER_RULES

LABELS = LabelSet.of("DNA", "protein", "cell_line")
FORMATS = tuple(PAPER_RULES)
TASK = (
    "Your task is to identify all named entities in the input sentence.\nLabel Set:\nDNA: Genes and their parts.\n"
    "protein: Chains of amino acids.\ncell_line: Cells that are bred.\nNow process the input sentence:"
)


def files(folder: Path, name: str, *rows: tuple[str, str]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps([{"instruction": TASK, "input": text, "output": said} for text, said in rows]))
    return path


def read(path: Path, name: str, lenient: bool = False) -> tuple[list[Document], ReadLog]:
    read_log = ReadLog(lenient=lenient)
    return list(Alpaca(name).read(path, read_log)), read_log


def one(folder: Path, name: str, text: str, said: str) -> tuple[list[tuple[str, str, int]], ReadLog]:
    """Label, mention and start of what is read, without `lenient`."""
    [document], read_log = read(files(folder, name, (text, said)), name)
    assert document.text == text
    return [(e.label, document.mention(e), e.start) for e in document.entities], read_log


# What the published files look like


def published(name: str, document: Document, order: list[Entity]) -> str:
    """The answer as their writer would have it: nothing escaped, the items in the order given."""
    text = document.text
    if name == "grouped_json":
        return json.dumps({tag: [document.mention(e) for e in order if e.label == tag] for tag in LABELS.tags[::-1]})
    if name == "occurrence_json":
        return json.dumps(
            [
                {
                    "text": document.mention(e),
                    "label": e.label,
                    "occurrence_index": 1 + [*occurrences(text, document.mention(e))].index(e.start),
                }
                for e in order
            ]
        )
    if name == "offset_json":
        return json.dumps(
            [{"text": document.mention(e), "label": e.label, "start": e.start, "end": e.end} for e in order]
        )
    out = []
    for at in range(len(text) + 1):
        # Of one span, what opened first closes first: crosswise.
        closing = sorted((e for e in order if e.end == at), key=lambda e: -e.start)
        opening = sorted((e for e in order if e.start == at), key=lambda e: -e.end)
        out += [f"</{e.label}>" if name == "inline_xml" else f" | {e.label}]" for e in closing]
        out += [f"<{e.label}>" if name == "inline_xml" else "[" for e in opening]
        out.append(text[at : at + 1])
    return "".join(out)


WORDS = ("PDGF[B]", "[125I]-insulin", "IL-2", "IL-2", "gene", "p<0.05", "a|b", "HeLa", "[", "cells", "(", "<DNA", ".")


@st.composite
def sentences(draw: st.DrawFn) -> tuple[Document, list[Entity]]:
    """A sentence of words with marks in them, entities over whole words without a lone bracket; and an order."""
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8))
    starts = [len(" ".join([*words[:i], ""])) for i in range(len(words))]
    found: list[Entity] = []
    for _ in range(draw(st.integers(0, 5))):
        first = draw(st.integers(0, len(words) - 1))
        last = draw(st.integers(first, min(first + 2, len(words) - 1)))
        new = Entity(starts[first], starts[last] + len(words[last]), draw(st.sampled_from(LABELS.tags)))
        crosses = any(e.start < new.start < e.end < new.end or new.start < e.start < new.end < e.end for e in found)
        if new not in found and not crosses and "[" not in words[first : last + 1]:
            found.append(new)
    return Document(" ".join(words), tuple(found)), draw(st.permutations(found))


@given(drawn=sentences())
def test_a_sentence_says_the_same_in_every_format(drawn: tuple[Document, list[Entity]]) -> None:
    """In any order; but for which of its occurrences a mention of grouped JSON is, and that is counted."""
    document, order = drawn
    for name in FORMATS:
        found = get_format(name).read_published(document.text, published(name, document, order), LABELS)
        assert found is not None
        if name == "grouped_json":
            said = [(e.label, document.text[e.start : e.end]) for e in found.entities]
            assert sorted(said) == sorted((e.label, document.mention(e)) for e in document.entities)
            assert len(set(found.entities) - set(document.entities)) <= found.left_open[PLACE]
        else:
            assert sorted(found.entities) == sorted(document.entities)
            assert not found.left_open


def test_files_are_read_without_lenient_and_say_the_same(tmp_path: Path) -> None:
    text = "[ PDGF[B] binds PDGF[B] receptor of HeLa cells (p<0.05) ]"
    twins = (Entity(2, 9, "DNA"), Entity(2, 9, "protein"))
    document = Document(
        text, (*twins, Entity(16, 32, "protein"), Entity(16, 23, "protein"), Entity(36, 46, "cell_line"))
    )
    order = [document.entities[i] for i in (4, 1, 3, 2, 0)]
    for name in FORMATS:
        path = files(
            tmp_path,
            name,
            (text, published(name, document, order)),
            ("None here.", published(name, Document("None here."), [])),
        )
        found, read_log = read(path, name)
        assert [d.entities for d in found] == [document.entities, ()]
        # PDGF[B] is DNA once, and stands there twice.
        assert read_log.dropped == ({PLACE: 1} if name == "grouped_json" else {})


@pytest.mark.parametrize(
    ("text", "said", "found"),
    [
        ("PDGF[B] binds", "[PDGF[B] | protein] binds", [("protein", "PDGF[B]", 0)]),
        ("[125I]-insulin binds", "[[125I]-insulin | protein] binds", [("protein", "[125I]-insulin", 0)]),
        ("[insulin binds]", "[[insulin | protein] binds]", [("protein", "insulin", 1)]),
        ("a | DNA] b", "a | DNA] [b | DNA]", [("DNA", "b", 9)]),
        ("X binds", "[[X | protein] | DNA] binds", [("DNA", "X", 0), ("protein", "X", 0)]),
    ],
)
def test_brackets_of_the_text(tmp_path: Path, text: str, said: str, found: list[tuple[str, str, int]]) -> None:
    assert one(tmp_path, "inline_bracketed", text, said)[0] == found


@pytest.mark.parametrize(
    ("text", "said", "found"),
    [
        ("X binds", "<protein><DNA>X</protein></DNA> binds", [("DNA", "X", 0), ("protein", "X", 0)]),
        ("X Y Z", "<DNA>X <protein>Y</DNA> Z</protein>", [("DNA", "X Y", 0), ("protein", "Y Z", 2)]),
        ("<DNA> is X", "<DNA> is <DNA>X</DNA>", [("DNA", "X", 9)]),
        ("X X X", "<DNA>X <DNA>X</DNA></DNA> X", [("DNA", "X X", 0), ("DNA", "X", 2)]),
    ],
)
def test_tags_that_cross_and_tags_of_the_text(
    tmp_path: Path, text: str, said: str, found: list[tuple[str, str, int]]
) -> None:
    assert one(tmp_path, "inline_xml", text, said)[0] == found


@pytest.mark.parametrize(
    ("name", "said"),
    [("inline_xml", "NSW sold <DNA>A$</DNA> 100 today"), ("inline_bracketed", "NSW sold [A$ | DNA] 100  today")],
)
def test_blanks_that_the_text_does_not_have(tmp_path: Path, name: str, said: str) -> None:
    found, read_log = one(tmp_path, name, "NSW sold A$100 today", said)
    assert found == [("DNA", "A$", 9)]
    assert read_log.dropped == {SPACING: 1}


def test_the_order_of_a_list_places_its_mentions(tmp_path: Path) -> None:
    text = "the IL-2 gene, IL-2 and the IL-2 gene"
    gene, alone = ("DNA", "IL-2 gene", 4), ("DNA", "IL-2", 15)
    as_often, read_log = one(
        tmp_path, "grouped_json", text, '{"DNA": ["IL-2 gene", "IL-2", "IL-2 gene", "IL-2", "IL-2"]}'
    )
    assert len(as_often) == 5
    assert not read_log.lines()  # no order is needed
    listed, read_log = one(tmp_path, "grouped_json", text, '{"DNA": ["IL-2 gene", "IL-2", "IL-2 gene"]}')
    assert listed == [gene, alone, ("DNA", "IL-2 gene", 28)]
    assert read_log.dropped == {PLACE: 1}
    inner_first, read_log = one(tmp_path, "grouped_json", text, '{"DNA": ["IL-2", "IL-2 gene", "IL-2 gene"]}')
    assert ("DNA", "IL-2", 4) in inner_first
    assert read_log.dropped == {PLACE: 1}
    outer_first, _ = one(tmp_path, "grouped_json", "A B and A B", '{"DNA": ["A B", "A", "A B", "A"]}')
    assert outer_first == [("DNA", "A B", 0), ("DNA", "A", 0), ("DNA", "A B", 8), ("DNA", "A", 8)]


def test_genners_own_lists_keep_its_law(tmp_path: Path) -> None:
    """What genner wrote says its places by their order, so that nothing is left open."""
    document = Document("IL-2 gene of IL-2", (Entity(0, 9, "DNA"), Entity(0, 4, "DNA")), "d")
    Alpaca("grouped_json", "DNA").write([document], tmp_path / "x.json", ReadLog())
    found, read_log = read(tmp_path / "x.json", "grouped_json")
    assert found == [document]
    assert not read_log.lines()


def test_what_is_given_twice_is_counted(tmp_path: Path) -> None:
    twice = [{"text": "X", "label": "DNA", "start": 0, "end": 1}] * 2
    said = {
        "offset_json": json.dumps(twice),
        "occurrence_json": json.dumps([{"text": "X", "label": "DNA", "occurrence_index": 1}] * 2),
        "grouped_json": '{"DNA": ["X", "X"]}',
        "inline_xml": "<DNA><DNA>X</DNA></DNA> binds",
        "inline_bracketed": "[[X | DNA] | DNA] binds",
    }
    for name in FORMATS:
        found, read_log = one(tmp_path, name, "X binds", said[name])
        assert found == [("DNA", "X", 0)]
        assert read_log.dropped == {"entity given twice": 1}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("offset_json", '[{"text": "X", "label": "DNA", "start": 1, "end": 2}]'),
        ("offset_json", '[{"text": "X", "label": "DNA", "start": 0, "end": 2}]'),
        ("offset_json", '[{"text": "X", "label": "DNA", "start": false, "end": 1}]'),
        ("offset_json", '[{"text": "X", "label": "DNA", "start": 0, "end": 1, "score": 1}]'),
        ("offset_json", '[{"text": "X", "label": "DNA"}]'),
        ("offset_json", '["X"]'),
        ("offset_json", '{"DNA": ["X"]}'),
        ("occurrence_json", '[{"text": "X", "label": "DNA", "occurrence_index": 3}]'),
        ("occurrence_json", '[{"text": "X", "label": "DNA", "occurrence_index": 0}]'),
        ("occurrence_json", '[{"text": "X", "label": "DNA", "occurrence_index": "1"}]'),
        ("occurrence_json", '[{"text": "X", "label": null, "occurrence_index": 1}]'),
        ("grouped_json", '{"DNA": ["Y"]}'),
        ("grouped_json", '{"DNA": "X"}'),
        ("grouped_json", '{"DNA": [1]}'),
        ("grouped_json", '["X"]'),
        ("grouped_json", '{"DNA": ["X"]'),
        ("inline_xml", "<DNA>X</DNA> X bind"),
        ("inline_xml", "<DNA>X X binds"),
        ("inline_xml", "<DNA>X</DNA> X binds</DNA>"),
        ("inline_xml", "<DNA></DNA>X X binds"),
        ("inline_bracketed", "[X | DNA] Y binds"),
        ("inline_bracketed", "[X | DNA] [X binds"),
    ],
)
def test_nothing_is_looked_up_or_repaired(tmp_path: Path, name: str, said: str) -> None:
    rows = ("X X binds", said), ("X X binds", published(name, Document("X X binds"), []))
    path = files(tmp_path, name, *rows)
    assert get_format(name).read_published(rows[0][0], said, LABELS) is None
    with pytest.raises(DataError, match="record 1: the answer does not fit its text"):
        read(path, name)
    found, read_log = read(path, name, lenient=True)
    assert [d.id for d in found] == [f"{name}-2"]
    assert read_log.errors == {"answer that does not fit its text": 1}


def test_what_says_several_things_says_nothing() -> None:
    """Nor does what has more readings than can be followed: it ends quickly."""
    assert get_format("inline_xml").read_published("<DNA>X", "<DNA><DNA>X</DNA>", LABELS) is None
    many = "[" * 4_000
    assert (
        get_format("inline_bracketed").read_published(f"{many}X", f"{many}{many}X{' | DNA]' * 4_000}", LABELS) is None
    )
    [found] = get_format("inline_bracketed").read_published("[ " * 40 + "X", "[ " * 41 + "X | DNA]", LABELS)[0]  # type: ignore[index]
    assert found == Entity(80, 81, "DNA")  # with the fewest brackets that lack a partner


# Lists


@given(
    words=st.lists(st.sampled_from(("a", "b", "a b", "ab", ".")), max_size=6),
    mentions=st.lists(st.sampled_from(("a", "b", "a b", "b a", "x", "")), max_size=5),
)
def test_a_list_is_placed(words: list[str], mentions: list[str]) -> None:
    text = " ".join(words)
    spans, unsaid = ListPlaces(text).place(mentions)
    assert len(spans) == len(mentions)
    at: dict[str, list[int]] = {m: [*occurrences(text, m)] if m else [] for m in mentions}
    for mention, span in zip(mentions, spans, strict=True):
        assert (span is None) == (not at[mention])
        assert span is None or text[slice(*span)] == mention
    for mention in set(mentions):
        got = {span for m, span in zip(mentions, spans, strict=True) if m == mention and span is not None}
        assert len(got) == min(mentions.count(mention), len(at[mention]))
    whole = {
        m: [i for i in at[m] if not (f" {text} "[i : i + 1] + f" {text} "[i + len(m) + 1 :][:1]).strip()] for m in at
    }
    counted = {m: whole[m] if len(whole[m]) >= mentions.count(m) else at[m] for m in at}
    assert unsaid == sum(mentions.count(m) for m in set(mentions) if mentions.count(m) < len(counted[m]))


def test_a_list_of_all_occurrences_needs_no_order() -> None:
    text = "A B, A and B A"
    mentions = ["A", "A", "A", "B", "B", "A B", "B A"]
    places = ListPlaces(text)
    wanted = sorted((i, i + len(m)) for m in set(mentions) for i in occurrences(text, m))
    for order in [*permutations(mentions)][::97]:
        spans, unsaid = places.place(order)
        assert sorted(span for span in spans if span is not None) == wanted
        assert not unsaid


@pytest.mark.parametrize(
    ("form", "text", "answer", "entities"),
    [
        ("grouped_json", "Ann met Bob.", '{"PER": ["Bob", "Ann"], "LOC": []}', {(0, 3, "PER"), (8, 11, "PER")}),
        (
            "grouped_json",
            "Ann met Bob. Ann left.",
            '{"LOC": ["Bob"], "PER": ["Ann", "Bob", "Ann"]}',
            {(0, 3, "PER"), (8, 11, "PER"), (8, 11, "LOC"), (13, 16, "PER")},
        ),
        ("inline_xml", "Ann met Bob.", "<LOC><PER>Ann</LOC></PER> met Bob.", {(0, 3, "PER"), (0, 3, "LOC")}),
        ("inline_bracketed", "Ann met Bob. Ann [left.", "Ann met [Bob | PER]. Ann [left.", {(8, 11, "PER")}),
    ],
)
def test_an_answer_in_the_spelling_of_the_files_is_what_it_says(
    form: str, text: str, answer: str, entities: set[tuple[int, int, str]]
) -> None:
    """A model tuned on them writes so; a mention that is listed as often as it occurs needs no order."""
    labels = LabelSet.of("PER", "LOC")
    read = get_format(form)
    strict, repaired = read.decode_strictly(text, answer, labels), read.decode(text, answer, labels)
    assert {(e.start, e.end, e.label) for e in strict.entities} == entities
    assert not strict.wrong
    assert set(strict.entities) == set(repaired.entities)
    assert [p.kind for p in repaired.problems] == ["invalid"]
