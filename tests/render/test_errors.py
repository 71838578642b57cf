"""The error page: well-formed, self-contained, nothing unescaped, each error listed and every cell with a way to it."""

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from tests.strategies import documents

from genner.document import Document, Entity
from genner.evaluation import analyse
from genner.evaluation.taxonomy import ERROR_KINDS
from genner.render.errors import PAGE_CONTEXT_CHARS, error_page

VOID = {"meta", "br"}


class Page(HTMLParser):
    """The page's elements, its text, and whether every element is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self._open and "style" not in self._open:
            self.text += data

    def of(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in wanted.items())]


def page(gold: list[Document], pred: list[Document], **options: object) -> str:
    return error_page(analyse(gold, pred).cases, title="Errors", kinds=ERROR_KINDS, **options)  # type: ignore[arg-type]


TEXT = "Ada met Bob in Rome."
GOLD = [Document(TEXT, (Entity(0, 3, "PER"), Entity(8, 11, "PER"), Entity(15, 19, "LOC")), "a")]
PRED = [Document(TEXT, (Entity(0, 3, "PER"), Entity(8, 14, "PER"), Entity(15, 19, "ORG"), Entity(4, 7, "ORG")), "a")]


def test_every_error_is_an_example_that_opens_on_both_sides() -> None:
    found = Page(page(GOLD, PRED))
    examples = found.of("details", **{"class": "example"})
    assert [e["data-kind"] for e in examples] == ["spurious", "wrong boundary", "wrong label"]
    assert "3 of 3 errors." in found.text
    assert "Bob PER → Bob in PER" in found.text
    assert "nothing → met ORG" in found.text
    assert found.text.count(TEXT) == 6


def test_buttons_lead_to_their_examples() -> None:
    found = Page(page(GOLD, PRED))
    examples = found.of("details", **{"class": "example"})
    buttons = [{k: v for k, v in b.items() if k.startswith("data-")} for b in found.of("button")]
    assert {} in buttons  # show all
    for wanted in buttons:
        chosen = [e for e in examples if all(e[k] == v for k, v in wanted.items())]
        assert chosen or "data-gold" in wanted or wanted["data-kind"] in ("missed", "both")
    for example in examples:
        cell = {k: v for k, v in example.items() if k in ("data-gold", "data-pred")}
        assert cell in buttons
        assert {"data-kind": example["data-kind"]} in buttons
    assert all("disabled" in b for b in found.of("button"))  # until the script wakes them


@settings(max_examples=40, deadline=None)
@given(documents(crossing=True), documents(crossing=True))
def test_any_text_and_entities(gold: Document, other: Document) -> None:
    pred = Document(gold.text, tuple(e for e in other.entities if e.end <= len(gold.text)))
    written = page([gold], [pred])
    found = Page(written)
    errors = sum(n for kind, n in analyse([gold], [pred]).kinds.items() if kind != "right")
    assert len(found.of("details")) == errors
    assert len(found.of("script")) == 1
    assert {tag for tag, _ in found.tags}.isdisjoint({"img", "link", "iframe", "a"})


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x>', "</details>", "&lt;", "{title}"])
def test_everything_is_escaped(evil: str) -> None:
    gold = Document(evil, (Entity(0, len(evil), "PER"),), evil)
    pred = Document(evil, (Entity(0, len(evil), evil),), evil)
    written = error_page(analyse([gold], [pred]).cases, title=evil, notes=evil, kinds=ERROR_KINDS)
    found = Page(written)
    assert len(found.of("script")) == 1
    assert not found.of("img")
    assert found.text.count(evil) >= 7


@pytest.mark.parametrize("evil", ["</script><script>alert(1)</script>", "plain"])
def test_a_browser_may_run_this_very_script_and_no_other(evil: str) -> None:
    gold = Document(evil, (Entity(0, len(evil), "PER"),), evil)
    written = error_page(analyse([gold], [Document(evil, (), evil)]).cases, title=evil, notes=evil, kinds=ERROR_KINDS)
    (policy,) = [str(a["content"]) for a in Page(written).of("meta", **{"http-equiv": "Content-Security-Policy"})]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    (script,) = re.findall(r"<script>(.*?)</script>", written, re.DOTALL)
    known = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == f"'sha256-{known}'"
    assert written.index("Content-Security-Policy") < min(written.index("<style"), written.index("<script>"))


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert not re.search(r"https?:|url\(|@import|src=|href=", page(GOLD, PRED))


def test_examples_are_limited_and_the_page_says_so() -> None:
    gold = [Document(TEXT, (Entity(0, 3, "PER"), Entity(8, 11, "LOC")), str(i)) for i in range(30)]
    found = Page(page(gold, [Document(TEXT, (), d.id) for d in gold], per_cell=4))
    assert len(found.of("details")) == 8
    assert "8 of 60 errors, the first 4 of each kind and pair of labels." in found.text


def test_a_long_text_is_cut_around_the_error() -> None:
    text = "x" * 5000
    gold = Document(text, (Entity(2000, 2010, "PER"), Entity(100, 110, "LOC"), Entity(2020, 2030, "LOC")))
    pred = Document(text, (Entity(100, 110, "LOC"), Entity(2020, 2030, "LOC")))
    found = Page(page([gold], [pred]))
    assert len(found.of("mark")) == 3
    assert found.text.count("x") == 2 * (2 * PAGE_CONTEXT_CHARS + 10) + 10


def test_no_errors() -> None:
    assert "no errors" in page(GOLD, GOLD)
    assert "no errors" in page([], [])
