"""A document for a notebook: an HTML fragment with its own styles, for a page that is not ours.

Inline styles only: a style sheet would affect the whole notebook, and some viewers remove it. Labels follow their
mentions, so that colour never carries information alone. Text, labels and problems are escaped.
"""

from collections.abc import Iterator, Mapping

from genner.document import Document, Prediction
from genner.render.layout import PALETTE, Close, Open, colour_indices, visible_line, walk
from genner.render.page import attribute, text_html

MAX_NOTEBOOK_CHARS = 20_000  # code points; a notebook stores all its output

_MARK = (
    "background:{colour}22;color:inherit;border:1.5px solid {colour};border-radius:.35em;padding:{pad}em .2em;"
    "margin:0 .06em;-webkit-box-decoration-break:clone;box-decoration-break:clone"
)
_TAG = "background:{colour};color:#fff;border-radius:.3em;padding:.05em .35em;margin-left:.35em;font-size:.65em"


def fragment(document: Document) -> str:
    """The first `MAX_NOTEBOOK_CHARS` code points of the text with boxes, then how much is left out, and the
    problems."""
    shown = document
    if len(document.text) > MAX_NOTEBOOK_CHARS:
        inside = tuple(entity for entity in document.entities if entity.end <= MAX_NOTEBOOK_CHARS)
        shown = Document(document.text[:MAX_NOTEBOOK_CHARS], inside)
    colours = {label: PALETTE[i].dark for label, i in colour_indices((), [document]).items()}
    body = "".join(_marked(shown, colours)) or "<i>(empty text)</i>"
    parts = [f'<div dir="auto" style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:2.1">{body}</div>']
    if shown is not document:
        parts.append(_note(f"the first {MAX_NOTEBOOK_CHARS:,} of {len(document.text):,} characters"))
    if not document.entities:
        parts.append(_note("no entities"))
    if isinstance(document, Prediction):
        if document.below_min_score:
            parts.append(_note(f"left out, scoring too little: {document.below_min_score}"))
        if document.answer_reading:
            parts.append(_note(f"reading of a free answer: {document.answer_reading}"))
        if document.uncalibrated_scores:
            parts.append(_note("scores uncalibrated: no probabilities"))
        parts += [_note(f"{problem.kind}: {problem.detail}") for problem in document.problems]
    return f"<div>{''.join(parts)}</div>"


def _note(text: str) -> str:
    return f'<div style="opacity:.7;font-size:.85em">{text_html(visible_line(text))}</div>'


def _marked(document: Document, colours: Mapping[str, str]) -> Iterator[str]:
    for event in walk(document):
        match event:
            case Open(entity, track, _):
                style = _MARK.format(colour=colours[entity.label], pad=f"{0.1 + 0.22 * track:.2f}")
                yield f'<mark style="{style}" title="{attribute(entity.label)} [{entity.start}, {entity.end})">'
            case Close(entity, last):
                score = "" if entity.score is None else f" {entity.score:.2f}"
                tag = text_html(visible_line(entity.label)) + score
                yield (
                    f'<b style="{_TAG.format(colour=colours[entity.label])}">{tag}</b></mark>' if last else "</mark>"
                )
            case str():
                yield text_html(event)
