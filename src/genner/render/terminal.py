"""A prediction in a terminal: the text with its entities in brackets, a table of them, and what went wrong.

    ⟦The ⟦Royal Society|ORG⟧ of ⟦London|LOC⟧|ORG⟧

Brackets and labels carry all information, so that a pipe or a dumb terminal loses nothing; colour only makes reading
faster. An entity cut by a crossing one continues after the cut: `⟦a⋯⟧⟦⟦⋯b|A⟧ c|B⟧`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from genner.document import Document, Prediction
from genner.render.layout import (
    PALETTE,
    UNPRINTABLE,
    Close,
    Open,
    colour_indices,
    depths,
    visible,
    visible_line,
    walk,
)


def tell(message: object, file: TextIO | None = None) -> None:
    """Print a message (to standard error unless `file` is given) that may contain text, labels, ids and file names:
    characters that would control the terminal are made visible (`visible`)."""
    out = sys.stderr if file is None else file
    said = visible(str(message))
    try:
        print(said, file=out, flush=True)
    except UnicodeEncodeError:  # a terminal in an old encoding
        print(said.encode("ascii", "backslashreplace").decode(), file=out, flush=True)


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as JSON for standard output, which may be a terminal: equal JSON with escapes for characters that would
    control it (ESC and other controls, bidirectional overrides), and for lone surrogates."""
    said = json.dumps(value, ensure_ascii=(sys.stdout.encoding or "").lower() not in ("utf-8", "utf8"), indent=indent)
    # Outside strings, JSON has none of these except line feeds, which stay.
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", said)


def print_prediction(prediction: Prediction, console: Console, title: str = "", labels: Sequence[str] = ()) -> None:
    """Print the text with its entities marked, then a table of them, then the problems if there are any.

    Colours are assigned in the order of `labels`. The text is never truncated: a terminal wraps it, a pipe or file gets
    its lines unchanged. Unprintable characters appear as pictures (`␛`), and nothing is read as rich markup.
    """
    # Exact black on a light fill is readable with any terminal colours.
    styles = {
        label: Style(color="#000000", bgcolor=PALETTE[i].light)
        for label, i in colour_indices(labels, [prediction]).items()
    }
    if title:
        console.print(Text(visible_line(title), style="bold", overflow="fold"))
    if prediction.text:
        console.print(_marked(prediction, styles), soft_wrap=not console.is_terminal)
    else:
        console.print(Text("(empty text)", style="dim italic"))
    console.print()
    if prediction.entities:
        console.print(_table(prediction, styles))
    else:
        console.print(Text("no entities", style="dim italic"))
    if prediction.below_min_score:
        console.print(Text(f"left out, scoring too little: {prediction.below_min_score}", style="dim italic"))
    if prediction.refuted:
        console.print(Text(f"left out, denied by the model: {prediction.refuted}", style="dim italic"))
    if prediction.answer_reading:
        console.print(Text(f"reading of a free answer: {prediction.answer_reading}", style="dim italic"))
    if prediction.uncalibrated_scores:
        console.print(Text("scores uncalibrated: no probabilities", style="dim italic"))
    if prediction.problems:
        console.print(Text(f"problems: {len(prediction.problems)}", style="bold red"))
    for problem in prediction.problems:
        line = Text.assemble("  ", (f"{problem.kind:<9}", "red"), "  ", visible_line(problem.detail), overflow="fold")
        console.print(line, soft_wrap=not console.is_terminal)


def _marked(document: Document, styles: Mapping[str, Style]) -> Text:
    """The text with brackets; each stretch has the colour of its innermost entity, so that nested ones stand out."""
    text = Text(overflow="fold")
    stack = [Style()]
    for event in walk(document):
        match event:
            case Open(entity, _, first):
                stack.append(styles[entity.label])
                text.append("⟦" if first else "⟦⋯", stack[-1] + Style(bold=True))
            case Close(entity, last):
                mark = f"|{visible_line(entity.label)}⟧" if last else "⋯⟧"
                text.append(mark, stack.pop() + Style(bold=True))
            case str():
                text.append(visible(event), stack[-1])
    return text


def _table(document: Document, styles: Mapping[str, Style]) -> Table:
    """One line per entity, nested ones indented under the outer; scores only if the system gives them."""
    scored = any(entity.score is not None for entity in document.entities)
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("mention", overflow="fold")
    table.add_column("label", overflow="fold")
    table.add_column("offsets", justify="right", overflow="fold")
    if scored:
        table.add_column("score", justify="right", overflow="fold")
    for entity, depth in zip(document.entities, depths(document.entities), strict=True):
        row = [
            Text("  " * depth + visible_line(document.mention(entity))),
            Text(visible_line(entity.label), style=styles[entity.label]),
            Text(f"[{entity.start}, {entity.end})"),
        ]
        if scored:
            row.append(Text("" if entity.score is None else f"{entity.score:.2f}"))
        table.add_row(*row)
    return table
