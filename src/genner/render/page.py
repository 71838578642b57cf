"""Predictions as one HTML page that needs nothing else: no script, no font, no request.

Each entity is a `<mark>` box around its text, nested boxes inside each other. Labels and scores are drawn by the
style sheet from the attributes of an empty element, so that the text of the page is the text of the document: what a
reader selects, copies or searches holds no label.
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

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1 dir="auto">{title}</h1>
{header}</header>
<main>
{main}</main>
{script}</body>
</html>
"""

# A box on track t is padded by t steps above and below, so that it encloses the boxes on the tracks under it; the line
# height grows with the highest track of the text, since padding of inline boxes takes no room by itself. The word
# joiner (U+2060) keeps a label on the line on which its mention ends.
PAGE_CSS = """\
:root { --paper: #fff; --ink: #1c2126; --faint: #5d6670; --rule: #dfe3e7; --wrong: #a3152a; --tint: 9%; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e4e7ea; --faint: #9aa3ad; --rule: #30363d; --wrong: #ff8d96; --tint: 13%; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 52rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
.notes { color: var(--faint); white-space: pre-line; margin: 0 0 1rem; max-width: 42rem; }
.chip, mark > i::after {
  background: var(--c); color: var(--paper); border-radius: .3em; padding: .1em .45em; font-weight: 600;
  letter-spacing: .02em; line-height: 1.3; white-space: nowrap;
}
.chip { display: inline-block; font-size: .72rem; }
.legend { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; margin: 1rem 0 0; padding: 0; font-size: .875rem; }
.legend div { display: flex; gap: .5em; align-items: baseline; }
.legend dd { margin: 0; overflow-wrap: anywhere; }
.legend.defined { display: grid; grid-template-columns: minmax(0, max-content) 1fr; }
.legend.defined div { display: contents; }
.legend.defined .chip { white-space: normal; overflow-wrap: anywhere; }
.faint { color: var(--faint); }
article { border-top: 1px solid var(--rule); margin-top: 2rem; padding-top: 1rem; }
h2 { font-size: .875rem; font-weight: 600; color: var(--faint); margin: 0; overflow-wrap: anywhere; }
.text {
  white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0 .75rem; font-size: 1.0625rem;
  line-height: calc(1.65em + var(--tracks) * .44em);
}
mark {
  --pad: calc(.1em + var(--track) * .22em); color: inherit; border: 1.5px solid var(--c); border-radius: .35em;
  background: color-mix(in srgb, var(--c) var(--tint), transparent); padding: var(--pad) .2em; margin: 0 .06em;
  -webkit-box-decoration-break: clone; box-decoration-break: clone;
}
mark:hover { background: color-mix(in srgb, var(--c) calc(2 * var(--tint)), transparent); }
mark > i::after {
  content: "\\2060" attr(data-label); unicode-bidi: isolate; font-size: .6em; font-style: normal; vertical-align: .12em;
  margin-inline-start: .4em; padding: .1em .4em;
}
mark > i[data-score]::after { content: "\\2060" attr(data-label) "\\a0" attr(data-score); }
mark.continued { border-inline-start-style: dotted; }
mark:not(:has(> i)) { border-inline-end-style: dotted; }
.control { color: var(--wrong); }
details { font-size: .875rem; }
summary { cursor: pointer; color: var(--faint); }
table { border-collapse: collapse; margin: .5rem 0; width: 100%; }
th, td { text-align: start; vertical-align: baseline; padding: .25rem .75rem .25rem 0; }
tr + tr td, thead + tbody td { border-top: 1px solid var(--rule); }
th { font-weight: 600; color: var(--faint); }
td { overflow-wrap: anywhere; }
td:first-child { padding-inline-start: calc(var(--depth) * 1.25em); width: 60%; }
.number { text-align: end; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
.problems { font-size: .875rem; margin: .5rem 0; padding: 0; list-style: none; }
.problems li { overflow-wrap: anywhere; }
.problems b { color: var(--wrong); }
.attribution { font-size: .8125rem; color: var(--faint); margin: .5rem 0 0; overflow-wrap: anywhere; }
@media print {
  body { padding: 0; max-width: none; font-size: 10pt; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2 { break-after: avoid; }
  tr, li { break-inside: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""


def html_page(
    predictions: Sequence[Document],
    *,
    title: str,
    notes: str = "",
    attributions: Mapping[str, str] | None = None,
    labels: LabelSet | None = None,
) -> str:
    """One HTML page: a legend, then each text with its entities, a table of them, the problems, the attribution.

    `attributions` gives a line of credit by document id. Labels take their colours in the order of `labels`, which
    also defines them in the legend. Gold documents are shown like predictions without problems. Everything is escaped;
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
    """A self-contained page; all but the title is HTML, CSS and JavaScript already."""
    script = f"\n{script}" if script else ""
    return _PAGE.format(
        title=text_html(visible_line(title)),
        policy=_policy(script),
        style=PAGE_CSS + style + palette(),
        header=header,
        main=main,
        script=f"<script>{script}</script>\n" if script else "",
    )


def _policy(script: str) -> str:
    """What a browser may do for a page: run this very script (none, if it is empty), apply styles, load nothing.

    Everything is escaped, so no text of a document becomes a script; were one to, the browser would refuse to run it.
    """
    known = f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" if script else "'none'"
    return f"default-src 'none'; script-src {known}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def palette() -> str:
    """The classes `c0`, `c1`, ... that set the colour of a box or chip."""
    dark = "".join(f".c{i} {{ --c: {colour.dark}; }}\n" for i, colour in enumerate(PALETTE))
    light = "".join(f"  .c{i} {{ --c: {colour.light}; }}\n" for i, colour in enumerate(PALETTE))
    # Paper is black on paper: the dark scheme is for screens only.
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
    """Each label with its name, definition and number of entities; one line a label if any has a definition."""
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
    """The text in boxes. A box that is cut by a crossing carries its label on the last piece only."""
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
    """The entities in reading order, nested ones indented under the outer, folded away."""
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
