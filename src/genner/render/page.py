"""Predictions as one self-contained HTML page: no script, no font, no request.

Each entity is a `<mark>` box around its text, nested boxes inside each other. The style sheet draws labels and scores
from the attributes of an empty element, so that the text of the page is the text of the document: selecting, copying
and searching ignore labels.
"""

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape

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
    colours = colour_indices(labels.tags if labels else (), predictions)
    credits = attributions or {}
    documents = "".join(_article(document, n, colours, credits) for n, document in enumerate(predictions, 1))
    about = f'<p class="notes" dir="auto">{text_html(notes)}</p>\n' if notes else ""
    return page(
        title, about + _legend(predictions, labels, colours), documents or '<p class="faint">no documents</p>\n'
    )


def page(title: str, header: str, main: str, *, style: str = "", script: str = "") -> str:
    """A self-contained page; all arguments but the title are HTML, CSS and JavaScript."""
    from markupsafe import Markup

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


def chip(label: str, colour: int) -> str:
    return f'<span class="chip c{colour}">{text_html(visible_line(label))}</span>'


def _legend(documents: Sequence[Document], labels: LabelSet | None, colours: Mapping[str, int]) -> str:
    """Each label with its name, definition and number of entities; one line per label if any has a definition."""
    if not colours:
        return ""
    counts = Counter(entity.label for document in documents for entity in document.entities)
    known = {label.tag: label for label in labels or ()}
    rows, defined = [], False
    for tag, colour in colours.items():
        label, description = known.get(tag), ""
        if label and (label.name or label.definition):
            defined = defined or bool(label.definition)
            description = ": ".join(text_html(part) for part in (label.name, label.definition) if part)
        elif labels and not label:
            description = '<span class="faint">not in the label set</span>'
        count = f'<span class="faint">{description and "· "}{counts[tag]}</span>'
        rows.append(f'<div><dt>{chip(tag, colour)}</dt><dd dir="auto">{description} {count}</dd></div>\n')
    return f'<dl class="legend{" defined" if defined else ""}">\n{"".join(rows)}</dl>\n'


def _article(document: Document, number: int, colours: Mapping[str, int], credits: Mapping[str, str]) -> str:
    heading = text_html(visible_line(document.id)) if document.id else f"{number}"
    rows = 1 + max(tracks(document.entities), default=-1)
    parts = [
        f'<article>\n<h2 dir="auto">{heading}</h2>\n',
        f'<div class="text" dir="auto" style="--tracks: {rows}">{"".join(marked(document, colours))}</div>\n',
    ]
    if not document.text:
        parts.append('<p class="faint">(empty text)</p>\n')
    parts.append(_table(document, colours))
    if isinstance(document, Prediction) and document.below_min_score:
        parts.append(f'<p class="faint">left out, scoring too little: {document.below_min_score}</p>\n')
    if isinstance(document, Prediction) and document.refuted:
        parts.append(f'<p class="faint">left out, denied by the model: {document.refuted}</p>\n')
    if isinstance(document, Prediction) and document.answer_reading:
        parts.append(f'<p class="faint">reading of a free answer: {text_html(document.answer_reading)}</p>\n')
    if isinstance(document, Prediction) and document.uncalibrated_scores:
        parts.append('<p class="faint">scores uncalibrated: no probabilities</p>\n')
    if isinstance(document, Prediction) and document.problems:
        items = (f"<li><b>{p.kind}</b> {text_html(visible_line(p.detail))}</li>\n" for p in document.problems)
        parts.append(f'<ul class="problems">\n{"".join(items)}</ul>\n')
    if document.id in credits:
        parts.append(f'<p class="attribution" dir="auto">{text_html(credits[document.id])}</p>\n')
    return "".join([*parts, "</article>\n"])


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


def _table(document: Document, colours: Mapping[str, int]) -> str:
    """A folded table of the entities in reading order, nested ones indented under the outer."""
    if not document.entities:
        return '<p class="faint">no entities</p>\n'
    rows = []
    for entity, depth in zip(document.entities, depths(document.entities), strict=True):
        score = "" if entity.score is None else f"{entity.score:.2f}"
        rows.append(
            f'<tr><td style="--depth: {depth}"><bdi>{text_html(visible_line(document.mention(entity)))}</bdi></td>'
            f"<td>{chip(entity.label, colours[entity.label])}</td>"
            f'<td class="number">{entity.start}</td><td class="number">{entity.end}</td>'
            f'<td class="number">{score}</td></tr>\n'
        )
    count = f"{len(rows)} {'entity' if len(rows) == 1 else 'entities'}"
    return (
        f"<details>\n<summary>{count}</summary>\n<table>\n<thead><tr><th>mention</th><th>label</th>"
        '<th class="number">start</th><th class="number">end</th><th class="number">score</th></tr></thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody>\n</table>\n</details>\n"
    )
