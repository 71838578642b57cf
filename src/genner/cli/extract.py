"""`genner extract`."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genner.cli.app import DeviceOption, ModelOption, app, must_exist, tell
from genner.document import Document, LabelSet, Prediction
from genner.errors import UsageError

if TYPE_CHECKING:
    from genner.extract import Extractor

PAGE_LIMIT = 500  # documents on an HTML page: more than anybody reads, few enough to open

LabelsOption = Annotated[
    str | None, typer.Option(help="Tags to ask for (PER,ORG), or a shipped label set (core, litbank, genia, ...).")
]


@app.command()
def extract(
    files: Annotated[
        list[str] | None, typer.Argument(help=".txt, .jsonl with a 'text' field, or - for standard input.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="A text to tag, instead of files.")] = None,
    labels: LabelsOption = None,
    labels_file: Annotated[
        Path | None, typer.Option(help='JSON: {"TAG": {"name": ..., "definition": ...}} or {"TAG": "definition"}.')
    ] = None,
    model: ModelOption = "default",
    format: Annotated[str | None, typer.Option(help="Answer format; see genner formats.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here, instead of to standard output.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the texts and their entities here.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with --out where an interrupted run left off.")] = False,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Sentences in a forward pass.")] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Leave out entities that score less, 0: none. If left out: the threshold of the model's calibration.",
        ),
    ] = None,
    free: Annotated[bool, typer.Option(help="Let the model write freely, and repair; not recommended.")] = False,
    device: DeviceOption = None,
) -> None:
    """Find the entities in texts: one JSON object a document."""
    from genner.data import JsonlWriter, read_texts
    from genner.formats import get_format
    from genner.labels import parse_labels

    # All that can be wrong with the call is found out before a model is loaded.
    if (text is None) == (not files):
        raise UsageError("give either --text or files (.txt, .jsonl, or - for standard input)")
    if labels and labels_file:
        raise UsageError("give --labels or --labels-file, not both")
    if resume and not out:
        raise UsageError("--resume goes on with a file: give --out as well")
    must_exist(*(Path(name) for name in files or [] if name != "-"), *([labels_file] if labels_file else []))
    asked = LabelSet.from_file(labels_file) if labels_file else parse_labels(labels) if labels else None
    if format:
        get_format(format)
    readers = [read_texts(name) for name in files or []]
    documents = [Document(text, id="text")] if text is not None else _distinct(d for r in readers for d in r)
    writer = JsonlWriter(out, resume=resume) if out else None

    from genner.loading import load
    from genner.render.terminal import json_text

    ner = load(model, asked, format=format, constrained=not free, min_score=min_score, device=device)
    shown: list[Prediction] = []
    pretty = not out and not html and sys.stdout.isatty()
    if writer:
        with writer:
            todo = (d for d in documents if d.id not in writer.done)
            for prediction in _progress(ner, todo, batch_size):
                writer.write(prediction)
                shown += [prediction] if html and len(shown) < PAGE_LIMIT else []
        tell(f"{writer.count} documents in {out}")
    else:
        for prediction in _progress(ner, documents, batch_size):
            if html:
                shown += [prediction] if len(shown) < PAGE_LIMIT else []
            elif pretty:
                from rich.console import Console

                from genner.render import print_prediction

                print_prediction(prediction, Console(), labels=ner.labels.tags)
            else:
                print(json_text(prediction.to_dict()), flush=True)
    if html:
        from genner.data import write_atomic
        from genner.render import html_page

        notes = f"The first {PAGE_LIMIT} documents." if len(shown) == PAGE_LIMIT else ""
        write_atomic(html, html_page(shown, title="Entities", notes=notes, labels=ner.labels))
        tell(f"page written to {html}")


def _distinct(documents: Iterable[Document]) -> Iterator[Document]:
    """Documents of several files may share an id (their file's name): the later ones get a number."""
    seen: dict[str, int] = {}
    for document in documents:
        seen[document.id] = number = seen.get(document.id, 0) + 1
        yield document if number == 1 else replace(document, id=f"{document.id}#{number}")


def _progress(ner: "Extractor", documents: Iterable[Document], batch_size: int | None) -> Iterator[Prediction]:
    from tqdm import tqdm

    predictions, left_out = ner.pipe(documents, batch_size=batch_size), 0
    first = list(islice(predictions, 1))  # one text needs no bar
    rest = tqdm(predictions, initial=1, unit=" documents", disable=None, file=sys.stderr) if first else ()
    for prediction in chain(first, rest):
        left_out += prediction.below_min_score
        yield prediction
    if note := _threshold(ner, left_out):
        tell(note)


def _threshold(ner: "Extractor", left_out: int) -> str:
    """What was left out for its score, and by which rule; empty where everything was asked for."""
    if ner.min_score is None and ner.threshold() is None:
        return (
            "no threshold: this model has no calibration that brings one; all entities are kept, whatever their score"
        )
    entities = f"{left_out} {'entity' if left_out == 1 else 'entities'} scored below"
    if ner.min_score is None:
        return (
            f"{entities} {ner.least():.2f}, the calibration's threshold for these labels: left out; --min-score 0: all"
        )
    return f"{entities} --min-score {ner.min_score:g}: left out" if ner.min_score else ""
