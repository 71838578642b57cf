"""Runs `genner demo`: tags the examples, shows them, scores the bundled gold sample."""

import json
import sys
import time
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from genner.data import read_corpus, write_atomic
from genner.document import Document, LabelSet, Prediction
from genner.errors import DataError
from genner.evaluation import evaluate
from genner.extract import Extractor
from genner.formats import get_format
from genner.labels import label_set, label_sets
from genner.loading import load
from genner.model_source import ModelSource
from genner.render import html_page, print_prediction
from genner.render.terminal import tell

EVERY = 16  # documents of the sample on which formats other than the preferred one are scored


def run(examples: Path, page: Path, model: str, device: str | None) -> None:
    """Tag, print, write the page, score; about two minutes on two cores."""
    console = Console()
    begun = time.monotonic()
    ner = load(model, device=device)
    _status(f"model {model} loaded in {time.monotonic() - begun:.1f} s")
    _tag(ner, examples, page, console)
    _score(ner, ModelSource.resolve(model).formats or (ner.form.name,), console)


def _tag(ner: Extractor, examples: Path, page: Path, console: Console) -> None:
    paths = sorted(examples.glob("*.jsonl"))
    if not paths:
        raise DataError(str(examples), "holds no .jsonl example; run this from genner's folder or give --examples")
    shown: list[Prediction] = []
    attributions: dict[str, str] = {}
    used: dict[str, LabelSet] = {}
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        labels = label_set(record["label_set"]).subset(record["labels"])
        used[record["label_set"]] = labels
        (prediction,) = ner.pipe([Document(record["text"], id=record["id"])], labels)
        print_prediction(prediction, console, title=record["title"], labels=labels.tags)
        console.print(f"{record['attribution']} ({record['license']})", style="dim", markup=False, highlight=False)
        console.print()
        shown.append(prediction)
        attributions[prediction.id] = f"{record['title']}. {record['attribution']} ({record['license']})"
    legend = LabelSet(tuple({label.tag: label for labels in used.values() for label in labels}.values()))
    notes = "Tagged by genner's default model. Point at an entity to see its score."
    write_atomic(page, html_page(shown, title="genner", notes=notes, attributions=attributions, labels=legend))
    _status(f"page written to {page}")


def _score(ner: Extractor, formats: tuple[str, ...], console: Console) -> None:
    """Print the scores on the bundled sample: the preferred format on all of it, the others on a part."""
    by_set: list[tuple[LabelSet, list[Document]]] = []
    for file in sorted(Path(str(files("genner") / "assets" / "gold")).glob("*.jsonl")):
        labels = label_set(file.stem if file.stem in label_sets() else "core")
        documents = [Document(d.text, d.entities, f"{file.stem}/{d.id}") for d in read_corpus(file)]
        by_set.append((labels, documents))
    table = Table("format", "sentences", "micro-F1", "95 % interval", "invalid outputs", "sentences/s")
    signatures = []
    for number, name in enumerate(formats):
        some = [(labels, documents[:: EVERY if number else 1]) for labels, documents in by_set]
        gold = [document for _, documents in some for document in documents]
        ner = Extractor(
            ner.engine, get_format(name), ner.labels, split=False, signature=ner.signature | {"format": name}
        )
        found: list[Prediction] = []
        begun = time.monotonic()
        with tqdm(total=len(gold), desc=name, unit=" sentences", leave=False, file=sys.stderr, disable=None) as bar:
            for labels, documents in some:
                for prediction in ner.pipe(documents, labels):
                    found.append(prediction)
                    bar.update()
        seconds = time.monotonic() - begun
        report = evaluate(gold, found, settings=ner.signature)
        table.add_row(
            name,
            str(len(gold)),
            f"{100 * report.micro.f1:.1f}",
            "{:.1f} to {:.1f}".format(*(100 * end for end in report.interval)) if report.interval else "-",
            f"{report.invalid} of {report.documents}",
            f"{len(gold) / seconds:.1f}",
        )
        signatures.append(report.signature)
    console.print(f"The bundled gold sample: sentences of {len(by_set)} sets, strict spans")
    console.print(table)
    for signature in signatures:
        console.print(signature, style="dim", markup=False, highlight=False, soft_wrap=True)


def _status(message: str) -> None:
    tell(message)
