"""Predictions as one self-contained HTML page: no script, no font, no request.

Each entity is a `<mark>` box around its text, nested boxes inside each other. The style sheet draws labels and scores
from the attributes of an empty element, so that the text of the page is the text of the document: selecting, copying
and searching ignore labels. The markup is in `assets/pages/documents.html.j2` and `page.html.j2`.
"""

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from genner.document import Document, Entity, LabelSet, Prediction
from genner.render.layout import (
    PALETTE,
    UNPRINTABLE,
    Close,
    Open,
    colour_indices,
    depths,
    picture,
    tracks,
    visible_line,
    walk,
)
from genner.render.templates import asset, environment


def html_page(
    predictions: Sequence[Document],
    *,
    title: str,
    notes: str = "",
    attributions: Mapping[str, str] | None = None,
    labels: LabelSet | None = None,
) -> str:
    """One HTML page: a legend, then each text with its entities, a table of them, the problems, the attribution.

    `attributions` gives a line of credit by document id. Colours are assigned in the order of `labels`, whose
    definitions appear in the legend. Gold documents are shown like predictions without problems. Everything is escaped;
    unprintable characters appear as pictures.
    """
    template: Any = environment(text_html).get_template("pages/documents.html.j2").module
    colours = colour_indices(labels.tags if labels else (), predictions)
    counts = Counter(entity.label for document in predictions for entity in document.entities)
    articles = [
        template.article(
            document,
            n,
            1 + max(tracks(document.entities), default=-1),
            Markup("".join(marked(document, colours))),
            depths(document.entities),
            document if isinstance(document, Prediction) else None,
            (attributions or {}).get(document.id),
            colours,
        )
        for n, document in enumerate(predictions, 1)
    ]
    header = template.header(notes, {label.tag: label for label in labels or ()}, counts, colours)
    return page(title, header, "".join(articles) or '<p class="faint">no documents</p>\n')


def page(title: str, header: str, main: str, *, style: str = "", script: str = "") -> str:
    """A self-contained page; all arguments but the title are HTML, CSS and JavaScript."""
    script = f"\n{script}" if script else ""
    made = environment(text_html).get_template("pages/page.html.j2")
    values = {
        "policy": _policy(script),
        "style": asset("pages/page.css") + style + palette(),
        "header": header,
        "main": main,
        "script": script,
    }
    return made.render(title=title, **{name: Markup(value) for name, value in values.items()})


def _policy(script: str) -> str:
    """The content security policy of a page: run only this script (none if empty), apply styles, load nothing.

    Everything is escaped, so no document text becomes a script; if it did, the browser would refuse to run it.
    """
    known = f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" if script else "'none'"
    return f"default-src 'none'; script-src {known}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def palette() -> str:
    """The classes `c0`, `c1`, ... that set the colour of a box or chip."""
    dark = "".join(f".c{i} {{ --c: {colour.dark}; }}\n" for i, colour in enumerate(PALETTE))
    light = "".join(f"  .c{i} {{ --c: {colour.light}; }}\n" for i, colour in enumerate(PALETTE))
    # Print is black on white: the dark scheme is for screens only.
    return f"{dark}@media screen and (prefers-color-scheme: dark) {{\n{light}}}\n"


def text_html(text: str) -> str:
    """`text` as HTML content, its unprintable characters as marked pictures that name the code point on hover."""
    return UNPRINTABLE.sub(
        lambda match: f'<span class="control" title="U+{ord(match[0]):04X}">{picture(match[0])}</span>',
        escape(text),
    )


def attribute(text: str) -> str:
    """`text` as the value of a double-quoted attribute."""
    return escape(visible_line(text))


def marked(document: Document, colours: Mapping[str, int]) -> Iterator[str]:
    """The text with boxes. A box cut by a crossing shows its label on the last piece only."""
    for event in walk(document):
        match event:
            case Open(entity, track, first):
                kind = f"c{colours[entity.label]}" + ("" if first else " continued")
                yield f'<mark class="{kind}" style="--track: {track}" title="{attribute(_hover(entity))}">'
            case Close(entity, last):
                score = "" if entity.score is None else f' data-score="{entity.score:.2f}"'
                yield f'<i data-label="{attribute(entity.label)}"{score}></i></mark>' if last else "</mark>"
            case str():
                yield text_html(event)


def _hover(entity: Entity) -> str:
    score = "" if entity.score is None else f", score {entity.score:.2f}"
    return f"{entity.label} [{entity.start}, {entity.end}){score}"
