"""Laws of the renderers: nothing of the text is lost, nothing in it is executed, and every document can be drawn."""

import io
import re
from html.parser import HTMLParser
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genner.document import Document, Entity, Label, LabelSet, Prediction, Problem
from genner.render import html_page, print_prediction
from genner.render.layout import (
    PALETTE,
    UNPRINTABLE,
    Close,
    Open,
    colour_indices,
    depths,
    tracks,
    visible,
    visible_line,
    walk,
)

LABELS = ("PER", "ORG", "LOC", "<i>", 'a"b', "x\ny")
# Plain text, and pieces that break careless renderers: markup, control codes, RTL, combining marks, wide characters.
PIECES = ("[bold]", "[/]", "<script>alert(1)</script>", '"', "'", "&amp;", "\x00", "\x1b[31m", "\r\n", "\t", "\u0301")
PIECES += ("\u202e", "\u2028", "\x85", "محمد", "東京都", "👩‍🔬", ":smile:", "⟦", "|ORG⟧", "⋯")
texts = st.lists(st.text(max_size=8) | st.sampled_from(PIECES), max_size=8).map("".join)


@st.composite
def predictions(draw: st.DrawFn, texts: st.SearchStrategy[str] = texts, labels: tuple[str, ...] = LABELS) -> Prediction:
    """Any text with any entities in it: nested, crossing, the same span twice."""
    text = draw(texts)
    entities: list[Entity] = []
    if text:
        spans = st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text))).filter(lambda s: s[0] < s[1])
        scores = st.none() | st.floats(0, 1)
        entity = st.builds(lambda s, label, score: Entity(*s, label, score), spans, st.sampled_from(labels), scores)
        entities = draw(st.lists(entity, max_size=8, unique=True))
    problems = draw(st.lists(st.builds(Problem, st.just("dropped"), texts), max_size=2))
    return Prediction(text, tuple(entities), draw(texts), tuple(problems))


ELEMENTS = {"html", "head", "meta", "title", "style", "body", "header", "main", "article", "h1", "h2", "p", "div"}
ELEMENTS |= {"dl", "dt", "dd", "ul", "li", "mark", "i", "span", "bdi", "b", "details", "summary"}
ELEMENTS |= {"table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {
    "lang", "charset", "name", "http-equiv", "content", "class", "style", "title", "dir", "data-label", "data-score",
}  # fmt: skip


