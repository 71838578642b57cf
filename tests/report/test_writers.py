"""Whatever a text holds, it reads the same in HTML, Markdown, LaTeX, CSV and figures, and does nothing there."""

import csv
import io
import math
import re
import shutil
import subprocess
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from genner.document import Document, Entity
from genner.render import markdown as md
from genner.render.layout import UNPRINTABLE, picture, visible_line
from genner.report import csv_tables, figure_files, latex, markdown, plots
from genner.report.html import html
from genner.report.number_text import shown
from genner.report.table import (
    CellEntry,
    Column,
    ErrorExample,
    ErrorExamples,
    Figure,
    Listing,
    Missing,
    Section,
    StudyReport,
    Table,
    TableRow,
    TableText,
    Value,
)

HOSTILE = [
    "<script>alert(1)</script>", "</table>", "<!--", "]]>", "&amp;", "a & b", "a|b", "\\|", "`", "``|",
    "[x](http://e.org)", "![i](x)", "**b**", "_u_", "http://evil.example", "www.evil.example", "\\input{/etc/passwd}",
    "\\write18{id}", "^^5cinput", "\\catcode`\\@=0", "</style>", "javascript:alert(1)", "{{7*7}}", "=cmd|' /C x'!A0",
    "$x_1^2$", "%", "{", "}}", ",,", "''",
    "\\", "~", "--", "\u202e", "\x00", "\x07", "\n", "\r\n", "# h", "1. x", "- x", "\ud800", "=1+1", '"', "'", ",",
    "é", "東", "🙂", "e\u0301", "\u2028", " ", "<b id=\"x\">", "url(#a)", "#1c2126",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=4)), min_size=1, max_size=6).map("".join)
GFM = MarkdownIt("commonmark").enable("table")


