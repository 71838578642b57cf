"""The visible text of an HTML page: without tags, scripts and styles, white space as a browser shows it."""

import re
from html.parser import HTMLParser

# Elements that browsers hide or do not show as text. All of them need end tags.
_HIDDEN = {"script", "style", "template", "noscript", "title", "svg", "math", "iframe", "object", "audio", "video"}
_HIDDEN |= {"canvas", "textarea", "select", "datalist"}
_PARAGRAPHS = {
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "dialog",
    "details",
    "div",
    "dl",
    "fieldset",
}
_PARAGRAPHS |= {"figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "menu", "nav"}
_PARAGRAPHS |= {"ol", "p", "pre", "section", "table", "ul"}
_LINES = {"br", "caption", "dd", "dt", "figcaption", "legend", "li", "option", "summary", "tr"}
_BLANKS = re.compile(r"[ \t\n\r\f]+")


def html_text(html: str) -> str:
    """The text of a page. Paragraphs end in a blank line, lines and rows in a line feed; tabs separate cells.

    Raises `ValueError` on markup that cannot be read.
    """
    parser = _Text()
    try:
        parser.feed(html)
        parser.close()
    except AssertionError as error:  # Python's parser raises it on some declarations
        raise ValueError(str(error)) from None
    return "".join(parser.pieces)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden: list[str] = []
        self._kept = 0  # number of open <pre> elements: their white space is kept
        self._gap = ""  # what comes before the next word

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden.append(tag)
        self._divide(tag)
        self._kept += tag == "pre"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._divide(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        self._divide(tag)
        self._kept -= tag == "pre" and self._kept > 0

    def _divide(self, tag: str) -> None:
        gap = "\n\n" if tag in _PARAGRAPHS else "\n" if tag in _LINES else "\t" if tag in ("td", "th") else ""
        if tag == "br" and "\n" in self._gap:
            gap = "\n\n"
        self._gap = max(self._gap, gap, key=lambda g: (g.count("\n"), "\t" in g, len(g)))

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._kept:
            self._add(data)
            return
        for word in re.split(r"([ \t\n\r\f]+)", data):
            if _BLANKS.fullmatch(word):
                self._gap = self._gap or " "
            elif word:
                self._add(word)

    def _add(self, words: str) -> None:
        if self.pieces:
            self.pieces.append(self._gap)
        self.pieces.append(words)
        self._gap = ""