class Page(HTMLParser):
    """The text of each `div.text`, and every element and attribute of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self._inside = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)
        if tag == "div" and ("class", "text") in attrs:
            self.texts.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "div":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[-1] += data


def printed(prediction: Prediction, width: int = 80, **options: object) -> str:
    console = Console(file=io.StringIO(), width=width, **options)  # type: ignore[arg-type]
    print_prediction(prediction, console, title="a [bold]title[/]", labels=("ORG", "PER"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# layout


@given(predictions())
def test_overlapping_entities_lie_on_different_tracks_the_inner_below_the_outer(document: Prediction) -> None:
    rows = tracks(document.entities)
    assert set(rows) == set(range(len(set(rows))))
    for (a, row_a), (b, row_b) in combinations(zip(document.entities, rows, strict=True), 2):
        if a.start < b.end and b.start < a.end:
            assert row_a != row_b
        if a.start <= b.start and b.end <= a.end:
            assert row_a > row_b


@given(predictions())
def test_walk_keeps_the_text_and_balances_the_boxes(document: Prediction) -> None:
    text, stack, pieces = "", [], {}
    for event in walk(document):
        match event:
            case Open(entity, track, first):
                assert not stack or stack[-1][1] > track
                assert first == (entity not in pieces)
                stack.append((entity, track))
            case Close(entity, last):
                assert stack.pop()[0] == entity
                assert last == (len(text) == entity.end)
            case str():
                assert event
                for entity, _ in stack:
                    pieces[entity] = pieces.get(entity, "") + event
                text += event
    assert not stack
    assert text == document.text
    assert pieces == {entity: document.mention(entity) for entity in document.entities}


def test_nested_entities_are_never_cut() -> None:
    spans = [(0, 9, "A"), (0, 9, "B"), (0, 4, "A"), (1, 3, "A"), (4, 9, "A"), (8, 9, "A")]
    document = Document("abcdefghi", tuple(Entity(*span) for span in spans))
    assert sum(isinstance(event, Open) for event in walk(document)) == len(spans)
    assert depths(document.entities) == [0, 1, 2, 3, 2, 3]


def test_a_thousand_levels_of_nesting() -> None:
    document = Prediction("x" * 2000, tuple(Entity(i, 2000 - i, "A") for i in range(1000)))
    assert tracks(document.entities) == list(reversed(range(1000)))
    assert Page(html_page([document], title="deep")).texts == [document.text]
    assert printed(document).count("|A⟧") == 1000


def test_colours_follow_the_given_order_then_the_alphabet() -> None:
    document = Document("abc", (Entity(0, 1, "Z"), Entity(1, 2, "B"), Entity(2, 3, "Y")))
    assert colour_indices(["Y", "A"], [document]) == {"Y": 0, "A": 1, "B": 2, "Z": 3}
    assert list(colour_indices(map(str, range(9)), []).values()) == [0, 1, 2, 3, 4, 5, 6, 7, 0]


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio of two `#rrggbb` colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", PALETTE)
def test_every_colour_can_be_read(colour) -> None:
    assert contrast(colour.dark, "#ffffff") >= 4.5  # AA for text
    assert contrast(colour.light, "#15181c") >= 4.5
    assert contrast(colour.light, "#000000") >= 4.5


@given(st.text(st.characters()))  # lone surrogates too
def test_visible_text_is_safe_and_otherwise_unchanged(text: str) -> None:
    assert not UNPRINTABLE.search(visible(text))
    assert not re.search(r"[\n\t]", visible_line(text))
    if not UNPRINTABLE.search(text):
        assert visible(text) == text


def test_a_label_with_a_lone_surrogate_can_be_shown() -> None:
    document = Prediction("ab", (Entity(0, 1, "\ud800"),), problems=(Problem("dropped", "\udfff"),))
    assert r"\ud800" in printed(document)
    html_page([document], title="\ud800", notes="\ud800").encode()


# page


@given(st.lists(predictions(), max_size=3), texts, texts)
def test_the_page_holds_every_text_and_no_foreign_element(documents: list[Prediction], title: str, notes: str) -> None:
    html = html_page(documents, title=title, notes=notes, attributions={d.id: d.text for d in documents})
    page = Page(html)
    assert page.texts == [visible(document.text) for document in documents]
    assert not page.open
    assert page.tags <= ELEMENTS
    assert page.attributes <= ATTRIBUTES
    assert "<script" not in html
    assert "http:" not in re.sub(r"<(main|header)>.*</\1>|<title>.*</title>", "", html, flags=re.DOTALL)
    assert "default-src 'none'; script-src 'none';" in html  # were something to slip through, it would not run


def test_the_page_shows_labels_scores_problems_and_credits() -> None:
    labels = LabelSet((Label("PER", "person", "a human & co."), Label("ORG")))
    document = Prediction(
        "Ada met <b>", (Entity(0, 3, "PER", 0.987), Entity(4, 7, "MISC")), "d1", (Problem("dropped", "no <Bob>"),)
    )
    html = html_page([document], title="T", labels=labels, attributions={"d1": "CC BY, A. <a@b>"})
    assert '<mark class="c0" style="--track: 0" title="PER [0, 3), score 0.99">Ada<i data-label="PER"' in html
    assert 'data-score="0.99"' in html
    assert "person: a human &amp; co." in html
    assert "not in the label set" in html
    assert "<b>dropped</b> no &lt;Bob&gt;" in html
    assert "CC BY, A. &lt;a@b&gt;" in html
    assert "<summary>2 entities</summary>" in html


def test_crossing_entities_continue_behind_the_cut() -> None:
    document = Document("abc", (Entity(0, 2, "A"), Entity(1, 3, "B")))
    html = html_page([document], title="T")
    assert Page(html).texts == ["abc"]
    assert html.count(" continued") == html.count("</mark>") - 2 == 1


# terminal


@given(
    predictions(st.text(st.characters(codec="utf-8", exclude_characters="⟦⟧⋯|")), ("PER", "ORG")), st.integers(20, 100)
)
def test_without_marks_the_printed_text_is_the_text(document: Prediction, width: int) -> None:
    for options in ({}, {"force_terminal": True, "no_color": True, "color_system": None}):
        # Wrapping adds and removes white space; tabs are expanded.
        output = "".join(printed(document, width, **options).split())
        assert "".join(visible(document.text).split()) in re.sub(r"⟦(⋯(?!⟧))?|⋯⟧|\|(PER|ORG)⟧", "", output)
        assert len(re.findall(r"\|(PER|ORG)⟧", output)) == len(document.entities)


@given(predictions())
def test_nothing_unprintable_reaches_the_terminal_and_markup_is_literal(document: Prediction) -> None:
    output = printed(document, 120)
    assert not UNPRINTABLE.search(output)
    assert "a [bold]title[/]" in output
    coloured = printed(document, 60, force_terminal=True, color_system="truecolor")
    assert not UNPRINTABLE.search(re.sub(r"\x1b\[[0-9;]*m", "", coloured))


def test_the_printed_form() -> None:
    document = Prediction(
        "The Royal Society of London\nsaid [/]\x1b.",
        (Entity(0, 27, "ORG", 0.913), Entity(21, 27, "LOC", 0.5)),
        problems=(Problem("duplicate", "London"),),
    )
    assert [line.rstrip() for line in printed(document).splitlines()] == [
        "a [bold]title[/]",
        "⟦The Royal Society of ⟦London|LOC⟧|ORG⟧",
        "said [/]␛.",
        "",
        "mention                      label   offsets  score",
        "The Royal Society of London  ORG     [0, 27)   0.91",
        "  London                     LOC    [21, 27)   0.50",
        "problems: 1",
        "  duplicate  London",
    ]


def test_long_texts_are_printed_whole() -> None:
    document = Prediction("x" * 5000, (Entity(0, 5000, "A"),))
    assert printed(document).count("x") >= 10_000  # once in the text, once in the table
    assert printed(document, force_terminal=True, color_system=None).count("x") >= 10_000