class Page(HTMLParser):
    """What a browser would make of a page: the elements, their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._raw = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        self._raw += tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._raw -= tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def report_of(text: str) -> StudyReport:
    """A report with this text in every place that a text can have."""
    number = Value(0.5, low=0.25, high=0.75, mark="*", best=True, cells=("score-1",), part=text)
    table = Table(
        "t",
        text,
        (text,),
        (Column(text, text), Column("n", text), Column(text, text=True)),
        (
            TableRow((text,), (number, Missing("failed", ("score-1", "score-2"), text), TableText(text)), text),
            TableRow(
                (text,), (number, Missing("absent"), TableText(text, code=True, cells=("score-2",))), text, total=True
            ),
        ),
        text,
        (text,),
    )
    document = Document(text.encode("utf-8", "replace").decode() or "x", (Entity(0, 1, "x"),), text)
    example = ErrorExample("missed", text, "score-1", document, document, (text,), (text,))
    cells = tuple(
        CellEntry(id, text, "done", (("key", text), (text, "v")), text, "E1") for id in ("score-1", "score-2")
    )
    figure = Figure("f", text, ("a", text), ((text, 1.5),), lambda d: draw(d, text), (3, 2), text, text)
    blocks = (text, Listing((text,)), table, figure, ErrorExamples(text, text, (example,)))
    return StudyReport(text, (text,), (Section("s", text, blocks),), cells, {"E1": {text: text}})


def draw(figure: Any, text: str) -> None:
    (axes,) = plots.panels(figure, [text])
    bar = axes.bar([0], [1], color=plots.colour(0))
    bar.patches[0].set_url("#cell-score-1")
    axes.set_xticks([0], [plots.label(text)])
    plots.legend(figure, {text: bar})


def squeezed(text: str) -> str:
    return "".join(text.split())


# -- HTML


@given(texts)
@settings(max_examples=12, deadline=None)
def test_html_shows_a_hostile_text_and_nothing_happens(text: str) -> None:
    source = html(report_of(text))
    page = Page(source)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "img", "base", "form"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "b" not in [tag for tag, attributes in page.elements if attributes.get("id") == "x"]
    assert squeezed("".join(page.text)).count(squeezed(visible_line(text))) >= 10
    links = [v for name in ("href", "xlink:href", "src") for v in page.values(name)]
    assert all(link.startswith("#") for link in links)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links} <= set(ids)
    assert not UNPRINTABLE.search(source.replace("\n", ""))


# -- Markdown


def inline_text(line: str) -> str:
    """The text of a line of Markdown, once read; fails if it holds anything else than text."""
    (inline,) = [t for t in GFM.parse(f"x{line}x") if t.type == "inline"]
    assert {t.type for t in inline.children or ()} <= {"text", "text_special"}, line
    return "".join(t.content for t in inline.children or ())[1:-1]


def spaced(text: str) -> str:
    return " ".join(visible_line(text.replace("\n", " ").replace("\r", " ")).split())


@given(texts)
@settings(deadline=None)
def test_markdown_reads_an_escaped_text_as_it_is(text: str) -> None:
    assert inline_text(md.escaped(text)) == spaced(text)


@given(texts)
@settings(deadline=None)
def test_an_escaped_text_begins_no_block(text: str) -> None:
    line = md.escaped(text)
    assert [t.type for t in GFM.parse(line)] in ([], ["paragraph_open", "inline", "paragraph_close"])


@given(texts, texts)
@settings(deadline=None)
def test_a_table_of_hostile_texts_keeps_its_shape(text: str, other: str) -> None:
    text = "x" + text + other
    files = markdown.markdown(report_of(text))
    tokens = GFM.parse(files["t.md"])
    rows: list[list[str]] = [[]]
    for token, after in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("th_open", "td_open"):
            rows[-1].append("".join(t.content for t in after.children or ()))
    assert [len(row) for row in rows] == [0, 5, 5, 5]
    assert rows[2][2].startswith("50.00")
    assert rows[2][3] == "failed"
    assert rows[2][4] == spaced(text)
    assert squeezed(rows[3][4]) == squeezed(visible_line(text))


def test_the_tables_of_general_ability_read_hostile_names_as_they_are() -> None:
    from genner.ability.paired_differences import delta
    from genner.ability.run import AbilityComparison, AbilityComparisons
    from genner.ability.table import markdown as table

    name = "[x](javascript:alert(1)) <b>|`"
    found = AbilityComparison("squad", 0, "base", name, {"f1": delta([0.0, 1.0], [1.0, 1.0])}, [])
    tokens = GFM.parse(table(AbilityComparisons([], [found], {name: name})))
    assert not {t.type for token in tokens for t in token.children or ()} & {"html_inline", "link_open", "code_inline"}
    assert "".join(t.content for token in tokens for t in token.children or ()).count(name) == 3


@given(texts)
@settings(deadline=None)
def test_a_fence_holds_whatever_it_is_put_around(text: str) -> None:
    (block,) = GFM.parse(md.fenced(text))
    assert block.type == "fence"
    # Line breaks of any kind are line breaks to Markdown, and NUL is replaced by its picture before it gets there.
    shown_text = UNPRINTABLE.sub(lambda m: picture(m[0]), text)
    assert block.content == shown_text.replace("\r\n", "\n").replace("\r", "\n") + "\n"


# -- LaTeX


COMMANDS = {v: k for k, v in latex._COMMANDS.items()}


def unescaped(source: str) -> Iterator[str]:
    """The characters that a piece of escaped LaTeX stands for: a reader of its own, longest command first."""
    known = sorted(COMMANDS, key=len, reverse=True)
    accents = {v: k for k, v in latex._ACCENTS.items()}
    at = 0
    while at < len(source):
        if code := re.compile(r"\\texttt\{U\+([0-9A-F]{4,6})\}").match(source, at):
            yield chr(int(code[1], 16))
            at = code.end()
        elif accent := re.compile(r"\\([`'^~\"rc])\{(\\?[A-Za-z])\}").match(source, at):
            yield unicodedata.normalize("NFC", accent[2].removeprefix("\\") + accents[accent[1]])
            at = accent.end()
        elif command := next((c for c in known if source.startswith(c, at)), None):
            yield COMMANDS[command]
            at += len(command)
        else:
            assert source[at] not in "\\{}$&#%_^~", source
            yield source[at]
            at += 1 + 2 * (source[at] in "-,'`!?" and source.startswith("{}", at + 1))


@given(texts)
@settings(deadline=None)
def test_latex_prints_an_escaped_text_and_runs_none_of_it(text: str) -> None:
    source = latex.escaped(text)
    assert source.isascii()
    assert "".join(unescaped(source)) == unicodedata.normalize("NFC", " ".join(text.split()))


@given(texts)
@settings(deadline=None, max_examples=40)
def test_a_latex_table_of_hostile_texts_keeps_its_shape(text: str) -> None:
    source = latex.latex(report_of(text))["t.tex"]
    assert source.isascii()
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", source):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    rows = [line for line in source.split("\n") if line.startswith("{}")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [5, 5]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(tmp_path: Path) -> None:
    for name, source in latex.latex(report_of("".join(HOSTILE))).items():
        (tmp_path / name).write_text(source, encoding="ascii")
    run = subprocess.run(
        ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
        cwd=tmp_path,
        capture_output=True,
    )
    assert run.returncode == 0, run.stdout[-2000:]


# -- CSV and figures


@given(texts, st.floats(allow_nan=False), st.floats(allow_nan=False))
@settings(deadline=None)
def test_csv_reads_back(text: str, number: float, bound: float) -> None:
    columns = (Column(text, "g"), Column("w", text=True))
    entries = (Value(number, low=bound, high=math.inf, p=0.5, cells=("a", "b")), TableText(text))
    table = Table(
        "t", "t", ("head",), columns, (TableRow((text,), entries, text), TableRow(("y",), (Missing("failed"),) * 2))
    )
    rows = list(csv.DictReader(io.StringIO(csv_tables.table_csv(table), newline="")))
    pictured = UNPRINTABLE.sub(lambda m: picture(m[0]), text)
    if pictured.lstrip(" ")[:1] in set("=+-@\t\n\u2212＝＋－＠"):
        pictured = "'" + pictured
    assert len(rows) == 4
    assert (rows[0]["block"], rows[0]["head"], rows[0]["column"]) == (pictured, pictured, pictured)
    assert (float(rows[0]["value"]), float(rows[0]["low"]), rows[0]["cells"]) == (number, bound, "a b")
    assert (rows[1]["value"], rows[1]["state"]) == (pictured, "text")
    assert (rows[2]["value"], rows[2]["state"]) == ("", "failed")


@given(st.sampled_from(["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "＝1", "a;=1+1", "a\n=1"]))
def test_a_spreadsheet_takes_no_text_for_a_formula(text: str) -> None:
    """Wherever fields and lines are cut, at commas, semicolons or tabs: outside of quotes nothing begins a formula."""
    table = Table("t", text, (text,), (Column(text, text),), (TableRow((text,), (TableText(text),), text),))
    source = csv_tables.table_csv(table) + csv_tables.figure_csv(
        Figure("f", text, (text,), ((text, -1.5),), draw, (1, 1))
    )
    fields = [field for line in csv.reader(io.StringIO(source, newline="")) for field in line]
    assert not [f for f in fields if f.lstrip()[:1] in "=+-@＝＋－＠" and f.strip() and f != "-1.5"]
    bare = re.sub(r'"(?:[^"]|"")*"', "", source)
    assert set(bare) <= set("0123456789.-,\n")
    assert ",-1.5" in bare  # a number stays one


@given(texts)
@settings(max_examples=8, deadline=None)
def test_a_figure_with_hostile_labels_is_xml_that_says_them(text: str) -> None:
    figure = Figure("f", text, ("a",), ((text,),), lambda d: draw(d, text), (3, 2))
    svg = figure_files.inline(figure)
    root = ET.fromstring(svg)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "defs", "g", "path", "use", "text", "tspan", "clipPath", "rect", "a", "symbol"}
    said = squeezed("".join(root.itertext()))
    assert squeezed(plots.label(text)) in said
    assert all(e.get("id", "f-").startswith("f-") for e in root.iter())


def test_a_figure_takes_the_colours_of_the_page_and_its_files_their_own() -> None:
    figure = Figure("f", "t", ("a",), ((1.0,),), lambda d: draw(d, "x"), (3, 2))
    svg = figure_files.inline(figure)
    assert "var(--s0)" in svg
    assert "var(--ink)" in svg
    assert not re.findall(r"#[0-9a-f]{6}", svg)
    assert 'xlink:href="#cell-score-1"' in svg
    drawn = figure_files.svg_file(figure)
    assert drawn == figure_files.svg_file(figure)
    assert "var(--" not in drawn
    assert figure_files.png_file(figure).startswith(b"\x89PNG")


def test_a_figure_of_its_own_says_what_it_shows() -> None:
    caption = "test, 60 sentences; n = 60 documents. Intervals at 95 %."
    figure = Figure("f", "F1 by format: GENIA", ("a",), ((1.0,),), lambda d: draw(d, "x"), (5, 2), caption)
    alone = figure_files._drawn(figure, "svg", alone=True, rc={"svg.fonttype": "none"}).decode()
    assert "F1 by format: GENIA" in alone
    assert caption in alone
    assert caption not in figure_files.inline(figure)  # the page says it beside the figure


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_logarithmic_axis_has_numbers_on_it_and_all_values(xs: list[float]) -> None:
    from matplotlib.figure import Figure as Drawing

    from genner.report.plots import logarithmic

    axes = Drawing().subplots()
    logarithmic(axes, xs)
    low, high = axes.get_xlim()
    assert low < min(xs) <= max(xs) < high
    assert len([tick for tick in axes.get_xticks() if low <= tick <= high]) >= 2


# -- numbers


@given(st.floats(-1, 1))
@settings(deadline=None)
def test_a_number_is_written_to_its_last_digit(x: float) -> None:
    assert float(shown(Value(x, "f1")).replace("\u2212", "-")) == pytest.approx(100 * x, abs=0.00501)
    points = shown(Value(x, "points"))
    assert float(points.replace("\u2212", "-")) == pytest.approx(100 * x, abs=0.00501)
    assert (points[0] in "+\u2212") == (abs(float(points.replace("\u2212", "-"))) > 0)
    assert "-" not in points
